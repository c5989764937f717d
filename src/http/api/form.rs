//! JSON types that several resources share.

use axum::Json;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::http::extract::{FromBody, Permission, Shop};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::platform::page::Page;
use crate::primitives::id::OrderId;
use crate::primitives::{Currency, Money, MoneyError};
use crate::storage::{StorageError, TenantView};

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub struct PageView<T> {
    /// The items, newest first.
    pub data: Vec<T>,
    /// The `cursor` of the next page; `null` on the last page.
    pub next_cursor: Option<String>,
}

impl<T> PageView<T> {
    /// Converts a page to views.
    pub fn of<R>(page: Page<R>, view: impl FnMut(R) -> T) -> Self {
        let page = page.map(view);
        Self {
            data: page.data,
            next_cursor: page.next_cursor,
        }
    }
}

impl<P: Permission> Shop<P> {
    /// Answers with a page of views.
    pub async fn page<R, V, E>(
        &self,
        list: impl FnOnce(&TenantView) -> Result<Page<R>, E> + Send + 'static,
    ) -> Result<Json<PageView<V>>, Problem>
    where
        R: Send + Unpin + 'static,
        V: From<R>,
        Problem: From<E>,
    {
        let page = self.read(move |view| Ok(list(view)?)).await?;
        Ok(Json(PageView::of(page, V::from)))
    }

    /// Answers with the view of what `load` returns.
    pub async fn show<R, V, E>(
        &self,
        load: impl FnOnce(&TenantView) -> Result<R, E> + Send + 'static,
    ) -> Result<Json<V>, Problem>
    where
        R: Send + Unpin + 'static,
        V: From<R>,
        Problem: From<E>,
    {
        let found = self.read(move |view| Ok(load(view)?)).await?;
        Ok(Json(found.into()))
    }

    /// As [`show`](Self::show), with the refusal when there is no such `thing`.
    pub async fn find<R, V>(
        &self,
        code: &'static str,
        thing: &'static str,
        find: impl FnOnce(&TenantView) -> Result<Option<R>, StorageError> + Send + 'static,
    ) -> Result<Json<V>, Problem>
    where
        R: Send + Unpin + 'static,
        V: From<R>,
    {
        let found = |view: &TenantView| find(view)?.ok_or_else(|| Problem::not_found(code, thing));
        self.show(found).await
    }
}

/// The query parameters of every list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description; `PageBeside` reads the query")]
pub struct PageParams {
    /// The maximum number of items: 1 to 200, default 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the previous page; left out for the first page.
    cursor: Option<String>,
}

/// The header of a call that moves money.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "a description; `Keyed` reads the header")]
pub struct KeyedParams {
    /// A fresh UUID for every new request, and the same one for a repetition. A repetition gets the
    /// first answer with `Idempotent-Replayed: true`.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: String,
}

/// The header of a call that creates something.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "a description; `MayBeKeyed` reads the header")]
pub struct MayBeKeyedParams {
    /// A fresh UUID for every new request, and the same one for a repetition. Without a key each
    /// repetition creates another item.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
}

/// The header of a conditional change.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "a description; `IfMatch` reads the header")]
pub struct IfMatchParams {
    /// The `ETag` of the version to change; 412 when it is no longer current.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
}

/// The filter of lists whose items belong to orders.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OfOrder {
    /// Only items of this order.
    order_id: Option<String>,
}

impl OfOrder {
    /// Returns the order, if one is named.
    ///
    /// # Errors
    /// `validation_failed` for an invalid id.
    pub fn parse(&self) -> Result<Option<OrderId>, Problem> {
        let mut faults = RequestFaults::default();
        let order = faults.optional("?order_id", self.order_id.as_deref().map(OrderId::parse));
        faults.finish(order)
    }
}

/// Distinguishes a field that is `null` (`Some(None)`) from one that is left out (`None`).
pub fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

/// The body of a call without parameters: empty, or an empty object.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmptyBody {}

/// The command of an empty body.
pub struct Empty;

impl FromBody for Empty {
    type Wire = EmptyBody;

    fn from_wire(EmptyBody {}: EmptyBody, _: &mut RequestFaults) -> Option<Self> {
        Some(Self)
    }
}

/// Parses a field that may be left out but not be `null`: `null` would silently change nothing.
///
/// # Errors
/// The error of the value's own type, and `null`.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Checks a price before its currency is known.
///
/// # Errors
/// When the price is negative or too large.
pub fn price(minor: i64) -> Result<i64, MoneyError> {
    let any = Currency::parse("EUR").expect("EUR is a currency");
    Money::price(minor, any).map(Money::minor)
}

/// Returns a stored document unchanged; `null` when it is not JSON, which the integrity check
/// reports.
pub fn document(text: String) -> Box<RawValue> {
    RawValue::from_string(text).unwrap_or_default()
}
