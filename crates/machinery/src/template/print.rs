//! `print`, `println` and `printf`, as Go's `fmt` does them for the types of the language.

use super::MAX_OUTPUT;
use super::quote::{characters, quote_with, unicode};
use super::value::Value;

/// The largest width or precision, as in Go.
const MAX_WIDTH: usize = 1_000_000;

/// All values; between two of which none is text, a space.
pub(super) fn sprint(values: &[Value<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let is_text = |value: &Value<'_>| matches!(value, Value::Text(_));
    for (at, value) in values.iter().enumerate() {
        if at > 0 && !is_text(value) && !is_text(&values[at - 1]) {
            out.push(b' ');
        }
        out.extend(Verb::plain().format(value));
    }
    out
}

/// All values with spaces between them, and a newline.
pub(super) fn sprintln(values: &[Value<'_>]) -> Vec<u8> {
    let shown: Vec<_> = values.iter().map(|value| Verb::plain().format(value)).collect();
    let mut out = shown.join(&b' ');
    out.push(b'\n');
    out
}

/// What stands behind a percent sign.
#[derive(Clone, Default)]
struct Verb {
    verb: char,
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    /// `%#v`: as Go would write the value in a program.
    literal: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Where in its arguments a format is.
struct Arguments<'v, 'a> {
    values: &'v [Value<'a>],
    next: usize,
    reordered: bool,
    good: bool,
}

impl Arguments<'_, '_> {
    /// Reads `[3]`, if there is one.
    fn index(&mut self, format: &[u8], at: usize) -> (usize, bool) {
        if format.get(at) != Some(&b'[') {
            return (at, false);
        }
        self.reordered = true;
        let Some(length) = format[at..].iter().position(|byte| *byte == b']') else {
            self.good = false;
            return (at + 1, false);
        };
        let digits = std::str::from_utf8(&format[at + 1..at + length]).ok();
        let number = digits.and_then(|digits| digits.parse::<usize>().ok());
        match number.filter(|number| (1..=self.values.len()).contains(number)) {
            Some(number) => {
                self.next = number - 1;
                (at + length + 1, true)
            }
            None => {
                self.good = false;
                (at + length + 1, true)
            }
        }
    }

    /// The value of a `*`.
    fn star(&mut self) -> Option<i64> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        let number = match value {
            Value::Int(number) => *number,
            Value::Byte(number) => i64::from(*number),
            _ => return None,
        };
        (number.unsigned_abs() <= MAX_WIDTH as u64).then_some(number)
    }
}

fn digits(format: &[u8], at: usize) -> (Option<usize>, usize) {
    let end = at + format[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&format[at..end]).ok().and_then(|digits| digits.parse().ok());
    (number.filter(|number| *number <= MAX_WIDTH), end)
}

/// Formats values.
pub(super) fn sprintf(format: &[u8], values: &[Value<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut arguments = Arguments { values, next: 0, reordered: false, good: true };
    let mut at = 0;
    while at < format.len() && out.len() <= MAX_OUTPUT {
        arguments.good = true;
        if format[at] != b'%' {
            out.push(format[at]);
            at += 1;
            continue;
        }
        at += 1;
        let mut verb = Verb::default();
        while let Some(flag) = format.get(at) {
            match flag {
                b'#' => verb.sharp = true,
                b'0' => verb.zero = true,
                b'+' => verb.plus = true,
                b'-' => verb.minus = true,
                b' ' => verb.space = true,
                _ => break,
            }
            at += 1;
        }
        let mut indexed;
        (at, indexed) = arguments.index(format, at);
        if format.get(at) == Some(&b'*') {
            at += 1;
            match arguments.star() {
                Some(width) => {
                    verb.minus |= width < 0;
                    verb.width = usize::try_from(width.unsigned_abs()).ok();
                }
                None => out.extend_from_slice(b"%!(BADWIDTH)"),
            }
            indexed = false;
        } else {
            (verb.width, at) = digits(format, at);
            if indexed && verb.width.is_some() {
                arguments.good = false;
            }
        }
        if format.get(at) == Some(&b'.') {
            at += 1;
            if indexed {
                arguments.good = false;
            }
            (at, indexed) = arguments.index(format, at);
            if format.get(at) == Some(&b'*') {
                at += 1;
                match arguments.star().and_then(|precision| usize::try_from(precision).ok()) {
                    Some(precision) => verb.precision = Some(precision),
                    None => out.extend_from_slice(b"%!(BADPREC)"),
                }
                indexed = false;
            } else {
                let (precision, end) = digits(format, at);
                (verb.precision, at) = (Some(precision.unwrap_or(0)), end);
            }
        }
        if !indexed {
            (at, _) = arguments.index(format, at);
        }
        let Some(c) = characters(&format[at.min(format.len())..]).next() else {
            out.extend_from_slice(b"%!(NOVERB)");
            break;
        };
        at += super::quote::decode(&format[at..]).1;
        verb.verb = c;
        if c == 'v' {
            // These flags mean something else to `%v`.
            verb.literal = std::mem::take(&mut verb.sharp);
            verb.plus = false;
        }
        let shown = match values.get(arguments.next) {
            _ if c == '%' => b"%".to_vec(),
            _ if !arguments.good => format!("%!{c}(BADINDEX)").into_bytes(),
            None => format!("%!{c}(MISSING)").into_bytes(),
            Some(value) => {
                arguments.next += 1;
                verb.format(value)
            }
        };
        out.extend(shown);
    }
    if !arguments.reordered && arguments.next < values.len() {
        out.extend_from_slice(b"%!(EXTRA ");
        for (at, value) in values[arguments.next..].iter().enumerate() {
            out.extend_from_slice(if at > 0 { b", " } else { b"" });
            match value {
                Value::Nil => out.extend_from_slice(b"<nil>"),
                value => {
                    out.extend_from_slice(value.type_name().as_bytes());
                    out.push(b'=');
                    out.extend(Verb::plain().format(value));
                }
            }
        }
        out.push(b')');
    }
    out
}

impl Verb {
    fn plain() -> Self {
        Self { verb: 'v', ..Self::default() }
    }

    fn format(&self, value: &Value<'_>) -> Vec<u8> {
        if self.verb == 'T' {
            return self.pad(self.cut(value.type_name().as_bytes()), self.zero);
        }
        match value {
            Value::Nil if self.verb == 'v' => self.pad(b"<nil>".to_vec(), self.zero),
            Value::Nil => format!("%!{}(<nil>)", self.verb).into_bytes(),
            Value::Bool(value) if matches!(self.verb, 'v' | 't') => self.pad(value.to_string().into_bytes(), self.zero),
            Value::Int(number) => self.integer(number.unsigned_abs(), *number < 0, value),
            Value::Byte(number) => self.integer(u64::from(*number), false, value),
            Value::Float(number) => self.float(*number, value),
            Value::Text(text) => self.text(text, value),
            Value::Map(map) => self.map(map),
            Value::Bool(_) => self.bad(value),
        }
    }

    fn bad(&self, value: &Value<'_>) -> Vec<u8> {
        let mut out = format!("%!{}({}=", self.verb, value.type_name()).into_bytes();
        out.extend(Self { verb: 'v', ..self.clone() }.format(value));
        out.push(b')');
        out
    }

    fn pad(&self, text: Vec<u8>, zeros: bool) -> Vec<u8> {
        let width = self.width.unwrap_or(0);
        let missing = width.saturating_sub(characters(&text).count());
        if missing == 0 {
            return text;
        }
        let filler = vec![if zeros && !self.minus { b'0' } else { b' ' }; missing];
        if self.minus { [text, filler].concat() } else { [filler, text].concat() }
    }

    /// As many characters as the precision says.
    fn cut(&self, text: &[u8]) -> Vec<u8> {
        let Some(most) = self.precision else { return text.to_vec() };
        let mut end = 0;
        for _ in 0..most {
            if end >= text.len() {
                break;
            }
            end += super::quote::decode(&text[end..]).1;
        }
        text[..end].to_vec()
    }

    fn text(&self, text: &[u8], value: &Value<'_>) -> Vec<u8> {
        match self.verb {
            'v' if self.literal => self.pad(self.quoted(text), self.zero),
            'v' | 's' => self.pad(self.cut(text), self.zero),
            'q' => self.pad(self.quoted(&self.cut(text)), self.zero),
            'x' | 'X' => {
                let text = &text[..text.len().min(self.precision.unwrap_or(usize::MAX))];
                let prefix = if self.verb == 'x' { "0x" } else { "0X" };
                let mut out = String::new();
                for (at, byte) in text.iter().enumerate() {
                    if at > 0 && self.space {
                        out.push(' ');
                    }
                    if self.sharp && (at == 0 || self.space) {
                        out.push_str(prefix);
                    }
                    out.push_str(&if self.verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") });
                }
                self.pad(out.into_bytes(), self.zero)
            }
            _ => self.bad(value),
        }
    }

    fn quoted(&self, text: &[u8]) -> Vec<u8> {
        let raw = std::str::from_utf8(text)
            .is_ok_and(|text| text.chars().all(|c| c == '\t' || !(c.is_control() || matches!(c, '`' | '\u{feff}'))));
        if self.sharp && self.verb == 'q' && raw {
            return [b"`", text, b"`"].concat();
        }
        quote_with(text, '"', self.plus && self.verb == 'q').into_bytes()
    }

    fn map(&self, map: &super::Properties) -> Vec<u8> {
        // Each key and value is formatted for itself.
        let open: &[u8] = if self.literal { b"map[string]string{" } else { b"map[" };
        let mut out = open.to_vec();
        for (at, (key, value)) in map.iter().enumerate() {
            if at > 0 {
                out.extend_from_slice(if self.literal { b", " } else { b" " });
            }
            out.extend(self.format(&Value::borrowed(key.as_bytes())));
            out.push(b':');
            out.extend(self.format(&Value::borrowed(value.as_bytes())));
        }
        out.push(if self.literal { b'}' } else { b']' });
        out
    }

    fn integer(&self, magnitude: u64, negative: bool, value: &Value<'_>) -> Vec<u8> {
        let byte_with_sharp = matches!(value, Value::Byte(_)) && self.literal;
        let (digits, prefix) = match self.verb {
            'v' if byte_with_sharp => (format!("{magnitude:x}"), "0x"),
            'v' | 'd' => (magnitude.to_string(), ""),
            'b' => (format!("{magnitude:b}"), if self.sharp { "0b" } else { "" }),
            'o' => (format!("{magnitude:o}"), if self.sharp { "0" } else { "" }),
            'O' => (format!("{magnitude:o}"), "0o"),
            'x' => (format!("{magnitude:x}"), if self.sharp { "0x" } else { "" }),
            'X' => (format!("{magnitude:X}"), if self.sharp { "0X" } else { "" }),
            'c' | 'q' | 'U' => return self.character(magnitude, negative),
            _ => return self.bad(value),
        };
        let sign = if negative {
            "-"
        } else if self.plus {
            "+"
        } else if self.space {
            " "
        } else {
            ""
        };
        if self.precision == Some(0) && magnitude == 0 {
            return vec![b' '; self.width.unwrap_or(0)];
        }
        let least = match (self.precision, self.width) {
            (Some(precision), _) => precision,
            (None, Some(width)) if self.zero && !self.minus => width.saturating_sub(sign.len()),
            _ => 0,
        };
        let zeros = "0".repeat(least.saturating_sub(digits.len()));
        let prefix = if prefix == "0" && zeros.is_empty() && digits.starts_with('0') { "" } else { prefix };
        let prefix = if prefix == "0" && !zeros.is_empty() { "" } else { prefix };
        self.pad(format!("{sign}{prefix}{zeros}{digits}").into_bytes(), false)
    }

    fn character(&self, magnitude: u64, negative: bool) -> Vec<u8> {
        let found = u32::try_from(magnitude).ok().and_then(char::from_u32).filter(|_| !negative);
        let c = found.unwrap_or(char::REPLACEMENT_CHARACTER);
        let text = match self.verb {
            'c' => c.to_string(),
            'q' => quote_with(c.to_string().as_bytes(), '\'', self.plus),
            _ if self.sharp && found.is_some() => unicode(c),
            _ if negative => format!("U+{:04X}", magnitude.wrapping_neg()),
            _ => format!("U+{magnitude:04X}"),
        };
        self.pad(text.into_bytes(), self.zero && self.verb != 'U')
    }

    fn float(&self, number: f64, value: &Value<'_>) -> Vec<u8> {
        let magnitude = number.abs();
        let mut digits = match self.verb {
            _ if !number.is_finite() => if number.is_nan() { "NaN" } else { "Inf" }.into(),
            'v' | 'g' | 'G' => general(magnitude, self.precision, self.sharp),
            'f' | 'F' => format!("{magnitude:.*}", self.precision.unwrap_or(6)),
            'e' | 'E' => exponential(magnitude, Some(self.precision.unwrap_or(6))),
            _ => return self.bad(value),
        };
        if matches!(self.verb, 'G' | 'E') {
            digits = digits.to_uppercase();
        }
        let sign = if number.is_sign_negative() {
            "-"
        } else if self.plus || !number.is_finite() && !number.is_nan() {
            "+"
        } else if self.space {
            " "
        } else {
            ""
        };
        if self.zero && !self.minus && number.is_finite() {
            let width = self.width.unwrap_or(0).saturating_sub(sign.len());
            return format!("{sign}{digits:0>width$}").into_bytes();
        }
        self.pad(format!("{sign}{digits}").into_bytes(), false)
    }
}

/// A number with an exponent of at least two digits.
fn exponential(number: f64, precision: Option<usize>) -> String {
    let text = match precision {
        Some(precision) => format!("{number:.precision$e}"),
        None => format!("{number:e}"),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// How many digits tell the number apart from every other.
fn shortest_digits(number: f64) -> usize {
    let text = format!("{number:e}");
    text.split('e').next().unwrap_or_default().bytes().filter(u8::is_ascii_digit).count()
}

/// From this exponent on, the shortest form of a number has one.
const SHORTEST_LIMIT: i32 = 6;
/// Digits of a number of which all are to be shown.
const SHARP_PLACES: usize = 6;

/// A number as `%g` shows it: with an exponent if that is below -4 or large.
fn general(number: f64, precision: Option<usize>, sharp: bool) -> String {
    let shortest = precision.is_none();
    let precision =
        if sharp { precision.or_else(|| Some(shortest_digits(number).max(SHARP_PLACES))) } else { precision };
    let places = precision.map(|precision| precision.max(1));
    let scientific = exponential(number, places.map(|places| places - 1));
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let limit = match places {
        Some(places) if !shortest => i32::try_from(places).unwrap_or(i32::MAX),
        _ => SHORTEST_LIMIT,
    };
    let trim = |text: &str| match text.contains('.') && !sharp {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= limit {
        let (_, tail) = scientific.split_once('e').unwrap_or(("", "+00"));
        return format!("{}e{tail}", trim(mantissa));
    }
    match places {
        Some(places) => {
            let decimals = i32::try_from(places).unwrap_or(i32::MAX) - 1 - exponent;
            trim(&format!("{number:.*}", usize::try_from(decimals).unwrap_or(0)))
        }
        None => format!("{number}"),
    }
}
