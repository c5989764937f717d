//! What stands in the catalog and cannot be sold at present, because of its currency: to be told to
//! the operator before a customer finds out. It finds, and refuses nothing.

use super::model::{CurrencyRefused, Published};
use super::rates::rate_for;
use super::settings::settings;
use crate::primitives::{Currency, Day, Money, Timestamp};
use crate::storage::{StorageError, TenantView, params, statements};

statements! {
    OF_PRODUCTS = "SELECT DISTINCT currency FROM product WHERE active = 1";
}

/// The currencies that the shop's products have, its own always among them. Long, for the reader
/// lane with a deadline.
pub fn list_currencies_of_products(view: &TenantView) -> Result<Vec<Currency>, StorageError> {
    let own = settings(view)?.base;
    let mut found: Vec<Currency> = view.all(&OF_PRODUCTS, params![], |row| row.get(0))?;
    if !found.contains(&own) {
        found.push(own);
    }
    Ok(found)
}

/// Why nothing is sold at an instant in some of `currencies`, or should not be, and what to do
/// about it; nothing, when all is well.
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
            "{own}, the store's own currency, ended on {last}; a new store sells in the one that \
             came after it"
        ));
    }
    Ok(reasons)
}
