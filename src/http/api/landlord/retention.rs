//! `/v1/landlord/retention`: what is not kept for ever, in all stores; when the house was swept
//! last, and what the nightly check has found.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::tenant_walk::{CursorParams, FailedView, Tenants, named};
use crate::app::App;
use crate::http::extract::{Body, FromBody, Landlord, QueryOf, WalkBeside};
use crate::http::faults::Faults;
use crate::http::problem::Problem;
use crate::landlord::check_results::{Checked, Unchecked};
use crate::maintenance::all_files::{self, Prune, PruneRefused};
use crate::maintenance::tasks::{self, TaskStatus};
use crate::platform::page::WalkRequest;
use crate::primitives::{Slug, Timestamp};
use crate::tenancy::TenantAccess;
use crate::tenant::prune_now::PrunedNow;

/// The routes of retention.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(prune))
        .routes(routes!(show_retention))
}

/// What is to be pruned.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PruneBody {
    /// Only count: nothing is deleted, and the counts are those of a run at this instant.
    dry_run: bool,
    /// Only this tenant's file: its slug or its id. Without it, all of them and the house's own.
    tenant: Option<String>,
    /// Only the audit trails.
    #[serde(default)]
    audit_only: bool,
    /// Your word that the clock is right now, when it is not trusted because it was set, was
    /// behind, or nothing ran for more than a week. Not beside `dry_run`.
    #[serde(default)]
    clock_is_right: bool,
    /// Deletes at once, whatever its age, what callers without a key have stored, and nothing else:
    /// `answers` (of cart calls) and `carts` (that were not ordered). Never an answer of a sale, a
    /// payment or a checkout. Works while the clock is not trusted. Not beside `audit_only` and
    /// `clock_is_right`.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    now: Vec<String>,
}

/// A run that is asked for.
pub struct PruneCall {
    prune: Prune,
    tenant: Option<String>,
    clock_is_right: bool,
    now: Vec<PrunedNow>,
}

/// The kinds that are to be pruned at once. An empty list asks for none.
fn kinds_of(wire: &PruneBody, faults: &mut Faults) -> Option<Vec<PrunedNow>> {
    let fits = wire.now.is_empty() || !(wire.audit_only || wire.clock_is_right);
    let alone = fits.then_some(()).ok_or(
        "now deletes whatever its age and no audit entries; leave out audit_only and \
         clock_is_right",
    );
    let words = wire.now.iter().enumerate().map(|(index, word)| {
        let unknown = || format!("{word:?} cannot be pruned at once; write answers or carts");
        let kind = PrunedNow::parse(word).ok_or_else(unknown);
        faults.take(format!("/now/{index}"), kind)
    });
    let words: Vec<Option<PrunedNow>> = words.collect();
    faults.take("/now", alone)?;
    let mut kinds: Vec<PrunedNow> = words.into_iter().collect::<Option<_>>()?;
    kinds.sort_unstable();
    kinds.dedup();
    Some(kinds)
}

impl FromBody for PruneCall {
    type Wire = PruneBody;

    fn from_wire(wire: PruneBody, faults: &mut Faults) -> Option<Self> {
        let word = if wire.dry_run && wire.clock_is_right {
            Err(
                "counting needs no word about the clock, and this one is kept; leave one of the \
                 two out",
            )
        } else {
            Ok(wire.clock_is_right)
        };
        let now = kinds_of(&wire, faults);
        let clock_is_right = faults.take("/clock_is_right", word)?;
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
    /// Whose file; `null` for the house's own.
    tenant: Option<Slug>,
    #[schema(value_type = String)]
    table: &'static str,
    /// How many rows went, or would.
    rows: i64,
    /// What is older than this; `null` for what goes whatever its age.
    cut_off: Option<Timestamp>,
}

/// What went, or would: a row for each tenant and table.
#[derive(Serialize, ToSchema)]
struct PruneView {
    dry_run: bool,
    pruned: Vec<PrunedView>,
    /// Tenants in which it failed, and why; the log has it too. What went of them before is gone.
    failed: Vec<FailedView>,
    /// `null` when it was done in all stores; else the same call with this as `cursor` goes on.
    next_cursor: Option<String>,
}

/// The query has a cursor and nothing besides.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Deletes what is older than the configuration keeps, a few rows at a time, so that sales go on
/// meanwhile.
#[utoipa::path(post, path = "/landlord/retention/prune", tag = "landlord", params(CursorParams),
    request_body = PruneBody,
    responses((status = 200, body = PruneView), (status = 404, description = "`tenant_not_found`"),
        (status = 409, description = "`clock_doubtful`"),
    (status = 422, description = "`validation_failed`")))]
async fn prune(
    house: Landlord,
    WalkBeside(walk): WalkBeside,
    QueryOf(Nothing {}): QueryOf<Nothing>,
    Body(call): Body<PruneCall>,
) -> Result<Json<PruneView>, Problem> {
    let named = named(&house.app, call.tenant.as_deref()).await?;
    let pruned = house.blocking(move |house: &Landlord| match call.now.is_empty() {
        true => prune_some(house, &call, named, walk),
        false => prune_some_now(house, &call, named, walk),
    });
    pruned.await.map(Json)
}

fn prune_some(
    house: &Landlord,
    call: &PruneCall,
    named: Option<TenantAccess>,
    walk: WalkRequest,
) -> Result<PruneView, Problem> {
    let (app, prune) = (&house.app, call.prune);
    // Before the word about the clock is an entry itself, and before a doubt that ends is one.
    let newest = all_files::newest_in_landlord(app)?;
    if call.clock_is_right {
        app.clock_watch.confirm(house.origin.clone())?;
    }
    if !prune.dry_run {
        // Before anything is opened: it is the whole call that is refused.
        all_files::trusted_now(app)?;
    }
    let is_first = named.is_none() && walk.tenant_seq == 0;
    let stores = Tenants::from(app, named, walk.tenant_seq)?;
    let (mut pruned, mut failed) = (Vec::new(), Vec::new());
    if is_first {
        let rows = all_files::prune_landlord(app, &house.origin, prune, Some(newest))?;
        pruned.extend(rows.into_iter().map(|row| PrunedView {
            tenant: None,
            table: row.table.as_str(),
            rows: row.rows,
            cut_off: Some(row.cut_off),
        }));
    }
    for (_, access) in &stores.some {
        match all_files::prune_tenant(app, access, &house.origin, prune) {
            Ok(rows) => pruned.extend(rows.into_iter().map(|row| PrunedView {
                tenant: Some(access.slug().clone()),
                table: row.table.as_str(),
                rows: row.rows,
                cut_off: Some(row.cut_off),
            })),
            Err(PruneRefused::ClockSuspect(doubt)) => {
                return Err(PruneRefused::ClockSuspect(doubt).into());
            }
            Err(refused) if stores.is_named() => return Err(refused.into()),
            Err(refused) => failed.push(FailedView::noted("retention", access, &refused.into())),
        }
    }
    Ok(PruneView {
        dry_run: prune.dry_run,
        pruned,
        failed,
        next_cursor: stores
            .next
            .map(|place| WalkRequest::cursor(place, i64::MAX)),
    })
}

fn prune_some_now(
    house: &Landlord,
    call: &PruneCall,
    named: Option<TenantAccess>,
    walk: WalkRequest,
) -> Result<PruneView, Problem> {
    let (app, dry_run) = (&house.app, call.prune.dry_run);
    let stores = Tenants::from(app, named, walk.tenant_seq)?;
    let (mut pruned, mut failed) = (Vec::new(), Vec::new());
    for (_, access) in &stores.some {
        match all_files::prune_store_now(app, access, &house.origin, &call.now, dry_run) {
            Ok(kinds) => pruned.extend(kinds.into_iter().map(|(kind, rows)| PrunedView {
                tenant: Some(access.slug().clone()),
                table: kind.as_str(),
                rows,
                cut_off: None,
            })),
            Err(refused) if stores.is_named() => return Err(refused.into()),
            Err(refused) => failed.push(FailedView::noted("retention", access, &refused.into())),
        }
    }
    let next = stores.next;
    Ok(PruneView {
        dry_run,
        pruned,
        failed,
        next_cursor: next.map(|place| WalkRequest::cursor(place, i64::MAX)),
    })
}

#[derive(Serialize, ToSchema)]
struct TaskView {
    task: &'static str,
    /// When it was last done; `null` before the first time.
    last_run_at: Option<Timestamp>,
    /// When it comes next; in the past while it is held or under way. `null` before the process has
    /// run for the first time, and while it does not come.
    next_run_at: Option<Timestamp>,
}

#[derive(Serialize, ToSchema)]
struct WrongView {
    /// Whose file; `null` for the house's own.
    tenant: Option<Slug>,
    /// How much does not agree.
    mismatches: i64,
    /// The first of it: `{check, detail}`.
    #[schema(value_type = Vec<Object>)]
    findings: Value,
    checked_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
struct UncheckedView {
    /// Whose file; `null` for the house's own.
    tenant: Option<Slug>,
    /// Why it could not be checked.
    reason: String,
    /// When that was last tried.
    tried_at: Timestamp,
    /// When it was last checked; `null` when it never was.
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

/// When the house is swept and checked, what holds it up, and what was found.
#[derive(Serialize, ToSchema)]
struct RetentionView {
    audit_days: i64,
    inventory_movement_days: i64,
    stripe_events_days: i64,
    timezone: String,
    tasks: Vec<TaskView>,
    /// Since when the clock is not trusted, why, and how that ends: `{since, reason, ends}`. Until
    /// then nothing is deleted by age. `null` when it is trusted.
    #[schema(value_type = Option<Object>)]
    clock_suspicion: Option<crate::landlord::ClockSuspicion>,
    /// Files whose last check found something.
    mismatches: Vec<WrongView>,
    /// Files that could not be checked when that was last tried: what was found earlier says
    /// nothing about them.
    unchecked: Vec<UncheckedView>,
}

/// Shows when the house was swept last, and what the nightly check has found.
#[utoipa::path(get, path = "/landlord/retention", tag = "landlord", responses((status = 200,
    body = RetentionView)))]
async fn show_retention(house: Landlord) -> Result<Json<RetentionView>, Problem> {
    house
        .blocking(|house: &Landlord| show(&house.app))
        .await
        .map(Json)
}

fn show(app: &App) -> Result<RetentionView, Problem> {
    let keep = &app.config.retention;
    let task = |round: TaskStatus| TaskView {
        task: round.task,
        last_run_at: round.last_run_at,
        next_run_at: round.next_run_at,
    };
    let house = all_files::find_landlord_check(app)?;
    let of_house = house
        .checked
        .filter(|checked| checked.mismatches > 0)
        .map(|checked| WrongView::of(None, checked));
    let of_tenants = all_files::list_wrong(app)?.into_iter();
    let wrong = of_house
        .into_iter()
        .chain(of_tenants.map(|(tenant, checked)| WrongView::of(Some(tenant), checked)));
    let landlord_unchecked = house
        .unchecked
        .map(|unchecked| UncheckedView::of(None, unchecked));
    let tenants_unchecked = all_files::list_unchecked(app)?.into_iter();
    let unchecked =
        tenants_unchecked.map(|(tenant, unchecked)| UncheckedView::of(Some(tenant), unchecked));
    Ok(RetentionView {
        audit_days: keep.audit_days,
        inventory_movement_days: keep.inventory_movement_days,
        stripe_events_days: keep.stripe_events_days,
        timezone: keep.timezone.clone(),
        tasks: tasks::list_tasks(app)?.into_iter().map(task).collect(),
        clock_suspicion: app.clock_watch.observe()?,
        mismatches: wrong.collect(),
        unchecked: landlord_unchecked.into_iter().chain(unchecked).collect(),
    })
}
