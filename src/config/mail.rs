//! `[mail]`: outgoing mail. Without a server, mail is written to files, so that a trial
//! installation loses none.

use super::error::Faults;
use super::redacted::shown_redacted;
use super::units::Span;
use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, Tokio1Executor};
use serde::{Deserialize, Serialize};

/// The sender and the server of outgoing mail.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mail {
    /// The sender, `Name <address>` or the bare address.
    pub from: String,
    /// `smtp://` or `smtps://` with user and password; empty: mail is written to the outbox
    /// directory.
    pub smtp_url: SmtpUrl,
    /// The longest time for sending one message, from the DNS query to the server's last answer.
    /// The queue's own timeout applies as well.
    pub timeout: Span,
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            from: "Tillbox <no-reply@localhost>".to_owned(),
            smtp_url: SmtpUrl::default(),
            timeout: Span::secs(30),
        }
    }
}

impl Mail {
    pub(super) fn check(&self, faults: &mut Faults) {
        if let Err(error) = self.from.parse::<Mailbox>() {
            faults.add("mail.from", format!("{:?}: {error}", self.from));
        }
        let url = self.smtp_url.expose();
        let server = url
            .strip_prefix("smtp://")
            .or_else(|| url.strip_prefix("smtps://"));
        if !url.is_empty() && server.is_none_or(str::is_empty) {
            faults.add(
                "mail.smtp_url",
                "is neither empty nor smtp://… nor smtps://…",
            );
        } else if !url.is_empty() && AsyncSmtpTransport::<Tokio1Executor>::from_url(url).is_err() {
            // The message does not show the value: it may hold a password.
            faults.add(
                "mail.smtp_url",
                "is not a URL of a mail server; check its port, its options and the characters of \
                 its password",
            );
        }
        let timeouts = Span::millis(100)..=Span::secs(120);
        faults.within("mail.timeout", self.timeout, timeouts);
    }
}

/// A URL that may hold a password. Printing, logging and serialising show `***` in its place.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SmtpUrl(String);

impl SmtpUrl {
    /// The full URL with its password, only for connecting.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Hides too much rather than too little: a password may hold `/`, `:` and `@` although these
    /// should be encoded.
    fn redacted(&self) -> String {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", &self.0));
        let Some((user_info, host)) = rest.rsplit_once('@') else {
            return self.0.clone();
        };
        match user_info.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:***@{host}"),
            None => self.0.clone(),
        }
    }
}

shown_redacted! { SmtpUrl }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redacts_password() {
        for (url, shown) in [
            ("", ""),
            ("smtp://mx.example:25", "smtp://mx.example:25"),
            (
                "smtps://bob:s3cret@mx.example",
                "smtps://bob:***@mx.example",
            ),
            (
                "smtps://bob:s3/c@r:et@mx/me?tls=required",
                "smtps://bob:***@mx/me?tls=required",
            ),
            ("smtps://bob@mx.example", "smtps://bob@mx.example"),
            ("bob:s3cret@mx.example", "://bob:***@mx.example"),
        ] {
            let secret = SmtpUrl(url.to_owned());
            assert_eq!(secret.to_string(), shown);
            assert_eq!(format!("{secret:?}"), format!("{shown:?}"));
            assert_eq!(secret.expose(), url);
        }
    }
}
