//! Parts that all imports share: rows are imported or refused one by one, in one transaction.

use serde::Serialize;

use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::primitives::limits::IMPORT_BATCH;
use crate::primitives::{Class, Refusal};
use crate::storage::TenantWork;

/// The result of a batch.
#[derive(Debug, Default, Serialize)]
pub struct Tally {
    pub created: usize,
    pub updated: usize,
    pub unchanged: usize,
    pub refused: Vec<RefusedRow>,
}

/// A refused row.
#[derive(Clone, Debug, Serialize)]
pub struct RefusedRow {
    /// The line in the file.
    pub line: u64,
    pub reason: String,
}

/// The effect of an imported row.
pub enum RowOutcome {
    Created,
    Updated,
    Unchanged,
}

/// A parsed row of a batch, or its faults.
pub struct BatchRow<C> {
    pub line: u64,
    pub command: Result<C, String>,
}

/// The reason why a row was refused.
pub enum RowRefused {
    /// A fault of the row. The other rows can still be imported.
    Row(String),
    /// A fault of the storage. Nothing can be imported.
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

/// Refuses a batch that is too large for one transaction.
pub fn check_size(faults: &mut RequestFaults, pointer: &str, rows: usize) {
    if rows > IMPORT_BATCH {
        let detail = format!("at most {IMPORT_BATCH} rows in one batch; send the rest in the next");
        faults.add(pointer, "too_many", detail);
    }
}

/// Imports each row in its own savepoint.
///
/// # Errors
/// A fault of the storage; then nothing was imported. Refused rows are in the result.
pub fn import_rows<C>(
    work: &mut TenantWork,
    rows: &[BatchRow<C>],
    import: impl Fn(&mut TenantWork, &C) -> Result<RowOutcome, RowRefused>,
) -> Result<Tally, Problem> {
    let mut tally = Tally::default();
    for row in rows {
        let outcome = match &row.command {
            Ok(command) => work.nested(|work| import(work, command)),
            Err(reason) => Err(RowRefused::Row(reason.clone())),
        };
        match outcome {
            Ok(RowOutcome::Created) => tally.created += 1,
            Ok(RowOutcome::Updated) => tally.updated += 1,
            Ok(RowOutcome::Unchanged) => tally.unchanged += 1,
            Err(RowRefused::Row(reason)) => tally.refused.push(RefusedRow {
                line: row.line,
                reason,
            }),
            Err(RowRefused::Whole(problem)) => return Err(problem),
        }
    }
    Ok(tally)
}
