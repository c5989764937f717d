//! `/v1/landlord/queue`: queue statistics, and pausing queues. Single jobs are in `jobs`, discarded
//! jobs in `discarded`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::jobs::parse_queue;
use super::tenant_walk::{CursorParams, TenantBatch, named};
use crate::app::{App, Stores};
use crate::http::api::view::views;
use crate::http::extract::{Landlord, PathText, QueryOf, WalkBeside};
use crate::http::problem::Problem;
use crate::observe::job_stats::KindStats;
use crate::platform::page::WalkRequest;
use crate::platform::queue::{Queue, State};
use crate::primitives::limits::LONG_READ_MS;
use crate::primitives::{Class, Slug, Timestamp};
use crate::storage::{StorageError, TenantView};
use crate::tenancy::TenantAccess;
use crate::tenancy::commands::{self, DirectoryRefused};
use crate::tenant::jobs::{self, Depth};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(queue_stats))
        .routes(routes!(pause_queue))
        .routes(routes!(resume_queue))
        .routes(routes!(release_jobs))
        .merge(super::discarded::routes())
        .merge(super::jobs::routes())
}

#[derive(Serialize, ToSchema)]
struct QueueView {
    #[schema(value_type = String)]
    queue: Queue,
    /// The named tenant; `null`: all tenants.
    tenant: Option<Slug>,
    /// Whether the queue is paused: for all tenants, or for the named one.
    paused: bool,
    paused_at: Option<Timestamp>,
    /// Outbound calls that its jobs are making now. After a pause these finish, and no new ones
    /// begin.
    under_way: usize,
    /// Jobs that run concurrently.
    workers: u32,
    /// The maximum number of these for one tenant.
    tenant_limit: u32,
    /// The priority among queues when workers are short; lower numbers first.
    priority: u32,
    /// Attempts before a job is discarded.
    tries: u32,
}

impl QueueView {
    fn of(app: &App, queue: Queue, tenant: Option<&TenantAccess>) -> Self {
        let settings = app
            .config
            .queue
            .find(queue.as_str())
            .expect("every queue has its settings");
        let paused_for_all = app
            .stores
            .pauses
            .list()
            .into_iter()
            .find(|(paused, _)| *paused == queue)
            .map(|(_, at)| at);
        let paused_for_tenant = tenant.and_then(|tenant| {
            let paused = app
                .stores
                .pauses
                .list_tenants(queue)
                .into_iter()
                .find(|(id, _)| *id == tenant.id());
            paused.map(|(_, at)| at)
        });
        let paused_at = paused_for_all.into_iter().chain(paused_for_tenant).min();
        Self {
            queue,
            tenant: tenant.map(|tenant| tenant.slug().clone()),
            paused: paused_at.is_some(),
            paused_at,
            under_way: app
                .stores
                .pauses
                .count_under_way(queue, tenant.map(TenantAccess::id)),
            workers: settings.workers,
            tenant_limit: settings.tenant_limit,
            priority: settings.priority,
            tries: settings.tries,
        }
    }
}

#[derive(Serialize, ToSchema)]
struct PausedTenantView {
    tenant: Slug,
    paused_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
struct QueueStatsView {
    #[serde(flatten)]
    queue: QueueView,
    /// Tenants for which the queue is paused individually.
    paused_tenants: Vec<PausedTenantView>,
    /// Ready to run.
    available: i64,
    /// Waiting for their time.
    scheduled: i64,
    /// Running.
    running: i64,
    /// Failed, and retried later.
    retryable: i64,
    /// Waiting to be released: of an older epoch of their file, or of an unknown kind. Not included
    /// in the other counts.
    held: i64,
    /// Discarded, and kept with their errors.
    discarded: i64,
    /// Cancelled before they ran.
    cancelled: i64,
    /// The time since which the oldest next job of a tenant is ready.
    oldest_ready_at: Option<Timestamp>,
}

views! {
    /// The jobs of a kind in the last hour, of all tenants, since the process started. Times are
    /// exact to 25 %.
    struct KindView from KindStats as stats {
        #[schema(value_type = Queue)]
        queue: Queue,
        kind: String,
        completed: u64,
        /// Failed attempts that are retried.
        retried: u64,
        discarded: u64,
        held: u64,
        /// Median time between due and start, in microseconds.
        wait_p50_us: Option<u64>,
        /// The 99th percentile.
        wait_p99_us: Option<u64>,
        /// Median run time, in microseconds.
        run_p50_us: Option<u64>,
        /// The 99th percentile.
        run_p99_us: Option<u64>,
    }
}

/// The queues of all tenants. Completed jobs are not counted.
#[derive(Serialize, ToSchema)]
struct StatsView {
    queues: Vec<QueueStatsView>,
    /// The last hour, by queue and kind; always of all tenants.
    last_hour: Vec<KindView>,
    /// The number of tenants included.
    tenants: usize,
    /// Tenants of this page whose files cannot be used.
    unavailable: Vec<Slug>,
    /// `null` when all tenants are included. Otherwise the counts are of some tenants, and this
    /// `cursor` gives the next ones.
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct ReleasedView {
    tenant: Slug,
    /// Jobs that may run now.
    released: u32,
    /// Jobs that were cancelled instead, because a newer one with the same unique key waits.
    superseded: u32,
}

/// The tenant filter.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StatsQuery {
    /// Only this tenant, by slug or id.
    tenant: Option<String>,
}

/// The tenant of the held jobs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ReleaseQuery {
    /// The tenant, by slug or id.
    tenant: String,
}

/// The queue depths of a tenant.
struct TenantDepths {
    depths: Vec<Depth>,
    oldest: Vec<(Queue, Timestamp)>,
}

/// Counts the jobs of each queue by state.
#[utoipa::path(get, path = "/landlord/queue/stats", tag = "landlord", params(StatsQuery,
    CursorParams),
    responses((status = 200, body = StatsView), (status = 404,
        description = "`tenant_not_found`")))]
async fn queue_stats(
    landlord: Landlord,
    WalkBeside(walk): WalkBeside,
    QueryOf(query): QueryOf<StatsQuery>,
) -> Result<Json<StatsView>, Problem> {
    let named = named(&landlord.app.stores, query.tenant.as_deref()).await?;
    let stats = landlord.blocking(move |landlord: &Landlord| count(&landlord.app, named, walk));
    stats.await.map(Json)
}

fn count(app: &App, named: Option<TenantAccess>, walk: WalkRequest) -> Result<StatsView, Problem> {
    let tenant = named.clone();
    let tenants = TenantBatch::from(&app.stores, named, walk.tenant_seq)?;
    let (mut tenant_count, mut unavailable) = (0, Vec::new());
    let mut depths: BTreeMap<(Queue, Option<State>), i64> = BTreeMap::new();
    let mut oldest: BTreeMap<Queue, Timestamp> = BTreeMap::new();
    for (_, access) in &tenants.batch {
        let found = tenants.read_tenant(&app.stores, access, &mut unavailable, |db| {
            Ok(db
                .read_within(Duration::from_millis(LONG_READ_MS), read_depths)
                .wait()?)
        })?;
        let Some(found) = found else { continue };
        tenant_count += 1;
        for depth in found.depths {
            let state = (!depth.held).then_some(depth.state);
            *depths.entry((depth.queue, state)).or_default() += depth.jobs;
        }
        for (queue, at) in found.oldest {
            oldest
                .entry(queue)
                .and_modify(|known| *known = at.min(*known))
                .or_insert(at);
        }
    }
    let mut queues = Vec::new();
    for queue in Queue::ALL {
        let count = |state| depths.get(&(*queue, state)).copied().unwrap_or(0);
        queues.push(QueueStatsView {
            queue: QueueView::of(app, *queue, tenant.as_ref()),
            paused_tenants: paused_tenants(&app.stores, *queue)?,
            available: count(Some(State::Available)),
            scheduled: count(Some(State::Scheduled)),
            running: count(Some(State::Running)),
            retryable: count(Some(State::Retryable)),
            held: count(None),
            discarded: count(Some(State::Discarded)),
            cancelled: count(Some(State::Cancelled)),
            oldest_ready_at: oldest.get(queue).copied(),
        });
    }
    let last_hour = app
        .observation
        .job_stats
        .snapshot(app.ports.clock.now())
        .kinds;
    Ok(StatsView {
        queues,
        last_hour: last_hour.into_iter().map(KindView::from).collect(),
        tenants: tenant_count,
        unavailable,
        next_cursor: tenants
            .next
            .map(|position| WalkRequest::cursor(position, i64::MAX)),
    })
}

/// Lists the tenants for which a queue is paused individually. Blocks.
fn paused_tenants(stores: &Stores, queue: Queue) -> Result<Vec<PausedTenantView>, Problem> {
    let mut paused = Vec::new();
    for (id, paused_at) in stores.pauses.list_tenants(queue) {
        // A tenant that was deleted meanwhile is left out.
        if let Some(access) = stores.directory.tenant_of_id(id).wait()? {
            let tenant = access.slug().clone();
            paused.push(PausedTenantView { tenant, paused_at });
        }
    }
    Ok(paused)
}

fn read_depths(view: &TenantView) -> Result<TenantDepths, StorageError> {
    let depths = jobs::count_jobs(view)?;
    let mut oldest = Vec::new();
    for queue in Queue::ALL {
        oldest.extend(jobs::find_oldest_ready(view, *queue)?.map(|at| (*queue, at)));
    }
    Ok(TenantDepths { depths, oldest })
}

/// Finds the queue in the path and the tenant in the query, if one is named.
async fn selected(
    landlord: &Landlord,
    name: &str,
    of: StatsQuery,
) -> Result<(Queue, Option<TenantAccess>), Problem> {
    let queue = parse_queue(name)
        .map_err(|detail| Problem::new(Class::NotFound, "queue_not_found", detail))?;
    let tenant = named(&landlord.app.stores, of.tenant.as_deref()).await?;
    Ok((queue, tenant))
}

/// Pauses a queue for all tenants, or for the named one, until it is resumed: no new job begins.
/// Running jobs finish; `under_way` counts their outbound calls.
#[utoipa::path(post, path = "/landlord/queue/{name}/pause", tag = "landlord",
    params(("name" = String, Path), StatsQuery),
    responses((status = 200, body = QueueView), (status = 404, description = "`queue_not_found`, \
        `tenant_not_found`")))]
async fn pause_queue(
    landlord: Landlord,
    PathText(name): PathText<String>,
    QueryOf(of): QueryOf<StatsQuery>,
) -> Result<Json<QueueView>, Problem> {
    let (queue, tenant) = selected(&landlord, &name, of).await?;
    let (pauses, id) = (
        &landlord.app.stores.pauses,
        tenant.as_ref().map(TenantAccess::id),
    );
    pauses.pause(landlord.origin, queue, id).await?;
    Ok(Json(QueueView::of(&landlord.app, queue, tenant.as_ref())))
}

/// Resumes a paused queue for all tenants, or for the named one. The pause of all tenants and that
/// of one tenant are independent; each is resumed separately.
#[utoipa::path(post, path = "/landlord/queue/{name}/resume", tag = "landlord",
    params(("name" = String, Path), StatsQuery),
    responses((status = 200, body = QueueView), (status = 404, description = "`queue_not_found`, \
        `tenant_not_found`")))]
async fn resume_queue(
    landlord: Landlord,
    PathText(name): PathText<String>,
    QueryOf(of): QueryOf<StatsQuery>,
) -> Result<Json<QueueView>, Problem> {
    let (queue, tenant) = selected(&landlord, &name, of).await?;
    let (pauses, id) = (
        &landlord.app.stores.pauses,
        tenant.as_ref().map(TenantAccess::id),
    );
    pauses.resume(landlord.origin, queue, id).await?;
    Ok(Json(QueueView::of(&landlord.app, queue, tenant.as_ref())))
}

/// Releases the jobs of a tenant that are held because its file is a copy: they may run now. Call
/// it when their effects outside have not happened, or may happen again; delete a job that must not
/// run first.
#[utoipa::path(post, path = "/landlord/queue/release", tag = "landlord", params(ReleaseQuery),
    responses((status = 200, body = ReleasedView), (status = 404,
        description = "`tenant_not_found`")))]
async fn release_jobs(
    landlord: Landlord,
    QueryOf(query): QueryOf<ReleaseQuery>,
) -> Result<Json<ReleasedView>, Problem> {
    let access = named(&landlord.app.stores, Some(&query.tenant)).await?;
    let access = access.ok_or_else(|| DirectoryRefused::TenantNotFound(query.tenant))?;
    landlord
        .blocking(move |landlord: &Landlord| release(landlord, &access))
        .await
        .map(Json)
}

/// Releases jobs in small transactions, so that sales continue meanwhile. Blocks.
fn release(landlord: &Landlord, access: &TenantAccess) -> Result<ReleasedView, Problem> {
    let db = landlord.app.stores.registry.open(access)?;
    let (mut released, mut superseded) = (0, 0);
    loop {
        let batch = db
            .write(landlord.origin.clone(), jobs::release_jobs)
            .wait()?;
        released += batch.released;
        superseded += batch.superseded;
        if !batch.has_more {
            break;
        }
    }
    if released + superseded > 0 {
        let (id, details) = (
            access.id(),
            json!({"jobs": released, "superseded": superseded}),
        );
        let recorded = landlord
            .app
            .stores
            .directory
            .change(landlord.origin.clone(), move |work| {
                commands::record_jobs_audit(
                    work,
                    "jobs.released",
                    &format!("tenant:{id}"),
                    id,
                    details.clone(),
                )
            });
        recorded.wait()?;
    }
    Ok(ReleasedView {
        tenant: access.slug().clone(),
        released,
        superseded,
    })
}
