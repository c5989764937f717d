//! `/v1/orders`: orders and their status.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::{Empty, EmptyBody, MayBeKeyedParams, PageParams, PageView};
use super::party::BuyerView;
use super::view::views;
use crate::app::App;
use crate::http::extract::permission::{CancelOrder, Orders};
use crate::http::extract::{FromBody, MayBeKeyed, PageBeside, PathId, QueryOf, Shop};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::platform::page::Page;
use crate::primitives::id::{OrderId, OrderKind, OrderLineId, ProductId};
use crate::primitives::{
    Currency, Email, Name, Note, QuantityScale, Sku, TaxClass, TaxRate, Timestamp, Unit,
};
use crate::storage::TenantWork;
use crate::tenant::cancellation::{self, CancelUnpaid};
use crate::tenant::orders::{self, Channel, Order, OrderStatus};
use crate::tenant::pricing::{PricedLine, TaxLine};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list_orders))
        .routes(routes!(get_order))
        .routes(routes!(confirm_order))
        .routes(routes!(ship_order))
        .routes(routes!(cancel_order))
        .routes(routes!(cancel_unpaid))
}

views! {
    /// A line of an order.
    pub struct OrderItemView from PricedLine as line {
        id: OrderLineId,
        product_id: ProductId,
        sku: Sku,
        name: Name,
        /// An integer of 10^-`quantity_scale` units.
        quantity: i64,
        unit: Unit = line.measure.unit,
        quantity_scale: QuantityScale = line.measure.scale,
        /// For one whole unit, with or without tax as `prices_include_tax` says.
        unit_price_minor: i64 = line.unit_price.minor(),
        /// The reason for a price that was not the catalog's.
        price_reason: Option<Note>,
        /// All discounts of the line, with tax if the prices include it; `net_minor`, `tax_minor`
        /// and `total_minor` are after them.
        discount_minor: i64 = line.discount.minor(),
        /// The part of `discount_minor` that is the line's share of the discount of the whole sale.
        shared_discount_minor: i64 = line.shared_discount.minor(),
        /// The reason for the discount of the line.
        discount_reason: Option<Note>,
        tax_class: TaxClass,
        tax_name: Name,
        tax_rate_ppm: TaxRate = line.tax_rate,
        net_minor: i64 = line.net.minor(),
        tax_minor: i64 = line.tax.minor(),
        total_minor: i64 = line.total.minor(),
    }
}

views! {
    /// The tax of one rate on an order.
    pub struct TaxLineView from TaxLine as line {
        name: String,
        /// The rate in parts per million.
        rate_ppm: i64,
        /// The discounts on goods of this rate, without tax.
        discount_minor: i64,
        /// The taxed amount: after discounts, without tax.
        net_minor: i64,
        tax_minor: i64,
    }
}

views! {
    /// An order. Allowed transitions: `pending` → `paid` → `confirmed` → `shipped`, and `pending` →
    /// `cancelled`.
    pub struct OrderView from Order as order {
        id: OrderId,
        number: String,
        #[schema(value_type = OrderStatus)]
        status: &'static str = order.status.as_str(),
        #[schema(value_type = Channel)]
        channel: Channel,
        currency: Currency,
        prices_include_tax: bool,
        items: Vec<OrderItemView> = order.lines.into_iter().map(OrderItemView::from).collect(),
        tax_lines: Vec<TaxLineView> = order.tax_lines.into_iter().map(TaxLineView::from).collect(),
        /// The sum of the lines before discounts, without tax, also when the prices include it.
        subtotal_minor: i64 = order.subtotal.minor(),
        /// All discounts, without tax.
        discount_minor: i64 = order.discount.minor(),
        /// The reason for the discount of the whole sale.
        discount_reason: Option<Note>,
        /// The tax on the lines after discounts.
        tax_minor: i64 = order.tax.minor(),
        /// The amount to pay: `subtotal_minor` - `discount_minor` + `tax_minor`.
        total_minor: i64 = order.total.minor(),
        email: Option<Email>,
        buyer: Option<BuyerView> = order.buyer.map(BuyerView::from),
        placed_at: Timestamp,
        updated_at: Timestamp,
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OrderFilter {
    /// Only orders in this status.
    #[param(value_type = Option<OrderStatus>)]
    status: Option<String>,
    /// Only the order with this number.
    number: Option<String>,
}

/// Lists orders, newest first.
#[utoipa::path(get, path = "/orders", tag = "orders", params(PageParams, OrderFilter),
    responses((status = 200, body = PageView<OrderView>)))]
async fn list_orders(
    shop: Shop<Orders>,
    PageBeside(page): PageBeside,
    QueryOf(filter): QueryOf<OrderFilter>,
) -> Result<Json<PageView<OrderView>>, Problem> {
    let mut faults = RequestFaults::default();
    let parse = |text: &str| {
        OrderStatus::parse(text)
            .ok_or("unknown status; use pending, paid, confirmed, shipped or cancelled")
    };
    let status = faults.optional("?status", filter.status.as_deref().map(parse));
    let status = faults.finish(status)?;
    let orders = shop.read(move |view| match filter.number {
        Some(number) => {
            let found = orders::find_order_by_number(view, &number)?;
            let matches_status = |order: &Order| status.is_none_or(|status| order.status == status);
            Ok(Page::whole(
                found.into_iter().filter(matches_status).collect(),
            ))
        }
        None => Ok(orders::list_orders(view, page, status)?),
    });
    let orders = orders.await?;
    Ok(Json(PageView::of(orders, OrderView::from)))
}

/// Shows an order.
#[utoipa::path(get, path = "/orders/{id}", tag = "orders", params(("id" = String, Path)),
    responses((status = 200, body = OrderView), (status = 404, description = "`order_not_found`")))]
async fn get_order(
    shop: Shop<Orders>,
    PathId(id): PathId<OrderKind>,
) -> Result<Json<OrderView>, Problem> {
    shop.show(move |view| orders::require_order(view, id)).await
}

/// Accepts a paid order.
#[utoipa::path(post, path = "/orders/{id}/confirm", tag = "orders", params(("id" = String, Path),
    MayBeKeyedParams), request_body = EmptyBody,
    responses((status = 200, body = OrderView), (status = 404, description = "`order_not_found`"),
        (status = 409, description = "`illegal_transition`")))]
async fn confirm_order(
    shop: Shop<Orders>,
    PathId(id): PathId<OrderKind>,
    MayBeKeyed { key, .. }: MayBeKeyed<Empty>,
) -> Result<Response, Problem> {
    shop.once(key, StatusCode::OK, move |work| {
        Ok(OrderView::from(orders::confirm_order(work, id)?))
    })
    .await
}

/// Marks a confirmed order as handed over or sent.
#[utoipa::path(post, path = "/orders/{id}/ship", tag = "orders", params(("id" = String, Path),
    MayBeKeyedParams), request_body = EmptyBody,
    responses((status = 200, body = OrderView), (status = 404, description = "`order_not_found`"),
        (status = 409, description = "`illegal_transition`")))]
async fn ship_order(
    shop: Shop<Orders>,
    PathId(id): PathId<OrderKind>,
    MayBeKeyed { key, .. }: MayBeKeyed<Empty>,
) -> Result<Response, Problem> {
    shop.once(key, StatusCode::OK, move |work| {
        Ok(OrderView::from(orders::ship_order(work, id)?))
    })
    .await
}

/// Cancels a pending order: its stock is released, its open payments are cancelled.
#[utoipa::path(post, path = "/orders/{id}/cancel", tag = "orders", params(("id" = String, Path),
    MayBeKeyedParams), request_body = EmptyBody,
    responses((status = 200, body = OrderView), (status = 404, description = "`order_not_found`"),
        (status = 409, description = "`illegal_transition`")))]
async fn cancel_order(
    shop: Shop<CancelOrder>,
    PathId(id): PathId<OrderKind>,
    MayBeKeyed { key, .. }: MayBeKeyed<Empty>,
) -> Result<Response, Problem> {
    shop.once(key, StatusCode::OK, move |work| {
        Ok(OrderView::from(cancellation::cancel_order(work, id)?))
    })
    .await
}

/// The unpaid orders to cancel: exactly one of the three fields selects them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelUnpaidBody {
    /// Orders that were placed without a key from this address; for IPv6, from its network of 64
    /// bits.
    #[schema(example = "203.0.113.9")]
    client_address: Option<String>,
    /// Orders that were placed without a key from the same address as this order.
    #[schema(value_type = Option<OrderId>)]
    order_id: Option<String>,
    /// All orders that were placed without a key.
    #[serde(default)]
    all: bool,
}

enum CancelUnpaidCommand {
    All,
    OfAddress(IpAddr),
    OfClientOf(OrderId),
}

impl FromBody for CancelUnpaidCommand {
    type Wire = CancelUnpaidBody;

    fn from_wire(wire: CancelUnpaidBody, faults: &mut RequestFaults) -> Option<Self> {
        let one = "must have exactly one of client_address, order_id and all";
        match (wire.client_address, wire.order_id, wire.all) {
            (Some(address), None, false) => {
                let address: Result<IpAddr, _> = address.parse();
                let address = address.map_err(|_| "not an IP address");
                Some(Self::OfAddress(faults.check("/client_address", address)?))
            }
            (None, Some(order), false) => {
                let order = OrderId::parse(&order);
                Some(Self::OfClientOf(faults.check("/order_id", order)?))
            }
            (None, None, true) => Some(Self::All),
            _ => faults.check("", Err::<Self, _>(one)),
        }
    }
}

/// The cancelled orders.
#[derive(Serialize, ToSchema)]
struct CancelledUnpaidView {
    cancelled: usize,
    order_ids: Vec<OrderId>,
    /// Whether there are more: one call cancels at most 100.
    has_more: bool,
}

/// Cancels unpaid orders that were placed without a key: of one address, or all. Their stock is
/// released, their open payments are cancelled.
#[utoipa::path(post, path = "/orders/cancel-unpaid", tag = "orders", params(MayBeKeyedParams),
    request_body = CancelUnpaidBody,
    responses((status = 200, body = CancelledUnpaidView), (status = 404,
        description = "`order_not_found`"), (status = 409, description = "`order_without_client`"),
        (status = 422, description = "`validation_failed`")))]
async fn cancel_unpaid(
    shop: Shop<CancelOrder>,
    MayBeKeyed { key, command }: MayBeKeyed<CancelUnpaidCommand>,
) -> Result<Response, Problem> {
    let command = match command {
        CancelUnpaidCommand::All => CancelUnpaid::All,
        CancelUnpaidCommand::OfAddress(address) => CancelUnpaid::OfClient(shop.client_at(address)),
        CancelUnpaidCommand::OfClientOf(order) => CancelUnpaid::OfClientOf(order),
    };
    let cancel = move |work: &mut TenantWork| {
        let done = cancellation::cancel_unpaid(work, command)?;
        Ok(CancelledUnpaidView {
            cancelled: done.order_ids.len(),
            order_ids: done.order_ids,
            has_more: done.has_more,
        })
    };
    shop.once(key, StatusCode::OK, cancel).await
}
