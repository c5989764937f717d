//! The chart of accounts.

use crate::storage::text_enum;

text_enum! {
    /// The accounts of a shop, per currency.
    AccountCode {
        /// Cash in the till.
        Cash = "1000",
        /// Money in transit: bank transfers, card terminals.
        Clearing = "1200",
        /// Tax owed to the tax office.
        TaxPayable = "2200",
        /// Sales without tax.
        Revenue = "4000",
    }
}

/// The chart of accounts: code, name, kind.
pub const ACCOUNTS: &[(AccountCode, &str, &str)] = &[
    (AccountCode::Cash, "Cash", "asset"),
    (AccountCode::Clearing, "Payment clearing", "asset"),
    (AccountCode::TaxPayable, "Sales tax payable", "liability"),
    (AccountCode::Revenue, "Sales revenue", "revenue"),
];
