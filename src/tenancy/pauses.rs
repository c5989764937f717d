//! Paused queues, for all tenants or for one. They are stored in the landlord's file, so that a
//! restart changes nothing, and cached in memory, where the worker checks before each batch.
//!
//! The cache follows the file: it changes when the change is on disk and before it is acknowledged,
//! in the order of the commits. After the answer to a pause, no job of that queue starts in the
//! paused tenants. Running calls finish and are counted: a call is counted before it starts, under
//! the same lock as the check.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::json;

use super::directory::Directory;
use crate::platform::audit;
use crate::platform::queue::Queue;
use crate::primitives::id::TenantId;
use crate::primitives::sync;
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
    // The tenant may be removed while it is paused.
    TENANT_PAUSE = "INSERT INTO tenant_pause (tenant_id, queue, paused_at) SELECT id, ?2, ?3 FROM \
        tenant WHERE id = ?1
                    ON CONFLICT (tenant_id, queue) DO NOTHING";
    TENANT_RESUME = "DELETE FROM tenant_pause WHERE tenant_id = ?1 AND queue = ?2";
}

/// Called after a queue was resumed.
pub type OnResume = Arc<dyn Fn() + Send + Sync>;

/// A paused queue, of one tenant or of all.
type PauseKey = (Queue, Option<TenantId>);

#[derive(Default)]
struct PauseState {
    paused_since: RwLock<BTreeMap<PauseKey, Timestamp>>,
    /// The number of running outbound calls of a tenant's queue.
    under_way: Mutex<BTreeMap<(Queue, TenantId), usize>>,
    on_resume: RwLock<Option<OnResume>>,
}

impl PauseState {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<PauseKey, Timestamp>> {
        sync::read(&self.paused_since)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<PauseKey, Timestamp>> {
        sync::write(&self.paused_since)
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<(Queue, TenantId), usize>> {
        sync::lock(&self.under_way)
    }
}

/// A running outbound call; it ends when this is dropped.
pub struct UnderWay {
    state: Arc<PauseState>,
    key: (Queue, TenantId),
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut under_way = self.state.under_way();
        if let Some(calls) = under_way.get_mut(&self.key) {
            *calls -= 1;
            if *calls == 0 {
                under_way.remove(&self.key);
            }
        }
    }
}

/// The paused queues.
pub struct Pauses {
    directory: Arc<Directory>,
    state: Arc<PauseState>,
}

impl Pauses {
    /// Loads the paused queues. Blocks.
    pub fn load(directory: Arc<Directory>) -> Result<Self, StorageError> {
        let read = directory.read(move |view| {
            let of_all = view.all(&PAUSES, [], |row| {
                Ok((row.get::<_, String>("queue")?, None, row.get("paused_at")?))
            })?;
            let of_one = |row: &Row<'_>| {
                Ok((
                    row.get::<_, String>("queue")?,
                    Some(row.get::<_, TenantId>("tenant_id")?),
                    row.get("paused_at")?,
                ))
            };
            let of_one = view.all(&TENANT_PAUSES, [], of_one)?;
            Ok::<_, StorageError>(of_all.into_iter().chain(of_one).collect::<Vec<_>>())
        });
        // A newer version may have queues that this one lacks.
        let paused_since = read.wait()?.into_iter();
        let paused_since = paused_since
            .filter_map(|(queue, tenant, at)| Some(((Queue::parse(&queue)?, tenant), at)));
        let state = PauseState {
            paused_since: RwLock::new(paused_since.collect()),
            ..PauseState::default()
        };
        Ok(Self {
            directory,
            state: Arc::new(state),
        })
    }

    /// Sets the callback for resumed queues.
    pub fn set_on_resume(&self, on_resume: OnResume) {
        *sync::write(&self.state.on_resume) = Some(on_resume);
    }

    /// Whether a queue is paused for all tenants.
    pub fn is_paused(&self, queue: Queue) -> bool {
        self.state.read().contains_key(&(queue, None))
    }

    /// Whether a queue is paused for a tenant: for it alone, or for all.
    pub fn is_paused_for(&self, queue: Queue, tenant: TenantId) -> bool {
        let paused = self.state.read();
        paused.contains_key(&(queue, None)) || paused.contains_key(&(queue, Some(tenant)))
    }

    /// Starts an outbound call, unless its queue is paused for the tenant. After the answer to a
    /// pause, every started call is [counted](Self::count_under_way), and none starts later.
    pub fn begin(&self, queue: Queue, tenant: TenantId) -> Option<UnderWay> {
        let mut under_way = self.state.under_way();
        if self.is_paused_for(queue, tenant) {
            return None;
        }
        let key = (queue, tenant);
        *under_way.entry(key).or_default() += 1;
        Some(UnderWay {
            state: self.state.clone(),
            key,
        })
    }

    /// Counts the running outbound calls of a queue, of all tenants or of one.
    pub fn count_under_way(&self, queue: Queue, tenant: Option<TenantId>) -> usize {
        let under_way = self.state.under_way();
        let counts = under_way
            .iter()
            .filter(|((of, by), _)| *of == queue && tenant.is_none_or(|tenant| tenant == *by));
        counts.map(|(_, calls)| calls).sum()
    }

    /// The queues that are paused for all tenants, with the time of the pause.
    pub fn list(&self) -> Vec<(Queue, Timestamp)> {
        let paused = self.state.read();
        let of_all = paused.iter().filter(|((_, tenant), _)| tenant.is_none());
        of_all.map(|((queue, _), at)| (*queue, *at)).collect()
    }

    /// The tenants for which a queue is paused by name, with the time of the pause.
    pub fn list_tenants(&self, queue: Queue) -> Vec<(TenantId, Timestamp)> {
        let paused = self.state.read();
        let of_queue = paused
            .range((queue, None)..)
            .take_while(|((of, _), _)| *of == queue);
        of_queue
            .filter_map(|((_, tenant), at)| Some(((*tenant)?, *at)))
            .collect()
    }

    /// Like [`list_tenants`](Self::list_tenants), without the times.
    pub fn tenants(&self, queue: Queue) -> BTreeSet<TenantId> {
        self.list_tenants(queue)
            .into_iter()
            .map(|(tenant, _)| tenant)
            .collect()
    }

    /// Forgets the pauses of a removed tenant.
    pub fn forget(&self, tenant: TenantId) {
        self.state.write().retain(|(_, of), _| *of != Some(tenant));
    }

    /// Pauses a queue for all tenants or for one, and returns the time of the pause; an existing
    /// pause is unchanged.
    pub fn pause(
        &self,
        origin: Origin,
        queue: Queue,
        tenant: Option<TenantId>,
    ) -> Answer<Timestamp, StorageError> {
        let state = self.state.clone();
        self.directory.change(origin, move |work| {
            let now = work.now();
            let changed = match tenant {
                None => work.change(&PAUSE, params![queue, now], Rows::AtMostOne)?,
                Some(tenant) => {
                    work.change(&TENANT_PAUSE, params![tenant, queue, now], Rows::AtMostOne)?
                }
            };
            if changed == 1 {
                record_audit_of_queue(work, "queue.paused", queue, tenant)?;
            }
            let since: Option<Timestamp> = match tenant {
                None => work.find(&SINCE, params![queue], |row| row.get(0))?,
                Some(tenant) => {
                    work.find(&TENANT_SINCE, params![tenant, queue], |row| row.get(0))?
                }
            };
            if let Some(since) = since {
                let state = state.clone();
                work.on_commit(move || {
                    state.write().insert((queue, tenant), since);
                });
            }
            Ok(since.unwrap_or(now))
        })
    }

    /// Resumes a queue for all tenants or for one; repeating it changes nothing. A pause for all
    /// tenants does not end for a tenant that is resumed by name, nor the other way round.
    pub fn resume(
        &self,
        origin: Origin,
        queue: Queue,
        tenant: Option<TenantId>,
    ) -> Answer<(), StorageError> {
        let state = self.state.clone();
        self.directory.change(origin, move |work| {
            let changed = match tenant {
                None => work.change(&RESUME, params![queue], Rows::AtMostOne)?,
                Some(tenant) => {
                    work.change(&TENANT_RESUME, params![tenant, queue], Rows::AtMostOne)?
                }
            };
            if changed == 1 {
                record_audit_of_queue(work, "queue.resumed", queue, tenant)?;
            }
            let state = state.clone();
            work.on_commit(move || {
                state.write().remove(&(queue, tenant));
                if let Some(on_resume) = &*sync::read(&state.on_resume) {
                    on_resume();
                }
            });
            Ok(())
        })
    }
}

fn record_audit_of_queue(
    work: &mut LandlordWork,
    action: &str,
    queue: Queue,
    tenant: Option<TenantId>,
) -> Result<(), StorageError> {
    let details = tenant.map_or_else(|| json!({}), |tenant| json!({"tenant_id": tenant}));
    audit::record(work, action, &format!("queue:{queue}"), details)
}
