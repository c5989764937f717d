//! L5: the operator's configuration. Tillbox works without a configuration file.
//!
//! Each section has its own file. The list of known keys is derived from the serialised defaults,
//! so it always matches the code. `load.rs` reads the configuration; `error.rs` has the errors.

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
mod redacted;
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

/// The whole configuration, with one field per section of the file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub server: Server,
    pub storage: Storage,
    pub storefront: Storefront,
    pub rate_limits: RateLimits,
    /// `[queue]` and `[queue.NAME]`.
    pub queue: Queues,
    pub retention: Retention,
    pub cache: Cache,
    pub exchange_rates: ExchangeRates,
    pub invoicing: Invoicing,
    pub logging: Logging,
    pub mail: Mail,
    pub alerts: Alerts,
}

impl Config {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// Returns [`ConfigError::Invalid`] with all faults, not only the first.
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

    /// Lists settings that are valid but probably not intended.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.alerts.email_to.is_empty() && self.mail.smtp_url.expose().is_empty() {
            let outbox = self.outbox_dir();
            warnings.push(format!(
                "alerts.email_to is set and mail.smtp_url is not: nobody is notified, alerts \
                 become files in {}; set mail.smtp_url, or leave alerts.email_to out",
                outbox.display()
            ));
        }
        warnings
    }

    /// Formats the effective configuration as TOML. The types of secrets serialise redacted.
    #[must_use]
    pub fn show(&self) -> String {
        toml::to_string(self).expect("the configuration consists of tables, texts and numbers")
    }

    /// The directory for log files, see [`Logging::effective_dir`].
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.logging.effective_dir(&self.storage.data_dir)
    }

    /// The directory for mail when no mail server is configured.
    #[must_use]
    pub fn outbox_dir(&self) -> PathBuf {
        self.storage.data_dir.join("outbox")
    }
}

#[cfg(test)]
mod tests;
