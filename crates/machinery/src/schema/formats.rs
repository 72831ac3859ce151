//! `format` of a schema: what text must look like. Unknown formats hold anything.

use base64::Engine as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether `text` has the format; `None` if the format is not one that custom resources are held to.
pub(crate) fn holds(format: &str, text: &str) -> Option<bool> {
    let normalized: String = format.chars().filter(|c| *c != '-').collect();
    Some(match normalized.as_str() {
        "bsonobjectid" => text.len() == 24 && is_hex(text),
        "uri" => is_uri(text),
        "email" => is_email(text),
        "hostname" => is_hostname(text),
        "ipv4" => ipv4(text),
        "ipv6" => text.contains(':') && text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "uuid" => is_uuid(text, None),
        "uuid3" => is_uuid(text, Some('3')),
        "uuid4" => is_uuid(text, Some('4')),
        "uuid5" => is_uuid(text, Some('5')),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "creditcard" => is_credit_card(text),
        "ssn" => is_ssn(text),
        "hexcolor" => {
            let digits = text.strip_prefix('#').unwrap_or(text);
            matches!(digits.len(), 3 | 6) && is_hex(digits)
        }
        "rgbcolor" => is_rgb(text),
        "byte" => base64::engine::general_purpose::STANDARD.decode(text).is_ok(),
        "password" => true,
        "date" => is_date(text),
        "duration" => is_duration(text),
        "datetime" => is_date_time(text),
        "k8sshortname" => crate::name::dns_label(text).is_empty(),
        "k8slongname" => crate::name::dns_subdomain(text).is_empty(),
        _ => return None,
    })
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// An absolute URI, or a path that begins with a slash.
fn is_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        && !rest.is_empty()
}

/// `a@b`, or `Name <a@b>`.
fn is_email(text: &str) -> bool {
    let address = match text.trim().rsplit_once('<') {
        Some((_, rest)) => match rest.strip_suffix('>') {
            Some(address) => address,
            None => return false,
        },
        None => text.trim(),
    };
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let local_ok = (local.starts_with('"') && local.ends_with('"') && local.len() > 2)
        || (!local.is_empty()
            && !local.starts_with('.')
            && !local.ends_with('.')
            && !local.contains("..")
            && !local.contains(|c: char| c.is_whitespace() || "()<>[]:;@\\,\"".contains(c)));
    local_ok
        && !domain.is_empty()
        && !domain.starts_with('.')
        && !domain.ends_with('.')
        && !domain.contains(|c: char| c.is_whitespace() || "()<>:;@\\,\"".contains(c))
}

fn is_hostname(text: &str) -> bool {
    if text.is_empty() || text.len() > 255 {
        return false;
    }
    let letter = |c: char| c.is_alphanumeric() && (c.is_ascii() || c.is_alphabetic());
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.starts_with(letter)
            && label.ends_with(letter)
            && label.chars().all(|c| letter(c) || c == '-')
    };
    let labels: Vec<&str> = text.split('.').collect();
    let top = labels.last().expect("split yields at least one part");
    let top_ok = labels.len() == 1 || (top.chars().all(char::is_alphabetic) && top.chars().count() >= 2);
    labels.iter().all(|part| label(part)) && top_ok
}

/// Leading zeros are tolerated.
fn ipv4(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 4
        && parts.iter().all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) && part.parse::<u32>().is_ok_and(|n| n < 256)
        })
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let most = if ipv4(address) {
        32
    } else if address.parse::<Ipv6Addr>().is_ok() {
        128
    } else {
        return false;
    };
    !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) && length.parse::<u32>().is_ok_and(|n| n <= most)
}

fn is_mac(text: &str) -> bool {
    let grouped = |separator: char, digits: usize, counts: &[usize]| {
        let parts: Vec<&str> = text.split(separator).collect();
        counts.contains(&parts.len()) && parts.iter().all(|part| part.len() == digits && is_hex(part))
    };
    grouped(':', 2, &[6, 8, 20]) || grouped('-', 2, &[6, 8, 20]) || grouped('.', 4, &[3, 4, 10])
}

fn is_uuid(text: &str, version: Option<char>) -> bool {
    let mut rest = text;
    let mut digits = String::with_capacity(32);
    for (index, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        let Some(part) = rest.get(..length).filter(|part| is_hex(part)) else { return false };
        digits.push_str(part);
        rest = &rest[length..];
    }
    let digit = |at: usize| digits.as_bytes()[at] as char;
    rest.is_empty()
        && version.is_none_or(|version| {
            digit(12) == version && (version == '3' || matches!(digit(16).to_ascii_lowercase(), '8' | '9' | 'a' | 'b'))
        })
}

fn isbn_digits(text: &str) -> String {
    text.chars().filter(|c| *c != '-' && *c != ' ').collect()
}

fn is_isbn10(text: &str) -> bool {
    let digits = isbn_digits(text);
    if digits.len() != 10 {
        return false;
    }
    let mut sum = 0;
    for (at, c) in digits.chars().enumerate() {
        let value = match (c, at) {
            ('X', 9) => 10,
            (c, _) => match c.to_digit(10) {
                Some(value) => value,
                None => return false,
            },
        };
        sum += value * (10 - u32::try_from(at).expect("at most nine"));
    }
    sum % 11 == 0
}

fn is_isbn13(text: &str) -> bool {
    let digits: Option<Vec<u32>> = isbn_digits(text).chars().map(|c| c.to_digit(10)).collect();
    digits.is_some_and(|digits| {
        let weighted = digits.iter().enumerate().map(|(at, digit)| if at % 2 == 0 { *digit } else { digit * 3 });
        digits.len() == 13 && weighted.sum::<u32>() % 10 == 0
    })
}

/// Luhn's check over the digits of a card number.
fn is_credit_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let weighted =
        digits.iter().rev().enumerate().map(|(at, digit)| if at % 2 == 0 { *digit } else { doubled(*digit) });
    (12..=16).contains(&digits.len()) && weighted.sum::<u32>() % 10 == 0
}

fn is_ssn(text: &str) -> bool {
    let digits: String = text.chars().filter(|c| *c != '-' && *c != ' ').collect();
    digits.len() == 9
        && digits.bytes().all(|b| b.is_ascii_digit())
        && (text.len() == 9 || (text.len() == 11 && !text[3..4].starts_with(|c: char| c.is_ascii_digit())))
}

fn is_rgb(text: &str) -> bool {
    let Some(body) = text.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')')) else { return false };
    let parts: Vec<&str> = body.split(',').map(str::trim).collect();
    parts.len() == 3 && parts.iter().all(|part| part.parse::<u8>().is_ok())
}

fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.is_ascii()
        && format!("{text}T00:00:00Z").parse::<api::Timestamp>().is_ok()
        && real_day(text)
}

/// Whether the month has the day.
fn real_day(date: &str) -> bool {
    let number = |range: std::ops::Range<usize>| date.get(range).and_then(|digits| digits.parse::<u32>().ok());
    let (Some(year), Some(month), Some(day)) = (number(0..4), number(5..7), number(8..10)) else { return false };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    day <= days
}

fn is_date_time(text: &str) -> bool {
    text.as_bytes().get(10).is_some_and(|b| matches!(b, b'T' | b't'))
        && text.parse::<api::Timestamp>().is_ok()
        && text.get(..10).is_some_and(real_day)
}

/// Go's durations (`1h30m`), and words as Scala has them (`22 ns`, `3 days`).
fn is_duration(text: &str) -> bool {
    go_duration(text).is_some() || {
        const UNITS: [&str; 21] = [
            "ns",
            "nano",
            "nanosecond",
            "us",
            "µs",
            "micro",
            "microsecond",
            "ms",
            "milli",
            "millisecond",
            "s",
            "sec",
            "second",
            "m",
            "min",
            "minute",
            "h",
            "hr",
            "hour",
            "d",
            "day",
        ];
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let unit = text[digits..].trim();
        let singular = unit.strip_suffix('s').unwrap_or(unit);
        digits > 0 && (UNITS.contains(&unit) || UNITS.contains(&singular) || matches!(singular, "w" | "week" | "wk"))
    }
}

/// Seconds of a duration as Go writes them.
pub(crate) fn go_duration(text: &str) -> Option<f64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0.0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let length = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let number: f64 = rest[..length].parse().ok()?;
        rest = &rest[length..];
        const UNITS: [(&str, f64); 8] = [
            ("ns", 1e-9),
            ("us", 1e-6),
            ("µs", 1e-6),
            ("μs", 1e-6),
            ("ms", 1e-3),
            ("s", 1.0),
            ("m", 60.0),
            ("h", 3600.0),
        ];
        let (unit, scale) = UNITS.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        seconds += number * scale;
        rest = &rest[unit.len()..];
    }
    Some(if negative { -seconds } else { seconds })
}

/// Whether text is an IP address of either family.
pub(crate) fn is_ip(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_hold_what_they_name() {
        for (format, good, bad) in [
            ("uri", "https://a/b", "no scheme"),
            ("email", "a@b.c", "a.b.c"),
            ("hostname", "a.example.com", "-a"),
            ("ipv4", "10.0.0.1", "10.0.0.256"),
            ("ipv6", "fe80::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("cidr", "fe80::/10", "fe80::"),
            ("mac", "00:1b:2c:3d:4e:5f", "00:1b:2c"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567"),
            ("uuid4", "123e4567-e89b-42d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"),
            ("isbn10", "0321751043", "0321751044"),
            ("isbn13", "978-0321751041", "978-0321751042"),
            ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
            ("ssn", "123-45-6789", "123-45-678"),
            ("hexcolor", "#FFFFFF", "#FFFFF"),
            ("rgbcolor", "rgb(1, 2, 255)", "rgb(1, 2, 256)"),
            ("byte", "YWI=", "YWI"),
            ("date", "2024-02-29", "2023-02-29"),
            ("date-time", "2014-12-15T19:30:20.000Z", "2014-12-15"),
            ("duration", "1h30m", "1x"),
            ("duration", "22 ns", "ns"),
            ("k8s-short-name", "a-b", "A"),
            ("bsonobjectid", "507f1f77bcf86cd799439011", "507f"),
        ] {
            assert_eq!(holds(format, good), Some(true), "{format} {good}");
            assert_eq!(holds(format, bad), Some(false), "{format} {bad}");
        }
        assert_eq!(holds("something", "x"), None);
    }
}
