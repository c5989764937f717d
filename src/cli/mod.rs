//! L7: the command line. A command is a request to the same router that serves HTTP: in process
//! when the data directory is free, else over the daemon's admin socket (see `client.rs`). So HTTP
//! and CLI have the same rules.
//!
//! Each family of commands has its own file. `output.rs` formats results, `failure.rs` failures.

mod alive;
mod api_key;
mod banner;
mod catalog;
mod client;
mod config;
mod demo;
mod descriptors;
mod exchange_rates;
mod failure;
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod import;
mod integrity;
mod output;
mod queue;
mod retention;
mod sales;
mod serve;
mod signals;
mod socket;
mod tenant;
mod wake;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::Value;

use crate::config::Config;
use crate::observe::logging::{LogGuard, Logging, Stdout};
use crate::primitives::{Clock as _, SystemClock};
use failure::{Exit, Failure};
use output::{print, print_json};

const EXAMPLES: &str = "\
Examples:
  tillbox serve --dev                                    try it: a demo shop
  tillbox tenant create corner --name 'Corner Shop'      create a tenant; its API key is shown once
  tillbox catalog import products.csv --tenant corner    fill its catalog
  tillbox tenant list --json                             for a program

Commands work with and without a running daemon: they use the daemon's admin socket, or do the \
work themselves.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a check failed (health, integrity).";

/// A shop backend for sales and bookkeeping, with one database file per tenant
#[derive(Debug, Parser)]
#[command(name = "tillbox", version, after_help = EXAMPLES, arg_required_else_help = true,
    subcommand_required = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of all commands.
#[derive(Clone, Debug, Args)]
struct Global {
    /// The configuration file; default: /etc/tillbox/tillbox.toml, if it exists
    #[arg(long, global = true, value_name = "F", help_heading = "Global options")]
    config: Option<PathBuf>,
    /// The data directory; overrides the configuration
    #[arg(long, global = true, value_name = "D", help_heading = "Global options")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Serve(serve::Serve),
    /// Create, list, suspend and delete tenants
    #[command(subcommand)]
    Tenant(tenant::Tenant),
    /// Create, list and revoke API keys
    #[command(subcommand)]
    ApiKey(api_key::ApiKey),
    /// Import a product list
    #[command(subcommand)]
    Catalog(catalog::Catalog),
    /// Import past sales
    #[command(subcommand)]
    Sales(sales::Sales),
    /// Import published exchange rates
    #[command(subcommand)]
    ExchangeRates(exchange_rates::ExchangeRates),
    /// Show, retry, cancel and pause the jobs of all tenants
    #[command(subcommand)]
    Queue(queue::QueueCommand),
    /// Check that books, documents and stock agree
    #[command(subcommand)]
    Integrity(integrity::Integrity),
    /// Delete old records, and show the schedule
    #[command(subcommand)]
    Retention(retention::Retention),
    /// Delete old audit entries
    #[command(subcommand)]
    Audit(retention::Audit),
    /// Validate and show the effective configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Check the health of a daemon
    Health(health::Health),
}

/// `--json` for commands that print data.
#[derive(Clone, Copy, Debug, Args)]
struct Json {
    /// Print JSON, for a program
    #[arg(long)]
    json: bool,
}

impl Json {
    /// Prints a result, as JSON or as text.
    fn print(self, value: &Value, text: impl FnOnce() -> String) -> Result<Exit, Failure> {
        if self.json {
            print_json(value)?;
        } else {
            print(&text())?;
        }
        Ok(Exit::Done)
    }
}

impl Global {
    /// Loads the effective configuration.
    fn config(&self) -> Result<Config, Failure> {
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let mut config =
            Config::load(self.config.as_deref(), std::env::vars_os().filter_map(text))?;
        if let Some(dir) = &self.data_dir {
            config.storage.data_dir.clone_from(dir);
            config.validate()?;
        }
        Ok(config)
    }
}

/// Runs the command of this process.
pub fn run() -> ExitCode {
    // All files (logs, copies before a migration) are private to the owner, also without a service
    // manager that sets a umask.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are not failures; clap knows the stream of each. A closed stream is
            // not an error.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            }
            .into();
        }
    };
    match cli.command.run(&cli.global) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report().into(),
    }
}

impl Command {
    fn run(self, global: &Global) -> Result<Exit, Failure> {
        // The daemon has log files; other commands log errors only, to the terminal.
        let _log = match &self {
            Self::Serve(_) => None,
            _ => {
                wake::exit_when_threads_cannot_wake();
                Some(log_errors()?)
            }
        };
        match self {
            Self::Serve(serve) => serve.run(global),
            Self::Tenant(tenant) => tenant.run(global),
            Self::ApiKey(api_key) => api_key.run(global),
            Self::Catalog(catalog) => catalog.run(global),
            Self::Sales(sales) => sales.run(global),
            Self::ExchangeRates(rates) => rates.run(global),
            Self::Queue(queue) => queue.run(global),
            Self::Integrity(integrity) => integrity.run(global),
            Self::Retention(retention) => retention.run(global),
            Self::Audit(audit) => audit.run(global),
            Self::Config(config) => config.run(global),
            Self::Health(health) => health.run(global),
        }
    }
}

fn log_errors() -> Result<LogGuard, Failure> {
    let logging = Logging {
        level: "error".to_owned(),
        dir: None,
        stdout: Stdout::Console {
            ansi: output::stderr_is_coloured(),
        },
        journal: false,
        now_ms,
    };
    logging
        .start()
        .map_err(|error| Failure::failed(error.to_string()))
}

/// Reads the system clock for log lines.
fn now_ms() -> i64 {
    SystemClock.now().as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_argument_definitions() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
