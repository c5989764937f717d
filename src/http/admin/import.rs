//! What all imports share: rows that are taken or refused one by one, in one transaction.

use serde::Serialize;

use crate::http::faults::Faults;
use crate::http::problem::Problem;
use crate::primitives::limits::IMPORT_BATCH;
use crate::primitives::{Class, Refusal};
use crate::storage::TenantWork;

/// What became of a batch.
#[derive(Debug, Default, Serialize)]
pub struct Tally {
    pub created: usize,
    pub updated: usize,
    pub unchanged: usize,
    pub refused: Vec<RefusedRow>,
}

/// A row that was not taken.
#[derive(Clone, Debug, Serialize)]
pub struct RefusedRow {
    /// Its line in the file.
    pub line: u64,
    pub reason: String,
}

/// A row that was taken.
pub enum Taken {
    Created,
    Updated,
    Unchanged,
}

/// A row of a batch, read; or what is wrong with it.
pub struct BatchRow<C> {
    pub line: u64,
    pub command: Result<C, String>,
}

/// Why a row of a batch was not taken.
pub enum RowRefused {
    /// Its own fault; the others may be taken.
    Row(String),
    /// The storage's: nothing can be taken.
    Whole(Problem),
}

impl<R: Refusal> From<R> for RowRefused {
    fn from(refused: R) -> Self {
        match refused.class() {
            Class::Internal | Class::Unavailable | Class::StorageFull => {
                Self::Whole(refused.into())
            }
            _ => Self::Row(refused.to_string()),
        }
    }
}

/// Notes a batch that is larger than one transaction should be.
pub fn check_size(faults: &mut Faults, pointer: &str, rows: usize) {
    if rows > IMPORT_BATCH {
        let detail = format!("at most {IMPORT_BATCH} rows in one batch; send the rest in the next");
        faults.note(pointer, "too_many", detail);
    }
}

/// Takes each row in a savepoint of its own.
///
/// # Errors
/// The storage's alone: then nothing was taken.
pub fn take_rows<C>(
    work: &mut TenantWork,
    rows: &[BatchRow<C>],
    take: impl Fn(&mut TenantWork, &C) -> Result<Taken, RowRefused>,
) -> Result<Tally, Problem> {
    let mut tally = Tally::default();
    for row in rows {
        let taken = match &row.command {
            Ok(command) => work.nested(|work| take(work, command)),
            Err(reason) => Err(RowRefused::Row(reason.clone())),
        };
        match taken {
            Ok(Taken::Created) => tally.created += 1,
            Ok(Taken::Updated) => tally.updated += 1,
            Ok(Taken::Unchanged) => tally.unchanged += 1,
            Err(RowRefused::Row(reason)) => tally.refused.push(RefusedRow {
                line: row.line,
                reason,
            }),
            Err(RowRefused::Whole(problem)) => return Err(problem),
        }
    }
    Ok(tally)
}
