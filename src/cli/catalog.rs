//! `tillbox catalog`: a product list comes in.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use csv::StringRecord;
use serde_json::{Value, json};

use super::client::{Client, Data};
use super::failure::{Exit, Failure};
use super::import::{CsvFile, Importer, TakeRow, optional_cell, whole_number};
use super::{Global, Json};
use crate::primitives::Slug;

/// `tillbox catalog …`
#[derive(Debug, Subcommand)]
pub enum Catalog {
    /// Import products from a CSV file
    #[command(after_help = "\
The first line names the columns, in any order; unknown ones are ignored:
  sku, name, price_minor, currency               must be there
  category, barcode, tax_class, track_stock      may be there, and may be empty

The SKU says which product a row is: a new one is made, one that differs is changed, one that is \
the same is left alone. So the same
file may be imported again, also after it was interrupted. A row that is refused is listed with \
its line and reason; the rest is imported.
The exit code is 1 only when not one row could be taken.

Example:
  tillbox catalog import products.csv --tenant corner")]
    Import(Import),
}

#[derive(Debug, Args)]
pub struct Import {
    /// The file
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// The shop
    #[arg(long, value_name = "S")]
    tenant: Slug,
    #[command(flatten)]
    output: Json,
}

impl Catalog {
    /// Runs it.
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
        })
    }

    fn row(&self, line: u64, cells: &StringRecord) -> Result<Value, String> {
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
        }))
    }

    fn read(&self, file: &mut CsvFile, take: &mut TakeRow<'_>) -> Result<(), Failure> {
        let mut seen = HashMap::new();
        while let Some(line) = file.next()? {
            let number = line.number;
            let row = line.cells.and_then(|cells| {
                // The second would change what the first has just made, at every import anew.
                let row = self.row(number, &cells)?;
                match seen.entry(cells[self.sku].to_owned()) {
                    Entry::Occupied(first) => Err(format!(
                        "the SKU {} is there twice, first in line {}",
                        first.key(),
                        first.get()
                    )),
                    Entry::Vacant(place) => {
                        place.insert(number);
                        Ok(row)
                    }
                }
            });
            take(&file.name, number, row, file.position())?;
        }
        Ok(())
    }
}

/// Reads the rows of a product list, one after the other; `take` is given each with its line, or
/// what is wrong with it.
pub(super) fn read_rows(file: &mut CsvFile, take: &mut TakeRow<'_>) -> Result<(), Failure> {
    Columns::of(file)?.read(file, take)
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err(format!("track_stock is neither yes nor no: `{text}`")),
    }
}

impl Import {
    fn run(self, global: &Global) -> Result<Exit, Failure> {
        let mut file = CsvFile::open(&self.file)?;
        let columns = Columns::of(&file)?;
        let client = Client::connect(&global.config()?, Data::IsThere)?;
        let mut importer = Importer::new(
            &client,
            &self.tenant,
            "/v1/admin/catalog/import",
            "rows",
            file.bytes,
        );
        // A shop that is not there is said at once, not after the first rows, and for an empty file
        // too.
        client.get(&format!("/v1/landlord/tenants/{}", self.tenant))?;
        columns.read(&mut file, &mut |file, line, row, position| {
            importer.take(file, line, row, position)
        })?;
        importer.finish(self.output.json)
    }
}
