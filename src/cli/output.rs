//! The output of results: aligned tables for people, JSON for programs. `anstream` strips colours
//! without a terminal.

use std::io::{ErrorKind, Write as _};

use anstyle::{AnsiColor, Style};
use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use super::failure::Failure;

/// Prints to standard output. A closed pipe (`| head`) is not a failure.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = anstream::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot print the result: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints an additional message to standard error.
pub fn print_stderr(text: &str) {
    // A failed write cannot be reported anywhere else.
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}

/// Prints indented JSON, for `jq` and people alike.
pub fn print_json(value: &Value) -> Result<(), Failure> {
    print(&format!("{value:#}\n"))
}

/// Whether standard error shows colours.
pub fn stderr_is_coloured() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

pub struct Table {
    columns: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(headings: &[impl AsRef<str>]) -> Self {
        let headings = headings
            .iter()
            .map(|heading| heading.as_ref().to_uppercase());
        Self {
            columns: headings.len(),
            rows: vec![headings.collect()],
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().map(|cell| printable(&cell)).collect();
        assert_eq!(
            cells.len(),
            self.columns,
            "a row has a cell for each heading"
        );
        self.rows.push(cells);
    }

    /// Formats the table; `empty` if it has no rows.
    pub fn render(&self, empty: &str) -> String {
        if self.rows.len() == 1 {
            return format!("{empty}\n");
        }
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].width())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns).map(width).collect();
        let heading = Style::new().bold();
        let mut text = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.width())));
            let line = cells.collect::<Vec<_>>().join("  ");
            let line = line.trim_end();
            if index == 0 {
                text.push_str(&format!("{heading}{line}{heading:#}\n"));
            } else {
                text.push_str(&format!("{line}\n"));
            }
        }
        text
    }
}

/// Formats the named members of the rows of an answer; a heading has spaces where the member has
/// `_`. `empty` if there are no rows.
pub fn table(members: &[&str], rows: &[Value], empty: &str) -> String {
    let headings: Vec<String> = members
        .iter()
        .map(|member| member.replace('_', " "))
        .collect();
    let mut table = Table::new(&headings);
    rows.iter()
        .for_each(|row| table.row(members.iter().map(|member| text(&row[*member]))));
    table.render(empty)
}

/// Formats names and values, one pair per line.
pub fn facts(facts: &[(&str, String)]) -> String {
    let width = facts
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    let label = Style::new().bold();
    let line = |(name, value): &(&str, String)| {
        format!("{label}{name:<width$}{label:#}  {}\n", printable(value))
    };
    facts.iter().map(line).collect()
}

pub fn green(text: &str) -> String {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Green.into()));
    format!("{style}{text}{style:#}")
}

pub fn red(text: &str) -> String {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    format!("{style}{text}{style:#}")
}

/// Formats a JSON value for people; empty values as a dash.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "-".to_owned(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Replaces control characters: external text must not control the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_columns_without_trailing_spaces() {
        let mut table = Table::new(&["slug", "name"]);
        assert_eq!(table.render("none"), "none\n");
        table.row(["käse".to_owned(), "Käse\u{1b}[31m".to_owned()]);
        table.row(["茶".to_owned(), "two columns wide".to_owned()]);
        table.row(["a".to_owned(), String::new()]);
        let text = anstream::adapter::strip_str(&table.render("none")).to_string();
        assert_eq!(
            text,
            "SLUG  NAME\nkäse  Käse\u{fffd}[31m\n茶    two columns wide\na\n"
        );
    }
}
