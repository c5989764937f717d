//! `[storefront]`: the limits of callers without an API key. Callers with a key (tills, the shop's
//! own systems) are exempt, except for the number of items in a cart.

use super::error::Faults;
use crate::primitives::limits::{LINES_MAX, QUANTITY_MAX};
use serde::{Deserialize, Serialize};

/// The largest number of carts or orders that can be configured.
const COUNT_MAX: i64 = 1_000_000;

/// The limits of callers without an API key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storefront {
    /// Items of one cart, with or without a key. A cart with more items can shrink and be ordered.
    pub cart_items_max: i64,
    /// Carts of one address that were not ordered.
    pub carts_per_address: i64,
    /// Carts of one shop, over all addresses, that were not ordered.
    pub carts_max: i64,
    /// Pieces (whole units) of one product that all unpaid orders of one address may hold, whatever
    /// the stock.
    pub hold_quantity_max: i64,
    /// The share of a product's stock that they may hold, where that is more.
    pub hold_share_percent: i64,
    /// Unpaid orders of one address within 24 hours.
    pub unpaid_orders_per_address: i64,
}

impl Default for Storefront {
    fn default() -> Self {
        Self {
            cart_items_max: 100,
            carts_per_address: 50,
            carts_max: 10_000,
            hold_quantity_max: 20,
            hold_share_percent: 25,
            unpaid_orders_per_address: 5,
        }
    }
}

impl Storefront {
    pub(super) fn check(&self, faults: &mut Faults) {
        let lines_max = i64::try_from(LINES_MAX).expect("a few hundred");
        for (key, value, max) in [
            ("cart_items_max", self.cart_items_max, lines_max),
            ("carts_per_address", self.carts_per_address, COUNT_MAX),
            ("carts_max", self.carts_max, COUNT_MAX),
            ("hold_quantity_max", self.hold_quantity_max, QUANTITY_MAX),
            (
                "unpaid_orders_per_address",
                self.unpaid_orders_per_address,
                COUNT_MAX,
            ),
        ] {
            faults.within(format!("storefront.{key}"), value, 1..=max);
        }
        // With 0, only `hold_quantity_max` applies.
        let share = self.hold_share_percent;
        faults.within("storefront.hold_share_percent", share, 0..=100);
    }
}
