//! What the operator is told of jobs that were given up, and how often: the first failure of a kind
//! at once, and while its window lasts the rest as one count at its end. The alert is a job in the
//! transaction of the failure, so there is one if and only if the job was given up.
//!
//! An alert must not wait behind what it is about: it goes before all the rest of a queue that no
//! customer waits for.
//!
//! Alerts that fail are jobs that fail: they are logged and kept as such, and nobody is told of
//! them this way. How they travel is in `worker`.

use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::queue::{self, Job, NewJob, Queue};
use crate::primitives::Timestamp;
use crate::primitives::id::{JobId, TenantId};
use crate::primitives::limits::JOB_ERROR_CHARS_MAX;
use crate::storage::{Rows, StorageError, TenantWork, params, statements};

/// The kind of the job that tells a webhook.
pub const WEBHOOK: &str = "alerts.webhook";
/// The kind of the job that tells somebody by mail.
pub const MAIL: &str = "alerts.mail";
/// The kind of the job that ends a window.
pub const WINDOW_OVER: &str = "alerts.window_over";
/// What the kinds of alerts begin with, those of later versions as well.
const OWN: &str = "alerts.";

/// Their queue. Mail is what fails most, in a queue that then has a backlog, or is paused until the
/// mail server is mended: that holds no alert here. Nor does an alert that hangs hold what is in
/// `low`, where stock comes free again and nights are spent on retention.
pub const QUEUE: Queue = Queue::Billing;
/// Before whatever else is ready there, all of which has 0.
const PRIORITY: i64 = -1_000;

statements! {
    WINDOW = "SELECT opened_at, kept_back, last FROM alert_window WHERE job_kind = ?1";
    OPEN = "INSERT INTO alert_window (job_kind, opened_at, kept_back, last) VALUES (?1, ?2, 0, NULL)
            ON CONFLICT (job_kind) DO UPDATE SET opened_at = excluded.opened_at, kept_back = 0, \
            last = NULL";
    KEEP_BACK = "UPDATE alert_window SET kept_back = kept_back + 1, last = ?2 WHERE job_kind = ?1";
    CLOSE = "DELETE FROM alert_window WHERE job_kind = ?1";
}

/// By which means the operator is told, and how long a window is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channels {
    /// There is a URL to call.
    pub webhook: bool,
    /// There is an address to write to.
    pub mail: bool,
    /// How long a kind of job is not told of again, in milliseconds.
    pub window_ms: i64,
}

/// The means as they are now: they change when the configuration is read again.
#[derive(Debug, Default)]
pub struct SharedChannels(RwLock<Channels>);

impl SharedChannels {
    /// What holds now.
    pub fn get(&self) -> Channels {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on these.
    pub fn set(&self, means: Channels) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = means;
    }
}

/// A job that was given up. Never its payload: that may hold what is nobody's business.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFailed {
    /// Whose job it was.
    pub tenant_id: TenantId,
    /// Its queue.
    pub queue: String,
    /// Its kind.
    pub job: String,
    /// Its id.
    pub job_id: JobId,
    /// Its last attempt, from 1.
    pub attempt: i64,
    /// Why it failed.
    pub error: String,
    /// When it was given up.
    pub failed_at: Timestamp,
}

/// The payload of a [`WEBHOOK`] or [`MAIL`] job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The failure; the last one, where several are told of at once.
    pub failed: JobFailed,
    /// How many jobs of this kind were given up: 1, or those that were kept back while the window
    /// lasted.
    pub failures: i64,
}

/// The payload of a [`WINDOW_OVER`] job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowOver {
    /// Whose window.
    pub job_kind: String,
    /// When it was opened: a job that comes late must not end the one after it.
    pub opened_at: Timestamp,
    /// What held then.
    pub means: Channels,
}

struct Window {
    opened_at: Timestamp,
    kept_back: i64,
    last: Option<String>,
}

/// Whether jobs of this kind are about alerts: nobody is told when they fail.
pub fn is_alert(kind: &str) -> bool {
    kind.starts_with(OWN)
}

/// What has to follow when a job was given up, in the transaction that gave it up: the line in the
/// log, and the alert.
///
/// # Errors
/// [`StorageError`].
pub fn given_up(
    work: &mut TenantWork,
    means: Channels,
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
    if is_alert(&job.kind) || !(means.webhook || means.mail) {
        return Ok(());
    }
    if let Some(window) = find_window(work, &job.kind)? {
        // A window that lies ahead was opened by a clock that was set back since; one that nobody
        // ended waits in a queue that stands still.
        let ends_at = window.opened_at.plus_millis(means.window_ms);
        if (window.opened_at..ends_at).contains(&work.now()) {
            let last = serde_json::to_string(&failed).expect("a failure is a plain struct");
            return work
                .change(&KEEP_BACK, params![job.kind, last], Rows::Exactly(1))
                .map(drop);
        }
        tell(work, means, &job.kind, failed, window.kept_back + 1)
    } else {
        tell(work, means, &job.kind, failed, 1)
    }
}

/// Ends a window: what was kept back is told, and a new one begins; or there was nothing, and the
/// next failure is told at once.
///
/// # Errors
/// [`StorageError`].
pub fn end_window(work: &mut TenantWork, over: &WindowOver) -> Result<(), StorageError> {
    let window = find_window(work, &over.job_kind)?;
    let Some(window) = window.filter(|window| window.opened_at == over.opened_at) else {
        return Ok(());
    };
    let last = window
        .last
        .and_then(|last| serde_json::from_str(&last).ok());
    match last {
        Some(failed) => tell(work, over.means, &over.job_kind, failed, window.kept_back),
        None => work
            .change(&CLOSE, params![over.job_kind], Rows::Exactly(1))
            .map(drop),
    }
}

fn find_window(work: &TenantWork, kind: &str) -> Result<Option<Window>, StorageError> {
    work.find(&WINDOW, params![kind], |row| {
        Ok(Window {
            opened_at: row.get(0)?,
            kept_back: row.get(1)?,
            last: row.get(2)?,
        })
    })
}

fn new_job(kind: &'static str, payload: &impl Serialize) -> NewJob {
    NewJob {
        priority: PRIORITY,
        ..NewJob::new(QUEUE, kind, payload)
    }
}

/// A job for each of the means, so that one that fails sends nothing twice by the other; and a new
/// window.
fn tell(
    work: &mut TenantWork,
    means: Channels,
    kind: &str,
    failed: JobFailed,
    failures: i64,
) -> Result<(), StorageError> {
    let alert = Alert { failed, failures };
    for (_, alert_kind) in [(means.webhook, WEBHOOK), (means.mail, MAIL)]
        .iter()
        .filter(|(is_there, _)| *is_there)
    {
        queue::enqueue(work, &new_job(alert_kind, &alert))?;
    }
    let now = work.now();
    work.change(&OPEN, params![kind, now], Rows::Exactly(1))?;
    let over = WindowOver {
        job_kind: kind.to_owned(),
        opened_at: now,
        means,
    };
    let over = NewJob {
        run_at: Some(now.plus_millis(means.window_ms)),
        ..new_job(WINDOW_OVER, &over)
    };
    queue::enqueue(work, &over).map(drop)
}
