//! The effects of a unit of work that wait for its commit.

use crate::primitives::Timestamp;

/// A hint that a queue has a job due at an instant. Losing it costs latency, never work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    pub queue: &'static str,
    /// The due time of the job.
    pub at: Timestamp,
}

/// Actions and hints to run once the work is on disk.
#[derive(Default)]
pub struct AfterCommit {
    pub actions: Vec<Box<dyn FnOnce() + Send>>,
    pub wakes: Vec<Wake>,
}
