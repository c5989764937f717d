//! Rules from the configuration, passed to commands: the rules of the shop read no configuration
//! themselves.

use crate::primitives::{NumberFormat, QuantityScale};

/// The rules that an operator sets for all shops.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The format of invoice numbers; with a year in it, each year counts from one.
    pub invoice_number: NumberFormat,
    /// The limits of callers without an API key.
    pub storefront: StorefrontRules,
    /// Whether the payment method `test` exists: under `--dev` only.
    pub test_payments: bool,
}

/// The limits of callers without an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorefrontRules {
    /// Items of one cart, also with a key.
    pub cart_items_max: usize,
    /// Carts of one client that were not ordered.
    pub carts_per_client: i64,
    /// Carts of a shop that were made without a key and not ordered.
    pub carts_max: i64,
    /// Pieces (whole units) of a product that the unpaid orders of one client may hold together,
    /// for any stock.
    pub hold_quantity_max: i64,
    /// The share of the stock that they may hold together, where that is more.
    pub hold_share_percent: i64,
    /// Unpaid orders of one client within a day.
    pub unpaid_orders_per_client: i64,
}

impl StorefrontRules {
    /// The quantity of a product that the unpaid orders of one client may hold together: a number
    /// of whole units, so that a part of one counts as one.
    pub fn hold_limit(&self, on_hand: i64, scale: QuantityScale) -> i64 {
        // Stock is far below an overflow (`STOCK_MAX`).
        let share = on_hand * self.hold_share_percent / (100 * scale.whole());
        share.max(self.hold_quantity_max) * scale.whole()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allows_the_larger_of_pieces_and_share() {
        let rules = StorefrontRules {
            cart_items_max: 100,
            carts_per_client: 50,
            carts_max: 10_000,
            hold_quantity_max: 20,
            hold_share_percent: 25,
            unpaid_orders_per_client: 5,
        };
        for (on_hand, allowed) in [
            (0, 20),
            (79, 20),
            (83, 20),
            (84, 21),
            (1_000_000, 250_000),
            (crate::primitives::limits::STOCK_MAX, 250_000_000_000),
        ] {
            let pieces = rules.hold_limit(on_hand, QuantityScale::default());
            assert_eq!(pieces, allowed, "{on_hand}");
        }
        let grams = QuantityScale::new(3).expect("in range");
        for (on_hand, allowed) in [(0, 20_000), (83_999, 20_000), (84_000, 21_000)] {
            assert_eq!(rules.hold_limit(on_hand, grams), allowed, "{on_hand}");
        }
        let pieces_alone = StorefrontRules {
            hold_share_percent: 0,
            ..rules
        };
        let pieces = pieces_alone.hold_limit(1_000_000, QuantityScale::default());
        assert_eq!(pieces, 20);
    }
}
