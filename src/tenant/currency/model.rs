//! Currencies, rates and their settings, and the reasons to refuse them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::primitives::id::ExchangeRateId;
use crate::primitives::{
    Class, Currency, Day, ExchangeRate, MoneyError, Quotation, Refusal, Series, Timestamp,
};
use crate::storage::{StorageError, text_enum};

text_enum! {
    /// The rates that a shop uses.
    RateSource {
        /// The shop's own where it has one, otherwise published ones.
        ManualFirst = "manual_first",
        /// Only the shop's own.
        Manual = "manual",
        /// Only published ones.
        Published = "published",
    }
}

text_enum! {
    /// The origin of a rate.
    RateOrigin {
        /// Set manually by the shop.
        Manual = "manual",
        /// Published by the European Central Bank, or derived from two published rates.
        Ecb = "ecb",
    }
}

/// The currency settings of a shop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrencySettings {
    /// The shop's own currency.
    pub base: Currency,
    pub rate_source: RateSource,
    /// Maximum age of a published rate, in days.
    pub rate_max_age_days: i32,
    /// Incremented with each change; sent as the `ETag`.
    pub version: i64,
    /// The instant of the last change.
    pub updated_at: Timestamp,
}

/// A change of the settings; a field that is `None` stays unchanged.
#[derive(Clone, Debug, Default)]
pub struct ChangeSettings {
    pub rate_source: Option<RateSource>,
    /// Maximum age of a published rate, in days.
    pub rate_max_age_days: Option<i32>,
}

/// A currency of a shop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrencyRow {
    pub currency: Currency,
    /// Whether the shop sells in it now.
    pub enabled: bool,
    /// Whether it is the shop's own.
    pub is_base: bool,
}

/// The command to enable or disable a currency.
#[derive(Clone, Copy, Debug)]
pub struct EnableCurrency {
    pub currency: Currency,
    pub enabled: bool,
}

/// The currencies that a shop sells in; small, so cached in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoldIn {
    /// The shop's own.
    pub base: Currency,
    pub others: Vec<Currency>,
}

/// The published rates that a command may need, by currency: units per euro.
#[derive(Clone, Debug, Default)]
pub struct Published(BTreeMap<Currency, Arc<Series>>);

impl Published {
    #[must_use]
    pub const fn new(series: BTreeMap<Currency, Arc<Series>>) -> Self {
        Self(series)
    }

    /// Units per euro on a day, or on the last earlier day that has a rate; always one for the euro
    /// itself.
    pub(super) fn of_euro(
        &self,
        currency: Currency,
        day: Day,
        days_max: i32,
    ) -> Option<(Day, ExchangeRate)> {
        if currency.code() == "EUR" {
            return Some((day, ExchangeRate::ONE));
        }
        self.0.get(&currency)?.at(day, days_max)
    }
}

/// The command to set a rate.
#[derive(Clone, Copy, Debug)]
pub struct AddRate {
    /// The currency that is priced.
    pub base: Currency,
    /// The currency of the price.
    pub quote: Currency,
    /// Units of `quote` per unit of `base`.
    pub rate: ExchangeRate,
    /// Default: now.
    pub effective_at: Option<Timestamp>,
}

/// A rate that is valid at some instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldingRate {
    /// Its row in this file; a published rate has none until a document uses it.
    pub id: Option<ExchangeRateId>,
    pub quotation: Quotation,
    pub source: RateOrigin,
    pub effective_at: Timestamp,
}

/// Reasons to refuse a command about currencies; the first that applies wins, in this order.
#[derive(Debug, thiserror::Error)]
pub enum CurrencyRefused {
    /// The caller has read an older version.
    #[error(
        "the settings have changed since they were read; read them again, then repeat the change"
    )]
    Stale,
    /// The shop's own currency cannot be disabled.
    #[error("{0} is the shop's own currency and is always enabled")]
    IsBase(Currency),
    /// The currency was withdrawn.
    #[error("{0} ended on {1}; use its successor, nothing new is sold in {0}")]
    Ended(Currency, Day),
    /// A rate of a currency to itself.
    #[error("base and quote are both {0}; a rate is between two currencies")]
    SameCurrency(Currency),
    /// The shop does not sell in it.
    #[error("this shop does not sell in {0}; enable the currency first")]
    NotEnabled(Currency),
    /// There is no rate, or only one that is too old.
    #[error(
        "there is no exchange rate from {base} to {quote} at {at}; set one, or import published \
         ones"
    )]
    NoRate {
        base: Currency,
        quote: Currency,
        at: Timestamp,
    },
    /// The amount overflows in the shop's own currency.
    #[error("the total is too large in the shop's own currency; reduce the quantities")]
    AmountTooLarge(#[source] MoneyError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Refusal for CurrencyRefused {
    fn class(&self) -> Class {
        match self {
            Self::Stale => Class::Stale,
            Self::IsBase(_) => Class::Conflict,
            Self::Ended(..)
            | Self::SameCurrency(_)
            | Self::NotEnabled(_)
            | Self::NoRate { .. }
            | Self::AmountTooLarge(_) => Class::Invalid,
            Self::Storage(error) => error.class(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Stale => "stale_version",
            Self::IsBase(_) => "currency_is_base",
            Self::Ended(..) => "currency_ended",
            Self::SameCurrency(_) => "same_currency",
            Self::NotEnabled(_) => "currency_not_enabled",
            Self::NoRate { .. } => "no_exchange_rate",
            Self::AmountTooLarge(_) => "amount_too_large",
            Self::Storage(error) => error.code(),
        }
    }

    fn facts(&self) -> Map<String, Value> {
        match self {
            Self::NoRate { base, quote, at } => Map::from_iter([
                ("base".to_owned(), json!(base)),
                ("quote".to_owned(), json!(quote)),
                ("at".to_owned(), json!(at)),
            ]),
            _ => Map::new(),
        }
    }
}
