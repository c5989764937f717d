//! `/v1/landlord/queue/jobs`: the jobs of all tenants, and changes of one job.
//!
//! A job is in its tenant's file, so a list walks through the tenants, the oldest first, a few for
//! each page. A call about one job is faster when its `tenant` is named.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::tenant_walk::{TenantBatch, named, tenant_of_job};
use crate::app::{App, Stores};
use crate::config::Queues;
use crate::http::api::form::PageParams;
use crate::http::api::redact::redacted;
use crate::http::extract::{Landlord, PathId, QueryOf, WalkBeside};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::platform::page::WalkRequest;
use crate::platform::queue::{Queue, State};
use crate::primitives::id::{JobId, JobKind};
use crate::primitives::limits::LONG_READ_MS;
use crate::primitives::{Slug, Timestamp};
use crate::tenancy::{TenantAccess, commands};
use crate::tenant::jobs::{
    self, Hold, JobDetail, JobFilter, JobLine, JobPage, JobRefused, Removed,
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list_jobs))
        .routes(routes!(get_job, remove_job))
        .routes(routes!(retry_job))
}

#[derive(Serialize, ToSchema)]
struct JobLineView {
    id: JobId,
    /// The tenant of the job.
    tenant: Slug,
    #[schema(value_type = String)]
    queue: Queue,
    /// The kind, which selects the handler.
    kind: String,
    /// `available`, `scheduled`, `running`, `retryable`, `completed`, `cancelled` or `discarded`.
    #[schema(value_type = String)]
    state: State,
    /// The reason why a waiting job does not run. `older_epoch`: the file is a copy, and the job's
    /// effect outside may have happened already; until the job is released. `unknown_kind`: until a
    /// program starts that runs its kind.
    held: Option<&'static str>,
    /// The priority among the ready jobs of its queue; lower numbers first.
    priority: i64,
    /// Attempts so far.
    attempt: i64,
    /// The maximum number of attempts.
    max_attempts: i64,
    /// Rescues from a process that had died.
    rescues: i64,
    /// The due time.
    scheduled_at: Timestamp,
    attempted_at: Option<Timestamp>,
    /// The time at which it ended.
    finalized_at: Option<Timestamp>,
    /// The number of errors.
    error_count: i64,
    /// `{attempt, at, error}`.
    #[schema(value_type = Option<Object>)]
    last_error: Option<Value>,
}

impl JobLineView {
    fn of(queues: &Queues, tenant: &TenantAccess, line: JobLine) -> Self {
        let tries = queues
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
    /// The input of its handler; secrets are redacted.
    #[schema(value_type = Object)]
    payload: Value,
    /// Every failed attempt, `{attempt, at, error}`, oldest first.
    #[schema(value_type = Vec<Object>)]
    errors: Value,
}

impl JobView {
    fn of(queues: &Queues, tenant: &TenantAccess, job: JobDetail) -> Self {
        Self {
            line: JobLineView::of(queues, tenant, job.line),
            payload: redacted(&job.payload),
            errors: redacted(&job.errors),
        }
    }
}

/// A page of jobs. A page may have few or no items although more follow: the list ends where
/// `next_cursor` is `null`.
#[derive(Serialize, ToSchema)]
struct JobPageView {
    /// The jobs: tenant by tenant, the oldest tenant first, and for each the newest jobs first.
    data: Vec<JobLineView>,
    /// The `cursor` of the next page; `null` on the last page.
    next_cursor: Option<String>,
    /// Tenants of this page whose files cannot be used.
    unavailable: Vec<Slug>,
}

#[derive(Serialize, ToSchema)]
struct RemovedJobView {
    id: JobId,
    tenant: Slug,
    /// `cancelled`: the job never runs. `forgotten`: the discarded job is deleted.
    outcome: &'static str,
}

/// The filter of jobs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct JobsQuery {
    /// Only jobs in this state.
    #[param(inline, value_type = Option<State>)]
    state: Option<String>,
    /// Only jobs of this queue.
    #[param(inline, value_type = Option<Queue>)]
    queue: Option<String>,
    /// Only jobs of this tenant, by slug or id.
    tenant: Option<String>,
    /// Only jobs of this kind.
    kind: Option<String>,
    /// Only held or only not held jobs.
    held: Option<bool>,
}

impl JobsQuery {
    fn filter(&self) -> Result<JobFilter, Problem> {
        let mut faults = RequestFaults::default();
        let states: Vec<&str> = State::ALL.iter().map(|state| state.as_str()).collect();
        let state = self.state.as_deref().map(|text| {
            let unknown = || {
                format!(
                    "unknown state `{text}`; the states are {}",
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

/// Parses the name of a queue.
///
/// # Errors
/// A sentence that lists the queues.
pub fn parse_queue(text: &str) -> Result<Queue, String> {
    let names: Vec<&str> = Queue::ALL.iter().map(|queue| queue.as_str()).collect();
    Queue::parse(text).ok_or_else(|| {
        format!(
            "unknown queue `{text}`; the queues are {}",
            names.join(", ")
        )
    })
}

/// The tenant of a job.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OfTenant {
    /// The job's tenant, by slug or id; then only its file is searched. Default: all tenants.
    tenant: Option<String>,
}

/// Lists jobs, tenant by tenant.
#[utoipa::path(get, path = "/landlord/queue/jobs", tag = "landlord", params(JobsQuery, PageParams),
    responses((status = 200, body = JobPageView), (status = 404,
        description = "`tenant_not_found`"), (status = 422, description = "`validation_failed`")))]
async fn list_jobs(
    landlord: Landlord,
    WalkBeside(walk): WalkBeside,
    QueryOf(query): QueryOf<JobsQuery>,
) -> Result<Json<JobPageView>, Problem> {
    let filter = query.filter()?;
    let named = named(&landlord.app.stores, query.tenant.as_deref()).await?;
    let page = landlord.blocking(move |landlord: &Landlord| {
        let app = &landlord.app;
        walk_jobs(&app.stores, &app.config.queue, named, walk, &filter)
    });
    page.await.map(Json)
}

fn walk_jobs(
    stores: &Stores,
    queues: &Queues,
    named: Option<TenantAccess>,
    walk: WalkRequest,
    filter: &JobFilter,
) -> Result<JobPageView, Problem> {
    let tenants = TenantBatch::from(stores, named, walk.tenant_seq)?;
    let (mut data, mut unavailable) = (Vec::new(), Vec::new());
    let page = |data, next_cursor, unavailable| JobPageView {
        data,
        next_cursor,
        unavailable,
    };
    for (position, access) in &tenants.batch {
        let left = walk.limit - u32::try_from(data.len()).unwrap_or(walk.limit);
        if left == 0 {
            return Ok(page(
                data,
                Some(WalkRequest::cursor(*position, i64::MAX)),
                unavailable,
            ));
        }
        // A cursor inside a tenant that was deleted meanwhile starts at the beginning of the next
        // tenant.
        let before = if *position == walk.tenant_seq {
            walk.before
        } else {
            i64::MAX
        };
        let filter = filter.clone();
        let found = tenants.read_tenant(stores, access, &mut unavailable, |db| {
            let within = Duration::from_millis(LONG_READ_MS);
            Ok(db
                .read_within(within, move |view| {
                    jobs::list_jobs(view, &filter, before, left)
                })
                .wait()?)
        })?;
        let Some(JobPage { lines, next }) = found else {
            continue;
        };
        data.extend(
            lines
                .into_iter()
                .map(|line| JobLineView::of(queues, access, line)),
        );
        if let Some(next) = next {
            return Ok(page(
                data,
                Some(WalkRequest::cursor(*position, next)),
                unavailable,
            ));
        }
    }
    let next_cursor = tenants
        .next
        .map(|position| WalkRequest::cursor(position, i64::MAX));
    Ok(page(data, next_cursor, unavailable))
}

/// Shows a job: its payload with secrets redacted, its attempts, and every error with its time.
#[utoipa::path(get, path = "/landlord/queue/jobs/{id}", tag = "landlord", params(("id" = String,
    Path), OfTenant),
    responses((status = 200, body = JobView), (status = 404, description = "`job_not_found`, \
        `tenant_not_found`")))]
async fn get_job(
    landlord: Landlord,
    PathId(id): PathId<JobKind>,
    QueryOf(of): QueryOf<OfTenant>,
) -> Result<Json<JobView>, Problem> {
    let named = named(&landlord.app.stores, of.tenant.as_deref()).await?;
    let show = move |landlord: &Landlord| {
        let (access, db) = tenant_of_job(&landlord.app.stores, named, id)?;
        let job = db.read(move |view| jobs::require_job(view, id)).wait()?;
        Ok(JobView::of(&landlord.app.config.queue, &access, job))
    };
    landlord.blocking(show).await.map(Json)
}

/// Makes a job available now: a discarded or cancelled job begins anew, a scheduled one runs now, a
/// held one is released.
#[utoipa::path(post, path = "/landlord/queue/jobs/{id}/retry", tag = "landlord",
    params(("id" = String, Path), OfTenant),
    responses((status = 200, body = JobView), (status = 404, description = "`job_not_found`, \
        `tenant_not_found`"),
              (status = 409, description = "`job_running`, `job_completed`, `job_superseded`")))]
async fn retry_job(
    landlord: Landlord,
    PathId(id): PathId<JobKind>,
    QueryOf(of): QueryOf<OfTenant>,
) -> Result<Json<JobView>, Problem> {
    let named = named(&landlord.app.stores, of.tenant.as_deref()).await?;
    let retry = move |landlord: &Landlord| {
        let (access, db) = tenant_of_job(&landlord.app.stores, named, id)?;
        let retried = db.write(landlord.origin.clone(), move |work| {
            let changed = jobs::retry_job(work, id)?;
            Ok::<_, JobRefused>((changed, jobs::require_job(work, id)?))
        });
        let (changed, job) = retried.wait()?;
        if changed {
            record_in_audit_log(landlord, "job.retried", &access, &job.line)?;
        }
        Ok(JobView::of(&landlord.app.config.queue, &access, job))
    };
    landlord.blocking(retry).await.map(Json)
}

/// Cancels a job that has not begun, so that it never runs. Deletes a discarded job.
#[utoipa::path(delete, path = "/landlord/queue/jobs/{id}", tag = "landlord", params(("id" = String,
    Path), OfTenant),
    responses((status = 200, body = RemovedJobView), (status = 404,
        description = "`job_not_found`, `tenant_not_found`"),
              (status = 409, description = "`job_running`, `job_completed`")))]
async fn remove_job(
    landlord: Landlord,
    PathId(id): PathId<JobKind>,
    QueryOf(of): QueryOf<OfTenant>,
) -> Result<Json<RemovedJobView>, Problem> {
    let named = named(&landlord.app.stores, of.tenant.as_deref()).await?;
    let remove = move |landlord: &Landlord| {
        let (access, db) = tenant_of_job(&landlord.app.stores, named, id)?;
        let removed = db.write(landlord.origin.clone(), move |work| {
            let job = jobs::require_job(work, id)?;
            Ok::<_, JobRefused>((jobs::remove_job(work, id)?, job))
        });
        let (removed, job) = removed.wait()?;
        let outcome = match removed {
            Removed::Forgotten => "forgotten",
            Removed::Cancelled | Removed::Already => "cancelled",
        };
        if removed != Removed::Already {
            record_in_audit_log(landlord, &format!("job.{outcome}"), &access, &job.line)?;
        }
        let tenant = access.slug().clone();
        Ok(RemovedJobView {
            id,
            tenant,
            outcome,
        })
    };
    landlord.blocking(remove).await.map(Json)
}

/// Records the change in the landlord's audit log too. Blocks.
fn record_in_audit_log(
    landlord: &Landlord,
    action: &str,
    access: &TenantAccess,
    job: &JobLine,
) -> Result<(), Problem> {
    let (action, subject, tenant) = (action.to_owned(), format!("job:{}", job.id), access.id());
    let details = json!({"queue": job.queue, "kind": job.kind});
    let recorded = landlord
        .app
        .stores
        .directory
        .change(landlord.origin.clone(), move |work| {
            commands::record_jobs_audit(work, &action, &subject, tenant, details.clone())
        });
    Ok(recorded.wait()?)
}
