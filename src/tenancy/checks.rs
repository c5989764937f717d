//! When each shop's file was last checked, which stamp it had then, and what was found: so that a file at rest need not be read each night, and the operator
//! sees what the night has found.

use serde_json::Value;

use crate::primitives::id::TenantId;
use crate::primitives::{Slug, Timestamp};
use crate::storage::{LandlordView, LandlordWork, Row, Rows, StorageError, params, statements};

statements! {
    FIND = "SELECT stamp, mismatches, findings, checked_at FROM tenant_check WHERE tenant_id = ?1";
    // A tenant may be removed while its file is checked.
    SET = "INSERT INTO tenant_check (tenant_id, stamp, mismatches, findings, checked_at) SELECT id, ?2, ?3, ?4, ?5 FROM tenant WHERE id = ?1
           ON CONFLICT (tenant_id) DO UPDATE SET stamp = excluded.stamp, mismatches = excluded.mismatches,
             findings = excluded.findings, checked_at = excluded.checked_at";
    WRONG = "SELECT c.stamp, c.mismatches, c.findings, c.checked_at, t.slug FROM tenant_check c JOIN tenant t ON t.id = c.tenant_id
             WHERE c.mismatches > 0 ORDER BY t.seq LIMIT 200";
}

/// What a check has found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The stamp that the file had then.
    pub stamp: String,
    /// How much does not agree.
    pub mismatches: i64,
    /// The first of it, as JSON.
    pub findings: Value,
    /// When.
    pub at: Timestamp,
}

fn checked(row: &Row<'_>) -> rusqlite::Result<Checked> {
    let findings: String = row.get(2)?;
    Ok(Checked {
        stamp: row.get(0)?,
        mismatches: row.get(1)?,
        findings: serde_json::from_str(&findings).unwrap_or(Value::Null),
        at: row.get(3)?,
    })
}

/// The last check of a shop's file.
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
    let row = params![id, checked.stamp, checked.mismatches, checked.findings.to_string(), checked.at];
    work.change(&SET, row, Rows::AtMostOne).map(drop)
}

/// The shops whose last check found something; the first 200 say enough.
///
/// # Errors
/// [`StorageError`].
pub fn list_wrong(view: &LandlordView) -> Result<Vec<(Slug, Checked)>, StorageError> {
    view.all(&WRONG, [], |row| Ok((row.get(4)?, checked(row)?)))
}
