//! The door for `fuzz/`: what reads the files of an import, without a shop to import them into.
//! Nothing else uses it.

use std::path::Path;

use serde_json::Value;

use super::failure::Failure;
use super::import::{CsvFile, TakeRow};
use super::{catalog, sales};

/// A row by its line, or what is wrong with it.
pub type Row = (u64, Result<Value, String>);

/// The rows of a product list.
///
/// # Errors
/// What is wrong with the file as a whole.
pub fn catalog_rows(path: &Path) -> Result<Vec<Row>, String> {
    rows(|take| catalog::read_rows(&mut CsvFile::open(path)?, take))
}

/// The sales of a file of invoices and one of their lines.
///
/// # Errors
/// What is wrong with a file as a whole.
pub fn sales_rows(invoices: &Path, lines: &Path) -> Result<Vec<Row>, String> {
    rows(|take| {
        sales::read_rows(
            &mut [CsvFile::open(invoices)?],
            &mut [CsvFile::open(lines)?],
            take,
        )
    })
}

fn rows(read: impl FnOnce(&mut TakeRow<'_>) -> Result<(), Failure>) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    let read = read(&mut |_, line, row, _| {
        rows.push((line, row));
        Ok(())
    });
    read.map_err(|failure| failure.message().to_owned())
        .map(|()| rows)
}
