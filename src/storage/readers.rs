//! Reader threads: a few shared by all files, and a few separate ones for long reads.
//!
//! Reads do not run on the async runtime (one cold page would block all requests), nor on a new
//! thread each (`spawn_blocking` halves the throughput). Reports and exports have separate threads,
//! so that they cannot delay a till.

use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Sender, TrySendError, bounded};
use scheduled_thread_pool::ScheduledThreadPool;

use super::{StorageError, StorageErrorKind};
use crate::primitives::limits::{LONG_READERS, READER_INBOX};

type Task = Box<dyn FnOnce() + Send>;

/// The kind of a read, which selects its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadKind {
    /// Bounded by its statement: a row, a page.
    Point,
    /// A report, an export or a check, with a deadline.
    Long,
}

/// The shared reader threads; they end with the last handle.
pub struct Readers {
    point: Sender<Task>,
    long: Sender<Task>,
    pool_threads: Arc<ScheduledThreadPool>,
}

impl Readers {
    /// Starts `threads` threads for point reads, and the threads for long ones.
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

    /// The thread that all r2d2 pools share for their maintenance.
    pub(super) fn pool_threads(&self) -> Arc<ScheduledThreadPool> {
        self.pool_threads.clone()
    }

    pub(super) fn send(&self, kind: ReadKind, task: Task) -> Result<(), StorageError> {
        let sender = match kind {
            ReadKind::Point => &self.point,
            ReadKind::Long => &self.long,
        };
        sender.try_send(task).map_err(|error| {
            StorageError::new(match error {
                TrySendError::Full(_) => StorageErrorKind::Overloaded,
                TrySendError::Disconnected(_) => StorageErrorKind::Closed,
            })
        })
    }
}
