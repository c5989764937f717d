//! The threads that read: a few for all files together, and a few apart for what takes long.
//!
//! A read never runs on the async runtime (one cold page would stop everybody) and never on a
//! thread of its own per read (`spawn_blocking` halves the rate). Reports and exports have their
//! own lane, so that they cannot stand in a till's way.

use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Sender, TrySendError, bounded};
use scheduled_thread_pool::ScheduledThreadPool;

use super::{StorageError, StorageErrorKind};
use crate::primitives::limits::{LONG_READERS, READER_INBOX};

type Task = Box<dyn FnOnce() + Send>;

/// Which lane a read takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Bounded by its statement: a row, a page.
    Point,
    /// A report, an export, a check: with a deadline, apart from the others.
    Long,
}

/// The shared reader threads; they end with the last handle.
pub struct Readers {
    point: Sender<Task>,
    long: Sender<Task>,
    pool_threads: Arc<ScheduledThreadPool>,
}

impl Readers {
    /// Starts `threads` for point reads, and those for long ones.
    ///
    /// # Errors
    /// The system's, when it grants no thread.
    pub fn start(threads: usize) -> std::io::Result<Arc<Self>> {
        let (point, point_inbox) = bounded::<Task>(READER_INBOX);
        let (long, long_inbox) = bounded::<Task>(64);
        let points =
            (0..threads.max(1)).map(|index| (format!("reader-{index}"), point_inbox.clone()));
        let longs =
            (0..LONG_READERS).map(|index| (format!("reader-long-{index}"), long_inbox.clone()));
        for (name, inbox) in points.chain(longs) {
            thread::Builder::new()
                .name(name)
                .spawn(move || inbox.iter().for_each(|task| task()))?;
        }
        Ok(Arc::new(Self {
            point,
            long,
            pool_threads: Arc::new(
                ScheduledThreadPool::builder()
                    .num_threads(1)
                    .thread_name_pattern("pool-{}")
                    .build(),
            ),
        }))
    }

    /// The one thread that all r2d2 pools share for their housekeeping.
    pub(super) fn pool_threads(&self) -> Arc<ScheduledThreadPool> {
        self.pool_threads.clone()
    }

    pub(super) fn send(&self, lane: Lane, task: Task) -> Result<(), StorageError> {
        let sender = match lane {
            Lane::Point => &self.point,
            Lane::Long => &self.long,
        };
        sender.try_send(task).map_err(|error| {
            StorageError::new(match error {
                TrySendError::Full(_) => StorageErrorKind::Overloaded,
                TrySendError::Disconnected(_) => StorageErrorKind::Closed,
            })
        })
    }
}
