//! The single writer of a file: group commit.
//!
//! A thread owns the only writing connection. It runs all requests in its inbox in one transaction,
//! commits once, and only then answers them: one fsync serves all of them. Three rules make that
//! safe:
//!
//! - *Optimistic first.* A batch first runs without savepoints (they cost about 30 %). A request
//!   that is refused before it wrote anything needs no rollback. If a request fails *after* it
//!   wrote, the whole batch is rolled back and run again with a savepoint around each request, so
//!   that only the failing one is undone. Requests are therefore `FnMut`: they may run twice.
//! - *A panic fails one request.* It is caught, rolled back and answered as a fault; the other
//!   requests are kept.
//! - *A failed COMMIT fails the whole batch.* Unless the disk is full, the file is unhealthy until
//!   it has been closed, opened and checked again: after a failed fsync the kernel's state is
//!   unknown. The same applies when the file at its path was replaced.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::after_commit::AfterCommit;
use super::data_dir::beside;
use super::file::Inode;
use super::shared::Shared;
use super::{FileKind, StorageError, StorageErrorKind, Work};
use crate::primitives::Origin;
use crate::primitives::limits::{BATCH_REQUESTS_MAX, BATCH_WORK_MS};

/// The result of one run of a request.
pub(super) enum Attempt {
    Done,
    Refused,
}

/// A request in the inbox.
pub(super) trait Request<K: FileKind>: Send {
    fn origin(&self) -> Origin;
    /// Whether the caller no longer waits for the answer.
    fn is_abandoned(&self) -> bool;
    /// Runs the request and keeps its result; a later run replaces it.
    fn attempt(&mut self, work: &mut Work<'_, K>) -> Attempt;
    /// Replaces the result by an error.
    fn fail(&mut self, error: StorageError);
    /// Sends the answer.
    fn settle(self: Box<Self>);
}

pub(super) enum Message<K: FileKind> {
    Request(Box<dyn Request<K>>),
    Stop,
}

pub(super) struct Writer<K: FileKind> {
    pub(super) conn: Connection,
    pub(super) path: PathBuf,
    pub(super) inode: Inode,
    /// The inode of the WAL, if there was one when the file was opened.
    pub(super) wal_inode: Option<Inode>,
    /// The last known size of the file: it does not shrink.
    pub(super) len: Cell<u64>,
    /// The standard library's channel, because dropping the receiver drops the messages, and with
    /// them the senders that callers wait for.
    pub(super) inbox: Receiver<Message<K>>,
    pub(super) shared: Arc<Shared>,
}

type Batch<K> = Vec<Box<dyn Request<K>>>;

/// The result of a whole batch.
enum BatchOutcome {
    Commit(AfterCommit),
    Replay,
    Failed(StorageError),
}

impl<K: FileKind> Writer<K> {
    /// Runs until a stop message or until the last handle is dropped; then removes the WAL.
    pub(super) fn run(mut self) {
        while let Ok(Message::Request(first)) = self.inbox.recv() {
            if !first.is_abandoned() && self.batch(first).is_break() {
                break;
            }
        }
        // Waiting callers get `Closed` now and retry once the file has been opened and checked.
        self.inbox = sync_channel(0).1;
        let is_displaced = self
            .check_in_place()
            .is_err_and(|error| error.kind() == StorageErrorKind::Missing);
        // After a disk fault the WAL is the only copy of the last commits, and stays for the next
        // open to recover. The WAL of a displaced file is emptied or moved: the file that replaces
        // it must not use it.
        let checkpointed = if self.is_trusted() || is_displaced {
            self.checkpoint_wal()
        } else {
            let keep = self
                .conn
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            keep.map(|_| true)
        };
        if is_displaced && !matches!(checkpointed, Ok(true)) {
            self.displace_wal();
        }
        if let Err(error) = checkpointed.and_then(|_| self.conn.close().map_err(|(_, error)| error))
        {
            tracing::warn!(error = %error, kind = K::NAME,
                "file not closed cleanly; the next open recovers it");
        }
    }

    /// Writes the WAL into the file; `false` when a reader prevents it.
    fn checkpoint_wal(&self) -> rusqlite::Result<bool> {
        self.conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                Ok(row.get::<_, i64>(0)? == 0)
            })
    }

    fn displace_wal(&self) {
        if self.wal_inode.is_none() || Inode::of(&beside(&self.path, "-wal")).ok() != self.wal_inode
        {
            return;
        }
        for suffix in ["-wal", "-shm"] {
            let from = beside(&self.path, suffix);
            if let Err(error) = std::fs::rename(&from, beside(&from, ".displaced")) {
                tracing::error!(file = %from.display(), error = %error,
                    "companion of a replaced file not moved away");
            }
        }
    }

    /// Whether no fault requires to open and check the file again.
    fn is_trusted(&self) -> bool {
        self.shared.healthy.load(Ordering::Acquire) && !self.shared.stats.is_damaged()
    }

    fn batch(&self, first: Box<dyn Request<K>>) -> std::ops::ControlFlow<()> {
        let mut batch = Batch::new();
        let mut flow = std::ops::ControlFlow::Continue(());
        let mut outcome = match self.execute("BEGIN IMMEDIATE") {
            Ok(()) => self.run_batch(first, &mut batch, &mut flow),
            Err(error) => {
                // Another process has held the lock for longer than SQLite waits: all waiting
                // requests fail now, instead of each after its own wait.
                batch.push(first);
                self.empty_inbox(&mut batch, &mut flow);
                BatchOutcome::Failed(error)
            }
        };
        if matches!(outcome, BatchOutcome::Replay) {
            self.shared.stats.replay();
            counter!("tillbox_commit_replays_total", "file" => K::NAME).increment(1);
            self.rollback();
            outcome = match self.execute("BEGIN IMMEDIATE") {
                Ok(()) => self.replay(&mut batch),
                Err(error) => BatchOutcome::Failed(error),
            };
        }
        match outcome {
            BatchOutcome::Commit(after) => self.commit(&mut batch, after),
            BatchOutcome::Failed(error) => self.fail_batch(&mut batch, &error),
            BatchOutcome::Replay => unreachable!("a replay never requests another one"),
        }
        batch.into_iter().for_each(Request::settle);
        if self.is_trusted() {
            flow
        } else {
            std::ops::ControlFlow::Break(())
        }
    }

    /// Runs requests as they arrive, without savepoints, until none waits or the batch is full.
    fn run_batch(
        &self,
        first: Box<dyn Request<K>>,
        batch: &mut Batch<K>,
        flow: &mut std::ops::ControlFlow<()>,
    ) -> BatchOutcome {
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
                    return BatchOutcome::Replay;
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
        BatchOutcome::Commit(after)
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

    /// Runs the same requests again, each in its own savepoint.
    fn replay(&self, batch: &mut Batch<K>) -> BatchOutcome {
        let mut after = AfterCommit::default();
        for request in batch.iter_mut() {
            if let Err(error) = self.execute("SAVEPOINT request") {
                return BatchOutcome::Failed(error);
            }
            let lengths = (after.actions.len(), after.wakes.len());
            let attempt = self.attempt(request.as_mut(), &mut after);
            if self.conn.is_autocommit() {
                // SQLite has rolled back the whole transaction (disk full, I/O error).
                return BatchOutcome::Failed(StorageError::new(
                    self.shared.stats.last_write_fault(),
                ));
            }
            let end = match attempt {
                Attempt::Done => "RELEASE request",
                Attempt::Refused => {
                    after.actions.truncate(lengths.0);
                    after.wakes.truncate(lengths.1);
                    "ROLLBACK TO request; RELEASE request"
                }
            };
            if let Err(error) = self.execute(end) {
                return BatchOutcome::Failed(error);
            }
        }
        BatchOutcome::Commit(after)
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
        match self.check_in_place().and_then(|()| self.execute("COMMIT")) {
            Ok(()) => {
                self.record_commit(batch.len(), now().duration_since(started));
                after.actions.into_iter().for_each(run_after_commit::<K>);
                if !after.wakes.is_empty() {
                    run_after_commit::<K>(|| (self.shared.on_wake)(&after.wakes));
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
                self.fail_batch(batch, &error);
            }
        }
    }

    fn record_commit(&self, requests: usize, duration: Duration) {
        self.shared.stats.commit(requests);
        let count = u32::try_from(requests).unwrap_or(u32::MAX);
        histogram!("tillbox_commit_duration_seconds", "file" => K::NAME).record(duration);
        histogram!("tillbox_commit_requests", "file" => K::NAME).record(count);
        counter!("tillbox_commits_total", "file" => K::NAME).increment(1);
    }

    /// Checks that the file and its WAL were not replaced or truncated. A removed or replaced file
    /// accepts writes, but they are lost with the last handle. A truncated file is no longer what
    /// this process wrote (an operator's VACUUM looks the same: the file is then checked once and
    /// continues), unless the program itself gave pages back.
    fn check_in_place(&self) -> Result<(), StorageError> {
        let (inode, len) = Inode::of_with_len(&self.path)?;
        let wal_is_ours = self
            .wal_inode
            .is_none_or(|ours| Inode::of(&beside(&self.path, "-wal")).is_ok_and(|wal| wal == ours));
        if inode != self.inode || !wal_is_ours {
            return Err(StorageError::new(StorageErrorKind::Missing));
        }
        if len < self.len.replace(len) && !self.shared.stats.may_have_shrunk_to(len) {
            return Err(StorageError::new(StorageErrorKind::Corrupt));
        }
        Ok(())
    }

    fn fail_batch(&self, batch: &mut Batch<K>, error: &StorageError) {
        self.rollback();
        if error.is_damage() || error.kind() == StorageErrorKind::Io {
            self.shared.stats.record_fault(error.kind(), true);
            if error.is_disk_fault() {
                self.shared.stats.record_disk_fault();
            }
            self.shared.healthy.store(false, Ordering::Release);
        }
        counter!("tillbox_commit_failures_total", "file" => K::NAME).increment(1);
        // Any other failure reopens the file, which limits the number of messages.
        let is_lasting = matches!(
            error.kind(),
            StorageErrorKind::Full | StorageErrorKind::Busy
        );
        if !is_lasting || self.shared.should_log(&self.shared.refused_at) {
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
            tracing::error!(error = %error, "rollback failed; the file is closed and opened again");
            self.shared.healthy.store(false, Ordering::Release);
        }
    }

    fn execute(&self, sql: &'static str) -> Result<(), StorageError> {
        self.conn
            .execute_batch(sql)
            .map_err(|error| StorageError::sqlite(error, sql))
    }
}

/// Runs an action after a commit. A panic in it can undo nothing, and must not prevent the answers.
fn run_after_commit<K: FileKind>(action: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(action)) {
        tracing::error!(
            panic = panic_text(panic.as_ref()),
            kind = K::NAME,
            "action after a commit panicked"
        );
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "limits the duration of one batch and measures its commit; nothing of it is stored"
)]
fn now() -> Instant {
    Instant::now()
}

/// The text of a panic.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
