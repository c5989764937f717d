//! `POST /v1/checkout`: turns a cart into an order that waits for its payment.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::KeyedParams;
use super::orders::OrderView;
use super::party::BuyerBody;
use super::payments::{PaymentView, parse_method};
use super::view::views;
use crate::app::App;
use crate::http::extract::permission::PlaceOrder as MayPlaceOrder;
use crate::http::extract::{FromBody, Keyed, Shop};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::primitives::Email;
use crate::primitives::id::CartId;
use crate::tenant::checkout::{self, PlaceOrder, Placed};
use crate::tenant::payments::Method;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(place_order))
}

/// The checkout of a cart.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceOrderBody {
    #[schema(value_type = CartId)]
    cart_id: String,
    #[schema(value_type = Email)]
    email: String,
    #[schema(value_type = Method)]
    payment_method: String,
    /// The buyer for the invoice.
    buyer: Option<BuyerBody>,
}

impl FromBody for PlaceOrder {
    type Wire = PlaceOrderBody;

    fn from_wire(wire: PlaceOrderBody, faults: &mut RequestFaults) -> Option<Self> {
        let cart_id = faults.check("/cart_id", CartId::parse(&wire.cart_id));
        let email = faults.check("/email", Email::parse(&wire.email));
        let method = faults.check("/payment_method", parse_method(&wire.payment_method));
        let buyer = wire.buyer.map_or(Some(None), |buyer| buyer.parse(faults));
        Some(Self {
            cart_id: cart_id?,
            email: email?,
            method: method?,
            buyer: buyer?,
        })
    }
}

views! {
    /// A placed order with its pending payment.
    pub struct PlacedView from Placed as placed {
        order: OrderView = placed.order.into(),
        payment: PaymentView = placed.payment.into(),
    }
}

/// Places an order for a cart and reserves its stock for 15 minutes.
///
/// Without an API key, the unpaid orders of an address are bounded. The defaults are 5 within 24
/// hours, which together reserve at most 20 pieces (whole units) or 25 % of the stock of a product,
/// whichever is more. An `Idempotency-Key` is kept for an hour.
#[utoipa::path(post, path = "/checkout", tag = "checkout", security((), ("api_key" = [])),
    params(KeyedParams), request_body = PlaceOrderBody,
    responses((status = 201, body = PlacedView), (status = 404, description = "`cart_not_found`"),
        (status = 409, description = "`cart_not_open`, `product_inactive`, `unpaid_orders_limit`, \
            `out_of_stock`, `hold_limit_exceeded`, `tax_not_configured`"),
        (status = 422, description = "`validation_failed`, `cart_empty`, `currency_mismatch`, \
            `currency_ended`, `currency_not_enabled`, `no_exchange_rate`, `amount_too_large`, \
            `payment_method_unavailable`, `idempotency_key_reused`")))]
async fn place_order(
    shop: Shop<MayPlaceOrder>,
    Keyed { key, command }: Keyed<PlaceOrder>,
) -> Result<Response, Problem> {
    let (policy, client) = (shop.policy(), shop.client());
    let published = shop.published_for_sale().await?;
    shop.once(key, StatusCode::CREATED, move |work| {
        Ok(PlacedView::from(checkout::place_order(
            work, &policy, &published, client, &command,
        )?))
    })
    .await
}
