//! `[alerts]`: the recipients of alerts about discarded jobs. Both channels may be set, or one, or
//! none.

use super::error::Faults;
use super::redacted::shown_redacted;
use super::units::Span;
use crate::outbound::http::Target;
use crate::outbound::standard_webhooks::SigningKey;
use crate::primitives::Email;
use serde::{Deserialize, Serialize};

/// The channels and the rate of alerts.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// A URL that gets a signed POST for each alert (Standard Webhooks); empty: none.
    pub webhook_url: WebhookUrl,
    /// The signing key, `whsec_…`; empty: a key is generated and kept in `alerts.secret` in the
    /// data directory.
    pub webhook_secret: WebhookSecret,
    /// Whether the URL may lead to a private address or this machine. The operator sets the URL, so
    /// this is allowed by default.
    pub webhook_private: bool,
    /// An address that gets a mail for each alert; empty: none.
    pub email_to: String,
    /// The time between two alerts about one kind of job of one tenant. Failures in between are
    /// reported as a count at the end.
    pub window: Span,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            webhook_url: WebhookUrl::default(),
            webhook_secret: WebhookSecret::default(),
            webhook_private: true,
            email_to: String::new(),
            window: Span::secs(15 * 60),
        }
    }
}

impl Alerts {
    pub(super) fn check(&self, faults: &mut Faults) {
        let url = self.webhook_url.expose();
        if !url.is_empty()
            && let Err(error) = Target::parse(url)
        {
            faults.add("alerts.webhook_url", error.to_string());
        }
        let secret = self.webhook_secret.expose();
        if !secret.is_empty() && SigningKey::parse(secret).is_none() {
            // The message does not show the value: most of it may be the right key.
            let text = "is not a key; write whsec_ and 24 to 64 bytes in base64, or leave it empty";
            faults.add("alerts.webhook_secret", text);
        }
        if !self.email_to.is_empty() && Email::parse(&self.email_to).is_err() {
            faults.add(
                "alerts.email_to",
                format!("{:?} is not an email address", self.email_to),
            );
        }
        faults.within(
            "alerts.window",
            self.window,
            Span::secs(1)..=Span::secs(24 * 3_600),
        );
    }
}

/// A URL whose path may be a secret. Printing, logging and serialising show the host only.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct WebhookUrl(String);

impl WebhookUrl {
    /// The full URL, only for connecting.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn redacted(&self) -> String {
        match Target::parse(&self.0) {
            _ if self.0.is_empty() => String::new(),
            Ok(target) if self.0 == target.to_string() => self.0.clone(),
            Ok(target) => format!("{target}/***"),
            Err(_) => "***".to_owned(),
        }
    }
}

/// A signing key. Printing, logging and serialising show only whether it is set.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct WebhookSecret(String);

impl WebhookSecret {
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn redacted(&self) -> String {
        if self.0.is_empty() {
            String::new()
        } else {
            "***".to_owned()
        }
    }
}

shown_redacted! { WebhookUrl WebhookSecret }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redacts_url_and_secret() {
        for (url, shown) in [
            ("", ""),
            (
                "https://hooks.example/T0/B1/s3cret",
                "https://hooks.example/***",
            ),
            (
                "http://10.0.0.7:9000/?key=s3cret",
                "http://10.0.0.7:9000/***",
            ),
            ("https://hooks.example", "https://hooks.example"),
            ("s3cret", "***"),
        ] {
            let url = WebhookUrl(url.to_owned());
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("{shown:?}"));
        }
        assert_eq!(WebhookSecret("s3cret".to_owned()).to_string(), "***");
        assert_eq!(WebhookSecret::default().to_string(), "");
    }
}
