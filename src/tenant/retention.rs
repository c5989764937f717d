//! What a shop does not keep for ever, and how it goes: a few rows in each transaction, between
//! which sales go on.
//!
//! The list is in [`Table`], and no book is in it; besides, triggers refuse to let financial
//! orders, payments, invoices and the ledger go. The cut-offs are worked out once, when a run
//! begins at an instant that is trusted, and go with its jobs: a clock that is set afterwards makes
//! nothing older. A run that was broken off anywhere has deleted what it has; the next one goes on.
//! Two at once take turns. Nothing goes without a word in the shop's own trail: the transaction of
//! the first rows that go says what the run goes on to, and its end says what went. So a process
//! that is killed anywhere between leaves an entry which covers what is gone. Files give their
//! pages back a few at a time (they are made with `auto_vacuum = INCREMENTAL`), and keep some that
//! they would soon take again.

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

/// The kind of the job that prunes a shop's file.
pub const PRUNE: &str = "retention.prune";

/// Carts in one transaction, with all that may be in them.
const CARTS_PER_BATCH: u32 = (5 * PRUNE_BATCH).div_ceil(LINES_MAX as u32);

text_enum! {
    /// What is pruned. Deliberately absent: every book, and everything that a book refers to.
    Table {
        /// Entries of the audit trail.
        AuditLog = "audit_log",
        /// Movements of stock.
        InventoryMovement = "inventory_movement",
        /// Answers that are kept for repetitions.
        IdempotencyKey = "idempotency_key",
        /// Answers to callers without an API key.
        KeylessAnswer = "keyless_answer",
        /// Carts that nobody comes back to.
        Cart = "cart",
        /// Reservations that are over.
        Reservation = "reservation",
    }
}

/// From when on each table keeps its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutOffs {
    audit_log: Timestamp,
    inventory_movement: Timestamp,
    idempotency_key: Timestamp,
    cart: Timestamp,
    reservation: Timestamp,
    /// Jobs of earlier versions lack these; they delete nothing of it.
    #[serde(default = "beginning")]
    keyless_answer: Timestamp,
    #[serde(default = "beginning")]
    empty_cart: Timestamp,
    #[serde(default = "beginning")]
    anonymous_cart: Timestamp,
}

fn beginning() -> Timestamp {
    Timestamp::from_millis_clamped(i64::MIN)
}

/// What went of a table, or would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Of which table.
    pub table: Table,
    /// How many rows.
    pub rows: i64,
    /// What is older than this.
    pub cut_off: Timestamp,
}

/// The payload of a [`PRUNE`] job. Without cut-offs there is no run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneJob {
    /// From when on rows are kept.
    pub cut_offs: CutOffs,
    /// How many jobs of the same run went before.
    pub part: u32,
}

/// An instant so many days before another.
pub fn days_before(now: Timestamp, days: i64) -> Timestamp {
    now.plus_millis(days.saturating_mul(-24 * 60 * 60 * 1000))
}

impl CutOffs {
    /// At an instant that is trusted.
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

    /// With the configured lives of carts that were made without an API key; until `now`.
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
            left: self.cart,
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

/// The place up to which the rows of a table go, where they go by their places, and how many they
/// are.
fn look(view: &TenantView, table: Table, cut_offs: &CutOffs) -> Result<(i64, i64), StorageError> {
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

/// What a run would delete. Long, for the reader lane with a deadline.
pub fn count(
    view: &TenantView,
    tables: &[Table],
    cut_offs: &CutOffs,
) -> Result<Vec<Pruned>, StorageError> {
    let one = |table: &Table| {
        let cut_off = cut_offs.of(*table);
        let (_, rows) = look(view, *table, cut_offs)?;
        Ok(Pruned {
            table: *table,
            rows,
            cut_off,
        })
    };
    tables.iter().map(one).collect()
}

/// The size of a batch of a table, and its deletion. Gives how many rows went.
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

/// What a run, or a part of one, has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// What went of each table.
    pub pruned: Vec<Pruned>,
    /// Whether nothing more is to go.
    pub is_done: bool,
}

impl Default for Ran {
    /// Nothing was to do.
    fn default() -> Self {
        Self {
            pruned: Vec::new(),
            is_done: true,
        }
    }
}

impl Ran {
    /// How many rows went.
    pub fn rows(&self) -> i64 {
        self.pruned.iter().map(|pruned| pruned.rows).sum()
    }
}

/// Deletes what is older than the cut-offs: each batch is a transaction of its own, at most
/// `batches_max` of them, and for as long as `may_go_on` says. The first that deletes anything says
/// in the trail what is to go; what went in the end is for [`record`]. Blocks.
///
/// # Errors
/// [`StorageError`]; what went before it is gone, and the trail has what it was part of.
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
            .read_long(move |view| look(view, table, &cut_offs))
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
            let gone = db.write(origin.clone(), move |work| {
                let gone = batch(work, table, to, &cut_offs)?;
                if let Some(plan) = plan.as_ref().filter(|_| gone > 0) {
                    note(work, "retention.begun", plan)?;
                }
                Ok::<_, StorageError>(gone)
            });
            let gone = gone.wait()?;
            has_begun |= gone > 0;
            rows += i64::try_from(gone).unwrap_or(i64::MAX);
            left -= 1;
            is_over = rows >= due || gone < batch_size(table) as usize;
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

/// Gives pages that a run has left free back to the disk, a few at a time and so many times,
/// between which sales go on; after the run is recorded, because it may take long and is no loss;
/// for as long as `may_go_on` says. Says whether there is more to give back. Blocks.
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

/// Records what a run has deleted in the shop's own trail.
pub fn record(work: &mut TenantWork, ran: &Ran) -> Result<(), StorageError> {
    note(work, "retention.pruned", &ran.pruned)
}

fn note(work: &mut TenantWork, action: &str, pruned: &[Pruned]) -> Result<(), StorageError> {
    let mut details = Map::new();
    for pruned in pruned.iter().filter(|pruned| pruned.rows > 0) {
        details.insert(
            pruned.table.as_str().to_owned(),
            json!({"rows": pruned.rows, "cut_off": pruned.cut_off}),
        );
    }
    audit::record(work, action, "shop:retention", Value::Object(details))
}

/// Tells whether [`delete_keyless`] has anything to delete.
pub fn has_keyless(view: &TenantView, cut_offs: &CutOffs) -> Result<bool, StorageError> {
    Ok(keyless_answers::has_expired(view, cut_offs.keyless_answer)?
        || cart::has_anonymous_due(view, &cut_offs.of_carts())?)
}

/// Deletes a batch of what callers without an API key left behind and whose time is over: their
/// answers and their carts. Returns the number of deleted rows; it is no record of anything that
/// happened, so the audit log says nothing of it.
pub fn delete_keyless(work: &mut TenantWork, cut_offs: &CutOffs) -> Result<usize, StorageError> {
    let answers = keyless_answers::delete_expired(work, cut_offs.keyless_answer, PRUNE_BATCH)?;
    let carts = cut_offs.of_carts();
    Ok(answers + cart::delete_anonymous_due(work, &carts, ANONYMOUS_CARTS_PER_BATCH)?)
}

/// Queues a run. `false` when one is queued already.
pub fn enqueue(work: &mut TenantWork, job: &PruneJob) -> Result<bool, StorageError> {
    let mut new = NewJob::new(Queue::Low, PRUNE, job);
    // What goes on with a run is not the run: the one that it follows is not finished yet.
    new.unique_key = Some(match job.part {
        0 => PRUNE.to_owned(),
        part => format!("{PRUNE}/{}", part % 2),
    });
    queue::enqueue(work, &new)
}

/// Handles a [`PRUNE`] job: so many batches, the entry in the trail, some of the space, and the job
/// that goes on where this one ends, which it does early when `may_go_on` says no: a job that
/// outlives its queue's time-out is a failed one, whatever it did. Blocks.
///
/// # Errors
/// [`StorageError`]; a further attempt goes on from there.
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
