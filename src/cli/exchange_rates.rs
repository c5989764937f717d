//! `tillbox exchange-rates`: imports published rates from a file.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::client::{Client, DataDirMode};
use super::failure::{Exit, Failure};
use super::output::{print, print_json};
use super::{Global, Json};

/// The largest file, limited by the size of a request. All days since 1999 take two thirds of it.
const FILE_BYTES_MAX: u64 = 3 << 20;

/// `tillbox exchange-rates …`
#[derive(Debug, Subcommand)]
pub enum ExchangeRates {
    /// Import the European Central Bank's reference rates from its CSV file
    #[command(after_help = "\
The file is eurofxref-hist.csv (all days), as the bank publishes it under
https://www.ecb.europa.eu/stats/policy_and_exchange_rates/: a line per day, a column per currency, \
N/A for a missing rate.

The whole file is imported or nothing, for all tenants. The same file can be imported again: \
existing rates stay unchanged.
Currencies that ISO 4217 no longer lists are skipped and named; so are rates of days after the end \
of their currency.
A rate that is more than twice or less than half of the previous rate, or of the rate that it \
corrects, is a mistake: the whole file is rejected.

Example:
  tillbox exchange-rates import eurofxref-hist.csv")]
    Import(Import),
}

#[derive(Debug, Args)]
pub struct Import {
    /// The CSV file
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// Accept corrections of any size: the stored rates are the mistake
    #[arg(long)]
    corrections_are_right: bool,
    #[command(flatten)]
    output: Json,
}

impl ExchangeRates {
    pub fn run(self, global: &Global) -> Result<Exit, Failure> {
        let Self::Import(import) = self;
        import.run(global)
    }
}

impl Import {
    fn run(self, global: &Global) -> Result<Exit, Failure> {
        let name = self.file.display();
        let unreadable =
            |error: std::io::Error| Failure::failed(format!("cannot read {name}: {error}"));
        if std::fs::metadata(&self.file).map_err(unreadable)?.len() > FILE_BYTES_MAX {
            return Err(Failure::failed_with(
                format!("{name} has more than {FILE_BYTES_MAX} bytes"),
                "remove lines of past days, or split the file and import the parts one by one",
            ));
        }
        let csv = std::fs::read_to_string(&self.file).map_err(unreadable)?;
        let client = Client::connect(&global.config()?, DataDirMode::MustExist)?;
        let body = json!({"csv": csv, "corrections_are_right": self.corrections_are_right});
        let done = client.post("/v1/admin/exchange-rates/import", &body);
        let done = done.map_err(|failure| failure.naming("csv", &name))?;
        if self.output.json {
            print_json(&done)?;
            return Ok(Exit::Done);
        }
        let [days, created, corrected, unchanged, ended] =
            ["days", "created", "corrected", "unchanged", "ended"]
                .map(|name| done[name].as_u64().unwrap_or(0));
        print(&format!(
            "{days} days: {created} rates created, {corrected} corrected, {unchanged} unchanged\n"
        ))?;
        if ended > 0 {
            print(&format!(
                "{ended} rates skipped: their days are after the end of the currency\n"
            ))?;
        }
        let left_out: Vec<&str> = done["left_out"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|code| code.as_str())
            .collect();
        if !left_out.is_empty() {
            print(&format!(
                "currencies skipped, because ISO 4217 no longer lists them: {}\n",
                left_out.join(", ")
            ))?;
        }
        Ok(Exit::Done)
    }
}
