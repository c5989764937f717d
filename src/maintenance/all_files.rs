//! L5: what is done to all files of the house in turn: retention, and checks of what they hold. One
//! file at a time, and one that was at rest goes back to it. Old log files go from here as well:
//! what deletes by age asks first whether the clock is trusted.
//!
//! The nightly run of retention looks into each shop's file and queues a job where there is
//! something to prune; a shop where there is not gets no row and no write. A run by hand does the
//! same at once, without the queue, and says what went. The nightly check passes over a file that
//! nobody has written to since it was last checked, which its size and the instant of its last
//! change tell, and its WAL's; once a week it reads it all the same. A file that cannot be checked,
//! because it cannot be opened or takes too long, is noted as such: what was found earlier says
//! nothing about it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::App;
use crate::landlord;
use crate::landlord::ClockSuspicion;
use crate::landlord::check_results::{self, Checked, LandlordChecked, Unchecked};
use crate::observe::logging;
use crate::platform::audit;
use crate::primitives::id::TenantId;
use crate::primitives::limits::{CHECK_REST_MS, FINDINGS_KEPT, FREE_PAGES_WORTH, LOCAL_REQUEST_MS};
use crate::primitives::{Class, Origin, Refusal, Slug, Timestamp};
use crate::storage::data_dir::beside;
use crate::storage::file::PAGE_BYTES;
use crate::storage::{Database, LandlordView, StorageError, StorageErrorKind, Tenant};
use crate::tenancy::{TenantAccess, TenantUnavailable, commands};
use crate::tenant::disk_usage::{self, Parts};
use crate::tenant::integrity::{self, Report};
use crate::tenant::prune_now::{self, PrunedNow};
use crate::tenant::retention::{self, CutOffs, PruneJob, Pruned, Table};

/// When the nightly check is due, in the operator's time zone.
pub const CHECK_SCHEDULE: &str = "0 0 3 * * *";
/// When log files are looked through for old ones, there.
pub const LOGS_SCHEDULE: &str = "0 30 0 * * *";

/// What a check and a count may take, and no longer.
const READ_WITHIN: Duration = Duration::from_millis(LOCAL_REQUEST_MS);

/// The deadline of a measurement: a file of some gigabytes.
const MEASURE_WITHIN: Duration = Duration::from_secs(5);

/// Why nothing is pruned.
#[derive(Debug, thiserror::Error)]
pub enum PruneRefused {
    /// The clock is not trusted.
    #[error("the clock is not trusted since {}: {}; when it is right now, say so with \
        --clock-is-right (`clock_is_right`), and set it right first when it is not", .0.since,
            .0.reason)]
    ClockSuspect(ClockSuspicion),
    /// The shop's file cannot be used.
    #[error(transparent)]
    Unavailable(#[from] TenantUnavailable),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Refusal for PruneRefused {
    fn class(&self) -> Class {
        match self {
            Self::ClockSuspect(_) => Class::Conflict,
            Self::Unavailable(refused) => refused.class(),
            Self::Storage(error) => error.class(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::ClockSuspect(_) => "clock_doubtful",
            Self::Unavailable(refused) => refused.code(),
            Self::Storage(error) => error.code(),
        }
    }
}

/// What is to be pruned.
#[derive(Clone, Copy, Debug)]
pub struct Prune {
    /// Only count.
    pub dry_run: bool,
    /// Only the audit trails.
    pub audit_only: bool,
}

impl Prune {
    const fn tables(self) -> &'static [Table] {
        if self.audit_only {
            &[Table::AuditLog]
        } else {
            Table::ALL
        }
    }

    const fn landlord_tables(self) -> &'static [landlord::retention::Table] {
        if self.audit_only {
            &[landlord::retention::Table::AuditLog]
        } else {
            landlord::retention::Table::ALL
        }
    }
}

/// The present instant, if it is trusted. The instant comes first: a clock that was set before it
/// was read is found out.
///
/// # Errors
/// [`PruneRefused::ClockSuspect`], or the storage's.
pub fn trusted_now(app: &App) -> Result<Timestamp, PruneRefused> {
    let now = app.clock.now();
    match app.clock_watch.observe()? {
        Some(suspicion) => Err(PruneRefused::ClockSuspect(suspicion)),
        None => Ok(now),
    }
}

/// The instant of a run: for one that only counts, whatever the clock shows.
fn instant(app: &App, prune: Prune) -> Result<Timestamp, PruneRefused> {
    if prune.dry_run {
        Ok(app.clock.now())
    } else {
        trusted_now(app)
    }
}

/// The instants before which rows go, by the configuration.
pub fn cut_offs(app: &App, now: Timestamp) -> CutOffs {
    let keep = &app.config.retention;
    CutOffs::at(now, keep.audit_days, keep.inventory_movement_days).with_anonymous_carts(
        now,
        keep.empty_cart_days,
        keep.anonymous_cart_days,
    )
}

/// Prunes a shop's file now, or counts what would go. Blocks.
pub fn prune_tenant(
    app: &App,
    access: &TenantAccess,
    origin: &Origin,
    prune: Prune,
) -> Result<Vec<Pruned>, PruneRefused> {
    let cut_offs = cut_offs(app, instant(app, prune)?);
    visit(app, access, |db| {
        if prune.dry_run {
            let count = db.read_within(READ_WITHIN, move |view| {
                retention::count(view, prune.tables(), &cut_offs)
            });
            return Ok(count.wait()?);
        }
        let ran = retention::prune(db, origin, prune.tables(), &cut_offs, None, || true)?;
        if ran.rows() > 0 {
            let noted = ran.clone();
            db.write(origin.clone(), move |work| retention::record(work, &noted))
                .wait()?;
            // The rest is for the night: whoever asked waits for an answer.
            retention::give_back_space(db, origin, || true)?;
        }
        Ok(ran.pruned)
    })
}

/// Deletes what callers without a key have left in a tenant's file, whatever its age, or counts it.
/// Blocks.
///
/// # Errors
/// [`PruneRefused`]; never that the clock is suspect.
pub fn prune_store_now(
    app: &App,
    access: &TenantAccess,
    origin: &Origin,
    kinds: &[PrunedNow],
    dry_run: bool,
) -> Result<Vec<(PrunedNow, i64)>, PruneRefused> {
    let pruned = visit(app, access, |db| {
        if dry_run {
            let kinds = kinds.to_vec();
            let count = db.read_within(READ_WITHIN, move |view| prune_now::count(view, &kinds));
            return Ok(count.wait()?);
        }
        Ok(prune_now::prune(db, origin, kinds)?)
    });
    app.shares.look_again(access.id());
    pruned
}

/// What takes the room in a tenant's file.
#[derive(Clone, Debug)]
pub struct DiskUsage {
    /// The bytes of its free pages.
    pub free_bytes: u64,
    /// The parts of the rest, or why they could not be measured.
    pub parts: Result<Parts, StorageErrorKind>,
}

/// Measures a tenant's file, for as long as an operator waits. Blocks.
///
/// # Errors
/// [`PruneRefused`], when the file cannot be used.
pub fn measure_store(app: &App, access: &TenantAccess) -> Result<DiskUsage, PruneRefused> {
    visit(app, access, |db| {
        let free_pages = db.read(|view| view.free_pages()).wait()?;
        let parts = db.read_within(MEASURE_WITHIN, disk_usage::measure).wait();
        Ok(DiskUsage {
            free_bytes: u64::from(free_pages) * PAGE_BYTES,
            parts: parts.map_err(|error| error.kind()),
        })
    })
}

/// The newest entry of the house's trail: taken before a run writes anything itself, so that what
/// goes is what a count says. Blocks.
pub fn newest_in_landlord(app: &App) -> Result<i64, StorageError> {
    app.directory.read(audit::find_newest).wait()
}

/// Prunes the landlord's file now, up to what was its trail's newest entry then if that is said, or
/// counts what would go. Blocks.
pub fn prune_landlord(
    app: &App,
    origin: &Origin,
    prune: Prune,
    newest: Option<i64>,
) -> Result<Vec<landlord::retention::Pruned>, PruneRefused> {
    let (now, keep, db) = (
        instant(app, prune)?,
        &app.config.retention,
        app.directory.database(),
    );
    let cut_offs = landlord::retention::CutOffs {
        audit_log: retention::days_before(now, keep.audit_days),
        stripe_event: retention::days_before(now, keep.stripe_events_days),
    };
    let tables = prune.landlord_tables();
    if prune.dry_run {
        let count = db.read_within(READ_WITHIN, move |view| {
            landlord::retention::count(view, tables, &cut_offs)
        });
        return Ok(count.wait()?);
    }
    Ok(landlord::retention::prune(
        db, origin, tables, &cut_offs, newest,
    )?)
}

/// The nightly run: a job in the file of each shop that has something to prune, and the house's own
/// file. Blocks.
///
/// # Errors
/// Why it is tried again: nobody believes the clock, or the end of the process has begun. A shop
/// whose file cannot be used is passed over until tomorrow.
pub fn begin_retention(app: &Arc<App>, _: Timestamp) -> Result<(), String> {
    let now = trusted_now(app).map_err(|error| error.to_string())?;
    let cut_offs = cut_offs(app, now);
    let (mut queued, mut passed_over) = (0_usize, 0_usize);
    for access in list_tenants(app)? {
        if app.tasks.is_stopping() {
            return Err("the process ends".to_owned());
        }
        match visit(app, &access, |db| queue_run(db, cut_offs)) {
            Ok(is_queued) => queued += usize::from(is_queued),
            Err(error) => {
                passed_over += 1;
                tracing::warn!(tenant_id = %access.id(), error = %error, "retention passes a store \
                    over");
            }
        }
    }
    let prune = Prune {
        dry_run: false,
        audit_only: false,
    };
    let house =
        prune_landlord(app, &Origin::system(), prune, None).map_err(|error| error.to_string())?;
    let rows: i64 = house.iter().map(|pruned| pruned.rows).sum();
    tracing::info!(
        stores = queued,
        passed_over,
        landlord_rows = rows,
        "retention queued"
    );
    Ok(())
}

/// Removes the log files that are older than they are kept. Blocks.
pub fn remove_old_logs(app: &App) -> Result<(), PruneRefused> {
    let now = trusted_now(app)?;
    let removed = logging::remove_old(
        &app.config.log_dir(),
        app.config.logging.keep_days,
        now.as_millis(),
    );
    if removed > 0 {
        tracing::info!(files = removed, "old log files removed");
    }
    Ok(())
}

fn list_tenants(app: &App) -> Result<Vec<TenantAccess>, String> {
    let stores = app.directory.read(commands::list_with_file).wait();
    stores.map_err(|error| format!("the stores could not be listed: {error}"))
}

fn queue_run(db: &Database<Tenant>, cut_offs: CutOffs) -> Result<bool, PruneRefused> {
    let is_due = db.read_within(READ_WITHIN, move |view| {
        // What a run before has left free, too: each gives back so much and no more.
        let is_due = view.free_pages()? > FREE_PAGES_WORTH;
        Ok::<_, StorageError>(
            is_due
                || retention::count(view, Table::ALL, &cut_offs)?
                    .iter()
                    .any(|pruned| pruned.rows > 0),
        )
    });
    if !is_due.wait()? {
        return Ok(false);
    }
    let job = PruneJob { cut_offs, part: 0 };
    let queued = db.write(Origin::system(), move |work| retention::enqueue(work, &job));
    Ok(queued.wait()?)
}

/// Looks into a shop's file; one that was at rest goes back to it.
fn visit<R>(
    app: &App,
    access: &TenantAccess,
    look: impl FnOnce(&Database<Tenant>) -> Result<R, PruneRefused>,
) -> Result<R, PruneRefused> {
    let was_open = app.registry.peek(access.id()).is_some();
    let db = app.registry.open(access)?;
    let looked = look(&db);
    drop(db);
    if !was_open {
        app.registry.close_unused(access.id());
    }
    looked
}

/// Checks a shop's file, notes the result, and says in the security log what does not agree, or
/// that it could not be checked. Blocks.
///
/// # Errors
/// [`StorageError`], or that the file cannot be used.
pub fn check_tenant(app: &App, access: &TenantAccess) -> Result<Report, PruneRefused> {
    let id = access.id();
    let mark = app.registry.find_checkpoint(id)?;
    // From before: what is written meanwhile may not have been seen.
    let stamp = stamp(app, id);
    let checked = visit(app, access, |db| {
        let check = db.read_within(READ_WITHIN, move |view| {
            let mut report = integrity::check(view)?;
            integrity::check_checkpoint(view, mark.as_ref(), &mut report)?;
            Ok::<_, StorageError>(report)
        });
        Ok(check.wait()?)
    });
    let report = match checked {
        // A file that cannot be read through is the worst that a check can find.
        Err(PruneRefused::Storage(error)) if error.kind() == StorageErrorKind::Corrupt => {
            unreadable(&error)
        }
        Err(error) => return Err(not_checked(app, id, error)),
        Ok(report) => report,
    };
    tell(Some(id), &report);
    let checked = Checked {
        stamp,
        mismatches: count(&report),
        findings: first_findings(&report),
        at: app.clock.now(),
    };
    let noted = app
        .directory
        .database()
        .write(Origin::system(), move |work| {
            check_results::note(work, id, &checked)
        });
    noted.wait()?;
    Ok(report)
}

/// Notes that a shop's file could not be checked, and why. The end of the process is no reason.
fn not_checked(app: &App, id: TenantId, error: PruneRefused) -> PruneRefused {
    if app.tasks.is_stopping() {
        return error;
    }
    tracing::warn!(target: "security", tenant_id = %id, error = %error, "a store could not be \
        checked");
    let reason = error.to_string();
    let noted = app
        .directory
        .database()
        .write(Origin::system(), move |work| {
            check_results::note_unchecked(work, id, &reason)
        });
    match noted.wait() {
        Ok(()) => error,
        Err(failed) => failed.into(),
    }
}

fn unreadable(error: &StorageError) -> Report {
    let mut report = Report::default();
    report.note("file", vec![error.to_string()]);
    report
}

fn count(report: &Report) -> i64 {
    i64::try_from(report.mismatches.len()).unwrap_or(i64::MAX)
}

fn first_findings(report: &Report) -> Value {
    let findings: Vec<_> = report.mismatches.iter().take(FINDINGS_KEPT).collect();
    json!(findings)
}

/// Checks the landlord's file, its audit trail too, and notes the result as for a shop's. Blocks.
pub fn check_landlord(app: &App) -> Result<Report, StorageError> {
    let check = |view: &LandlordView| {
        let mut report = Report::default();
        for (check, details) in landlord::integrity::check(view)? {
            report.note(check, details);
        }
        integrity::audit_chain(view, &mut report)?;
        Ok::<_, StorageError>(report)
    };
    let db = app.directory.database();
    let report = match db.read_within(READ_WITHIN, check).wait() {
        Err(error) if error.kind() == StorageErrorKind::Corrupt => unreadable(&error),
        Err(error) => {
            tracing::warn!(target: "security", error = %error, "the house's file could not be \
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
    // Before it is noted, which goes into the very file.
    tell(None, &report);
    let (mismatches, findings) = (count(&report), first_findings(&report));
    db.write(Origin::system(), move |work| {
        check_results::set_landlord_checked(work, mismatches, &findings)
    })
    .wait()?;
    Ok(report)
}

/// A line in the security log for each check that found something.
fn tell(tenant: Option<TenantId>, report: &Report) {
    for (check, found) in report.checks.iter().filter(|(_, found)| **found > 0) {
        let first = report
            .mismatches
            .iter()
            .find(|mismatch| mismatch.check == *check);
        let first = first.map(|mismatch| mismatch.detail.as_str());
        let tenant = tenant.map(tracing::field::display);
        let what = if *check == "snapshots" {
            "snapshot mismatch"
        } else {
            "integrity mismatch"
        };
        tracing::warn!(target: "security", tenant_id = tenant, check, found, first, "{what}");
    }
}

/// The nightly check of all files that have changed since the last one, or rested for a week.
/// Blocks, for long in a house with many.
///
/// # Errors
/// Why it is tried again: the end of the process has begun, or it is not known which shops there
/// are.
pub fn check_changed(app: &Arc<App>, now: Timestamp) -> Result<(), String> {
    let text = |error: StorageError| error.to_string();
    let (mut checked, mut wrong, mut unchecked) = (0_usize, 0_usize, 0_usize);
    for access in list_tenants(app)? {
        if app.tasks.is_stopping() {
            return Err("the process ends".to_owned());
        }
        if is_unchanged(app, access.id(), now).map_err(text)? {
            continue;
        }
        match check_tenant(app, &access) {
            Ok(report) => {
                checked += 1;
                wrong += usize::from(!report.passes());
            }
            // It is noted, and tried again tomorrow.
            Err(_) => unchecked += 1,
        }
    }
    let house = check_landlord(app).is_ok_and(|report| report.passes());
    tracing::info!(stores = checked, wrong, unchecked, house, "files checked");
    Ok(())
}

/// The sizes of a shop's file and its WAL, and when each was last changed.
fn stamp(app: &App, id: TenantId) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let path = app.provisioner.dir.tenant(id);
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

fn is_unchanged(app: &App, id: TenantId, now: Timestamp) -> Result<bool, StorageError> {
    let found = app.directory.read(move |view| {
        Ok::<_, StorageError>((
            check_results::find(view, id)?,
            check_results::is_unchecked(view, id)?,
        ))
    });
    let (Some(last), false) = found.wait()? else {
        return Ok(false);
    };
    let is_recent = (0..CHECK_REST_MS).contains(&(now.as_millis() - last.at.as_millis()));
    // What does not agree is looked at again each night: somebody may have mended it.
    Ok(is_recent && last.mismatches == 0 && last.stamp == stamp(app, id))
}

/// Tenants whose last check found something, and when it was.
pub fn list_wrong(app: &App) -> Result<Vec<(Slug, Checked)>, StorageError> {
    app.directory.read(check_results::list_wrong).wait()
}

/// Tenants whose files could not be checked when that was last tried, and why.
pub fn list_unchecked(app: &App) -> Result<Vec<(Slug, Unchecked)>, StorageError> {
    app.directory.read(check_results::list_unchecked).wait()
}

/// What is known of the house's own file.
pub fn find_landlord_check(app: &App) -> Result<LandlordChecked, StorageError> {
    app.directory.read(check_results::find_landlord).wait()
}
