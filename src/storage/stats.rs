//! Counters of a file's writer and readers, for tests and `/health`. Process-wide metrics are
//! recorded where they occur.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::StorageErrorKind;
use crate::primitives::sync;

/// Counters of one open file.
#[derive(Debug, Default)]
pub struct Stats {
    statements: AtomicU64,
    commits: AtomicU64,
    requests: AtomicU64,
    replays: AtomicU64,
    damaged: AtomicBool,
    disk_faults: AtomicU64,
    /// The size in bytes to which returned pages let the file shrink; 0 when it must not shrink.
    may_shrink_to: AtomicU64,
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

    /// Allows the file to shrink to this size at a later checkpoint, after pages were given back.
    pub(super) fn allow_shrink_to(&self, bytes: u64) {
        self.may_shrink_to.store(bytes, Ordering::Release);
    }

    /// Whether the program itself may have shrunk the file to this size.
    pub(super) fn may_have_shrunk_to(&self, bytes: u64) -> bool {
        let floor = self.may_shrink_to.load(Ordering::Acquire);
        if bytes == floor {
            self.may_shrink_to.store(0, Ordering::Release);
        }
        floor > 0 && bytes >= floor
    }

    pub(super) fn replay(&self) {
        self.replays.fetch_add(1, Ordering::Relaxed);
    }

    /// Records a statement that SQLite refused. The writer's last one is remembered: when SQLite
    /// rolls back a whole transaction, the other requests fail with it.
    pub(super) fn record_fault(&self, kind: StorageErrorKind, writes: bool) {
        if matches!(
            kind,
            StorageErrorKind::Corrupt | StorageErrorKind::NotADatabase | StorageErrorKind::Io
        ) {
            self.damaged.store(true, Ordering::Release);
        }
        if writes {
            *sync::lock(&self.last_write_fault) = Some(kind);
        }
    }

    /// Whether a statement found the file damaged or unreadable.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    pub(super) fn last_write_fault(&self) -> StorageErrorKind {
        sync::lock(&self.last_write_fault).unwrap_or(StorageErrorKind::Other)
    }

    /// Records that the disk failed during a write.
    pub(super) fn record_disk_fault(&self) {
        self.disk_faults.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes during which the disk failed, so that the stored state is uncertain.
    pub fn disk_faults(&self) -> u64 {
        self.disk_faults.load(Ordering::Relaxed)
    }

    /// Executed statements, reads and writes.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Committed transactions.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Requests in the committed transactions.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Batches that were run again with savepoints, because a request failed after it had written.
    pub fn replays(&self) -> u64 {
        self.replays.load(Ordering::Relaxed)
    }
}
