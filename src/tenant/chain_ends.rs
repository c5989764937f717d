//! The ends of a shop's chains, and the check whether a file still has the links at which they
//! ended earlier. `tenancy::checkpoints` stores the ends outside the file.

use super::ledger;
use crate::platform::audit;
use crate::storage::{StorageError, TenantView};
use crate::tenancy::checkpoints::{ChainEnd, ChainEnds, Chains};

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
    let booked = earlier.ledger.seq;
    if booked > 0 && ledger::chain_hash_at(view, booked)? != Some(earlier.ledger.hash) {
        return Ok(false);
    }
    if earlier.audit.seq == 0 {
        return Ok(true);
    }
    if let Some(found) = audit::hash_at(view, earlier.audit.seq)? {
        return Ok(found == earlier.audit.hash);
    }
    // A pruned link existed if an anchor is at or beyond it. (The landlord's file may be an older
    // copy.)
    Ok(audit::anchor(view)?.is_some_and(|(seq, hash)| {
        seq > earlier.audit.seq || (seq == earlier.audit.seq && hash == earlier.audit.hash)
    }))
}
