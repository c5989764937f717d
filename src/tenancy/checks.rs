//! When each shop's file was last checked, how far it was then, and what was found: so that a file at rest need not be read each night, and the operator
//! sees what the night has found.

use serde_json::Value;

use super::marks::{End, Ends};
use crate::primitives::id::TenantId;
use crate::primitives::{Digest, Slug, Timestamp};
use crate::storage::{LandlordView, LandlordWork, Row, Rows, StorageError, params, statements};

statements! {
    FIND = "SELECT ledger_seq, audit_seq, mismatches, findings, checked_at FROM tenant_check WHERE tenant_id = ?1";
    // A tenant may be removed while its file is checked.
    SET = "INSERT INTO tenant_check (tenant_id, ledger_seq, audit_seq, mismatches, findings, checked_at) SELECT id, ?2, ?3, ?4, ?5, ?6 FROM tenant WHERE id = ?1
           ON CONFLICT (tenant_id) DO UPDATE SET ledger_seq = excluded.ledger_seq, audit_seq = excluded.audit_seq, mismatches = excluded.mismatches,
             findings = excluded.findings, checked_at = excluded.checked_at";
    WRONG = "SELECT c.ledger_seq, c.audit_seq, c.mismatches, c.findings, c.checked_at, t.slug FROM tenant_check c JOIN tenant t ON t.id = c.tenant_id
             WHERE c.mismatches > 0 ORDER BY t.seq LIMIT 200";
}

/// What a check has found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Where the chains ended then.
    pub ends: Ends,
    /// How much does not agree.
    pub mismatches: i64,
    /// The first of it, as JSON.
    pub findings: Value,
    /// When.
    pub at: Timestamp,
}

fn checked(row: &Row<'_>) -> rusqlite::Result<Checked> {
    let end = |seq| End { seq, hash: Digest::none() };
    let findings: String = row.get(3)?;
    Ok(Checked {
        ends: Ends {
            ledger: end(row.get(0)?),
            audit: end(row.get(1)?),
        },
        mismatches: row.get(2)?,
        findings: serde_json::from_str(&findings).unwrap_or(Value::Null),
        at: row.get(4)?,
    })
}

/// The last check of a shop's file. Of the chains' ends it knows the places.
///
/// # Errors
/// [`StorageError`].
pub fn find(view: &LandlordView, id: TenantId) -> Result<Option<Checked>, StorageError> {
    view.find(&FIND, params![id], checked)
}

/// Writes a check down.
///
/// # Errors
/// [`StorageError`].
pub fn note(work: &mut LandlordWork, id: TenantId, checked: &Checked) -> Result<(), StorageError> {
    let (ends, findings) = (&checked.ends, checked.findings.to_string());
    let row = params![id, ends.ledger.seq, ends.audit.seq, checked.mismatches, findings, checked.at];
    work.change(&SET, row, Rows::AtMostOne).map(drop)
}

/// The shops whose last check found something; the first 200 say enough.
///
/// # Errors
/// [`StorageError`].
pub fn list_wrong(view: &LandlordView) -> Result<Vec<(Slug, Checked)>, StorageError> {
    view.all(&WRONG, [], |row| Ok((row.get(5)?, checked(row)?)))
}
