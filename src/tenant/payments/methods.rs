//! The payment methods, and everything that differs between them. Other code asks [`Method::rules`]
//! and names no method.

use crate::storage::text_enum;
use crate::tenant::Policy;
use crate::tenant::ledger::AccountCode;

text_enum! {
    /// A payment method.
    Method {
        /// Notes and coins in the till.
        Cash = "cash",
        /// A card terminal that Tillbox does not drive.
        Card = "card",
        /// A method that the shop checks itself, such as a bank transfer.
        Manual = "manual",
        /// No real money, under `--dev` only.
        Test = "test",
    }
}

/// The way in which money is returned to the buyer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundBy {
    /// Paid out of the till.
    Till,
    /// Returned by the shop outside of Tillbox: at the terminal, by a transfer.
    Shop,
}

/// The rules of a payment method.
#[derive(Clone, Copy, Debug)]
pub struct MethodRules {
    /// The account that holds the money.
    pub account: AccountCode,
    /// Whether a payment of a sale may exceed the total; the difference is returned at once.
    pub gives_change: bool,
    /// Whether a payment succeeds only with a provider's reference.
    pub needs_reference: bool,
    /// Whether a till may accept it without a connection.
    pub may_be_offline: bool,
    pub refund_by: RefundBy,
    /// The reference that makes a payment be declined, for developers.
    pub declined_by: Option<&'static str>,
    /// Whether the operator's settings allow it.
    pub is_allowed: fn(&Policy) -> bool,
}

impl Method {
    pub const fn rules(self) -> MethodRules {
        match self {
            Self::Cash => MethodRules {
                account: AccountCode::Cash,
                gives_change: true,
                needs_reference: false,
                may_be_offline: true,
                refund_by: RefundBy::Till,
                declined_by: None,
                is_allowed: |_| true,
            },
            Self::Card => MethodRules {
                account: AccountCode::CardClearing,
                gives_change: false,
                needs_reference: false,
                may_be_offline: true,
                refund_by: RefundBy::Shop,
                declined_by: None,
                is_allowed: |_| true,
            },
            Self::Manual => MethodRules {
                account: AccountCode::Clearing,
                gives_change: false,
                needs_reference: false,
                may_be_offline: false,
                refund_by: RefundBy::Shop,
                declined_by: None,
                is_allowed: |_| true,
            },
            Self::Test => MethodRules {
                account: AccountCode::Clearing,
                gives_change: false,
                needs_reference: false,
                may_be_offline: false,
                refund_by: RefundBy::Shop,
                declined_by: Some("decline"),
                is_allowed: |policy| policy.test_payments,
            },
        }
    }

    /// The names of all methods, for messages.
    pub fn names() -> String {
        let names: Vec<&str> = Self::ALL.iter().map(|method| method.as_str()).collect();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_published_table() {
        let mut table = String::new();
        for method in Method::ALL {
            let rules = method.rules();
            table.push_str(&format!(
                "{method}: {} change={} reference={} offline={} refund={:?} declined_by={:?}\n",
                rules.account,
                rules.gives_change,
                rules.needs_reference,
                rules.may_be_offline,
                rules.refund_by,
                rules.declined_by,
            ));
        }
        insta::assert_snapshot!(table, @r#"
        cash: 1000 change=true reference=false offline=true refund=Till declined_by=None
        card: 1210 change=false reference=false offline=true refund=Shop declined_by=None
        manual: 1200 change=false reference=false offline=false refund=Shop declined_by=None
        test: 1200 change=false reference=false offline=false refund=Shop declined_by=Some("decline")
        "#);
    }
}
