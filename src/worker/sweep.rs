//! The search for work that no hint told of: once over all shops at the start, then now and then
//! over those that are open.
//!
//! It reads, ends reservations whose time is over, closes shops at rest, and writes down which keys
//! were used if any were. Over a process at rest it writes nothing. A shop that was opened for the
//! look, and has nothing to do soon, is closed again at once: the ready_queue knows when it has,
//! and what is open is in proportion to the shops at work and not to those there are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::shared::Shared;
use crate::app::App;
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

/// Shops that are opened at once at the least, so that one large file which is checked or migrated
/// does not hold up all that come after it; more where there are more processors, and never so many
/// that requests wait for their own shops.
const OPENED_AT_ONCE: std::ops::RangeInclusive<usize> = 4..=8;

/// Looks into every shop there is; the registry rescues orphaned jobs when it opens a file for the
/// first time. A shop that cannot be opened is passed over. Blocks. `false` when it is not even
/// known which shops there are.
pub(super) fn over_all(shared: &Arc<Shared>) -> bool {
    let tenants = match shared.app.directory.read(commands::list_with_file).wait() {
        Ok(tenants) => tenants,
        Err(error) => {
            tracing::error!(error = %error, "the shops could not be listed; their jobs wait for \
                the next sweep");
            return false;
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let look = || {
        while let Some(access) = tenants.get(next.fetch_add(1, Ordering::Relaxed))
            && !shared.is_stopping()
        {
            first_look(shared, access);
        }
    };
    thread::scope(|scope| {
        for _ in 1..cores.clamp(*OPENED_AT_ONCE.start(), *OPENED_AT_ONCE.end()) {
            if let Err(error) = thread::Builder::new()
                .name("sweep".to_owned())
                .spawn_scoped(scope, look)
            {
                tracing::warn!(error = %error, "the system grants no more threads; the shops are \
                    looked into by fewer");
                break;
            }
        }
        look();
    });
    true
}

fn first_look(shared: &Arc<Shared>, access: &TenantAccess) {
    let (registry, id) = (&shared.app.registry, access.id());
    let was_open = registry.peek(id).is_some();
    let Ok(db) = registry.open(access) else {
        return;
    };
    return_known(shared, id, &db);
    expire_overdue(shared, id, &db);
    let next = note(shared, id, &db);
    warn_of_currencies(&shared.app, access, &db);
    shared.app.shares.look(id);
    drop(db);
    let soon = shared.app.clock.now().plus_millis(SWEEP_MS.cast_signed());
    if !was_open && next.is_none_or(|at| at > soon) {
        registry.close_unused(id);
    }
}

/// Looks into the shops that are open, tries again those whose file could not be used, and tidies
/// up. Blocks.
pub(super) fn over_open(shared: &Arc<Shared>) {
    let app = &shared.app;
    for tenant in app.registry.list_open() {
        if let Some(db) = app.registry.peek(tenant) {
            note(shared, tenant, &db);
            expire_overdue(shared, tenant, &db);
            app.shares.look(tenant);
            delete_keyless(shared, tenant, &db);
        }
    }
    for (tenant, _) in app.registry.list_unavailable() {
        retry(shared, tenant);
    }
    app.registry.close_idle(app.clock.now());
    if let Err(error) = app.directory.flush_used() {
        tracing::warn!(error = %error, "when keys were last used was not written down");
    }
}

fn retry(shared: &Arc<Shared>, tenant: TenantId) {
    let Ok(found) = shared.app.directory.tenant_of_id(tenant).wait() else {
        return;
    };
    let Some(access) = found else {
        // A request that came while the tenant was removed has left its trace; there is nothing to
        // be tried again.
        shared.app.registry.forget(tenant);
        return;
    };
    if !matches!(
        access.status(),
        TenantStatus::Active | TenantStatus::Suspended
    ) {
        return;
    }
    if let Ok(db) = shared.app.registry.open(&access) {
        tracing::info!(tenant_id = %tenant, "tenant available again");
        return_known(shared, tenant, &db);
        note(shared, tenant, &db);
        warn_of_currencies(&shared.app, &access, &db);
    }
}

/// A shop that was well with an older program, or whose rates have grown old, is spoken of before
/// its customers find out.
fn warn_of_currencies(app: &App, access: &TenantAccess, db: &Database<Tenant>) {
    if access.status() != TenantStatus::Active {
        return;
    }
    match unsellable(app, db) {
        Ok(reasons) if reasons.is_empty() => {}
        Ok(reasons) => {
            let (tenant_id, tenant, reasons) = (access.id(), access.slug(), reasons.join("; "));
            tracing::warn!(%tenant_id, %tenant, reasons, "products of this store cannot be sold: \
                enable their currency with POST /v1/currencies; set its exchange rate with POST \
                /v1/exchange-rates, or bring in published ones with `tillbox exchange-rates import \
                FILE.csv`");
        }
        Err(error) => {
            tracing::warn!(tenant_id = %access.id(), error = %error, "whether the store's products \
                can be sold could not be looked up")
        }
    }
}

fn unsellable(app: &App, db: &Database<Tenant>) -> Result<Vec<String>, StorageError> {
    let currencies = db.read_long(currency::list_currencies_of_products).wait()?;
    let mut series = BTreeMap::new();
    // A store of one currency needs no rates.
    for currency in currencies.iter().filter(|_| currencies.len() > 1) {
        series.insert(*currency, app.published.series(*currency).wait()?);
    }
    let (published, now) = (Published::new(series), app.clock.now());
    db.read(move |view| currency::list_unsellable(view, &published, &currencies, now))
        .wait()
}

/// A reservation whose job was given up is not held for ever. What one batch leaves, the next sweep
/// takes.
fn expire_overdue(shared: &Arc<Shared>, tenant: TenantId, db: &Database<Tenant>) {
    let now = shared.app.clock.now();
    let ended = match db
        .read(move |view| inventory::has_overdue(view, now))
        .wait()
    {
        Ok(true) => db
            .write(Origin::system(), inventory::expire_reservations)
            .wait()
            .map(drop),
        looked => looked.map(drop),
    };
    if let Err(error) = ended {
        tracing::warn!(tenant_id = %tenant, error = %error, "reservations whose time is over could \
            not be ended");
    }
}

/// What callers without a key left behind goes all day long, a few rows in each transaction. While
/// the clock is suspect nothing does.
fn delete_keyless(shared: &Arc<Shared>, tenant: TenantId, db: &Database<Tenant>) {
    let app = &shared.app;
    if !app.clock_watch.is_trusted() {
        return;
    }
    let cut_offs = maintenance::retention::cut_offs(app, app.clock.now());
    for _ in 0..KEYLESS_BATCHES_PER_SWEEP {
        let looked = db
            .read(move |view| retention::has_keyless(view, &cut_offs))
            .wait();
        let deleted = match looked {
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

/// Jobs that an earlier program held because it did not know their kinds may run under this one.
fn return_known(shared: &Arc<Shared>, tenant: TenantId, db: &Database<Tenant>) {
    let handlers = shared.rules.handlers;
    let returned = loop {
        match db
            .read(move |view| epoch::has_known(view, &handlers.kinds()))
            .wait()
        {
            Ok(true) => {}
            looked => break looked.map(drop),
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
        tracing::warn!(tenant_id = %tenant, error = %error, "jobs whose kinds are known again stay \
            held until the next start");
    }
}

/// Notes what there is to do; says when first, which is now when that is not known.
fn note(shared: &Arc<Shared>, tenant: TenantId, db: &Database<Tenant>) -> Option<Timestamp> {
    let next = match db.read(queue::ready_queue).wait() {
        Ok(wakes) => {
            shared.ready_queue.note(tenant, &wakes);
            wakes.iter().map(|wake| wake.at).min()
        }
        Err(error) => {
            tracing::warn!(tenant_id = %tenant, error = %error,
                "the queue could not be looked into");
            Some(shared.app.clock.now())
        }
    };
    // Counted anew only where something was written since: a shop at rest costs nothing.
    let count = Count::of(db);
    if !shared.app.job_stats.is_counted(tenant, count) {
        match db.read_long(jobs::count_jobs).wait() {
            Ok(depths) => shared.app.job_stats.note_depths(tenant, count, depths),
            Err(error) => {
                tracing::debug!(tenant_id = %tenant, error = %error, "the jobs could not be \
                    counted; tried again")
            }
        }
    }
    next
}
