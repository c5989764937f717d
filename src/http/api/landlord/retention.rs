//! `/v1/landlord/retention`: retention of all tenants, its task runs, and the results of the
//! nightly check.

use std::fmt::Display;
use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::tenant_walk::{CursorParams, FailedView, TenantBatch, named};
use crate::app::App;
use crate::http::extract::{Body, FromBody, Landlord, QueryOf, WalkBeside};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::landlord::check_results::{Checked, Unchecked};
use crate::maintenance::integrity;
use crate::maintenance::retention::{self, Prune};
use crate::maintenance::tasks::{self, TaskStatus};
use crate::maintenance::tenant_files::MaintenanceRefused;
use crate::platform::page::WalkRequest;
use crate::platform::retention::Pruned;
use crate::primitives::{Slug, Timestamp};
use crate::tenancy::TenantAccess;
use crate::tenant::prune_now::PrunedNow;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(prune))
        .routes(routes!(show_retention))
}

/// The data to prune.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PruneBody {
    /// Only counts: nothing is deleted, and the counts are those of a run now.
    dry_run: bool,
    /// Only this tenant's file, by slug or id. Default: all tenants and the landlord's file.
    tenant: Option<String>,
    /// Only the audit logs.
    #[serde(default)]
    audit_only: bool,
    /// Confirms that the clock is right now, when it is not trusted because it was set, was behind,
    /// or nothing ran for more than a week. Not together with `dry_run`.
    #[serde(default)]
    clock_is_right: bool,
    /// Deletes data that callers without a key have stored, whatever its age, and nothing else:
    /// `answers` (of cart calls) and `carts` (that were not ordered). Never deletes the answer of a
    /// sale, a payment or a checkout. Works while the clock is not trusted. Not together with
    /// `audit_only` and `clock_is_right`.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    now: Vec<String>,
}

/// A parsed prune call.
pub struct PruneCall {
    prune: Prune,
    tenant: Option<String>,
    clock_is_right: bool,
    now: Vec<PrunedNow>,
}

/// Parses the kinds to prune now. An empty list selects none.
fn kinds_of(wire: &PruneBody, faults: &mut RequestFaults) -> Option<Vec<PrunedNow>> {
    let is_alone = wire.now.is_empty() || !(wire.audit_only || wire.clock_is_right);
    let alone = is_alone
        .then_some(())
        .ok_or("cannot be combined with audit_only or clock_is_right; leave those out");
    let words = wire.now.iter().enumerate().map(|(index, word)| {
        let unknown = || format!("{word:?} cannot be pruned now; use answers or carts");
        let kind = PrunedNow::parse(word).ok_or_else(unknown);
        faults.check(format!("/now/{index}"), kind)
    });
    let words: Vec<Option<PrunedNow>> = words.collect();
    faults.check("/now", alone)?;
    let mut kinds: Vec<PrunedNow> = words.into_iter().collect::<Option<_>>()?;
    kinds.sort_unstable();
    kinds.dedup();
    Some(kinds)
}

impl FromBody for PruneCall {
    type Wire = PruneBody;

    fn from_wire(wire: PruneBody, faults: &mut RequestFaults) -> Option<Self> {
        let confirmation = if wire.dry_run && wire.clock_is_right {
            Err(
                "cannot be combined with dry_run, which needs no trusted clock; leave one of the \
                two out",
            )
        } else {
            Ok(wire.clock_is_right)
        };
        let now = kinds_of(&wire, faults);
        let clock_is_right = faults.check("/clock_is_right", confirmation)?;
        Some(Self {
            now: now?,
            prune: Prune {
                dry_run: wire.dry_run,
                audit_only: wire.audit_only,
            },
            tenant: wire.tenant,
            clock_is_right,
        })
    }
}

#[derive(Serialize, ToSchema)]
struct PrunedView {
    /// The tenant of the file; `null` for the landlord's file.
    tenant: Option<Slug>,
    table: String,
    /// Rows that were or would be deleted.
    rows: i64,
    /// Older rows are deleted; `null` for rows that are deleted whatever their age.
    cut_off: Option<Timestamp>,
}

impl PrunedView {
    fn of<T: Display>(access: Option<&TenantAccess>, pruned: Pruned<T>) -> Self {
        Self {
            tenant: access.map(|access| access.slug().clone()),
            table: pruned.table.to_string(),
            rows: pruned.rows,
            cut_off: pruned.cut_off,
        }
    }
}

/// The deleted rows, or those that would be: one item for each tenant and table.
#[derive(Serialize, ToSchema)]
struct PruneView {
    dry_run: bool,
    pruned: Vec<PrunedView>,
    /// Tenants for which it failed, with the reason; the log has it too. Rows that were deleted
    /// before stay deleted.
    failed: Vec<FailedView>,
    /// `null` when all tenants are done; otherwise the `cursor` of the next call.
    next_cursor: Option<String>,
}

/// A query without filters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFilter {}

/// Deletes data that is older than the configuration keeps, a few rows at a time, so that sales
/// continue meanwhile.
#[utoipa::path(post, path = "/landlord/retention/prune", tag = "landlord", params(CursorParams),
    request_body = PruneBody,
    responses((status = 200, body = PruneView), (status = 404, description = "`tenant_not_found`"),
        (status = 409, description = "`clock_suspect`"),
    (status = 422, description = "`validation_failed`")))]
async fn prune(
    landlord: Landlord,
    WalkBeside(walk): WalkBeside,
    QueryOf(NoFilter {}): QueryOf<NoFilter>,
    Body(call): Body<PruneCall>,
) -> Result<Json<PruneView>, Problem> {
    let named = named(&landlord.app.stores, call.tenant.as_deref()).await?;
    let pruned = landlord.blocking(move |landlord: &Landlord| match call.now.is_empty() {
        true => prune_by_age(landlord, &call, named, walk),
        false => prune_now(landlord, &call, named, walk),
    });
    pruned.await.map(Json)
}

fn prune_by_age(
    landlord: &Landlord,
    call: &PruneCall,
    named: Option<TenantAccess>,
    walk: WalkRequest,
) -> Result<PruneView, Problem> {
    let (app, prune) = (&landlord.app, call.prune);
    // Read first, because the confirmation and the end of a suspicion are entries themselves.
    let newest = retention::newest_in_landlord(&app.stores)?;
    if call.clock_is_right {
        app.stores.clock_watch.confirm(landlord.origin.clone())?;
    }
    if !prune.dry_run {
        // Checked before anything is opened, to refuse the whole call.
        retention::trusted_now(&app.stores, &app.ports)?;
    }
    let is_first = named.is_none() && walk.tenant_seq == 0;
    let tenants = TenantBatch::from(&app.stores, named, walk.tenant_seq)?;
    let mut pruned = Vec::new();
    if is_first {
        let rows = retention::prune_landlord(app, &landlord.origin, prune, Some(newest))?;
        pruned.extend(rows.into_iter().map(|row| PrunedView::of(None, row)));
    }
    prune_each(prune.dry_run, &tenants, pruned, |access| {
        retention::prune_tenant(app, access, &landlord.origin, prune)
    })
}

fn prune_now(
    landlord: &Landlord,
    call: &PruneCall,
    named: Option<TenantAccess>,
    walk: WalkRequest,
) -> Result<PruneView, Problem> {
    let (app, dry_run) = (&landlord.app, call.prune.dry_run);
    let tenants = TenantBatch::from(&app.stores, named, walk.tenant_seq)?;
    prune_each(dry_run, &tenants, Vec::new(), |access| {
        retention::prune_tenant_now(
            &app.stores,
            &app.limits,
            access,
            &landlord.origin,
            &call.now,
            dry_run,
        )
    })
}

/// Prunes the tenants of a call. A suspect clock ends the call; any other failure skips a tenant
/// that the caller did not name.
fn prune_each<T: Display>(
    dry_run: bool,
    tenants: &TenantBatch,
    mut pruned: Vec<PrunedView>,
    prune: impl Fn(&TenantAccess) -> Result<Vec<Pruned<T>>, MaintenanceRefused>,
) -> Result<PruneView, Problem> {
    let mut failed = Vec::new();
    for (_, access) in &tenants.batch {
        match prune(access) {
            Ok(rows) => pruned.extend(
                rows.into_iter()
                    .map(|row| PrunedView::of(Some(access), row)),
            ),
            Err(refused @ MaintenanceRefused::ClockSuspect(_)) => return Err(refused.into()),
            Err(refused) if tenants.is_named() => return Err(refused.into()),
            Err(refused) => failed.push(FailedView::logged("retention", access, &refused.into())),
        }
    }
    let next = tenants.next;
    Ok(PruneView {
        dry_run,
        pruned,
        failed,
        next_cursor: next.map(|position| WalkRequest::cursor(position, i64::MAX)),
    })
}

#[derive(Serialize, ToSchema)]
struct TaskView {
    task: &'static str,
    /// The last run; `null` before the first one.
    last_run_at: Option<Timestamp>,
    /// The next run; in the past while it is held or running. `null` before the first start of the
    /// process, and when no run is planned.
    next_run_at: Option<Timestamp>,
}

#[derive(Serialize, ToSchema)]
struct WrongView {
    /// The tenant of the file; `null` for the landlord's file.
    tenant: Option<Slug>,
    /// The number of mismatches.
    mismatches: i64,
    /// The first mismatches: `{check, detail}`.
    #[schema(value_type = Vec<Object>)]
    findings: Value,
    checked_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
struct UncheckedView {
    /// The tenant of the file; `null` for the landlord's file.
    tenant: Option<Slug>,
    /// The reason why it could not be checked.
    reason: String,
    /// The last attempt.
    tried_at: Timestamp,
    /// The last successful check; `null` before the first one.
    checked_at: Option<Timestamp>,
}

impl UncheckedView {
    fn of(tenant: Option<Slug>, unchecked: Unchecked) -> Self {
        Self {
            tenant,
            reason: unchecked.reason,
            tried_at: unchecked.tried_at,
            checked_at: unchecked.checked_at,
        }
    }
}

impl WrongView {
    fn of(tenant: Option<Slug>, checked: Checked) -> Self {
        Self {
            tenant,
            mismatches: checked.mismatches,
            findings: checked.findings,
            checked_at: checked.at,
        }
    }
}

/// Retention settings, task runs, and results of the integrity check.
#[derive(Serialize, ToSchema)]
struct RetentionView {
    audit_days: i64,
    inventory_movement_days: i64,
    stripe_events_days: i64,
    timezone: String,
    tasks: Vec<TaskView>,
    /// The suspicion of the clock: `{since, reason, ends}`. Until it ends nothing is deleted by
    /// age. `null` when the clock is trusted.
    #[schema(value_type = Option<Object>)]
    clock_suspicion: Option<crate::landlord::ClockSuspicion>,
    /// Files whose last check found mismatches.
    mismatches: Vec<WrongView>,
    /// Files that could not be checked at the last attempt; earlier results do not count for them.
    unchecked: Vec<UncheckedView>,
}

/// Shows the retention settings, the task runs, and the results of the nightly check.
#[utoipa::path(get, path = "/landlord/retention", tag = "landlord", responses((status = 200,
    body = RetentionView)))]
async fn show_retention(landlord: Landlord) -> Result<Json<RetentionView>, Problem> {
    landlord
        .blocking(|landlord: &Landlord| show(&landlord.app))
        .await
        .map(Json)
}

fn show(app: &App) -> Result<RetentionView, Problem> {
    let keep = &app.config.retention;
    let task = |status: TaskStatus| TaskView {
        task: status.task,
        last_run_at: status.last_run_at,
        next_run_at: status.next_run_at,
    };
    let landlord_check = integrity::find_landlord_check(&app.stores)?;
    let landlord_wrong = landlord_check
        .checked
        .filter(|checked| checked.mismatches > 0)
        .map(|checked| WrongView::of(None, checked));
    let tenants_wrong = integrity::list_wrong(&app.stores)?.into_iter();
    let wrong = landlord_wrong
        .into_iter()
        .chain(tenants_wrong.map(|(tenant, checked)| WrongView::of(Some(tenant), checked)));
    let landlord_unchecked = landlord_check
        .unchecked
        .map(|unchecked| UncheckedView::of(None, unchecked));
    let tenants_unchecked = integrity::list_unchecked(&app.stores)?.into_iter();
    let unchecked =
        tenants_unchecked.map(|(tenant, unchecked)| UncheckedView::of(Some(tenant), unchecked));
    Ok(RetentionView {
        audit_days: keep.audit_days,
        inventory_movement_days: keep.inventory_movement_days,
        stripe_events_days: keep.stripe_events_days,
        timezone: keep.timezone.clone(),
        tasks: tasks::list_tasks(app)?.into_iter().map(task).collect(),
        clock_suspicion: app.stores.clock_watch.observe()?,
        mismatches: wrong.collect(),
        unchecked: landlord_unchecked.into_iter().chain(unchecked).collect(),
    })
}
