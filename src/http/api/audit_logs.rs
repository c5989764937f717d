//! `/v1/audit-logs`: the audit log. Each entry holds the hash of the one before, so that a reader
//! can check the chain.

use std::sync::Arc;

use axum::Json;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::{PageParams, PageView};
use crate::app::App;
use crate::http::extract::permission::Admin;
use crate::http::extract::{PageQuery, Shop};
use crate::http::problem::Problem;
use crate::platform::audit::{self, ChainedEntry};
use crate::platform::page::Page;
use crate::primitives::{Digest, Timestamp};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list_entries))
}

#[derive(Serialize, ToSchema)]
struct AuditEntryView {
    seq: i64,
    at: Timestamp,
    actor: String,
    action: String,
    subject: String,
    request_id: Option<String>,
    #[schema(value_type = Object)]
    details: Value,
    prev_hash: Digest,
    hash: Digest,
}

impl From<ChainedEntry> for AuditEntryView {
    fn from(chained: ChainedEntry) -> Self {
        Self {
            seq: chained.seq,
            at: chained.entry.at,
            actor: chained.entry.actor,
            action: chained.entry.action,
            subject: chained.entry.subject,
            request_id: chained.entry.request_id,
            details: chained.entry.details,
            prev_hash: chained.prev_hash,
            hash: chained.hash,
        }
    }
}

/// Lists audit entries, newest first.
#[utoipa::path(get, path = "/audit-logs", tag = "audit", params(PageParams),
    responses((status = 200, body = PageView<AuditEntryView>)))]
async fn list_entries(
    shop: Shop<Admin>,
    PageQuery(page): PageQuery,
) -> Result<Json<PageView<AuditEntryView>>, Problem> {
    let entries = shop
        .read(move |view| Ok(audit::list(view, page.before, page.fetch())?))
        .await?;
    let entries = entries
        .into_iter()
        .map(|chained| (chained.seq, chained))
        .collect();
    Ok(Json(PageView::of(
        Page::cut(entries, page),
        AuditEntryView::from,
    )))
}
