//! `/v1/audit-logs`: the audit log. Each entry holds the hash of the one before, so that a reader
//! can check the chain.

use std::sync::Arc;

use axum::Json;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::{PageParams, PageView};
use super::view::views;
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

views! {
    struct AuditEntryView from ChainedEntry as chained {
        seq: i64,
        at: Timestamp = chained.entry.at,
        actor: String = chained.entry.actor,
        action: String = chained.entry.action,
        subject: String = chained.entry.subject,
        request_id: Option<String> = chained.entry.request_id,
        #[schema(value_type = Object)]
        details: Value = chained.entry.details,
        prev_hash: Digest,
        hash: Digest,
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
