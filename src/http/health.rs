//! `/health`: the result of real probes, not of assumptions.
//!
//! Anybody may call it often, so it is cheap: it writes the landlord's file at most once a second
//! and reads the rest from memory. Anonymous callers get "ok" or "fail" only; names and causes need
//! a landlord key.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Landlord;
use super::problem::{OwnBody, Problem};
use crate::app::{App, Limits, Observation, Stores};
use crate::landlord::ClockSuspicion;
use crate::observe::liveness::Probe;
use crate::primitives::id::TenantId;
use crate::primitives::limits::PROBE_DEADLINE_MS;
use crate::primitives::{Class, Origin, Slug, Timestamp};
use crate::storage::StorageError;
use crate::tenancy::access::TenantStatus;
use crate::tenancy::probe;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(live))
        .routes(routes!(ready))
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum CheckResult {
    Ok,
    Fail,
}

#[derive(Serialize, ToSchema)]
struct Services {
    /// The landlord's file can be written and read, every tenant's file can be used, and the disk
    /// has more room than its reserve.
    db: CheckResult,
    /// The cache returns an entry that was put into it.
    cache: CheckResult,
    /// The worker's heartbeat is recent, no job has been waiting too long, and no outbound call has
    /// exceeded its queue's time-out.
    queue: CheckResult,
}

#[derive(Serialize, ToSchema)]
struct Health {
    #[schema(example = "ok")]
    status: &'static str,
    services: Services,
    version: &'static str,
    /// Seconds since the process started, independent of changes of the clock.
    uptime_seconds: u64,
    /// For a landlord key only.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

/// Names and causes of failures.
#[derive(Serialize, ToSchema)]
struct Details {
    landlord_file: Option<String>,
    disk: Option<&'static str>,
    unavailable_tenants: Vec<UnavailableTenant>,
    /// Tenants that use up their share of the disk (`storage.tenant_max`). No check fails because
    /// of it: they keep selling.
    limited_tenants: Vec<LimitedTenant>,
    queue: Option<String>,
    /// Paused queues. Jobs that wait in them do not count as late.
    paused_queues: Vec<&'static str>,
    open_tenants: usize,
    /// The reason why the clock is not trusted, what is suspended meanwhile, and how that ends. No
    /// check fails because of it: shops keep selling.
    clock: Option<String>,
    /// The reason why alerts by webhook wait, and what to do. No check fails because of it.
    alerts: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct UnavailableTenant {
    tenant_id: TenantId,
    slug: Slug,
    error: String,
}

#[derive(Serialize, ToSchema)]
struct LimitedTenant {
    tenant_id: TenantId,
    slug: Slug,
    /// Size of its file and its WAL.
    used_bytes: u64,
    /// Its current share of the disk.
    share_bytes: u64,
    /// `storefront`: writes without a key are refused. `growth`: all writes are refused except
    /// sales, payments and checkouts by key.
    refused: &'static str,
}

/// Reports the state of the process.
#[utoipa::path(get, path = "/health", tag = "health", security(()), responses((status = 200,
    body = Health), (status = 503, description = "a check fails", body = Health)))]
async fn health(State(app): State<Arc<App>>, landlord: Result<Landlord, Problem>) -> Response {
    let health = examine(&app, landlord.is_ok()).await;
    let status = if health.status == "ok" {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut response = (status, Json(health)).into_response();
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(OwnBody);
    response
}

/// Reports that the process answers.
#[utoipa::path(get, path = "/health/live", tag = "health", security(()), responses((status = 200)))]
async fn live() -> StatusCode {
    StatusCode::OK
}

/// Reports whether the process has started and accepts requests.
#[utoipa::path(get, path = "/health/ready", tag = "health", security(()), responses((status = 200),
    (status = 503, description = "`not_ready`")))]
async fn ready(State(app): State<Arc<App>>) -> Result<StatusCode, Problem> {
    if app.observation.liveness.is_ready() {
        Ok(StatusCode::OK)
    } else {
        let detail = "the process is starting or stopping; try again in a moment";
        Err(Problem::new(Class::Unavailable, "not_ready", detail))
    }
}

async fn examine(app: &App, with_details: bool) -> Health {
    let now = app.ports.clock.now();
    let probe = probe(&app.stores, &app.observation, now).await;
    let unavailable = list_unavailable(&app.stores).await;
    let limited = if with_details {
        list_limited(&app.stores, &app.limits).await
    } else {
        Vec::new()
    };
    let queue = app
        .observation
        .liveness
        .queue(app.ports.clock.as_ref())
        .err();
    let is_short = app.limits.space.is_short();
    let result = |works: bool| {
        if works {
            CheckResult::Ok
        } else {
            CheckResult::Fail
        }
    };
    let services = Services {
        db: result(probe.fault.is_none() && unavailable.is_empty() && !is_short),
        cache: result(app.stores.directory.cache_works()),
        queue: result(queue.is_none()),
    };
    let all_work = [services.db, services.cache, services.queue]
        .iter()
        .all(|service| *service == CheckResult::Ok);
    Health {
        status: if all_work { "ok" } else { "degraded" },
        services,
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: app
            .ports
            .clock
            .uptime()
            .saturating_sub(app.observation.up_at_start)
            .as_secs(),
        details: with_details.then(|| Details {
            landlord_file: probe.fault,
            disk: is_short.then_some(
                "the free space is below the reserve (storage.disk_reserve); free some \
                    space",
            ),
            unavailable_tenants: unavailable,
            limited_tenants: limited,
            queue: queue.map(|fault| fault.to_string()),
            paused_queues: app
                .stores
                .pauses
                .list()
                .into_iter()
                .map(|(queue, _)| queue.as_str())
                .collect(),
            open_tenants: app.stores.registry.list_open().len(),
            clock: app
                .stores
                .clock_watch
                .last_suspicion()
                .map(|suspicion| describe_suspicion(&suspicion)),
            alerts: app
                .alert_recipients
                .missing_key()
                .map(|missing| format!("alerts by webhook wait: {missing}")),
        }),
    }
}

fn describe_suspicion(suspicion: &ClockSuspicion) -> String {
    let ClockSuspicion {
        since,
        reason,
        ends,
    } = suspicion;
    format!(
        "not trusted since {since}: {reason}; meanwhile nothing is deleted by age and ended jobs \
        are kept, so files grow; this ends {ends} (tillbox retention prune --clock-is-right)"
    )
}

/// Returns the last probe of the landlord's file, or probes again when it is too old.
async fn probe(stores: &Stores, observation: &Observation, now: Timestamp) -> Probe {
    let mut last = observation.liveness.last_probe().lock().await;
    match &*last {
        Some(found) if found.is_fresh(now) => found.clone(),
        _ => {
            let fault = probe_landlord(stores).await;
            last.insert(Probe { at: now, fault }).clone()
        }
    }
}

/// Writes to the landlord's file, on disk, and reads it back. Returns the fault, if any.
async fn probe_landlord(stores: &Stores) -> Option<String> {
    let written_and_read = async {
        let written = stores
            .directory
            .database()
            .write(Origin::system(), probe::heartbeat)
            .await?;
        let read = stores
            .directory
            .database()
            .read(probe::find_last_heartbeat)
            .await?;
        Ok::<_, StorageError>(read == Some(written))
    };
    match tokio::time::timeout(Duration::from_millis(PROBE_DEADLINE_MS), written_and_read).await {
        Ok(Ok(true)) => None,
        Ok(Ok(false)) => Some("the value read back differs from the value written".to_owned()),
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("no answer in time".to_owned()),
    }
}

/// Lists the tenants whose files cannot be used, without those that were deleted meanwhile.
async fn list_unavailable(stores: &Stores) -> Vec<UnavailableTenant> {
    let mut unavailable = Vec::new();
    for (tenant_id, kind) in stores.registry.list_unavailable() {
        if let Ok(Some(access)) = stores.directory.tenant_of_id(tenant_id).await
            && matches!(
                access.status(),
                TenantStatus::Active | TenantStatus::Suspended
            )
        {
            unavailable.push(UnavailableTenant {
                tenant_id,
                slug: access.slug().clone(),
                error: kind.to_string(),
            });
        }
    }
    unavailable
}

/// Lists the tenants whose growth is refused.
async fn list_limited(stores: &Stores, limits: &Limits) -> Vec<LimitedTenant> {
    let mut tenants = Vec::new();
    for limited in limits.shares.list_limited() {
        if let Ok(Some(access)) = stores.directory.tenant_of_id(limited.tenant_id).await {
            tenants.push(LimitedTenant {
                tenant_id: limited.tenant_id,
                slug: access.slug().clone(),
                used_bytes: limited.usage.used,
                share_bytes: limited.usage.share,
                refused: limited.refused.as_str(),
            });
        }
    }
    tenants
}
