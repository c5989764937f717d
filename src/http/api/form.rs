//! JSON forms that several resources share.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::platform::page::Page;
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

/// Tells a field that is `null` (`Some(None)`) from one that is left out (`None`).
///
/// # Errors
/// What the value's own form refuses.
pub fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

/// Refuses a price that no shop has, before it meets a currency.
///
/// # Errors
/// [`MoneyError`].
pub fn price(minor: i64) -> Result<i64, MoneyError> {
    let any = Currency::parse("EUR").expect("a currency");
    Money::price(minor, any).map(Money::minor)
}

/// A stored document, which goes out as it is; `null` when it is no JSON, which the integrity check reports.
pub fn document(text: String) -> Box<RawValue> {
    RawValue::from_string(text).unwrap_or_default()
}
