//! How far each shop's file was: the landlord keeps where its chains ended when it was last looked
//! at.
//!
//! What SQLite cannot see by itself is that a file is an older copy of itself, or that a disk
//! forgot what it had confirmed: such a file is whole, and lacks acknowledged sales. A file that
//! does not have the links at which its chains ended once is not opened.
//!
//! Lazily: a mark is written now and then and when a file is closed, so what was acknowledged since
//! the last one is not missed by it. A mark is never ahead of its file: a reader sees a commit only
//! when it is on disk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::directory::Directory;
use crate::primitives::id::TenantId;
use crate::primitives::{Digest, Origin, Timestamp};
use crate::storage::{
    Database, LandlordView, LandlordWork, Row, Rows, StorageError, Tenant, TenantView, params,
    statements,
};

statements! {
    CHECKPOINT = "SELECT ledger_seq, ledger_hash, audit_seq, audit_hash FROM tenant_checkpoint \
        WHERE tenant_id = ?1";
    // A tenant may be removed while its mark is on the way.
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

/// The last link of a chain; place 0 where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainEnd {
    /// Its place.
    pub seq: i64,
    /// Its hash.
    pub hash: Digest,
}

/// Where the chains of a shop end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainEnds {
    /// The ledger's.
    pub ledger: ChainEnd,
    /// The audit log's.
    pub audit: ChainEnd,
}

/// How a shop's chains are read. The shop's modules own them, which are a layer above.
#[derive(Clone, Copy, Debug)]
pub struct Chains {
    /// Where they end.
    pub ends: fn(&TenantView) -> Result<ChainEnds, StorageError>,
    /// Whether they have the links at which they ended once.
    pub holds: fn(&TenantView, &ChainEnds) -> Result<bool, StorageError>,
}

#[derive(Default)]
struct State {
    /// How many commits an open file had when it was last looked at.
    looked_at: HashMap<TenantId, u64>,
    /// What is not written down yet.
    due: HashMap<TenantId, ChainEnds>,
    /// How often a file was closed or forgotten: what was read of an earlier one is not noted for
    /// the one that is there now.
    closings: HashMap<TenantId, u64>,
}

/// The checkpoints of all shops.
pub struct Checkpoints {
    directory: Arc<Directory>,
    chains: Chains,
    state: Mutex<State>,
    /// Held while checkpoints are written, or one is replaced.
    writing: Mutex<()>,
}

impl Checkpoints {
    /// Kept in the landlord's file, of chains that are read so.
    pub fn new(directory: Arc<Directory>, chains: Chains) -> Self {
        Self {
            directory,
            chains,
            state: Mutex::default(),
            writing: Mutex::default(),
        }
    }

    /// How a shop's chains are read.
    pub const fn chains(&self) -> Chains {
        self.chains
    }

    /// The mark of a shop, if it has one. Blocks.
    ///
    /// # Errors
    /// [`StorageError`], of the landlord's file.
    pub fn find(&self, id: TenantId) -> Result<Option<ChainEnds>, StorageError> {
        if let Some(due) = self.state().due.get(&id) {
            return Ok(Some(*due));
        }
        self.directory.read(move |view| find(view, id)).wait()
    }

    /// Looks where a shop's chains end, if it has written anything since it was last looked at.
    /// Blocks.
    pub(super) fn look(&self, id: TenantId, db: &Database<Tenant>) {
        let commits = db.stats().commits();
        let closings = {
            let mut state = self.state();
            if state.looked_at.insert(id, commits) == Some(commits) {
                return;
            }
            state.closings.get(&id).copied()
        };
        let ends = self.chains.ends;
        match db.read(ends).wait() {
            Ok(ends) => {
                let mut state = self.state();
                if state.closings.get(&id).copied() == closings {
                    state.due.insert(id, ends);
                }
            }
            Err(error) => {
                tracing::warn!(tenant_id = %id, error = %error, "where the chains of a shop end \
                    could not be read; its mark stays where it is");
                self.state().looked_at.remove(&id);
            }
        }
    }

    /// A file was closed: the next one at its place counts its commits from the beginning.
    pub(super) fn closed(&self, id: TenantId) {
        let mut state = self.state();
        state.looked_at.remove(&id);
        *state.closings.entry(id).or_default() += 1;
    }

    /// Has `replace` write another mark, with nothing of the old one written behind it. Blocks.
    ///
    /// # Errors
    /// What `replace` gives.
    pub(super) fn replace(
        &self,
        id: TenantId,
        replace: impl FnOnce() -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        replace()?;
        let mut state = self.state();
        state.looked_at.remove(&id);
        state.due.remove(&id);
        Ok(())
    }

    /// Forgets what was noted of a tenant that is gone.
    pub(super) fn forget(&self, id: TenantId) {
        let mut state = self.state();
        state.looked_at.remove(&id);
        state.due.remove(&id);
        state.closings.remove(&id);
    }

    /// Writes down what was noted; writes nothing when nothing was. What fails is tried again the
    /// next time. Blocks.
    ///
    /// # Errors
    /// [`StorageError`], of the landlord's file.
    pub(super) fn write(&self) -> Result<(), StorageError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let due = self.state().due.clone();
        if due.is_empty() {
            return Ok(());
        }
        let noted = due.clone();
        let written = self
            .directory
            .database()
            .write(Origin::system(), move |work| {
                noted
                    .iter()
                    .try_for_each(|(id, ends)| set(work, *id, ends))?;
                let now = work.now();
                work.change(&SET_SEEN, params![now], Rows::Exactly(1))
            });
        written.wait()?;
        // Only now, so that a file that is opened meanwhile is held against what is known and not
        // against what was known before.
        let mut state = self.state();
        for (id, ends) in due {
            if state.due.get(&id) == Some(&ends) {
                state.due.remove(&id);
            }
        }
        Ok(())
    }

    /// The latest instant that was seen when something was written down. Blocks.
    ///
    /// # Errors
    /// [`StorageError`], of the landlord's file.
    pub fn find_seen(&self) -> Result<Option<Timestamp>, StorageError> {
        let seen = |view: &LandlordView| view.find(&SEEN, [], |row| row.get(0));
        self.directory.read(seen).wait()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find(view: &LandlordView, id: TenantId) -> Result<Option<ChainEnds>, StorageError> {
    view.find(&CHECKPOINT, params![id], |row: &Row<'_>| {
        let end = |at: usize| {
            Ok::<_, rusqlite::Error>(ChainEnd {
                seq: row.get(at)?,
                hash: row.get(at + 1)?,
            })
        };
        Ok(ChainEnds {
            ledger: end(0)?,
            audit: end(2)?,
        })
    })
}

pub(super) fn set(
    work: &mut LandlordWork,
    id: TenantId,
    ends: &ChainEnds,
) -> Result<(), StorageError> {
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
