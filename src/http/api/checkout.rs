//! `POST /v1/checkout`: a cart becomes an order that waits for its payment.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::KeyedParams;
use super::orders::OrderView;
use super::payments::{PaymentView, parse_method};
use crate::app::App;
use crate::http::extract::permission::Checkout;
use crate::http::extract::{FromBody, Keyed, Shop};
use crate::http::faults::Faults;
use crate::http::problem::Problem;
use crate::primitives::Email;
use crate::primitives::id::CartId;
use crate::tenant::checkout::{self, PlaceOrder, Placed};
use crate::tenant::payments::Method;

/// The routes of the checkout.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(place_order))
}

/// An order that is to be placed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceOrderBody {
    #[schema(value_type = CartId)]
    cart_id: String,
    #[schema(value_type = Email)]
    email: String,
    /// `cash`, `manual`, and under `--dev` `test`.
    #[schema(value_type = Method)]
    payment_method: String,
}

impl FromBody for PlaceOrder {
    type Wire = PlaceOrderBody;

    fn from_wire(wire: PlaceOrderBody, faults: &mut Faults) -> Option<Self> {
        let cart_id = faults.take("/cart_id", CartId::parse(&wire.cart_id));
        let email = faults.take("/email", Email::parse(&wire.email));
        let method = faults.take("/payment_method", parse_method(&wire.payment_method));
        Some(Self {
            cart_id: cart_id?,
            email: email?,
            method: method?,
        })
    }
}

/// An order that was placed, and the payment it waits for.
#[derive(Serialize, ToSchema)]
pub struct PlacedView {
    order: OrderView,
    payment: PaymentView,
}

impl From<Placed> for PlacedView {
    fn from(placed: Placed) -> Self {
        Self {
            order: placed.order.into(),
            payment: placed.payment.into(),
        }
    }
}

/// Makes an order of a cart; its stock is held for 15 minutes.
///
/// Without an API key, the unpaid orders of an address are bounded: 5 within 24 hours, which hold
/// 20 pieces or 25 % of the stock of a product together, whichever is more, unless configured; and
/// an `Idempotency-Key` lives an hour.
#[utoipa::path(post, path = "/checkout", tag = "checkout", security((), ("api_key" = [])),
    params(KeyedParams), request_body = PlaceOrderBody,
    responses((status = 201, body = PlacedView), (status = 404, description = "`cart_not_found`"),
        (status = 409, description = "`cart_not_open`, `product_inactive`, `unpaid_orders_limit`, \
            `out_of_stock`, `hold_limit_exceeded`"),
        (status = 422, description = "`validation_failed`, `cart_empty`, `currency_mismatch`, \
            `currency_ended`, `currency_not_enabled`, `no_exchange_rate`, `amount_too_large`, \
            `unknown_tax_class`, `payment_method_unavailable`, `idempotency_key_reused`")))]
async fn place_order(
    shop: Shop<Checkout>,
    Keyed { key, command }: Keyed<PlaceOrder>,
) -> Result<Response, Problem> {
    let (policy, client) = (shop.selling_policy().await?, shop.client());
    let shop = shop.as_sale();
    shop.once(key, StatusCode::CREATED, move |work| {
        Ok(PlacedView::from(checkout::place_order(
            work, &policy, client, &command,
        )?))
    })
    .await
}
