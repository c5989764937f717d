//! The durable queue: a table in the tenant's file, so that a job exists if and only if the
//! transaction of its cause does.
//!
//! States, in River's and Oban's words: a job is `available`, or `scheduled` for later; it is
//! `running` while an outbound call is made for it; a failed one is `retryable` until its time has
//! come; in the end it is `completed`, `cancelled` or `discarded`. This module is the table;
//! `worker` decides when. What is held, and does not run until it is released, is in `epoch`; what
//! goes when it has ended, in `trim`.

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
    /// A queue.
    Queue {
        /// What belongs nowhere else.
        Default = "default",
        /// The audit chain.
        Audit = "audit",
        /// Reactions of the books.
        Financial = "financial",
        /// The house's own: its bills, and what it tells whoever runs it, which goes first there.
        Billing = "billing",
        /// What can wait.
        Low = "low",
    }
}

text_enum! {
    /// Where a job is in its life.
    State {
        /// Ready to run.
        Available = "available",
        /// Not before its time.
        Scheduled = "scheduled",
        /// An outbound call is being made for it.
        Running = "running",
        /// Failed, and due again later.
        Retryable = "retryable",
        /// Done.
        Completed = "completed",
        /// Taken back before it ran.
        Cancelled = "cancelled",
        /// Given up after its last attempt.
        Discarded = "discarded",
    }
}

/// The file's own epoch: only its jobs run. See [`epoch`](super::epoch).
macro_rules! own_epoch {
    () => {
        "(SELECT number FROM epoch WHERE singleton = 1)"
    };
}
pub(crate) use own_epoch;

/// A new row, and what is to happen when there is one with its key.
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

/// Jobs that wait for their time, those first whose time comes first.
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

/// Jobs that are ready, in the order in which they are run.
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
    RUNNING = "SELECT seq, id, queue, kind, payload, attempt - 1, max_attempts, scheduled_at FROM \
        job WHERE state = 'running' AND queue = ?1";
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

/// A job that is to be.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its queue.
    pub queue: Queue,
    /// Its kind: which handler runs it. Kinds stay readable for ever; a new shape is a new kind.
    pub kind: &'static str,
    /// What the handler needs, as JSON.
    pub payload: String,
    /// Which of the jobs of its queue that are ready goes first: the lower, and of equals the
    /// older. 0 for nearly all.
    pub priority: i64,
    /// Not before this instant.
    pub run_at: Option<Timestamp>,
    /// At most one unfinished job has this key.
    pub unique_key: Option<String>,
}

impl NewJob {
    /// A job that is due at once.
    ///
    /// # Panics
    /// When the payload cannot be JSON, which a plain struct always can.
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

/// A job that is due.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its place in the table.
    pub seq: i64,
    /// Its id; stable over all attempts, so a receiver can tell a repetition.
    pub id: JobId,
    /// Its queue.
    pub queue: Queue,
    /// Which handler runs it.
    pub kind: String,
    /// What the handler needs.
    pub payload: String,
    /// Which attempt this is, from 1.
    pub attempt: i64,
    /// Its own limit of attempts, if it has one.
    pub max_attempts: Option<i64>,
    /// Since when it was due.
    pub scheduled_at: Timestamp,
}

/// What becomes of a job that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// It is due again at this instant.
    Retry(Timestamp),
    /// It is given up, and kept with its errors.
    Discard,
}

fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    Ok(Job {
        seq: row.get(0)?,
        id: row.get(1)?,
        queue: row.get(2)?,
        kind: row.get(3)?,
        payload: row.get(4)?,
        attempt: row.get::<_, i64>(5)? + 1,
        max_attempts: row.get(6)?,
        scheduled_at: row.get(7)?,
    })
}

/// Puts a job into the transaction of its cause. `false` when an unfinished job with the same
/// unique key is there already.
///
/// # Errors
/// [`StorageError`].
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

/// Makes available what was scheduled and is due by now, and gives the jobs that are ready, in
/// order: of each at most `limit`. They are not started yet.
///
/// No pause after a failure is longer than [`JOB_RETRY_MAX_MS`]: a job whose next attempt lies
/// further ahead failed while the clock was ahead, and would wait for as long as the clock was set
/// back. It is due now.
///
/// # Errors
/// [`StorageError`].
pub fn due(work: &mut TenantWork, queue: Queue, limit: u32) -> Result<Vec<Job>, StorageError> {
    let now = work.now();
    for (statement, at) in [(&DUE, now), (&STRANDED, now.plus_millis(JOB_RETRY_MAX_MS))] {
        // Not all that is due: a hundred thousand jobs for the same minute would keep the shop's
        // sales waiting.
        let found: Vec<i64> = work.all(statement, params![queue, at, limit], |row| row.get(0))?;
        for seq in found {
            work.change(&STAGE, params![seq], Rows::Exactly(1))?;
        }
    }
    work.all(&READY, params![queue, limit], job)
}

/// Checkpoints a job as running: an outbound call is about to be made for it.
///
/// # Errors
/// [`StorageError`].
pub fn start(work: &mut TenantWork, job: &Job) -> Result<(), StorageError> {
    let now = work.now();
    work.change(&START, params![job.seq, now], Rows::Exactly(1))
        .map(drop)
}

/// Finishes a job, in the transaction of its effects.
///
/// # Errors
/// [`StorageError`]; `UnexpectedRows` when it was finished already, which undoes the effects as
/// well.
pub fn complete(work: &mut TenantWork, job: &Job) -> Result<(), StorageError> {
    let now = work.now();
    work.change(
        &COMPLETE,
        params![job.seq, job.attempt, now],
        Rows::Exactly(1),
    )
    .map(drop)
}

/// Notes a failure with its time, and what is to become of the job.
///
/// # Errors
/// [`StorageError`].
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
    ":scheduled_at": due, ":now": now, ":finalized_at": finalized, ":error": noted(job.attempt,
    now, error)};
    work.change(&FAIL, row, Rows::Exactly(1))?;
    if state == State::Retryable {
        work.wake(Wake {
            queue: job.queue.as_str(),
            at: due,
        });
    }
    Ok(())
}

pub(super) fn noted(attempt: i64, at: Timestamp, error: &str) -> String {
    let error: String = error.chars().take(JOB_ERROR_CHARS_MAX).collect();
    json!({"attempt": attempt, "at": at, "error": error}).to_string()
}

/// Gives back a job that was started and not carried out: its attempt is not burned. `false` when
/// it has ended meanwhile.
///
/// # Errors
/// [`StorageError`].
pub fn give_back(work: &mut TenantWork, job: &Job) -> Result<bool, StorageError> {
    let given_back = work.change(&GIVE_BACK, params![job.seq], Rows::AtMostOne)? == 1;
    let at = work.now();
    work.wake(Wake {
        queue: job.queue.as_str(),
        at,
    });
    Ok(given_back)
}

/// Gives back the jobs of a queue that are marked as running and that nobody carries out: `in_hand`
/// are those that somebody does. For after a commit of which it is not known whether it was kept.
///
/// # Errors
/// [`StorageError`].
pub fn take_back(
    work: &mut TenantWork,
    queue: Queue,
    in_hand: &[JobId],
) -> Result<(), StorageError> {
    let running = work.all(&RUNNING, params![queue], job)?;
    for job in running.iter().filter(|job| !in_hand.contains(&job.id)) {
        give_back(work, job)?;
    }
    Ok(())
}

/// How many jobs are marked as running. Before the worker starts, all of them are orphans of a
/// process that is gone.
///
/// # Errors
/// [`StorageError`].
pub fn count_orphans(view: &TenantView) -> Result<i64, StorageError> {
    view.one(&ORPHANS, [], |row| row.get(0))
}

/// Makes orphans available again, their attempt not burned; one that was rescued too often is taken
/// for the cause and discarded. Gives those that were discarded. Only right while no worker runs
/// jobs of this file.
///
/// # Errors
/// [`StorageError`].
pub fn rescue(work: &mut TenantWork) -> Result<Vec<Job>, StorageError> {
    let now = work.now();
    let error = noted(
        0,
        now,
        "the process died while this job ran, again and again",
    );
    let poison = work.returning(&DISCARD_POISON, params![now, error, RESCUES_MAX], job)?;
    work.change(&RESCUE, [], Rows::Any)?;
    Ok(poison)
}

/// Since when the next job of a queue is due, or when it will be; `None` when nothing waits. What
/// is ready is due by now, whatever the clock showed when it came.
///
/// # Errors
/// [`StorageError`].
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

/// When each queue has something to do next.
///
/// # Errors
/// [`StorageError`].
pub fn ready_queue(view: &TenantView) -> Result<Vec<Wake>, StorageError> {
    let mut ready_queue = Vec::new();
    for queue in Queue::ALL {
        let due = next_due(view, *queue)?;
        ready_queue.extend(due.map(|at| Wake {
            queue: queue.as_str(),
            at,
        }));
    }
    Ok(ready_queue)
}
