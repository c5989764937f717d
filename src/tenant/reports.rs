//! Reports, always computed from the ledger and never from a stored sum.

use super::ledger::{self, AccountCode};
use crate::primitives::{Currency, Timestamp};
use crate::storage::{StorageError, TenantView};

/// Sales of a period in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revenue {
    pub currency: Currency,
    /// Without tax, in minor units.
    pub revenue_minor: i64,
    /// The tax on the revenue, in minor units.
    pub tax_minor: i64,
    /// The number of bookings.
    pub entries: i64,
}

/// Sales from `from` until before `to`, per currency, by the ledger.
pub fn revenue(
    view: &TenantView,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Revenue>, StorageError> {
    let taxes = ledger::sum_account(view, AccountCode::TaxPayable, from, to)?;
    let revenue = ledger::sum_account(view, AccountCode::Revenue, from, to)?;
    let with_tax = |(currency, revenue_minor, entries): (Currency, i64, i64)| {
        let tax_minor = taxes
            .iter()
            .find(|(of, ..)| *of == currency)
            .map_or(0, |(_, minor, _)| *minor);
        Revenue {
            currency,
            revenue_minor,
            tax_minor,
            entries,
        }
    };
    Ok(revenue.into_iter().map(with_tax).collect())
}
