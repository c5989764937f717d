//! Sends a notice to the operator by one channel. A notice has all that any channel needs, so a new
//! channel is a recipient and a function here.

use std::time::Duration;

use serde_json::{Value, json};

use super::recipients::Recipients;
use crate::outbound::http::Outbound;
use crate::outbound::mail::{Mail, Mailer};
use crate::platform::alerts::AlertChannel;
use crate::primitives::{Timestamp, chain};

/// A message to the operator.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The name of the event, such as `job.failed`.
    pub event: &'static str,
    /// Equal for all attempts, so that a receiver can detect a repetition.
    pub id: String,
    /// The same for mails.
    pub mail_id: String,
    /// The instant of the event.
    pub at: Timestamp,
    /// The facts, for programs.
    pub data: Value,
    /// The facts, for people.
    pub subject: String,
    pub text: String,
}

/// The way to the outside, and the time for one call.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    pub outbound: &'a dyn Outbound,
    pub mailer: &'a Mailer,
    pub now: Timestamp,
    pub within: Duration,
}

/// The reason why a notice was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSent {
    pub reason: String,
    /// Whether another attempt would fail too.
    pub is_permanent: bool,
}

impl Sender<'_> {
    /// Sends a notice by a channel. Does nothing when the channel was removed from the
    /// configuration in the meantime. Blocks.
    pub fn send(
        &self,
        to: &Recipients,
        channel: AlertChannel,
        notice: Notice,
    ) -> Result<(), NotSent> {
        match channel {
            AlertChannel::Webhook => self.call_webhook(to, &notice),
            AlertChannel::Mail => self.send_mail(to, notice),
        }
    }

    fn call_webhook(&self, to: &Recipients, notice: &Notice) -> Result<(), NotSent> {
        let Some(webhook) = &to.webhook else {
            return Ok(());
        };
        let body = json!({"type": notice.event, "timestamp": notice.at, "data": notice.data});
        let id = format!("msg_{}", notice.id);
        let body = body.to_string().into_bytes();
        let called = webhook.send(self.outbound, &id, self.now, body, self.within);
        // Every error is retried: the operator can correct the cause while attempts remain.
        called.map_err(|error| NotSent {
            reason: format!("{}: {}", webhook.target, chain(&error)),
            is_permanent: false,
        })
    }

    fn send_mail(&self, to: &Recipients, notice: Notice) -> Result<(), NotSent> {
        let Some(to) = to.email_to.clone() else {
            return Ok(());
        };
        let mail = Mail {
            to,
            subject: notice.subject,
            text: notice.text,
            message_id: notice.mail_id,
            // A suspect clock may show no valid date for a mail; a wrong date is better than none.
            date_ms: notice.at.as_millis().max(0),
        };
        self.mailer
            .send(&mail, self.within)
            .map_err(|error| NotSent {
                reason: chain(&error),
                is_permanent: error.is_permanent(),
            })
    }
}
