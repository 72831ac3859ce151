//! Numbers as Go writes them.

use super::quote::{quote, unquote_char};

/// A number in a template. Which it is - an integer or not - depends on how it is written and where it is used.
#[derive(Clone, Debug)]
pub(super) struct Number {
    pub text: String,
    /// What it is as an integer.
    pub int: Option<i64>,
    /// Whether it is one without a sign that is too large for one with a sign.
    pub unsigned: bool,
    pub float: f64,
}

impl Number {
    /// Whether it is written as a number with a point or exponent.
    pub(super) fn is_float(&self) -> bool {
        let hex = self.text.len() > 2 && (self.text.starts_with("0x") || self.text.starts_with("0X"));
        let hex_integer = hex && !self.text.contains(['p', 'P']);
        !hex_integer && !self.text.starts_with('\'') && self.text.contains(['.', 'e', 'E', 'p', 'P'])
    }

    /// Reads a constant such as `'a'`.
    pub(super) fn character(text: &str) -> Result<Self, String> {
        let (value, rest) = unquote_char(&text[1..], '\'').ok_or("invalid syntax")?;
        if rest != "'" {
            return Err(format!("malformed character constant: {text}"));
        }
        let value = value.code();
        Ok(Self { text: text.into(), int: Some(value.into()), unsigned: false, float: f64::from(value) })
    }

    /// Reads a number.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix(['+', '-']).unwrap_or(text);
        let magnitude = integer(bare);
        let signed = magnitude.and_then(|value| {
            if text.starts_with('-') { 0_i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
        });
        // Go reads numbers without a sign only without a sign.
        let unsigned = magnitude.filter(|_| bare.len() == text.len());
        #[allow(clippy::cast_precision_loss, reason = "as in Go")]
        if let Some(value) = signed {
            return Ok(Self { text: text.into(), int: Some(value), unsigned: false, float: value as f64 });
        } else if let Some(value) = unsigned {
            return Ok(Self { text: text.into(), int: None, unsigned: true, float: value as f64 });
        }
        let float = float(text).ok_or_else(|| format!("illegal number syntax: {}", quote(text.as_bytes())))?;
        if !text.contains(['.', 'e', 'E', 'p', 'P']) {
            return Err(format!("integer overflow: {}", quote(text.as_bytes())));
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "only if it is the same number"
        )]
        let int = (float.trunc() == float && float.abs() < i64::MAX as f64).then_some(float as i64);
        Ok(Self { text: text.into(), int, unsigned: false, float })
    }
}

/// An integer without a sign, with the prefixes and underscores of Go.
fn integer(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if !underscores_fit(&lower) {
        return None;
    }
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    if digits.starts_with(['+', '-']) { None } else { u64::from_str_radix(&digits, base).ok() }
}

/// Underscores stand between digits, or between a prefix and a digit.
fn underscores_fit(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mut last, rest) = match text.as_bytes() {
        [b'0', b'x' | b'o' | b'b', ..] => ('0', &text[2..]),
        _ => ('!', text),
    };
    let hex = text.starts_with("0x");
    for c in rest.chars() {
        if c.is_ascii_digit() || (hex && c.is_ascii_hexdigit()) {
            last = '0';
        } else if c == '_' {
            if last != '0' {
                return false;
            }
            last = '_';
        } else if last == '_' {
            return false;
        } else {
            last = '!';
        }
    }
    last != '_'
}

fn float(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    if !underscores_fit(&lower) {
        return None;
    }
    let digits: String = lower.chars().filter(|c| *c != '_').collect();
    let (sign, bare) = match digits.strip_prefix('-') {
        Some(bare) => (-1.0, bare),
        None => (1.0, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    if let Some(hex) = bare.strip_prefix("0x") {
        let (mantissa, exponent) = hex.split_once('p')?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let places = i32::try_from(fraction.len()).ok()?;
        #[allow(clippy::cast_precision_loss, reason = "more digits than a number has are rare, and rounded")]
        let value = u64::from_str_radix(&format!("{whole}{fraction}"), 16).ok()? as f64;
        let exponent: i32 = exponent.parse().ok()?;
        return Some(sign * value * 2.0_f64.powi(exponent.checked_sub(4 * places)?));
    }
    let number = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    bare.parse::<f64>().ok().filter(|value| number && value.is_finite()).map(|value| sign * value)
}
