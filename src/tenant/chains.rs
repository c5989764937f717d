//! Where a shop's chains end, and whether a file still has the links that it had: what `tenancy::marks` keeps beside the file.

use super::ledger;
use crate::platform::audit;
use crate::primitives::Digest;
use crate::storage::{StorageError, TenantView, params, statements};
use crate::tenancy::marks::{Chains, End, Ends};

statements! {
    // A copy from before the ledger was chained has no such column.
    ENTRY = "SELECT 1 FROM ledger_entry WHERE seq = ?1";
    IS_CHAINED = "SELECT 1 FROM pragma_table_info('ledger_entry') WHERE name = 'hash'";
}

/// How the marks read a shop's chains.
pub const CHAINS: Chains = Chains { ends, holds };

/// Where the chains of a shop end.
///
/// # Errors
/// [`StorageError`].
pub fn ends(view: &TenantView) -> Result<Ends, StorageError> {
    let end = |(seq, hash)| End { seq, hash };
    Ok(Ends {
        ledger: end(ledger::chain_end(view)?),
        audit: end(audit::end(view)?),
    })
}

/// Whether a shop has the links at which its chains ended once.
///
/// # Errors
/// [`StorageError`].
pub fn holds(view: &TenantView, once: &Ends) -> Result<bool, StorageError> {
    if once.ledger.seq > 0 {
        let is_chained = view.find(&IS_CHAINED, [], |_| Ok(()))?.is_some();
        let found = match is_chained {
            true => ledger::chain_hash_at(view, once.ledger.seq)?,
            // It can only have been further than the chain's beginning if its end was chained.
            false => view.find(&ENTRY, params![once.ledger.seq], |_| Ok(Digest::none()))?,
        };
        if found != Some(once.ledger.hash) {
            return Ok(false);
        }
    }
    Ok(once.audit.seq == 0 || audit::hash_at(view, once.audit.seq)? == Some(once.audit.hash))
}
