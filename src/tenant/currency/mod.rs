//! The currencies of a shop, and their exchange rates.
//!
//! Invariants: the shop's own currency is always enabled; a currency that has ended is never
//! enabled again; a stored exchange rate never changes (triggers); a document refers to a rate
//! stored in this file, whether it was set manually or published. A missing rate is never replaced
//! by 1: no rate, or one that is too old, is a refusal.
//!
//! Published rates are in the landlord's file. Commands receive them as [`Published`], because no
//! transaction spans two files.

mod model;
mod rates;
mod settings;
mod unsellable;

pub use model::{
    AddRate, ChangeSettings, CurrencyRefused, CurrencyRow, CurrencySettings, EnableCurrency,
    HoldingRate, Published, RateOrigin, RateSource, SoldIn,
};
pub use rates::{
    STATEMENTS as RATE_STATEMENTS, add_rate, adopt, convert_by, list_mismatches, list_rates,
    rate_at, rate_for,
};
pub use settings::{
    STATEMENTS as SETTINGS_STATEMENTS, change_settings, enable, list_currencies, require_sold_in,
    seed, settings, sold_in,
};

pub use unsellable::{
    STATEMENTS as UNSELLABLE_STATEMENTS, list_currencies_of_products, list_unsellable,
};

#[cfg(test)]
mod tests;
