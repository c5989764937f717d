//! Checkpoints of tenant files: the landlord stores the ends of each file's chains.
//!
//! SQLite cannot detect that a file is an older copy of itself, or that a disk lost writes that it
//! had confirmed: such a file is intact but lacks acknowledged sales. A file without the links of
//! its checkpoint is not opened.
//!
//! Checkpoints are lazy: they are written at an interval and when a file is closed, so the loss of
//! later changes is not detected. A checkpoint is never ahead of its file: a reader sees a commit
//! only when it is on disk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::json;

use super::directory::Directory;
use crate::platform::audit;
use crate::primitives::id::TenantId;
use crate::primitives::{Digest, Origin, Timestamp, sync};
use crate::storage::{
    Database, LandlordView, LandlordWork, Row, Rows, StorageError, Tenant, TenantView, params,
    statements,
};

statements! {
    CHECKPOINT = "SELECT ledger_seq, ledger_hash, audit_seq, audit_hash FROM tenant_checkpoint \
        WHERE tenant_id = ?1";
    // The tenant may be removed before its checkpoint is written.
    SET_CHECKPOINT = "INSERT INTO tenant_checkpoint (tenant_id, ledger_seq, ledger_hash, \
        audit_seq, audit_hash, recorded_at)
                SELECT id, ?2, ?3, ?4, ?5, ?6 FROM tenant WHERE id = ?1
                ON CONFLICT (tenant_id) DO UPDATE SET ledger_seq = excluded.ledger_seq, \
                ledger_hash = excluded.ledger_hash,
                  audit_seq = excluded.audit_seq, audit_hash = excluded.audit_hash, recorded_at = \
                  excluded.recorded_at";
    SEEN = "SELECT seen_at FROM clock_latest WHERE singleton = 1";
    SET_SEEN = "INSERT INTO clock_latest (singleton, seen_at) VALUES (1, ?1) ON CONFLICT \
        (singleton) DO UPDATE SET seen_at = max(seen_at, excluded.seen_at)";
}

/// The last link of a chain; `seq` is 0 for an empty chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainEnd {
    pub seq: i64,
    pub hash: Digest,
}

/// The ends of a tenant's chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainEnds {
    pub ledger: ChainEnd,
    pub audit: ChainEnd,
}

/// Functions that read a tenant's chains. They belong to the tenant's modules, a layer above.
#[derive(Clone, Copy, Debug)]
pub struct Chains {
    /// Reads the ends of the chains.
    pub ends: fn(&TenantView) -> Result<ChainEnds, StorageError>,
    /// Whether the chains contain the links of an earlier end.
    pub holds: fn(&TenantView, &ChainEnds) -> Result<bool, StorageError>,
}

#[derive(Default)]
struct State {
    /// The number of commits of an open file when its chains were last read.
    commits_seen: HashMap<TenantId, u64>,
    /// Ends that are not stored yet.
    pending: HashMap<TenantId, ChainEnds>,
    /// The number of times that a file was closed: ends that were read from an earlier opening are
    /// not stored for a later one.
    closings: HashMap<TenantId, u64>,
}

/// The checkpoints of all tenants.
pub struct Checkpoints {
    directory: Arc<Directory>,
    chains: Chains,
    state: Mutex<State>,
    /// Held while checkpoints are written or replaced.
    writing: Mutex<()>,
}

impl Checkpoints {
    /// Checkpoints in the landlord's file, read with `chains`.
    pub fn new(directory: Arc<Directory>, chains: Chains) -> Self {
        Self {
            directory,
            chains,
            state: Mutex::default(),
            writing: Mutex::default(),
        }
    }

    pub const fn chains(&self) -> Chains {
        self.chains
    }

    /// The checkpoint of a tenant, if it has one. Blocks.
    pub fn find(&self, id: TenantId) -> Result<Option<ChainEnds>, StorageError> {
        if let Some(pending) = self.state().pending.get(&id) {
            return Ok(Some(*pending));
        }
        self.directory.read(move |view| find(view, id)).wait()
    }

    /// Reads the ends of a tenant's chains, if it has committed anything since the last read.
    /// Blocks.
    pub(super) fn observe(&self, id: TenantId, db: &Database<Tenant>) {
        let commits = db.stats().commits();
        let closings = {
            let mut state = self.state();
            if state.commits_seen.insert(id, commits) == Some(commits) {
                return;
            }
            state.closings.get(&id).copied()
        };
        let ends = self.chains.ends;
        match db.read(ends).wait() {
            Ok(ends) => {
                let mut state = self.state();
                if state.closings.get(&id).copied() == closings {
                    state.pending.insert(id, ends);
                }
            }
            Err(error) => {
                tracing::warn!(tenant_id = %id, error = %error,
                    "chain ends of a tenant not readable; its checkpoint is not updated");
                self.state().commits_seen.remove(&id);
            }
        }
    }

    /// Records that a file was closed: the next opening counts its commits from 0.
    pub(super) fn closed(&self, id: TenantId) {
        let mut state = self.state();
        state.commits_seen.remove(&id);
        *state.closings.entry(id).or_default() += 1;
    }

    /// Replaces a checkpoint with `replace`, and drops pending ends. Blocks.
    pub(super) fn replace(
        &self,
        id: TenantId,
        replace: impl FnOnce() -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let _writing = sync::lock(&self.writing);
        replace()?;
        let mut state = self.state();
        state.commits_seen.remove(&id);
        state.pending.remove(&id);
        Ok(())
    }

    /// Forgets a removed tenant.
    pub(super) fn forget(&self, id: TenantId) {
        let mut state = self.state();
        state.commits_seen.remove(&id);
        state.pending.remove(&id);
        state.closings.remove(&id);
    }

    /// Stores the pending ends, if there are any; a failure is retried the next time. Blocks.
    pub(super) fn write(&self) -> Result<(), StorageError> {
        let _writing = sync::lock(&self.writing);
        let pending = self.state().pending.clone();
        if pending.is_empty() {
            return Ok(());
        }
        let checkpoints = pending.clone();
        let written = self
            .directory
            .database()
            .write(Origin::system(), move |work| {
                checkpoints
                    .iter()
                    .try_for_each(|(id, ends)| set(work, *id, ends))?;
                let now = work.now();
                work.change(&SET_SEEN, params![now], Rows::Exactly(1))
            });
        written.wait()?;
        // Only now, so that a file that is opened meanwhile is verified against the newest ends.
        let mut state = self.state();
        for (id, ends) in pending {
            if state.pending.get(&id) == Some(&ends) {
                state.pending.remove(&id);
            }
        }
        Ok(())
    }

    /// The latest instant at which checkpoints were stored. Blocks.
    pub fn find_seen(&self) -> Result<Option<Timestamp>, StorageError> {
        let seen = |view: &LandlordView| view.find(&SEEN, [], |row| row.get(0));
        self.directory.read(seen).wait()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        sync::lock(&self.state)
    }
}

fn find(view: &LandlordView, id: TenantId) -> Result<Option<ChainEnds>, StorageError> {
    view.find(&CHECKPOINT, params![id], |row: &Row<'_>| {
        Ok(ChainEnds {
            ledger: ChainEnd {
                seq: row.get("ledger_seq")?,
                hash: row.get("ledger_hash")?,
            },
            audit: ChainEnd {
                seq: row.get("audit_seq")?,
                hash: row.get("audit_hash")?,
            },
        })
    })
}

fn set(work: &mut LandlordWork, id: TenantId, ends: &ChainEnds) -> Result<(), StorageError> {
    let now = work.now();
    let row = params![
        id,
        ends.ledger.seq,
        ends.ledger.hash,
        ends.audit.seq,
        ends.audit.hash,
        now
    ];
    work.change(&SET_CHECKPOINT, row, Rows::AtMostOne).map(drop)
}

/// Accepts a tenant's file although it lacks acknowledged changes.
pub(super) fn accept_loss(
    work: &mut LandlordWork,
    id: TenantId,
    known: &ChainEnds,
    found: &ChainEnds,
) -> Result<(), StorageError> {
    set(work, id, found)?;
    let of = |ends: &ChainEnds| json!({"ledger_seq": ends.ledger.seq, "audit_seq": ends.audit.seq});
    let details = json!({"known": of(known), "found": of(found)});
    audit::record(
        work,
        "tenant.loss_accepted",
        &format!("tenant:{id}"),
        details,
    )
}
