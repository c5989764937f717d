//! `/v1/settings`: the settings of the shop.

use std::sync::Arc;

use axum::Json;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::{IfMatchParams, nullable, present};
use crate::app::App;
use crate::http::extract::permission::Admin;
use crate::http::extract::{Body, FromBody, IfMatch, Shop, with_etag};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::primitives::{Address, Country, Currency, Email, Name, TimeZone, Timestamp, VatId};
use crate::tenant::settings::{self, ChangeParty, ChangeShop};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(get_shop, change_shop))
}

#[derive(Serialize, ToSchema)]
struct ShopView {
    name: Name,
    currency: Currency,
    prices_include_tax: bool,
    timezone: TimeZone,
    /// The legal name on documents; `null`: the shop's name.
    legal_name: Option<Name>,
    address: Option<Address>,
    country: Option<Country>,
    vat_id: Option<VatId>,
    /// The number of the national tax office.
    tax_id: Option<Name>,
    contact_email: Option<Email>,
    contact_phone: Option<Name>,
    updated_at: Timestamp,
}

fn shop_answer(shop: settings::Shop) -> Response {
    let view = ShopView {
        name: shop.name,
        currency: shop.currency,
        prices_include_tax: shop.prices_include_tax,
        timezone: shop.timezone,
        legal_name: shop.seller.name,
        address: shop.seller.address,
        country: shop.seller.country,
        vat_id: shop.seller.vat_id,
        tax_id: shop.seller.tax_id,
        contact_email: shop.seller.email,
        contact_phone: shop.seller.phone,
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
    /// Decides the year of an invoice number, and the day of a report and of a tax rate.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = TimeZone)]
    timezone: Option<String>,
    /// The legal name on documents; without one they have the shop's name. `null` removes it, as
    /// it removes the values below.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Name>)]
    legal_name: Option<Option<String>>,
    /// The postal address, in up to six lines.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Address>)]
    address: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Country>)]
    country: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<VatId>)]
    vat_id: Option<Option<String>>,
    /// The number of the national tax office.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Name>)]
    tax_id: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Email>)]
    contact_email: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Name>)]
    contact_phone: Option<Option<String>>,
}

/// A part of a change: left out, `null` or a value.
fn part<T, E: std::fmt::Display>(
    faults: &mut RequestFaults,
    pointer: &str,
    text: Option<Option<String>>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<Option<Option<T>>> {
    match text {
        None => Some(None),
        Some(None) => Some(Some(None)),
        Some(Some(text)) => faults
            .check(pointer, parse(&text))
            .map(|value| Some(Some(value))),
    }
}

impl FromBody for ChangeShop {
    type Wire = ChangeShopBody;

    fn from_wire(wire: ChangeShopBody, faults: &mut RequestFaults) -> Option<Self> {
        let name = faults.optional("/name", wire.name.as_deref().map(Name::parse));
        let timezone = faults.optional("/timezone", wire.timezone.as_deref().map(TimeZone::parse));
        let seller_name = part(faults, "/legal_name", wire.legal_name, Name::parse);
        let address = part(faults, "/address", wire.address, Address::parse);
        let country = part(faults, "/country", wire.country, Country::parse);
        let vat_id = part(faults, "/vat_id", wire.vat_id, VatId::parse);
        let tax_id = part(faults, "/tax_id", wire.tax_id, Name::parse);
        let email = part(faults, "/contact_email", wire.contact_email, Email::parse);
        let phone = part(faults, "/contact_phone", wire.contact_phone, Name::parse);
        Some(Self {
            name: name?,
            timezone: timezone?,
            seller: ChangeParty {
                address: address?,
                country: country?,
                email: email?,
                name: seller_name?,
                phone: phone?,
                tax_id: tax_id?,
                vat_id: vat_id?,
            },
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
        (status = 422, description = "`validation_failed`, `vat_id_mismatch`")))]
async fn change_shop(
    shop: Shop<Admin>,
    IfMatch(expected): IfMatch,
    Body(change): Body<ChangeShop>,
) -> Result<Response, Problem> {
    let changed = shop.write(move |work| Ok(settings::change_shop(work, expected, &change)?));
    Ok(shop_answer(changed.await?))
}
