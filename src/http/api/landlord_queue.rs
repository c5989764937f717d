//! `/v1/landlord/queue`: how deep the queues are, and pausing them. The single jobs are in `landlord_jobs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::landlord_jobs::parse_queue;
use super::stores::{Stores, named};
use crate::app::App;
use crate::http::extract::{House, PathText, QueryOf, WalkBeside};
use crate::http::problem::Problem;
use crate::platform::page::WalkRequest;
use crate::platform::queue::{Queue, State};
use crate::primitives::limits::LONG_READ_MS;
use crate::primitives::{Class, Slug, Timestamp};
use crate::storage::{StorageError, TenantView};
use crate::tenancy::TenantAccess;
use crate::tenant::jobs::{self, Depth};

/// The routes of the queues.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(queue_stats))
        .routes(routes!(pause_queue))
        .routes(routes!(resume_queue))
        .merge(super::landlord_jobs::routes())
}

#[derive(Serialize, ToSchema)]
struct QueueView {
    #[schema(value_type = String)]
    queue: Queue,
    /// Whether no job of it begins, in any store.
    paused: bool,
    paused_at: Option<Timestamp>,
    /// Jobs that run at a time.
    workers: u32,
    /// Attempts before a job is given up.
    tries: u32,
}

impl QueueView {
    fn of(app: &App, queue: Queue) -> Self {
        let settings = app.config.queue.find(queue.as_str());
        let paused_at = app.pauses.list().into_iter().find(|(paused, _)| *paused == queue).map(|(_, at)| at);
        Self {
            queue,
            paused: paused_at.is_some(),
            paused_at,
            workers: settings.map_or(0, |settings| settings.workers),
            tries: settings.map_or(0, |settings| settings.tries),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct QueueStatsView {
    #[serde(flatten)]
    queue: QueueView,
    /// Ready to run.
    available: i64,
    /// Not before their time.
    scheduled: i64,
    /// Being carried out.
    running: i64,
    /// Failed, and due again later.
    retryable: i64,
    /// Given up, and kept with their errors.
    discarded: i64,
    /// Taken back before they ran.
    cancelled: i64,
    /// Since when the longest-waiting of the jobs that are next in their stores is ready.
    oldest_ready_at: Option<Timestamp>,
}

/// The queues over all stores. Completed jobs are not counted.
#[derive(Serialize, ToSchema)]
struct StatsView {
    queues: Vec<QueueStatsView>,
    /// Stores that were looked into.
    tenants: usize,
    /// Stores that should have been looked into and whose files cannot be used.
    unavailable: Vec<Slug>,
    /// `null` when all stores were looked into; else these are the figures of some of them, and this as `cursor` gives those of the next.
    next_cursor: Option<String>,
}

/// Whose jobs are counted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StatsQuery {
    /// Only this tenant's: its slug or its id.
    tenant: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description; `WalkBeside` reads the query")]
struct CursorParams {
    /// The `next_cursor` of the figures before.
    cursor: Option<String>,
}

/// What was found in a store.
struct Found {
    depths: Vec<Depth>,
    oldest: Vec<(Queue, Timestamp)>,
}

/// How deep the queues are, by state.
#[utoipa::path(get, path = "/landlord/queue/stats", tag = "landlord", params(StatsQuery, CursorParams),
    responses((status = 200, body = StatsView), (status = 404, description = "`tenant_not_found`")))]
async fn queue_stats(house: House, WalkBeside(walk): WalkBeside, QueryOf(query): QueryOf<StatsQuery>) -> Result<Json<StatsView>, Problem> {
    let named = named(&house.app, query.tenant.as_deref()).await?;
    let stats = house.blocking(move |house: &House| count(&house.app, named, walk));
    stats.await.map(Json)
}

fn count(app: &App, named: Option<TenantAccess>, walk: WalkRequest) -> Result<StatsView, Problem> {
    let stores = Stores::from(app, named, walk.store)?;
    let (mut tenants, mut unavailable) = (0, Vec::new());
    let mut depths: BTreeMap<(Queue, State), i64> = BTreeMap::new();
    let mut oldest: BTreeMap<Queue, Timestamp> = BTreeMap::new();
    for (_, access) in &stores.some {
        let found = stores.look(app, access, &mut unavailable, |db| {
            Ok(db.read_within(Duration::from_millis(LONG_READ_MS), look).wait()?)
        })?;
        let Some(found) = found else { continue };
        tenants += 1;
        for (queue, state, jobs) in found.depths {
            *depths.entry((queue, state)).or_default() += jobs;
        }
        for (queue, at) in found.oldest {
            oldest.entry(queue).and_modify(|known| *known = at.min(*known)).or_insert(at);
        }
    }
    let view = |queue: &Queue| {
        let of = |state| depths.get(&(*queue, state)).copied().unwrap_or(0);
        QueueStatsView {
            queue: QueueView::of(app, *queue),
            available: of(State::Available),
            scheduled: of(State::Scheduled),
            running: of(State::Running),
            retryable: of(State::Retryable),
            discarded: of(State::Discarded),
            cancelled: of(State::Cancelled),
            oldest_ready_at: oldest.get(queue).copied(),
        }
    };
    Ok(StatsView {
        queues: Queue::ALL.iter().map(view).collect(),
        tenants,
        unavailable,
        next_cursor: stores.next.map(|place| WalkRequest::cursor(place, i64::MAX)),
    })
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

/// Pauses a queue in all stores, until it is resumed: no job of it begins any more. What is being carried out runs to its end.
#[utoipa::path(post, path = "/landlord/queue/{name}/pause", tag = "landlord", params(("name" = String, Path)),
    responses((status = 200, body = QueueView), (status = 404, description = "`queue_not_found`")))]
async fn pause_queue(house: House, PathText(name): PathText<String>) -> Result<Json<QueueView>, Problem> {
    let queue = queue_in_path(&name)?;
    house.app.pauses.pause(house.origin, queue).await?;
    Ok(Json(QueueView::of(&house.app, queue)))
}

/// Resumes a paused queue.
#[utoipa::path(post, path = "/landlord/queue/{name}/resume", tag = "landlord", params(("name" = String, Path)),
    responses((status = 200, body = QueueView), (status = 404, description = "`queue_not_found`")))]
async fn resume_queue(house: House, PathText(name): PathText<String>) -> Result<Json<QueueView>, Problem> {
    let queue = queue_in_path(&name)?;
    house.app.pauses.resume(house.origin, queue).await?;
    Ok(Json(QueueView::of(&house.app, queue)))
}
