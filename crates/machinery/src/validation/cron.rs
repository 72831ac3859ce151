//! Schedules of CronJobs.

/// Whether text is a schedule: five fields, or a word such as `@daily`. The problem is in the words of the stock server.
pub(super) fn check(schedule: &str) -> Result<(), String> {
    for zone in ["TZ=", "CRON_TZ="] {
        if schedule.contains(zone) {
            return Err("cannot use TZ or CRON_TZ in schedule, use timeZone field instead".into());
        }
    }
    if let Some(word) = schedule.strip_prefix('@') {
        let known = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"].contains(&word);
        let every = word.strip_prefix("every ").is_some_and(crate::schema::is_go_duration);
        return if known || every { Ok(()) } else { Err(format!("unrecognized descriptor: {schedule}")) };
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    fields.iter().zip(FIELDS).try_for_each(|(text, field)| text.split(',').try_for_each(|part| range(part, &field)))
}

struct Field {
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const FIELDS: [Field; 5] = [
    Field { least: 0, most: 59, names: &[] },
    Field { least: 0, most: 23, names: &[] },
    Field { least: 1, most: 31, names: &[] },
    Field { least: 1, most: 12, names: &MONTHS },
    Field { least: 0, most: 6, names: &DAYS },
];

fn number(text: &str, field: &Field) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    if let Some(at) = field.names.iter().position(|name| *name == lower) {
        return Ok(u32::try_from(at).expect("at most twelve names") + field.least);
    }
    let number: i64 = text
        .parse()
        .map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))?;
    u32::try_from(number).map_err(|_| format!("negative number ({number}) not allowed: {text}"))
}

/// `*`, `5`, `1-5`, each with an optional `/step`.
fn range(text: &str, field: &Field) -> Result<(), String> {
    let (body, step) = text.split_once('/').map_or((text, None), |(body, step)| (body, Some(step)));
    if step.is_some_and(|step| step.contains('/')) {
        return Err(format!("too many slashes: {text}"));
    }
    let (start, end) = if matches!(body, "*" | "?") {
        (field.least, field.most)
    } else {
        let (low, high) = body.split_once('-').map_or((body, None), |(low, high)| (low, Some(high)));
        if high.is_some_and(|high| high.contains('-')) {
            return Err(format!("too many hyphens: {text}"));
        }
        let start = number(low, field)?;
        let end = match (high, step) {
            (Some(high), _) => number(high, field)?,
            (None, Some(_)) => field.most,
            (None, None) => start,
        };
        (start, end)
    };
    if let Some(step) = step
        && number(step, &Field { least: 0, most: u32::MAX, names: &[] })? == 0
    {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    if start < field.least {
        return Err(format!("beginning of range ({start}) below minimum ({}): {text}", field.least));
    }
    if end > field.most {
        return Err(format!("end of range ({end}) above maximum ({}): {text}", field.most));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    Ok(())
}

/// Whether text can be the name of a time zone. Which zones there are is not known here.
pub(super) fn check_zone(zone: &str) -> Result<(), String> {
    if zone.is_empty() {
        return Err("timeZone must be nil or non-empty string".into());
    }
    if zone.eq_ignore_ascii_case("local") {
        return Err("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones".into());
    }
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+'))
    };
    if zone.split('/').all(part) { Ok(()) } else { Err(format!("unknown time zone {zone}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules() {
        for good in ["* * * * *", "*/5 0-6 1,15 jan-mar MON", "@hourly", "@every 1h30m", "0 0 1 1 ?"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, problem) in [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("a * * * *", "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("@often", "unrecognized descriptor: @often"),
            ("TZ=UTC * * * * *", "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
        ] {
            assert_eq!(check(bad), Err(problem.to_owned()));
        }
        assert_eq!(check_zone("Europe/Prague"), Ok(()));
        assert_eq!(check_zone("Etc/GMT+1"), Ok(()));
        assert!(check_zone("").is_err());
        assert!(check_zone("../x").is_err());
    }
}
