//! The first rows of a new shop: its settings, its currency and its tax rates.

use super::settings::{self, NewSettings};
use super::tax::{self, AddRate, TaxRefused};
use crate::primitives::{Currency, Name, TimeZone};
use crate::storage::{StorageError, StorageErrorKind, TenantWork};

/// A new shop, beside its name and its currency.
#[derive(Clone, Debug)]
pub struct NewShop {
    pub settings: NewSettings,
    pub tax: NewShopTax,
}

/// The tax of a new shop. It can sell nothing before it has some.
#[derive(Clone, Debug)]
pub enum NewShopTax {
    /// To be set later.
    Later,
    /// An explicit "no tax".
    None,
    Rates(Vec<AddRate>),
}

impl NewShop {
    /// A shop in UTC that charges no tax.
    pub fn untaxed() -> Self {
        Self {
            settings: NewSettings {
                country: None,
                prices_include_tax: false,
                timezone: TimeZone::utc(),
            },
            tax: NewShopTax::None,
        }
    }
}

/// Inserts the first rows of a new shop.
pub fn seed(
    work: &mut TenantWork,
    name: &Name,
    currency: Currency,
    shop: &NewShop,
) -> Result<(), StorageError> {
    settings::insert(work, name, currency, &shop.settings)?;
    super::currency::seed(work, currency)?;
    let added = match &shop.tax {
        NewShopTax::Later => Ok(()),
        NewShopTax::None => tax::seed(work, &[], true),
        NewShopTax::Rates(rates) => tax::seed(work, rates, false),
    };
    added.map_err(|refused| match refused {
        TaxRefused::Storage(error) => error,
        // The rates of a new shop were checked against each other when they were parsed.
        _ => StorageError::new(StorageErrorKind::Constraint),
    })
}
