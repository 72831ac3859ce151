//! Parts of durations and points in time.

use super::Row;
use crate::cel::error::Error;
use crate::cel::time::Timestamp;
use crate::cel::value::Value;

type Result<'a> = std::result::Result<Value<'a>, Error>;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "getFullYear",
        call: |args| of_time(args, |[year, ..]| year),
        overloads: &["timestamp_to_year: timestamp.() int", "timestamp_to_year_with_tz: timestamp.(string) int"],
    },
    Row {
        name: "getMonth",
        call: |args| of_time(args, |[_, month, ..]| month - 1),
        overloads: &["timestamp_to_month: timestamp.() int", "timestamp_to_month_with_tz: timestamp.(string) int"],
    },
    Row {
        name: "getDayOfYear",
        call: |args| of_time(args, |[.., day]| day),
        overloads: &[
            "timestamp_to_day_of_year: timestamp.() int",
            "timestamp_to_day_of_year_with_tz: timestamp.(string) int",
        ],
    },
    Row {
        name: "getDayOfMonth",
        call: |args| of_time(args, |[_, _, day, ..]| day - 1),
        overloads: &[
            "timestamp_to_day_of_month: timestamp.() int",
            "timestamp_to_day_of_month_with_tz: timestamp.(string) int",
        ],
    },
    Row {
        name: "getDate",
        call: |args| of_time(args, |[_, _, day, ..]| day),
        overloads: &[
            "timestamp_to_day_of_month_1_based: timestamp.() int",
            "timestamp_to_day_of_month_1_based_with_tz: timestamp.(string) int",
        ],
    },
    Row {
        name: "getDayOfWeek",
        call: |args| of_time(args, |[.., day, _]| day),
        overloads: &[
            "timestamp_to_day_of_week: timestamp.() int",
            "timestamp_to_day_of_week_with_tz: timestamp.(string) int",
        ],
    },
    Row {
        name: "getHours",
        call: |args| part(args, 3_600_000_000_000, |[_, _, _, hour, ..]| hour),
        overloads: &[
            "timestamp_to_hours: timestamp.() int",
            "timestamp_to_hours_with_tz: timestamp.(string) int",
            "duration_to_hours: duration.() int",
        ],
    },
    Row {
        name: "getMinutes",
        call: |args| part(args, 60_000_000_000, |[_, _, _, _, minute, ..]| minute),
        overloads: &[
            "timestamp_to_minutes: timestamp.() int",
            "timestamp_to_minutes_with_tz: timestamp.(string) int",
            "duration_to_minutes: duration.() int",
        ],
    },
    Row {
        name: "getSeconds",
        call: |args| part(args, 1_000_000_000, |[_, _, _, _, _, second, ..]| second),
        overloads: &[
            "timestamp_to_seconds: timestamp.() int",
            "timestamp_to_seconds_tz: timestamp.(string) int",
            "duration_to_seconds: duration.() int",
        ],
    },
    Row {
        name: "getMilliseconds",
        call: milliseconds,
        overloads: &[
            "timestamp_to_milliseconds: timestamp.() int",
            "timestamp_to_milliseconds_with_tz: timestamp.(string) int",
            "duration_to_milliseconds: duration.() int",
        ],
    },
];

fn time(args: &[Value<'_>]) -> std::result::Result<Timestamp, Error> {
    let Some(Value::Timestamp(time)) = args.first() else { return Err(Error::no_overload()) };
    match args.get(1) {
        None => Ok(*time),
        Some(Value::String(zone)) => {
            time.in_zone(zone).ok_or_else(|| Error::new(format!("unknown time zone {}", &**zone)))
        }
        Some(_) => Err(Error::no_overload()),
    }
}

fn of_time<'a>(args: &[Value<'a>], part: fn([i64; 8]) -> i64) -> Result<'a> {
    Ok(Value::Int(part(time(args)?.civil())))
}

fn part<'a>(args: &[Value<'a>], unit: i64, part: fn([i64; 8]) -> i64) -> Result<'a> {
    match args {
        [Value::Duration(duration)] => Ok(Value::Int(duration.0 / unit)),
        _ => of_time(args, part),
    }
}

fn milliseconds<'a>(args: &[Value<'a>]) -> Result<'a> {
    match args {
        [Value::Duration(duration)] => Ok(Value::Int(duration.0 / 1_000_000)),
        _ => Ok(Value::Int(i64::from(time(args)?.nanos / 1_000_000))),
    }
}
