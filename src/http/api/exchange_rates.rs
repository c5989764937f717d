//! `/v1/exchange-rates`: what currencies are worth in each other.

use std::sync::Arc;

use axum::Json;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::{MayBeKeyedParams, PageParams, PageView};
use crate::app::App;
use crate::http::extract::permission::Finance;
use crate::http::extract::{FromBody, MayBeKeyed, PageBeside, QueryOf, Shop};
use crate::http::faults::Faults;
use crate::http::problem::Problem;
use crate::platform::page::Page;
use crate::primitives::id::ExchangeRateId;
use crate::primitives::{Currency, ExchangeRate, Timestamp};
use crate::tenant::currency::{self, AddRate, HoldingRate, RateOrigin};

/// The routes of the exchange rates.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list_rates, add_rate))
}

/// One unit of `base` is `rate` of `quote`.
#[derive(Serialize, ToSchema)]
struct ExchangeRateView {
    /// `null` for a published rate that no document of this store has used yet.
    id: Option<ExchangeRateId>,
    base: Currency,
    quote: Currency,
    /// To 12 digits. Amounts go by the fraction.
    #[schema(value_type = ExchangeRate)]
    rate: String,
    /// The rate is `numerator ÷ denominator`, exactly.
    numerator: ExchangeRate,
    denominator: ExchangeRate,
    source: RateOrigin,
    effective_at: Timestamp,
}

impl From<HoldingRate> for ExchangeRateView {
    fn from(rate: HoldingRate) -> Self {
        Self {
            id: rate.id,
            base: rate.quotation.base,
            quote: rate.quotation.quote,
            rate: rate.quotation.shown(),
            numerator: rate.quotation.numerator,
            denominator: rate.quotation.denominator,
            source: rate.source,
            effective_at: rate.effective_at,
        }
    }
}

/// A rate that is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddExchangeRateBody {
    #[schema(value_type = Currency)]
    base: String,
    #[schema(value_type = Currency)]
    quote: String,
    /// How much of `quote` one unit of `base` is.
    #[schema(value_type = ExchangeRate)]
    rate: String,
    /// From when on; now, when it is not said.
    #[schema(value_type = Option<Timestamp>)]
    effective_at: Option<String>,
}

impl FromBody for AddRate {
    type Wire = AddExchangeRateBody;

    fn from_wire(wire: AddExchangeRateBody, faults: &mut Faults) -> Option<Self> {
        let base = faults.take("/base", Currency::parse(&wire.base));
        let quote = faults.take("/quote", Currency::parse(&wire.quote));
        let rate = faults.take("/rate", ExchangeRate::parse(&wire.rate));
        let effective_at = faults.optional(
            "/effective_at",
            wire.effective_at.as_deref().map(Timestamp::parse),
        );
        Some(Self {
            base: base?,
            quote: quote?,
            rate: rate?,
            effective_at: effective_at?,
        })
    }
}

/// Which rate is asked for.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RateQuery {
    /// The rate that holds from this currency; with `quote`.
    #[param(value_type = Option<Currency>)]
    base: Option<String>,
    /// The rate that holds to this currency; with `base`.
    #[param(value_type = Option<Currency>)]
    quote: Option<String>,
    /// When it is to hold; now, when it is not said.
    #[param(value_type = Option<Timestamp>)]
    at: Option<String>,
}

/// A pair and an instant, or nothing.
type Asked = Option<(Currency, Currency, Option<Timestamp>)>;

impl RateQuery {
    fn parse(&self) -> Result<Asked, Problem> {
        let mut faults = Faults::default();
        let base = faults.optional("?base", self.base.as_deref().map(Currency::parse));
        let quote = faults.optional("?quote", self.quote.as_deref().map(Currency::parse));
        let at = faults.optional("?at", self.at.as_deref().map(Timestamp::parse));
        let asked = match (base, quote, at) {
            (Some(Some(base)), Some(Some(quote)), Some(at)) => Some(Some((base, quote, at))),
            (Some(None), Some(None), Some(None)) => Some(None),
            (Some(_), Some(_), Some(_)) => {
                faults.note(
                    "?base",
                    "invalid",
                    "base and quote go together, and at goes with both",
                );
                None
            }
            _ => None,
        };
        faults.finish(asked)
    }
}

/// Lists the rates of this store, the last that was written first: those that somebody set, and the
/// published ones that documents used. With `base` and `quote`, the one rate that holds at `at`: a
/// rate that was set holds until the next of the pair; a published one from the beginning of its
/// day (UTC), and for as many days as the settings say. Where none holds that is an error; there is
/// no rate of 1 for want of a better one.
#[utoipa::path(get, path = "/exchange-rates", tag = "currencies", params(RateQuery, PageParams),
    responses((status = 200, body = PageView<ExchangeRateView>), (status = 422,
        description = "`validation_failed`, `same_currency`, `no_exchange_rate`")))]
async fn list_rates(
    shop: Shop<Finance>,
    PageBeside(page): PageBeside,
    QueryOf(query): QueryOf<RateQuery>,
) -> Result<Json<PageView<ExchangeRateView>>, Problem> {
    let rates = match query.parse()? {
        None => {
            shop.read(move |view| Ok(currency::list_rates(view, page)?))
                .await?
        }
        Some((base, quote, at)) => {
            let (published, at) = (
                shop.published([base, quote]).await?,
                at.unwrap_or_else(|| shop.now()),
            );
            let rate = shop
                .read(move |view| Ok(currency::rate_at(view, &published, base, quote, at)?))
                .await?;
            Page::whole(vec![rate])
        }
    };
    Ok(Json(PageView::of(rates, ExchangeRateView::from)))
}

/// Sets a rate. It changes no other: of those that hold at an instant the one that began last
/// counts, and of several that began together the last that was written. So a correction is the
/// same rate once more.
#[utoipa::path(post, path = "/exchange-rates", tag = "currencies", params(MayBeKeyedParams),
    request_body = AddExchangeRateBody,
    responses((status = 201, body = ExchangeRateView), (status = 422,
        description = "`validation_failed`, `same_currency`")))]
async fn add_rate(
    shop: Shop<Finance>,
    MayBeKeyed { key, command }: MayBeKeyed<AddRate>,
) -> Result<Response, Problem> {
    shop.once(key, StatusCode::CREATED, move |work| {
        Ok(ExchangeRateView::from(currency::add_rate(work, &command)?))
    })
    .await
}
