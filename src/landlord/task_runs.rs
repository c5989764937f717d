//! Up to when the tasks of the house are done: a memory over rows of the landlord's file, so that
//! each comes once over restarts too.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::primitives::{Origin, Timestamp};
use crate::storage::{LandlordView, Rows, StorageError, params, statements};
use crate::tenancy::Directory;

statements! {
    TASKS = "SELECT task, done_up_to, ran_at FROM task_run";
    SET = "INSERT INTO task_run (task, done_up_to, ran_at) VALUES (?1, ?2, ?3)
           ON CONFLICT (task) DO UPDATE SET done_up_to = excluded.done_up_to, ran_at = \
           coalesce(excluded.ran_at, ran_at)";
}

/// What is known of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// What came round by then is done, or does not count.
    pub up_to: Timestamp,
    /// When it was last done; `None` before the first time.
    pub ran_at: Option<Timestamp>,
}

/// Up to when each task is done.
pub struct TaskRuns {
    directory: Arc<Directory>,
    known: Mutex<Option<HashMap<String, Done>>>,
    stopping: AtomicBool,
}

impl TaskRuns {
    /// Over the landlord's file; reads nothing yet.
    pub fn new(directory: Arc<Directory>) -> Self {
        Self {
            directory,
            known: Mutex::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// What is known of a task; `None` when this house has never had it. Blocks the first time.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn find(&self, task: &str) -> Result<Option<Done>, StorageError> {
        Ok(self
            .load()?
            .as_ref()
            .and_then(|known| known.get(task).copied()))
    }

    /// Writes down up to when a task is done; `ran_at` when it was done now. Blocks.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn note(
        &self,
        task: &'static str,
        up_to: Timestamp,
        ran_at: Option<Timestamp>,
    ) -> Result<(), StorageError> {
        let write = self
            .directory
            .database()
            .write(Origin::system(), move |work| {
                work.change(&SET, params![task, up_to, ran_at], Rows::Exactly(1))
            });
        write.wait()?;
        if let Some(known) = self.load()?.as_mut() {
            let before = known.get(task).and_then(|done| done.ran_at);
            let ran_at = ran_at.or(before);
            known.insert(task.to_owned(), Done { up_to, ran_at });
        }
        Ok(())
    }

    /// The end has begun: what goes on for long comes to its end at the next good place.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether the end has begun.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn load(&self) -> Result<MutexGuard<'_, Option<HashMap<String, Done>>>, StorageError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            let rows = |view: &LandlordView| {
                view.all(&TASKS, [], |row| {
                    let done = Done {
                        up_to: row.get(1)?,
                        ran_at: row.get(2)?,
                    };
                    Ok((row.get::<_, String>(0)?, done))
                })
            };
            *known = Some(self.directory.read(rows).wait()?.into_iter().collect());
        }
        Ok(known)
    }
}
