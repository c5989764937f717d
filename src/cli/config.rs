//! `tillbox config`: what is in effect, and whether it is sound.

use clap::Subcommand;

use super::failure::{Exit, Failure};
use super::output::{good, note, print, print_json};
use super::{Global, Json};
use crate::config::DEFAULT_PATH;

/// `tillbox config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the configuration; everything that is wrong is said at once
    Check,
    /// Show the effective configuration: defaults, file, variables TILLBOX_SECTION__KEY; secrets are masked
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
                print(&format!("{} ({source})\n", good("the configuration is sound")))?;
                for warning in config.warnings() {
                    note(&format!("warning: {warning}\n"));
                }
            }
            Self::Show(Json { json: true }) => {
                let value = serde_json::to_value(&config).expect("the configuration consists of tables, texts and numbers");
                print_json(&value)?;
            }
            Self::Show(Json { json: false }) => print(&config.show())?,
        }
        Ok(Exit::Done)
    }
}
