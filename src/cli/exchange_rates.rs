//! `tillbox exchange-rates`: published rates come in from a file.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::client::{Client, Data};
use super::failure::{Exit, Failure};
use super::output::{print, print_json};
use super::{Global, Json};

/// The largest file: all days since 1999 are two thirds of it, and it has to fit a request.
const FILE_BYTES_MAX: u64 = 3 << 20;

/// `tillbox exchange-rates …`
#[derive(Debug, Subcommand)]
pub enum ExchangeRates {
    /// Import the European Central Bank's reference rates from its CSV file
    #[command(after_help = "\
The file is eurofxref-hist.csv (all days), as the bank publishes it under
https://www.ecb.europa.eu/stats/policy_and_exchange_rates/: a line for each day, a column for each \
currency, N/A where there is no rate.

It is taken whole or not at all, for all shops of the house. The same file may be imported again: \
what is there already stays as it is.
Currencies that ISO 4217 no longer lists are left out and named, and so are rates of days after \
their currency had ended.
A rate that is more than twice or less than half of what it was, or of what it takes the place of, \
is a mistake of the file, which is refused whole.

Example:
  tillbox exchange-rates import eurofxref-hist.csv")]
    Import(Import),
}

#[derive(Debug, Args)]
pub struct Import {
    /// The file
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// Take corrections however far they are from what they correct: what is there is the mistake
    #[arg(long)]
    corrections_are_right: bool,
    #[command(flatten)]
    output: Json,
}

impl ExchangeRates {
    /// Runs it.
    pub fn run(self, global: &Global) -> Result<Exit, Failure> {
        let Self::Import(import) = self;
        import.run(global)
    }
}

impl Import {
    fn run(self, global: &Global) -> Result<Exit, Failure> {
        let name = self.file.display();
        let unreadable =
            |error: std::io::Error| Failure::failed(format!("{name} cannot be read: {error}"));
        if std::fs::metadata(&self.file).map_err(unreadable)?.len() > FILE_BYTES_MAX {
            return Err(Failure::failed_with(
                format!("{name} has more than {FILE_BYTES_MAX} bytes"),
                "leave lines of the past out; several files may be imported one after the other",
            ));
        }
        let csv = std::fs::read_to_string(&self.file).map_err(unreadable)?;
        let client = Client::connect(&global.config()?, Data::IsThere)?;
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
            "{days} days: {created} rates new, {corrected} corrected, {unchanged} unchanged\n"
        ))?;
        if ended > 0 {
            print(&format!(
                "{ended} rates left out: of days after their currency had ended\n"
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
                "left out, because ISO 4217 no longer lists them: {}\n",
                left_out.join(", ")
            ))?;
        }
        Ok(Exit::Done)
    }
}
