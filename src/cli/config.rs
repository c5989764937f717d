//! `tillbox config`: validates and shows the configuration.

use clap::Subcommand;

use super::failure::{Exit, Failure};
use super::output::{green, print, print_json, print_stderr};
use super::{Global, Json};
use crate::config::{Config, DEFAULT_PATH};
use crate::rate_limit::Policy;

/// `tillbox config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Validate the configuration and report all faults
    Check,
    /// Show the effective configuration: defaults, file and variables TILLBOX_SECTION__KEY, with
    /// secrets redacted
    Show(Json),
}

impl ConfigCommand {
    pub fn run(self, global: &Global) -> Result<Exit, Failure> {
        let config = global.config()?;
        match self {
            Self::Check => {
                let source = match &global.config {
                    Some(path) => path.display().to_string(),
                    None if std::path::Path::new(DEFAULT_PATH).exists() => DEFAULT_PATH.to_owned(),
                    None => "no file, the defaults".to_owned(),
                };
                print(&format!(
                    "{} ({source})\n",
                    green("the configuration is valid")
                ))?;
                for warning in config.warnings() {
                    print_stderr(&format!("warning: {warning}\n"));
                }
            }
            Self::Show(Json { json: true }) => {
                let value = serde_json::to_value(&config)
                    .expect("the configuration consists of tables, texts and numbers");
                print_json(&value)?;
            }
            Self::Show(Json { json: false }) => print(&(config.show() + &limiters(&config)))?,
        }
        Ok(Exit::Done)
    }
}

/// Describes the limiters as comments, so that the output remains a valid configuration file.
fn limiters(config: &Config) -> String {
    let mut text = "\n# The limiters of [rate_limits]: name, rate, unit of counting and routes. \
                    The first match applies; `**` matches any number of path segments.\n"
        .to_owned();
    for policy in Policy::ALL {
        let rate = policy.rate(&config.rate_limits).to_string();
        let (name, caller, scope) = (policy.name(), policy.counted_by(), policy.scope());
        text.push_str(&format!(
            "#   {name:<17} {rate:<10} by {caller:<31} {scope}\n"
        ));
    }
    text
}
