//! The handlers: one entry per kind of job, one file per module that owns the jobs.
//!
//! A kind stays readable forever: files may hold jobs that an older version wrote. A new form of
//! payload gets a new kind.

mod alerts;
mod audit;
mod inventory;
mod orders;
mod retention;

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::JobError;
use crate::alerts::recipients::AlertRecipients;
use crate::app::Ports;
use crate::outbound::mail::Mailer;
use crate::platform::alerts::AlertChannel;
use crate::primitives::Stopwatch;
use crate::primitives::id::JobId;
use crate::storage::{Database, Tenant, TenantWork};
use crate::{platform, tenant};

/// Runs a job whose effects are in the tenant's file, in the transaction that also completes the
/// job. It may run twice; only its effects in `work` count.
pub type Local = fn(work: &mut TenantWork<'_>, payload: &str) -> Result<(), JobError>;

/// Runs a job whose effects are outside the file, with no transaction open, on a blocking thread.
/// At least once: an earlier attempt may have taken effect.
pub type Outbound = fn(outbound_job: &OutboundJob<'_>) -> Result<(), JobError>;

/// The handler of a kind of job.
#[derive(Clone, Copy, Debug)]
pub enum Handler {
    Local(Local),
    Outbound(Outbound),
}

/// The arguments of an outbound handler.
pub struct OutboundJob<'a> {
    pub ports: &'a Ports,
    pub mailer: &'a Mailer,
    pub alert_recipients: &'a AlertRecipients,
    /// The tenant's file, for reading.
    pub db: &'a Database<Tenant>,
    /// The job's id. It is the same on every attempt, so that a receiver can detect a repetition.
    pub job_id: JobId,
    pub payload: &'a str,
    /// The queue's timeout, including the wait for the call's thread.
    pub limit: Duration,
    /// Started together with the call.
    pub stopwatch: Stopwatch,
}

impl OutboundJob<'_> {
    /// The time that remains for the call. A call to another server must end within it: the job is
    /// finished then, whatever the call does.
    pub fn remaining(&self) -> Duration {
        self.limit.saturating_sub(self.stopwatch.read())
    }
}

/// Handlers by kind.
#[derive(Clone, Copy, Debug)]
pub struct Handlers(pub &'static [(&'static str, Handler)]);

/// The handlers of this program.
pub const ALL: Handlers = Handlers(&[
    (
        AlertChannel::Webhook.job_kind(),
        Handler::Outbound(|job| alerts::send(job, AlertChannel::Webhook)),
    ),
    (
        AlertChannel::Mail.job_kind(),
        Handler::Outbound(|job| alerts::send(job, AlertChannel::Mail)),
    ),
    (
        platform::alerts::WINDOW_END,
        Handler::Local(alerts::end_window),
    ),
    (platform::audit::APPEND_AUDIT, Handler::Local(audit::append)),
    (
        tenant::inventory::EXPIRE_RESERVATION,
        Handler::Local(inventory::expire),
    ),
    (
        tenant::confirmation::CONFIRMATION,
        Handler::Outbound(orders::send_confirmation),
    ),
    (
        tenant::retention::PRUNE,
        Handler::Outbound(retention::prune),
    ),
]);

impl Handlers {
    pub fn find(self, kind: &str) -> Option<Handler> {
        self.0
            .iter()
            .find(|(own, _)| *own == kind)
            .map(|(_, handler)| *handler)
    }

    /// Lists the kinds that have a handler.
    pub fn kinds(self) -> Vec<&'static str> {
        self.0.iter().map(|(kind, _)| *kind).collect()
    }
}

/// Parses a payload. One that cannot be parsed now will not be parseable later.
fn payload<T: DeserializeOwned>(text: &str) -> Result<T, JobError> {
    serde_json::from_str(text)
        .map_err(|error| JobError::permanent(format!("the payload is invalid: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_alerts_of_each_channel() {
        for channel in AlertChannel::ALL {
            assert!(ALL.find(channel.job_kind()).is_some(), "{channel}");
        }
    }
}
