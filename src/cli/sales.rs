//! `tillbox sales`: imports past sales, each at its own date as a paid sale with its invoice and
//! its ledger entry.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, DataDirMode};
use super::failure::{Exit, Failure};
use super::import::{CsvFile, Importer, RowHandler, whole_number};
use super::{Global, Json};
use crate::primitives::Slug;

/// `tillbox sales …`
#[derive(Debug, Subcommand)]
pub enum Sales {
    /// Import past sales from CSV files
    #[command(after_help = "\
There are two kinds of files. The columns in their first line tell them apart; unknown columns are \
ignored:
  invoice_number, sold_at, total_minor                       one row per sale
  invoice_number, sku, unit_price_minor, quantity            one row per line of a sale

A quantity is a whole number; of a product with a quantity_scale, an integer of 10^-scale units. \
The price is for one whole unit.
A sale is booked at its own date, paid in full with the method `cash`. The products must be in \
the catalog.
The sum of a sale's lines must equal its total, including tax if the shop's prices exclude it.
The sale's id is derived from the invoice number, so importing again changes nothing and an \
interrupted import can be repeated.
Rejected sales are listed with line and reason; all others are imported.
The exit code is 1 only when every sale was rejected.

Example:
  tillbox sales import invoices.csv invoice_lines.csv --tenant corner")]
    Import(Import),
}

#[derive(Debug, Args)]
pub struct Import {
    /// The CSV files of both kinds
    #[arg(value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// The tenant
    #[arg(long, value_name = "S")]
    tenant: Slug,
    #[command(flatten)]
    output: Json,
}

impl Sales {
    pub fn run(self, global: &Global) -> Result<Exit, Failure> {
        let Self::Import(import) = self;
        import.run(global)
    }
}

/// The lines of one sale.
#[derive(Default)]
struct InvoiceLines {
    /// The file and line of the first one.
    first_at: (String, u64),
    lines: Vec<Value>,
    /// The first fault.
    fault: Option<String>,
}

#[derive(Default)]
struct LinesByInvoice(HashMap<String, InvoiceLines>);

impl LinesByInvoice {
    fn read(&mut self, file: &mut CsvFile, handle: &mut RowHandler<'_>) -> Result<(), Failure> {
        let [number, sku, price, quantity] =
            file.required(["invoice_number", "sku", "unit_price_minor", "quantity"])?;
        while let Some(line) = file.next()? {
            let cells = match line.cells {
                Ok(cells) => cells,
                Err(reason) => {
                    handle(&file.name, line.number, Err(reason), 0)?;
                    continue;
                }
            };
            let sale = self
                .0
                .entry(cells[number].to_owned())
                .or_insert_with(|| InvoiceLines {
                    first_at: (file.name.clone(), line.number),
                    ..InvoiceLines::default()
                });
            let read = || {
                let (price, quantity) = (
                    whole_number(&cells, price, "unit_price_minor")?,
                    whole_number(&cells, quantity, "quantity")?,
                );
                Ok::<_, String>(
                    json!({"sku": &cells[sku], "unit_price_minor": price, "quantity": quantity}),
                )
            };
            match read() {
                Ok(read) => sale.lines.push(read),
                Err(fault) => {
                    let fault = format!("{}, line {}: {fault}", file.name, line.number);
                    sale.fault.get_or_insert(fault);
                }
            }
        }
        Ok(())
    }
}

impl Import {
    fn run(self, global: &Global) -> Result<Exit, Failure> {
        let (mut invoices, mut lines) = self.open()?;
        let client = Client::connect(&global.config()?, DataDirMode::MustExist)?;
        client.get(&format!("/v1/landlord/tenants/{}", self.tenant))?;
        let bytes = invoices.iter().map(|file| file.bytes).sum();
        let mut importer = Importer::new(
            &client,
            &self.tenant,
            "/v1/admin/sales/import",
            "sales",
            bytes,
        );
        read_rows(
            &mut invoices,
            &mut lines,
            &mut |file, line, row, position| importer.add_row(file, line, row, position),
        )?;
        importer.finish(self.output.json)
    }

    /// Opens the files and sorts them into files of invoices and of lines.
    fn open(&self) -> Result<(Vec<CsvFile>, Vec<CsvFile>), Failure> {
        let (mut invoices, mut lines) = (Vec::new(), Vec::new());
        for path in &self.files {
            let file = CsvFile::open(path)?;
            if file.has("sold_at") || file.has("total_minor") {
                file.required(["invoice_number", "sold_at", "total_minor"])?;
                invoices.push(file);
            } else {
                file.required(["invoice_number", "sku", "unit_price_minor", "quantity"])?;
                lines.push(file);
            }
        }
        let missing = match (invoices.is_empty(), lines.is_empty()) {
            (false, false) => return Ok((invoices, lines)),
            (true, _) => "a file of invoices (invoice_number, sold_at, total_minor)",
            (_, true) => "a file of their lines (invoice_number, sku, unit_price_minor, quantity)",
        };
        Err(Failure::failed_with(
            format!("{missing} is missing"),
            "name both kinds of files in one command",
        ))
    }
}

/// Reads the sales of files of both kinds and passes each, or its fault, to `handle`.
pub(super) fn read_rows(
    invoices: &mut [CsvFile],
    lines: &mut [CsvFile],
    handle: &mut RowHandler<'_>,
) -> Result<(), Failure> {
    let mut by_invoice = LinesByInvoice::default();
    for file in lines {
        by_invoice.read(file, handle)?;
    }
    let mut seen = HashSet::new();
    let mut before = 0;
    for file in invoices {
        read_invoices(file, before, &mut by_invoice, &mut seen, handle)?;
        before += file.bytes;
    }
    let mut orphans: Vec<(String, InvoiceLines)> = by_invoice.0.into_iter().collect();
    orphans.sort_by(|(_, a), (_, b)| a.first_at.cmp(&b.first_at));
    for (number, lines) in orphans {
        let (file, line) = lines.first_at;
        let reason = format!("the invoice {number} of this line is in no file");
        handle(&file, line, Err(reason), before)?;
    }
    Ok(())
}

fn read_invoices(
    file: &mut CsvFile,
    before: u64,
    by_invoice: &mut LinesByInvoice,
    seen: &mut HashSet<String>,
    handle: &mut RowHandler<'_>,
) -> Result<(), Failure> {
    let [number, sold_at, total] = file.required(["invoice_number", "sold_at", "total_minor"])?;
    while let Some(line) = file.next()? {
        let read = || {
            let cells = line.cells?;
            let number = cells[number].to_owned();
            if !seen.insert(number.clone()) {
                return Err(format!(
                    "duplicate invoice {number}; remove one of the rows"
                ));
            }
            let lines = by_invoice
                .0
                .remove(&number)
                .ok_or_else(|| format!("the invoice {number} has no lines"))?;
            let total = whole_number(&cells, total, "total_minor")?;
            match lines.fault {
                Some(fault) => Err(fault),
                None => Ok(
                    json!({"line": line.number, "number": number, "sold_at": &cells[sold_at],
                        "total_minor": total, "lines": lines.lines}),
                ),
            }
        };
        let sale = read();
        handle(&file.name, line.number, sale, before + file.position())?;
    }
    Ok(())
}
