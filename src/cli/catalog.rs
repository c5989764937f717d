//! `tillbox catalog`: imports a product list.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use csv::StringRecord;
use serde_json::{Value, json};

use super::client::{Client, DataDirMode};
use super::failure::{Exit, Failure};
use super::import::{CsvFile, Importer, RowHandler, optional_cell, whole_number};
use super::{Global, Json};
use crate::primitives::Slug;

/// `tillbox catalog …`
#[derive(Debug, Subcommand)]
pub enum Catalog {
    /// Import products from a CSV file
    #[command(after_help = "\
The first line names the columns, in any order; unknown columns are ignored:
  sku, name, price_minor, currency               required
  category, barcode, tax_class, track_stock,
  unit, quantity_scale                           optional, may be empty

The price is for one whole unit. The unit is a code of UN/ECE Recommendation 20: C62 (piece), \
KGM, GRM, LTR, MTR, HUR or DAY.
The scale is the number of decimal places of its quantities, 0 to 3.

A row is matched to a product by its SKU: new products are created, changed ones updated, and \
equal ones left unchanged.
So the same file can be imported again, also after an interruption.
Rejected rows are listed with line and reason; all others are imported.
The exit code is 1 only when every row was rejected.

Example:
  tillbox catalog import products.csv --tenant corner")]
    Import(Import),
}

#[derive(Debug, Args)]
pub struct Import {
    /// The CSV file
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// The tenant
    #[arg(long, value_name = "S")]
    tenant: Slug,
    #[command(flatten)]
    output: Json,
}

impl Catalog {
    pub fn run(self, global: &Global) -> Result<Exit, Failure> {
        let Self::Import(import) = self;
        import.run(global)
    }
}

struct Columns {
    sku: usize,
    name: usize,
    price_minor: usize,
    currency: usize,
    category: Option<usize>,
    barcode: Option<usize>,
    tax_class: Option<usize>,
    track_stock: Option<usize>,
    unit: Option<usize>,
    quantity_scale: Option<usize>,
}

impl Columns {
    fn of(file: &CsvFile) -> Result<Self, Failure> {
        let [sku, name, price_minor, currency] =
            file.required(["sku", "name", "price_minor", "currency"])?;
        Ok(Self {
            sku,
            name,
            price_minor,
            currency,
            category: file.optional("category"),
            barcode: file.optional("barcode"),
            tax_class: file.optional("tax_class"),
            track_stock: file.optional("track_stock"),
            unit: file.optional("unit"),
            quantity_scale: file.optional("quantity_scale"),
        })
    }

    fn row(&self, line: u64, cells: &StringRecord) -> Result<Value, String> {
        let is_set = |column: &usize| optional_cell(cells, Some(*column)).is_some();
        let scale = self.quantity_scale.filter(is_set);
        let scale = scale.map(|column| whole_number(cells, column, "quantity_scale"));
        Ok(json!({
            "line": line,
            "sku": &cells[self.sku],
            "name": &cells[self.name],
            "price_minor": whole_number(cells, self.price_minor, "price_minor")?,
            "currency": &cells[self.currency],
            "category": optional_cell(cells, self.category),
            "barcode": optional_cell(cells, self.barcode),
            "tax_class": optional_cell(cells, self.tax_class),
            "track_stock": optional_cell(cells, self.track_stock).map(yes_or_no).transpose()?,
            "unit": optional_cell(cells, self.unit),
            "quantity_scale": scale.transpose()?,
        }))
    }

    fn read(&self, file: &mut CsvFile, handle: &mut RowHandler<'_>) -> Result<(), Failure> {
        let mut seen = HashMap::new();
        while let Some(line) = file.next()? {
            let number = line.number;
            let row = line.cells.and_then(|cells| {
                // A duplicate would overwrite the first row's change at every import.
                let row = self.row(number, &cells)?;
                match seen.entry(cells[self.sku].to_owned()) {
                    Entry::Occupied(first) => Err(format!(
                        "duplicate SKU {}, first in line {}; remove one of the rows",
                        first.key(),
                        first.get()
                    )),
                    Entry::Vacant(entry) => {
                        entry.insert(number);
                        Ok(row)
                    }
                }
            });
            handle(&file.name, number, row, file.position())?;
        }
        Ok(())
    }
}

/// Reads the rows of a product list and passes each, or its fault, with its line to `handle`.
pub(super) fn read_rows(file: &mut CsvFile, handle: &mut RowHandler<'_>) -> Result<(), Failure> {
    Columns::of(file)?.read(file, handle)
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err(format!("track_stock must be yes or no, not `{text}`")),
    }
}

impl Import {
    fn run(self, global: &Global) -> Result<Exit, Failure> {
        let mut file = CsvFile::open(&self.file)?;
        let columns = Columns::of(&file)?;
        let client = Client::connect(&global.config()?, DataDirMode::MustExist)?;
        let mut importer = Importer::new(
            &client,
            &self.tenant,
            "/v1/admin/catalog/import",
            "rows",
            file.bytes,
        );
        // Reports a missing tenant at once, not after the first rows, and also for an empty file.
        client.get(&format!("/v1/landlord/tenants/{}", self.tenant))?;
        columns.read(&mut file, &mut |file, line, row, position| {
            importer.add_row(file, line, row, position)
        })?;
        importer.finish(self.output.json)
    }
}
