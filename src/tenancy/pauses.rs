//! Which queues an operator has paused: in the landlord's file, so that a restart changes nothing, and in memory, where the worker looks before each turn.
//!
//! The memory follows the file: it is changed when the change is on disk and before it is acknowledged, in the order of the commits. So after the answer
//! to a pause no job of that queue begins, in any store; what is being carried out runs to its end.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::json;

use super::commands::note;
use super::directory::Directory;
use crate::platform::queue::Queue;
use crate::primitives::{Origin, Timestamp};
use crate::storage::{Answer, Rows, StorageError, params, statements};

statements! {
    PAUSES = "SELECT queue, paused_at FROM queue_pause ORDER BY queue";
    SINCE = "SELECT paused_at FROM queue_pause WHERE queue = ?1";
    PAUSE = "INSERT INTO queue_pause (queue, paused_at) VALUES (?1, ?2) ON CONFLICT (queue) DO NOTHING";
    RESUME = "DELETE FROM queue_pause WHERE queue = ?1";
}

/// Told when a queue was resumed.
pub type OnResume = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Known {
    since: RwLock<BTreeMap<Queue, Timestamp>>,
    on_resume: RwLock<Option<OnResume>>,
}

/// The paused queues.
pub struct Pauses {
    directory: Arc<Directory>,
    known: Arc<Known>,
}

impl Pauses {
    /// Reads which queues are paused. Blocks.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn load(directory: Arc<Directory>) -> Result<Self, StorageError> {
        let stored = |row: &crate::storage::Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?));
        let paused = directory.read(move |view| view.all(&PAUSES, [], stored)).wait()?;
        // A newer version may have queues that this one lacks.
        let since = paused.into_iter().filter_map(|(queue, at)| Some((Queue::parse(&queue)?, at)));
        let known = Known {
            since: RwLock::new(since.collect()),
            ..Known::default()
        };
        Ok(Self {
            directory,
            known: Arc::new(known),
        })
    }

    /// Has `on_resume` told of queues that are resumed from now on.
    pub fn set_on_resume(&self, on_resume: OnResume) {
        *self.known.on_resume.write().unwrap_or_else(PoisonError::into_inner) = Some(on_resume);
    }

    /// Whether a queue is paused.
    pub fn is_paused(&self, queue: Queue) -> bool {
        self.known.since.read().unwrap_or_else(PoisonError::into_inner).contains_key(&queue)
    }

    /// The paused queues, each with the instant since when.
    pub fn list(&self) -> Vec<(Queue, Timestamp)> {
        let since = self.known.since.read().unwrap_or_else(PoisonError::into_inner);
        since.iter().map(|(queue, at)| (*queue, *at)).collect()
    }

    /// Pauses a queue in all stores, and says since when it is; one that is paused already stays as it is.
    pub fn pause(&self, origin: Origin, queue: Queue) -> Answer<Timestamp, StorageError> {
        let known = self.known.clone();
        self.directory.change(origin, move |work| {
            let now = work.now();
            if work.change(&PAUSE, params![queue, now], Rows::AtMostOne)? == 1 {
                note(work, "queue.paused", &format!("queue:{queue}"), json!({}))?;
            }
            let since: Timestamp = work.one(&SINCE, params![queue], |row| row.get(0))?;
            let known = known.clone();
            work.on_commit(move || {
                known.since.write().unwrap_or_else(PoisonError::into_inner).insert(queue, since);
            });
            Ok(since)
        })
    }

    /// Resumes a queue; one that is not paused stays as it is.
    pub fn resume(&self, origin: Origin, queue: Queue) -> Answer<(), StorageError> {
        let known = self.known.clone();
        self.directory.change(origin, move |work| {
            if work.change(&RESUME, params![queue], Rows::AtMostOne)? == 1 {
                note(work, "queue.resumed", &format!("queue:{queue}"), json!({}))?;
            }
            let known = known.clone();
            work.on_commit(move || {
                known.since.write().unwrap_or_else(PoisonError::into_inner).remove(&queue);
                if let Some(tell) = &*known.on_resume.read().unwrap_or_else(PoisonError::into_inner) {
                    tell();
                }
            });
            Ok(())
        })
    }
}
