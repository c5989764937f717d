//! Deletes rows past their cut-off, in a file of either kind: small transactions, so that sales go
//! on in between.
//!
//! - A run that is interrupted keeps what it deleted; the next one continues. Two runs at once
//!   alternate.
//! - The transaction that deletes the first rows records the plan of the run in the audit trail,
//!   and the end of the run records what was deleted. So a process killed in between leaves an
//!   entry that covers all deleted rows.
//! - A run deletes as many rows as there were when it began, so it ends even while new ones become
//!   due.
//! - Files give pages back a few at a time (they are created with `auto_vacuum = INCREMENTAL`), and
//!   keep some that they would soon need again.

use std::fmt::Display;

use serde_json::{Map, Value, json};

use super::audit::{self, Audited};
use crate::primitives::limits::{FREE_PAGES_KEPT, PRUNE_BATCH, VACUUM_PAGES, VACUUM_STEPS};
use crate::primitives::{Origin, Timestamp};
use crate::storage::{Database, StorageError, View, Work};

/// A table that is pruned.
pub trait PrunedTable: Copy + Display + Send + Sync + 'static {
    type File: Audited;
    type CutOffs: Copy + Send + Sync + 'static;

    /// The instant before which rows are deleted; `None` when they are deleted whatever their age.
    fn cut_off(self, cut_offs: &Self::CutOffs) -> Option<Timestamp>;

    /// The sequence number up to which rows are due (0 where rows are chosen otherwise), and the
    /// number of due rows.
    fn find_due(
        self,
        view: &View<'_, Self::File>,
        cut_offs: &Self::CutOffs,
    ) -> Result<(i64, i64), StorageError>;

    /// Deletes one batch. Returns the number of deleted rows.
    fn delete_batch(
        self,
        work: &mut Work<'_, Self::File>,
        to: i64,
        cut_offs: &Self::CutOffs,
    ) -> Result<usize, StorageError>;

    /// A batch with fewer rows is the last one.
    fn full_batch(self) -> u32 {
        PRUNE_BATCH
    }
}

/// Rows of a table that were deleted, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned<T> {
    pub table: T,
    pub rows: i64,
    /// Older rows are deleted.
    pub cut_off: Option<Timestamp>,
}

/// The result of a run, or of a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran<T> {
    /// The deleted rows of each table.
    pub pruned: Vec<Pruned<T>>,
    /// Whether no due rows are left.
    pub is_done: bool,
}

impl<T: PrunedTable> Ran<T> {
    /// The number of deleted rows.
    pub fn rows(&self) -> i64 {
        self.pruned.iter().map(|pruned| pruned.rows).sum()
    }

    /// Records the deleted rows in the audit trail, if there are any. Blocks.
    pub fn record(&self, db: &Database<T::File>, origin: &Origin) -> Result<(), StorageError> {
        if self.rows() == 0 {
            return Ok(());
        }
        let pruned = self.pruned.clone();
        db.write(origin.clone(), move |work| {
            record(work, "retention.pruned", &pruned)
        })
        .wait()
    }
}

/// Counts the rows that a run would delete. A long read: use the reader with a deadline.
pub fn count<T: PrunedTable>(
    view: &View<'_, T::File>,
    tables: &[T],
    cut_offs: &T::CutOffs,
) -> Result<Vec<Pruned<T>>, StorageError> {
    let one = |table: &T| Ok(due(view, *table, cut_offs)?.1);
    tables.iter().map(one).collect()
}

fn due<T: PrunedTable>(
    view: &View<'_, T::File>,
    table: T,
    cut_offs: &T::CutOffs,
) -> Result<(i64, Pruned<T>), StorageError> {
    let (to, rows) = table.find_due(view, cut_offs)?;
    let cut_off = table.cut_off(cut_offs);
    Ok((
        to,
        Pruned {
            table,
            rows,
            cut_off,
        },
    ))
}

/// Deletes rows older than the cut-offs. Each batch is a transaction of its own, at most
/// `batches_max` of them, while `may_go_on` returns true. The first transaction that deletes
/// anything records the plan in the trail; the result is recorded by [`Ran::record`]. Blocks.
///
/// # Errors
/// [`StorageError`]. Batches committed before it stay deleted, and the trail has the plan of the
/// run.
pub fn prune<T: PrunedTable>(
    db: &Database<T::File>,
    origin: &Origin,
    tables: &[T],
    cut_offs: &T::CutOffs,
    batches_max: Option<u32>,
    may_go_on: impl Fn() -> bool,
) -> Result<Ran<T>, StorageError> {
    let cut_offs = *cut_offs;
    let mut plan = Vec::new();
    for table in tables.iter().copied() {
        plan.push(
            db.read_long(move |view| due(view, table, &cut_offs))
                .wait()?,
        );
    }
    let planned: Vec<Pruned<T>> = plan.iter().map(|(_, pruned)| *pruned).collect();
    let (mut left, mut has_begun) = (batches_max.unwrap_or(u32::MAX), false);
    let mut ran = Ran {
        pruned: Vec::new(),
        is_done: true,
    };
    for (to, due) in plan {
        let table = due.table;
        let (mut rows, mut is_over) = (0, due.rows == 0);
        while !is_over && left > 0 && may_go_on() {
            let planned = (!has_begun).then(|| planned.clone());
            let deleted = db.write(origin.clone(), move |work| {
                let deleted = table.delete_batch(work, to, &cut_offs)?;
                if let Some(planned) = planned.as_ref().filter(|_| deleted > 0) {
                    record(work, "retention.begun", planned)?;
                }
                Ok::<_, StorageError>(deleted)
            });
            let deleted = deleted.wait()?;
            has_begun |= deleted > 0;
            rows += i64::try_from(deleted).unwrap_or(i64::MAX);
            left -= 1;
            is_over = rows >= due.rows || deleted < table.full_batch() as usize;
        }
        ran.is_done &= is_over;
        ran.pruned.push(Pruned { rows, ..due });
    }
    Ok(ran)
}

/// Gives pages that a run has freed back to the disk: a few at a time, a limited number of times,
/// while `may_go_on` returns true; sales go on in between. Called after the run is recorded,
/// because it may take long and can be interrupted without loss. Returns whether there is more to
/// give back. Blocks.
pub fn give_back_space<K: Audited>(
    db: &Database<K>,
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

fn record<T: PrunedTable>(
    work: &mut Work<'_, T::File>,
    action: &str,
    pruned: &[Pruned<T>],
) -> Result<(), StorageError> {
    let details: Map<String, Value> = pruned
        .iter()
        .filter(|pruned| pruned.rows > 0)
        .map(
            |Pruned {
                 table,
                 rows,
                 cut_off,
             }| {
                let facts = match cut_off {
                    Some(cut_off) => json!({"rows": rows, "cut_off": cut_off}),
                    None => json!({"rows": rows, "now": true}),
                };
                (table.to_string(), facts)
            },
        )
        .collect();
    audit::record(work, action, T::File::RETENTION, Value::Object(details))
}
