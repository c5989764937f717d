//! The state that the writer thread of a file shares with the handles of the file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

use super::{FileId, Stats, Wake};
use crate::primitives::{Clock, Entropy};

/// Receives due jobs after a commit.
pub type OnWake = Box<dyn Fn(&[Wake]) + Send + Sync>;

/// The minimum interval between two log messages about an overload, or about commits that fail on a
/// full or busy disk, in milliseconds.
const LOG_INTERVAL_MS: i64 = 10_000;

/// State that the writer thread shares with the handles of its file.
pub struct Shared {
    pub file_id: FileId,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub on_wake: OnWake,
    pub stats: Stats,
    pub healthy: AtomicBool,
    /// Whether the last attempt to open a reading connection succeeded.
    pub readable: AtomicBool,
    /// Long reads that are requested and not finished.
    pub long_reads: AtomicU32,
    /// The time of the last log message about an overload.
    pub overloaded_at: AtomicI64,
    /// The time of the last log message about a commit that failed on a full or busy disk.
    pub refused_at: AtomicI64,
}

impl Shared {
    /// Whether to log an event now that comes in thousands; `last` is the time of its last message.
    pub fn should_log(&self, last: &AtomicI64) -> bool {
        let now = self.clock.now().as_millis();
        let logged = last.load(Ordering::Relaxed);
        let is_due = now.saturating_sub(logged) >= LOG_INTERVAL_MS || now < logged;
        is_due
            && last
                .compare_exchange(logged, now, Ordering::Relaxed, Ordering::Relaxed)
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
