//! The one writer of a file: group commit.
//!
//! A thread owns the only connection that writes. It takes what waits in its inbox into one
//! transaction, commits once, and only then answers them all: one fsync serves everybody who
//! waited. Three things make that safe:
//!
//! - *Optimistic, then careful.* A batch first runs without savepoints (they cost about 30 %). A
//!   request that refuses before it wrote anything needs no undoing. If one fails *after* it wrote,
//!   the whole batch is rolled back and run again with a savepoint around each, so that only the
//!   failing one is undone. Requests are therefore `FnMut`: they can be run twice.
//! - *A panic is one request's failure.* It is caught, rolled back, answered as a fault; the
//!   neighbours are kept.
//! - *A failing COMMIT fails all of the batch.* If it is not for want of space, the file is given
//!   up until it has been closed, opened and checked again: after a failed fsync nobody knows what
//!   the kernel kept. The same holds when the file at its path is another one now.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::data_dir::beside;
use super::file::Place;
use super::work::AfterCommit;
use super::{FileId, FileKind, Stats, StorageError, StorageErrorKind, Wake, Work};
use crate::primitives::limits::{BATCH_REQUESTS_MAX, BATCH_WORK_MS};
use crate::primitives::{Clock, Entropy, Origin};

/// How one run of a request ended.
pub(super) enum Attempt {
    Done,
    Refused,
}

/// A request in the inbox, whatever it returns.
pub(super) trait Request<K: FileKind>: Send {
    /// Who asked.
    fn origin(&self) -> Origin;
    /// Whether nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool;
    /// Runs the request and keeps its result; a later run replaces it.
    fn attempt(&mut self, work: &mut Work<'_, K>) -> Attempt;
    /// Replaces the result by an error.
    fn fail(&mut self, error: StorageError);
    /// Answers.
    fn settle(self: Box<Self>);
}

pub(super) enum Message<K: FileKind> {
    Request(Box<dyn Request<K>>),
    Stop,
}

/// How often at most the log says that a file is overloaded, or that a full or busy disk takes no
/// commit, in milliseconds.
const FLOOD_LOG_MS: i64 = 10_000;

/// What the writer thread shares with the handles of its file.
pub(super) struct Shared {
    pub(super) file_id: FileId,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) on_wake: OnWake,
    pub(super) stats: Stats,
    pub(super) healthy: AtomicBool,
    /// Whether the last connection that was to be opened for reading was.
    pub(super) readable: AtomicBool,
    /// How many long reads are asked for and not over.
    pub(super) long_reads: AtomicU32,
    /// When it was last said in the log that the inbox is full.
    pub(super) overloaded_at: AtomicI64,
    /// When it was last said in the log that a commit failed because the disk was full or busy.
    pub(super) refused_at: AtomicI64,
}

impl Shared {
    /// Whether it is time to say something in the log that comes in thousands; `last` is when it
    /// was said last.
    pub(super) fn is_news(&self, last: &AtomicI64) -> bool {
        let now = self.clock.now().as_millis();
        let said = last.load(Ordering::Relaxed);
        let is_due = now.saturating_sub(said) >= FLOOD_LOG_MS || now < said;
        is_due
            && last
                .compare_exchange(said, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

pub(super) struct Writer<K: FileKind> {
    pub(super) conn: Connection,
    pub(super) path: PathBuf,
    pub(super) place: Place,
    /// Where its WAL is, if there was one when it was opened.
    pub(super) log_place: Option<Place>,
    /// How large the file was when it was last looked at: it does not shrink.
    pub(super) len: Cell<u64>,
    /// The standard library's, because it lets go of what is in it when this end is dropped:
    /// whoever waits holds the other end.
    pub(super) inbox: Receiver<Message<K>>,
    pub(super) shared: Arc<Shared>,
}

/// Told, after a commit, of jobs that are due.
pub(super) type OnWake = Box<dyn Fn(&[Wake]) + Send + Sync>;

type Batch<K> = Vec<Box<dyn Request<K>>>;

/// How a whole batch ended.
enum Verdict {
    Commit(AfterCommit),
    Replay,
    Lost(StorageError),
}

impl<K: FileKind> Writer<K> {
    /// Runs until it is told to stop or the last handle is gone; then leaves the file without a
    /// WAL.
    pub(super) fn run(mut self) {
        while let Ok(Message::Request(first)) = self.inbox.recv() {
            if !first.is_abandoned() && self.batch(first).is_break() {
                break;
            }
        }
        // Those who wait are told that the file was closed, now, and come again once it has been
        // opened and checked.
        self.inbox = sync_channel(0).1;
        let is_displaced = self
            .stands_in_place()
            .is_err_and(|error| error.kind() == StorageErrorKind::Missing);
        // After a fault of the disk the WAL is all there is of the last commits, and stays for the
        // next open to recover. That of a file which is not in its place any more is emptied, or
        // moved away: it must not be taken for the WAL of the one that comes there.
        let emptied = if self.is_trusted() || is_displaced {
            self.empty_wal()
        } else {
            let keep = self
                .conn
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            keep.map(|_| true)
        };
        if is_displaced && !matches!(emptied, Ok(true)) {
            self.move_wal_away();
        }
        if let Err(error) = emptied.and_then(|_| self.conn.close().map_err(|(_, error)| error)) {
            tracing::warn!(error = %error, kind = K::NAME, "file not closed cleanly; the next open \
                recovers it");
        }
    }

    /// Puts the WAL into the file; `false` when a reader is in the way.
    fn empty_wal(&self) -> rusqlite::Result<bool> {
        self.conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                Ok(row.get::<_, i64>(0)? == 0)
            })
    }

    fn move_wal_away(&self) {
        if self.log_place.is_none() || Place::of(&beside(&self.path, "-wal")).ok() != self.log_place
        {
            return;
        }
        for suffix in ["-wal", "-shm"] {
            let from = beside(&self.path, suffix);
            if let Err(error) = std::fs::rename(&from, beside(&from, ".displaced")) {
                tracing::error!(file = %from.display(), error = %error, "what belongs to a file \
                    that was replaced could not be moved away");
            }
        }
    }

    /// Whether nothing has happened after which the file has to be opened and checked again.
    fn is_trusted(&self) -> bool {
        self.shared.healthy.load(Ordering::Acquire) && !self.shared.stats.is_damaged()
    }

    fn batch(&self, first: Box<dyn Request<K>>) -> std::ops::ControlFlow<()> {
        let mut batch = Batch::new();
        let mut flow = std::ops::ControlFlow::Continue(());
        let mut verdict = match self.execute("BEGIN IMMEDIATE") {
            Ok(()) => self.gather(first, &mut batch, &mut flow),
            Err(error) => {
                // Somebody else has the lock, after all the time that SQLite waits for it: whoever
                // waits behind is told the same now, and not each after a wait of their own.
                batch.push(first);
                self.empty_inbox(&mut batch, &mut flow);
                Verdict::Lost(error)
            }
        };
        if matches!(verdict, Verdict::Replay) {
            self.shared.stats.replay();
            counter!("tillbox_commit_replays_total", "file" => K::NAME).increment(1);
            self.rollback();
            verdict = match self.execute("BEGIN IMMEDIATE") {
                Ok(()) => self.replay(&mut batch),
                Err(error) => Verdict::Lost(error),
            };
        }
        match verdict {
            Verdict::Commit(after) => self.commit(&mut batch, after),
            Verdict::Lost(error) => self.lose(&mut batch, &error),
            Verdict::Replay => unreachable!("a replay never asks for another one"),
        }
        batch.into_iter().for_each(Request::settle);
        if self.is_trusted() {
            flow
        } else {
            std::ops::ControlFlow::Break(())
        }
    }

    /// Runs requests as they come, without savepoints, until nobody waits or the batch is full.
    fn gather(
        &self,
        first: Box<dyn Request<K>>,
        batch: &mut Batch<K>,
        flow: &mut std::ops::ControlFlow<()>,
    ) -> Verdict {
        let deadline = now() + Duration::from_millis(BATCH_WORK_MS);
        let mut after = AfterCommit::default();
        let mut next = Some(first);
        while let Some(mut request) = next.take() {
            if !request.is_abandoned() {
                let (changes, lengths) = (
                    self.conn.total_changes(),
                    (after.actions.len(), after.wakes.len()),
                );
                let attempt = self.attempt(request.as_mut(), &mut after);
                batch.push(request);
                let refused = matches!(attempt, Attempt::Refused);
                if refused {
                    after.actions.truncate(lengths.0);
                    after.wakes.truncate(lengths.1);
                }
                if self.conn.is_autocommit() || (refused && self.conn.total_changes() != changes) {
                    return Verdict::Replay;
                }
            }
            if batch.len() < BATCH_REQUESTS_MAX && now() < deadline {
                next = match self.inbox.try_recv() {
                    Ok(Message::Request(request)) => Some(request),
                    Ok(Message::Stop) => {
                        *flow = std::ops::ControlFlow::Break(());
                        None
                    }
                    Err(_) => None,
                };
            }
        }
        Verdict::Commit(after)
    }

    fn empty_inbox(&self, batch: &mut Batch<K>, flow: &mut std::ops::ControlFlow<()>) {
        while let Ok(message) = self.inbox.try_recv() {
            match message {
                Message::Request(request) => batch.push(request),
                Message::Stop => {
                    *flow = std::ops::ControlFlow::Break(());
                    return;
                }
            }
        }
    }

    /// Runs the same requests again, each in a savepoint of its own.
    fn replay(&self, batch: &mut Batch<K>) -> Verdict {
        let mut after = AfterCommit::default();
        for request in batch.iter_mut() {
            if let Err(error) = self.execute("SAVEPOINT request") {
                return Verdict::Lost(error);
            }
            let lengths = (after.actions.len(), after.wakes.len());
            let attempt = self.attempt(request.as_mut(), &mut after);
            if self.conn.is_autocommit() {
                // SQLite has rolled the whole transaction back by itself (disk full, I/O error):
                // nothing of the batch is left.
                return Verdict::Lost(StorageError::new(self.shared.stats.last_write_fault()));
            }
            let undo = match attempt {
                Attempt::Done => "RELEASE request",
                Attempt::Refused => {
                    after.actions.truncate(lengths.0);
                    after.wakes.truncate(lengths.1);
                    "ROLLBACK TO request; RELEASE request"
                }
            };
            if let Err(error) = self.execute(undo) {
                return Verdict::Lost(error);
            }
        }
        Verdict::Commit(after)
    }

    fn attempt(&self, request: &mut dyn Request<K>, after: &mut AfterCommit) -> Attempt {
        let (shared, origin) = (&self.shared, request.origin());
        let request_id = origin.request_id.clone();
        let mut work = Work::new(&self.conn, shared, origin);
        let attempt = catch_unwind(AssertUnwindSafe(|| request.attempt(&mut work)));
        let mut own = work.into_after_commit();
        after.actions.append(&mut own.actions);
        after.wakes.append(&mut own.wakes);
        attempt.unwrap_or_else(|panic| {
            tracing::error!(
                request_id,
                panic = panic_text(panic.as_ref()),
                kind = K::NAME,
                "request panicked and was rolled back"
            );
            request.fail(StorageError::new(StorageErrorKind::Panicked));
            Attempt::Refused
        })
    }

    fn commit(&self, batch: &mut Batch<K>, after: AfterCommit) {
        let started = now();
        match self.stands_in_place().and_then(|()| self.execute("COMMIT")) {
            Ok(()) => {
                self.note_commit(batch.len(), now().duration_since(started));
                after.actions.into_iter().for_each(tell::<K>);
                if !after.wakes.is_empty() {
                    tell::<K>(|| (self.shared.on_wake)(&after.wakes));
                }
            }
            Err(error) => {
                self.rollback();
                if !matches!(
                    error.kind(),
                    StorageErrorKind::Full | StorageErrorKind::Busy
                ) {
                    self.shared.healthy.store(false, Ordering::Release);
                }
                self.lose(batch, &error);
            }
        }
    }

    fn note_commit(&self, requests: usize, took: Duration) {
        self.shared.stats.commit(requests);
        let count = u32::try_from(requests).unwrap_or(u32::MAX);
        histogram!("tillbox_commit_duration_seconds", "file" => K::NAME).record(took);
        histogram!("tillbox_commit_requests", "file" => K::NAME).record(count);
        counter!("tillbox_commits_total", "file" => K::NAME).increment(1);
    }

    /// A file that was removed or replaced while it was open, or whose WAL was, takes writes and
    /// keeps none of them: they go with the last handle. One that was cut is not what this process
    /// wrote any more (an operator's VACUUM looks the same: then it is checked once, and goes on),
    /// unless it is by what was given back.
    fn stands_in_place(&self) -> Result<(), StorageError> {
        let (place, len) = Place::and_len(&self.path)?;
        let log_is_ours = self
            .log_place
            .is_none_or(|ours| Place::of(&beside(&self.path, "-wal")).is_ok_and(|log| log == ours));
        if place != self.place || !log_is_ours {
            return Err(StorageError::new(StorageErrorKind::Missing));
        }
        if len < self.len.replace(len) && !self.shared.stats.may_have_shrunk_to(len) {
            return Err(StorageError::new(StorageErrorKind::Corrupt));
        }
        Ok(())
    }

    fn lose(&self, batch: &mut Batch<K>, error: &StorageError) {
        self.rollback();
        if error.is_damage() || error.kind() == StorageErrorKind::Io {
            self.shared.stats.fault(error.kind(), true);
            if error.is_disk_fault() {
                self.shared.stats.disk_fault();
            }
            self.shared.healthy.store(false, Ordering::Release);
        }
        counter!("tillbox_commit_failures_total", "file" => K::NAME).increment(1);
        // After any other failure the file is opened again, which takes longer than a flood of
        // requests.
        let is_lasting = matches!(
            error.kind(),
            StorageErrorKind::Full | StorageErrorKind::Busy
        );
        if !is_lasting || self.shared.is_news(&self.shared.refused_at) {
            tracing::error!(error = %error,
                source = std::error::Error::source(error).map(tracing::field::display),
                requests = batch.len(), kind = K::NAME, "commit failed");
        }
        batch
            .iter_mut()
            .for_each(|request| request.fail(error.copy()));
    }

    fn rollback(&self) {
        if !self.conn.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::error!(error = %error, "rollback failed; the file is given up until it is \
                opened again");
            self.shared.healthy.store(false, Ordering::Release);
        }
    }

    fn execute(&self, sql: &'static str) -> Result<(), StorageError> {
        self.conn
            .execute_batch(sql)
            .map_err(|error| StorageError::sqlite(error, sql))
    }
}

/// Tells of what is on disk. A panic in it undoes nothing any more, and those who wait for their
/// answer must get it.
fn tell<K: FileKind>(action: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(action)) {
        tracing::error!(
            panic = panic_text(panic.as_ref()),
            kind = K::NAME,
            "what follows a commit panicked"
        );
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "bounds the work of one batch, and measures its commit; nothing of it is stored"
)]
fn now() -> Instant {
    Instant::now()
}

/// What a panic said, when it said it in words.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
