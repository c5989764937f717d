//! Reports: read from the ledger, never from a sum that is kept beside it.

use super::ledger::{self, AccountCode};
use crate::primitives::{Currency, Timestamp};
use crate::storage::{StorageError, TenantView};

/// What was sold, per currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revenue {
    /// In which currency.
    pub currency: Currency,
    /// Without tax, in minor units.
    pub revenue_minor: i64,
    /// The tax on it, in minor units.
    pub tax_minor: i64,
    /// By how many bookings.
    pub entries: i64,
}

/// What was sold from `from` until before `to`, as the ledger has it.
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
