//! Which queues an operator has paused, for all shops or for one: in the landlord's file, so that a
//! restart changes nothing, and in memory, where the worker looks before each turn.
//!
//! The memory follows the file: it is changed when the change is on disk and before it is
//! acknowledged, in the order of the commits. So after the answer to a pause no job of that queue
//! begins, in any store or in the one that was named; what is being carried out runs to its end,
//! and is counted: a call is counted before it begins, under the lock under which it looks whether
//! it may.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::json;

use super::commands::record_audit;
use super::directory::Directory;
use crate::platform::queue::Queue;
use crate::primitives::id::TenantId;
use crate::primitives::{Origin, Timestamp};
use crate::storage::{Answer, LandlordWork, Row, Rows, StorageError, params, statements};

statements! {
    PAUSES = "SELECT queue, paused_at FROM queue_pause ORDER BY queue";
    SINCE = "SELECT paused_at FROM queue_pause WHERE queue = ?1";
    PAUSE = "INSERT INTO queue_pause (queue, paused_at) VALUES (?1, ?2) ON CONFLICT (queue) DO \
        NOTHING";
    RESUME = "DELETE FROM queue_pause WHERE queue = ?1";
    TENANT_PAUSES = "SELECT tenant_id, queue, paused_at FROM tenant_pause";
    TENANT_SINCE = "SELECT paused_at FROM tenant_pause WHERE tenant_id = ?1 AND queue = ?2";
    // A tenant may be removed while it is paused.
    TENANT_PAUSE = "INSERT INTO tenant_pause (tenant_id, queue, paused_at) SELECT id, ?2, ?3 FROM \
        tenant WHERE id = ?1
                    ON CONFLICT (tenant_id, queue) DO NOTHING";
    TENANT_RESUME = "DELETE FROM tenant_pause WHERE tenant_id = ?1 AND queue = ?2";
}

/// Told when a queue was resumed.
pub type OnResume = Arc<dyn Fn() + Send + Sync>;

/// What is paused: a queue of all shops, or of one.
type Paused = (Queue, Option<TenantId>);

#[derive(Default)]
struct Known {
    since: RwLock<BTreeMap<Paused, Timestamp>>,
    /// How many outward calls of a shop's queue are under way.
    under_way: Mutex<BTreeMap<(Queue, TenantId), usize>>,
    on_resume: RwLock<Option<OnResume>>,
}

impl Known {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Paused, Timestamp>> {
        self.since.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Paused, Timestamp>> {
        self.since.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<(Queue, TenantId), usize>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// An outward call that has begun; dropped when it is over.
pub struct UnderWay {
    known: Arc<Known>,
    of: (Queue, TenantId),
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut under_way = self.known.under_way();
        if let Some(calls) = under_way.get_mut(&self.of) {
            *calls -= 1;
            if *calls == 0 {
                under_way.remove(&self.of);
            }
        }
    }
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
        let read = directory.read(move |view| {
            let of_all = view.all(&PAUSES, [], |row| {
                Ok((row.get::<_, String>(0)?, None, row.get(1)?))
            })?;
            let of_one = |row: &Row<'_>| {
                Ok((
                    row.get::<_, String>(1)?,
                    Some(row.get::<_, TenantId>(0)?),
                    row.get(2)?,
                ))
            };
            let of_one = view.all(&TENANT_PAUSES, [], of_one)?;
            Ok::<_, StorageError>(of_all.into_iter().chain(of_one).collect::<Vec<_>>())
        });
        // A newer version may have queues that this one lacks.
        let since = read.wait()?.into_iter();
        let since =
            since.filter_map(|(queue, tenant, at)| Some(((Queue::parse(&queue)?, tenant), at)));
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
        *self
            .known
            .on_resume
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(on_resume);
    }

    /// Whether a queue is paused for all shops.
    pub fn is_paused(&self, queue: Queue) -> bool {
        self.known.read().contains_key(&(queue, None))
    }

    /// Whether a queue is paused for a shop: for it alone, or for all.
    pub fn is_paused_for(&self, queue: Queue, tenant: TenantId) -> bool {
        let known = self.known.read();
        known.contains_key(&(queue, None)) || known.contains_key(&(queue, Some(tenant)))
    }

    /// Begins an outward call, unless its queue is paused for the shop. Whoever has the answer to a
    /// pause finds every call that has begun among [those under way](Self::count_under_way), and
    /// none begins after.
    pub fn begin(&self, queue: Queue, tenant: TenantId) -> Option<UnderWay> {
        let mut under_way = self.known.under_way();
        if self.is_paused_for(queue, tenant) {
            return None;
        }
        let of = (queue, tenant);
        *under_way.entry(of).or_default() += 1;
        Some(UnderWay {
            known: self.known.clone(),
            of,
        })
    }

    /// How many outward calls of a queue are under way, of all shops or of one.
    pub fn count_under_way(&self, queue: Queue, tenant: Option<TenantId>) -> usize {
        let under_way = self.known.under_way();
        let counts = under_way
            .iter()
            .filter(|((of, by), _)| *of == queue && tenant.is_none_or(|tenant| tenant == *by));
        counts.map(|(_, calls)| calls).sum()
    }

    /// The queues that are paused for all shops, each with the instant since when.
    pub fn list(&self) -> Vec<(Queue, Timestamp)> {
        let known = self.known.read();
        let of_all = known.iter().filter(|((_, tenant), _)| tenant.is_none());
        of_all.map(|((queue, _), at)| (*queue, *at)).collect()
    }

    /// The shops for which a queue is paused by name, each with the instant since when.
    pub fn list_tenants(&self, queue: Queue) -> Vec<(TenantId, Timestamp)> {
        let known = self.known.read();
        let of_queue = known
            .range((queue, None)..)
            .take_while(|((of, _), _)| *of == queue);
        of_queue
            .filter_map(|((_, tenant), at)| Some(((*tenant)?, *at)))
            .collect()
    }

    /// As [`list_tenants`](Self::list_tenants), without the instants.
    pub fn tenants(&self, queue: Queue) -> BTreeSet<TenantId> {
        self.list_tenants(queue)
            .into_iter()
            .map(|(tenant, _)| tenant)
            .collect()
    }

    /// Forgets what was paused for a tenant that is gone.
    pub fn forget(&self, tenant: TenantId) {
        self.known.write().retain(|(_, of), _| *of != Some(tenant));
    }

    /// Pauses a queue, in all stores or in one, and says since when it is; what is paused already
    /// stays as it is.
    pub fn pause(
        &self,
        origin: Origin,
        queue: Queue,
        tenant: Option<TenantId>,
    ) -> Answer<Timestamp, StorageError> {
        let known = self.known.clone();
        self.directory.change(origin, move |work| {
            let now = work.now();
            let changed = match tenant {
                None => work.change(&PAUSE, params![queue, now], Rows::AtMostOne)?,
                Some(tenant) => {
                    work.change(&TENANT_PAUSE, params![tenant, queue, now], Rows::AtMostOne)?
                }
            };
            if changed == 1 {
                note_pause(work, "queue.paused", queue, tenant)?;
            }
            let since: Option<Timestamp> = match tenant {
                None => work.find(&SINCE, params![queue], |row| row.get(0))?,
                Some(tenant) => {
                    work.find(&TENANT_SINCE, params![tenant, queue], |row| row.get(0))?
                }
            };
            if let Some(since) = since {
                let known = known.clone();
                work.on_commit(move || {
                    known.write().insert((queue, tenant), since);
                });
            }
            Ok(since.unwrap_or(now))
        })
    }

    /// Resumes a queue, in all stores or in one; one that is not paused stays as it is. What is
    /// paused for all stays paused in a store that is resumed by name, and the other way round.
    pub fn resume(
        &self,
        origin: Origin,
        queue: Queue,
        tenant: Option<TenantId>,
    ) -> Answer<(), StorageError> {
        let known = self.known.clone();
        self.directory.change(origin, move |work| {
            let changed = match tenant {
                None => work.change(&RESUME, params![queue], Rows::AtMostOne)?,
                Some(tenant) => {
                    work.change(&TENANT_RESUME, params![tenant, queue], Rows::AtMostOne)?
                }
            };
            if changed == 1 {
                note_pause(work, "queue.resumed", queue, tenant)?;
            }
            let known = known.clone();
            work.on_commit(move || {
                known.write().remove(&(queue, tenant));
                if let Some(tell) = &*known
                    .on_resume
                    .read()
                    .unwrap_or_else(PoisonError::into_inner)
                {
                    tell();
                }
            });
            Ok(())
        })
    }
}

fn note_pause(
    work: &mut LandlordWork,
    action: &str,
    queue: Queue,
    tenant: Option<TenantId>,
) -> Result<(), StorageError> {
    let details = tenant.map_or_else(|| json!({}), |tenant| json!({"tenant_id": tenant}));
    record_audit(work, action, &format!("queue:{queue}"), details)
}
