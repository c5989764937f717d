//! Currencies, rates and their settings, and the reasons to refuse them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::primitives::id::ExchangeRateId;
use crate::primitives::{
    Currency, Day, ExchangeRate, MoneyError, Quotation, Series, Timestamp, refusals,
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

refusals! {
    /// Reasons to refuse a command about currencies; the first that applies wins, in this order.
    pub enum CurrencyRefused {
        /// The caller has read an older version.
        Stale: Stale "stale_version",
            "the settings have changed since they were read; read them again, then repeat the \
             change";
        /// The shop's own currency cannot be disabled.
        IsBase(Currency): Conflict "currency_is_base",
            "{0} is the shop's own currency and is always enabled";
        /// The currency was withdrawn.
        Ended(Currency, Day): Invalid "currency_ended",
            "{0} ended on {1}; use its successor, nothing new is sold in {0}";
        /// A rate of a currency to itself.
        SameCurrency(Currency): Invalid "same_currency",
            "base and quote are both {0}; a rate is between two currencies";
        /// The shop does not sell in it.
        NotEnabled(Currency): Invalid "currency_not_enabled",
            "this shop does not sell in {0}; enable the currency first";
        /// There is no rate, or only one that is too old.
        NoRate { base: Currency, quote: Currency, at: Timestamp }: Invalid "no_exchange_rate",
            "there is no exchange rate from {base} to {quote} at {at}; set one, or import \
             published ones";
        /// The amount overflows in the shop's own currency.
        AmountTooLarge(#[source] MoneyError): Invalid "amount_too_large",
            "the total is too large in the shop's own currency; reduce the quantities";
    }
    inherits { Storage(StorageError) }
    facts {
        Self::NoRate { base, quote, at } => { base: base, quote: quote, at: at },
    }
}
