//! JSON forms that several resources share.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::http::extract::FromBody;
use crate::http::faults::Faults;
use crate::http::problem::Problem;
use crate::platform::page::Page;
use crate::primitives::id::OrderId;
use crate::primitives::{Currency, Money, MoneyError};

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub struct PageView<T> {
    /// The rows, the newest first.
    pub data: Vec<T>,
    /// Hand this back as `cursor` to get the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

impl<T> PageView<T> {
    /// A page of views.
    pub fn of<R>(page: Page<R>, view: impl FnMut(R) -> T) -> Self {
        let page = page.map(view);
        Self {
            data: page.data,
            next_cursor: page.next_cursor,
        }
    }
}

/// The query of every list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description; `PageBeside` reads the query")]
pub struct PageParams {
    /// At most so many rows: 1 to 200, 50 when it is not said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before; the first page without it.
    cursor: Option<String>,
}

/// The header of a call that moves money.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "a description; `Keyed` reads the header")]
pub struct KeyedParams {
    /// A fresh UUID for every new request, the same one when it is repeated: then its first answer
    /// comes again, with `Idempotent-Replayed: true`.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: String,
}

/// The header of a call that creates something.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "a description; `MayBeKeyed` reads the header")]
pub struct MayBeKeyedParams {
    /// A fresh UUID for every new request, the same one when it is repeated; without it each
    /// repetition creates one more.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
}

/// The header of a change of what may have changed meanwhile.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "a description; `IfMatch` reads the header")]
pub struct IfMatchParams {
    /// The `ETag` of the version that was seen: 412 when it is not the present one any more.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
}

/// The filter of lists whose rows belong to orders.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OfOrder {
    /// Only those of this order.
    order_id: Option<String>,
}

impl OfOrder {
    /// The order, if one is named.
    ///
    /// # Errors
    /// `validation_failed` for what is no id.
    pub fn parse(&self) -> Result<Option<OrderId>, Problem> {
        let mut faults = Faults::default();
        let order = faults.optional("?order_id", self.order_id.as_deref().map(OrderId::parse));
        faults.finish(order)
    }
}

/// Tells a field that is `null` (`Some(None)`) from one that is left out (`None`).
///
/// # Errors
/// What the value's own form refuses.
pub fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

/// The body of a call that says all in its path: none, or an empty object.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NothingBody {}

/// Nothing more to say.
pub struct Nothing;

impl FromBody for Nothing {
    type Wire = NothingBody;

    fn from_wire(NothingBody {}: NothingBody, _: &mut Faults) -> Option<Self> {
        Some(Self)
    }
}

/// A field that may be left out and may not be `null`: a change to nothing is no change, and must
/// not pass for one.
///
/// # Errors
/// What the value's own form refuses, and `null`.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Refuses a price that no shop has, before it meets a currency.
///
/// # Errors
/// [`MoneyError`].
pub fn price(minor: i64) -> Result<i64, MoneyError> {
    let any = Currency::parse("EUR").expect("a currency");
    Money::price(minor, any).map(Money::minor)
}

/// A stored document, which goes out as it is; `null` when it is no JSON, which the integrity check
/// reports.
pub fn document(text: String) -> Box<RawValue> {
    RawValue::from_string(text).unwrap_or_default()
}
