//! The chart of accounts.

use crate::storage::text_enum;

text_enum! {
    /// The accounts of a shop, per currency.
    AccountCode {
        /// Cash in the till.
        Cash = "1000",
        /// Money in transit, such as bank transfers.
        Clearing = "1200",
        /// Money that the operator of the card terminal owes.
        CardClearing = "1210",
        /// Tax owed to the tax office.
        TaxPayable = "2200",
        /// Sales without tax.
        Revenue = "4000",
    }
}

impl AccountCode {
    /// The name and the kind: `asset`, `liability`, `revenue` or `expense`.
    pub const fn name_and_kind(self) -> (&'static str, &'static str) {
        match self {
            Self::Cash => ("Cash", "asset"),
            Self::Clearing => ("Payment clearing", "asset"),
            Self::CardClearing => ("Card clearing", "asset"),
            Self::TaxPayable => ("Sales tax payable", "liability"),
            Self::Revenue => ("Sales revenue", "revenue"),
        }
    }
}
