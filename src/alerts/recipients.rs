//! L5: whom an alert goes to, as the configuration says it: what `worker` sends by, and what
//! `platform` is told of it.
//!
//! A key that cannot be had keeps nobody from selling. Alerts are made as before and tried again
//! while their tries last; mail goes out meanwhile.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::Method;

use crate::config::Alerts;
use crate::outbound::http::{AnswerPart, Bounds, Call, CallError, Outbound, Target};
use crate::outbound::reach::Reach;
use crate::outbound::standard_webhooks::SigningKey;
use crate::platform::alerts::{Channels, SharedChannels};
use crate::primitives::{Entropy, Timestamp, chain};
use crate::storage::data_dir::{self, DataDirError};

/// The file in the data directory that keeps the key of the signatures while the configuration has
/// none.
const KEY_FILE: &str = "alerts.secret";

/// The longest that one call may take, and to connect.
const TOTAL: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(5);

/// A webhook that gets alerts.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where it is.
    pub target: Target,
    /// Which addresses it may have.
    pub reach: Reach,
    /// What signs the messages; or why there is nothing that does.
    pub key: Result<SigningKey, NoKey>,
}

/// Why there is no key, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoKey(String);

/// Why a message was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nothing signs it.
    #[error(transparent)]
    Key(#[from] NoKey),
    /// Nobody has taken it.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Webhook {
    /// Sends a signed message; a second attempt under the same id is the same message. Blocks.
    ///
    /// # Errors
    /// [`SendError`].
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
                // What it has to say is in the status; a page of thanks is nobody's business,
                // however long it is.
                answer: AnswerPart::Head,
                reach: self.reach,
            },
        };
        outbound.call(&call)?;
        Ok(())
    }
}

/// Where alerts go.
#[derive(Clone, Debug, Default)]
pub struct Recipients {
    /// The webhook, if there is one.
    pub webhook: Option<Webhook>,
    /// The address, if there is one.
    pub email_to: Option<String>,
}

/// Where alerts go now.
#[derive(Debug, Default)]
pub struct AlertRecipients {
    recipients: RwLock<Arc<Recipients>>,
    means: Arc<SharedChannels>,
}

/// Why the key of the signatures cannot be had.
#[derive(Debug, thiserror::Error)]
enum KeyError {
    #[error(transparent)]
    File(#[from] DataDirError),
    #[error(
        "{KEY_FILE} in the data directory holds no key; remove it to have a new one made, or set \
         alerts.webhook_secret; then reload (SIGHUP)"
    )]
    Other,
}

impl AlertRecipients {
    /// Sends by `alerts` from now on. A key that is nowhere yet is made, and kept in `dir`, which
    /// this process has locked. Blocks.
    ///
    /// # Errors
    /// [`NoKey`]. Who has a key keeps it, and nothing has changed; who has none sends by all the
    /// rest of `alerts`.
    ///
    /// # Panics
    /// With a configuration that was not validated.
    pub fn renew(&self, alerts: &Alerts, dir: &Path, entropy: &dyn Entropy) -> Result<(), NoKey> {
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
                key: key(alerts, dir, entropy).map_err(|error| NoKey(chain(&error))),
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
        let means = Channels {
            webhook: webhook.is_some(),
            mail: email_to.is_some(),
            window_ms: i64::try_from(alerts.window.as_millis()).unwrap_or(i64::MAX),
        };
        *self
            .recipients
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(Recipients { webhook, email_to });
        self.means.set(means);
        missing.map_or(Ok(()), Err)
    }

    /// Why alerts by webhook wait, if they do.
    pub fn missing_key(&self) -> Option<NoKey> {
        self.recipients()
            .webhook
            .as_ref()?
            .key
            .as_ref()
            .err()
            .cloned()
    }

    /// Where they go now.
    pub fn recipients(&self) -> Arc<Recipients> {
        self.recipients
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The same, as those who raise alerts need it.
    pub fn means(&self) -> &Arc<SharedChannels> {
        &self.means
    }
}

/// The key that is configured, or the one that is kept.
fn key(alerts: &Alerts, dir: &Path, entropy: &dyn Entropy) -> Result<SigningKey, KeyError> {
    let configured = alerts.webhook_secret.expose();
    if !configured.is_empty() {
        return Ok(SigningKey::parse(configured).expect("the configuration was validated"));
    }
    let kept = data_dir::keep_secret(dir, KEY_FILE, || {
        format!("{}\n", SigningKey::new(entropy).expose())
    })?;
    SigningKey::parse(kept.trim_end()).ok_or(KeyError::Other)
}
