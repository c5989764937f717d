//! When each shop's file was last checked, which stamp it had then, and what was found: so that a
//! file at rest need not be read each night, and the operator sees what the night has found; and
//! which files could not be checked, about which an earlier finding says nothing.

use serde_json::Value;

use crate::primitives::id::TenantId;
use crate::primitives::{Slug, Timestamp};
use crate::storage::{LandlordView, LandlordWork, Row, Rows, StorageError, params, statements};

statements! {
    FIND = "SELECT stamp, mismatches, findings, checked_at FROM tenant_check WHERE tenant_id = ?1";
    // A tenant may be removed while its file is checked.
    SET = "INSERT INTO tenant_check (tenant_id, stamp, mismatches, findings, checked_at) SELECT \
        id, ?2, ?3, ?4, ?5 FROM tenant WHERE id = ?1
           ON CONFLICT (tenant_id) DO UPDATE SET stamp = excluded.stamp, mismatches = \
           excluded.mismatches,
             findings = excluded.findings, checked_at = excluded.checked_at";
    WRONG = "SELECT c.stamp, c.mismatches, c.findings, c.checked_at, t.slug FROM tenant_check c \
        JOIN tenant t ON t.id = c.tenant_id
             WHERE c.mismatches > 0 ORDER BY t.seq LIMIT 200";
    SET_UNCHECKED = "INSERT INTO tenant_unchecked (tenant_id, reason, tried_at) SELECT id, ?2, ?3 \
        FROM tenant WHERE id = ?1
                     ON CONFLICT (tenant_id) DO UPDATE SET reason = excluded.reason, tried_at = \
                     excluded.tried_at";
    IS_UNCHECKED = "SELECT 1 FROM tenant_unchecked WHERE tenant_id = ?1";
    WAS_CHECKED = "DELETE FROM tenant_unchecked WHERE tenant_id = ?1";
    UNCHECKED = "SELECT u.reason, u.tried_at, c.checked_at, t.slug FROM tenant_unchecked u JOIN \
        tenant t ON t.id = u.tenant_id
                 LEFT JOIN tenant_check c ON c.tenant_id = u.tenant_id ORDER BY t.seq LIMIT 200";
    LANDLORD = "SELECT '', mismatches, findings, checked_at, reason, tried_at FROM landlord_check \
        WHERE singleton = 1";
    SET_LANDLORD = "INSERT INTO landlord_check (singleton, mismatches, findings, checked_at) \
        VALUES (1, ?1, ?2, ?3)
                 ON CONFLICT (singleton) DO UPDATE SET mismatches = excluded.mismatches, findings \
                 = excluded.findings, checked_at = excluded.checked_at,
                   reason = NULL, tried_at = NULL";
    SET_LANDLORD_UNCHECKED = "INSERT INTO landlord_check (singleton, mismatches, findings, reason, \
        tried_at) VALUES (1, 0, '[]', ?1, ?2)
                           ON CONFLICT (singleton) DO UPDATE SET reason = excluded.reason, \
                           tried_at = excluded.tried_at";
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

/// Why a file could not be checked when that was last tried.
#[derive(Clone, Debug)]
pub struct Unchecked {
    /// The words of the failure.
    pub reason: String,
    /// When it was tried.
    pub tried_at: Timestamp,
    /// When it was last checked, if ever.
    pub checked_at: Option<Timestamp>,
}

/// What is known of the house's own file.
#[derive(Clone, Debug, Default)]
pub struct LandlordChecked {
    /// What the last check has found, if there was one.
    pub checked: Option<Checked>,
    /// Why there was none since.
    pub unchecked: Option<Unchecked>,
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
    let row = params![
        id,
        checked.stamp,
        checked.mismatches,
        checked.findings.to_string(),
        checked.at
    ];
    work.change(&SET, row, Rows::AtMostOne)?;
    work.change(&WAS_CHECKED, params![id], Rows::AtMostOne)
        .map(drop)
}

/// Writes down that a shop's file could not be checked; what an earlier check has found stays
/// beside it.
///
/// # Errors
/// [`StorageError`].
pub fn note_unchecked(
    work: &mut LandlordWork,
    id: TenantId,
    reason: &str,
) -> Result<(), StorageError> {
    let now = work.now();
    work.change(&SET_UNCHECKED, params![id, reason, now], Rows::AtMostOne)
        .map(drop)
}

/// Whether a shop's file could not be checked when that was last tried.
///
/// # Errors
/// [`StorageError`].
pub fn is_unchecked(view: &LandlordView, id: TenantId) -> Result<bool, StorageError> {
    Ok(view.find(&IS_UNCHECKED, params![id], |_| Ok(()))?.is_some())
}

/// The shops whose files could not be checked; the first 200 say enough.
///
/// # Errors
/// [`StorageError`].
pub fn list_unchecked(view: &LandlordView) -> Result<Vec<(Slug, Unchecked)>, StorageError> {
    view.all(&UNCHECKED, [], |row| {
        let unchecked = Unchecked {
            reason: row.get(0)?,
            tried_at: row.get(1)?,
            checked_at: row.get(2)?,
        };
        Ok((row.get(3)?, unchecked))
    })
}

/// Writes a check of the house's own file down.
///
/// # Errors
/// [`StorageError`].
pub fn set_landlord_checked(
    work: &mut LandlordWork,
    mismatches: i64,
    findings: &Value,
) -> Result<(), StorageError> {
    let now = work.now();
    let row = params![mismatches, findings.to_string(), now];
    work.change(&SET_LANDLORD, row, Rows::Exactly(1)).map(drop)
}

/// Writes down that it could not be checked.
///
/// # Errors
/// [`StorageError`].
pub fn set_landlord_unchecked(work: &mut LandlordWork, reason: &str) -> Result<(), StorageError> {
    let now = work.now();
    work.change(
        &SET_LANDLORD_UNCHECKED,
        params![reason, now],
        Rows::Exactly(1),
    )
    .map(drop)
}

/// What is known of the house's own file.
///
/// # Errors
/// [`StorageError`].
pub fn find_landlord(view: &LandlordView) -> Result<LandlordChecked, StorageError> {
    let found = view.find(&LANDLORD, [], |row| {
        let checked_at: Option<Timestamp> = row.get(3)?;
        let (reason, tried_at): (Option<String>, Option<Timestamp>) = (row.get(4)?, row.get(5)?);
        Ok(LandlordChecked {
            checked: checked_at.map(|_| checked(row)).transpose()?,
            unchecked: reason.zip(tried_at).map(|(reason, tried_at)| Unchecked {
                reason,
                tried_at,
                checked_at,
            }),
        })
    })?;
    Ok(found.unwrap_or_default())
}

/// The shops whose last check found something; the first 200 say enough.
///
/// # Errors
/// [`StorageError`].
pub fn list_wrong(view: &LandlordView) -> Result<Vec<(Slug, Checked)>, StorageError> {
    view.all(&WRONG, [], |row| Ok((row.get(4)?, checked(row)?)))
}
