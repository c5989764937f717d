//! `/v1/currencies` and `/v1/settings/currency`: the currencies that a shop sells in, and the
//! exchange rates that it uses.

use std::sync::Arc;

use axum::Json;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::{IfMatchParams, MayBeKeyedParams, PageParams, PageView, present};
use super::view::views;
use crate::app::App;
use crate::http::extract::permission::{Admin, CatalogRead};
use crate::http::extract::{Body, FromBody, IfMatch, MayBeKeyed, PageQuery, Shop, with_etag};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::primitives::limits::RATE_AGE_DAYS_MAX;
use crate::primitives::{Currency, Day, Timestamp};
use crate::tenant::currency::{
    self, ChangeSettings, CurrencyRow, CurrencySettings, EnableCurrency, RateSource,
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list_currencies, enable_currency))
        .routes(routes!(get_settings, change_settings))
}

views! {
    struct CurrencyView from CurrencyRow as row {
        code: Currency = row.currency,
        /// Whether the shop sells in it.
        enabled: bool,
        /// Whether it is the shop's base currency.
        is_base: bool,
        /// Digits of its minor unit: 2 for EUR, 0 for JPY, 3 for KWD.
        digits: u32 = row.currency.digits(),
        /// The last day of a currency that has ended; it can no longer be enabled.
        last_day: Option<Day> = row.currency.last_day(),
    }
}

/// A currency to enable or disable.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnableCurrencyBody {
    #[schema(value_type = Currency)]
    code: String,
    /// `false` stops sales in it; past sales stay.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = bool)]
    enabled: Option<bool>,
}

impl FromBody for EnableCurrency {
    type Wire = EnableCurrencyBody;

    fn from_wire(wire: EnableCurrencyBody, faults: &mut RequestFaults) -> Option<Self> {
        let currency = faults.check("/code", Currency::parse(&wire.code));
        Some(Self {
            currency: currency?,
            enabled: wire.enabled.unwrap_or(true),
        })
    }
}

#[derive(Serialize, ToSchema)]
struct CurrencySettingsView {
    /// The currency of the shop's books. Fixed when the shop is created.
    base_currency: Currency,
    rate_source: RateSource,
    /// The maximum age of a published rate, in days.
    rate_max_age_days: i32,
    updated_at: Timestamp,
}

fn settings_answer(settings: &CurrencySettings) -> Response {
    let view = CurrencySettingsView {
        base_currency: settings.base,
        rate_source: settings.rate_source,
        rate_max_age_days: settings.rate_max_age_days,
        updated_at: settings.updated_at,
    };
    with_etag(settings.version, Json(view))
}

/// A change of the settings; fields that are left out stay unchanged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeCurrencySettingsBody {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = RateSource)]
    rate_source: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = i32, minimum = 1, maximum = 366)]
    rate_max_age_days: Option<i64>,
}

impl FromBody for ChangeSettings {
    type Wire = ChangeCurrencySettingsBody;

    fn from_wire(wire: ChangeCurrencySettingsBody, faults: &mut RequestFaults) -> Option<Self> {
        let source = |text: String| {
            RateSource::parse(&text).ok_or("must be one of manual_first, manual, published")
        };
        let days = |days: i64| match i32::try_from(days) {
            Ok(days @ 1..=RATE_AGE_DAYS_MAX) => Ok(days),
            _ => Err(format!("must be from 1 to {RATE_AGE_DAYS_MAX}")),
        };
        let rate_source = faults.optional("/rate_source", wire.rate_source.map(source));
        let rate_max_age_days =
            faults.optional("/rate_max_age_days", wire.rate_max_age_days.map(days));
        Some(Self {
            rate_source: rate_source?,
            rate_max_age_days: rate_max_age_days?,
        })
    }
}

/// Lists the shop's currencies, the last added first, disabled ones included.
#[utoipa::path(get, path = "/currencies", tag = "currencies", params(PageParams), security((),
    ("api_key" = [])),
    responses((status = 200, body = PageView<CurrencyView>)))]
async fn list_currencies(
    shop: Shop<CatalogRead>,
    PageQuery(page): PageQuery,
) -> Result<Json<PageView<CurrencyView>>, Problem> {
    shop.page(move |view| currency::list_currencies(view, page))
        .await
}

/// Enables or disables a currency. Carts, checkouts and sales in a currency that is not enabled are
/// refused.
#[utoipa::path(post, path = "/currencies", tag = "currencies", params(MayBeKeyedParams),
    request_body = EnableCurrencyBody,
    responses((status = 201, body = CurrencyView), (status = 409,
        description = "`currency_is_base`"),
    (status = 422, description = "`validation_failed`, `currency_ended`")))]
async fn enable_currency(
    shop: Shop<Admin>,
    MayBeKeyed { key, command }: MayBeKeyed<EnableCurrency>,
) -> Result<Response, Problem> {
    let forget = shop.forget_sold_in();
    shop.once(key, StatusCode::CREATED, move |work| {
        let row = currency::enable(work, command)?;
        work.on_commit(forget.clone());
        Ok(CurrencyView::from(row))
    })
    .await
}

/// Shows the shop's currency settings.
#[utoipa::path(get, path = "/settings/currency", tag = "settings", responses((status = 200,
    body = CurrencySettingsView)))]
async fn get_settings(shop: Shop<Admin>) -> Result<Response, Problem> {
    Ok(settings_answer(
        &shop.read(move |view| Ok(currency::settings(view)?)).await?,
    ))
}

/// Changes the shop's currency settings. Documents keep the rates that they used.
#[utoipa::path(patch, path = "/settings/currency", tag = "settings", params(IfMatchParams),
    request_body = ChangeCurrencySettingsBody,
    responses((status = 200, body = CurrencySettingsView), (status = 412,
        description = "`stale_version`"), (status = 422, description = "`validation_failed`")))]
async fn change_settings(
    shop: Shop<Admin>,
    IfMatch(expected): IfMatch,
    Body(change): Body<ChangeSettings>,
) -> Result<Response, Problem> {
    let changed = shop.write(move |work| Ok(currency::change_settings(work, expected, &change)?));
    Ok(settings_answer(&changed.await?))
}
