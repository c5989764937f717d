//! `/v1/landlord/queue/retry`, `…/flush`: what is done to all jobs that were given up, of all
//! stores or of one.
//!
//! A store's share of a call is one bounded transaction, and a call ends with the first one that is
//! full; `next_cursor` says where to go on. A store in which it fails hinders no other.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::jobs::parse_queue;
use super::tenant_walk::{CursorParams, FailedView, Tenants, named};
use crate::app::App;
use crate::http::extract::{Landlord, QueryOf, WalkBeside};
use crate::http::faults::Faults;
use crate::http::problem::Problem;
use crate::platform::page::WalkRequest;
use crate::platform::queue::Queue;
use crate::primitives::Slug;
use crate::primitives::limits::JOBS_CHANGED_MAX;
use crate::tenancy::{TenantAccess, commands};
use crate::tenant::jobs::{self, Sweep, Swept};

/// The routes of the jobs that were given up.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(retry_discarded))
        .routes(routes!(flush_discarded))
}

/// Which of the jobs that were given up.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DiscardedQuery {
    /// Only this tenant's: its slug or its id.
    tenant: Option<String>,
    /// Only those of this queue.
    #[param(inline, value_type = Option<Queue>)]
    queue: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct SweptView {
    tenant: Slug,
    /// Jobs that were retried or forgotten.
    changed: u32,
    /// Jobs that stay, because another one with the same unique key does what they would.
    skipped: u32,
}

/// What was done, store by store, the oldest store first; stores without such jobs are left out.
#[derive(Serialize, ToSchema)]
struct SweepView {
    swept: Vec<SweptView>,
    /// Tenants in which it failed, and why; the log has it too.
    failed: Vec<FailedView>,
    /// `null` when no such job is left; else the same call with this as `cursor` goes on.
    next_cursor: Option<String>,
}

/// Tries the jobs again that were given up, from the beginning and with all their attempts: so many
/// with each call.
#[utoipa::path(post, path = "/landlord/queue/retry", tag = "landlord", params(DiscardedQuery,
    CursorParams),
    responses((status = 200, body = SweepView), (status = 404, description = "`tenant_not_found`"),
        (status = 422, description = "`validation_failed`")))]
async fn retry_discarded(
    house: Landlord,
    WalkBeside(walk): WalkBeside,
    QueryOf(query): QueryOf<DiscardedQuery>,
) -> Result<Json<SweepView>, Problem> {
    sweep(house, Sweep::Retry, walk, query).await
}

/// Forgets the jobs that were given up, with their errors: so many with each call. Those that run
/// or wait are left alone.
#[utoipa::path(post, path = "/landlord/queue/flush", tag = "landlord", params(DiscardedQuery,
    CursorParams),
    responses((status = 200, body = SweepView), (status = 404, description = "`tenant_not_found`"),
        (status = 422, description = "`validation_failed`")))]
async fn flush_discarded(
    house: Landlord,
    WalkBeside(walk): WalkBeside,
    QueryOf(query): QueryOf<DiscardedQuery>,
) -> Result<Json<SweepView>, Problem> {
    sweep(house, Sweep::Forget, walk, query).await
}

async fn sweep(
    house: Landlord,
    sweep: Sweep,
    walk: WalkRequest,
    query: DiscardedQuery,
) -> Result<Json<SweepView>, Problem> {
    let mut faults = Faults::default();
    let queue = faults.optional("?queue", query.queue.as_deref().map(parse_queue));
    let queue = faults.finish(queue)?;
    let named = named(&house.app, query.tenant.as_deref()).await?;
    let swept =
        house.blocking(move |house: &Landlord| sweep_some(house, sweep, queue, named, walk));
    swept.await.map(Json)
}

fn sweep_some(
    house: &Landlord,
    sweep: Sweep,
    queue: Option<Queue>,
    named: Option<TenantAccess>,
    walk: WalkRequest,
) -> Result<SweepView, Problem> {
    let stores = Tenants::from(&house.app, named, walk.tenant_seq)?;
    let (mut swept, mut failed, mut jobs) = (Vec::new(), Vec::new(), 0);
    let view = |swept, failed, next_cursor| SweepView {
        swept,
        failed,
        next_cursor,
    };
    for (place, access) in &stores.some {
        if jobs >= JOBS_CHANGED_MAX {
            return Ok(view(
                swept,
                failed,
                Some(WalkRequest::cursor(*place, i64::MAX)),
            ));
        }
        // In a store that a call has begun it goes on behind the job that was last; every other one
        // is begun at its beginning.
        let after = if *place == walk.tenant_seq && walk.before < i64::MAX {
            walk.before
        } else {
            0
        };
        match sweep_tenant(house, access, sweep, queue, after) {
            Err(problem) if stores.is_named() => return Err(problem),
            Err(problem) => failed.push(FailedView::noted(
                "jobs that were given up",
                access,
                &problem,
            )),
            Ok(Swept {
                changed,
                skipped,
                next,
            }) => {
                jobs += changed + skipped;
                if changed + skipped > 0 {
                    let tenant = access.slug().clone();
                    swept.push(SweptView {
                        tenant,
                        changed,
                        skipped,
                    });
                }
                if let Some(next) = next {
                    return Ok(view(swept, failed, Some(WalkRequest::cursor(*place, next))));
                }
            }
        }
    }
    let next_cursor = stores
        .next
        .map(|place| WalkRequest::cursor(place, i64::MAX));
    Ok(view(swept, failed, next_cursor))
}

/// One transaction in a store's file, with its entry in the store's trail; then the landlord's own
/// log has it too. Blocks.
fn sweep_tenant(
    house: &Landlord,
    access: &TenantAccess,
    sweep: Sweep,
    queue: Option<Queue>,
    after: i64,
) -> Result<Swept, Problem> {
    let db = house.app.registry.open(access)?;
    let swept = db.write(house.origin.clone(), move |work| {
        jobs::sweep_discarded(work, sweep, queue, after)
    });
    let swept = swept.wait()?;
    if swept.changed > 0 {
        let action = match sweep {
            Sweep::Retry => "jobs.retried",
            Sweep::Forget => "jobs.forgotten",
        };
        let (id, details) = (access.id(), json!({"queue": queue, "jobs": swept.changed}));
        let noted = house
            .app
            .directory
            .change(house.origin.clone(), move |work| {
                commands::record_jobs_audit(
                    work,
                    action,
                    &format!("tenant:{id}"),
                    id,
                    details.clone(),
                )
            });
        if let Err(error) = noted.wait() {
            // It is done, and the store's own trail says so.
            tracing::error!(tenant_id = %id, action, error = %error, "what was done to jobs is not \
                in the landlord's log");
        }
    }
    Ok(swept)
}
