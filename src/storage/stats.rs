//! What a file's writer and readers have done: counters for tests and `/health`. Those of the whole
//! process are counted where it happens.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::StorageErrorKind;

/// Counters of one open file.
#[derive(Debug, Default)]
pub struct Stats {
    statements: AtomicU64,
    commits: AtomicU64,
    requests: AtomicU64,
    replays: AtomicU64,
    damaged: AtomicBool,
    disk_faults: AtomicU64,
    /// The size in bytes to which pages that were given back let the file shrink; 0 when it does
    /// not shrink.
    shrinks_to: AtomicU64,
    last_write_fault: Mutex<Option<StorageErrorKind>>,
}

impl Stats {
    pub(super) fn statement(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn commit(&self, requests: usize) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(requests as u64, Ordering::Relaxed);
    }

    /// Pages are given back: the file may come down to this size with a later checkpoint.
    pub(super) fn shrinks_to(&self, bytes: u64) {
        self.shrinks_to.store(bytes, Ordering::Release);
    }

    /// Whether a file that has become as small as this was cut by the program itself.
    pub(super) fn may_have_shrunk_to(&self, bytes: u64) -> bool {
        let floor = self.shrinks_to.load(Ordering::Acquire);
        if bytes == floor {
            self.shrinks_to.store(0, Ordering::Release);
        }
        floor > 0 && bytes >= floor
    }

    pub(super) fn replay(&self) {
        self.replays.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that SQLite refused a statement. Of the writer's the last one is remembered: when
    /// SQLite rolls a whole transaction back by itself, the neighbours are told that.
    pub(super) fn fault(&self, kind: StorageErrorKind, writes: bool) {
        if matches!(
            kind,
            StorageErrorKind::Corrupt | StorageErrorKind::NotADatabase | StorageErrorKind::Io
        ) {
            self.damaged.store(true, Ordering::Release);
        }
        if writes {
            *self
                .last_write_fault
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(kind);
        }
    }

    /// Whether a statement found the file damaged or unreadable.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    pub(super) fn last_write_fault(&self) -> StorageErrorKind {
        self.last_write_fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .unwrap_or(StorageErrorKind::Other)
    }

    /// Notes that the disk failed under a write.
    pub(super) fn disk_fault(&self) {
        self.disk_faults.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes under which the disk failed, so that what it keeps is in doubt.
    pub fn disk_faults(&self) -> u64 {
        self.disk_faults.load(Ordering::Relaxed)
    }

    /// Statements run, reads and writes.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Transactions committed.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Requests that were in them.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Batches that had to be run again with savepoints, because one request failed after it had
    /// written.
    pub fn replays(&self) -> u64 {
        self.replays.load(Ordering::Relaxed)
    }
}
