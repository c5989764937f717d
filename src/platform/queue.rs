//! The durable queue: a table in the tenant's file, so that a job exists if and only if the
//! transaction of its cause does.
//!
//! States, in the words of River and Oban: a job is `available`, or `scheduled` for later; it is
//! `running` during its outbound call; a failed one is `retryable` until its retry time; finally it
//! is `completed`, `cancelled` or `discarded`. This module is the table; `worker` decides when jobs
//! run. `epoch` holds and releases jobs; `trim` deletes finished ones.

use serde::Serialize;
use serde_json::json;

use crate::primitives::Timestamp;
use crate::primitives::id::JobId;
use crate::primitives::limits::{JOB_ERROR_CHARS_MAX, JOB_RETRY_MAX_MS, RESCUES_MAX};
use crate::storage::{
    Row, Rows, StorageError, TenantView, TenantWork, Wake, named_params, params, statements,
    text_enum,
};

text_enum! {
    Queue {
        /// Everything without a queue of its own.
        Default = "default",
        /// The audit chain.
        Audit = "audit",
        /// Jobs that affect the books.
        Financial = "financial",
        /// Subscriptions and their payments, and alerts, which run first.
        Billing = "billing",
        /// Work that can wait.
        Low = "low",
    }
}

text_enum! {
    /// The state of a job.
    State {
        /// Ready to run.
        Available = "available",
        /// Waits for its time.
        Scheduled = "scheduled",
        /// Its outbound call is running.
        Running = "running",
        /// Failed; is due again later.
        Retryable = "retryable",
        /// Finished.
        Completed = "completed",
        /// Cancelled before it ran.
        Cancelled = "cancelled",
        /// Discarded after its last attempt.
        Discarded = "discarded",
    }
}

/// The file's current epoch: only its jobs run. See [`epoch`](super::epoch).
macro_rules! own_epoch {
    () => {
        "(SELECT number FROM epoch WHERE singleton = 1)"
    };
}
pub(crate) use own_epoch;

/// Inserts a job, with a clause for a conflict of its unique key.
macro_rules! insert {
    ($conflict:literal) => {
        concat!(
            "INSERT INTO job (id, queue, kind, payload, priority, state, attempt, rescues, \
             scheduled_at, unique_key, errors, epoch)
             VALUES (:id, :queue, :kind, :payload, :priority, :state, 0, 0, :scheduled_at, \
             :unique_key, '[]', ",
            own_epoch!(),
            ")",
            $conflict
        )
    };
}

/// Jobs that wait for their time, the earliest first.
macro_rules! waiting {
    ($what:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $what,
            " FROM job WHERE state IN ('scheduled', 'retryable') AND queue = ?1 AND epoch = ",
            own_epoch!(),
            $rest
        )
    };
}

/// Ready jobs in the order of their execution.
macro_rules! ready {
    ($what:literal, $limit:literal) => {
        concat!(
            "SELECT ",
            $what,
            " FROM job WHERE state = 'available' AND queue = ?1 AND epoch = ",
            own_epoch!(),
            " ORDER BY priority, seq LIMIT ",
            $limit
        )
    };
}

statements! {
    ENQUEUE = insert!("");
    ENQUEUE_UNIQUE = insert!(" ON CONFLICT (unique_key, epoch) WHERE unique_key IS NOT NULL AND \
        state IN ('available', 'scheduled', 'running', 'retryable') DO NOTHING");
    DUE = waiting!("seq", " AND scheduled_at <= ?2 ORDER BY scheduled_at LIMIT ?3");
    STRANDED = waiting!("seq", " AND state = 'retryable' AND scheduled_at > ?2 ORDER BY \
        scheduled_at LIMIT ?3");
    STAGE = "UPDATE job SET state = 'available' WHERE seq = ?1 AND state IN ('scheduled', \
        'retryable')";
    READY = ready!("seq, id, queue, kind, payload, attempt, max_attempts, scheduled_at", "?2");
    START = "UPDATE job SET state = 'running', attempt = attempt + 1, attempted_at = ?2 WHERE seq \
        = ?1 AND state = 'available'";
    COMPLETE = "UPDATE job SET state = 'completed', attempt = ?2, attempted_at = \
        coalesce(attempted_at, ?3), finalized_at = ?3
                WHERE seq = ?1 AND state IN ('available', 'running')";
    FAIL = "UPDATE job SET state = :state, attempt = :attempt, scheduled_at = :scheduled_at, \
        attempted_at = :now, finalized_at = :finalized_at,
            errors = json_insert(errors, '$[#]', json(:error)) WHERE seq = :seq AND state IN \
            ('available', 'running')";
    GIVE_BACK = "UPDATE job SET state = 'available', attempt = attempt - 1 WHERE seq = ?1 AND \
        state = 'running'";
    RUNNING = "SELECT seq, id, queue, kind, payload, attempt - 1 AS attempt, max_attempts, \
        scheduled_at FROM job WHERE state = 'running' AND queue = ?1";
    ORPHANS = "SELECT count(*) FROM job WHERE state = 'running'";
    DISCARD_POISON = "UPDATE job SET state = 'discarded', finalized_at = ?1, rescues = rescues + 1,
                      errors = json_insert(errors, '$[#]', json(?2)) WHERE state = 'running' AND \
                      rescues >= ?3
                      RETURNING seq, id, queue, kind, payload, attempt, max_attempts, scheduled_at";
    RESCUE = "UPDATE job SET state = 'available', attempt = attempt - 1, rescues = rescues + 1 \
        WHERE state = 'running'";
    NEXT_READY = ready!("scheduled_at", "1");
    NEXT_WAITING = waiting!("scheduled_at", " ORDER BY scheduled_at LIMIT 1");
    HAS_STRANDED = waiting!("1", " AND state = 'retryable' AND scheduled_at > ?2 LIMIT 1");
}

/// A job to enqueue.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub queue: Queue,
    /// Selects the handler. Kinds stay readable for ever; a new shape is a new kind.
    pub kind: &'static str,
    /// The handler's input as JSON.
    pub payload: String,
    /// The ready job with the lowest priority number runs first; among equals, the oldest. Usually
    /// 0.
    pub priority: i64,
    /// The earliest time to run.
    pub run_at: Option<Timestamp>,
    /// At most one unfinished job has this key.
    pub unique_key: Option<String>,
}

impl NewJob {
    /// A job that is due at once.
    ///
    /// # Panics
    /// When the payload cannot be serialized; a plain struct always can.
    pub fn new(queue: Queue, kind: &'static str, payload: &impl Serialize) -> Self {
        let payload = serde_json::to_string(payload).expect("a payload is a plain struct");
        Self {
            queue,
            kind,
            payload,
            priority: 0,
            run_at: None,
            unique_key: None,
        }
    }
}

/// A due job.
#[derive(Clone, Debug)]
pub struct Job {
    pub seq: i64,
    /// Stable over all attempts, so that a receiver can detect a repetition.
    pub id: JobId,
    pub queue: Queue,
    /// Selects the handler.
    pub kind: String,
    /// The handler's input as JSON.
    pub payload: String,
    /// The number of this attempt, from 1.
    pub attempt: i64,
    /// The job's own limit of attempts.
    pub max_attempts: Option<i64>,
    /// The time from which it was due.
    pub scheduled_at: Timestamp,
}

/// The next state of a failed job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// Retry at this time.
    Retry(Timestamp),
    /// Discard, and keep it with its errors.
    Discard,
}

fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    Ok(Job {
        seq: row.get("seq")?,
        id: row.get("id")?,
        queue: row.get("queue")?,
        kind: row.get("kind")?,
        payload: row.get("payload")?,
        attempt: row.get::<_, i64>("attempt")? + 1,
        max_attempts: row.get("max_attempts")?,
        scheduled_at: row.get("scheduled_at")?,
    })
}

/// Enqueues a job in the transaction of its cause. `false` when an unfinished job has the same
/// unique key.
pub fn enqueue(work: &mut TenantWork, new: &NewJob) -> Result<bool, StorageError> {
    let due = new.run_at.unwrap_or_else(|| work.now());
    let state = if due > work.now() {
        State::Scheduled
    } else {
        State::Available
    };
    let id: JobId = work.new_id();
    let statement = if new.unique_key.is_some() {
        &ENQUEUE_UNIQUE
    } else {
        &ENQUEUE
    };
    let row = named_params! {":id": id, ":queue": new.queue, ":kind": new.kind,
    ":payload": new.payload, ":priority": new.priority, ":state": state, ":scheduled_at": due,
    ":unique_key": new.unique_key};
    let inserted = work.change(statement, row, Rows::AtMostOne)?;
    work.wake(Wake {
        queue: new.queue.as_str(),
        at: due,
    });
    Ok(inserted == 1)
}

/// Makes scheduled jobs that are due available, and returns the ready jobs in order, at most
/// `limit` of each. Does not start them.
///
/// No retry delay exceeds [`JOB_RETRY_MAX_MS`]: a job with a later retry failed while the clock was
/// ahead and would wait for as long as the clock was set back. It is due now.
pub fn due(work: &mut TenantWork, queue: Queue, limit: u32) -> Result<Vec<Job>, StorageError> {
    let now = work.now();
    for (statement, at) in [(&DUE, now), (&STRANDED, now.plus_millis(JOB_RETRY_MAX_MS))] {
        // Not all due jobs: a hundred thousand jobs for the same minute would block the shop's
        // sales.
        let found: Vec<i64> = work.all(statement, params![queue, at, limit], |row| row.get(0))?;
        for seq in found {
            work.change(&STAGE, params![seq], Rows::Exactly(1))?;
        }
    }
    work.all(&READY, params![queue, limit], job)
}

/// Marks a job as running before its outbound call.
pub fn start(work: &mut TenantWork, job: &Job) -> Result<(), StorageError> {
    let now = work.now();
    work.change(&START, params![job.seq, now], Rows::Exactly(1))
        .map(drop)
}

/// Completes a job, in the transaction of its effects.
///
/// # Errors
/// `UnexpectedRows` when the job is already finished, which rolls back the effects as well.
pub fn complete(work: &mut TenantWork, job: &Job) -> Result<(), StorageError> {
    let now = work.now();
    work.change(
        &COMPLETE,
        params![job.seq, job.attempt, now],
        Rows::Exactly(1),
    )
    .map(drop)
}

/// Records a failure with its time, and the job's next state.
pub fn fail(
    work: &mut TenantWork,
    job: &Job,
    error: &str,
    after: AfterFailure,
) -> Result<(), StorageError> {
    let now = work.now();
    let (state, due, finalized) = match after {
        AfterFailure::Retry(at) => (State::Retryable, at, None),
        AfterFailure::Discard => (State::Discarded, now, Some(now)),
    };
    let row = named_params! {":seq": job.seq, ":state": state, ":attempt": job.attempt,
    ":scheduled_at": due, ":now": now, ":finalized_at": finalized,
    ":error": error_record(job.attempt, now, error)};
    work.change(&FAIL, row, Rows::Exactly(1))?;
    if state == State::Retryable {
        work.wake(Wake {
            queue: job.queue.as_str(),
            at: due,
        });
    }
    Ok(())
}

pub(super) fn error_record(attempt: i64, at: Timestamp, error: &str) -> String {
    let error: String = error.chars().take(JOB_ERROR_CHARS_MAX).collect();
    json!({"attempt": attempt, "at": at, "error": error}).to_string()
}

/// Returns a started job that was not executed; its attempt does not count. `false` when it has
/// finished meanwhile.
pub fn give_back(work: &mut TenantWork, job: &Job) -> Result<bool, StorageError> {
    let given_back = work.change(&GIVE_BACK, params![job.seq], Rows::AtMostOne)? == 1;
    let at = work.now();
    work.wake(Wake {
        queue: job.queue.as_str(),
        at,
    });
    Ok(given_back)
}

/// Returns the running jobs of a queue, except those in `executing`. Used when the result of a
/// COMMIT is unknown.
pub fn reclaim(
    work: &mut TenantWork,
    queue: Queue,
    executing: &[JobId],
) -> Result<(), StorageError> {
    let running = work.all(&RUNNING, params![queue], job)?;
    for job in running.iter().filter(|job| !executing.contains(&job.id)) {
        give_back(work, job)?;
    }
    Ok(())
}

/// Counts the running jobs. Before the worker starts, all of them are orphans of a dead process.
pub fn count_orphans(view: &TenantView) -> Result<i64, StorageError> {
    view.one(&ORPHANS, [], |row| row.get(0))
}

/// Makes orphans available again without counting their attempt. Discards and returns jobs that
/// were rescued too often, because they probably cause the crashes. Call it only while no worker
/// runs jobs of this file.
pub fn rescue(work: &mut TenantWork) -> Result<Vec<Job>, StorageError> {
    let now = work.now();
    let error = error_record(0, now, "the process died repeatedly while this job ran");
    let poison = work.returning(&DISCARD_POISON, params![now, error, RESCUES_MAX], job)?;
    work.change(&RESCUE, [], Rows::Any)?;
    Ok(poison)
}

/// The time from which the next job of a queue is or will be due; `None` when nothing waits. A
/// ready job is due now at the latest, whatever the clock showed when it was enqueued.
pub fn next_due(view: &TenantView, queue: Queue) -> Result<Option<Timestamp>, StorageError> {
    let now = view.now();
    let ready: Option<Timestamp> = view.find(&NEXT_READY, params![queue], |row| row.get(0))?;
    let stranded = view.find(
        &HAS_STRANDED,
        params![queue, now.plus_millis(JOB_RETRY_MAX_MS)],
        |_| Ok(now),
    )?;
    let waiting: Option<Timestamp> = view.find(&NEXT_WAITING, params![queue], |row| row.get(0))?;
    let ready = ready.map(|since| since.min(now));
    Ok(ready.into_iter().chain(waiting).chain(stranded).min())
}

/// The next due time of each queue.
pub fn next_wakes(view: &TenantView) -> Result<Vec<Wake>, StorageError> {
    let mut wakes = Vec::new();
    for queue in Queue::ALL {
        let due = next_due(view, *queue)?;
        wakes.extend(due.map(|at| Wake {
            queue: queue.as_str(),
            at,
        }));
    }
    Ok(wakes)
}
