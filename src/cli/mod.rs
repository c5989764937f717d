//! L7: the command line. A command is a request to the same router that serves HTTP: in process
//! when the data directory is free, over the daemon's admin socket when it is not (see
//! `client.rs`). So there is one way to do a thing, and one set of rules.
//!
//! One file per family of commands. `output.rs` is how results look, `failure.rs` how failures do.

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

use crate::config::Config;
use crate::observe::logging::{LogGuard, Logging, Stdout};
use crate::primitives::{Clock as _, SystemClock};
use failure::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tillbox serve --dev                                    try it: a demo shop
  tillbox tenant create corner --name 'Corner Shop'      make a shop; its API key is shown once
  tillbox catalog import products.csv --tenant corner    fill it
  tillbox tenant list --json                             for a program

A command works whether the daemon runs or not: it speaks to the daemon over its admin socket, or \
does the work itself.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 checked and found wrong (health, integrity).";

/// A shop's back end: it sells, keeps the books, and keeps every shop in one file of its own.
#[derive(Debug, Parser)]
#[command(name = "tillbox", version, after_help = EXAMPLES, arg_required_else_help = true,
    subcommand_required = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
struct Global {
    /// The configuration file; without it /etc/tillbox/tillbox.toml, if it exists
    #[arg(long, global = true, value_name = "F", help_heading = "Global options")]
    config: Option<PathBuf>,
    /// The directory of all data, whatever the configuration says
    #[arg(long, global = true, value_name = "D", help_heading = "Global options")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Serve(serve::Serve),
    /// Make, list, suspend and remove shops
    #[command(subcommand)]
    Tenant(tenant::Tenant),
    /// Make, list and revoke API keys
    #[command(subcommand)]
    ApiKey(api_key::ApiKey),
    /// Bring a product list in
    #[command(subcommand)]
    Catalog(catalog::Catalog),
    /// Bring past sales in
    #[command(subcommand)]
    Sales(sales::Sales),
    /// Bring published exchange rates in
    #[command(subcommand)]
    ExchangeRates(exchange_rates::ExchangeRates),
    /// See, retry, cancel and pause the jobs of all shops
    #[command(subcommand)]
    Queue(queue::QueueCommand),
    /// Check whether books, documents and stock agree
    #[command(subcommand)]
    Integrity(integrity::Integrity),
    /// Delete what is older than it is kept, and see when that is done
    #[command(subcommand)]
    Retention(retention::Retention),
    /// Delete old audit entries
    #[command(subcommand)]
    Audit(retention::Audit),
    /// Check and show the effective configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Ask a daemon whether it is well
    Health(health::Health),
}

/// `--json` for commands that print data.
#[derive(Clone, Copy, Debug, Args)]
struct Json {
    /// Print JSON, for a program
    #[arg(long)]
    json: bool,
}

impl Global {
    /// The effective configuration.
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

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    // Logs, copies before a migration, whatever else is written: the owner's alone, also when no
    // service manager sees to it.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no failures; clap knows which stream each belongs to. A closed
            // one has nobody to tell.
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
        // The daemon has log files; of what a command does, only what went wrong is told, and at
        // the terminal.
        let _log = match &self {
            Self::Serve(_) => None,
            _ => {
                wake::fail_when_impossible();
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

/// The system's clock, for log lines.
fn now_ms() -> i64 {
    SystemClock.now().as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_make_sense() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
