//! Common parts of all imports: CSV columns by name, batches to the router, a progress bar, the
//! list of rejected rows.

use std::fs::File;
use std::io::IsTerminal as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use csv::StringRecord;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::client::Client;
use super::failure::{Exit, Failure};
use super::output::{Table, print, print_json, print_stderr};
use crate::primitives::Slug;
use crate::primitives::limits::{IMPORT_BATCH, IMPORT_BATCH_BYTES};

/// The number of rejected rows that are listed in text output; `--json` lists all.
const REFUSED_SHOWN: usize = 50;

/// A CSV file whose first line names its columns.
pub struct CsvFile {
    /// The file name for messages.
    pub name: String,
    /// The size in bytes.
    pub bytes: u64,
    reader: csv::Reader<File>,
    /// A second handle of the file, to read earlier parts again.
    file: File,
    headers: StringRecord,
}

/// Handles a row. Parameters: file, line, the row or its fault, and the import position in bytes.
pub type RowHandler<'a> =
    dyn FnMut(&str, u64, Result<Value, String>, u64) -> Result<(), Failure> + 'a;

/// A line of a CSV file: its number, and its cells or its fault.
pub struct CsvLine {
    pub number: u64,
    pub cells: Result<StringRecord, String>,
}

impl CsvFile {
    /// Opens a file and reads its header line.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let unreadable = |error: String| Failure::failed(format!("cannot read {name}: {error}"));
        let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
        let metadata = file
            .metadata()
            .map_err(|error| unreadable(error.to_string()))?;
        if metadata.is_dir() {
            return Err(unreadable("it is a directory".to_owned()));
        }
        let second_handle = file
            .try_clone()
            .map_err(|error| unreadable(error.to_string()))?;
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::Headers)
            .from_reader(file);
        let headers = reader
            .headers()
            .map_err(|error| unreadable(reason(&error)))?
            .clone();
        let is_twice = |(index, header): &(usize, &str)| {
            !header.is_empty() && headers.iter().take(*index).any(|other| other == *header)
        };
        if let Some((_, header)) = headers.iter().enumerate().find(is_twice) {
            return Err(Failure::failed_with(
                format!("{name} has two columns {header}"),
                "remove or rename one of them",
            ));
        }
        Ok(Self {
            bytes: metadata.len(),
            name,
            reader,
            file: second_handle,
            headers,
        })
    }

    pub fn has(&self, column: &str) -> bool {
        self.optional(column).is_some()
    }

    /// Finds the index of a column.
    pub fn optional(&self, column: &str) -> Option<usize> {
        self.headers.iter().position(|header| header == column)
    }

    /// Finds the indexes of required columns. Fails when a column is missing.
    pub fn required<const N: usize>(&self, columns: [&str; N]) -> Result<[usize; N], Failure> {
        let missing: Vec<&str> = columns
            .into_iter()
            .filter(|column| !self.has(column))
            .collect();
        if missing.is_empty() {
            return Ok(columns.map(|column| self.optional(column).expect("none is missing")));
        }
        let found: Vec<&str> = self.headers.iter().collect();
        Err(Failure::failed_with(
            format!("{} has no column {}", self.name, missing.join(", ")),
            format!(
                "its first line has {}; required are {}",
                found.join(", "),
                columns.join(", ")
            ),
        ))
    }

    /// Reads the next line; `None` at the end.
    pub fn next(&mut self) -> Result<Option<CsvLine>, Failure> {
        let mut record = StringRecord::new();
        let before = self.reader.position().clone();
        match self.reader.read_record(&mut record) {
            Ok(false) => Ok(None),
            Ok(true) => Ok(Some(CsvLine {
                number: self.line_at(record.position().unwrap_or(&before)),
                cells: Ok(record),
            })),
            Err(error) if error.is_io_error() => Err(Failure::failed(format!(
                "cannot read {}: {error}",
                self.name
            ))),
            Err(error) => Ok(Some(CsvLine {
                number: self.line_at(error.position().unwrap_or(&before)),
                cells: Err(reason(&error)),
            })),
        }
    }

    /// Computes the line number that an editor shows. The reader reports the end of the previous
    /// record, which is before the rest of its line break and before empty lines.
    fn line_at(&self, position: &csv::Position) -> u64 {
        let (mut line, mut at, mut bytes) = (position.line(), position.byte(), [0; 64]);
        loop {
            let read = self.file.read_at(&mut bytes, at).unwrap_or(0);
            let ends = bytes[..read]
                .iter()
                .take_while(|byte| matches!(byte, b'\r' | b'\n'))
                .count();
            line += bytes[..ends]
                .iter()
                .map(|byte| u64::from(*byte == b'\n'))
                .sum::<u64>();
            at += ends as u64;
            if ends < bytes.len() {
                return line;
            }
        }
    }

    /// The read position in bytes.
    pub fn position(&self) -> u64 {
        self.reader.position().byte()
    }
}

fn reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "not UTF-8; save the file as UTF-8".to_owned(),
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("{len} cells, but the first line has {expected_len}"),
        _ => error.to_string(),
    }
}

/// Returns a cell unless it is empty or missing.
pub fn optional_cell(cells: &StringRecord, column: Option<usize>) -> Option<&str> {
    column
        .and_then(|column| cells.get(column))
        .filter(|cell| !cell.is_empty())
}

/// Parses a cell as a whole number.
pub fn whole_number(cells: &StringRecord, column: usize, name: &str) -> Result<i64, String> {
    let text = cells.get(column).unwrap_or_default();
    text.trim()
        .parse()
        .map_err(|_| format!("{name} is not a whole number: `{text}`"))
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct RefusedRow {
    file: String,
    line: u64,
    reason: String,
}

/// Sends rows in batches and counts the results.
pub struct Importer<'a> {
    client: &'a Client,
    tenant: &'a Slug,
    path: &'static str,
    member: &'static str,
    bar: ProgressBar,
    batch: Vec<Value>,
    batch_bytes: usize,
    batch_file: String,
    rows: usize,
    counts: [u64; 3],
    refused: Vec<RefusedRow>,
}

const COUNTS: [&str; 3] = ["created", "updated", "unchanged"];

impl<'a> Importer<'a> {
    /// Creates an importer into a tenant. The batches `{member: [rows]}` go to `path`. `total` is
    /// the final position.
    pub fn new(
        client: &'a Client,
        tenant: &'a Slug,
        path: &'static str,
        member: &'static str,
        total: u64,
    ) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let style = ProgressStyle::with_template("{msg} {wide_bar} {percent}% {elapsed}")
            .expect("a valid template");
        let bar = ProgressBar::with_draw_target(Some(total), target).with_style(style);
        Self {
            client,
            tenant,
            path,
            member,
            bar,
            batch: Vec::new(),
            batch_bytes: 0,
            batch_file: String::new(),
            rows: 0,
            counts: [0; 3],
            refused: Vec::new(),
        }
    }

    /// Adds a row to the batch, or to the rejected rows. `position` is the position after the row.
    pub fn add_row(
        &mut self,
        file: &str,
        line: u64,
        row: Result<Value, String>,
        position: u64,
    ) -> Result<(), Failure> {
        match row {
            Ok(row) => self.add(file, row, position),
            Err(reason) => {
                self.refuse(file, line, reason);
                Ok(())
            }
        }
    }

    fn refuse(&mut self, file: &str, line: u64, reason: String) {
        self.rows += 1;
        self.refused.push(RefusedRow {
            file: file.to_owned(),
            line,
            reason,
        });
    }

    fn add(&mut self, file: &str, row: Value, position: u64) -> Result<(), Failure> {
        let bytes = row.to_string().len();
        if bytes > IMPORT_BATCH_BYTES {
            let line = row["line"].as_u64().unwrap_or(0);
            self.refuse(
                file,
                line,
                format!("the row has {bytes} bytes; the maximum is {IMPORT_BATCH_BYTES}"),
            );
            return Ok(());
        }
        if self.batch_file != file {
            self.send()?;
            file.clone_into(&mut self.batch_file);
        }
        self.rows += 1;
        self.batch_bytes += bytes;
        self.batch.push(row);
        if self.batch.len() >= IMPORT_BATCH || self.batch_bytes >= IMPORT_BATCH_BYTES {
            self.send()?;
            self.bar.set_message(format!("{} rows", self.rows));
            self.bar.set_position(position);
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let body = json!({self.member: std::mem::take(&mut self.batch)});
        self.batch_bytes = 0;
        let tally = self
            .client
            .import(self.tenant, self.path, &body)
            .map_err(Failure::of_import)?;
        for (count, name) in self.counts.iter_mut().zip(COUNTS) {
            *count += tally[name].as_u64().unwrap_or(0);
        }
        for refused in tally["refused"].as_array().into_iter().flatten() {
            self.refused.push(RefusedRow {
                file: self.batch_file.clone(),
                line: refused["line"].as_u64().unwrap_or(0),
                reason: refused["reason"].as_str().unwrap_or_default().to_owned(),
            });
        }
        Ok(())
    }

    /// Sends the rest and prints the result. Fails only when every row was rejected.
    pub fn finish(mut self, json: bool) -> Result<Exit, Failure> {
        self.send()?;
        self.bar.finish_and_clear();
        self.refused.sort();
        let [created, updated, unchanged] = self.counts;
        let refused = self.refused.len();
        if json {
            let rows = self
                .refused
                .iter()
                .map(|row| json!({"file": row.file, "line": row.line, "reason": row.reason}));
            let rows: Vec<Value> = rows.collect();
            print_json(
                &json!({"rows": self.rows, "created": created, "updated": updated,
                    "unchanged": unchanged, "refused": rows}),
            )?;
        } else {
            let rows = self.rows;
            print(&format!(
                "{rows} rows: {created} created, {updated} updated, {unchanged} unchanged, \
                 {refused} rejected\n"
            ))?;
            self.list_refused();
        }
        if refused > 0 && refused == self.rows {
            return Err(Failure::failed_with(
                "all rows were rejected",
                "see the reason of each row; correct the file and run the command again",
            ));
        }
        Ok(Exit::Done)
    }

    fn list_refused(&self) {
        if self.refused.is_empty() {
            return;
        }
        let mut table = Table::new(&["file", "line", "reason"]);
        for row in self.refused.iter().take(REFUSED_SHOWN) {
            table.row([row.file.clone(), row.line.to_string(), row.reason.clone()]);
        }
        print_stderr(&table.render(""));
        if self.refused.len() > REFUSED_SHOWN {
            print_stderr(&format!(
                "… and {} more; --json lists all\n",
                self.refused.len() - REFUSED_SHOWN
            ));
        }
    }
}
