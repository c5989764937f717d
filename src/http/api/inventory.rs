//! `/v1/inventory`: stock and its movements.

use std::sync::Arc;

use axum::Json;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::{MayBeKeyedParams, PageParams, PageView};
use super::view::views;
use crate::app::App;
use crate::http::extract::permission::Inventory;
use crate::http::extract::{Body, FromBody, MayBeKeyed, PageBeside, PathId, QueryOf, Shop};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::primitives::id::{MovementId, OrderId, ProductId, ProductKind};
use crate::primitives::{Note, OnHand, QuantityDelta, QuantityScale, Timestamp, Unit};
use crate::tenant::inventory::{self, AdjustStock, CountStock, Movement, MovementKind, Stock};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(get_stock, count_stock))
        .routes(routes!(adjust_stock))
        .routes(routes!(list_movements))
}

views! {
    struct StockView from Stock as stock {
        product_id: ProductId,
        on_hand: i64,
        reserved: i64,
        available: i64 = stock.available(),
        unit: Unit = stock.measure.unit,
        quantity_scale: QuantityScale = stock.measure.scale,
        updated_at: Option<Timestamp>,
    }
}

views! {
    struct MovementView from Movement as movement {
        id: MovementId,
        product_id: ProductId,
        #[schema(value_type = MovementKind)]
        kind: MovementKind,
        quantity_delta: i64,
        on_hand_after: i64,
        unit: Unit = movement.measure.unit,
        quantity_scale: QuantityScale = movement.measure.scale,
        order_id: Option<OrderId>,
        reason: Option<Note>,
        at: Timestamp,
    }
}

/// A counted stock.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CountStockBody {
    #[schema(value_type = OnHand)]
    on_hand: i64,
    #[schema(value_type = Option<Note>)]
    reason: Option<String>,
}

impl FromBody for CountStock {
    type Wire = CountStockBody;

    fn from_wire(wire: CountStockBody, faults: &mut RequestFaults) -> Option<Self> {
        let on_hand = faults.check("/on_hand", OnHand::new(wire.on_hand));
        let reason = faults.optional("/reason", wire.reason.as_deref().map(Note::parse));
        Some(Self {
            on_hand: on_hand?,
            reason: reason?,
        })
    }
}

/// A change of stock: a delivery, a breakage.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdjustStockBody {
    #[schema(value_type = ProductId)]
    product_id: String,
    #[schema(value_type = QuantityDelta)]
    quantity_delta: i64,
    #[schema(value_type = Note)]
    reason: String,
}

impl FromBody for AdjustStock {
    type Wire = AdjustStockBody;

    fn from_wire(wire: AdjustStockBody, faults: &mut RequestFaults) -> Option<Self> {
        let product_id = faults.check("/product_id", ProductId::parse(&wire.product_id));
        let quantity_delta =
            faults.check("/quantity_delta", QuantityDelta::new(wire.quantity_delta));
        let reason = faults.check("/reason", Note::parse(&wire.reason));
        Some(Self {
            product_id: product_id?,
            quantity_delta: quantity_delta?,
            reason: reason?,
        })
    }
}

/// Shows the stock of a product.
#[utoipa::path(get, path = "/inventory/stock/{product_id}", tag = "inventory",
    params(("product_id" = String, Path)),
    responses((status = 200, body = StockView), (status = 404,
        description = "`product_not_found`")))]
async fn get_stock(
    shop: Shop<Inventory>,
    PathId(product_id): PathId<ProductKind>,
) -> Result<Json<StockView>, Problem> {
    shop.find("product_not_found", "product", move |view| {
        inventory::find_stock(view, product_id)
    })
    .await
}

/// Sets the stock of a product to a counted number.
#[utoipa::path(patch, path = "/inventory/stock/{product_id}", tag = "inventory",
    params(("product_id" = String, Path)), request_body = CountStockBody,
    responses((status = 200, body = StockView), (status = 404, description = "`product_not_found`"),
        (status = 409, description = "`stock_too_low`"), (status = 422,
        description = "`validation_failed`")))]
async fn count_stock(
    shop: Shop<Inventory>,
    PathId(product_id): PathId<ProductKind>,
    Body(command): Body<CountStock>,
) -> Result<Json<StockView>, Problem> {
    let stock = shop
        .write(move |work| Ok(inventory::count_stock(work, product_id, &command)?))
        .await?;
    Ok(Json(stock.into()))
}

/// Adds to or subtracts from the stock of a product.
#[utoipa::path(post, path = "/inventory/adjustments", tag = "inventory", params(MayBeKeyedParams),
    request_body = AdjustStockBody,
    responses((status = 201, body = MovementView), (status = 404,
        description = "`product_not_found`"), (status = 409, description = "`stock_too_low`"),
        (status = 422, description = "`validation_failed`, `quantity_too_large`, \
            `stock_too_large`")))]
async fn adjust_stock(
    shop: Shop<Inventory>,
    MayBeKeyed { key, command }: MayBeKeyed<AdjustStock>,
) -> Result<Response, Problem> {
    shop.once(key, StatusCode::CREATED, move |work| {
        Ok(MovementView::from(inventory::adjust_stock(work, &command)?))
    })
    .await
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct MovementFilter {
    /// Only movements of this product.
    product_id: Option<String>,
}

/// Lists stock movements, newest first.
#[utoipa::path(get, path = "/inventory/movements", tag = "inventory", params(PageParams,
    MovementFilter), responses((status = 200, body = PageView<MovementView>)))]
async fn list_movements(
    shop: Shop<Inventory>,
    PageBeside(page): PageBeside,
    QueryOf(filter): QueryOf<MovementFilter>,
) -> Result<Json<PageView<MovementView>>, Problem> {
    let mut faults = RequestFaults::default();
    let product_id = faults.optional(
        "?product_id",
        filter.product_id.as_deref().map(ProductId::parse),
    );
    let product_id = faults.finish(product_id)?;
    shop.page(move |view| inventory::list_movements(view, page, product_id))
        .await
}
