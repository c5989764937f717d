//! Stock, movements and reservations, and the reasons to refuse stock.

use std::fmt;

use crate::primitives::id::{MovementId, OrderId, ProductId};
use crate::primitives::limits::STOCK_MAX;
use crate::primitives::{
    Measure, Note, OnHand, QuantityDelta, QuantityTooLarge, Sku, Timestamp, refusals,
};
use crate::storage::{StorageError, text_enum};

text_enum! {
    /// The reason of a movement.
    MovementKind {
        /// A change by a stated difference, such as a delivery or a breakage.
        Adjustment = "adjustment",
        /// A stock count.
        Count = "count",
        Sale = "sale",
    }
}

text_enum! {
    /// The state of a reservation.
    ReservationStatus {
        /// The order waits for its payment.
        Held = "held",
        /// The order was paid and the stock has left.
        Consumed = "consumed",
        /// The order was cancelled.
        Released = "released",
        /// The order was not paid in time.
        Expired = "expired",
    }
}

/// The stock of a product, in integers of its measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stock {
    pub product_id: ProductId,
    /// Units on the shelf, reserved ones included.
    pub on_hand: i64,
    /// Units promised to unpaid orders.
    pub reserved: i64,
    /// Unit and scale of the quantities.
    pub measure: Measure,
    /// The instant of the last change; `None` before the first one.
    pub updated_at: Option<Timestamp>,
}

impl fmt::Display for Stock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |quantity| self.measure.show(quantity);
        write!(
            f,
            "{} on hand, {} reserved",
            show(self.on_hand),
            show(self.reserved)
        )
    }
}

impl Stock {
    /// Units that can be promised or sold.
    pub const fn available(&self) -> i64 {
        self.on_hand - self.reserved
    }

    /// The quantity on hand after a correction by `delta`.
    ///
    /// # Errors
    /// `QuantityTooLarge` for a delta above its limit, `TooLow` below the reserved quantity,
    /// `TooLarge` above the limit of the stock.
    pub fn adjusted(&self, delta: QuantityDelta) -> Result<OnHand, AdjustRefused> {
        self.measure.require_delta(delta)?;
        let units = self.on_hand + delta.get();
        match OnHand::new(units) {
            Ok(on_hand) => self.counted(on_hand),
            Err(_) if units < 0 => Err(AdjustRefused::TooLow(*self)),
            Err(_) => Err(AdjustRefused::TooLarge),
        }
    }

    /// The quantity on hand after a count.
    ///
    /// # Errors
    /// `TooLow` below the reserved quantity.
    pub const fn counted(&self, on_hand: OnHand) -> Result<OnHand, AdjustRefused> {
        if on_hand.get() < self.reserved {
            Err(AdjustRefused::TooLow(*self))
        } else {
            Ok(on_hand)
        }
    }
}

/// A change of the quantity on hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    pub id: MovementId,
    pub product_id: ProductId,
    pub kind: MovementKind,
    /// Never zero.
    pub quantity_delta: i64,
    /// The quantity on hand after the movement.
    pub on_hand_after: i64,
    /// Unit and scale of the quantities.
    pub measure: Measure,
    /// The order, for a sale.
    pub order_id: Option<OrderId>,
    /// The reason that the user gave.
    pub reason: Option<Note>,
    pub at: Timestamp,
}

/// The quantity that an order needs of a product that counts stock: the sum over the order's lines,
/// above zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockRequest {
    pub product_id: ProductId,
    /// For the error message.
    pub sku: Sku,
    pub quantity: i64,
    /// Unit and scale of the quantity.
    pub measure: Measure,
}

impl StockRequest {
    /// The error for this request when only `available` units are available.
    pub(super) fn out_of_stock(&self, available: i64) -> StockRefused {
        StockRefused::OutOfStock {
            product_id: self.product_id,
            sku: self.sku.clone(),
            requested: self.quantity,
            available,
            measure: self.measure,
        }
    }
}

refusals! {
    /// Reasons to refuse stock to an order.
    pub enum StockRefused {
        /// Insufficient stock.
        OutOfStock {
            product_id: ProductId,
            sku: Sku,
            requested: i64,
            available: i64,
            measure: Measure,
        }: Conflict "out_of_stock",
            "insufficient stock for SKU `{sku}`: {} requested, {} available; reduce the quantity \
             or adjust the stock" (.measure.show(*.requested), .measure.show(*.available));
        /// The unpaid orders of a client without an API key would hold too much together.
        HoldLimit {
            product_id: ProductId,
            sku: Sku,
            requested: i64,
            /// Held by the client's unpaid orders already.
            held: i64,
            /// The limit of what they may hold together.
            allowed: i64,
            measure: Measure,
        }: Conflict "hold_limit_exceeded",
            "the unpaid orders of this address may hold {} of `{sku}` together, and hold {}; {} \
             more were requested; reduce the quantity, or pay the open orders first"
            (.measure.show(*.allowed), .measure.show(*.held), .measure.show(*.requested));
    }
    inherits { Storage(StorageError) }
    facts {
        Self::OutOfStock { product_id, sku, requested, available, .. } => {
            product_id: product_id, sku: sku, requested: requested, available: available
        },
        Self::HoldLimit { product_id, sku, requested, held, allowed, .. } => {
            product_id: product_id, sku: sku, requested: requested, held: held, allowed: allowed
        },
    }
}

refusals! {
    /// Reasons to refuse a correction of stock; the first that applies wins, in this order.
    pub enum AdjustRefused {
        ProductNotFound: NotFound "product_not_found",
            "no such product in this shop; check the product id";
        /// On hand would fall below the reserved quantity, or below zero.
        TooLow(Stock): Conflict "stock_too_low",
            "stock cannot fall below the reserved quantity: {0}";
        /// The change exceeds the largest quantity.
        QuantityTooLarge(#[from] QuantityTooLarge): Invalid "quantity_too_large", "{0}";
        /// On hand would exceed `STOCK_MAX`.
        TooLarge: Invalid "stock_too_large",
            "the stock would exceed the limit of {STOCK_MAX} units; reduce the change";
    }
    inherits { Storage(StorageError) }
    facts {
        Self::TooLow(stock) => {
            product_id: stock.product_id, on_hand: stock.on_hand, reserved: stock.reserved,
            available: stock.available()
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::primitives::{Class, Refusal};

    fn stock(on_hand: i64, reserved: i64) -> Stock {
        Stock {
            product_id: ProductId::from_bytes([7; 16]),
            on_hand,
            reserved,
            updated_at: None,
            measure: Measure::default(),
        }
    }

    fn delta(units: i64) -> QuantityDelta {
        QuantityDelta::new(units).expect("in range")
    }

    fn count(units: i64) -> OnHand {
        OnHand::new(units).expect("in range")
    }

    #[test]
    fn reduces_stock_down_to_reserved_quantity() {
        assert_eq!(
            stock(10, 4).adjusted(delta(-6)).expect("4 are left"),
            count(4)
        );
        assert!(matches!(
            stock(10, 4).adjusted(delta(-7)),
            Err(AdjustRefused::TooLow(_))
        ));
        assert!(matches!(
            stock(0, 0).adjusted(delta(-1)),
            Err(AdjustRefused::TooLow(_))
        ));
        assert_eq!(
            stock(10, 0).counted(count(0)).expect("nothing is reserved"),
            count(0)
        );
        assert!(matches!(
            stock(10, 1).counted(count(0)),
            Err(AdjustRefused::TooLow(_))
        ));
    }

    #[test]
    fn increases_stock_up_to_limit() {
        assert_eq!(
            stock(STOCK_MAX - 1, 0)
                .adjusted(delta(1))
                .expect("exactly the limit"),
            count(STOCK_MAX)
        );
        assert!(matches!(
            stock(STOCK_MAX, 0).adjusted(delta(1)),
            Err(AdjustRefused::TooLarge)
        ));
    }

    #[test]
    fn reports_quantities_when_out_of_stock() {
        let refused = StockRefused::OutOfStock {
            product_id: ProductId::from_bytes([7; 16]),
            sku: Sku::parse("TEA").expect("good"),
            requested: 3,
            available: 2,
            measure: Measure::default(),
        };
        assert_eq!(
            (refused.class(), refused.code()),
            (Class::Conflict, "out_of_stock")
        );
        assert_eq!(
            (&refused.facts()["requested"], &refused.facts()["available"]),
            (&Value::from(3), &Value::from(2))
        );
        assert_eq!(
            refused.to_string(),
            "insufficient stock for SKU `TEA`: 3 requested, 2 available; reduce the quantity or \
             adjust the stock"
        );
    }
}
