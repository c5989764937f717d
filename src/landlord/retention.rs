//! Retention for the landlord's file: its audit trail, and processed Stripe events. As in a
//! tenant's file, rows are deleted in small batches, and every deletion is recorded in the audit
//! trail: the transaction of the first deleted rows records what the run will delete.

use serde_json::{Map, Value, json};

use crate::platform::audit::{self, AuditEntry};
use crate::primitives::limits::{FREE_PAGES_KEPT, PRUNE_BATCH, VACUUM_PAGES, VACUUM_STEPS};
use crate::primitives::{Origin, Timestamp};
use crate::storage::{
    Database, Landlord, LandlordView, LandlordWork, Rows, StorageError, params, statements,
    text_enum,
};

statements! {
    COUNT_EVENTS = "SELECT count(*) FROM stripe_event WHERE processed_at IS NOT NULL
        AND received_at < ?1";
    FORGET_EVENTS = "DELETE FROM stripe_event WHERE rowid IN (SELECT rowid FROM stripe_event
        WHERE processed_at IS NOT NULL AND received_at < ?1 ORDER BY received_at LIMIT ?2)";
}

text_enum! {
    /// The tables that are pruned.
    Table {
        /// Entries of the landlord's audit trail.
        AuditLog = "audit_log",
        /// Processed events from Stripe.
        StripeEvent = "stripe_event",
    }
}

/// The oldest time that each table keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutOffs {
    pub audit_log: Timestamp,
    pub stripe_event: Timestamp,
}

/// Rows of a table that were deleted, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Pruned {
    pub table: Table,
    pub rows: i64,
    /// Older rows are deleted.
    pub cut_off: Timestamp,
}

impl CutOffs {
    const fn of(&self, table: Table) -> Timestamp {
        match table {
            Table::AuditLog => self.audit_log,
            Table::StripeEvent => self.stripe_event,
        }
    }
}

fn find_expired(
    view: &LandlordView,
    table: Table,
    cut_off: Timestamp,
    newest: Option<i64>,
) -> Result<(i64, i64), StorageError> {
    match table {
        Table::AuditLog => audit::find_prunable(view, cut_off, newest),
        Table::StripeEvent => Ok((
            0,
            view.one(&COUNT_EVENTS, params![cut_off], |row| row.get(0))?,
        )),
    }
}

fn delete_batch(
    work: &mut LandlordWork,
    table: Table,
    to: i64,
    cut_off: Timestamp,
) -> Result<usize, StorageError> {
    match table {
        Table::AuditLog => audit::prune(work, to, PRUNE_BATCH),
        Table::StripeEvent => work.change(&FORGET_EVENTS, params![cut_off, PRUNE_BATCH], Rows::Any),
    }
}

/// Counts the rows that a run would delete.
pub fn count(
    view: &LandlordView,
    tables: &[Table],
    cut_offs: &CutOffs,
) -> Result<Vec<Pruned>, StorageError> {
    let one = |table: &Table| {
        let cut_off = cut_offs.of(*table);
        let (_, rows) = find_expired(view, *table, cut_off, None)?;
        Ok(Pruned {
            table: *table,
            rows,
            cut_off,
        })
    };
    tables.iter().map(one).collect()
}

/// Deletes rows older than the cut-offs, each batch in its own transaction, and then returns free
/// pages to the file system. The first transaction that deletes a row records the plan in the audit
/// trail, and the end of the run records the result. `newest` is the newest audit entry at the time
/// of the request, so that entries which the run itself adds make no further entries expire.
/// Blocks.
///
/// # Errors
/// A [`StorageError`] ends the run; batches that were committed before stay deleted, and the audit
/// trail has the plan that they were part of.
pub fn prune(
    db: &Database<Landlord>,
    origin: &Origin,
    tables: &[Table],
    cut_offs: &CutOffs,
    newest: Option<i64>,
) -> Result<Vec<Pruned>, StorageError> {
    let mut due = Vec::new();
    for table in tables {
        let (table, cut_off) = (*table, cut_offs.of(*table));
        let (to, rows) = db
            .read_long(move |view| find_expired(view, table, cut_off, newest))
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
    let (mut all, mut has_begun) = (Vec::new(), false);
    for (
        to,
        Pruned {
            table,
            rows: due,
            cut_off,
        },
    ) in due
    {
        let mut rows = 0;
        while rows < due {
            let plan = (!has_begun).then(|| plan.clone());
            let deleted = db.write(origin.clone(), move |work| {
                let deleted = delete_batch(work, table, to, cut_off)?;
                if let Some(plan) = plan.as_ref().filter(|_| deleted > 0) {
                    record(work, "retention.begun", plan)?;
                }
                Ok::<_, StorageError>(deleted)
            });
            let deleted = deleted.wait()?;
            has_begun |= deleted > 0;
            rows += i64::try_from(deleted).unwrap_or(i64::MAX);
            if deleted < PRUNE_BATCH as usize {
                break;
            }
        }
        all.push(Pruned {
            table,
            rows,
            cut_off,
        });
    }
    if has_begun {
        let pruned = all.clone();
        db.write(origin.clone(), move |work| {
            record(work, "retention.pruned", &pruned)
        })
        .wait()?;
    }
    give_back_space(db, origin)?;
    Ok(all)
}

/// Returns a limited number of free pages; the next run continues.
fn give_back_space(db: &Database<Landlord>, origin: &Origin) -> Result<(), StorageError> {
    for _ in 0..VACUUM_STEPS {
        if db.read(|view| view.free_pages()).wait()? <= FREE_PAGES_KEPT {
            break;
        }
        let returned = db.write(origin.clone(), |work| {
            work.give_back_space(VACUUM_PAGES, FREE_PAGES_KEPT)
        });
        if returned.wait()? == 0 {
            break;
        }
    }
    Ok(())
}

fn record(work: &mut LandlordWork, action: &str, pruned: &[Pruned]) -> Result<(), StorageError> {
    let pruned = pruned.iter().filter(|pruned| pruned.rows > 0);
    let details: Map<String, Value> = pruned
        .map(|pruned| {
            let fact = json!({"rows": pruned.rows, "cut_off": pruned.cut_off});
            (pruned.table.as_str().to_owned(), fact)
        })
        .collect();
    let origin = work.origin();
    let entry = AuditEntry {
        at: work.now(),
        actor: origin.actor.to_string(),
        action: action.to_owned(),
        subject: "landlord:retention".to_owned(),
        request_id: origin.request_id.clone(),
        details: Value::Object(details),
    };
    audit::append(work, &entry)
}
