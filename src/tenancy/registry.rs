//! The registry of open tenant files: bounded, the least recently used is closed first. An idle
//! tenant uses no thread and no descriptor.
//!
//! A lock per tenant excludes opening and closing one file at the same time, so a file never has
//! two writers. A faulty file affects only its tenant: it is quarantined or left unchanged, its
//! requests are refused, and other tenants continue.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::Semaphore;

use super::TenantAccess;
use super::checkpoints::{ChainEnds, Checkpoints};
use crate::platform::alerts::{self, SharedChannels};
use crate::platform::{epoch, queue};
use crate::primitives::id::TenantId;
use crate::primitives::limits::OPENING_WAITERS_MAX;
use crate::primitives::sync;
use crate::primitives::{Class, Origin, Refusal, Timestamp};
use crate::storage::error::io_error;
use crate::storage::file::{Inode, Verify, has_quarantined, quarantine, restore_quarantined};
use crate::storage::{
    Check, DataDir, Database, Settings, StorageError, StorageErrorKind, Tenant, TenantView, Wake,
};

/// Idle time after which a tenant's file is closed: ten minutes.
const IDLE_MS: i64 = 10 * 60 * 1000;

/// Time within which a second disk failure counts as permanent.
const DISK_MEMORY_MS: i64 = 60 * 60 * 1000;

/// Pause before a failed migration is retried.
const OPEN_RETRY_MS: i64 = 5_000;
/// The maximum number of files that are opened concurrently.
const OPENINGS_MAX: usize = 16;

/// Receives jobs that became due in a tenant's file.
pub type OnWake = Arc<dyn Fn(TenantId, &[Wake]) + Send + Sync>;

/// A tenant whose file cannot be used at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this shop cannot be opened: {0}; the operator finds the cause in the log; other shops are not \
     affected"
)]
pub struct TenantUnavailable(pub StorageErrorKind);

impl Refusal for TenantUnavailable {
    fn class(&self) -> Class {
        match self.0 {
            StorageErrorKind::Full => Class::StorageFull,
            // Always a fault of this tenant's file, never of the request.
            _ => Class::Unavailable,
        }
    }
    fn code(&self) -> &'static str {
        match self.0 {
            StorageErrorKind::Full => "storage_full",
            _ => "tenant_unavailable",
        }
    }
}

/// The queue of callers that wait for a file to open.
#[derive(Debug)]
pub struct Gate {
    /// One permit for each caller that may wait.
    pub waiters: Semaphore,
    /// A single permit for the caller that opens the file.
    pub opener: Semaphore,
}

struct OpenFile {
    db: Database<Tenant>,
    tick: u64,
    used_at: Timestamp,
}

#[derive(Default)]
struct State {
    open: HashMap<TenantId, OpenFile>,
    locks: HashMap<TenantId, Arc<Mutex<()>>>,
    gates: HashMap<TenantId, Arc<Gate>>,
    /// Files whose orphaned jobs this process has rescued, with their inodes: a replaced file has
    /// orphans of its own.
    rescued: HashMap<TenantId, Inode>,
    /// Files with a fault: fully checked at the next open.
    suspect: HashSet<TenantId>,
    unavailable: HashMap<TenantId, StorageErrorKind>,
    /// Unavailable tenants without a file: a file that appears there is being restored and may be
    /// incomplete.
    absent: HashSet<TenantId>,
    /// The time of the last disk failure during a write.
    disk_failed: HashMap<TenantId, Timestamp>,
    /// Files under which the disk failed again soon after a check: not written until the operator
    /// releases them.
    held: HashSet<TenantId>,
    /// Files whose migration failed, and when.
    failed: HashMap<TenantId, (StorageErrorKind, Timestamp)>,
    /// The number of files that are being opened.
    opening: usize,
    tick: u64,
}

/// The open files of tenants.
pub struct Registry {
    dir: Arc<DataDir>,
    settings: Settings,
    checkpoints: Checkpoints,
    alerts: Arc<SharedChannels>,
    capacity: usize,
    on_wake: Arc<RwLock<Option<OnWake>>>,
    state: Mutex<State>,
    /// Notified when an opening has finished.
    opened: Condvar,
}

/// A file that is being opened. It counts as open, and few are opened concurrently, so that a burst
/// of idle tenants does not exhaust the descriptors.
struct Opening<'a>(&'a Registry);

impl<'a> Opening<'a> {
    fn begin(registry: &'a Registry) -> Self {
        let mut state = registry.state();
        while state.opening >= OPENINGS_MAX.min(registry.capacity) {
            state = registry
                .opened
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.opening += 1;
        Self(registry)
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.state().opening -= 1;
        self.0.opened.notify_one();
    }
}

impl Registry {
    /// A registry that keeps at most `capacity` files open, unless more are in use (or being
    /// opened) at the same time.
    pub fn new(
        dir: Arc<DataDir>,
        settings: Settings,
        checkpoints: Checkpoints,
        alerts: Arc<SharedChannels>,
        capacity: usize,
    ) -> Self {
        Self {
            dir,
            settings,
            checkpoints,
            alerts,
            capacity: capacity.max(1),
            on_wake: Arc::default(),
            state: Mutex::default(),
            opened: Condvar::new(),
        }
    }

    /// Sets the callback for due jobs, also of files that are already open. Hints before that are
    /// lost, which costs latency but no work.
    pub fn set_on_wake(&self, on_wake: OnWake) {
        *sync::write(&self.on_wake) = Some(on_wake);
    }

    /// The tenant's file, if it is open and healthy. Does not block.
    pub fn get(&self, access: &TenantAccess) -> Option<Database<Tenant>> {
        let now = self.settings.clock.now();
        let mut state = self.state();
        state.tick += 1;
        let tick = state.tick;
        let open = state
            .open
            .get_mut(&access.id())
            .filter(|open| open.db.is_healthy())?;
        (open.tick, open.used_at) = (tick, now);
        Some(open.db.clone())
    }

    /// The gate for callers that wait asynchronously for a file to open. They [`get`](Self::get)
    /// the file when it is open, and only the holder of the opener permit uses a thread for
    /// [`open`](Self::open): a slow file does not occupy all threads.
    pub fn gate(&self, id: TenantId) -> Arc<Gate> {
        let gate = || {
            Arc::new(Gate {
                waiters: Semaphore::new(OPENING_WAITERS_MAX),
                opener: Semaphore::new(1),
            })
        };
        self.state().gates.entry(id).or_insert_with(gate).clone()
    }

    /// The tenant's file, opened when necessary. Blocks while it is opened, checked and migrated.
    pub fn open(&self, access: &TenantAccess) -> Result<Database<Tenant>, TenantUnavailable> {
        let id = access.id();
        let lock = self.lock_of(id);
        let _opening = sync::lock(&lock);
        if let Some(db) = self.get(access) {
            return Ok(db);
        }
        if let Some(kind) = self.recent_failure(id) {
            return Err(TenantUnavailable(kind));
        }
        self.close_unhealthy(id);
        if self.state().held.contains(&id) {
            return Err(TenantUnavailable(StorageErrorKind::Held));
        }
        let opening = Opening::begin(self);
        self.make_room();
        let opened = self
            .open_checked(id)
            .inspect_err(|error| self.record_unavailable(id, error));
        drop(opening);
        let db = opened.map_err(|error| TenantUnavailable(error.kind()))?;
        self.record_open(id, &db);
        Ok(db)
    }

    fn record_open(&self, id: TenantId, db: &Database<Tenant>) {
        let now = self.settings.clock.now();
        let mut state = self.state();
        state.tick += 1;
        let tick = state.tick;
        state.unavailable.remove(&id);
        state.absent.remove(&id);
        state.suspect.remove(&id);
        state.failed.remove(&id);
        state.open.insert(
            id,
            OpenFile {
                db: db.clone(),
                tick,
                used_at: now,
            },
        );
    }

    /// Opens a tenant's file if it contains the links of its checkpoint.
    fn open_checked(&self, id: TenantId) -> Result<Database<Tenant>, StorageError> {
        let (checkpoint, holds) = (self.known_checkpoint(id)?, self.checkpoints.chains().holds);
        let verify = |view: &TenantView| match &checkpoint {
            Some(checkpoint) if !holds(view, checkpoint)? => {
                Err(StorageError::new(StorageErrorKind::Behind))
            }
            _ => Ok(()),
        };
        let suspect = self.state().suspect.contains(&id);
        let check = if suspect {
            Check::Always
        } else {
            Check::AfterUncleanStop
        };
        self.open_file(id, check, &verify)
    }

    /// A failed migration costs a copy of the whole file; it is not retried for each request.
    fn recent_failure(&self, id: TenantId) -> Option<StorageErrorKind> {
        let now = self.settings.clock.now();
        let (kind, at) = self.state().failed.get(&id).copied()?;
        (0..OPEN_RETRY_MS)
            .contains(&(now.as_millis() - at.as_millis()))
            .then_some(kind)
    }

    /// Finds the checkpoint. A fault of the landlord's file is not the tenant's: no file is
    /// quarantined for it.
    fn known_checkpoint(&self, id: TenantId) -> Result<Option<ChainEnds>, StorageError> {
        self.checkpoints.find(id).map_err(|error| {
            tracing::error!(tenant_id = %id, error = %error,
                "checkpoint of a tenant not readable from the landlord's file");
            StorageError::new(StorageErrorKind::CheckpointUnreadable)
        })
    }

    fn open_file(
        &self,
        id: TenantId,
        check: Check,
        verify: Verify<'_, Tenant>,
    ) -> Result<Database<Tenant>, StorageError> {
        let rescued = self.state().rescued.get(&id).copied();
        let on_wake = self.on_wake.clone();
        let path = self.dir.tenant(id);
        let opened = Database::open_verified(
            &path,
            *id.as_bytes(),
            &self.settings,
            check,
            verify,
            move |wakes| {
                if let Some(on_wake) = &*sync::read(&on_wake) {
                    on_wake(id, wakes);
                }
            },
        );
        let db = opened.map_err(|error| match error.kind() {
            StorageErrorKind::Missing if has_quarantined(&path) => {
                StorageError::new(StorageErrorKind::Quarantined)
            }
            _ => error,
        })?;
        let inode = db.inode();
        if rescued != Some(inode) && db.read(queue::count_orphans).wait()? > 0 {
            let channels = self.alerts.get();
            let rescue = db.write(Origin::system(), move |work| {
                for job in queue::rescue(work)? {
                    alerts::record_discard(
                        work,
                        channels.clone(),
                        &job,
                        job.attempt - 1,
                        "rescued too often",
                    )?;
                }
                Ok::<_, StorageError>(())
            });
            rescue.wait()?;
        }
        self.state().rescued.insert(id, inode);
        Ok(db)
    }

    fn record_unavailable(&self, id: TenantId, error: &StorageError) {
        let path = self.dir.tenant(id);
        let (known, is_being_restored) = {
            let mut state = self.state();
            if matches!(
                error.kind(),
                StorageErrorKind::Missing | StorageErrorKind::Quarantined
            ) {
                state.absent.insert(id);
            }
            if state.absent.contains(&id) || error.requires_quarantine() {
                // A later file at this path is another one, even if it gets the same inode number.
                state.rescued.remove(&id);
            }
            if matches!(
                error.kind(),
                StorageErrorKind::Other | StorageErrorKind::Constraint
            ) {
                state
                    .failed
                    .insert(id, (error.kind(), self.settings.clock.now()));
            }
            (
                state.unavailable.insert(id, error.kind()),
                state.absent.contains(&id),
            )
        };
        // A file that is being copied looks damaged until it is complete: it is left alone.
        if error.requires_quarantine() && !is_being_restored {
            match quarantine(&path) {
                Ok(()) => {
                    // A file that appears at the empty path is being restored.
                    self.state().absent.insert(id);
                    tracing::error!(tenant_id = %id, file = %path.display(), error = %error,
                        source = std::error::Error::source(error).map(tracing::field::display),
                        "tenant file quarantined")
                }
                Err(io) => {
                    tracing::error!(tenant_id = %id, file = %path.display(), error = %io,
                        "rejected tenant file not quarantined")
                }
            }
        } else if known != Some(error.kind()) {
            tracing::error!(tenant_id = %id, file = %path.display(), error = %error,
                source = std::error::Error::source(error).map(tracing::field::display), "tenant \
                    unavailable");
        }
    }

    /// Closes files that have been idle for ten minutes, and files with a last use in the future:
    /// the clock was set back since, and they were not used afterwards. Blocks while they close.
    pub fn close_idle(&self, now: Timestamp) {
        let is_idle =
            |open: &OpenFile| !(0..IDLE_MS).contains(&(now.as_millis() - open.used_at.as_millis()));
        let ids: Vec<TenantId> = self
            .state()
            .open
            .iter()
            .filter(|(_, open)| is_idle(open))
            .map(|(id, _)| *id)
            .collect();
        ids.into_iter().for_each(|id| {
            self.close_unshared(id);
        });
    }

    /// Closes a tenant's file regardless of its users: their next call fails with `Closed`. Blocks.
    pub fn close(&self, id: TenantId) {
        let lock = self.lock_of(id);
        let _closing = sync::lock(&lock);
        let open = self.state().open.remove(&id);
        if let Some(open) = open {
            self.close_database(id, &open.db);
        }
    }

    /// Closes a file, and records its chain ends if it is healthy. Blocks.
    fn close_database(&self, id: TenantId, db: &Database<Tenant>) {
        if db.is_healthy() {
            self.checkpoints.observe(id, db);
        }
        self.checkpoints.closed(id);
        db.close();
    }

    /// Stores the checkpoints of files that are or were open, if any has changed: see
    /// [`Checkpoints`]. Blocks.
    pub fn write_checkpoints(&self) -> Result<(), StorageError> {
        for id in self.list_open() {
            if let Some(db) = self.peek(id) {
                self.checkpoints.observe(id, &db);
            }
        }
        self.checkpoints.write()
    }

    /// The stored or pending checkpoint of a tenant. Blocks.
    pub fn find_checkpoint(&self, id: TenantId) -> Result<Option<ChainEnds>, StorageError> {
        self.checkpoints.find(id)
    }

    /// Opens a tenant's file after a full check, although it may lack acknowledged changes; a file
    /// that was quarantined is restored first. If it does lack changes, its epoch rises, which
    /// holds its jobs, because they may have run since. `accept` receives the checkpoint and the
    /// actual chain ends, and must store the loss before the file is used. Returns both ends;
    /// `None` when the file is already open. Blocks.
    ///
    /// # Errors
    /// [`TenantUnavailable`] when the file is missing or damaged, or when `accept` fails.
    pub fn open_accepting_loss(
        &self,
        access: &TenantAccess,
        accept: impl FnOnce(ChainEnds, ChainEnds) -> Result<(), StorageError>,
    ) -> Result<Option<(ChainEnds, ChainEnds)>, TenantUnavailable> {
        let id = access.id();
        let lock = self.lock_of(id);
        let _opening = sync::lock(&lock);
        if self.get(access).is_some() {
            return Ok(None);
        }
        self.close_unhealthy(id);
        {
            let mut state = self.state();
            if state.held.contains(&id) {
                return Err(TenantUnavailable(StorageErrorKind::Held));
            }
            // If it is damaged after all, it is quarantined again.
            state.absent.remove(&id);
        }
        let opened = self
            .open_unverified(id)
            .inspect_err(|error| self.record_unavailable(id, error));
        let (db, checkpoint, ends) = opened.map_err(|error| TenantUnavailable(error.kind()))?;
        let known = checkpoint.unwrap_or(ends);
        if let Err(error) = self.checkpoints.replace(id, || accept(known, ends)) {
            db.close();
            return Err(TenantUnavailable(error.kind()));
        }
        self.record_open(id, &db);
        Ok(Some((known, ends)))
    }

    fn open_unverified(
        &self,
        id: TenantId,
    ) -> Result<(Database<Tenant>, Option<ChainEnds>, ChainEnds), StorageError> {
        let path = self.dir.tenant(id);
        if !path.exists() {
            restore_quarantined(&path).map_err(|error| io_error(&error))?;
        }
        let (checkpoint, holds) = (self.known_checkpoint(id)?, self.checkpoints.chains().holds);
        let db = self.open_file(id, Check::Always, &|_| Ok(()))?;
        // Before the loss is stored as accepted: a crash in between may raise the epoch twice, but
        // never leaves it unchanged.
        let lacks_changes = match checkpoint {
            Some(checkpoint) => !db.read(move |view| holds(view, &checkpoint)).wait()?,
            None => false,
        };
        if lacks_changes {
            db.write(Origin::system(), |work| epoch::raise(work, "loss accepted"))
                .wait()?;
        }
        let ends = db.read(self.checkpoints.chains().ends).wait()?;
        Ok((db, checkpoint, ends))
    }

    /// Closes all files. Blocks.
    pub fn close_all(&self) {
        let ids: Vec<TenantId> = self.state().open.keys().copied().collect();
        ids.into_iter().for_each(|id| self.close(id));
    }

    /// The tenant's file, if it is open and healthy. Does not count as use, so a sweep keeps no
    /// file open.
    pub fn peek(&self, id: TenantId) -> Option<Database<Tenant>> {
        let state = self.state();
        let open = state.open.get(&id).filter(|open| open.db.is_healthy())?;
        Some(open.db.clone())
    }

    /// The tenants whose files are open.
    pub fn list_open(&self) -> Vec<TenantId> {
        self.state().open.keys().copied().collect()
    }

    /// The tenants whose last opening failed, with the reason.
    pub fn list_unavailable(&self) -> Vec<(TenantId, StorageErrorKind)> {
        self.state()
            .unavailable
            .iter()
            .map(|(id, kind)| (*id, *kind))
            .collect()
    }

    /// Allows to open a file again under which the disk failed twice; `false` when the tenant has
    /// no such file.
    pub fn release(&self, id: TenantId) -> bool {
        let mut state = self.state();
        let was_held = state.held.remove(&id);
        if was_held {
            state.disk_failed.remove(&id);
            state.unavailable.remove(&id);
        }
        was_held
    }

    /// Forgets a removed tenant.
    pub fn forget(&self, id: TenantId) {
        let mut state = self.state();
        state.unavailable.remove(&id);
        state.absent.remove(&id);
        state.suspect.remove(&id);
        state.rescued.remove(&id);
        state.failed.remove(&id);
        state.disk_failed.remove(&id);
        state.held.remove(&id);
        state.locks.remove(&id);
        state.gates.remove(&id);
        drop(state);
        self.checkpoints.forget(id);
    }

    fn close_unhealthy(&self, id: TenantId) {
        let removed = {
            let mut state = self.state();
            let removed = state.open.remove(&id);
            if let Some(open) = &removed {
                state.suspect.insert(id);
                if open.db.stats().disk_faults() > 0 {
                    let now = self.settings.clock.now();
                    let last = state.disk_failed.insert(id, now);
                    if last.is_some_and(|last| {
                        (now.as_millis() - last.as_millis()).abs() < DISK_MEMORY_MS
                    }) {
                        state.held.insert(id);
                        state.unavailable.insert(id, StorageErrorKind::Held);
                        tracing::error!(tenant_id = %id, file = %self.dir.tenant(id).display(),
                            error = %StorageErrorKind::Held, "tenant file quarantined");
                    }
                }
            }
            removed
        };
        if let Some(open) = removed {
            tracing::warn!(tenant_id = %id, "tenant file closed; it is checked at the next open");
            self.checkpoints.closed(id);
            open.db.close();
        }
    }

    fn make_room(&self) {
        let too_many;
        let mut candidates: Vec<(u64, TenantId)> = {
            let state = self.state();
            if state.open.len() + state.opening <= self.capacity {
                return;
            }
            too_many = state.open.len() + state.opening - self.capacity;
            state
                .open
                .iter()
                .map(|(id, open)| (open.tick, *id))
                .collect()
        };
        candidates.sort_unstable_by_key(|(tick, _)| *tick);
        let mut closed = 0;
        for (_, id) in candidates {
            if closed >= too_many {
                break;
            }
            closed += usize::from(self.close_unshared(id));
        }
    }

    /// Closes a tenant's file that was opened for a single read, unless it is in use meanwhile.
    /// Blocks while it closes.
    pub fn close_unused(&self, id: TenantId) {
        self.close_unshared(id);
    }

    /// Closes a file that is not in use. Returns at once when another thread is opening or closing
    /// it.
    fn close_unshared(&self, id: TenantId) -> bool {
        let lock = self.lock_of(id);
        let Ok(_closing) = lock.try_lock() else {
            return false;
        };
        let removed = {
            let mut state = self.state();
            if state.open.get(&id).is_some_and(|open| open.db.is_idle()) {
                state.open.remove(&id)
            } else {
                None
            }
        };
        removed.is_some_and(|open| {
            self.close_database(id, &open.db);
            true
        })
    }

    fn lock_of(&self, id: TenantId) -> Arc<Mutex<()>> {
        self.state().locks.entry(id).or_default().clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        sync::lock(&self.state)
    }
}
