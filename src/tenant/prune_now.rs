//! Immediate pruning, requested by an operator after a stranger has filled a tenant's file: rows
//! that no caller has a claim to are deleted whatever their age. It needs no clock, so it works
//! while the clock is suspect.
//!
//! - Only rows of callers without a key are deleted, and never the answer of a sale, a payment or a
//!   checkout.
//! - Each batch is a transaction of its own; sales go on in between. A run deletes as many rows as
//!   there were when it began, so it ends even while an attack adds new ones.

use serde_json::{Map, Value, json};

use super::{audit, cart};
use crate::platform::idempotency;
use crate::primitives::limits::{PRUNE_BATCH, VACUUM_PAGES, VACUUM_STEPS};
use crate::primitives::{Origin, Timestamp};
use crate::storage::{
    Database, StorageError, Tenant, TenantView, TenantWork, statements, text_enum,
};
use crate::tenant::retention;

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

impl PrunedNow {
    fn count(self, view: &TenantView) -> Result<i64, StorageError> {
        match self {
            Self::Answers => view.one(&COUNT_ANSWERS, [], |row| row.get(0)),
            Self::Carts => cart::count_anonymous_carts(view, end_of_time()),
        }
    }

    fn delete(self, work: &mut TenantWork) -> Result<usize, StorageError> {
        match self {
            Self::Answers => idempotency::delete_keyless(work, PRUNE_BATCH),
            Self::Carts => cart::delete_anonymous_carts(work, end_of_time(), CARTS_PER_BATCH),
        }
    }
}

fn end_of_time() -> Timestamp {
    Timestamp::from_millis_clamped(i64::MAX)
}

/// Counts the rows that a run would delete. Scans an index of each table: use the reader for long
/// reads.
pub fn count(
    view: &TenantView,
    kinds: &[PrunedNow],
) -> Result<Vec<(PrunedNow, i64)>, StorageError> {
    let one = |kind: &PrunedNow| Ok((*kind, kind.count(view)?));
    kinds.iter().map(one).collect()
}

/// Deletes the rows, records that in the tenant's trail, and gives the space back. Returns the
/// number of deleted rows of each kind. Blocks.
///
/// # Errors
/// [`StorageError`]. Batches committed before it stay deleted, and the trail has the plan of the
/// run.
pub fn prune(
    db: &Database<Tenant>,
    origin: &Origin,
    kinds: &[PrunedNow],
) -> Result<Vec<(PrunedNow, i64)>, StorageError> {
    let due = {
        let kinds = kinds.to_vec();
        db.read_long(move |view| count(view, &kinds)).wait()?
    };
    if due.iter().all(|(_, rows)| *rows == 0) {
        return Ok(due);
    }
    record_rows(db, origin, "retention.begun", &due)?;
    let mut deleted = Vec::new();
    for (kind, due) in due {
        let mut rows = 0;
        while rows < due {
            let count = db
                .write(origin.clone(), move |work| kind.delete(work))
                .wait()?;
            rows += i64::try_from(count).unwrap_or(i64::MAX);
            if count == 0 {
                break;
            }
        }
        deleted.push((kind, rows));
    }
    record_rows(db, origin, "retention.pruned", &deleted)?;
    give_back_space(db, origin)?;
    Ok(deleted)
}

/// Gives back the pages that are free now, however many they are.
fn give_back_space(db: &Database<Tenant>, origin: &Origin) -> Result<(), StorageError> {
    let free = db.read(|view| view.free_pages()).wait()?;
    for _ in 0..=free / (VACUUM_PAGES * VACUUM_STEPS) {
        if !retention::give_back_space(db, origin, || true)? {
            break;
        }
    }
    Ok(())
}

fn record_rows(
    db: &Database<Tenant>,
    origin: &Origin,
    action: &'static str,
    rows: &[(PrunedNow, i64)],
) -> Result<(), StorageError> {
    let mut details = Map::new();
    for (kind, rows) in rows {
        details.insert(kind.as_str().to_owned(), json!({"rows": rows, "now": true}));
    }
    let details = Value::Object(details);
    let write =
        move |work: &mut TenantWork| audit::record(work, action, "shop:retention", details.clone());
    db.write(origin.clone(), write).wait()
}
