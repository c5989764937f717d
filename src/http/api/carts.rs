//! `/v1/carts`: shopping carts. Open to the storefront: anybody who knows a cart's id may change
//! it.

use std::sync::Arc;

use axum::Json;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::MayBeKeyedParams;
use super::view::views;
use crate::app::App;
use crate::http::extract::permission::Checkout;
use crate::http::extract::{Body, FromBody, MayBeKeyed, PathId, PathText, Replayable, Shop};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::platform::idempotency::KeyOutcome;
use crate::primitives::id::{CartId, CartItemId, CartKind, ProductId};
use crate::primitives::{Currency, Money, Name, Quantity, QuantityScale, Sku, Unit};
use crate::storage::TenantView;
use crate::tenant::cart::{self, AddItem, Cart, CartItem, CartStatus};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create_cart))
        .routes(routes!(get_cart))
        .routes(routes!(add_item))
        .routes(routes!(change_item, remove_item))
        .routes(routes!(clear_cart))
        .routes(routes!(abandon_cart))
}

views! {
    struct CartItemView from CartItem as item {
        id: CartItemId,
        product_id: ProductId,
        sku: Sku,
        name: Name,
        quantity: Quantity,
        unit: Unit = item.measure.unit,
        quantity_scale: QuantityScale = item.measure.scale,
        /// For one whole unit.
        unit_price_minor: i64 = item.unit_price.minor(),
        /// `null` when it is too large to represent, because the price rose after the item was
        /// added.
        total_minor: Option<i64> = item.total.map(Money::minor),
    }
}

views! {
    struct CartView from Cart as cart {
        id: CartId,
        currency: Currency,
        items: Vec<CartItemView> = cart.items.into_iter().map(CartItemView::from).collect(),
        /// `null` when it is too large to represent.
        subtotal_minor: Option<i64> = cart.subtotal.map(Money::minor),
        #[schema(value_type = String, example = "open")]
        status: CartStatus,
    }
}

/// A new cart.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCartBody {
    #[schema(value_type = Option<Currency>)]
    currency: Option<String>,
}

struct CreateCart(Option<Currency>);

impl FromBody for CreateCart {
    type Wire = CreateCartBody;

    fn from_wire(wire: CreateCartBody, faults: &mut RequestFaults) -> Option<Self> {
        faults
            .optional("/currency", wire.currency.as_deref().map(Currency::parse))
            .map(Self)
    }
}

/// A product to add to a cart.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddItemBody {
    #[schema(value_type = ProductId)]
    product_id: String,
    #[schema(value_type = Quantity)]
    quantity: i64,
}

impl FromBody for AddItem {
    type Wire = AddItemBody;

    fn from_wire(wire: AddItemBody, faults: &mut RequestFaults) -> Option<Self> {
        let product_id = faults.check("/product_id", ProductId::parse(&wire.product_id));
        let quantity = faults.check("/quantity", Quantity::new(wire.quantity));
        Some(Self {
            product_id: product_id?,
            quantity: quantity?,
        })
    }
}

/// The new quantity of a line.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeItemBody {
    #[schema(value_type = Quantity)]
    quantity: i64,
}

struct ChangeItem(Quantity);

impl FromBody for ChangeItem {
    type Wire = ChangeItemBody;

    fn from_wire(wire: ChangeItemBody, faults: &mut RequestFaults) -> Option<Self> {
        faults
            .check("/quantity", Quantity::new(wire.quantity))
            .map(Self)
    }
}

/// Returns the present view of a cart.
fn show(view: &TenantView, id: CartId) -> Result<CartView, Problem> {
    Ok(cart::show_cart(view, id)?.into())
}

/// A changed cart. A repetition without an API key shows the cart as it is then.
struct ChangedCart(Cart);

impl Replayable for ChangedCart {
    type View = CartView;

    fn into_outcome(self) -> KeyOutcome<CartView, Problem> {
        let id = self.0.id;
        KeyOutcome::KeepCart(self.0.into(), id)
    }

    fn show(view: &TenantView, id: CartId) -> Result<CartView, Problem> {
        show(view, id)
    }
}

/// Creates an empty cart.
///
/// Without an API key: an `Idempotency-Key` is kept for an hour, and its replay shows the cart as
/// it is then (with `Idempotent-Replayed: true`; 404 when it is gone). An address has at most 50
/// carts that were not ordered. An untouched cart is deleted after one day when it is empty,
/// otherwise after seven days.
#[utoipa::path(post, path = "/carts", tag = "carts", security((), ("api_key" = [])),
    params(MayBeKeyedParams), request_body = CreateCartBody, responses((status = 201,
    body = CartView),
    (status = 404, description = "`cart_not_found`"), (status = 409,
        description = "`carts_per_address_limit`, `carts_limit`"), (status = 422,
        description = "`validation_failed`, `currency_ended`, `currency_not_enabled`")))]
async fn create_cart(
    shop: Shop<Checkout>,
    MayBeKeyed { key, command }: MayBeKeyed<CreateCart>,
) -> Result<Response, Problem> {
    let CreateCart(currency) = command;
    let (policy, client) = (shop.policy(), shop.client());
    let key = match client {
        Some(client) => key.map(|key| key.of_client(client)),
        None => key,
    };
    shop.once(key, StatusCode::CREATED, move |work| {
        let cart = cart::create_cart(work, &policy.storefront, client, currency)?;
        Ok(ChangedCart(cart))
    })
    .await
}

/// Shows a cart with the present prices.
#[utoipa::path(get, path = "/carts/{id}", tag = "carts", security((), ("api_key" = [])),
    params(("id" = String, Path)),
    responses((status = 200, body = CartView), (status = 404, description = "`cart_not_found`")))]
async fn get_cart(
    shop: Shop<Checkout>,
    PathId(id): PathId<CartKind>,
) -> Result<Json<CartView>, Problem> {
    let cart = shop.read(move |view| show(view, id)).await?;
    Ok(Json(cart))
}

/// Adds a product to a cart, or raises its quantity.
///
/// A cart holds at most 100 items by default. Without an API key, a replay of an `Idempotency-Key`
/// shows the cart as it is then, with `Idempotent-Replayed: true`.
#[utoipa::path(post, path = "/carts/{id}/items", tag = "carts", security((), ("api_key" = [])),
    params(("id" = String, Path), MayBeKeyedParams), request_body = AddItemBody,
    responses((status = 201, body = CartView), (status = 404, description = "`cart_not_found`"),
        (status = 409, description = "`cart_not_open`, `product_inactive`, `cart_full`"),
    (status = 422, description = "`validation_failed`, `product_not_found`, `currency_mismatch`, \
        `quantity_too_large`, `amount_too_large`")))]
async fn add_item(
    shop: Shop<Checkout>,
    PathId(id): PathId<CartKind>,
    MayBeKeyed { key, command }: MayBeKeyed<AddItem>,
) -> Result<Response, Problem> {
    let policy = shop.policy();
    shop.once(key, StatusCode::CREATED, move |work| {
        let cart = cart::add_item(work, &policy.storefront, id, &command)?;
        Ok(ChangedCart(cart))
    })
    .await
}

/// Sets the quantity of a line.
#[utoipa::path(patch, path = "/carts/{id}/items/{item_id}", tag = "carts", security((),
    ("api_key" = [])), params(("id" = String, Path), ("item_id" = String, Path)),
    request_body = ChangeItemBody,
    responses((status = 200, body = CartView), (status = 404, description = "`cart_not_found`, \
        `cart_item_not_found`"), (status = 409, description = "`cart_not_open`"),
    (status = 422, description = "`validation_failed`, `quantity_too_large`, \
        `amount_too_large`")))]
async fn change_item(
    shop: Shop<Checkout>,
    PathText((id, item)): PathText<(CartId, CartItemId)>,
    Body(ChangeItem(quantity)): Body<ChangeItem>,
) -> Result<Json<CartView>, Problem> {
    let cart = shop
        .write(move |work| Ok(cart::change_item(work, id, item, quantity)?))
        .await?;
    Ok(Json(cart.into()))
}

/// Removes a line from a cart; the answer is the cart without it.
#[utoipa::path(delete, path = "/carts/{id}/items/{item_id}", tag = "carts", security((),
    ("api_key" = [])), params(("id" = String, Path), ("item_id" = String, Path)),
    responses((status = 200, body = CartView), (status = 404, description = "`cart_not_found`, \
        `cart_item_not_found`"), (status = 409, description = "`cart_not_open`")))]
async fn remove_item(
    shop: Shop<Checkout>,
    PathText((id, item)): PathText<(CartId, CartItemId)>,
) -> Result<Json<CartView>, Problem> {
    let cart = shop
        .write(move |work| Ok(cart::remove_item(work, id, item)?))
        .await?;
    Ok(Json(cart.into()))
}

/// Removes all lines from a cart.
#[utoipa::path(post, path = "/carts/{id}/clear", tag = "carts", security((), ("api_key" = [])),
    params(("id" = String, Path)),
    responses((status = 200, body = CartView), (status = 404, description = "`cart_not_found`"),
        (status = 409, description = "`cart_not_open`")))]
async fn clear_cart(
    shop: Shop<Checkout>,
    PathId(id): PathId<CartKind>,
) -> Result<Json<CartView>, Problem> {
    let cart = shop
        .write(move |work| Ok(cart::clear_cart(work, id)?))
        .await?;
    Ok(Json(cart.into()))
}

/// Abandons a cart.
#[utoipa::path(post, path = "/carts/{id}/abandon", tag = "carts", security((), ("api_key" = [])),
    params(("id" = String, Path)),
    responses((status = 200, body = CartView), (status = 404, description = "`cart_not_found`"),
        (status = 409, description = "`cart_not_open`")))]
async fn abandon_cart(
    shop: Shop<Checkout>,
    PathId(id): PathId<CartKind>,
) -> Result<Json<CartView>, Problem> {
    let cart = shop
        .write(move |work| Ok(cart::abandon_cart(work, id)?))
        .await?;
    Ok(Json(cart.into()))
}
