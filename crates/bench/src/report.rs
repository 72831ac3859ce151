//! What was measured, as tables for people and as JSON.

use serde_json::{Map, Value};
use std::io::Write;

/// Tells results as they come, and keeps them for the JSON file.
pub(crate) struct Report<W> {
    out: W,
    json: Map<String, Value>,
}

impl<W: Write> Report<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, json: Map::new() }
    }

    pub(crate) fn heading(&mut self, text: &str) -> anyhow::Result<()> {
        writeln!(self.out, "\n== {text}")?;
        Ok(self.out.flush()?)
    }

    pub(crate) fn line(&mut self, text: &str) -> anyhow::Result<()> {
        writeln!(self.out, "{text}")?;
        Ok(self.out.flush()?)
    }

    pub(crate) fn table(&mut self, header: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
        write!(self.out, "{}", table(header, rows))?;
        Ok(self.out.flush()?)
    }

    /// Keeps a result for the JSON file.
    pub(crate) fn keep(&mut self, name: &str, value: Value) {
        self.json.insert(name.into(), value);
    }

    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(&self.json).expect("a tree of JSON values can be written")
    }
}

/// Aligned columns: the first to the left, the others to the right.
fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        let line = padded.collect::<Vec<_>>().join("  ");
        format!("  {}\n", line.trim_end())
    };
    let mut text = line(header.to_vec());
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["create".into(), "1.25".into()], vec!["edit".into(), "10.00".into()]];
        let expected = "  what      p50\n  create   1.25\n  edit    10.00\n";
        assert_eq!(table(&["what", "p50"], &rows), expected);
    }
}
