//! Retention of a tenant's file: rows past their cut-off are deleted in small transactions, and
//! sales go on in between.
//!
//! - [`Table`] lists what is pruned. No book is in it; triggers also refuse to delete financial
//!   orders, payments, invoices and the ledger.
//! - Cut-offs are computed once, when a run begins at a trusted instant, and are part of its jobs:
//!   a clock that is set afterwards makes nothing older.
//! - A run that is interrupted keeps what it deleted; the next one continues. Two runs at once
//!   alternate.
//! - The transaction that deletes the first rows records the plan of the run in the shop's audit
//!   trail, and the end of the run records what was deleted. So a process killed in between leaves
//!   an entry that covers all deleted rows.
//! - Files give pages back a few at a time (they are created with `auto_vacuum = INCREMENTAL`), and
//!   keep some that they would soon need again.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{audit, cart, inventory};
use crate::platform::queue::{self, NewJob, Queue};
use crate::platform::{audit as chain, idempotency, keyless_answers};
use crate::primitives::limits::{
    ANONYMOUS_CARTS_PER_BATCH, CART_KEPT_MS, FREE_PAGES_KEPT, IDEMPOTENCY_TTL_MS,
    KEYLESS_ANSWER_TTL_MS, LINES_MAX, PRUNE_BATCH, PRUNE_BATCHES_PER_JOB, RESERVATION_KEPT_MS,
    VACUUM_PAGES, VACUUM_STEPS,
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

/// Rows of a table that were deleted, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pruned {
    pub table: Table,
    pub rows: i64,
    /// Rows older than this.
    pub cut_off: Timestamp,
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

    const fn of(&self, table: Table) -> Timestamp {
        match table {
            Table::AuditLog => self.audit_log,
            Table::InventoryMovement => self.inventory_movement,
            Table::IdempotencyKey => self.idempotency_key,
            Table::KeylessAnswer => self.keyless_answer,
            Table::Cart => self.cart,
            Table::Reservation => self.reservation,
        }
    }
}

/// The sequence number up to which rows of a table are due (0 where rows are chosen otherwise), and
/// the number of due rows.
fn find_due(
    view: &TenantView,
    table: Table,
    cut_offs: &CutOffs,
) -> Result<(i64, i64), StorageError> {
    let cut_off = cut_offs.of(table);
    match table {
        Table::AuditLog => chain::find_prunable(view, cut_off, None),
        Table::InventoryMovement => inventory::find_prunable(view, cut_off),
        Table::IdempotencyKey => Ok((0, idempotency::count_expired(view, cut_off)?)),
        Table::KeylessAnswer => Ok((0, keyless_answers::count_expired(view, cut_off)?)),
        Table::Cart => Ok((0, cart::count_due(view, &cut_offs.of_carts())?)),
        Table::Reservation => Ok((0, inventory::count_over(view, cut_off)?)),
    }
}

/// Counts the rows that a run would delete. A long read: use the reader with a deadline.
pub fn count(
    view: &TenantView,
    tables: &[Table],
    cut_offs: &CutOffs,
) -> Result<Vec<Pruned>, StorageError> {
    let one = |table: &Table| {
        let cut_off = cut_offs.of(*table);
        let (_, rows) = find_due(view, *table, cut_offs)?;
        Ok(Pruned {
            table: *table,
            rows,
            cut_off,
        })
    };
    tables.iter().map(one).collect()
}

/// Deletes one batch of a table. Returns the number of deleted rows.
fn batch(
    work: &mut TenantWork,
    table: Table,
    to: i64,
    cut_offs: &CutOffs,
) -> Result<usize, StorageError> {
    let cut_off = cut_offs.of(table);
    match table {
        Table::AuditLog => chain::prune(work, to, PRUNE_BATCH),
        Table::InventoryMovement => inventory::prune_movements(work, to, PRUNE_BATCH),
        Table::IdempotencyKey => idempotency::forget_expired(work, cut_off, PRUNE_BATCH),
        Table::KeylessAnswer => keyless_answers::delete_expired(work, cut_off, PRUNE_BATCH),
        Table::Cart => cart::delete_due(work, &cut_offs.of_carts(), CARTS_PER_BATCH),
        Table::Reservation => inventory::delete_over(work, cut_off, PRUNE_BATCH),
    }
}

const fn batch_size(table: Table) -> u32 {
    match table {
        Table::Cart => CARTS_PER_BATCH,
        _ => PRUNE_BATCH,
    }
}

/// The result of a run, or of a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The deleted rows of each table.
    pub pruned: Vec<Pruned>,
    /// Whether no due rows are left.
    pub is_done: bool,
}

impl Default for Ran {
    /// The result when nothing was due.
    fn default() -> Self {
        Self {
            pruned: Vec::new(),
            is_done: true,
        }
    }
}

impl Ran {
    /// The number of deleted rows.
    pub fn rows(&self) -> i64 {
        self.pruned.iter().map(|pruned| pruned.rows).sum()
    }
}

/// Deletes rows older than the cut-offs. Each batch is a transaction of its own, at most
/// `batches_max` of them, while `may_go_on` returns true. The first transaction that deletes
/// anything records the plan in the trail; the result is recorded by [`record`]. Blocks.
///
/// # Errors
/// [`StorageError`]. Batches committed before it stay deleted, and the trail has the plan of the
/// run.
pub fn prune(
    db: &Database<Tenant>,
    origin: &Origin,
    tables: &[Table],
    cut_offs: &CutOffs,
    batches_max: Option<u32>,
    may_go_on: impl Fn() -> bool,
) -> Result<Ran, StorageError> {
    let mut due = Vec::new();
    for table in tables {
        let (table, cut_off, cut_offs) = (*table, cut_offs.of(*table), *cut_offs);
        let (to, rows) = db
            .read_long(move |view| find_due(view, table, &cut_offs))
            .wait()?;
        due.push((
            to,
            Pruned {
                table,
                rows,
                cut_off,
            },
        ));
    }
    let plan: Vec<Pruned> = due.iter().map(|(_, pruned)| *pruned).collect();
    let mut left = batches_max.unwrap_or(u32::MAX);
    let (mut ran, mut has_begun) = (Ran::default(), false);
    for (
        to,
        Pruned {
            table,
            rows: due,
            cut_off,
        },
    ) in due
    {
        let (mut rows, mut is_over) = (0, due == 0);
        while !is_over && left > 0 && may_go_on() {
            let (plan, cut_offs) = ((!has_begun).then(|| plan.clone()), *cut_offs);
            let deleted = db.write(origin.clone(), move |work| {
                let deleted = batch(work, table, to, &cut_offs)?;
                if let Some(plan) = plan.as_ref().filter(|_| deleted > 0) {
                    record_rows(work, "retention.begun", plan)?;
                }
                Ok::<_, StorageError>(deleted)
            });
            let deleted = deleted.wait()?;
            has_begun |= deleted > 0;
            rows += i64::try_from(deleted).unwrap_or(i64::MAX);
            left -= 1;
            is_over = rows >= due || deleted < batch_size(table) as usize;
        }
        ran.is_done &= is_over;
        ran.pruned.push(Pruned {
            table,
            rows,
            cut_off,
        });
    }
    Ok(ran)
}

/// Gives pages that a run has freed back to the disk: a few at a time, a limited number of times,
/// while `may_go_on` returns true; sales go on in between. Called after the run is recorded,
/// because it may take long and can be interrupted without loss. Returns whether there is more to
/// give back. Blocks.
pub fn give_back_space(
    db: &Database<Tenant>,
    origin: &Origin,
    may_go_on: impl Fn() -> bool,
) -> Result<bool, StorageError> {
    for _ in 0..VACUUM_STEPS {
        if !may_go_on() {
            break;
        }
        if db.read(|view| view.free_pages()).wait()? <= FREE_PAGES_KEPT {
            return Ok(false);
        }
        let given = db.write(origin.clone(), |work| {
            work.give_back_space(VACUUM_PAGES, FREE_PAGES_KEPT)
        });
        if given.wait()? == 0 {
            return Ok(false);
        }
    }
    Ok(db.read(|view| view.free_pages()).wait()? > FREE_PAGES_KEPT)
}

/// Records the deleted rows of a run in the shop's audit trail.
pub fn record(work: &mut TenantWork, ran: &Ran) -> Result<(), StorageError> {
    record_rows(work, "retention.pruned", &ran.pruned)
}

fn record_rows(work: &mut TenantWork, action: &str, pruned: &[Pruned]) -> Result<(), StorageError> {
    let mut details = Map::new();
    for pruned in pruned.iter().filter(|pruned| pruned.rows > 0) {
        details.insert(
            pruned.table.as_str().to_owned(),
            json!({"rows": pruned.rows, "cut_off": pruned.cut_off}),
        );
    }
    audit::record(work, action, "shop:retention", Value::Object(details))
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
    let is_done = ran.is_done;
    if ran.rows() > 0 {
        db.write(origin.clone(), move |work| record(work, &ran))
            .wait()?;
    }
    let has_space = give_back_space(db, &origin, &may_go_on)?;
    if is_done && !has_space {
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
