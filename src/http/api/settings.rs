//! `/v1/settings`: the settings of the shop.

use std::sync::Arc;

use axum::Json;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::{IfMatchParams, present};
use crate::app::App;
use crate::http::extract::permission::Admin;
use crate::http::extract::{Body, FromBody, IfMatch, Shop, with_etag};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::primitives::{Currency, Name, Timestamp};
use crate::tenant::settings::{self, ChangeShop};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(get_shop, change_shop))
}

#[derive(Serialize, ToSchema)]
struct ShopView {
    name: Name,
    currency: Currency,
    prices_include_tax: bool,
    updated_at: Timestamp,
}

fn shop_answer(shop: settings::Shop) -> Response {
    let view = ShopView {
        name: shop.name,
        currency: shop.currency,
        prices_include_tax: shop.prices_include_tax,
        updated_at: shop.updated_at,
    };
    with_etag(shop.version, Json(view))
}

/// A change of the shop; fields that are left out stay unchanged. The currency is fixed: prices and
/// books are in it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeShopBody {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Name)]
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = bool)]
    prices_include_tax: Option<bool>,
}

impl FromBody for ChangeShop {
    type Wire = ChangeShopBody;

    fn from_wire(wire: ChangeShopBody, faults: &mut RequestFaults) -> Option<Self> {
        let name = faults.optional("/name", wire.name.as_deref().map(Name::parse));
        Some(Self {
            name: name?,
            prices_include_tax: wire.prices_include_tax,
        })
    }
}

/// Shows the shop's settings.
#[utoipa::path(get, path = "/settings/shop", tag = "settings", responses((status = 200,
    body = ShopView)))]
async fn get_shop(shop: Shop<Admin>) -> Result<Response, Problem> {
    Ok(shop_answer(
        shop.read(move |view| Ok(settings::shop(view)?)).await?,
    ))
}

/// Changes the shop's settings. Placed orders keep theirs.
#[utoipa::path(patch, path = "/settings/shop", tag = "settings", params(IfMatchParams),
    request_body = ChangeShopBody,
    responses((status = 200, body = ShopView), (status = 412, description = "`stale_version`"),
        (status = 422, description = "`validation_failed`")))]
async fn change_shop(
    shop: Shop<Admin>,
    IfMatch(expected): IfMatch,
    Body(change): Body<ChangeShop>,
) -> Result<Response, Problem> {
    let changed = shop.write(move |work| Ok(settings::change_shop(work, expected, &change)?));
    Ok(shop_answer(changed.await?))
}
