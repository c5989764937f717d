//! What runs a job: one entry per kind, one file per module whose jobs they are.
//!
//! A kind is readable for ever: files may hold jobs that an older version wrote. A new shape of
//! payload is a new kind beside the old one.

mod alerts;
mod audit;
mod inventory;
mod orders;
mod retention;

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::JobError;
use crate::app::App;
use crate::primitives::Stopwatch;
use crate::primitives::id::JobId;
use crate::storage::{Database, Tenant, TenantWork};
use crate::{platform, tenant};

/// Runs a job whose effects are in the shop's own file, in the transaction that also completes the
/// job. May be run twice; only what it does through its work counts.
pub type Local = fn(work: &mut TenantWork<'_>, payload: &str) -> Result<(), JobError>;

/// Runs a job whose effects are outside, with no transaction open, on a thread that may block. At
/// least once: it may have happened before.
pub type Outbound = fn(outbound_job: &OutboundJob<'_>) -> Result<(), JobError>;

/// How a kind of job is run.
#[derive(Clone, Copy, Debug)]
pub enum Handler {
    /// Inside the shop's file.
    Local(Local),
    /// Outside of it.
    Outbound(Outbound),
}

/// What an outbound handler gets.
pub struct OutboundJob<'a> {
    /// The process: its ports to the outside.
    pub app: &'a App,
    /// The shop's file, to read from.
    pub db: &'a Database<Tenant>,
    /// The job's id: the same on every attempt, so that a receiver can tell a repetition.
    pub job_id: JobId,
    /// What to do.
    pub payload: &'a str,
    /// How long the queue gives it, the call's thread included.
    pub limit: Duration,
    /// Runs since the call was begun.
    pub begun: Stopwatch,
}

impl OutboundJob<'_> {
    /// How long the call may still take. Whoever calls a server elsewhere ends by then: the job is
    /// settled then, whatever becomes of the call.
    pub fn left(&self) -> Duration {
        self.limit.saturating_sub(self.begun.read())
    }
}

/// Which handler runs which kind.
#[derive(Clone, Copy, Debug)]
pub struct Handlers(pub &'static [(&'static str, Handler)]);

/// The handlers of this program.
pub const ALL: Handlers = Handlers(&[
    (platform::alerts::MAIL, Handler::Outbound(alerts::send_mail)),
    (
        platform::alerts::WEBHOOK,
        Handler::Outbound(alerts::call_webhook),
    ),
    (
        platform::alerts::WINDOW_OVER,
        Handler::Local(alerts::end_window),
    ),
    (tenant::audit::APPEND_AUDIT, Handler::Local(audit::append)),
    (
        tenant::inventory::EXPIRE_RESERVATION,
        Handler::Local(inventory::expire),
    ),
    (
        tenant::orders::CONFIRMATION,
        Handler::Outbound(orders::send_confirmation),
    ),
    (
        tenant::retention::PRUNE,
        Handler::Outbound(retention::prune),
    ),
]);

impl Handlers {
    /// The handler of a kind.
    pub fn find(self, kind: &str) -> Option<Handler> {
        self.0
            .iter()
            .find(|(own, _)| *own == kind)
            .map(|(_, handler)| *handler)
    }

    /// All kinds that are run.
    pub fn kinds(self) -> Vec<&'static str> {
        self.0.iter().map(|(kind, _)| *kind).collect()
    }
}

/// Reads a payload. One that cannot be read now will not be readable later.
fn payload<T: DeserializeOwned>(text: &str) -> Result<T, JobError> {
    serde_json::from_str(text)
        .map_err(|error| JobError::permanent(format!("the payload cannot be read: {error}")))
}
