//! L5: integrity checks over all files: tenants' files and the landlord's.
//!
//! The nightly check skips a file that has not changed since its last check, by the sizes and
//! modification times of the file and its WAL; once a week it reads the file all the same. A file
//! that cannot be opened, or takes too long, is recorded as unchecked: earlier results say nothing
//! about its present state.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::tenant_files::{MaintenanceRefused, READ_WITHIN, list_tenants, visit};
use crate::app::{App, Ports, Stores};
use crate::landlord;
use crate::landlord::check_results::{self, Checked, LandlordChecked, Unchecked};
use crate::primitives::id::TenantId;
use crate::primitives::limits::{CHECK_REST_MS, FINDINGS_KEPT};
use crate::primitives::{Origin, Slug, Timestamp};
use crate::storage::data_dir::beside;
use crate::storage::{LandlordView, StorageError, StorageErrorKind};
use crate::tenancy::TenantAccess;
use crate::tenant::integrity::{self, Report};

/// The schedule of the nightly check, in the operator's time zone.
pub const CHECK_SCHEDULE: &str = "0 0 3 * * *";

/// Checks a tenant's file and stores the result. Mismatches, or the reason why it could not be
/// checked, are written to the security log. Blocks.
pub fn check_tenant(
    stores: &Stores,
    ports: &Ports,
    access: &TenantAccess,
) -> Result<Report, MaintenanceRefused> {
    let id = access.id();
    let checkpoint = stores.registry.find_checkpoint(id)?;
    // Taken before the check, which may miss what is written meanwhile.
    let stamp = stamp(stores, id);
    let checked = visit(stores, access, |db| {
        let check = db.read_within(READ_WITHIN, move |view| {
            let mut report = integrity::check(view)?;
            integrity::check_checkpoint(view, checkpoint.as_ref(), &mut report)?;
            Ok::<_, StorageError>(report)
        });
        Ok(check.wait()?)
    });
    let report = match checked {
        // A corrupt file is the worst finding of a check.
        Err(MaintenanceRefused::Storage(error)) if error.kind() == StorageErrorKind::Corrupt => {
            corrupt_report(&error)
        }
        Err(error) => return Err(record_unchecked(stores, id, error)),
        Ok(report) => report,
    };
    log_mismatches(Some(id), &report);
    let checked = Checked {
        stamp,
        mismatches: count_mismatches(&report),
        findings: first_findings(&report),
        at: ports.clock.now(),
    };
    let stored = stores
        .directory
        .database()
        .write(Origin::system(), move |work| {
            check_results::store(work, id, &checked)
        });
    stored.wait()?;
    Ok(report)
}

/// Records that a tenant's file could not be checked, with the reason. Not recorded while the
/// process is stopping.
fn record_unchecked(
    stores: &Stores,
    id: TenantId,
    error: MaintenanceRefused,
) -> MaintenanceRefused {
    if stores.tasks.is_stopping() {
        return error;
    }
    tracing::warn!(target: "security", tenant_id = %id, error = %error,
        "tenant could not be checked");
    let reason = error.to_string();
    let stored = stores
        .directory
        .database()
        .write(Origin::system(), move |work| {
            check_results::store_unchecked(work, id, &reason)
        });
    match stored.wait() {
        Ok(()) => error,
        Err(failed) => failed.into(),
    }
}

fn corrupt_report(error: &StorageError) -> Report {
    let mut report = Report::default();
    report.add("file", vec![error.to_string()]);
    report
}

fn count_mismatches(report: &Report) -> i64 {
    i64::try_from(report.mismatches.len()).unwrap_or(i64::MAX)
}

fn first_findings(report: &Report) -> Value {
    let findings: Vec<_> = report.mismatches.iter().take(FINDINGS_KEPT).collect();
    json!(findings)
}

/// Checks the landlord's file with its audit trail, and stores the result as for a tenant. Blocks.
pub fn check_landlord(stores: &Stores) -> Result<Report, StorageError> {
    let check = |view: &LandlordView| {
        let mut report = Report::default();
        for (check, details) in landlord::integrity::check(view)? {
            report.add(check, details);
        }
        integrity::audit_chain(view, &mut report)?;
        Ok::<_, StorageError>(report)
    };
    let db = stores.directory.database();
    let report = match db.read_within(READ_WITHIN, check).wait() {
        Err(error) if error.kind() == StorageErrorKind::Corrupt => corrupt_report(&error),
        Err(error) => {
            tracing::warn!(target: "security", error = %error, "landlord's file could not be \
                checked");
            let reason = error.to_string();
            db.write(Origin::system(), move |work| {
                check_results::set_landlord_unchecked(work, &reason)
            })
            .wait()?;
            return Err(error);
        }
        Ok(report) => report,
    };
    // Logged before it is stored, because the result goes into the file that may be corrupt.
    log_mismatches(None, &report);
    let (mismatches, findings) = (count_mismatches(&report), first_findings(&report));
    db.write(Origin::system(), move |work| {
        check_results::set_landlord_checked(work, mismatches, &findings)
    })
    .wait()?;
    Ok(report)
}

/// Writes a line to the security log for each check with findings.
fn log_mismatches(tenant: Option<TenantId>, report: &Report) {
    for (check, found) in report.checks.iter().filter(|(_, found)| **found > 0) {
        let first = report
            .mismatches
            .iter()
            .find(|mismatch| mismatch.check == *check);
        let first = first.map(|mismatch| mismatch.detail.as_str());
        let tenant = tenant.map(tracing::field::display);
        let message = if *check == "snapshots" {
            "snapshot mismatch"
        } else {
            "integrity mismatch"
        };
        tracing::warn!(target: "security", tenant_id = tenant, check, found, first, "{message}");
    }
}

/// The nightly check of all files that have changed since their last check, or were not checked for
/// a week. Blocks, for long on an instance with many tenants.
///
/// # Errors
/// The reason why the task is repeated: the process is stopping, or the tenants cannot be listed.
pub fn check_changed(app: &Arc<App>, now: Timestamp) -> Result<(), String> {
    let to_text = |error: StorageError| error.to_string();
    let (mut checked, mut wrong, mut unchecked) = (0_usize, 0_usize, 0_usize);
    for access in list_tenants(&app.stores)? {
        if app.stores.tasks.is_stopping() {
            return Err("the process is stopping".to_owned());
        }
        if is_unchanged(&app.stores, access.id(), now).map_err(to_text)? {
            continue;
        }
        match check_tenant(&app.stores, &app.ports, &access) {
            Ok(report) => {
                checked += 1;
                wrong += usize::from(!report.passes());
            }
            // Recorded as unchecked, and checked again the next night.
            Err(_) => unchecked += 1,
        }
    }
    let landlord_passes = check_landlord(&app.stores).is_ok_and(|report| report.passes());
    tracing::info!(
        tenants = checked,
        wrong,
        unchecked,
        landlord_passes,
        "files checked"
    );
    Ok(())
}

/// The sizes and modification times of a tenant's file and its WAL.
fn stamp(stores: &Stores, id: TenantId) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let path = stores.provisioner.dir.tenant(id);
    let of = |path: &Path| match std::fs::metadata(path) {
        Ok(found) => format!(
            "{} {}.{:09}",
            found.len(),
            found.mtime(),
            found.mtime_nsec()
        ),
        Err(_) => "none".to_owned(),
    };
    format!("{}, {}", of(&path), of(&beside(&path, "-wal")))
}

fn is_unchanged(stores: &Stores, id: TenantId, now: Timestamp) -> Result<bool, StorageError> {
    let found = stores.directory.read(move |view| {
        Ok::<_, StorageError>((
            check_results::find(view, id)?,
            check_results::is_unchecked(view, id)?,
        ))
    });
    let (Some(last), false) = found.wait()? else {
        return Ok(false);
    };
    let is_recent = (0..CHECK_REST_MS).contains(&(now.as_millis() - last.at.as_millis()));
    // A file with mismatches is checked every night: it may have been repaired.
    Ok(is_recent && last.mismatches == 0 && last.stamp == stamp(stores, id))
}

/// Tenants whose last check found mismatches, with its result.
pub fn list_wrong(stores: &Stores) -> Result<Vec<(Slug, Checked)>, StorageError> {
    stores.directory.read(check_results::list_wrong).wait()
}

/// Tenants whose files could not be checked at the last attempt, with the reason.
pub fn list_unchecked(stores: &Stores) -> Result<Vec<(Slug, Unchecked)>, StorageError> {
    stores.directory.read(check_results::list_unchecked).wait()
}

/// The result of the last check of the landlord's file.
pub fn find_landlord_check(stores: &Stores) -> Result<LandlordChecked, StorageError> {
    stores.directory.read(check_results::find_landlord).wait()
}
