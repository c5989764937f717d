//! The last runs of scheduled tasks, in memory and in the landlord's file, so that each run happens
//! once even across restarts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::primitives::sync;
use crate::primitives::{Origin, Timestamp};
use crate::storage::{LandlordView, Rows, StorageError, params, statements};
use crate::tenancy::Directory;

statements! {
    TASKS = "SELECT task, done_up_to, ran_at FROM task_run";
    SET = "INSERT INTO task_run (task, done_up_to, ran_at) VALUES (?1, ?2, ?3) ON CONFLICT (task)
        DO UPDATE SET done_up_to = excluded.done_up_to,
        ran_at = coalesce(excluded.ran_at, ran_at)";
}

/// The progress of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskRun {
    /// Scheduled times up to this one are done or do not count.
    pub up_to: Timestamp,
    /// The last run; `None` before the first one.
    pub ran_at: Option<Timestamp>,
}

/// The progress of all tasks.
pub struct TaskRuns {
    directory: Arc<Directory>,
    known: Mutex<Option<HashMap<String, TaskRun>>>,
    stopping: AtomicBool,
}

impl TaskRuns {
    /// Reads nothing yet.
    pub fn new(directory: Arc<Directory>) -> Self {
        Self {
            directory,
            known: Mutex::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Returns the progress of a task; `None` when this instance has never had it. Blocks the first
    /// time.
    pub fn find(&self, task: &str) -> Result<Option<TaskRun>, StorageError> {
        Ok(self
            .load()?
            .as_ref()
            .and_then(|known| known.get(task).copied()))
    }

    /// Stores the progress of a task; `ran_at` when it ran now. Blocks.
    pub fn record(
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
            known.insert(task.to_owned(), TaskRun { up_to, ran_at });
        }
        Ok(())
    }

    /// Asks long-running tasks to stop at the next safe point.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn load(&self) -> Result<MutexGuard<'_, Option<HashMap<String, TaskRun>>>, StorageError> {
        let mut known = sync::lock(&self.known);
        if known.is_none() {
            let rows = |view: &LandlordView| {
                view.all(&TASKS, [], |row| {
                    let done = TaskRun {
                        up_to: row.get("done_up_to")?,
                        ran_at: row.get("ran_at")?,
                    };
                    Ok((row.get::<_, String>("task")?, done))
                })
            };
            *known = Some(self.directory.read(rows).wait()?.into_iter().collect());
        }
        Ok(known)
    }
}
