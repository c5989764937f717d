//! Retention of a tenant's file: rows past their cut-off are deleted in small transactions, and
//! sales go on in between.
//!
//! - [`Table`] lists what is pruned. No book is in it; triggers also refuse to delete financial
//!   orders, payments, invoices and the ledger.
//! - Cut-offs are computed once, when a run begins at a trusted instant, and are part of its jobs:
//!   a clock that is set afterwards makes nothing older.

use serde::{Deserialize, Serialize};

use super::{cart, inventory};
use crate::platform::queue::{self, NewJob, Queue};
use crate::platform::retention::{PrunedTable, give_back_space, prune};
use crate::platform::{audit, idempotency, keyless_answers};
use crate::primitives::limits::{
    ANONYMOUS_CARTS_PER_BATCH, CART_KEPT_MS, IDEMPOTENCY_TTL_MS, KEYLESS_ANSWER_TTL_MS, LINES_MAX,
    PRUNE_BATCH, PRUNE_BATCHES_PER_JOB, RESERVATION_KEPT_MS,
};
use crate::primitives::{Origin, Timestamp};
use crate::storage::{Database, StorageError, Tenant, TenantView, TenantWork, text_enum};

/// The kind of the job that prunes a tenant's file.
pub const PRUNE: &str = "retention.prune";

/// Carts in one transaction, with all items they may have.
const CARTS_PER_BATCH: u32 = (5 * PRUNE_BATCH).div_ceil(LINES_MAX as u32);

text_enum! {
    /// The pruned tables. Deliberately absent: every book, and everything a book refers to.
    Table {
        /// Entries of the audit trail.
        AuditLog = "audit_log",
        /// Movements of stock.
        InventoryMovement = "inventory_movement",
        /// Answers stored for repeated requests.
        IdempotencyKey = "idempotency_key",
        /// Answers to callers without an API key.
        KeylessAnswer = "keyless_answer",
        /// Abandoned carts.
        Cart = "cart",
        /// Reservations that have ended.
        Reservation = "reservation",
    }
}

/// The instant of each table before which its rows are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutOffs {
    audit_log: Timestamp,
    inventory_movement: Timestamp,
    idempotency_key: Timestamp,
    cart: Timestamp,
    reservation: Timestamp,
    keyless_answer: Timestamp,
    empty_cart: Timestamp,
    anonymous_cart: Timestamp,
}

/// The payload of a [`PRUNE`] job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneJob {
    pub cut_offs: CutOffs,
    /// The number of earlier jobs of the same run.
    pub part: u32,
}

/// The instant `days` before another.
pub fn days_before(now: Timestamp, days: i64) -> Timestamp {
    now.plus_millis(days.saturating_mul(-24 * 60 * 60 * 1000))
}

impl CutOffs {
    /// The cut-offs at a trusted instant.
    pub fn at(now: Timestamp, audit_days: i64, inventory_movement_days: i64) -> Self {
        Self {
            audit_log: days_before(now, audit_days),
            inventory_movement: days_before(now, inventory_movement_days),
            idempotency_key: now.plus_millis(-IDEMPOTENCY_TTL_MS),
            cart: now.plus_millis(-CART_KEPT_MS),
            reservation: now.plus_millis(-RESERVATION_KEPT_MS),
            keyless_answer: now.plus_millis(-KEYLESS_ANSWER_TTL_MS),
            empty_cart: days_before(now, 1),
            anonymous_cart: days_before(now, 7),
        }
    }

    /// Replaces the cut-offs of carts made without an API key by the configured ages, as of `now`.
    #[must_use]
    pub fn with_anonymous_carts(self, now: Timestamp, empty_days: i64, days: i64) -> Self {
        Self {
            empty_cart: days_before(now, empty_days),
            anonymous_cart: days_before(now, days),
            ..self
        }
    }

    const fn of_carts(&self) -> cart::CartCutOffs {
        cart::CartCutOffs {
            with_key: self.cart,
            anonymous: self.anonymous_cart,
            empty: self.empty_cart,
        }
    }
}

impl PrunedTable for Table {
    type File = Tenant;
    type CutOffs = CutOffs;

    fn cut_off(self, cut_offs: &CutOffs) -> Option<Timestamp> {
        Some(match self {
            Self::AuditLog => cut_offs.audit_log,
            Self::InventoryMovement => cut_offs.inventory_movement,
            Self::IdempotencyKey => cut_offs.idempotency_key,
            Self::KeylessAnswer => cut_offs.keyless_answer,
            Self::Cart => cut_offs.cart,
            Self::Reservation => cut_offs.reservation,
        })
    }

    fn find_due(self, view: &TenantView, of: &CutOffs) -> Result<(i64, i64), StorageError> {
        match self {
            Self::AuditLog => audit::find_prunable(view, of.audit_log, None),
            Self::InventoryMovement => inventory::find_prunable(view, of.inventory_movement),
            Self::IdempotencyKey => Ok((0, idempotency::count_expired(view, of.idempotency_key)?)),
            Self::KeylessAnswer => {
                Ok((0, keyless_answers::count_expired(view, of.keyless_answer)?))
            }
            Self::Cart => Ok((0, cart::count_due(view, &of.of_carts())?)),
            Self::Reservation => Ok((0, inventory::count_over(view, of.reservation)?)),
        }
    }

    fn delete_batch(
        self,
        work: &mut TenantWork,
        to: i64,
        of: &CutOffs,
    ) -> Result<usize, StorageError> {
        let limit = self.full_batch();
        match self {
            Self::AuditLog => audit::prune(work, to, limit),
            Self::InventoryMovement => inventory::prune_movements(work, to, limit),
            Self::IdempotencyKey => idempotency::forget_expired(work, of.idempotency_key, limit),
            Self::KeylessAnswer => keyless_answers::delete_expired(work, of.keyless_answer, limit),
            Self::Cart => cart::delete_due(work, &of.of_carts(), limit),
            Self::Reservation => inventory::delete_over(work, of.reservation, limit),
        }
    }

    fn full_batch(self) -> u32 {
        match self {
            Self::Cart => CARTS_PER_BATCH,
            _ => PRUNE_BATCH,
        }
    }
}

/// Whether [`delete_keyless`] has anything to delete.
pub fn has_keyless(view: &TenantView, cut_offs: &CutOffs) -> Result<bool, StorageError> {
    Ok(keyless_answers::has_expired(view, cut_offs.keyless_answer)?
        || cart::has_anonymous_due(view, &cut_offs.of_carts())?)
}

/// Deletes a batch of expired answers and carts of callers without an API key. Returns the number
/// of deleted rows. The audit log gets no entry, because these rows are no record of a transaction.
pub fn delete_keyless(work: &mut TenantWork, cut_offs: &CutOffs) -> Result<usize, StorageError> {
    let answers = keyless_answers::delete_expired(work, cut_offs.keyless_answer, PRUNE_BATCH)?;
    let carts = cut_offs.of_carts();
    Ok(answers + cart::delete_anonymous_due(work, &carts, ANONYMOUS_CARTS_PER_BATCH)?)
}

/// Queues a run; `false` when one is queued already.
pub fn enqueue(work: &mut TenantWork, job: &PruneJob) -> Result<bool, StorageError> {
    let mut new = NewJob::new(Queue::Low, PRUNE, job);
    // A continuation has its own key, because the job that it follows has not ended yet.
    new.unique_key = Some(match job.part {
        0 => PRUNE.to_owned(),
        part => format!("{PRUNE}/{}", part % 2),
    });
    queue::enqueue(work, &new)
}

/// Handles a [`PRUNE`] job: a limited number of batches, the entry in the trail, some of the space,
/// and the job that continues. It ends early when `may_go_on` returns false: a job that exceeds the
/// time-out of its queue counts as failed, whatever it did. Blocks.
///
/// # Errors
/// [`StorageError`]; a further attempt continues from there.
pub fn run_job(
    db: &Database<Tenant>,
    job: &PruneJob,
    may_go_on: impl Fn() -> bool,
) -> Result<(), StorageError> {
    let origin = Origin::system();
    let ran = prune(
        db,
        &origin,
        Table::ALL,
        &job.cut_offs,
        Some(PRUNE_BATCHES_PER_JOB),
        &may_go_on,
    )?;
    ran.record(db, &origin)?;
    let has_space = give_back_space(db, &origin, &may_go_on)?;
    if ran.is_done && !has_space {
        return Ok(());
    }
    let next = PruneJob {
        part: job.part.saturating_add(1),
        ..job.clone()
    };
    db.write(origin, move |work| enqueue(work, &next))
        .wait()
        .map(drop)
}
