//! `/v1/landlord/queue/retry`, `…/flush`: retries or deletes all discarded jobs, of all tenants or
//! of one.
//!
//! Each tenant's part of a call is one bounded transaction. A call ends with the first full
//! transaction; `next_cursor` continues there. A failure in one tenant does not stop the others.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::jobs::parse_queue;
use super::tenant_walk::{CursorParams, FailedView, TenantBatch, named};
use crate::app::App;
use crate::http::extract::{Landlord, QueryOf, WalkBeside};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::platform::page::WalkRequest;
use crate::platform::queue::Queue;
use crate::primitives::Slug;
use crate::primitives::limits::JOBS_CHANGED_MAX;
use crate::tenancy::{TenantAccess, commands};
use crate::tenant::jobs::{self, Sweep, Swept};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(retry_discarded))
        .routes(routes!(flush_discarded))
}

/// The filter of discarded jobs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DiscardedQuery {
    /// Only this tenant, by slug or id.
    tenant: Option<String>,
    /// Only jobs of this queue.
    #[param(inline, value_type = Option<Queue>)]
    queue: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct SweptView {
    tenant: Slug,
    /// Jobs that were retried or deleted.
    changed: u32,
    /// Jobs that stay, because another one with the same unique key does the same work.
    skipped: u32,
}

/// The result, tenant by tenant, the oldest tenant first; tenants without such jobs are left out.
#[derive(Serialize, ToSchema)]
struct SweepView {
    swept: Vec<SweptView>,
    /// Tenants for which it failed, with the reason; the log has it too.
    failed: Vec<FailedView>,
    /// `null` when no such job is left; otherwise the `cursor` of the next call.
    next_cursor: Option<String>,
}

/// Retries discarded jobs with all their attempts, a bounded number with each call.
#[utoipa::path(post, path = "/landlord/queue/retry", tag = "landlord", params(DiscardedQuery,
    CursorParams),
    responses((status = 200, body = SweepView), (status = 404, description = "`tenant_not_found`"),
        (status = 422, description = "`validation_failed`")))]
async fn retry_discarded(
    landlord: Landlord,
    WalkBeside(walk): WalkBeside,
    QueryOf(query): QueryOf<DiscardedQuery>,
) -> Result<Json<SweepView>, Problem> {
    sweep(landlord, Sweep::Retry, walk, query).await
}

/// Deletes discarded jobs with their errors, a bounded number with each call. Running and waiting
/// jobs are left alone.
#[utoipa::path(post, path = "/landlord/queue/flush", tag = "landlord", params(DiscardedQuery,
    CursorParams),
    responses((status = 200, body = SweepView), (status = 404, description = "`tenant_not_found`"),
        (status = 422, description = "`validation_failed`")))]
async fn flush_discarded(
    landlord: Landlord,
    WalkBeside(walk): WalkBeside,
    QueryOf(query): QueryOf<DiscardedQuery>,
) -> Result<Json<SweepView>, Problem> {
    sweep(landlord, Sweep::Forget, walk, query).await
}

async fn sweep(
    landlord: Landlord,
    sweep: Sweep,
    walk: WalkRequest,
    query: DiscardedQuery,
) -> Result<Json<SweepView>, Problem> {
    let mut faults = RequestFaults::default();
    let queue = faults.optional("?queue", query.queue.as_deref().map(parse_queue));
    let queue = faults.finish(queue)?;
    let named = named(&landlord.app.stores, query.tenant.as_deref()).await?;
    let swept = landlord
        .blocking(move |landlord: &Landlord| sweep_batch(landlord, sweep, queue, named, walk));
    swept.await.map(Json)
}

fn sweep_batch(
    landlord: &Landlord,
    sweep: Sweep,
    queue: Option<Queue>,
    named: Option<TenantAccess>,
    walk: WalkRequest,
) -> Result<SweepView, Problem> {
    let tenants = TenantBatch::from(&landlord.app.stores, named, walk.tenant_seq)?;
    let (mut swept, mut failed, mut jobs) = (Vec::new(), Vec::new(), 0);
    let view = |swept, failed, next_cursor| SweepView {
        swept,
        failed,
        next_cursor,
    };
    for (position, access) in &tenants.batch {
        if jobs >= JOBS_CHANGED_MAX {
            return Ok(view(
                swept,
                failed,
                Some(WalkRequest::cursor(*position, i64::MAX)),
            ));
        }
        // A tenant that the previous call began continues after its last job; every other one
        // starts at its beginning.
        let after = if *position == walk.tenant_seq && walk.before < i64::MAX {
            walk.before
        } else {
            0
        };
        match sweep_tenant(landlord, access, sweep, queue, after) {
            Err(problem) if tenants.is_named() => return Err(problem),
            Err(problem) => failed.push(FailedView::logged("discarded jobs", access, &problem)),
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
                    return Ok(view(
                        swept,
                        failed,
                        Some(WalkRequest::cursor(*position, next)),
                    ));
                }
            }
        }
    }
    let next_cursor = tenants
        .next
        .map(|position| WalkRequest::cursor(position, i64::MAX));
    Ok(view(swept, failed, next_cursor))
}

/// Sweeps one tenant in one transaction with its audit entry, then records it in the landlord's
/// audit log. Blocks.
fn sweep_tenant(
    landlord: &Landlord,
    access: &TenantAccess,
    sweep: Sweep,
    queue: Option<Queue>,
    after: i64,
) -> Result<Swept, Problem> {
    let db = landlord.app.stores.registry.open(access)?;
    let swept = db.write(landlord.origin.clone(), move |work| {
        jobs::sweep_discarded(work, sweep, queue, after)
    });
    let swept = swept.wait()?;
    if swept.changed > 0 {
        let action = match sweep {
            Sweep::Retry => "jobs.retried",
            Sweep::Forget => "jobs.forgotten",
        };
        let (id, details) = (access.id(), json!({"queue": queue, "jobs": swept.changed}));
        let recorded = landlord
            .app
            .stores
            .directory
            .change(landlord.origin.clone(), move |work| {
                commands::record_jobs_audit(
                    work,
                    action,
                    &format!("tenant:{id}"),
                    id,
                    details.clone(),
                )
            });
        if let Err(error) = recorded.wait() {
            // The change is done, and the tenant's audit log has it.
            tracing::error!(tenant_id = %id, action, error = %error, "change of jobs is missing in \
                the landlord's audit log");
        }
    }
    Ok(swept)
}
