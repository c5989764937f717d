//! L5: retention over all files: tenants' files and the landlord's.
//!
//! The nightly run reads each tenant's file and queues a job where rows are due; a tenant without
//! due rows gets no job and no write. A run by hand deletes at once, without the queue, and returns
//! the counts. Deletion by age requires a trusted clock.

use std::sync::Arc;

use super::tenant_files::{MaintenanceRefused, READ_WITHIN, list_tenants, visit};
use crate::app::{App, Limits, Ports, Stores};
use crate::config::Retention;
use crate::landlord;
use crate::platform::audit;
use crate::platform::retention::{self, Pruned, PrunedTable, count};
use crate::primitives::limits::FREE_PAGES_WORTH;
use crate::primitives::{Origin, Timestamp};
use crate::storage::{Database, StorageError, Tenant};
use crate::tenancy::TenantAccess;
use crate::tenant::prune_now::{self, PrunedNow};
use crate::tenant::retention::{CutOffs, PruneJob, Table, days_before, enqueue};

/// The scope of a run.
#[derive(Clone, Copy, Debug)]
pub struct Prune {
    /// Only count.
    pub dry_run: bool,
    /// Only the audit trails.
    pub audit_only: bool,
}

/// The present instant, if the clock is trusted. The instant is read first: a clock that was set
/// before that is detected.
///
/// # Errors
/// [`MaintenanceRefused::ClockSuspect`] when the clock is not trusted.
pub fn trusted_now(stores: &Stores, ports: &Ports) -> Result<Timestamp, MaintenanceRefused> {
    let now = ports.clock.now();
    match stores.clock_watch.observe()? {
        Some(suspicion) => Err(MaintenanceRefused::ClockSuspect(suspicion)),
        None => Ok(now),
    }
}

/// The instant of a run. A dry run accepts a suspect clock.
fn instant(stores: &Stores, ports: &Ports, prune: Prune) -> Result<Timestamp, MaintenanceRefused> {
    if prune.dry_run {
        Ok(ports.clock.now())
    } else {
        trusted_now(stores, ports)
    }
}

/// The instants before which rows are deleted, by the configuration.
pub fn cut_offs(keep: &Retention, now: Timestamp) -> CutOffs {
    CutOffs::at(now, keep.audit_days, keep.inventory_movement_days).with_anonymous_carts(
        now,
        keep.empty_cart_days,
        keep.anonymous_cart_days,
    )
}

/// Deletes the due rows of a file, or counts them.
fn run<T: PrunedTable>(
    db: &Database<T::File>,
    origin: &Origin,
    prune: Prune,
    tables: &'static [T],
    cut_offs: T::CutOffs,
) -> Result<Vec<Pruned<T>>, StorageError> {
    if prune.dry_run {
        return db
            .read_within(READ_WITHIN, move |view| count(view, tables, &cut_offs))
            .wait();
    }
    let ran = retention::prune(db, origin, tables, &cut_offs, None, || true)?;
    ran.record(db, origin)?;
    Ok(ran.pruned)
}

/// Prunes a tenant's file now, or counts the due rows. Blocks.
pub fn prune_tenant(
    app: &App,
    access: &TenantAccess,
    origin: &Origin,
    prune: Prune,
) -> Result<Vec<Pruned<Table>>, MaintenanceRefused> {
    let cut_offs = cut_offs(
        &app.config.retention,
        instant(&app.stores, &app.ports, prune)?,
    );
    let tables: &[Table] = if prune.audit_only {
        &[Table::AuditLog]
    } else {
        Table::ALL
    };
    visit(&app.stores, access, |db| {
        let pruned = run(db, origin, prune, tables, cut_offs)?;
        if !prune.dry_run && pruned.iter().any(|pruned| pruned.rows > 0) {
            // The caller waits for an answer; the nightly run gives back the remaining space.
            retention::give_back_space(db, origin, || true)?;
        }
        Ok(pruned)
    })
}

/// Deletes rows of callers without a key from a tenant's file, whatever their age, or counts them.
/// Never refused because of a suspect clock. Blocks.
pub fn prune_tenant_now(
    stores: &Stores,
    limits: &Limits,
    access: &TenantAccess,
    origin: &Origin,
    kinds: &[PrunedNow],
    dry_run: bool,
) -> Result<Vec<Pruned<PrunedNow>>, MaintenanceRefused> {
    let pruned = visit(stores, access, |db| {
        if dry_run {
            let kinds = kinds.to_vec();
            let count = db.read_within(READ_WITHIN, move |view| count(view, &kinds, &()));
            return Ok(count.wait()?);
        }
        Ok(prune_now::prune(db, origin, kinds)?)
    });
    limits.shares.refresh_now(access.id());
    pruned
}

/// The newest entry of the landlord's audit trail. Read before a run writes anything itself, so
/// that the run deletes the rows that a count reported. Blocks.
pub fn newest_in_landlord(stores: &Stores) -> Result<i64, StorageError> {
    stores.directory.read(audit::find_newest).wait()
}

/// Prunes the landlord's file now, or counts the due rows. With `newest`, audit entries after it
/// are left alone. Blocks.
pub fn prune_landlord(
    app: &App,
    origin: &Origin,
    prune: Prune,
    newest: Option<i64>,
) -> Result<Vec<Pruned<landlord::retention::Table>>, MaintenanceRefused> {
    use landlord::retention::{CutOffs, Table};
    let (now, keep) = (
        instant(&app.stores, &app.ports, prune)?,
        &app.config.retention,
    );
    let cut_offs = CutOffs {
        audit_log: days_before(now, keep.audit_days),
        stripe_event: days_before(now, keep.stripe_events_days),
        newest,
    };
    let tables: &[Table] = if prune.audit_only {
        &[Table::AuditLog]
    } else {
        Table::ALL
    };
    let db = app.stores.directory.database();
    let pruned = run(db, origin, prune, tables, cut_offs)?;
    if !prune.dry_run {
        retention::give_back_space(db, origin, || true)?;
    }
    Ok(pruned)
}

/// The nightly run: queues a job in each tenant's file that has due rows, and prunes the landlord's
/// file. A tenant whose file cannot be used is skipped until the next night. Blocks.
///
/// # Errors
/// The reason why the task is repeated: the clock is not trusted, or the process is stopping.
pub fn begin_retention(app: &Arc<App>, _: Timestamp) -> Result<(), String> {
    let now = trusted_now(&app.stores, &app.ports).map_err(|error| error.to_string())?;
    let cut_offs = cut_offs(&app.config.retention, now);
    let (mut queued, mut skipped) = (0_usize, 0_usize);
    for access in list_tenants(&app.stores)? {
        if app.stores.tasks.is_stopping() {
            return Err("the process is stopping".to_owned());
        }
        match visit(&app.stores, &access, |db| queue_run(db, cut_offs)) {
            Ok(is_queued) => queued += usize::from(is_queued),
            Err(error) => {
                skipped += 1;
                tracing::warn!(tenant_id = %access.id(), error = %error,
                    "tenant skipped by retention");
            }
        }
    }
    let prune = Prune {
        dry_run: false,
        audit_only: false,
    };
    let pruned =
        prune_landlord(app, &Origin::system(), prune, None).map_err(|error| error.to_string())?;
    let rows: i64 = pruned.iter().map(|pruned| pruned.rows).sum();
    tracing::info!(
        tenants = queued,
        skipped,
        landlord_rows = rows,
        "retention queued"
    );
    Ok(())
}

fn queue_run(db: &Database<Tenant>, cut_offs: CutOffs) -> Result<bool, MaintenanceRefused> {
    let is_due = db.read_within(READ_WITHIN, move |view| {
        // Free pages of an earlier run count too: each run gives back a limited number.
        let is_due = view.free_pages()? > FREE_PAGES_WORTH;
        Ok::<_, StorageError>(
            is_due
                || count(view, Table::ALL, &cut_offs)?
                    .iter()
                    .any(|pruned| pruned.rows > 0),
        )
    });
    if !is_due.wait()? {
        return Ok(false);
    }
    let job = PruneJob { cut_offs, part: 0 };
    let queued = db.write(Origin::system(), move |work| enqueue(work, &job));
    Ok(queued.wait()?)
}
