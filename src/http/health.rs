//! `/health`: what is really exercised, not what is trusted.
//!
//! It is asked often and by anybody, so it costs next to nothing: the landlord's file is written
//! once a second at most, and the rest is looked up in memory. Anonymous callers are told "ok" or
//! "fail"; names and causes are for the landlord.

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
use super::problem::{OwnForm, Problem};
use crate::app::App;
use crate::landlord::ClockSuspicion;
use crate::observe::liveness::Probe;
use crate::primitives::id::TenantId;
use crate::primitives::limits::PROBE_DEADLINE_MS;
use crate::primitives::{Class, Origin, Slug, Timestamp};
use crate::storage::StorageError;
use crate::tenancy::access::TenantStatus;
use crate::tenancy::probe;

/// The routes of health.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(live))
        .routes(routes!(ready))
}

/// Whether a part works.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Fail,
}

#[derive(Serialize, ToSchema)]
struct Services {
    /// The landlord's file takes a write and gives it back, every store's file can be used, and the
    /// disk has more room than its reserve.
    db: Verdict,
    /// An entry put into the cache comes out again.
    cache: Verdict,
    /// The worker has shown itself recently, no job has been waiting for long, and no call to the
    /// outside goes on after its queue's time-out.
    queue: Verdict,
}

#[derive(Serialize, ToSchema)]
struct Health {
    #[schema(example = "ok")]
    status: &'static str,
    services: Services,
    version: &'static str,
    /// How long the process has run, whatever the clock was set to meanwhile.
    uptime_seconds: u64,
    /// For a landlord key only.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

/// What is wrong, by name.
#[derive(Serialize, ToSchema)]
struct Details {
    landlord_file: Option<String>,
    disk: Option<&'static str>,
    unavailable_tenants: Vec<UnavailableTenant>,
    /// Tenants that use up their share of the disk (`storage.tenant_max`). No part fails by it:
    /// they sell as before.
    limited_tenants: Vec<LimitedTenant>,
    queue: Option<String>,
    /// What waits there is not late.
    paused_queues: Vec<&'static str>,
    open_tenants: usize,
    /// Why the clock is not trusted, what rests meanwhile, and how that ends. No part fails by it:
    /// everything is sold as before.
    clock: Option<String>,
    /// Why alerts by webhook wait, and what to do. No part fails by it.
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
    /// Its file and its WAL.
    used_bytes: u64,
    /// Its share at this moment.
    share_bytes: u64,
    /// `storefront`: writes without a key are refused; `growth`: all but sales, payments and
    /// checkouts by key.
    refused: &'static str,
}

/// How the process is.
#[utoipa::path(get, path = "/health", tag = "health", security(()), responses((status = 200,
    body = Health), (status = 503, description = "a part fails", body = Health)))]
async fn health(State(app): State<Arc<App>>, house: Result<Landlord, Problem>) -> Response {
    let health = examine(&app, house.is_ok()).await;
    let status = if health.status == "ok" {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut response = (status, Json(health)).into_response();
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(OwnForm);
    response
}

/// The process answers.
#[utoipa::path(get, path = "/health/live", tag = "health", security(()), responses((status = 200)))]
async fn live() -> StatusCode {
    StatusCode::OK
}

/// The process has started and takes requests.
#[utoipa::path(get, path = "/health/ready", tag = "health", security(()), responses((status = 200),
    (status = 503, description = "`not_ready`")))]
async fn ready(State(app): State<Arc<App>>) -> Result<StatusCode, Problem> {
    if app.liveness.is_ready() {
        Ok(StatusCode::OK)
    } else {
        let detail = "the process is starting or ending; try again in a moment";
        Err(Problem::new(Class::Unavailable, "not_ready", detail))
    }
}

async fn examine(app: &App, tell: bool) -> Health {
    let now = app.clock.now();
    let probe = probe(app, now).await;
    let unavailable = list_unavailable(app).await;
    let limited = if tell {
        list_limited(app).await
    } else {
        Vec::new()
    };
    let queue = app.liveness.queue(app.clock.as_ref()).err();
    let is_short = app.space.is_short();
    let verdict = |works: bool| if works { Verdict::Ok } else { Verdict::Fail };
    let services = Services {
        db: verdict(probe.fault.is_none() && unavailable.is_empty() && !is_short),
        cache: verdict(app.directory.cache_works()),
        queue: verdict(queue.is_none()),
    };
    let all_work = [services.db, services.cache, services.queue]
        .iter()
        .all(|part| *part == Verdict::Ok);
    Health {
        status: if all_work { "ok" } else { "degraded" },
        services,
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: app.clock.uptime().saturating_sub(app.up_at_start).as_secs(),
        details: tell.then(|| Details {
            landlord_file: probe.fault,
            disk: is_short
                .then_some("less room is free than is kept in reserve (storage.disk_reserve)"),
            unavailable_tenants: unavailable,
            limited_tenants: limited,
            queue: queue.map(|fault| fault.to_string()),
            paused_queues: app
                .pauses
                .list()
                .into_iter()
                .map(|(queue, _)| queue.as_str())
                .collect(),
            open_tenants: app.registry.list_open().len(),
            clock: app
                .clock_watch
                .last_suspicion()
                .map(|doubt| resting(&doubt)),
            alerts: app
                .alert_recipients
                .missing_key()
                .map(|missing| format!("those by webhook wait: {missing}")),
        }),
    }
}

fn resting(doubt: &ClockSuspicion) -> String {
    let ClockSuspicion {
        since,
        reason,
        ends,
    } = doubt;
    format!(
        "not trusted since {since}: {reason}; meanwhile nothing is deleted by age, and ended jobs \
         are kept, so that files grow; this ends {ends} \
         (tillbox retention prune --clock-is-right)"
    )
}

/// The last finding about the landlord's file, or a new one when the last is too old.
async fn probe(app: &App, now: Timestamp) -> Probe {
    let mut last = app.liveness.last_probe().lock().await;
    match &*last {
        Some(found) if found.is_fresh(now) => found.clone(),
        _ => {
            let fault = probe_landlord(app).await;
            last.insert(Probe { at: now, fault }).clone()
        }
    }
}

/// Writes to the landlord's file, on disk, and reads it back; gives what is wrong.
async fn probe_landlord(app: &App) -> Option<String> {
    let written_and_read = async {
        let written = app
            .directory
            .database()
            .write(Origin::system(), probe::heartbeat)
            .await?;
        let read = app
            .directory
            .database()
            .read(probe::find_last_heartbeat)
            .await?;
        Ok::<_, StorageError>(read == Some(written))
    };
    match tokio::time::timeout(Duration::from_millis(PROBE_DEADLINE_MS), written_and_read).await {
        Ok(Ok(true)) => None,
        Ok(Ok(false)) => Some("what was written is not what was read back".to_owned()),
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("no answer in time".to_owned()),
    }
}

/// The stores whose files cannot be used. One that was removed meanwhile is nobody's trouble.
async fn list_unavailable(app: &App) -> Vec<UnavailableTenant> {
    let mut unavailable = Vec::new();
    for (tenant_id, kind) in app.registry.list_unavailable() {
        if let Ok(Some(access)) = app.directory.tenant_of_id(tenant_id).await
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

/// The tenants whose growth is refused.
async fn list_limited(app: &App) -> Vec<LimitedTenant> {
    let mut tenants = Vec::new();
    for limited in app.shares.list_limited() {
        if let Ok(Some(access)) = app.directory.tenant_of_id(limited.tenant_id).await {
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
