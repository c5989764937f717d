//! What currencies, rates and their settings are, and how they are refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::primitives::id::ExchangeRateId;
use crate::primitives::{
    Class, Currency, Day, ExchangeRate, MoneyError, Quotation, Refusal, Series, Timestamp,
};
use crate::storage::{StorageError, text_enum};

text_enum! {
    /// Which rates a shop goes by.
    RateSource {
        /// Its own where it has one, published ones elsewhere.
        ManualFirst = "manual_first",
        /// Its own only.
        Manual = "manual",
        /// Published ones only.
        Published = "published",
    }
}

text_enum! {
    /// Where a rate comes from.
    RateOrigin {
        /// Somebody of the shop has set it.
        Manual = "manual",
        /// The European Central Bank published it, or it follows from two that it published.
        Ecb = "ecb",
    }
}

/// How a shop deals with currencies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrencySettings {
    /// The shop's own currency.
    pub base: Currency,
    /// Which rates it goes by.
    pub rate_source: RateSource,
    /// How old a published rate may be, in days.
    pub rate_max_age_days: i32,
    /// Counts the changes; the `ETag`.
    pub version: i64,
}

/// A change of the settings; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct ChangeSettings {
    /// Which rates it goes by.
    pub rate_source: Option<RateSource>,
    /// How old a published rate may be, in days.
    pub rate_max_age_days: Option<i32>,
}

/// A currency of a shop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrencyRow {
    /// Which.
    pub currency: Currency,
    /// Whether anything is sold in it now.
    pub enabled: bool,
    /// Whether it is the shop's own.
    pub is_base: bool,
}

/// A currency that is to be sold in from now on, or no more.
#[derive(Clone, Copy, Debug)]
pub struct EnableCurrency {
    /// Which.
    pub currency: Currency,
    /// Whether it is sold in.
    pub enabled: bool,
}

/// The currencies that a shop sells in: small, and kept in memory for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoldIn {
    /// The shop's own.
    pub base: Currency,
    /// The others.
    pub others: Vec<Currency>,
}

/// The published rates that a command may need, by currency: how much of it one euro is.
#[derive(Clone, Debug, Default)]
pub struct Published(BTreeMap<Currency, Arc<Series>>);

impl Published {
    /// Of these currencies.
    #[must_use]
    pub const fn new(series: BTreeMap<Currency, Arc<Series>>) -> Self {
        Self(series)
    }

    /// What one euro is on a day, or was on the last day before that has a rate; for the euro
    /// itself always one.
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

/// A rate that is to be.
#[derive(Clone, Copy, Debug)]
pub struct AddRate {
    /// What is priced.
    pub base: Currency,
    /// In what it is priced.
    pub quote: Currency,
    /// How much of `quote` one unit of `base` is.
    pub rate: ExchangeRate,
    /// From when on; now, when it is not said.
    pub effective_at: Option<Timestamp>,
}

/// A rate that holds at some instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldingRate {
    /// Its row in this file; a published one has none until a document uses it.
    pub id: Option<ExchangeRateId>,
    /// How much.
    pub quotation: Quotation,
    /// Where it comes from.
    pub source: RateOrigin,
    /// Since when.
    pub effective_at: Timestamp,
}

/// Why something about currencies is refused; the first that applies wins, in this order.
#[derive(Debug, thiserror::Error)]
pub enum CurrencyRefused {
    /// Somebody else changed the settings meanwhile.
    #[error("the settings were changed meanwhile; read them again, then repeat the change")]
    Stale,
    /// The shop's own currency cannot be switched off.
    #[error("{0} is the shop's own currency; it is always enabled")]
    IsBase(Currency),
    /// The currency has ended.
    #[error("{0} ended on {1}; nothing new is sold in it")]
    Ended(Currency, Day),
    /// A rate of a currency in itself.
    #[error("base and quote are both {0}; a rate is between two currencies")]
    SameCurrency(Currency),
    /// The shop does not sell in it.
    #[error("this store does not sell in {0}; enable the currency first")]
    NotEnabled(Currency),
    /// There is no rate, or none that is young enough.
    #[error(
        "there is no exchange rate from {base} to {quote} at {at}; set one, or import published \
         ones"
    )]
    NoRate {
        /// From this one.
        base: Currency,
        /// To that one.
        quote: Currency,
        at: Timestamp,
    },
    /// The amount is too large in the shop's own currency.
    #[error("the total is too large in this store's own currency")]
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
