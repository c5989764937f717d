//! What the house does not keep for ever: its own audit trail, and events from Stripe that were
//! dealt with. As in a shop's file, a few rows at a time, and nothing without a word in the trail:
//! the transaction of the first rows that go says what the run goes on to.

use serde_json::{Map, Value, json};

use crate::platform::audit::{self, AuditEntry};
use crate::primitives::limits::{FREE_PAGES_KEPT, PRUNE_BATCH, VACUUM_PAGES, VACUUM_STEPS};
use crate::primitives::{Origin, Timestamp};
use crate::storage::{
    Database, Landlord, LandlordView, LandlordWork, Rows, StorageError, params, statements,
    text_enum,
};

statements! {
    COUNT_EVENTS = "SELECT count(*) FROM stripe_event WHERE processed_at IS NOT NULL AND \
        received_at < ?1";
    FORGET_EVENTS = "DELETE FROM stripe_event WHERE rowid IN (SELECT rowid FROM stripe_event WHERE \
        processed_at IS NOT NULL AND received_at < ?1 ORDER BY received_at LIMIT ?2)";
}

text_enum! {
    /// What is pruned.
    Table {
        /// Entries of the house's audit trail.
        AuditLog = "audit_log",
        /// Events from Stripe that were dealt with.
        StripeEvent = "stripe_event",
    }
}

/// From when on each table keeps its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutOffs {
    /// Of the audit trail.
    pub audit_log: Timestamp,
    /// Of Stripe's events.
    pub stripe_event: Timestamp,
}

/// What went of a table, or would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Pruned {
    /// Of which table.
    pub table: Table,
    /// How many rows.
    pub rows: i64,
    /// What is older than this.
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

fn look(
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

fn batch(
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

/// What a run would delete.
///
/// # Errors
/// [`StorageError`].
pub fn count(
    view: &LandlordView,
    tables: &[Table],
    cut_offs: &CutOffs,
) -> Result<Vec<Pruned>, StorageError> {
    let one = |table: &Table| {
        let cut_off = cut_offs.of(*table);
        let (_, rows) = look(view, *table, cut_off, None)?;
        Ok(Pruned {
            table: *table,
            rows,
            cut_off,
        })
    };
    tables.iter().map(one).collect()
}

/// Deletes what is older than the cut-offs, each batch in a transaction of its own, and then gives
/// free pages back. The first transaction that deletes anything says in the house's trail what is
/// to go, and the end of the run what went. `newest` is the entry of the trail that was the newest
/// when the run was asked for: what its beginning added makes no more of it old than a count would
/// have said. Blocks.
///
/// # Errors
/// [`StorageError`]; what went before it is gone, and the trail has what it was part of.
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
            .read_long(move |view| look(view, table, cut_off, newest))
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
            let gone = db.write(origin.clone(), move |work| {
                let gone = batch(work, table, to, cut_off)?;
                if let Some(plan) = plan.as_ref().filter(|_| gone > 0) {
                    note(work, "retention.begun", plan)?;
                }
                Ok::<_, StorageError>(gone)
            });
            let gone = gone.wait()?;
            has_begun |= gone > 0;
            rows += i64::try_from(gone).unwrap_or(i64::MAX);
            if gone < PRUNE_BATCH as usize {
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
            note(work, "retention.pruned", &pruned)
        })
        .wait()?;
    }
    give_back_space(db, origin)?;
    Ok(all)
}

/// Some of it: what is left goes with the next run.
fn give_back_space(db: &Database<Landlord>, origin: &Origin) -> Result<(), StorageError> {
    for _ in 0..VACUUM_STEPS {
        if db.read(|view| view.free_pages()).wait()? <= FREE_PAGES_KEPT {
            break;
        }
        let given = db.write(origin.clone(), |work| {
            work.give_back_space(VACUUM_PAGES, FREE_PAGES_KEPT)
        });
        if given.wait()? == 0 {
            break;
        }
    }
    Ok(())
}

fn note(work: &mut LandlordWork, action: &str, pruned: &[Pruned]) -> Result<(), StorageError> {
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
