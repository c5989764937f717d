//! Products that cannot be sold at present because of their currency. Reported to the operator
//! before a customer notices; nothing is refused here.

use super::model::{CurrencyRefused, Published};
use super::rates::rate_for;
use super::settings::settings;
use crate::primitives::{Currency, Day, Money, Timestamp};
use crate::storage::{StorageError, TenantView, params, statements};

statements! {
    OF_PRODUCTS = "SELECT DISTINCT currency FROM product WHERE active = 1";
}

/// The currencies of the shop's products, and always its own. A long read: use the reader with a
/// deadline.
pub fn list_currencies_of_products(view: &TenantView) -> Result<Vec<Currency>, StorageError> {
    let own = settings(view)?.base;
    let mut found: Vec<Currency> = view.all(&OF_PRODUCTS, params![], |row| row.get(0))?;
    if !found.contains(&own) {
        found.push(own);
    }
    Ok(found)
}

/// The problems with selling in `currencies` at an instant, each with advice; empty when there are
/// none.
pub fn list_unsellable(
    view: &TenantView,
    published: &Published,
    currencies: &[Currency],
    at: Timestamp,
) -> Result<Vec<String>, StorageError> {
    let own = settings(view)?.base;
    let mut reasons = Vec::new();
    for currency in currencies {
        match rate_for(view, published, own, Money::zero(*currency), at) {
            Err(CurrencyRefused::Storage(error)) => return Err(error),
            Err(refused) => reasons.push(refused.to_string()),
            Ok(_) => {}
        }
    }
    if let Some(last) = own.last_day().filter(|last| *last < Day::of(at)) {
        reasons.push(format!(
            "{own}, the shop's own currency, ended on {last}; create a new shop in its successor"
        ));
    }
    Ok(reasons)
}
