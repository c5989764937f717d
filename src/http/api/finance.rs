//! `/v1/financial-orders` and `/v1/financial-transactions`.

use std::sync::Arc;

use axum::Json;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::{OfOrder, PageParams, PageView};
use crate::app::App;
use crate::http::extract::permission::Finance;
use crate::http::extract::{PageBeside, PageQuery, PathId, QueryOf, Shop};
use crate::http::problem::Problem;
use crate::primitives::id::{
    ExchangeRateId, FinancialOrderId, FinancialOrderKind, FinancialTransactionId, OrderId,
};
use crate::primitives::{Currency, Digest, Timestamp};
use crate::tenant::finance::{self, FinancialOrder, FinancialTransaction};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list_financial_orders))
        .routes(routes!(get_financial_order))
        .routes(routes!(list_financial_transactions))
}

/// The locked money side of an order.
#[derive(Serialize, ToSchema)]
pub struct FinancialOrderView {
    id: FinancialOrderId,
    order_id: OrderId,
    /// `draft`, `pending` or `paid`.
    status: &'static str,
    currency: Currency,
    /// The sum of the lines before discounts, without tax, also when the prices include it.
    subtotal_minor: i64,
    /// All discounts, without tax.
    discount_minor: i64,
    /// The tax on the lines after discounts.
    tax_minor: i64,
    /// The amount paid: `subtotal_minor` - `discount_minor` + `tax_minor`.
    total_minor: i64,
    /// The locked content. `snapshot_hash` is the hash of its canonical JSON (RFC 8785).
    #[schema(value_type = Object)]
    snapshot: Option<Box<RawValue>>,
    /// SHA-256 of the snapshot's canonical JSON.
    snapshot_hash: Option<Digest>,
    locked_at: Option<Timestamp>,
    paid_at: Option<Timestamp>,
    /// The shop's base currency, when the order is in another one.
    base_currency: Option<Currency>,
    /// The total in the base currency, by the rate of the day on which the order was placed.
    base_total_minor: Option<i64>,
    /// The exchange rate used, as in `/v1/exchange-rates` and in the snapshot.
    exchange_rate_id: Option<ExchangeRateId>,
}

impl From<FinancialOrder> for FinancialOrderView {
    fn from(order: FinancialOrder) -> Self {
        Self {
            id: order.id,
            order_id: order.order_id,
            status: order.status.as_str(),
            currency: order.total.currency(),
            subtotal_minor: order.subtotal.minor(),
            discount_minor: order.discount.minor(),
            tax_minor: order.tax.minor(),
            total_minor: order.total.minor(),
            snapshot: order.snapshot.map(super::form::document),
            snapshot_hash: order.snapshot_hash,
            locked_at: order.locked_at,
            paid_at: order.paid_at,
            base_currency: order.in_own.map(|own| own.total.currency()),
            base_total_minor: order.in_own.map(|own| own.total.minor()),
            exchange_rate_id: order.in_own.map(|own| own.exchange_rate_id),
        }
    }
}

/// Lists financial orders, newest first.
#[utoipa::path(get, path = "/financial-orders", tag = "finance", params(PageParams, OfOrder),
    responses((status = 200, body = PageView<FinancialOrderView>)))]
async fn list_financial_orders(
    shop: Shop<Finance>,
    PageBeside(page): PageBeside,
    QueryOf(filter): QueryOf<OfOrder>,
) -> Result<Json<PageView<FinancialOrderView>>, Problem> {
    let order = filter.parse()?;
    let orders = shop
        .read(move |view| Ok(finance::list_financial_orders(view, page, order)?))
        .await?;
    Ok(Json(PageView::of(orders, FinancialOrderView::from)))
}

/// Shows a financial order.
#[utoipa::path(get, path = "/financial-orders/{id}", tag = "finance", params(("id" = String, Path)),
    responses((status = 200, body = FinancialOrderView), (status = 404,
        description = "`financial_order_not_found`")))]
async fn get_financial_order(
    shop: Shop<Finance>,
    PathId(id): PathId<FinancialOrderKind>,
) -> Result<Json<FinancialOrderView>, Problem> {
    let order = shop
        .read(move |view| Ok(finance::find_financial_order(view, id)?))
        .await?;
    order
        .map(|order| Json(order.into()))
        .ok_or_else(|| Problem::not_found("financial_order_not_found", "financial order"))
}

/// Money that came in or went out.
#[derive(Serialize, ToSchema)]
pub struct FinancialTransactionView {
    id: FinancialTransactionId,
    financial_order_id: FinancialOrderId,
    /// `credit` (in) or `debit` (out).
    kind: &'static str,
    /// `completed`.
    status: String,
    amount_minor: i64,
    currency: Currency,
    completed_at: Timestamp,
}

impl From<FinancialTransaction> for FinancialTransactionView {
    fn from(transaction: FinancialTransaction) -> Self {
        Self {
            id: transaction.id,
            financial_order_id: transaction.financial_order_id,
            kind: transaction.kind.as_str(),
            status: transaction.status,
            amount_minor: transaction.amount.minor(),
            currency: transaction.amount.currency(),
            completed_at: transaction.completed_at,
        }
    }
}

/// Lists financial transactions, newest first.
#[utoipa::path(get, path = "/financial-transactions", tag = "finance", params(PageParams),
    responses((status = 200, body = PageView<FinancialTransactionView>)))]
async fn list_financial_transactions(
    shop: Shop<Finance>,
    PageQuery(page): PageQuery,
) -> Result<Json<PageView<FinancialTransactionView>>, Problem> {
    let transactions = shop
        .read(move |view| Ok(finance::list_transactions(view, page)?))
        .await?;
    Ok(Json(PageView::of(
        transactions,
        FinancialTransactionView::from,
    )))
}
