//! Immediate pruning, requested by an operator after a stranger has filled a tenant's file: rows
//! that no caller has a claim to are deleted whatever their age. It needs no clock, so it works
//! while the clock is suspect.
//!
//! - Only rows of callers without a key are deleted, and never the answer of a sale, a payment or a
//!   checkout.

use super::cart;
use crate::platform::idempotency;
use crate::platform::retention::{self, Pruned, PrunedTable};
use crate::primitives::limits::{PRUNE_BATCH, VACUUM_PAGES, VACUUM_STEPS};
use crate::primitives::{Origin, Timestamp};
use crate::storage::{
    Database, StorageError, Tenant, TenantView, TenantWork, statements, text_enum,
};

statements! {
    COUNT_ANSWERS = "SELECT count(*) FROM keyless_answer WHERE cart_id IS NOT NULL";
}

/// Carts in one transaction: with a hundred items each, as many rows as ten batches of others.
const CARTS_PER_BATCH: u32 = 20;

text_enum! {
    /// The kinds of rows that can be pruned immediately.
    PrunedNow {
        /// Stored answers of cart calls without a key.
        Answers = "answers",
        /// Carts that were made without a key and not ordered.
        Carts = "carts",
    }
}

impl PrunedTable for PrunedNow {
    type File = Tenant;
    type CutOffs = ();

    fn cut_off(self, (): &()) -> Option<Timestamp> {
        None
    }

    fn find_due(self, view: &TenantView, (): &()) -> Result<(i64, i64), StorageError> {
        let rows = match self {
            Self::Answers => view.one(&COUNT_ANSWERS, [], |row| row.get(0))?,
            Self::Carts => cart::count_anonymous_carts(view, end_of_time())?,
        };
        Ok((0, rows))
    }

    fn delete_batch(self, work: &mut TenantWork, _: i64, (): &()) -> Result<usize, StorageError> {
        match self {
            Self::Answers => idempotency::delete_keyless(work, PRUNE_BATCH),
            Self::Carts => cart::delete_anonymous_carts(work, end_of_time(), CARTS_PER_BATCH),
        }
    }

    /// A batch of answers may be smaller than its limit although more are left.
    fn full_batch(self) -> u32 {
        1
    }
}

fn end_of_time() -> Timestamp {
    Timestamp::from_millis_clamped(i64::MAX)
}

/// Deletes the rows, records that in the tenant's trail, and gives back the pages that are free
/// then, however many they are. Blocks.
pub fn prune(
    db: &Database<Tenant>,
    origin: &Origin,
    kinds: &[PrunedNow],
) -> Result<Vec<Pruned<PrunedNow>>, StorageError> {
    let ran = retention::prune(db, origin, kinds, &(), None, || true)?;
    ran.record(db, origin)?;
    let free = if ran.rows() > 0 {
        db.read(|view| view.free_pages()).wait()?
    } else {
        0
    };
    for _ in 0..free.div_ceil(VACUUM_PAGES * VACUUM_STEPS) {
        if !retention::give_back_space(db, origin, || true)? {
            break;
        }
    }
    Ok(ran.pruned)
}
