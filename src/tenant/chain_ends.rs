//! The ends of a shop's chains, and the check whether a file still has the links at which they
//! ended earlier. `tenancy::checkpoints` stores the ends outside the file.

use super::ledger;
use crate::platform::audit;
use crate::primitives::Digest;
use crate::storage::{StorageError, TenantView, params, statements};
use crate::tenancy::checkpoints::{ChainEnd, ChainEnds, Chains};

statements! {
    // A copy from before the ledger was chained has no such column.
    ENTRY = "SELECT 1 FROM ledger_entry WHERE seq = ?1";
    // A file was never pruned before it had this table.
    IS_PRUNED = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'audit_anchor'";
    IS_CHAINED = "SELECT 1 FROM pragma_table_info('ledger_entry') WHERE name = 'hash'";
}

/// Functions with which `tenancy::checkpoints` reads a shop's chains.
pub const CHAINS: Chains = Chains { ends, holds };

/// The ends of a shop's chains.
pub fn ends(view: &TenantView) -> Result<ChainEnds, StorageError> {
    let end = |(seq, hash)| ChainEnd { seq, hash };
    Ok(ChainEnds {
        ledger: end(ledger::chain_end(view)?),
        audit: end(audit::end(view)?),
    })
}

/// Whether a shop has the links at which its chains ended earlier.
pub fn holds(view: &TenantView, earlier: &ChainEnds) -> Result<bool, StorageError> {
    if earlier.ledger.seq > 0 {
        let is_chained = view.find(&IS_CHAINED, [], |_| Ok(()))?.is_some();
        let found = match is_chained {
            true => ledger::chain_hash_at(view, earlier.ledger.seq)?,
            // A file without a chain matches only a checkpoint without one.
            false => view.find(&ENTRY, params![earlier.ledger.seq], |_| Ok(Digest::none()))?,
        };
        if found != Some(earlier.ledger.hash) {
            return Ok(false);
        }
    }
    if earlier.audit.seq == 0 {
        return Ok(true);
    }
    if let Some(found) = audit::hash_at(view, earlier.audit.seq)? {
        return Ok(found == earlier.audit.hash);
    }
    // A pruned link existed if an anchor is at or beyond it. (The landlord's file may be an older
    // copy.)
    let is_pruned = view.find(&IS_PRUNED, [], |_| Ok(()))?.is_some();
    let anchor = if is_pruned {
        audit::anchor(view)?
    } else {
        None
    };
    Ok(anchor.is_some_and(|(seq, hash)| {
        seq > earlier.audit.seq || (seq == earlier.audit.seq && hash == earlier.audit.hash)
    }))
}
