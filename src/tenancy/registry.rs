//! The open shops: a bounded set of files, the least recently used closed first. A shop at rest
//! costs no thread and no descriptor.
//!
//! Opening and closing one file exclude each other by a lock per tenant, so there are never two
//! writers on it. What is wrong with one file is that tenant's trouble alone: it is set aside or
//! left as it is, its requests are told, and the others go on.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::Semaphore;

use super::TenantAccess;
use super::checkpoints::{ChainEnds, Checkpoints};
use crate::platform::alerts::{self, SharedChannels};
use crate::platform::{epoch, queue};
use crate::primitives::id::TenantId;
use crate::primitives::limits::OPENING_WAITERS_MAX;
use crate::primitives::{Class, Origin, Refusal, Timestamp};
use crate::storage::file::{Place, Verify, io_error, set_aside, take_back, was_set_aside};
use crate::storage::{
    Check, DataDir, Database, Settings, StorageError, StorageErrorKind, Tenant, TenantView, Wake,
};

/// A shop at rest for so long is closed: ten minutes.
const IDLE_MS: i64 = 10 * 60 * 1000;

/// For so long a failure of the disk is remembered: a second one within it is no accident.
const DISK_MEMORY_MS: i64 = 60 * 60 * 1000;

/// After so long a file whose migration failed is tried again.
const OPEN_RETRY_MS: i64 = 5_000;
/// Files that are opened at once.
const OPENINGS_MAX: usize = 16;

/// Told of jobs that became due in a tenant's file.
pub type OnWake = Arc<dyn Fn(TenantId, &[Wake]) + Send + Sync>;

/// A shop whose file cannot be used at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this store cannot be opened: {0}; the operator finds the cause in the log; other stores are \
     not affected"
)]
pub struct TenantUnavailable(pub StorageErrorKind);

impl Refusal for TenantUnavailable {
    fn class(&self) -> Class {
        match self.0 {
            StorageErrorKind::Full => Class::StorageFull,
            // Whatever it is: it is this store that has it, and a fault of nobody's request.
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

/// Where those stand who wait for a file to be opened.
#[derive(Debug)]
pub struct Gate {
    /// One permit for each who may wait.
    pub room: Semaphore,
    /// One permit: whose turn it is to open.
    pub turn: Semaphore,
}

struct Open {
    db: Database<Tenant>,
    tick: u64,
    used_at: Timestamp,
}

#[derive(Default)]
struct State {
    open: HashMap<TenantId, Open>,
    locks: HashMap<TenantId, Arc<Mutex<()>>>,
    gates: HashMap<TenantId, Arc<Gate>>,
    /// Files whose orphaned jobs were rescued since this process began, and where they were: one
    /// that was put in its place since has orphans of its own.
    swept: HashMap<TenantId, Place>,
    /// Files in which something was found wrong: checked whole at the next open.
    suspect: HashSet<TenantId>,
    unavailable: HashMap<TenantId, StorageErrorKind>,
    /// Those of them at whose place there was no file: what comes there is being put back, and may
    /// not be whole yet.
    absent: HashSet<TenantId>,
    /// When a write last failed because the disk did.
    disk_failed: HashMap<TenantId, Timestamp>,
    /// Files under which the disk failed again soon after they were opened and checked: not written
    /// to until the operator says so.
    held: HashSet<TenantId>,
    /// Those whose schema could not be brought up to date, and when.
    failed: HashMap<TenantId, (StorageErrorKind, Timestamp)>,
    /// How many are being opened.
    opening: usize,
    tick: u64,
}

/// The set of open shops.
pub struct Registry {
    dir: Arc<DataDir>,
    settings: Settings,
    checkpoints: Checkpoints,
    alerts: Arc<SharedChannels>,
    capacity: usize,
    on_wake: Arc<RwLock<Option<OnWake>>>,
    state: Mutex<State>,
    /// Told when an opening is over.
    opened: Condvar,
}

/// A file that is being opened: it counts among the open ones, and few are opened at once, so that
/// a storm of shops that were at rest does not take more descriptors than there are.
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
    /// An empty set that holds at most `capacity` files open, unless more are in use at the same
    /// time (or are opened at once).
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

    /// Has `on_wake` told of due jobs from now on, also for files that are open already. Before
    /// that, hints are lost, which costs latency and no work.
    pub fn set_on_wake(&self, on_wake: OnWake) {
        *self.on_wake.write().unwrap_or_else(PoisonError::into_inner) = Some(on_wake);
    }

    /// The shop, if its file is open and well. Does not block.
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

    /// Whose turn it is to open a tenant's file: one permit, for those who wait without a thread.
    /// They [`get`](Self::get) the file when it is open, and only the one with the permit spends a
    /// thread on [`open`](Self::open): a file that takes long does not take them all.
    pub fn gate(&self, id: TenantId) -> Arc<Gate> {
        let gate = || {
            Arc::new(Gate {
                room: Semaphore::new(OPENING_WAITERS_MAX),
                turn: Semaphore::new(1),
            })
        };
        self.state().gates.entry(id).or_insert_with(gate).clone()
    }

    /// The shop, its file opened if need be. Blocks while it is opened, checked and migrated.
    ///
    /// # Errors
    /// [`TenantUnavailable`] with what is wrong with the file.
    pub fn open(&self, access: &TenantAccess) -> Result<Database<Tenant>, TenantUnavailable> {
        let id = access.id();
        let lock = self.lock_of(id);
        let _opening = lock.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(db) = self.get(access) {
            return Ok(db);
        }
        if let Some(kind) = self.just_failed(id) {
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
            .inspect_err(|error| self.note_unavailable(id, error));
        drop(opening);
        let db = opened.map_err(|error| TenantUnavailable(error.kind()))?;
        self.note_open(id, &db);
        Ok(db)
    }

    fn note_open(&self, id: TenantId, db: &Database<Tenant>) {
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
            Open {
                db: db.clone(),
                tick,
                used_at: now,
            },
        );
    }

    /// Opens a shop's file if it has all that the landlord knows it had.
    fn open_checked(&self, id: TenantId) -> Result<Database<Tenant>, StorageError> {
        let (mark, holds) = (self.known_checkpoint(id)?, self.checkpoints.chains().holds);
        let verify = |view: &TenantView| match &mark {
            Some(mark) if !holds(view, mark)? => Err(StorageError::new(StorageErrorKind::Behind)),
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

    /// A migration that fails costs a copy of the whole file; it is not tried anew for each
    /// request.
    fn just_failed(&self, id: TenantId) -> Option<StorageErrorKind> {
        let now = self.settings.clock.now();
        let (kind, at) = self.state().failed.get(&id).copied()?;
        (0..OPEN_RETRY_MS)
            .contains(&(now.as_millis() - at.as_millis()))
            .then_some(kind)
    }

    /// A fault of the landlord's file is none of the shop's: nothing is set aside for it.
    fn known_checkpoint(&self, id: TenantId) -> Result<Option<ChainEnds>, StorageError> {
        self.checkpoints.find(id).map_err(|error| {
            tracing::error!(tenant_id = %id, error = %error, "how far a shop's file has to be \
                could not be read from the landlord's file");
            StorageError::new(StorageErrorKind::CheckpointUnreadable)
        })
    }

    fn open_file(
        &self,
        id: TenantId,
        check: Check,
        verify: Verify<'_, Tenant>,
    ) -> Result<Database<Tenant>, StorageError> {
        let swept = self.state().swept.get(&id).copied();
        let on_wake = self.on_wake.clone();
        let path = self.dir.tenant(id);
        let opened = Database::open_verified(
            &path,
            *id.as_bytes(),
            &self.settings,
            check,
            verify,
            move |wakes| {
                if let Some(on_wake) = &*on_wake.read().unwrap_or_else(PoisonError::into_inner) {
                    on_wake(id, wakes);
                }
            },
        );
        let db = opened.map_err(|error| match error.kind() {
            StorageErrorKind::Missing if was_set_aside(&path) => {
                StorageError::new(StorageErrorKind::SetAside)
            }
            _ => error,
        })?;
        let place = db.place();
        if swept != Some(place) && db.read(queue::count_orphans).wait()? > 0 {
            let means = self.alerts.get();
            let rescued = db.write(Origin::system(), move |work| {
                for job in queue::rescue(work)? {
                    alerts::record_discard(
                        work,
                        means,
                        &job,
                        job.attempt - 1,
                        "rescued too often",
                    )?;
                }
                Ok::<_, StorageError>(())
            });
            rescued.wait()?;
        }
        self.state().swept.insert(id, place);
        Ok(db)
    }

    fn note_unavailable(&self, id: TenantId, error: &StorageError) {
        let path = self.dir.tenant(id);
        let (known, is_put_back) = {
            let mut state = self.state();
            if matches!(
                error.kind(),
                StorageErrorKind::Missing | StorageErrorKind::SetAside
            ) {
                state.absent.insert(id);
            }
            if state.absent.contains(&id) || error.sets_aside() {
                // Whatever comes to this place is another file, even if the system gives it the
                // number of the one that went.
                state.swept.remove(&id);
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
        // A file that is being copied to its place looks damaged until all of it is there: it is
        // left to whoever copies it.
        if error.sets_aside() && !is_put_back {
            match set_aside(&path) {
                Ok(()) => {
                    // Whatever comes to the empty place is put there by somebody.
                    self.state().absent.insert(id);
                    tracing::error!(tenant_id = %id, file = %path.display(), error = %error,
                        source = std::error::Error::source(error).map(tracing::field::display),
                        "tenant file quarantined")
                }
                Err(io) => {
                    tracing::error!(tenant_id = %id, file = %path.display(), error = %io, "tenant \
                        file that is not what it should be could not be set aside")
                }
            }
        } else if known != Some(error.kind()) {
            tracing::error!(tenant_id = %id, file = %path.display(), error = %error,
                source = std::error::Error::source(error).map(tracing::field::display), "tenant \
                    unavailable");
        }
    }

    /// Closes files that have been at rest for ten minutes; and those that were last used in the
    /// future, which a clock that was set back says of all that have not been used since. Blocks
    /// while they close.
    pub fn close_idle(&self, now: Timestamp) {
        let idle =
            |open: &Open| !(0..IDLE_MS).contains(&(now.as_millis() - open.used_at.as_millis()));
        let ids: Vec<TenantId> = self
            .state()
            .open
            .iter()
            .filter(|(_, open)| idle(open))
            .map(|(id, _)| *id)
            .collect();
        ids.into_iter().for_each(|id| {
            self.close_unshared(id);
        });
    }

    /// Closes a shop's file whoever still holds it: their next call is told that it was closed.
    /// Blocks.
    pub fn close(&self, id: TenantId) {
        let lock = self.lock_of(id);
        let _closing = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let open = self.state().open.remove(&id);
        if let Some(open) = open {
            self.shut(id, &open.db);
        }
    }

    /// Closes a file, and keeps in mind where its chains ended if it is well. Blocks.
    fn shut(&self, id: TenantId, db: &Database<Tenant>) {
        if db.is_healthy() {
            self.checkpoints.look(id, db);
        }
        self.checkpoints.closed(id);
        db.close();
    }

    /// Writes down how far the files are that are open or were: see [`Checkpoints`]. Writes nothing
    /// when none has changed. Blocks.
    ///
    /// # Errors
    /// [`StorageError`], of the landlord's file.
    pub fn write_checkpoints(&self) -> Result<(), StorageError> {
        for id in self.list_open() {
            if let Some(db) = self.peek(id) {
                self.checkpoints.look(id, &db);
            }
        }
        self.checkpoints.write()
    }

    /// What the landlord's file and this process know of how far a shop's file was. Blocks.
    ///
    /// # Errors
    /// [`StorageError`], of the landlord's file.
    pub fn find_checkpoint(&self, id: TenantId) -> Result<Option<ChainEnds>, StorageError> {
        self.checkpoints.find(id)
    }

    /// Opens a shop's file although it lacks what was acknowledged, after all of it was checked; if
    /// it was set aside, it is taken back to its place first. Jobs of one that lacks something are
    /// held, because they may have been run since: its epoch rises. `accept` is told how far the
    /// landlord knew it to be and how far it is, and has to write that down before anybody uses the
    /// file. Gives the two; nothing when the shop is open already. Blocks.
    ///
    /// # Errors
    /// [`TenantUnavailable`] when there is no file, or a damaged one, or when `accept` fails.
    pub fn open_behind(
        &self,
        access: &TenantAccess,
        accept: impl FnOnce(ChainEnds, ChainEnds) -> Result<(), StorageError>,
    ) -> Result<Option<(ChainEnds, ChainEnds)>, TenantUnavailable> {
        let id = access.id();
        let lock = self.lock_of(id);
        let _opening = lock.lock().unwrap_or_else(PoisonError::into_inner);
        if self.get(access).is_some() {
            return Ok(None);
        }
        self.close_unhealthy(id);
        {
            let mut state = self.state();
            if state.held.contains(&id) {
                return Err(TenantUnavailable(StorageErrorKind::Held));
            }
            // Damaged after all, it is set aside again.
            state.absent.remove(&id);
        }
        let opened = self
            .open_whatever_it_lacks(id)
            .inspect_err(|error| self.note_unavailable(id, error));
        let (db, mark, ends) = opened.map_err(|error| TenantUnavailable(error.kind()))?;
        let known = mark.unwrap_or(ends);
        if let Err(error) = self.checkpoints.replace(id, || accept(known, ends)) {
            db.close();
            return Err(TenantUnavailable(error.kind()));
        }
        self.note_open(id, &db);
        Ok(Some((known, ends)))
    }

    fn open_whatever_it_lacks(
        &self,
        id: TenantId,
    ) -> Result<(Database<Tenant>, Option<ChainEnds>, ChainEnds), StorageError> {
        let path = self.dir.tenant(id);
        if !path.exists() {
            take_back(&path).map_err(|error| io_error(&error))?;
        }
        let (mark, holds) = (self.known_checkpoint(id)?, self.checkpoints.chains().holds);
        let db = self.open_file(id, Check::Always, &|_| Ok(()))?;
        // Before the loss is written down as accepted: a crash in between may raise the epoch
        // twice, and never leaves it where it was.
        let lacks = match mark {
            Some(mark) => !db.read(move |view| holds(view, &mark)).wait()?,
            None => false,
        };
        if lacks {
            db.write(Origin::system(), |work| epoch::raise(work, "loss accepted"))
                .wait()?;
        }
        let ends = db.read(self.checkpoints.chains().ends).wait()?;
        Ok((db, mark, ends))
    }

    /// Closes all. Blocks.
    pub fn close_all(&self) {
        let ids: Vec<TenantId> = self.state().open.keys().copied().collect();
        ids.into_iter().for_each(|id| self.close(id));
    }

    /// The shop, if its file is open and well. Looking does not count as use, so a sweep keeps no
    /// shop awake.
    pub fn peek(&self, id: TenantId) -> Option<Database<Tenant>> {
        let state = self.state();
        let open = state.open.get(&id).filter(|open| open.db.is_healthy())?;
        Some(open.db.clone())
    }

    /// The tenants whose files are open.
    pub fn list_open(&self) -> Vec<TenantId> {
        self.state().open.keys().copied().collect()
    }

    /// The tenants whose files could not be opened when they were last tried, and why.
    pub fn list_unavailable(&self) -> Vec<(TenantId, StorageErrorKind)> {
        self.state()
            .unavailable
            .iter()
            .map(|(id, kind)| (*id, *kind))
            .collect()
    }

    /// Lets a file be opened again under which the disk failed twice; `false` when it is none.
    pub fn release(&self, id: TenantId) -> bool {
        let mut state = self.state();
        let was_held = state.held.remove(&id);
        if was_held {
            state.disk_failed.remove(&id);
            state.unavailable.remove(&id);
        }
        was_held
    }

    /// Forgets what was noted of a tenant that is gone.
    pub fn forget(&self, id: TenantId) {
        let mut state = self.state();
        state.unavailable.remove(&id);
        state.absent.remove(&id);
        state.suspect.remove(&id);
        state.swept.remove(&id);
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
            tracing::warn!(tenant_id = %id,
                "tenant file is closed, to be opened and checked again");
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

    /// Closes a shop's file again that was opened for a look, unless somebody has come for it
    /// meanwhile. Blocks while it closes.
    pub fn close_unused(&self, id: TenantId) {
        self.close_unshared(id);
    }

    /// Closes a file that nobody holds at the moment. Gives way to whoever is opening or closing
    /// it.
    fn close_unshared(&self, id: TenantId) -> bool {
        let lock = self.lock_of(id);
        let Ok(_closing) = lock.try_lock() else {
            return false;
        };
        let removed = {
            let mut state = self.state();
            if state.open.get(&id).is_some_and(|open| open.db.is_at_rest()) {
                state.open.remove(&id)
            } else {
                None
            }
        };
        removed.is_some_and(|open| {
            self.shut(id, &open.db);
            true
        })
    }

    fn lock_of(&self, id: TenantId) -> Arc<Mutex<()>> {
        self.state().locks.entry(id).or_default().clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
