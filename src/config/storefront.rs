//! `[storefront]`: the bounds of callers without an API key. What a till or the shop's own systems
//! do under a key is not bound by them, but for the items of a cart.

use super::error::Faults;
use crate::primitives::limits::{LINES_MAX, QUANTITY_MAX};
use serde::{Deserialize, Serialize};

/// The largest number of carts or orders that can be configured.
const COUNT_MAX: i64 = 1_000_000;

/// The bounds of callers without an API key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storefront {
    /// Items of one cart, also of one that is filled under a key. A cart that holds more can shrink
    /// and be ordered.
    pub cart_items_max: i64,
    /// Carts of one address that were not ordered.
    pub carts_per_address: i64,
    /// Carts of one shop, over all addresses, that were not ordered.
    pub carts_max: i64,
    /// Pieces of one product that the unpaid orders of one address may hold together, whatever the
    /// stock is.
    pub hold_quantity_max: i64,
    /// The share of a product's stock that they may hold together, where that is more.
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
        // 0 leaves the bound in pieces alone.
        let share = self.hold_share_percent;
        faults.within("storefront.hold_share_percent", share, 0..=100);
    }
}
