//! Entry points for `fuzz/` only: reading import files without a tenant to import into.

use std::path::Path;

use serde_json::Value;

use super::failure::Failure;
use super::import::{CsvFile, RowHandler};
use super::{catalog, sales};

/// The line of a row, and the row or its fault.
pub type Row = (u64, Result<Value, String>);

/// Reads the rows of a product list. Fails only when the file as a whole is invalid.
pub fn catalog_rows(path: &Path) -> Result<Vec<Row>, String> {
    collect(|handle| catalog::read_rows(&mut CsvFile::open(path)?, handle))
}

/// Reads the sales of a file of invoices and a file of their lines. Fails only when a file as a
/// whole is invalid.
pub fn sales_rows(invoices: &Path, lines: &Path) -> Result<Vec<Row>, String> {
    collect(|handle| {
        sales::read_rows(
            &mut [CsvFile::open(invoices)?],
            &mut [CsvFile::open(lines)?],
            handle,
        )
    })
}

fn collect(
    read: impl FnOnce(&mut RowHandler<'_>) -> Result<(), Failure>,
) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    let read = read(&mut |_, line, row, _| {
        rows.push((line, row));
        Ok(())
    });
    read.map_err(|failure| failure.message().to_owned())
        .map(|()| rows)
}
