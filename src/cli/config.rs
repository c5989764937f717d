//! `tillbox config`: what is in effect, and whether it is sound.

use clap::Subcommand;

use super::failure::{Exit, Failure};
use super::output::{good, note, print, print_json};
use super::{Global, Json};
use crate::config::{Config, DEFAULT_PATH};
use crate::rate_limit::Policy;

/// `tillbox config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the configuration; everything that is wrong is said at once
    Check,
    /// Show the effective configuration: defaults, file, variables TILLBOX_SECTION__KEY; secrets
    /// are redacted
    Show(Json),
}

impl ConfigCommand {
    /// Runs it.
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
                    good("the configuration is sound")
                ))?;
                for warning in config.warnings() {
                    note(&format!("warning: {warning}\n"));
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

/// The limiters that the rates belong to, as comments: what is shown stays a configuration.
fn limiters(config: &Config) -> String {
    let mut text = "\n# The limiters: what [rate_limits] lets each caller ask, who is a caller, \
        and of which routes. The first that fits is a route's; `**` stands \
                    for any parts or none.\n"
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
