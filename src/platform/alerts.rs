//! Alerts about discarded jobs. The first failure of a kind of job is reported at once; further
//! ones within its window are reported as one count at the window's end. The alert is a job in the
//! transaction of the failure, so it exists if and only if the job was discarded.
//!
//! An alert must not wait behind the jobs that it reports, so it goes first in a queue that no
//! customer waits for.
//!
//! A failed alert is a failed job: it is logged and kept, but raises no further alert. `worker`
//! delivers alerts.

use std::sync::RwLock;

use serde::{Deserialize, Serialize};

use super::queue::{self, Job, NewJob, Queue};
use crate::primitives::Timestamp;
use crate::primitives::id::{JobId, TenantId};
use crate::primitives::limits::JOB_ERROR_CHARS_MAX;
use crate::primitives::sync;
use crate::storage::{Rows, StorageError, TenantWork, params, statements, text_enum};

/// The kind of the job that ends a window.
pub const WINDOW_END: &str = "alerts.window_over";
/// The prefix of all kinds of alerts, including those of later versions.
const KIND_PREFIX: &str = "alerts.";

/// The queue of alerts. Mail fails most often; its queue then has a backlog, or is paused until the
/// mail server is repaired, and would delay the alert. A hanging alert must not delay `low` either,
/// which frees stock and runs retention.
pub const QUEUE: Queue = Queue::Billing;
/// Before all other ready jobs of the queue, which have priority 0.
const PRIORITY: i64 = -1_000;

text_enum! {
    /// A channel by which the operator is notified.
    AlertChannel {
        Webhook = "webhook",
        Mail = "mail",
    }
}

impl AlertChannel {
    /// The kind of the job that sends an alert.
    pub const fn job_kind(self) -> &'static str {
        match self {
            Self::Webhook => "alerts.webhook",
            Self::Mail => "alerts.mail",
        }
    }
}

statements! {
    WINDOW = "SELECT opened_at, kept_back, last FROM alert_window WHERE job_kind = ?1";
    OPEN = "INSERT INTO alert_window (job_kind, opened_at, kept_back, last) VALUES (?1, ?2, 0, NULL)
            ON CONFLICT (job_kind) DO UPDATE SET opened_at = excluded.opened_at, kept_back = 0, \
            last = NULL";
    KEEP_BACK = "UPDATE alert_window SET kept_back = kept_back + 1, last = ?2 WHERE job_kind = ?1";
    CLOSE = "DELETE FROM alert_window WHERE job_kind = ?1";
}

/// The configured alert channels and the length of a window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channels {
    pub configured: Vec<AlertChannel>,
    /// The time within which a kind of job is not reported again, in milliseconds.
    pub window_ms: i64,
}

/// The current channels; a reload of the configuration changes them.
#[derive(Debug, Default)]
pub struct SharedChannels(RwLock<Channels>);

impl SharedChannels {
    pub fn get(&self) -> Channels {
        sync::read(&self.0).clone()
    }

    pub fn set(&self, channels: Channels) {
        *sync::write(&self.0) = channels;
    }
}

/// A discarded job. Without its payload, which may contain confidential data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFailed {
    pub tenant_id: TenantId,
    pub queue: String,
    /// The kind of the job.
    pub job: String,
    pub job_id: JobId,
    /// The last attempt, from 1.
    pub attempt: i64,
    pub error: String,
    pub failed_at: Timestamp,
}

/// The payload of the job that sends an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The failure; the last one when several are reported at once.
    pub failed: JobFailed,
    /// The number of discarded jobs of this kind: 1, or those that the window held back.
    pub failures: i64,
}

/// The payload of a [`WINDOW_END`] job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowEnd {
    /// The kind of job whose window ends.
    pub job_kind: String,
    /// The start of the window: a late job must not end the next one.
    pub opened_at: Timestamp,
    /// The channels at the start of the window.
    pub channels: Channels,
}

struct Window {
    opened_at: Timestamp,
    kept_back: i64,
    last: Option<String>,
}

/// Whether jobs of this kind are alerts, whose failures are not reported.
pub fn is_alert(kind: &str) -> bool {
    kind.starts_with(KIND_PREFIX)
}

/// Logs a discarded job and enqueues its alert, in the transaction that discards it.
pub fn record_discard(
    work: &mut TenantWork,
    channels: Channels,
    job: &Job,
    attempt: i64,
    error: &str,
) -> Result<(), StorageError> {
    let failed = JobFailed {
        tenant_id: TenantId::from_bytes(work.file_id()),
        queue: job.queue.as_str().to_owned(),
        job: job.kind.clone(),
        job_id: job.id,
        attempt,
        error: error.chars().take(JOB_ERROR_CHARS_MAX).collect(),
        failed_at: work.now(),
    };
    let line = failed.clone();
    work.on_commit(move || {
        let JobFailed {
            tenant_id,
            queue,
            job,
            job_id,
            attempt,
            error,
            ..
        } = line;
        tracing::error!(tenant_id = %tenant_id, queue, job, job_id = %job_id, attempt, error, "job \
            failed");
    });
    if is_alert(&job.kind) || channels.configured.is_empty() {
        return Ok(());
    }
    if let Some(window) = find_window(work, &job.kind)? {
        // A window in the future was opened before the clock was set back; one that was never ended
        // waits in a stopped queue.
        let ends_at = window.opened_at.plus_millis(channels.window_ms);
        if (window.opened_at..ends_at).contains(&work.now()) {
            let last = serde_json::to_string(&failed).expect("a failure is a plain struct");
            return work
                .change(&KEEP_BACK, params![job.kind, last], Rows::Exactly(1))
                .map(drop);
        }
        enqueue_alert(work, channels, &job.kind, failed, window.kept_back + 1)
    } else {
        enqueue_alert(work, channels, &job.kind, failed, 1)
    }
}

/// Ends a window: reports the failures that were held back and begins a new window, or closes it
/// when there were none, so that the next failure is reported at once.
pub fn end_window(work: &mut TenantWork, end: &WindowEnd) -> Result<(), StorageError> {
    let window = find_window(work, &end.job_kind)?;
    let Some(window) = window.filter(|window| window.opened_at == end.opened_at) else {
        return Ok(());
    };
    let last = window
        .last
        .and_then(|last| serde_json::from_str(&last).ok());
    match last {
        Some(failed) => enqueue_alert(
            work,
            end.channels.clone(),
            &end.job_kind,
            failed,
            window.kept_back,
        ),
        None => work
            .change(&CLOSE, params![end.job_kind], Rows::Exactly(1))
            .map(drop),
    }
}

fn find_window(work: &TenantWork, kind: &str) -> Result<Option<Window>, StorageError> {
    work.find(&WINDOW, params![kind], |row| {
        Ok(Window {
            opened_at: row.get("opened_at")?,
            kept_back: row.get("kept_back")?,
            last: row.get("last")?,
        })
    })
}

fn new_job(kind: &'static str, payload: &impl Serialize) -> NewJob {
    NewJob {
        priority: PRIORITY,
        ..NewJob::new(QUEUE, kind, payload)
    }
}

/// Enqueues one job per channel, so that a failing channel repeats nothing on another, and begins
/// a new window.
fn enqueue_alert(
    work: &mut TenantWork,
    channels: Channels,
    kind: &str,
    failed: JobFailed,
    failures: i64,
) -> Result<(), StorageError> {
    let alert = Alert { failed, failures };
    for channel in &channels.configured {
        queue::enqueue(work, &new_job(channel.job_kind(), &alert))?;
    }
    let window_ms = channels.window_ms;
    let now = work.now();
    work.change(&OPEN, params![kind, now], Rows::Exactly(1))?;
    let end = WindowEnd {
        job_kind: kind.to_owned(),
        opened_at: now,
        channels,
    };
    let end = NewJob {
        run_at: Some(now.plus_millis(window_ms)),
        ..new_job(WINDOW_END, &end)
    };
    queue::enqueue(work, &end).map(drop)
}
