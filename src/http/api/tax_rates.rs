//! `/v1/tax-rates`: the rates of the tax classes over time.

use std::sync::Arc;

use axum::Json;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::{Empty, EmptyBody, MayBeKeyedParams, PageParams, PageView, present};
use super::view::views;
use crate::app::App;
use crate::http::extract::permission::{CatalogRead, CatalogWrite};
use crate::http::extract::{Body, FromBody, MayBeKeyed, PageQuery, PathId, Shop};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::primitives::id::{TaxRateId, TaxRateKind};
use crate::primitives::{DayOrInstant, Name, TaxClass, TaxRate, Timestamp};
use crate::tenant::tax::{self, AddRate, CorrectRate, RateOfClass};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(add_rate, list_rates))
        .routes(routes!(set_no_tax))
        .routes(routes!(correct_rate, withdraw_rate))
}

views! {
    struct TaxRateView from RateOfClass as rate {
        id: TaxRateId,
        tax_class: TaxClass,
        name: Name,
        rate_ppm: TaxRate = rate.rate,
        /// `null`: "no tax", which counts while the class has no other rate.
        valid_from: Option<Timestamp>,
        /// Whether an order has the rate on its lines: then it can no longer change.
        used: bool,
    }
}

/// A new tax rate.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddRateBody {
    #[schema(value_type = TaxClass)]
    tax_class: String,
    #[schema(value_type = Name)]
    name: String,
    #[schema(value_type = TaxRate)]
    rate_ppm: i64,
    /// An instant, or a day such as `2026-01-01`, which begins at midnight in the shop's time zone;
    /// default: now.
    #[schema(value_type = Option<DayOrInstant>)]
    valid_from: Option<String>,
}

impl FromBody for AddRate {
    type Wire = AddRateBody;

    fn from_wire(wire: AddRateBody, faults: &mut RequestFaults) -> Option<Self> {
        let tax_class = faults.check("/tax_class", TaxClass::parse(&wire.tax_class));
        let name = faults.check("/name", Name::parse(&wire.name));
        let rate = faults.check("/rate_ppm", TaxRate::from_ppm(wire.rate_ppm));
        let valid_from = faults.optional(
            "/valid_from",
            wire.valid_from.as_deref().map(DayOrInstant::parse),
        );
        Some(Self {
            tax_class: tax_class?,
            name: name?,
            rate: rate?,
            valid_from: valid_from?,
        })
    }
}

/// Adds a rate to a tax class; the first rate creates the class.
///
/// The first rate also applies to earlier sales: a shop that sold without tax until a date adds a
/// rate of 0 for the time before it.
#[utoipa::path(post, path = "/tax-rates", tag = "tax", params(MayBeKeyedParams),
    request_body = AddRateBody,
    responses((status = 201, body = TaxRateView), (status = 409, description = "`tax_rate_exists`"),
        (status = 422, description = "`validation_failed`")))]
async fn add_rate(
    shop: Shop<CatalogWrite>,
    MayBeKeyed { key, command }: MayBeKeyed<AddRate>,
) -> Result<Response, Problem> {
    shop.once(key, StatusCode::CREATED, move |work| {
        Ok(TaxRateView::from(tax::add_rate(work, &command)?))
    })
    .await
}

/// Says that the shop charges no tax: the class `standard` gets a rate of 0 without a beginning.
///
/// A shop sells nothing before it has a rate or has said this. The first other rate of the class
/// ends it.
#[utoipa::path(post, path = "/tax-rates/none", tag = "tax", request_body = EmptyBody,
    responses((status = 200, body = TaxRateView),
        (status = 409, description = "`tax_is_configured`")))]
async fn set_no_tax(
    shop: Shop<CatalogWrite>,
    Body(Empty): Body<Empty>,
) -> Result<Json<TaxRateView>, Problem> {
    let rate = shop.write(move |work| Ok(tax::set_no_tax(work)?));
    Ok(Json(rate.await?.into()))
}

/// A correction of a tax rate; fields that are left out stay unchanged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CorrectRateBody {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Name)]
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = TaxRate)]
    rate_ppm: Option<i64>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = DayOrInstant)]
    valid_from: Option<String>,
}

/// The fields of a correction, for the rate that the path names.
pub struct Correction {
    name: Option<Name>,
    rate: Option<TaxRate>,
    valid_from: Option<DayOrInstant>,
}

impl FromBody for Correction {
    type Wire = CorrectRateBody;

    fn from_wire(wire: CorrectRateBody, faults: &mut RequestFaults) -> Option<Self> {
        let name = faults.optional("/name", wire.name.as_deref().map(Name::parse));
        let rate = faults.optional("/rate_ppm", wire.rate_ppm.map(TaxRate::from_ppm));
        let valid_from = faults.optional(
            "/valid_from",
            wire.valid_from.as_deref().map(DayOrInstant::parse),
        );
        Some(Self {
            name: name?,
            rate: rate?,
            valid_from: valid_from?,
        })
    }
}

/// Corrects a tax rate that no order has yet.
#[utoipa::path(patch, path = "/tax-rates/{id}", tag = "tax", params(("id" = String, Path)),
    request_body = CorrectRateBody,
    responses((status = 200, body = TaxRateView), (status = 404, description =
        "`tax_rate_not_found`"), (status = 409, description = "`tax_rate_in_use`, \
        `tax_rate_exists`"), (status = 422, description = "`validation_failed`")))]
async fn correct_rate(
    shop: Shop<CatalogWrite>,
    PathId(id): PathId<TaxRateKind>,
    Body(Correction {
        name,
        rate,
        valid_from,
    }): Body<Correction>,
) -> Result<Json<TaxRateView>, Problem> {
    let command = CorrectRate {
        id,
        name,
        rate,
        valid_from,
    };
    let rate = shop.write(move |work| Ok(tax::correct_rate(work, &command)?));
    Ok(Json(rate.await?.into()))
}

/// Withdraws a tax rate that no order has yet.
#[utoipa::path(delete, path = "/tax-rates/{id}", tag = "tax", params(("id" = String, Path)),
    responses((status = 204), (status = 404, description = "`tax_rate_not_found`"),
        (status = 409, description = "`tax_rate_in_use`")))]
async fn withdraw_rate(
    shop: Shop<CatalogWrite>,
    PathId(id): PathId<TaxRateKind>,
) -> Result<StatusCode, Problem> {
    shop.write(move |work| Ok(tax::withdraw_rate(work, id)?))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists tax rates, the last added first.
#[utoipa::path(get, path = "/tax-rates", tag = "tax", params(PageParams), security((),
    ("api_key" = [])), responses((status = 200, body = PageView<TaxRateView>)))]
async fn list_rates(
    shop: Shop<CatalogRead>,
    PageQuery(page): PageQuery,
) -> Result<Json<PageView<TaxRateView>>, Problem> {
    shop.page(move |view| tax::list_rates(view, page)).await
}
