//! What is done to all jobs of a shop that were given up: `/v1/admin/queue/retry`, `…/flush`. One call is one bounded transaction; the command goes on
//! where `next` says.

use axum::Json;
use serde::Deserialize;
use serde_json::{Value, json};

use super::tenants::open;
use crate::http::api::parse_queue;
use crate::http::extract::{Body, FromBody, House};
use crate::http::faults::Faults;
use crate::http::problem::Problem;
use crate::platform::queue::Queue;
use crate::primitives::Slug;
use crate::primitives::id::TenantId;
use crate::tenancy::commands;
use crate::tenant::jobs::{self, Sweep};

/// Which jobs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiscardedBody {
    tenant: String,
    queue: Option<String>,
    after: Option<i64>,
}

/// The jobs of a shop that were given up, of one queue or of all, from a place on.
pub struct Discarded {
    tenant: Slug,
    queue: Option<Queue>,
    after: i64,
}

impl FromBody for Discarded {
    type Wire = DiscardedBody;

    fn from_wire(wire: DiscardedBody, faults: &mut Faults) -> Option<Self> {
        let tenant = faults.take("/tenant", Slug::parse(&wire.tenant));
        let queue = faults.optional("/queue", wire.queue.as_deref().map(parse_queue));
        Some(Self {
            tenant: tenant?,
            queue: queue?,
            after: wire.after.unwrap_or(0),
        })
    }
}

/// Tries them again.
pub async fn retry(house: House, Body(discarded): Body<Discarded>) -> Result<Json<Value>, Problem> {
    sweep(house, discarded, Sweep::Retry).await
}

/// Forgets them.
pub async fn flush(house: House, Body(discarded): Body<Discarded>) -> Result<Json<Value>, Problem> {
    sweep(house, discarded, Sweep::Forget).await
}

async fn sweep(house: House, discarded: Discarded, sweep: Sweep) -> Result<Json<Value>, Problem> {
    let Discarded { tenant, queue, after } = discarded;
    let db = open(&house, tenant.as_str()).await?;
    let swept = db.write(house.origin.clone(), move |work| jobs::sweep_discarded(work, sweep, queue, after));
    let swept = swept.await?;
    if swept.changed > 0 {
        let action = match sweep {
            Sweep::Retry => "jobs.retried",
            Sweep::Forget => "jobs.forgotten",
        };
        let (id, details) = (TenantId::from_bytes(db.file_id()), json!({"queue": queue, "jobs": swept.changed}));
        let noted = house.app.directory.change(house.origin, move |work| {
            commands::note_jobs(work, action, &format!("tenant:{id}"), id, details.clone())
        });
        noted.await?;
    }
    Ok(Json(
        json!({"changed": swept.changed, "skipped": swept.skipped, "next": swept.next}),
    ))
}
