//! The currencies of a shop, and what they are worth in each other.
//!
//! Invariants: the shop's own currency is always enabled; a currency that has ended is never
//! enabled anew; an exchange rate that is written down never changes (triggers), and what a
//! document used is a row of this file, whether somebody typed it in or it was published. There is
//! no rate of 1 for want of a better one: no rate, or one that is too old, is a refusal.
//!
//! Published rates are in the landlord's file; commands are handed them as [`Published`], because
//! no transaction spans two files.

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
