//! One batch of one tenant in one queue, as plain steps in its transaction: claim, run, finish,
//! discard. No clock, no threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::JobError;
use super::handlers::{Handler, Handlers, Local, Outbound};
use crate::config::{self, Queues, Span};
use crate::landlord::ClockWatch;
use crate::observe::job_stats::{Outcome, Ran};
use crate::platform::alerts::{self, SharedChannels};
use crate::platform::epoch;
use crate::platform::queue::{self, AfterFailure, Job, Queue};
use crate::platform::trim::{self, TrimCutOffs};
use crate::primitives::limits::CLAIM_MAX;
use crate::primitives::{Entropy, Stopwatch, Timestamp};
use crate::storage::writer::panic_text;
use crate::storage::{StorageError, TenantWork};
use crate::tenant;

/// Settings and handlers that decide how jobs run.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) handlers: Handlers,
    pub(super) queues: Arc<Queues>,
    pub(super) alerts: Arc<SharedChannels>,
    pub(super) clock_watch: Arc<ClockWatch>,
}

impl Rules {
    pub(super) fn queue_settings(&self, queue: Queue) -> &config::Queue {
        self.queues
            .find(queue.as_str())
            .expect("every queue has settings")
    }

    /// Returns the queue settings that limit the attempts of a job. Alerts use the settings of the
    /// default queue: a mail server may be away for hours, and the attempts of their own queue
    /// would be used up in minutes.
    fn retry_settings(&self, job: &Job) -> &config::Queue {
        if alerts::is_alert(&job.kind) {
            &self.queues.default
        } else {
            self.queue_settings(job.queue)
        }
    }

    /// Returns the cut-offs for deleting finished jobs; `None` while the clock is not trusted.
    fn trim_cut_offs(&self, now: Timestamp) -> Option<TrimCutOffs> {
        let before =
            |kept: Span| now.plus_millis(-i64::try_from(kept.as_millis()).unwrap_or(i64::MAX));
        self.clock_watch.is_trusted().then(|| TrimCutOffs {
            completed_before: before(self.queues.keep_completed),
            given_up_before: before(self.queues.keep_discarded),
        })
    }
}

/// The number of jobs by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
    pub completed: usize,
    /// Failed, and scheduled for a retry.
    pub retried: usize,
    /// Failed, and not retried.
    pub discarded: usize,
    /// Held, because no handler exists for their kind.
    pub held: usize,
}

impl JobCounts {
    pub const fn total(&self) -> usize {
        self.completed + self.retried + self.discarded + self.held
    }

    pub(super) const fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Completed => self.completed += 1,
            Outcome::Retried => self.retried += 1,
            Outcome::Discarded => self.discarded += 1,
            Outcome::Held => self.held += 1,
        }
    }

    pub(super) const fn add(&mut self, other: Self) {
        self.completed += other.completed;
        self.retried += other.retried;
        self.discarded += other.discarded;
        self.held += other.held;
    }
}

/// An outbound job that is marked as running, and its handler.
#[derive(Clone, Debug)]
pub(super) struct Started {
    pub(super) job: Job,
    pub(super) call: Outbound,
    /// The time from when the job was due until it started.
    pub(super) wait: Duration,
}

/// The result of a batch.
#[derive(Debug)]
pub(super) struct Claimed {
    /// Jobs that ended in this batch.
    pub(super) ran: Vec<Ran>,
    pub(super) started: Vec<Started>,
    /// The instant at which the queue has work again. Not later than now when more work was due
    /// than fits in one batch.
    pub(super) next: Option<Timestamp>,
}

impl Claimed {
    pub(super) const fn empty(next: Option<Timestamp>) -> Self {
        Self {
            ran: Vec::new(),
            started: Vec::new(),
            next,
        }
    }
}

/// The error of a batch as a whole. No single job caused it.
#[derive(Debug, thiserror::Error)]
pub(super) enum BatchError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Unavailable(JobError),
}

/// Runs the due local jobs in order and marks at most `outbound_max` outbound jobs as running.
/// Deletes some jobs that ended long ago.
pub(super) fn claim(
    work: &mut TenantWork<'_>,
    rules: &Rules,
    queue: Queue,
    outbound_max: usize,
) -> Result<Claimed, BatchError> {
    let (mut local, mut started, mut ran) = (Vec::new(), Vec::new(), Vec::new());
    for job in queue::due(work, queue, CLAIM_MAX)? {
        match rules.handlers.find(&job.kind) {
            Some(Handler::Local(run)) => local.push((job, run)),
            Some(Handler::Outbound(call)) if started.len() < outbound_max => {
                queue::start(work, &job)?;
                let wait = wait_time(work, &job);
                started.push(Started { job, call, wait });
            }
            Some(Handler::Outbound(_)) => {}
            None => ran.push(hold(work, job)?),
        }
    }
    ran.append(&mut run_local(work, rules, &local)?);
    let more_to_trim = match rules.trim_cut_offs(work.now()) {
        Some(cut_offs) => trim::trim(work, cut_offs)?.then(|| work.now()),
        None => None,
    };
    let next = queue::next_due(work, queue)?
        .into_iter()
        .chain(more_to_trim)
        .min();
    Ok(Claimed { ran, started, next })
}

/// Holds a job without a handler: its kind is from a newer version, or was removed. It waits for a
/// program that knows the kind; no attempt is counted.
fn hold(work: &mut TenantWork<'_>, job: Job) -> Result<Ran, StorageError> {
    epoch::hold_unknown(work, &job)?;
    let (tenant, id, queue, kind) = (tenant::id_of(work), job.id, job.queue, job.kind.clone());
    work.on_commit(move || {
        tracing::error!(tenant_id = %tenant, queue = %queue, job = kind, job_id = %id, error = "no \
            handler for this kind of job; it may come from a newer version of Tillbox", "job held");
    });
    Ok(to_ran(work, &job, Outcome::Held, Duration::ZERO))
}

fn wait_time(work: &TenantWork<'_>, job: &Job) -> Duration {
    let ms = work.now().as_millis() - job.scheduled_at.as_millis();
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn to_ran(work: &TenantWork<'_>, job: &Job, outcome: Outcome, run: Duration) -> Ran {
    Ran {
        queue: job.queue,
        kind: job.kind.clone(),
        outcome,
        wait: wait_time(work, job),
        run,
    }
}

/// Runs local jobs: all in one savepoint, because a savepoint costs as much as a job; one by one
/// when one of them fails.
fn run_local(
    work: &mut TenantWork<'_>,
    rules: &Rules,
    local: &[(Job, Local)],
) -> Result<Vec<Ran>, BatchError> {
    if local.len() > 1 {
        match work.nested(|work| {
            local
                .iter()
                .map(|(job, run)| run_one(work, job, *run))
                .collect()
        }) {
            Ok(ran) => return Ok(ran),
            Err(error) if JobError::is_unavailable(&error) => {
                return Err(BatchError::Unavailable(error));
            }
            Err(_) => {}
        }
    }
    let mut ran = Vec::with_capacity(local.len());
    for (job, run) in local {
        let watch = Stopwatch::start();
        match work.nested(|work| run_one(work, job, *run)) {
            Ok(done) => ran.push(done),
            Err(error) if error.is_unavailable() => return Err(BatchError::Unavailable(error)),
            Err(error) => {
                let outcome = fail(work, rules, job, &error)?;
                ran.push(to_ran(work, job, outcome, watch.read()));
            }
        }
    }
    Ok(ran)
}

/// Runs a job and completes it, in the same transaction.
fn run_one(work: &mut TenantWork<'_>, job: &Job, run: Local) -> Result<Ran, JobError> {
    let watch = Stopwatch::start();
    catch_panic(|| run(work, &job.payload))?;
    queue::complete(work, job)?;
    Ok(to_ran(work, job, Outcome::Completed, watch.read()))
}

/// Runs a handler. A panic becomes the failure of this job alone.
pub(super) fn catch_panic(run: impl FnOnce() -> Result<(), JobError>) -> Result<(), JobError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        Err(JobError::transient(format!(
            "the handler panicked: {}",
            panic_text(panic.as_ref())
        )))
    })
}

/// Stores the outcome of an outbound job, in its second transaction.
pub(super) fn finish(
    work: &mut TenantWork<'_>,
    rules: &Rules,
    job: &Job,
    outcome: &Result<(), JobError>,
) -> Result<Outcome, StorageError> {
    match outcome {
        Ok(()) => {
            queue::complete(work, job)?;
            Ok(Outcome::Completed)
        }
        Err(error) => fail(work, rules, job, error),
    }
}

/// Records a failed attempt, and schedules a retry or discards the job.
fn fail(
    work: &mut TenantWork<'_>,
    rules: &Rules,
    job: &Job,
    error: &JobError,
) -> Result<Outcome, StorageError> {
    let settings = rules.retry_settings(job);
    let tries = job
        .max_attempts
        .unwrap_or_else(|| i64::from(settings.tries));
    let (tenant, job_id, queue, kind) = (tenant::id_of(work), job.id, job.queue, job.kind.clone());
    let (attempt, text) = (job.attempt, error.to_string());
    if error.is_permanent() || attempt >= tries {
        queue::fail(work, job, &text, AfterFailure::Discard)?;
        alerts::record_discard(work, rules.alerts.get(), job, attempt, &text)?;
        return Ok(Outcome::Discarded);
    }
    let at = work
        .now()
        .plus_millis(wait_ms(settings, attempt, work.entropy()));
    queue::fail(work, job, &text, AfterFailure::Retry(at))?;
    work.on_commit(move || {
        tracing::warn!(tenant_id = %tenant, queue = %queue, job = kind, job_id = %job_id, attempt,
            error = text, at = %at, "job will be retried");
    });
    Ok(Outcome::Retried)
}

/// The delay after the `attempt`th failure, in milliseconds: random, from 1 to the queue's backoff
/// for it ("full jitter"), so that jobs that failed together are not retried together.
fn wait_ms(settings: &config::Queue, attempt: i64, entropy: &dyn Entropy) -> i64 {
    let longest = settings.backoff.longest(attempt).as_millis();
    1 + i64::try_from(entropy.below(longest)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Backoff;
    use crate::primitives::SeededEntropy;

    #[test]
    fn uses_backoff_list_and_repeats_last_entry() {
        let settings = config::Queue {
            workers: 1,
            tenant_limit: 1,
            priority: 1,
            tries: 9,
            backoff: Backoff::List([10, 1_000, 60_000].map(Span::millis).into()),
            timeout: Span::secs(1),
        };
        let entropy = SeededEntropy::new(3);
        for (attempt, longest) in [(1, 10), (2, 1_000), (3, 60_000), (4, 60_000), (99, 60_000)] {
            let waits: Vec<i64> = (0..200)
                .map(|_| wait_ms(&settings, attempt, &entropy))
                .collect();
            assert!(
                waits.iter().all(|wait| (1..=longest).contains(wait)),
                "{attempt}: {waits:?}"
            );
            assert!(
                waits.iter().any(|wait| *wait > longest / 2),
                "{attempt}: {waits:?}"
            );
            assert!(
                waits.iter().any(|wait| *wait <= longest / 2),
                "{attempt}: {waits:?}"
            );
        }
    }
}
