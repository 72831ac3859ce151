//! Kubernetes quantities: `500m`, `1Gi`, `1e3`.

use serde_json::Value;
use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

const NANOS: i128 = 1_000_000_000;
/// What cannot be held is this much, as in the stock server: the greatest 64-bit integer.
const MOST: i128 = (i64::MAX as i128) * NANOS;

/// An amount with a precision of one billionth, and the family of suffixes that it is written in. Equal if the amount
/// is. `Display` is the canonical form: no fraction, and the largest suffix that loses nothing.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    /// `m`, `k`, `M`
    Decimal,
    /// `Ki`, `Mi`
    Binary,
    /// `e3`
    Exponent,
}

/// Text that is not a quantity, in the words of the stock server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseError {
    /// It does not look like one at all.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The number is followed by something that is no suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, format: Format::Decimal };

    /// A whole number of things.
    pub const fn count(number: u32) -> Self {
        Self { nanos: number as i128 * NANOS, format: Format::Decimal }
    }

    /// From a field's value: text, or a number that stands for its text.
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.to_string().parse().ok(),
            _ => None,
        }
    }

    /// The amount rounded up to a whole number.
    pub fn ceil(self) -> i128 {
        let whole = self.nanos.div_euclid(NANOS);
        if self.nanos.rem_euclid(NANOS) == 0 { whole } else { whole + 1 }
    }

    /// As much, with the other sign; cut at what can be held, as sums are.
    #[must_use]
    pub fn negated(self) -> Self {
        Self { nanos: self.nanos.saturating_neg(), ..self }
    }

    /// In billionths.
    pub fn nanos(self) -> i128 {
        self.nanos
    }
}

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') {
            return Err(ParseError::Format);
        }
        let (factor, power, format) = scale(suffix)?;
        let nanos = amount(whole, fraction, factor, power);
        Ok(Self { nanos: if text.starts_with('-') { -nanos } else { nanos }, format })
    }
}

/// What a suffix multiplies by: a factor, times a power of ten.
fn scale(suffix: &str) -> Result<(i128, i32, Format), ParseError> {
    let decimal = |power| Ok((1, power, Format::Decimal));
    let binary = |power| Ok((1_i128 << (10 * power), 0, Format::Binary));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E']).ok_or(ParseError::Suffix)?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(ParseError::Suffix);
            }
            // An exponent past all bounds is as good as one just past them.
            let power = exponent.parse::<i32>().unwrap_or(if exponent.starts_with('-') { -999 } else { 999 });
            Ok((1, power.clamp(-999, 999), Format::Exponent))
        }
    }
}

/// `whole.fraction * factor * 10^power` in billionths, rounded up, and cut at [`MOST`].
fn amount(whole: &str, fraction: &str, factor: i128, power: i32) -> i128 {
    let digits = whole.bytes().chain(fraction.bytes()).map(|b| i128::from(b - b'0'));
    let most = i128::MAX / 10 / factor;
    let mut mantissa: i128 = 0;
    // Digits past what is held only matter for rounding up.
    let (mut dropped, mut rest) = (0_i32, false);
    for digit in digits {
        match mantissa.checked_mul(10).and_then(|m| m.checked_add(digit)).filter(|m| *m < most) {
            Some(next) if dropped == 0 => mantissa = next,
            _ => {
                dropped += 1;
                rest |= digit != 0;
            }
        }
    }
    if mantissa == 0 {
        return 0;
    }
    let fraction_digits = i32::try_from(fraction.len()).unwrap_or(i32::MAX);
    let power = power.saturating_add(9).saturating_sub(fraction_digits).saturating_add(dropped);
    let scaled = mantissa * factor;
    if power >= 0 {
        let scaled = u32::try_from(power).ok().and_then(|power| 10_i128.checked_pow(power)?.checked_mul(scaled));
        return scaled.filter(|scaled| *scaled <= MOST || factor == 1).unwrap_or(MOST);
    }
    match u32::try_from(-power).ok().and_then(|power| 10_i128.checked_pow(power)) {
        Some(divisor) => {
            let up = scaled % divisor != 0 || rest;
            (scaled / divisor + i128::from(up)).min(MOST)
        }
        None => 1,
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let whole = self.nanos % NANOS == 0;
        // Below 1024, and where a fraction would be lost, binary amounts are written in decimal.
        if self.format == Format::Binary && whole && self.nanos.unsigned_abs() >= 1024 * NANOS.unsigned_abs() {
            let mut number = self.nanos / NANOS;
            let mut suffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter().peekable();
            while number % 1024 == 0 && suffixes.len() > 1 {
                number /= 1024;
                suffixes.next();
            }
            return write!(f, "{number}{}", suffixes.peek().expect("one is left"));
        }
        let (mut number, mut power) = (self.nanos, -9);
        while number % 1000 == 0 && (power < 18 || self.format == Format::Exponent) {
            number /= 1000;
            power += 3;
        }
        if self.format == Format::Exponent {
            return if power == 0 { write!(f, "{number}") } else { write!(f, "{number}e{power}") };
        }
        let suffix = match power {
            -9 => "n",
            -6 => "u",
            -3 => "m",
            0 => "",
            3 => "k",
            6 => "M",
            9 => "G",
            12 => "T",
            15 => "P",
            _ => "E",
        };
        write!(f, "{number}{suffix}")
    }
}

impl Add for Quantity {
    type Output = Self;

    /// The sum, written as the left one is (as the right one, if the left is zero); cut at what can be held.
    fn add(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_add(other.nanos), format }
    }
}

impl Sub for Quantity {
    type Output = Self;

    /// The difference, written as [`Add`] writes a sum.
    fn sub(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_sub(other.nanos), format }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, canonical: &str) {
        assert_eq!(text.parse::<Quantity>().unwrap().to_string(), canonical, "{text}");
    }

    #[test]
    fn canonical_form_has_no_fraction_and_the_largest_suffix() {
        check("1000m", "1");
        check("0.5", "500m");
        check("1024Mi", "1Gi");
        check("1.5Gi", "1536Mi");
        check("1500", "1500");
        check("1000", "1k");
        check("0.5Ki", "512");
        check("1025", "1025");
        check("2048", "2048");
        check("100000Ki", "100000Ki");
        check("0", "0");
        check("0Gi", "0");
        check("-1.5", "-1500m");
        check("+3", "3");
        check(".5", "500m");
        check("5.", "5");
        check("123.4Mi", "129394278400m");
        check("12e6", "12e6");
        check("1e3", "1e3");
        check("1500e-3", "1500e-3");
        check("1E", "1E");
        check("1E3", "1e3");
        check("100E", "100E");
    }

    #[test]
    fn precision_beyond_a_billionth_rounds_up() {
        check("0.1n", "1n");
        check("1.0000000001", "1000000001n");
        check("0.0000000000000000000000000000000000000001", "1n");
    }

    #[test]
    fn amounts_compare_by_value_and_add() {
        let quantity = |text: &str| text.parse::<Quantity>().unwrap();
        assert_eq!(quantity("1"), quantity("1000m"));
        assert!(quantity("1Gi") > quantity("1G"));
        assert_eq!((quantity("500m") + quantity("1")).to_string(), "1500m");
        assert_eq!((quantity("0") + quantity("1Gi")).to_string(), "1Gi");
        assert_eq!(quantity("1500m").ceil(), 2);
        // The least that can be held has no counterpart.
        let least = quantity("-100000000000E") + quantity("-100000000000E") + quantity("-99999999999E");
        assert_eq!(least.nanos(), i128::MIN);
        assert_eq!(least.negated().nanos(), i128::MAX);
        assert_eq!(quantity("99999999999999999999Ei"), quantity("9223372036854775807"));
        assert_eq!(Quantity::from_value(&serde_json::json!(2)), Some(quantity("2")));
    }

    #[test]
    fn what_is_not_a_quantity_is_said() {
        for (text, error) in [
            ("", ParseError::Format),
            ("-", ParseError::Format),
            ("Mi", ParseError::Format),
            ("1.2.3", ParseError::Format),
            ("1mi", ParseError::Suffix),
            ("1 Gi", ParseError::Suffix),
            ("1e", ParseError::Suffix),
            ("1K", ParseError::Suffix),
        ] {
            assert_eq!(text.parse::<Quantity>(), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn canonical_form_reads_back_as_itself(
            number in "[0-9]{1,20}(\\.[0-9]{0,12})?", suffix in "(|n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e[0-9]|e-[0-9])",
        ) {
            let quantity: Quantity = format!("{number}{suffix}").parse().unwrap();
            let printed = quantity.to_string();
            let again: Quantity = printed.parse().unwrap();
            prop_assert_eq!(again, quantity);
            prop_assert_eq!(again.to_string(), printed);
        }

        #[test]
        fn reading_never_panics(text in "[-+0-9.eEinumkKMGTP ]{0,40}") {
            let _ = text.parse::<Quantity>();
        }
    }
}
