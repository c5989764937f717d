//! `/v1/tax-rates`: the rates of the tax classes over time.

use std::sync::Arc;

use axum::Json;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::{MayBeKeyedParams, PageParams, PageView};
use super::view::views;
use crate::app::App;
use crate::http::extract::permission::{CatalogRead, CatalogWrite};
use crate::http::extract::{FromBody, MayBeKeyed, PageQuery, Shop};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::primitives::id::TaxRateId;
use crate::primitives::{Name, TaxClass, TaxRate, Timestamp};
use crate::tenant::tax::{self, AddRate, RateOfClass};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(add_rate, list_rates))
}

views! {
    struct TaxRateView from RateOfClass as rate {
        id: TaxRateId,
        tax_class: TaxClass,
        name: Name,
        rate_ppm: TaxRate = rate.rate,
        valid_from: Timestamp,
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
    #[schema(value_type = Option<Timestamp>)]
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
            wire.valid_from.as_deref().map(Timestamp::parse),
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

/// Lists tax rates, the last added first.
#[utoipa::path(get, path = "/tax-rates", tag = "tax", params(PageParams), security((),
    ("api_key" = [])), responses((status = 200, body = PageView<TaxRateView>)))]
async fn list_rates(
    shop: Shop<CatalogRead>,
    PageQuery(page): PageQuery,
) -> Result<Json<PageView<TaxRateView>>, Problem> {
    shop.page(move |view| tax::list_rates(view, page)).await
}
