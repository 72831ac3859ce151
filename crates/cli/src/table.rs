//! Tables for people.

use api::Timestamp;

/// Spaces between columns.
const GAP: usize = 3;

/// Lines of a table: columns as wide as their widest cell, but at least as wide as asked.
pub fn table(columns: &[(&str, usize)], rows: &[Vec<String>]) -> String {
    let cell = |row: &[String], index: usize| row.get(index).map_or(0, |cell| cell.chars().count() + GAP);
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, (name, least))| {
            let widest = rows.iter().map(|row| cell(row, index)).max().unwrap_or(0);
            widest.max(name.chars().count() + GAP).max(*least)
        })
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: String = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.trim_end())
    };
    let mut text = line(&mut columns.iter().map(|(name, _)| *name));
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// An age as kubectl shows it: `12s`, `5m30s`, `3h`, `2d4h`.
pub fn age(since: Option<Timestamp>, now: Timestamp) -> String {
    let Some(since) = since else { return "<unknown>".into() };
    let seconds = (now.seconds() - since.seconds()).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let with = |large: String, small: i64, unit: &str| if small == 0 { large } else { format!("{large}{small}{unit}") };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => with(format!("{minutes}m"), seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => with(format!("{hours}h"), minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => with(format!("{days}d"), hours % 24, "h"),
        _ => format!("{days}d"),
    }
}

/// An age as Go writes a duration, rounded to seconds: `45s`, `2m5s`, `26h0m1s`; so `kflex list` shows it.
pub fn go_age(since: Option<Timestamp>, now: Timestamp) -> String {
    let Some(since) = since else { return "Unknown".into() };
    let seconds = (now.seconds() - since.seconds()).max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        _ => format!("{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_their_cells() {
        let rows = vec![
            vec!["a".to_owned(), "yes".to_owned(), String::new()],
            vec!["long-name-ü".to_owned(), String::new(), "x".to_owned()],
        ];
        assert_eq!(
            table(&[("NAME", 0), ("READY", 10), ("NOTE", 0)], &rows),
            "NAME          READY     NOTE\na             yes\nlong-name-ü             x\n"
        );
        assert_eq!(table(&[("NAME", 0)], &[]), "NAME\n");
    }

    #[test]
    fn ages() {
        let at = |seconds| Some(Timestamp::from_seconds(seconds));
        let now = Timestamp::from_seconds(1_000_000);
        let ages = |before: i64| (age(at(1_000_000 - before), now), go_age(at(1_000_000 - before), now));
        for (before, human, go) in [
            (0, "0s", "0s"),
            (119, "119s", "1m59s"),
            (150, "2m30s", "2m30s"),
            (3600, "60m", "1h0m0s"),
            (10_860, "3h1m", "3h1m0s"),
            (90_000, "25h", "25h0m0s"),
            (180_000, "2d2h", "50h0m0s"),
            (-5, "0s", "0s"),
        ] {
            assert_eq!(ages(before), (human.to_owned(), go.to_owned()), "{before}");
        }
        assert_eq!(age(None, now), "<unknown>");
    }
}
