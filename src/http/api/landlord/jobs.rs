//! `/v1/landlord/queue/jobs`: the jobs of all stores, and what an operator does to one of them.
//!
//! A job is in its store's file, so a list goes through the stores, the oldest first, so many for
//! each page; and a call about one job is quicker when its `tenant` is named.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::tenant_walk::{Tenants, named, tenant_of_job};
use crate::app::App;
use crate::http::api::form::PageParams;
use crate::http::api::redact::redacted;
use crate::http::extract::{Landlord, PathId, QueryOf, WalkBeside};
use crate::http::faults::Faults;
use crate::http::problem::Problem;
use crate::platform::page::WalkRequest;
use crate::platform::queue::{Queue, State};
use crate::primitives::id::{JobId, JobKind};
use crate::primitives::limits::LONG_READ_MS;
use crate::primitives::{Slug, Timestamp};
use crate::tenancy::{TenantAccess, commands};
use crate::tenant::jobs::{
    self, FoundJobs, Hold, JobFilter, JobLine, JobRefused, Removed, WholeJob,
};

/// The routes of the jobs.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list_jobs))
        .routes(routes!(get_job, remove_job))
        .routes(routes!(retry_job))
}

#[derive(Serialize, ToSchema)]
struct JobLineView {
    id: JobId,
    /// Whose job it is.
    tenant: Slug,
    #[schema(value_type = String)]
    queue: Queue,
    /// Which handler runs it.
    kind: String,
    /// `available`, `scheduled`, `running`, `retryable`, `completed`, `cancelled` or `discarded`.
    #[schema(value_type = String)]
    state: State,
    /// Why it does not run although it waits: `older_epoch`, until it is released, because the file
    /// is a copy and what the job does outside may have been done already; `unknown_kind`, until a
    /// program is started that runs its kind.
    held: Option<&'static str>,
    /// Which of the jobs of its queue that are ready goes first: the lower.
    priority: i64,
    /// How often it was tried.
    attempt: i64,
    /// How often it is tried at the most.
    max_attempts: i64,
    /// How often it was rescued from a process that had died.
    rescues: i64,
    /// When it is or was due.
    scheduled_at: Timestamp,
    attempted_at: Option<Timestamp>,
    /// When it ended.
    finalized_at: Option<Timestamp>,
    /// How many errors it has.
    error_count: i64,
    /// `{attempt, at, error}`.
    #[schema(value_type = Option<Object>)]
    last_error: Option<Value>,
}

impl JobLineView {
    fn of(app: &App, tenant: &TenantAccess, line: JobLine) -> Self {
        let tries = app
            .config
            .queue
            .find(line.queue.as_str())
            .map_or(0, |settings| settings.tries);
        Self {
            id: line.id,
            tenant: tenant.slug().clone(),
            queue: line.queue,
            kind: line.kind,
            state: line.state,
            held: line.held.map(Hold::as_str),
            priority: line.priority,
            attempt: line.attempt,
            max_attempts: line.max_attempts.unwrap_or_else(|| i64::from(tries)),
            rescues: line.rescues,
            scheduled_at: line.scheduled_at,
            attempted_at: line.attempted_at,
            finalized_at: line.finalized_at,
            error_count: line.errors,
            last_error: line.last_error.as_deref().map(redacted),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct JobView {
    #[serde(flatten)]
    line: JobLineView,
    /// What its handler needs; secrets are redacted.
    #[schema(value_type = Object)]
    payload: Value,
    /// Every failed attempt, `{attempt, at, error}`, the first one first.
    #[schema(value_type = Vec<Object>)]
    errors: Value,
}

impl JobView {
    fn of(app: &App, tenant: &TenantAccess, job: WholeJob) -> Self {
        Self {
            line: JobLineView::of(app, tenant, job.line),
            payload: redacted(&job.payload),
            errors: redacted(&job.errors),
        }
    }
}

/// A page of jobs. It may have few rows or none and go on all the same: the list ends where
/// `next_cursor` is `null`.
#[derive(Serialize, ToSchema)]
struct JobPageView {
    /// The jobs: store by store, the oldest store first, and of each the newest jobs first.
    data: Vec<JobLineView>,
    /// Hand this back as `cursor` to get the next page; `null` on the last one.
    next_cursor: Option<String>,
    /// Tenants that should have been looked into for this page and whose files cannot be used.
    unavailable: Vec<Slug>,
}

#[derive(Serialize, ToSchema)]
struct RemovedJobView {
    id: JobId,
    tenant: Slug,
    /// `cancelled`: it never runs. `forgotten`: it was given up, and is gone.
    outcome: &'static str,
}

/// Which jobs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct JobsQuery {
    /// Only those in this state.
    #[param(inline, value_type = Option<State>)]
    state: Option<String>,
    /// Only those of this queue.
    #[param(inline, value_type = Option<Queue>)]
    queue: Option<String>,
    /// Only those of this tenant: its slug or its id.
    tenant: Option<String>,
    /// Only those of this kind.
    kind: Option<String>,
    /// Only those that are held, or only those that are not.
    held: Option<bool>,
}

impl JobsQuery {
    fn filter(&self) -> Result<JobFilter, Problem> {
        let mut faults = Faults::default();
        let states: Vec<&str> = State::ALL.iter().map(|state| state.as_str()).collect();
        let state = self.state.as_deref().map(|text| {
            let unknown = || {
                format!(
                    "there is no state `{text}`; the states are {}",
                    states.join(", ")
                )
            };
            State::parse(text).ok_or_else(unknown)
        });
        let state = faults.optional("?state", state);
        let queue = faults.optional("?queue", self.queue.as_deref().map(parse_queue));
        let (kind, held) = (self.kind.clone(), self.held);
        let filter = state.zip(queue).map(|(state, queue)| JobFilter {
            state,
            queue,
            kind,
            held,
        });
        faults.finish(filter)
    }
}

/// The queue with a name.
///
/// # Errors
/// A sentence with the names there are.
pub fn parse_queue(text: &str) -> Result<Queue, String> {
    let names: Vec<&str> = Queue::ALL.iter().map(|queue| queue.as_str()).collect();
    Queue::parse(text).ok_or_else(|| {
        format!(
            "there is no queue `{text}`; the queues are {}",
            names.join(", ")
        )
    })
}

/// Whose job.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OfTenant {
    /// The job's tenant, its slug or its id: then no other file is looked into. Without it, the job
    /// is looked for in all of them.
    tenant: Option<String>,
}

/// Lists jobs, store by store.
#[utoipa::path(get, path = "/landlord/queue/jobs", tag = "landlord", params(JobsQuery, PageParams),
    responses((status = 200, body = JobPageView), (status = 404,
        description = "`tenant_not_found`"), (status = 422, description = "`validation_failed`")))]
async fn list_jobs(
    house: Landlord,
    WalkBeside(walk): WalkBeside,
    QueryOf(query): QueryOf<JobsQuery>,
) -> Result<Json<JobPageView>, Problem> {
    let filter = query.filter()?;
    let named = named(&house.app, query.tenant.as_deref()).await?;
    let page = house.blocking(move |house: &Landlord| walk_jobs(&house.app, named, walk, &filter));
    page.await.map(Json)
}

fn walk_jobs(
    app: &App,
    named: Option<TenantAccess>,
    walk: WalkRequest,
    filter: &JobFilter,
) -> Result<JobPageView, Problem> {
    let stores = Tenants::from(app, named, walk.tenant_seq)?;
    let (mut data, mut unavailable) = (Vec::new(), Vec::new());
    let page = |data, next_cursor, unavailable| JobPageView {
        data,
        next_cursor,
        unavailable,
    };
    for (place, access) in &stores.some {
        let left = walk.limit - u32::try_from(data.len()).unwrap_or(walk.limit);
        if left == 0 {
            return Ok(page(
                data,
                Some(WalkRequest::cursor(*place, i64::MAX)),
                unavailable,
            ));
        }
        // One that came to the place of a store that was removed meanwhile is begun at its
        // beginning.
        let before = if *place == walk.tenant_seq {
            walk.before
        } else {
            i64::MAX
        };
        let filter = filter.clone();
        let found = stores.look(app, access, &mut unavailable, |db| {
            let within = Duration::from_millis(LONG_READ_MS);
            Ok(db
                .read_within(within, move |view| {
                    jobs::list_jobs(view, &filter, before, left)
                })
                .wait()?)
        })?;
        let Some(FoundJobs { lines, next }) = found else {
            continue;
        };
        data.extend(
            lines
                .into_iter()
                .map(|line| JobLineView::of(app, access, line)),
        );
        if let Some(next) = next {
            return Ok(page(
                data,
                Some(WalkRequest::cursor(*place, next)),
                unavailable,
            ));
        }
    }
    let next_cursor = stores
        .next
        .map(|place| WalkRequest::cursor(place, i64::MAX));
    Ok(page(data, next_cursor, unavailable))
}

/// Shows a job: its payload with secrets redacted, its attempts, and every error with its time.
#[utoipa::path(get, path = "/landlord/queue/jobs/{id}", tag = "landlord", params(("id" = String,
    Path), OfTenant),
    responses((status = 200, body = JobView), (status = 404, description = "`job_not_found`, \
        `tenant_not_found`")))]
async fn get_job(
    house: Landlord,
    PathId(id): PathId<JobKind>,
    QueryOf(of): QueryOf<OfTenant>,
) -> Result<Json<JobView>, Problem> {
    let named = named(&house.app, of.tenant.as_deref()).await?;
    let show = move |house: &Landlord| {
        let (access, db) = tenant_of_job(&house.app, named, id)?;
        let job = db.read(move |view| jobs::require_job(view, id)).wait()?;
        Ok(JobView::of(&house.app, &access, job))
    };
    house.blocking(show).await.map(Json)
}

/// Makes a job available now: one that was given up or cancelled begins anew, one that waits for
/// its time waits no longer, one that is held is released.
#[utoipa::path(post, path = "/landlord/queue/jobs/{id}/retry", tag = "landlord",
    params(("id" = String, Path), OfTenant),
    responses((status = 200, body = JobView), (status = 404, description = "`job_not_found`, \
        `tenant_not_found`"),
              (status = 409, description = "`job_running`, `job_completed`, `job_superseded`")))]
async fn retry_job(
    house: Landlord,
    PathId(id): PathId<JobKind>,
    QueryOf(of): QueryOf<OfTenant>,
) -> Result<Json<JobView>, Problem> {
    let named = named(&house.app, of.tenant.as_deref()).await?;
    let retry = move |house: &Landlord| {
        let (access, db) = tenant_of_job(&house.app, named, id)?;
        let retried = db.write(house.origin.clone(), move |work| {
            let changed = jobs::retry_job(work, id)?;
            Ok::<_, JobRefused>((changed, jobs::require_job(work, id)?))
        });
        let (changed, job) = retried.wait()?;
        if changed {
            note(house, "job.retried", &access, &job.line)?;
        }
        Ok(JobView::of(&house.app, &access, job))
    };
    house.blocking(retry).await.map(Json)
}

/// Cancels a job that has not begun: it never runs. Forgets one that was given up.
#[utoipa::path(delete, path = "/landlord/queue/jobs/{id}", tag = "landlord", params(("id" = String,
    Path), OfTenant),
    responses((status = 200, body = RemovedJobView), (status = 404,
        description = "`job_not_found`, `tenant_not_found`"),
              (status = 409, description = "`job_running`, `job_completed`")))]
async fn remove_job(
    house: Landlord,
    PathId(id): PathId<JobKind>,
    QueryOf(of): QueryOf<OfTenant>,
) -> Result<Json<RemovedJobView>, Problem> {
    let named = named(&house.app, of.tenant.as_deref()).await?;
    let remove = move |house: &Landlord| {
        let (access, db) = tenant_of_job(&house.app, named, id)?;
        let removed = db.write(house.origin.clone(), move |work| {
            let job = jobs::require_job(work, id)?;
            Ok::<_, JobRefused>((jobs::remove_job(work, id)?, job))
        });
        let (removed, job) = removed.wait()?;
        let outcome = match removed {
            Removed::Forgotten => "forgotten",
            Removed::Cancelled | Removed::Already => "cancelled",
        };
        if removed != Removed::Already {
            note(house, &format!("job.{outcome}"), &access, &job.line)?;
        }
        let tenant = access.slug().clone();
        Ok(RemovedJobView {
            id,
            tenant,
            outcome,
        })
    };
    house.blocking(remove).await.map(Json)
}

/// The landlord's own log has it too. Blocks.
fn note(
    house: &Landlord,
    action: &str,
    access: &TenantAccess,
    job: &JobLine,
) -> Result<(), Problem> {
    let (action, subject, tenant) = (action.to_owned(), format!("job:{}", job.id), access.id());
    let details = json!({"queue": job.queue, "kind": job.kind});
    let noted = house
        .app
        .directory
        .change(house.origin.clone(), move |work| {
            commands::record_jobs_audit(work, &action, &subject, tenant, details.clone())
        });
    Ok(noted.wait()?)
}
