//! L5: the recipients of alerts, from the configuration. `worker` sends alerts to them; `platform`
//! learns which channels exist.
//!
//! A missing signing key does not stop sales. Alerts are created as usual and retried while
//! attempts remain; mail is sent meanwhile.

use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use http::Method;

use crate::config::Alerts;
use crate::outbound::http::{AnswerPart, Bounds, Call, CallError, Outbound, Target};
use crate::outbound::reach::Reach;
use crate::outbound::standard_webhooks::SigningKey;
use crate::platform::alerts::{AlertChannel, Channels, SharedChannels};
use crate::primitives::sync;
use crate::primitives::{Entropy, Timestamp, chain};
use crate::storage::data_dir::{self, DataDirError};

/// The file in the data directory that holds the signing key when the configuration has none.
const KEY_FILE: &str = "alerts.secret";

/// The time limits of a call, in total and to connect.
const TOTAL: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(5);

/// A webhook that receives alerts.
#[derive(Clone, Debug)]
pub struct Webhook {
    pub target: Target,
    /// The addresses that it may resolve to.
    pub reach: Reach,
    /// The signing key, or the reason why there is none.
    pub key: Result<SigningKey, MissingKey>,
}

/// The reason why there is no signing key, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MissingKey(String);

/// The reason why a message was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Key(#[from] MissingKey),
    /// The receiver did not accept it.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Webhook {
    /// Sends a signed message. A second attempt under the same id is the same message. Blocks.
    pub fn send(
        &self,
        outbound: &dyn Outbound,
        id: &str,
        now: Timestamp,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<(), SendError> {
        let mut headers = self
            .key
            .as_ref()
            .map_err(Clone::clone)?
            .headers(id, now, &body);
        headers.push(("content-type", "application/json".to_owned()));
        let call = Call {
            method: Method::POST,
            target: self.target.clone(),
            headers,
            body,
            bounds: Bounds {
                total: TOTAL.min(within),
                connect: CONNECT,
                // The status is sufficient; the body of the answer is not read.
                answer: AnswerPart::Head,
                reach: self.reach,
            },
        };
        outbound.call(&call)?;
        Ok(())
    }
}

/// The recipients of alerts.
#[derive(Clone, Debug, Default)]
pub struct Recipients {
    pub webhook: Option<Webhook>,
    pub email_to: Option<String>,
}

impl Recipients {
    /// Whether a channel is configured.
    pub fn has(&self, channel: AlertChannel) -> bool {
        match channel {
            AlertChannel::Webhook => self.webhook.is_some(),
            AlertChannel::Mail => self.email_to.is_some(),
        }
    }

    /// The configured channels.
    pub fn channels(&self) -> Vec<AlertChannel> {
        let all = AlertChannel::ALL.iter().copied();
        all.filter(|channel| self.has(*channel)).collect()
    }
}

/// Where alerts go now.
#[derive(Debug, Default)]
pub struct AlertRecipients {
    recipients: RwLock<Arc<Recipients>>,
    channels: Arc<SharedChannels>,
}

/// The reason why the signing key cannot be loaded.
#[derive(Debug, thiserror::Error)]
enum KeyError {
    #[error(transparent)]
    File(#[from] DataDirError),
    #[error(
        "{KEY_FILE} in the data directory contains no valid key; delete it to create a new one, \
        or set alerts.webhook_secret, then reload (SIGHUP)"
    )]
    Invalid,
}

impl AlertRecipients {
    /// Applies `alerts`. When no signing key exists, one is created and stored in `dir`, which this
    /// process has locked. Blocks.
    ///
    /// # Errors
    /// A [`MissingKey`]. If a key is in effect, it and everything else stay unchanged. Otherwise
    /// all other settings of `alerts` take effect.
    ///
    /// # Panics
    /// If the configuration was not validated.
    pub fn apply(
        &self,
        alerts: &Alerts,
        dir: &Path,
        entropy: &dyn Entropy,
    ) -> Result<(), MissingKey> {
        let url = alerts.webhook_url.expose();
        let webhook = if url.is_empty() {
            None
        } else {
            Some(Webhook {
                target: Target::parse(url).expect("the configuration was validated"),
                reach: if alerts.webhook_private {
                    Reach::Anywhere
                } else {
                    Reach::Public
                },
                key: key(alerts, dir, entropy).map_err(|error| MissingKey(chain(&error))),
            })
        };
        let missing = webhook
            .as_ref()
            .and_then(|webhook| webhook.key.as_ref().err().cloned());
        let has_key = self
            .recipients()
            .webhook
            .as_ref()
            .is_some_and(|webhook| webhook.key.is_ok());
        if let Some(missing) = missing.clone().filter(|_| has_key) {
            return Err(missing);
        }
        let email_to = Some(alerts.email_to.clone()).filter(|address| !address.is_empty());
        let recipients = Recipients { webhook, email_to };
        let channels = Channels {
            configured: recipients.channels(),
            window_ms: i64::try_from(alerts.window.as_millis()).unwrap_or(i64::MAX),
        };
        *sync::write(&self.recipients) = Arc::new(recipients);
        self.channels.set(channels);
        missing.map_or(Ok(()), Err)
    }

    /// The reason why alerts by webhook wait, if they do.
    pub fn missing_key(&self) -> Option<MissingKey> {
        self.recipients()
            .webhook
            .as_ref()?
            .key
            .as_ref()
            .err()
            .cloned()
    }

    pub fn recipients(&self) -> Arc<Recipients> {
        sync::read(&self.recipients).clone()
    }

    /// The configured channels, for code that creates alerts.
    pub fn channels(&self) -> &Arc<SharedChannels> {
        &self.channels
    }
}

/// Returns the configured key, or the stored one.
fn key(alerts: &Alerts, dir: &Path, entropy: &dyn Entropy) -> Result<SigningKey, KeyError> {
    let configured = alerts.webhook_secret.expose();
    if !configured.is_empty() {
        return Ok(SigningKey::parse(configured).expect("the configuration was validated"));
    }
    let stored = data_dir::load_or_create_secret(dir, KEY_FILE, || {
        format!("{}\n", SigningKey::new(entropy).expose())
    })?;
    SigningKey::parse(stored.trim_end()).ok_or(KeyError::Invalid)
}
