//! `/v1/invoices`.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::{OfOrder, PageParams, PageView};
use super::party::PartyView;
use crate::app::App;
use crate::http::extract::permission::Finance;
use crate::http::extract::{PageBeside, PathId, QueryOf, Shop};
use crate::http::problem::Problem;
use crate::primitives::id::{FinancialOrderId, InvoiceId, InvoiceKind, OrderId};
use crate::primitives::{Currency, Digest, Timestamp};
use crate::tenant::invoices::{self, Invoice};
use crate::tenant::party::Party;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list_invoices))
        .routes(routes!(get_invoice))
}

/// An invoice. Its content comes from the locked snapshot.
#[derive(Serialize, ToSchema)]
pub struct InvoiceView {
    id: InvoiceId,
    number: String,
    order_id: OrderId,
    financial_order_id: FinancialOrderId,
    /// `draft` or `issued`.
    status: &'static str,
    currency: Currency,
    seller: PartyView,
    buyer: Option<PartyView>,
    #[schema(value_type = Vec<Object>)]
    lines: Box<RawValue>,
    #[schema(value_type = Vec<Object>)]
    tax_lines: Box<RawValue>,
    tax_minor: i64,
    total_minor: i64,
    /// The open balance.
    balance_minor: i64,
    /// SHA-256 of the snapshot's canonical JSON (RFC 8785).
    snapshot_hash: Digest,
    issued_at: Timestamp,
}

/// The parts of a snapshot that an invoice shows unchanged.
#[derive(Default, Deserialize)]
struct SnapshotParts {
    #[serde(default)]
    buyer: Option<Party>,
    #[serde(default)]
    seller: Party,
    lines: Box<RawValue>,
    tax_lines: Box<RawValue>,
}

impl From<Invoice> for InvoiceView {
    fn from(invoice: Invoice) -> Self {
        let parts: SnapshotParts = serde_json::from_str(&invoice.snapshot).unwrap_or_default();
        Self {
            id: invoice.id,
            number: invoice.number,
            order_id: invoice.order_id,
            financial_order_id: invoice.financial_order_id,
            status: invoice.status.as_str(),
            currency: invoice.total.currency(),
            seller: parts.seller.into(),
            buyer: parts.buyer.map(PartyView::from),
            lines: parts.lines,
            tax_lines: parts.tax_lines,
            tax_minor: invoice.tax.minor(),
            total_minor: invoice.total.minor(),
            balance_minor: invoice.balance.minor(),
            snapshot_hash: invoice.snapshot_hash,
            issued_at: invoice.issued_at,
        }
    }
}

/// Lists invoices, newest first.
#[utoipa::path(get, path = "/invoices", tag = "invoices", params(PageParams, OfOrder),
    responses((status = 200, body = PageView<InvoiceView>)))]
async fn list_invoices(
    shop: Shop<Finance>,
    PageBeside(page): PageBeside,
    QueryOf(filter): QueryOf<OfOrder>,
) -> Result<Json<PageView<InvoiceView>>, Problem> {
    let order = filter.parse()?;
    shop.page(move |view| invoices::list_invoices(view, page, order))
        .await
}

/// Shows an invoice.
#[utoipa::path(get, path = "/invoices/{id}", tag = "invoices", params(("id" = String, Path)),
    responses((status = 200, body = InvoiceView), (status = 404,
        description = "`invoice_not_found`")))]
async fn get_invoice(
    shop: Shop<Finance>,
    PathId(id): PathId<InvoiceKind>,
) -> Result<Json<InvoiceView>, Problem> {
    shop.find("invoice_not_found", "invoice", move |view| {
        invoices::find_invoice(view, id)
    })
    .await
}
