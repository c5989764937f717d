//! Results of integrity checks: the time, the file's stamp and the findings of each tenant's last
//! check, so that an unchanged file need not be read every night and the operator sees the
//! findings. Also the files that could not be checked, for which earlier findings are not
//! conclusive.

use serde_json::Value;

use crate::primitives::id::TenantId;
use crate::primitives::{Slug, Timestamp};
use crate::storage::{LandlordView, LandlordWork, Row, Rows, StorageError, params, statements};

statements! {
    FIND = "SELECT stamp, mismatches, findings, checked_at FROM tenant_check WHERE tenant_id = ?1";
    // A tenant may be removed while its file is checked.
    SET = "INSERT INTO tenant_check (tenant_id, stamp, mismatches, findings, checked_at)
        SELECT id, ?2, ?3, ?4, ?5 FROM tenant WHERE id = ?1 ON CONFLICT (tenant_id)
        DO UPDATE SET stamp = excluded.stamp, mismatches = excluded.mismatches,
        findings = excluded.findings, checked_at = excluded.checked_at";
    WRONG = "SELECT c.stamp, c.mismatches, c.findings, c.checked_at, t.slug FROM tenant_check c
        JOIN tenant t ON t.id = c.tenant_id WHERE c.mismatches > 0 ORDER BY t.seq LIMIT 200";
    SET_UNCHECKED = "INSERT INTO tenant_unchecked (tenant_id, reason, tried_at) SELECT id, ?2, ?3
        FROM tenant WHERE id = ?1 ON CONFLICT (tenant_id)
        DO UPDATE SET reason = excluded.reason, tried_at = excluded.tried_at";
    IS_UNCHECKED = "SELECT 1 FROM tenant_unchecked WHERE tenant_id = ?1";
    WAS_CHECKED = "DELETE FROM tenant_unchecked WHERE tenant_id = ?1";
    UNCHECKED = "SELECT u.reason, u.tried_at, c.checked_at, t.slug FROM tenant_unchecked u
        JOIN tenant t ON t.id = u.tenant_id LEFT JOIN tenant_check c ON c.tenant_id = u.tenant_id
        ORDER BY t.seq LIMIT 200";
    LANDLORD = "SELECT '' AS stamp, mismatches, findings, checked_at, reason, tried_at
        FROM landlord_check WHERE singleton = 1";
    SET_LANDLORD = "INSERT INTO landlord_check (singleton, mismatches, findings, checked_at)
        VALUES (1, ?1, ?2, ?3) ON CONFLICT (singleton)
        DO UPDATE SET mismatches = excluded.mismatches, findings = excluded.findings,
        checked_at = excluded.checked_at, reason = NULL, tried_at = NULL";
    SET_LANDLORD_UNCHECKED = "INSERT INTO landlord_check (singleton, mismatches, findings,
        reason, tried_at) VALUES (1, 0, '[]', ?1, ?2) ON CONFLICT (singleton)
        DO UPDATE SET reason = excluded.reason, tried_at = excluded.tried_at";
}

/// The result of a check.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The file's stamp at the time of the check.
    pub stamp: String,
    /// The number of mismatches.
    pub mismatches: i64,
    /// The first mismatches, as JSON.
    pub findings: Value,
    pub at: Timestamp,
}

/// The reason why the last attempt to check a file failed.
#[derive(Clone, Debug)]
pub struct Unchecked {
    pub reason: String,
    pub tried_at: Timestamp,
    /// The last successful check, if any.
    pub checked_at: Option<Timestamp>,
}

/// The check state of the landlord's file.
#[derive(Clone, Debug, Default)]
pub struct LandlordChecked {
    /// The result of the last check, if any.
    pub checked: Option<Checked>,
    /// The reason why no check has succeeded since.
    pub unchecked: Option<Unchecked>,
}

fn checked(row: &Row<'_>) -> rusqlite::Result<Checked> {
    let findings: String = row.get("findings")?;
    Ok(Checked {
        stamp: row.get("stamp")?,
        mismatches: row.get("mismatches")?,
        findings: serde_json::from_str(&findings).unwrap_or(Value::Null),
        at: row.get("checked_at")?,
    })
}

/// Returns the last check of a tenant's file.
pub fn find(view: &LandlordView, id: TenantId) -> Result<Option<Checked>, StorageError> {
    view.find(&FIND, params![id], checked)
}

/// Stores a check.
pub fn store(work: &mut LandlordWork, id: TenantId, checked: &Checked) -> Result<(), StorageError> {
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

/// Stores that a tenant's file could not be checked. The findings of an earlier check are kept.
pub fn store_unchecked(
    work: &mut LandlordWork,
    id: TenantId,
    reason: &str,
) -> Result<(), StorageError> {
    let now = work.now();
    work.change(&SET_UNCHECKED, params![id, reason, now], Rows::AtMostOne)
        .map(drop)
}

/// Returns whether the last attempt to check a tenant's file failed.
pub fn is_unchecked(view: &LandlordView, id: TenantId) -> Result<bool, StorageError> {
    Ok(view.find(&IS_UNCHECKED, params![id], |_| Ok(()))?.is_some())
}

/// Lists the tenants whose files could not be checked, 200 at most.
pub fn list_unchecked(view: &LandlordView) -> Result<Vec<(Slug, Unchecked)>, StorageError> {
    view.all(&UNCHECKED, [], |row| {
        let unchecked = Unchecked {
            reason: row.get("reason")?,
            tried_at: row.get("tried_at")?,
            checked_at: row.get("checked_at")?,
        };
        Ok((row.get("slug")?, unchecked))
    })
}

/// Stores a check of the landlord's file.
pub fn set_landlord_checked(
    work: &mut LandlordWork,
    mismatches: i64,
    findings: &Value,
) -> Result<(), StorageError> {
    let now = work.now();
    let row = params![mismatches, findings.to_string(), now];
    work.change(&SET_LANDLORD, row, Rows::Exactly(1)).map(drop)
}

/// Stores that the landlord's file could not be checked.
pub fn set_landlord_unchecked(work: &mut LandlordWork, reason: &str) -> Result<(), StorageError> {
    let now = work.now();
    work.change(
        &SET_LANDLORD_UNCHECKED,
        params![reason, now],
        Rows::Exactly(1),
    )
    .map(drop)
}

/// Returns the check state of the landlord's file.
pub fn find_landlord(view: &LandlordView) -> Result<LandlordChecked, StorageError> {
    let found = view.find(&LANDLORD, [], |row| {
        let checked_at: Option<Timestamp> = row.get("checked_at")?;
        let reason: Option<String> = row.get("reason")?;
        let tried_at: Option<Timestamp> = row.get("tried_at")?;
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

/// Lists the tenants whose last check found mismatches, 200 at most.
pub fn list_wrong(view: &LandlordView) -> Result<Vec<(Slug, Checked)>, StorageError> {
    view.all(&WRONG, [], |row| Ok((row.get("slug")?, checked(row)?)))
}
