//! L5: what the operator may set. Everything works with no file at all.
//!
//! One file per section. The list of known keys is what the defaults serialise to, so it cannot lag
//! behind the code; a key nobody reads does not exist. Reading is in `load.rs`, faults in
//! `error.rs`.

mod alerts;
mod cache;
mod differing;
mod error;
mod exchange_rates;
mod invoicing;
mod keys;
mod load;
mod logging;
mod mail;
mod network;
mod queue;
mod rate_limits;
mod retention;
mod server;
mod storage;
mod storefront;
mod units;

pub use alerts::{Alerts, WebhookSecret, WebhookUrl};
pub use cache::Cache;
pub use error::{ConfigError, Fault, UnknownKey};
pub use exchange_rates::{ExchangeRates, RatesUrl};
pub use invoicing::Invoicing;
pub use load::DEFAULT_PATH;
pub use logging::{Format, Logging};
pub use mail::{Mail, SmtpUrl};
pub use network::{Network, NetworkError};
pub use queue::{Backoff, Queue, Queues};
pub use rate_limits::{Rate, RateError, RateLimits};
pub use retention::Retention;
pub use server::{ForwardedHeader, Server};
pub use storage::{DEFAULT_DATA_DIR, Storage};
pub use storefront::Storefront;
pub use units::{ByteSize, Span, UnitError};

use error::Faults;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The whole configuration; one field per section of the file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[server]`: the HTTP side.
    pub server: Server,
    /// `[storage]`: where the files are and how many are open.
    pub storage: Storage,
    /// `[storefront]`: the bounds of callers without an API key.
    pub storefront: Storefront,
    /// `[rate_limits]`: how often one caller may ask.
    pub rate_limits: RateLimits,
    /// `[queue]` and `[queue.NAME]`: the background work.
    pub queue: Queues,
    /// `[retention]`: how long traces are kept.
    pub retention: Retention,
    /// `[cache]`: how long what was read is trusted.
    pub cache: Cache,
    /// `[exchange_rates]`: how published rates come in.
    pub exchange_rates: ExchangeRates,
    /// `[invoicing]`: how invoices are numbered.
    pub invoicing: Invoicing,
    /// `[logging]`: what is logged and where.
    pub logging: Logging,
    /// `[mail]`: how mail leaves the house.
    pub mail: Mail,
    /// `[alerts]`: whom to tell when a job was given up.
    pub alerts: Alerts,
}

impl Config {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with all the faults there are, not only the first.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut faults = Faults::default();
        self.server.check(&mut faults);
        self.storage.check(&mut faults);
        self.storefront.check(&mut faults);
        self.queue.check(&mut faults);
        self.retention.check(&mut faults);
        self.cache.check(&mut faults);
        self.exchange_rates.check(&mut faults);
        self.invoicing.check(&mut faults);
        self.logging.check(&mut faults);
        self.mail.check(&mut faults);
        self.alerts.check(&mut faults);
        faults.into_result()
    }

    /// What is sound and still hardly what somebody wants, in sentences.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.alerts.email_to.is_empty() && self.mail.smtp_url.expose().is_empty() {
            let outbox = self.outbox_dir();
            warnings.push(format!(
                "alerts.email_to is set and mail.smtp_url is not: nobody is told, alerts become \
                 files in {}; set mail.smtp_url, or leave alerts.email_to out",
                outbox.display()
            ));
        }
        warnings
    }

    /// The effective configuration as TOML. Secrets are redacted: their types do not serialise
    /// otherwise.
    #[must_use]
    pub fn show(&self) -> String {
        toml::to_string(self).expect("the configuration consists of tables, texts and numbers")
    }

    /// The directory for log files: the one that is set; else the system's, unless the data is
    /// elsewhere too.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.logging.effective_dir(&self.storage.data_dir)
    }

    /// The directory that mail is written to while there is no mail server.
    #[must_use]
    pub fn outbox_dir(&self) -> PathBuf {
        self.storage.data_dir.join("outbox")
    }
}

#[cfg(test)]
mod tests;
