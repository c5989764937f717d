//! `/v1/financial-orders` and `/v1/financial-transactions`.

use std::sync::Arc;

use axum::Json;
use serde_json::value::RawValue;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::{OfOrder, PageParams, PageView};
use super::view::views;
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

views! {
    /// The locked money side of an order.
    pub struct FinancialOrderView from FinancialOrder as order {
        id: FinancialOrderId,
        order_id: OrderId,
        /// `draft`, `pending` or `paid`.
        status: &'static str = order.status.as_str(),
        currency: Currency = order.total.currency(),
        /// The sum of the lines before discounts, without tax, also when the prices include it.
        subtotal_minor: i64 = order.subtotal.minor(),
        /// All discounts, without tax.
        discount_minor: i64 = order.discount.minor(),
        /// The tax on the lines after discounts.
        tax_minor: i64 = order.tax.minor(),
        /// The amount paid: `subtotal_minor` - `discount_minor` + `tax_minor`.
        total_minor: i64 = order.total.minor(),
        /// The locked content. `snapshot_hash` is the hash of its canonical JSON (RFC 8785).
        #[schema(value_type = Object)]
        snapshot: Option<Box<RawValue>> = order.snapshot.map(super::form::document),
        /// SHA-256 of the snapshot's canonical JSON.
        snapshot_hash: Option<Digest>,
        locked_at: Option<Timestamp>,
        paid_at: Option<Timestamp>,
        /// The shop's base currency, when the order is in another one.
        base_currency: Option<Currency> = order.in_own.map(|own| own.total.currency()),
        /// The total in the base currency, by the rate of the day on which the order was placed.
        base_total_minor: Option<i64> = order.in_own.map(|own| own.total.minor()),
        /// The exchange rate used, as in `/v1/exchange-rates` and in the snapshot.
        exchange_rate_id: Option<ExchangeRateId> = order.in_own.map(|own| own.exchange_rate_id),
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
    shop.page(move |view| finance::list_financial_orders(view, page, order))
        .await
}

/// Shows a financial order.
#[utoipa::path(get, path = "/financial-orders/{id}", tag = "finance", params(("id" = String, Path)),
    responses((status = 200, body = FinancialOrderView), (status = 404,
        description = "`financial_order_not_found`")))]
async fn get_financial_order(
    shop: Shop<Finance>,
    PathId(id): PathId<FinancialOrderKind>,
) -> Result<Json<FinancialOrderView>, Problem> {
    shop.find(
        "financial_order_not_found",
        "financial order",
        move |view| finance::find_financial_order(view, id),
    )
    .await
}

views! {
    /// Money that came in or went out.
    pub struct FinancialTransactionView from FinancialTransaction as transaction {
        id: FinancialTransactionId,
        financial_order_id: FinancialOrderId,
        /// `credit` (in) or `debit` (out).
        kind: &'static str = transaction.kind.as_str(),
        /// `completed`.
        status: String,
        amount_minor: i64 = transaction.amount.minor(),
        currency: Currency = transaction.amount.currency(),
        completed_at: Timestamp,
    }
}

/// Lists financial transactions, newest first.
#[utoipa::path(get, path = "/financial-transactions", tag = "finance", params(PageParams),
    responses((status = 200, body = PageView<FinancialTransactionView>)))]
async fn list_financial_transactions(
    shop: Shop<Finance>,
    PageQuery(page): PageQuery,
) -> Result<Json<PageView<FinancialTransactionView>>, Problem> {
    shop.page(move |view| finance::list_transactions(view, page))
        .await
}
