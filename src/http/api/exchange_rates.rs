//! `/v1/exchange-rates`: exchange rates between currencies.

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
use crate::http::extract::permission::Finance;
use crate::http::extract::{FromBody, MayBeKeyed, PageBeside, QueryOf, Shop};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::platform::page::Page;
use crate::primitives::id::ExchangeRateId;
use crate::primitives::{Currency, ExchangeRate, Timestamp};
use crate::tenant::currency::{self, AddRate, HoldingRate, RateOrigin};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list_rates, add_rate))
}

views! {
    /// An exchange rate: one unit of `base` is `rate` of `quote`.
    struct ExchangeRateView from HoldingRate as rate {
        /// `null` for a published rate that no document of this shop has used yet.
        id: Option<ExchangeRateId>,
        base: Currency = rate.quotation.base,
        quote: Currency = rate.quotation.quote,
        /// Rounded to 12 digits. Amounts are converted by the exact fraction.
        #[schema(value_type = ExchangeRate)]
        rate: String = rate.quotation.shown(),
        /// The rate is `numerator ÷ denominator`, exactly.
        numerator: ExchangeRate = rate.quotation.numerator,
        denominator: ExchangeRate = rate.quotation.denominator,
        source: RateOrigin,
        effective_at: Timestamp,
    }
}

/// A new exchange rate.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddExchangeRateBody {
    #[schema(value_type = Currency)]
    base: String,
    #[schema(value_type = Currency)]
    quote: String,
    /// The value of one unit of `base` in `quote`.
    #[schema(value_type = ExchangeRate)]
    rate: String,
    /// The start of the rate; default: now.
    #[schema(value_type = Option<Timestamp>)]
    effective_at: Option<String>,
}

impl FromBody for AddRate {
    type Wire = AddExchangeRateBody;

    fn from_wire(wire: AddExchangeRateBody, faults: &mut RequestFaults) -> Option<Self> {
        let base = faults.check("/base", Currency::parse(&wire.base));
        let quote = faults.check("/quote", Currency::parse(&wire.quote));
        let rate = faults.check("/rate", ExchangeRate::parse(&wire.rate));
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

/// The pair and the time of a single rate.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RateQuery {
    /// Selects the rate from this currency; requires `quote`.
    #[param(value_type = Option<Currency>)]
    base: Option<String>,
    /// Selects the rate to this currency; requires `base`.
    #[param(value_type = Option<Currency>)]
    quote: Option<String>,
    /// The time at which the rate is valid; default: now.
    #[param(value_type = Option<Timestamp>)]
    at: Option<String>,
}

/// A pair and an optional time, or nothing.
type RateLookup = Option<(Currency, Currency, Option<Timestamp>)>;

impl RateQuery {
    fn parse(&self) -> Result<RateLookup, Problem> {
        let mut faults = RequestFaults::default();
        let base = faults.optional("?base", self.base.as_deref().map(Currency::parse));
        let quote = faults.optional("?quote", self.quote.as_deref().map(Currency::parse));
        let at = faults.optional("?at", self.at.as_deref().map(Timestamp::parse));
        let lookup = match (base, quote, at) {
            (Some(Some(base)), Some(Some(quote)), Some(at)) => Some(Some((base, quote, at))),
            (Some(None), Some(None), Some(None)) => Some(None),
            (Some(_), Some(_), Some(_)) => {
                faults.add(
                    "?base",
                    "invalid",
                    "send base and quote together, and at only with both",
                );
                None
            }
            _ => None,
        };
        faults.finish(lookup)
    }
}

/// Lists the rates of this shop, the last written first: those that were set, and the published
/// ones that documents used. With `base` and `quote`, returns the one rate that is valid at `at`. A
/// rate that was set is valid until the next one of the pair; a published one from the beginning of
/// its day (UTC), for the number of days in the settings. Without a valid rate the call fails; no
/// default rate is used.
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

/// Sets a rate. It changes no other rate: of the rates that are valid at a time, the one that began
/// last counts; of several that began together, the last written. To correct a rate, set it again.
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
