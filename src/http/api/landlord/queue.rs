//! `/v1/landlord/queue`: how deep the queues are, and pausing them. The single jobs are in
//! `landlord_jobs`, those that were given up, all at once, in `landlord_discarded`.

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
use super::tenant_walk::{CursorParams, Tenants, named};
use crate::app::App;
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

/// The routes of the queues.
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
    /// The store that was named; `null`: all of them.
    tenant: Option<Slug>,
    /// Whether no job of it begins: in any store, or in the one that was named.
    paused: bool,
    paused_at: Option<Timestamp>,
    /// Calls to the outside that its jobs are making at this moment. After a pause these run to
    /// their end, and no other begins.
    under_way: usize,
    /// Jobs that run at a time.
    workers: u32,
    /// How many of them may be one store's.
    tenant_limit: u32,
    /// Which queue gets a place first when places are short: the lower.
    priority: u32,
    /// Attempts before a job is given up.
    tries: u32,
}

impl QueueView {
    fn of(app: &App, queue: Queue, tenant: Option<&TenantAccess>) -> Self {
        let settings = app
            .config
            .queue
            .find(queue.as_str())
            .expect("every queue has its settings");
        let of_all = app
            .pauses
            .list()
            .into_iter()
            .find(|(paused, _)| *paused == queue)
            .map(|(_, at)| at);
        let of_one = tenant.and_then(|tenant| {
            let paused = app
                .pauses
                .list_tenants(queue)
                .into_iter()
                .find(|(id, _)| *id == tenant.id());
            paused.map(|(_, at)| at)
        });
        let paused_at = of_all.into_iter().chain(of_one).min();
        Self {
            queue,
            tenant: tenant.map(|tenant| tenant.slug().clone()),
            paused: paused_at.is_some(),
            paused_at,
            under_way: app
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
    /// Tenants for which it is paused by name.
    paused_tenants: Vec<PausedTenantView>,
    /// Ready to run.
    available: i64,
    /// Not before their time.
    scheduled: i64,
    /// Being carried out.
    running: i64,
    /// Failed, and due again later.
    retryable: i64,
    /// Waiting to be released: of an older epoch of their file, or of a kind that nothing runs.
    /// They are in none of the other figures.
    held: i64,
    /// Given up, and kept with their errors.
    discarded: i64,
    /// Taken back before they ran.
    cancelled: i64,
    /// Since when the longest-waiting of the jobs that are next in their stores is ready.
    oldest_ready_at: Option<Timestamp>,
}

/// What the jobs of a kind were like in the last hour, of all stores, since the process began. A
/// time is exact to a quarter of itself.
#[derive(Serialize, ToSchema)]
struct KindView {
    #[schema(value_type = String)]
    queue: Queue,
    kind: String,
    completed: u64,
    /// Attempts that failed and are made again.
    retried: u64,
    discarded: u64,
    held: u64,
    /// How long they had been due when they began, in microseconds: half of them no longer than
    /// this.
    wait_p50_us: Option<u64>,
    /// All but one of a hundred no longer than this.
    wait_p99_us: Option<u64>,
    /// How long they ran, in microseconds: half of them no longer than this.
    run_p50_us: Option<u64>,
    /// All but one of a hundred no longer than this.
    run_p99_us: Option<u64>,
}

impl From<KindStats> for KindView {
    fn from(figures: KindStats) -> Self {
        Self {
            queue: figures.queue,
            kind: figures.kind,
            completed: figures.completed,
            retried: figures.retried,
            discarded: figures.discarded,
            held: figures.held,
            wait_p50_us: figures.wait_p50_us,
            wait_p99_us: figures.wait_p99_us,
            run_p50_us: figures.run_p50_us,
            run_p99_us: figures.run_p99_us,
        }
    }
}

/// The queues over all stores. Completed jobs are not counted.
#[derive(Serialize, ToSchema)]
struct StatsView {
    queues: Vec<QueueStatsView>,
    /// The last hour, by queue and kind. Of all stores, whichever are asked for.
    last_hour: Vec<KindView>,
    /// Tenants that were looked into.
    tenants: usize,
    /// Tenants that should have been looked into and whose files cannot be used.
    unavailable: Vec<Slug>,
    /// `null` when all stores were looked into; else these are the figures of some of them, and
    /// this as `cursor` gives those of the next.
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct ReleasedView {
    tenant: Slug,
    /// Jobs that may run now.
    released: u32,
    /// Jobs that were cancelled instead, because a newer one with the same unique key waits
    /// already.
    superseded: u32,
}

/// Whose jobs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StatsQuery {
    /// Only this tenant's: its slug or its id.
    tenant: Option<String>,
}

/// Whose held jobs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ReleaseQuery {
    /// The tenant: its slug or its id.
    tenant: String,
}

/// What was found in a store.
struct Found {
    depths: Vec<Depth>,
    oldest: Vec<(Queue, Timestamp)>,
}

/// How deep the queues are, by state.
#[utoipa::path(get, path = "/landlord/queue/stats", tag = "landlord", params(StatsQuery,
    CursorParams),
    responses((status = 200, body = StatsView), (status = 404,
        description = "`tenant_not_found`")))]
async fn queue_stats(
    house: Landlord,
    WalkBeside(walk): WalkBeside,
    QueryOf(query): QueryOf<StatsQuery>,
) -> Result<Json<StatsView>, Problem> {
    let named = named(&house.app, query.tenant.as_deref()).await?;
    let stats = house.blocking(move |house: &Landlord| count(&house.app, named, walk));
    stats.await.map(Json)
}

fn count(app: &App, named: Option<TenantAccess>, walk: WalkRequest) -> Result<StatsView, Problem> {
    let tenant = named.clone();
    let stores = Tenants::from(app, named, walk.tenant_seq)?;
    let (mut tenants, mut unavailable) = (0, Vec::new());
    let mut depths: BTreeMap<(Queue, Option<State>), i64> = BTreeMap::new();
    let mut oldest: BTreeMap<Queue, Timestamp> = BTreeMap::new();
    for (_, access) in &stores.some {
        let found = stores.look(app, access, &mut unavailable, |db| {
            Ok(db
                .read_within(Duration::from_millis(LONG_READ_MS), look)
                .wait()?)
        })?;
        let Some(found) = found else { continue };
        tenants += 1;
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
        let of = |state| depths.get(&(*queue, state)).copied().unwrap_or(0);
        queues.push(QueueStatsView {
            queue: QueueView::of(app, *queue, tenant.as_ref()),
            paused_tenants: paused_tenants(app, *queue)?,
            available: of(Some(State::Available)),
            scheduled: of(Some(State::Scheduled)),
            running: of(Some(State::Running)),
            retryable: of(Some(State::Retryable)),
            held: of(None),
            discarded: of(Some(State::Discarded)),
            cancelled: of(Some(State::Cancelled)),
            oldest_ready_at: oldest.get(queue).copied(),
        });
    }
    let last_hour = app.job_stats.snapshot(app.clock.now()).kinds;
    Ok(StatsView {
        queues,
        last_hour: last_hour.into_iter().map(KindView::from).collect(),
        tenants,
        unavailable,
        next_cursor: stores
            .next
            .map(|place| WalkRequest::cursor(place, i64::MAX)),
    })
}

/// The stores for which a queue is paused by name. Blocks.
fn paused_tenants(app: &App, queue: Queue) -> Result<Vec<PausedTenantView>, Problem> {
    let mut paused = Vec::new();
    for (id, paused_at) in app.pauses.list_tenants(queue) {
        // One that was removed meanwhile is paused for ever.
        if let Some(access) = app.directory.tenant_of_id(id).wait()? {
            let tenant = access.slug().clone();
            paused.push(PausedTenantView { tenant, paused_at });
        }
    }
    Ok(paused)
}

fn look(view: &TenantView) -> Result<Found, StorageError> {
    let depths = jobs::count_jobs(view)?;
    let mut oldest = Vec::new();
    for queue in Queue::ALL {
        oldest.extend(jobs::find_oldest_ready(view, *queue)?.map(|at| (*queue, at)));
    }
    Ok(Found { depths, oldest })
}

fn queue_in_path(text: &str) -> Result<Queue, Problem> {
    parse_queue(text).map_err(|detail| Problem::new(Class::NotFound, "queue_not_found", detail))
}

/// Pauses a queue in all stores, or in the one that is named, until it is resumed: no job of it
/// begins any more. What is being carried out runs to its end; `under_way` says how many calls that
/// are.
#[utoipa::path(post, path = "/landlord/queue/{name}/pause", tag = "landlord",
    params(("name" = String, Path), StatsQuery),
    responses((status = 200, body = QueueView), (status = 404, description = "`queue_not_found`, \
        `tenant_not_found`")))]
async fn pause_queue(
    house: Landlord,
    PathText(name): PathText<String>,
    QueryOf(of): QueryOf<StatsQuery>,
) -> Result<Json<QueueView>, Problem> {
    let queue = queue_in_path(&name)?;
    let tenant = named(&house.app, of.tenant.as_deref()).await?;
    let id = tenant.as_ref().map(TenantAccess::id);
    house.app.pauses.pause(house.origin, queue, id).await?;
    Ok(Json(QueueView::of(&house.app, queue, tenant.as_ref())))
}

/// Resumes a paused queue: in all stores, or in the one that is named. A pause of all stores and
/// one of a store by name are two, and each is ended by its own like.
#[utoipa::path(post, path = "/landlord/queue/{name}/resume", tag = "landlord",
    params(("name" = String, Path), StatsQuery),
    responses((status = 200, body = QueueView), (status = 404, description = "`queue_not_found`, \
        `tenant_not_found`")))]
async fn resume_queue(
    house: Landlord,
    PathText(name): PathText<String>,
    QueryOf(of): QueryOf<StatsQuery>,
) -> Result<Json<QueueView>, Problem> {
    let queue = queue_in_path(&name)?;
    let tenant = named(&house.app, of.tenant.as_deref()).await?;
    let id = tenant.as_ref().map(TenantAccess::id);
    house.app.pauses.resume(house.origin, queue, id).await?;
    Ok(Json(QueueView::of(&house.app, queue, tenant.as_ref())))
}

/// Releases the jobs of a store that are held because its file is a copy: they may run now. To be
/// called when it is known that what they do outside has not been done, or may be done again; one
/// that must not is removed first.
#[utoipa::path(post, path = "/landlord/queue/release", tag = "landlord", params(ReleaseQuery),
    responses((status = 200, body = ReleasedView), (status = 404,
        description = "`tenant_not_found`")))]
async fn release_jobs(
    house: Landlord,
    QueryOf(query): QueryOf<ReleaseQuery>,
) -> Result<Json<ReleasedView>, Problem> {
    let access = named(&house.app, Some(&query.tenant)).await?;
    let access = access.ok_or_else(|| DirectoryRefused::TenantNotFound(query.tenant))?;
    house
        .blocking(move |house: &Landlord| release(house, &access))
        .await
        .map(Json)
}

/// So many in one transaction that sales go on meanwhile. Blocks.
fn release(house: &Landlord, access: &TenantAccess) -> Result<ReleasedView, Problem> {
    let db = house.app.registry.open(access)?;
    let (mut released, mut superseded) = (0, 0);
    loop {
        let some = db.write(house.origin.clone(), jobs::release_jobs).wait()?;
        released += some.released;
        superseded += some.superseded;
        if !some.has_more {
            break;
        }
    }
    if released + superseded > 0 {
        let (id, details) = (
            access.id(),
            json!({"jobs": released, "superseded": superseded}),
        );
        let noted = house
            .app
            .directory
            .change(house.origin.clone(), move |work| {
                commands::record_jobs_audit(
                    work,
                    "jobs.released",
                    &format!("tenant:{id}"),
                    id,
                    details.clone(),
                )
            });
        noted.wait()?;
    }
    Ok(ReleasedView {
        tenant: access.slug().clone(),
        released,
        superseded,
    })
}
