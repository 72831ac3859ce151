//! Durations and points in time of expressions.

use std::fmt;

const NANOS: i64 = 1_000_000_000;

/// A duration, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Duration(pub i64);

/// A point in time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Of the second.
    pub nanos: u32,
}

/// Years 1 to 9999.
const FIRST: i64 = -62_135_596_800;
const LAST: i64 = 253_402_300_799;

impl Duration {
    /// Reads `1h30m`, as Go writes durations.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, mut rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Some(Self(0));
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|at| *at > 0)?;
            let (digits, after) = rest.split_at(number);
            let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
            let (unit, after) = after.split_at(unit);
            let scale: i128 = match unit {
                "ns" => 1,
                "us" | "µs" | "μs" => 1_000,
                "ms" => 1_000_000,
                "s" => i128::from(NANOS),
                "m" => 60 * i128::from(NANOS),
                "h" => 3600 * i128::from(NANOS),
                _ => return None,
            };
            let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
            if whole.is_empty() && part.is_empty() || part.contains('.') {
                return None;
            }
            let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
            total = total.checked_add(whole.checked_mul(scale)?)?;
            let mut unit = scale;
            for digit in part.bytes().take(18) {
                unit /= 10;
                total += i128::from(digit - b'0') * unit;
            }
            rest = after;
        }
        i64::try_from(if negative { -total } else { total }).ok().map(Self)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        let (seconds, part) = (nanos / NANOS.unsigned_abs(), nanos % NANOS.unsigned_abs());
        if part == 0 {
            return write!(f, "{sign}{seconds}s");
        }
        let part = format!("{part:09}");
        write!(f, "{sign}{seconds}.{}s", part.trim_end_matches('0'))
    }
}

impl Timestamp {
    /// In seconds, if the year has four digits.
    pub(crate) fn new(seconds: i64, nanos: u32) -> Option<Self> {
        (FIRST..=LAST).contains(&seconds).then_some(Self { seconds, nanos })
    }

    /// Reads RFC 3339.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let number = |from: usize, to: usize| -> Option<i64> {
            let piece = text.get(from..to)?;
            piece.bytes().all(|b| b.is_ascii_digit()).then(|| piece.parse().ok())?
        };
        let sign = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|b| wanted.contains(b));
        if !(sign(4, b"-") && sign(7, b"-") && sign(10, b"Tt") && sign(13, b":") && sign(16, b":")) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if !(1..=12).contains(&month)
            || !(1..=days_in_month(year, month)).contains(&day)
            || hour > 23
            || minute > 59
            || second > 59
        {
            return None;
        }
        let mut rest = text.get(19..)?;
        let mut nanos = 0;
        if let Some(part) = rest.strip_prefix(['.', ',']) {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            if digits == 0 {
                return None;
            }
            let shown = format!("{:0<9}", &part[..digits.min(9)]);
            nanos = shown.parse().ok()?;
            rest = &part[digits..];
        }
        let offset = if rest.eq_ignore_ascii_case("z") { 0 } else { offset(rest)? };
        let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
        Self::new(seconds, nanos)
    }

    pub(crate) fn plus(self, duration: Duration) -> Option<Self> {
        let nanos = i128::from(self.seconds) * i128::from(NANOS) + i128::from(self.nanos) + i128::from(duration.0);
        let seconds = i64::try_from(nanos.div_euclid(i128::from(NANOS))).ok()?;
        Self::new(seconds, u32::try_from(nanos.rem_euclid(i128::from(NANOS))).ok()?)
    }

    pub(crate) fn since(self, other: Self) -> Option<Duration> {
        let nanos = |time: Self| i128::from(time.seconds) * i128::from(NANOS) + i128::from(time.nanos);
        i64::try_from(nanos(self) - nanos(other)).ok().map(Duration)
    }

    /// Year, month (1-12), day (1-31), hour, minute, second, day of the week (Sunday is 0), day of the year (0-365).
    pub(crate) fn civil(self) -> [i64; 8] {
        let days = self.seconds.div_euclid(86_400);
        let second = self.seconds.rem_euclid(86_400);
        let (year, month, day) = civil_from_days(days);
        let of_year = days - days_from_civil(year, 1, 1);
        [year, month, day, second / 3600, second / 60 % 60, second % 60, (days + 4).rem_euclid(7), of_year]
    }

    /// In a time zone: `UTC`, or an offset as `-08:00`. Zones by the name of a place would need their history.
    pub(crate) fn in_zone(self, zone: &str) -> Option<Self> {
        let shift = match zone {
            "" | "UTC" | "Z" | "GMT" | "Etc/UTC" => 0,
            _ if zone.starts_with(['+', '-']) => offset(zone)?,
            _ => offset(&format!("+{zone}"))?,
        };
        Some(Self { seconds: self.seconds + shift, ..self })
    }
}

/// Seconds of `+01:30`.
fn offset(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':')?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [year, month, day, hour, minute, second, ..] = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanos > 0 {
            let part = format!("{:09}", self.nanos);
            write!(f, ".{}", part.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970 of a date of the Gregorian calendar, counted in years that begin in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, seconds: i64, printed: &str) {
        let time = Timestamp::parse(text).unwrap();
        assert_eq!((time.seconds, time.to_string().as_str()), (seconds, printed));
    }

    #[test]
    fn timestamps() {
        check("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z");
        check("2000-02-29T23:59:59.25+01:00", 951_865_199, "2000-02-29T22:59:59.25Z");
        check("0001-01-01T00:00:00Z", FIRST, "0001-01-01T00:00:00Z");
        check("9999-12-31T23:59:59Z", LAST, "9999-12-31T23:59:59Z");
        assert_eq!(Timestamp::parse("2001-02-29T00:00:00Z"), None);
        assert_eq!(Timestamp::parse("2000-02-29").map(|_| ()), None);
    }

    #[test]
    fn durations() {
        for (text, printed) in [("1h30m", "5400s"), ("-1.5s", "-1.5s"), ("0", "0s"), ("3ms2us", "0.003002s")] {
            assert_eq!(Duration::parse(text).unwrap().to_string(), printed);
        }
        for text in ["", "1", "h", "1.s.", "1d"] {
            assert!(Duration::parse(text).is_none(), "{text}");
        }
    }
}
