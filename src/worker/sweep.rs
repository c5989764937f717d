//! The search for work without a hint: once over all tenants at the start, then periodically over
//! the open ones.
//!
//! It reads, ends overdue reservations, closes idle files, and stores the last use of keys if there
//! was any. While the process is idle it writes nothing. A file that was opened only for the sweep,
//! and has no work soon, is closed again at once: the ready queue knows when it has work, so the
//! number of open files depends on the active tenants, not on all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::shared::Shared;
use crate::app::{Ports, Stores};
use crate::maintenance;
use crate::observe::job_stats::Count;
use crate::platform::{epoch, queue};
use crate::primitives::id::TenantId;
use crate::primitives::limits::{KEYLESS_BATCHES_PER_SWEEP, SWEEP_MS};
use crate::primitives::{Origin, Timestamp};
use crate::storage::{Database, StorageError, Tenant};
use crate::tenancy::access::TenantStatus;
use crate::tenancy::{TenantAccess, commands};
use crate::tenant::currency::{self, Published};
use crate::tenant::{inventory, jobs, retention};

/// Threads that open files at the same time. At least 4, so that one large file being checked or
/// migrated does not delay all others; one per processor, but at most 8, so that requests do not
/// wait for their own files.
const SWEEP_THREADS: std::ops::RangeInclusive<usize> = 4..=8;

/// Checks every tenant. The registry rescues orphaned jobs when it first opens a file. Skips a
/// tenant whose file cannot be opened. Blocks. Returns `false` when the tenants could not be
/// listed.
pub(super) fn over_all(shared: &Arc<Shared>) -> bool {
    let tenants = match shared
        .app
        .stores
        .directory
        .read(commands::list_with_file)
        .wait()
    {
        Ok(tenants) => tenants,
        Err(error) => {
            tracing::error!(error = %error, "the tenants could not be listed; their jobs wait for \
                the next sweep");
            return false;
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(access) = tenants.get(next.fetch_add(1, Ordering::Relaxed))
            && !shared.is_stopping()
        {
            sweep_tenant(shared, access);
        }
    };
    thread::scope(|scope| {
        for _ in 1..cores.clamp(*SWEEP_THREADS.start(), *SWEEP_THREADS.end()) {
            if let Err(error) = thread::Builder::new()
                .name("sweep".to_owned())
                .spawn_scoped(scope, work)
            {
                tracing::warn!(error = %error, "the system grants no more threads; fewer threads \
                    check the tenants");
                break;
            }
        }
        work();
    });
    true
}

fn sweep_tenant(shared: &Arc<Shared>, access: &TenantAccess) {
    let (registry, id) = (&shared.app.stores.registry, access.id());
    let was_open = registry.peek(id).is_some();
    let Ok(db) = registry.open(access) else {
        return;
    };
    return_known(shared, id, &db);
    expire_overdue(shared, id, &db);
    let next = index_work(shared, id, &db);
    warn_of_currencies(&shared.app.stores, &shared.app.ports, access, &db);
    shared.app.limits.shares.refresh(id);
    drop(db);
    let soon = shared
        .app
        .ports
        .clock
        .now()
        .plus_millis(SWEEP_MS.cast_signed());
    if !was_open && next.is_none_or(|at| at > soon) {
        registry.close_unused(id);
    }
}

/// Checks the open tenants, retries the unavailable ones, and closes idle files. Blocks.
pub(super) fn over_open(shared: &Arc<Shared>) {
    let app = &shared.app;
    for tenant in app.stores.registry.list_open() {
        if let Some(db) = app.stores.registry.peek(tenant) {
            index_work(shared, tenant, &db);
            expire_overdue(shared, tenant, &db);
            app.limits.shares.refresh(tenant);
            delete_keyless(shared, tenant, &db);
        }
    }
    for (tenant, _) in app.stores.registry.list_unavailable() {
        retry(shared, tenant);
    }
    app.stores.registry.close_idle(app.ports.clock.now());
    if let Err(error) = app.stores.directory.flush_used() {
        tracing::warn!(error = %error, "the last use of keys could not be stored");
    }
}

fn retry(shared: &Arc<Shared>, tenant: TenantId) {
    let Ok(found) = shared.app.stores.directory.tenant_of_id(tenant).wait() else {
        return;
    };
    let Some(access) = found else {
        // A request created this entry while the tenant was being removed.
        shared.app.stores.registry.forget(tenant);
        return;
    };
    if !matches!(
        access.status(),
        TenantStatus::Active | TenantStatus::Suspended
    ) {
        return;
    }
    if let Ok(db) = shared.app.stores.registry.open(&access) {
        tracing::info!(tenant_id = %tenant, "tenant available again");
        return_known(shared, tenant, &db);
        index_work(shared, tenant, &db);
        warn_of_currencies(&shared.app.stores, &shared.app.ports, &access, &db);
    }
}

/// Warns the operator when a tenant's products cannot be sold, before its customers find out: a
/// newer program may have stricter rules, or exchange rates may have expired.
fn warn_of_currencies(
    stores: &Stores,
    ports: &Ports,
    access: &TenantAccess,
    db: &Database<Tenant>,
) {
    if access.status() != TenantStatus::Active {
        return;
    }
    match unsellable(stores, ports, db) {
        Ok(reasons) if reasons.is_empty() => {}
        Ok(reasons) => {
            let (tenant_id, tenant, reasons) = (access.id(), access.slug(), reasons.join("; "));
            tracing::warn!(%tenant_id, %tenant, reasons, "products of this tenant cannot be sold; \
                enable their currency with POST /v1/currencies, and set its exchange rate with \
                POST /v1/exchange-rates or import published rates with `tillbox exchange-rates \
                import FILE.csv`");
        }
        Err(error) => {
            tracing::warn!(tenant_id = %access.id(), error = %error, "the currencies of the \
                tenant's products could not be checked")
        }
    }
}

fn unsellable(
    stores: &Stores,
    ports: &Ports,
    db: &Database<Tenant>,
) -> Result<Vec<String>, StorageError> {
    let currencies = db.read_long(currency::list_currencies_of_products).wait()?;
    let mut series = BTreeMap::new();
    // A tenant with one currency needs no rates.
    for currency in currencies.iter().filter(|_| currencies.len() > 1) {
        series.insert(*currency, stores.published.series(*currency).wait()?);
    }
    let (published, now) = (Published::new(series), ports.clock.now());
    db.read(move |view| currency::list_unsellable(view, &published, &currencies, now))
        .wait()
}

/// Ends overdue reservations, including those whose job was discarded. Ends a limited number; the
/// next sweep continues.
fn expire_overdue(shared: &Arc<Shared>, tenant: TenantId, db: &Database<Tenant>) {
    let now = shared.app.ports.clock.now();
    let ended = match db
        .read(move |view| inventory::has_overdue(view, now))
        .wait()
    {
        Ok(true) => db
            .write(Origin::system(), inventory::expire_reservations)
            .wait()
            .map(drop),
        result => result.map(drop),
    };
    if let Err(error) = ended {
        tracing::warn!(tenant_id = %tenant, error = %error, "overdue reservations could not be \
            ended");
    }
}

/// Deletes expired carts and answers of callers without a key, a few rows in each transaction.
/// Deletes nothing while the clock is suspect.
fn delete_keyless(shared: &Arc<Shared>, tenant: TenantId, db: &Database<Tenant>) {
    let app = &shared.app;
    if !app.stores.clock_watch.is_trusted() {
        return;
    }
    let cut_offs = maintenance::retention::cut_offs(&app.config.retention, app.ports.clock.now());
    for _ in 0..KEYLESS_BATCHES_PER_SWEEP {
        let found = db
            .read(move |view| retention::has_keyless(view, &cut_offs))
            .wait();
        let deleted = match found {
            Ok(false) => break,
            Ok(true) => db
                .write(Origin::system(), move |work| {
                    retention::delete_keyless(work, &cut_offs)
                })
                .wait(),
            Err(error) => Err(error),
        };
        if let Err(error) = deleted {
            tracing::warn!(tenant_id = %tenant, error = %error, "expired carts and answers of \
                callers without a key were not deleted");
            break;
        }
    }
}

/// Releases jobs that an earlier program held because it did not know their kind.
fn return_known(shared: &Arc<Shared>, tenant: TenantId, db: &Database<Tenant>) {
    let handlers = shared.rules.handlers;
    let returned = loop {
        match db
            .read(move |view| epoch::has_known(view, &handlers.kinds()))
            .wait()
        {
            Ok(true) => {}
            result => break result.map(drop),
        }
        if let Err(error) = db
            .write(Origin::system(), move |work| {
                epoch::return_known(work, &handlers.kinds())
            })
            .wait()
        {
            break Err(error);
        }
    };
    if let Err(error) = returned {
        tracing::warn!(tenant_id = %tenant, error = %error, "held jobs whose kind is known again \
            could not be released; the next start retries");
    }
}

/// Adds the tenant's work to the ready queue. Returns the earliest due time, or now if the queue
/// cannot be read.
fn index_work(shared: &Arc<Shared>, tenant: TenantId, db: &Database<Tenant>) -> Option<Timestamp> {
    let next = match db.read(queue::next_wakes).wait() {
        Ok(wakes) => {
            shared.ready_queue.add_hints(tenant, &wakes);
            wakes.iter().map(|wake| wake.at).min()
        }
        Err(error) => {
            tracing::warn!(tenant_id = %tenant, error = %error,
                "the queue could not be read");
            Some(shared.app.ports.clock.now())
        }
    };
    // Jobs are counted again only after a write, so an idle tenant costs nothing.
    let count = Count::of(db);
    if !shared.app.observation.job_stats.is_counted(tenant, count) {
        match db.read_long(jobs::count_jobs).wait() {
            Ok(depths) => shared
                .app
                .observation
                .job_stats
                .record_depths(tenant, count, depths),
            Err(error) => {
                tracing::debug!(tenant_id = %tenant, error = %error, "the jobs could not be \
                    counted; retrying")
            }
        }
    }
    next
}
