//! One turn of one shop in one queue, as plain steps over its work: what is claimed, run, finished and given up. No clock, no threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::JobError;
use super::handlers::{Handler, Handlers, Local, Outward};
use crate::config::{self, Queues};
use crate::platform::alerts::{self, SharedMeans};
use crate::platform::queue::{self, AfterFailure, Job, Queue};
use crate::primitives::limits::CLAIM_MAX;
use crate::primitives::{Entropy, Timestamp};
use crate::storage::writer::panic_text;
use crate::storage::{StorageError, TenantWork};
use crate::tenant;

/// What decides about a job besides itself.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) handlers: Handlers,
    pub(super) queues: Arc<Queues>,
    pub(super) alerts: Arc<SharedMeans>,
}

impl Rules {
    pub(super) fn of_queue(&self, queue: Queue) -> &config::Queue {
        self.queues.find(queue.as_str()).expect("every queue has its settings")
    }
}

/// How many jobs ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Done.
    pub completed: usize,
    /// Failed, and due again later.
    pub retried: usize,
    /// Given up.
    pub discarded: usize,
}

impl Tally {
    /// All of them.
    pub const fn total(self) -> usize {
        self.completed + self.retried + self.discarded
    }

    pub(super) const fn add(&mut self, other: Self) {
        self.completed += other.completed;
        self.retried += other.retried;
        self.discarded += other.discarded;
    }
}

/// An outward job that is marked as running, and what runs it.
#[derive(Clone, Debug)]
pub(super) struct Started {
    pub(super) job: Job,
    pub(super) call: Outward,
}

/// What came of a turn.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) tally: Tally,
    pub(super) started: Vec<Started>,
    /// When the queue has something to do next; not later than now when there was more than one turn takes.
    pub(super) next: Option<Timestamp>,
}

impl Claimed {
    /// Nothing was done.
    pub(super) const fn nothing(next: Option<Timestamp>) -> Self {
        Self {
            tally: Tally {
                completed: 0,
                retried: 0,
                discarded: 0,
            },
            started: Vec::new(),
            next,
        }
    }
}

/// Why a turn came to nothing as a whole. No job is to blame.
#[derive(Debug, thiserror::Error)]
pub(super) enum TurnError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Unavailable(JobError),
}

/// Runs the local jobs that are due, in order, and marks at most `outward_max` outward ones as running.
pub(super) fn claim(work: &mut TenantWork<'_>, rules: &Rules, queue: Queue, outward_max: usize) -> Result<Claimed, TurnError> {
    let mut tally = Tally::default();
    let (mut local, mut started) = (Vec::new(), Vec::new());
    for job in queue::due(work, queue, CLAIM_MAX)? {
        match rules.handlers.find(&job.kind) {
            Some(Handler::Local(run)) => local.push((job, run)),
            Some(Handler::Outward(call)) if started.len() < outward_max => {
                queue::start(work, &job)?;
                started.push(Started { job, call });
            }
            Some(Handler::Outward(_)) => {}
            None => {
                let error = JobError::passing("no handler for this kind of job; it may be from a newer version");
                tally.add(fail(work, rules, &job, &error)?);
            }
        }
    }
    tally.add(run_local(work, rules, &local)?);
    let next = queue::next_due(work, queue)?;
    Ok(Claimed { tally, started, next })
}

/// Runs local jobs: all in one savepoint, because each costs as much as a job does; and one by one when one of them fails.
fn run_local(work: &mut TenantWork<'_>, rules: &Rules, local: &[(Job, Local)]) -> Result<Tally, TurnError> {
    if local.len() > 1 {
        match work.nested(|work| local.iter().try_for_each(|(job, run)| run_one(work, job, *run))) {
            Ok(()) => {
                return Ok(Tally {
                    completed: local.len(),
                    ..Tally::default()
                });
            }
            Err(error) if error.is_unavailable() => return Err(TurnError::Unavailable(error)),
            Err(_) => {}
        }
    }
    let mut tally = Tally::default();
    for (job, run) in local {
        match work.nested(|work| run_one(work, job, *run)) {
            Ok(()) => tally.completed += 1,
            Err(error) if error.is_unavailable() => return Err(TurnError::Unavailable(error)),
            Err(error) => tally.add(fail(work, rules, job, &error)?),
        }
    }
    Ok(tally)
}

/// The effects of a job and its completion, together.
fn run_one(work: &mut TenantWork<'_>, job: &Job, run: Local) -> Result<(), JobError> {
    guarded(|| run(work, &job.payload))?;
    Ok(queue::complete(work, job)?)
}

/// Runs a handler; its panic is its job's failure and nobody else's.
pub(super) fn guarded(run: impl FnOnce() -> Result<(), JobError>) -> Result<(), JobError> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic| Err(JobError::passing(format!("the handler panicked: {}", panic_text(panic.as_ref())))))
}

/// Finishes an outward job: the second transaction.
pub(super) fn finish(work: &mut TenantWork<'_>, rules: &Rules, job: &Job, outcome: &Result<(), JobError>) -> Result<Tally, StorageError> {
    match outcome {
        Ok(()) => {
            queue::complete(work, job)?;
            Ok(Tally {
                completed: 1,
                ..Tally::default()
            })
        }
        Err(error) => fail(work, rules, job, error),
    }
}

/// Notes a failed attempt and decides what becomes of the job.
fn fail(work: &mut TenantWork<'_>, rules: &Rules, job: &Job, error: &JobError) -> Result<Tally, StorageError> {
    let settings = rules.of_queue(job.queue);
    let tries = job.max_attempts.unwrap_or_else(|| i64::from(settings.tries));
    let (tenant, job_id, queue, kind) = (tenant::id_of(work), job.id, job.queue, job.kind.clone());
    let (attempt, text) = (job.attempt, error.to_string());
    if error.is_permanent() || attempt >= tries {
        queue::fail(work, job, &text, AfterFailure::Discard)?;
        alerts::given_up(work, rules.alerts.get(), job, attempt, &text)?;
        return Ok(Tally {
            discarded: 1,
            ..Tally::default()
        });
    }
    let at = work.now().plus_millis(wait_ms(settings, attempt, work.entropy()));
    queue::fail(work, job, &text, AfterFailure::Retry(at))?;
    work.on_commit(move || {
        tracing::warn!(tenant_id = %tenant, queue = %queue, job = kind, job_id = %job_id, attempt, error = text, at = %at, "job will be retried");
    });
    Ok(Tally {
        retried: 1,
        ..Tally::default()
    })
}

/// How long to wait after the `attempt`th failure: anything up to the queue's wait for it ("full jitter"), so that jobs that failed
/// together don't come back together; and never nothing.
fn wait_ms(settings: &config::Queue, attempt: i64, entropy: &dyn Entropy) -> i64 {
    let steps = &settings.backoff;
    let index = usize::try_from(attempt - 1).unwrap_or(0).min(steps.len().saturating_sub(1));
    let longest = steps.get(index).map_or(1, |step| step.as_millis());
    1 + i64::try_from(entropy.below(longest)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;
    use crate::primitives::SeededEntropy;

    #[test]
    fn waits_follow_the_list_and_its_last_repeats() {
        let settings = config::Queue {
            workers: 1,
            tries: 9,
            backoff: vec![Span::millis(10), Span::millis(1_000), Span::millis(60_000)],
            timeout: Span::secs(1),
        };
        let entropy = SeededEntropy::new(3);
        for (attempt, longest) in [(1, 10), (2, 1_000), (3, 60_000), (4, 60_000), (99, 60_000)] {
            let waits: Vec<i64> = (0..200).map(|_| wait_ms(&settings, attempt, &entropy)).collect();
            assert!(waits.iter().all(|wait| (1..=longest).contains(wait)), "{attempt}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait > longest / 2), "{attempt}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait <= longest / 2), "{attempt}: {waits:?}");
        }
    }
}
