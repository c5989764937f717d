//! Integers of 10^-scale units of a product, each with its bounds: on a line, in a stock
//! adjustment, on hand. The product's [`Measure`](super::Measure) has the unit and the scale.

use super::limits::{QUANTITY_INTEGER_MAX, STOCK_MAX};

/// The quantity of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Quantity(i64);

/// The number is outside the bounds of a [`Quantity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the quantity must be a whole number from 1 to {QUANTITY_INTEGER_MAX}")]
pub struct QuantityError;

impl Quantity {
    /// Validates a quantity of 1 to [`QUANTITY_INTEGER_MAX`].
    pub const fn new(units: i64) -> Result<Self, QuantityError> {
        if units >= 1 && units <= QUANTITY_INTEGER_MAX {
            Ok(Self(units))
        } else {
            Err(QuantityError)
        }
    }

    pub const fn get(self) -> i64 {
        self.0
    }
}

/// A change of stock: up to ±[`QUANTITY_INTEGER_MAX`], never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct QuantityDelta(i64);

/// The number is outside the bounds of a [`QuantityDelta`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the difference must be a whole number from -{QUANTITY_INTEGER_MAX} to {QUANTITY_INTEGER_MAX}, \
     and not 0"
)]
pub struct QuantityDeltaError;

impl QuantityDelta {
    /// Validates a change: not 0, within ±[`QUANTITY_INTEGER_MAX`].
    pub const fn new(units: i64) -> Result<Self, QuantityDeltaError> {
        if units != 0 && units >= -QUANTITY_INTEGER_MAX && units <= QUANTITY_INTEGER_MAX {
            Ok(Self(units))
        } else {
            Err(QuantityDeltaError)
        }
    }

    /// The number of units; negative for a decrease.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// The stock on hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct OnHand(i64);

/// The number is outside the bounds of an [`OnHand`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the number on hand must be a whole number from 0 to {STOCK_MAX}")]
pub struct OnHandError;

impl OnHand {
    /// Validates a stock of 0 to [`STOCK_MAX`].
    pub const fn new(units: i64) -> Result<Self, OnHandError> {
        if units >= 0 && units <= STOCK_MAX {
            Ok(Self(units))
        } else {
            Err(OnHandError)
        }
    }

    pub const fn get(self) -> i64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enforces_bounds_of_each_type() {
        for (units, quantity, delta, on_hand) in [
            (i64::MIN, false, false, false),
            (-QUANTITY_INTEGER_MAX - 1, false, false, false),
            (-QUANTITY_INTEGER_MAX, false, true, false),
            (0, false, false, true),
            (1, true, true, true),
            (QUANTITY_INTEGER_MAX, true, true, true),
            (QUANTITY_INTEGER_MAX + 1, false, false, true),
            (STOCK_MAX, false, false, true),
            (STOCK_MAX + 1, false, false, false),
            (i64::MAX, false, false, false),
        ] {
            let accepted = (
                Quantity::new(units).is_ok(),
                QuantityDelta::new(units).is_ok(),
                OnHand::new(units).is_ok(),
            );
            assert_eq!(accepted, (quantity, delta, on_hand), "{units}");
        }
    }
}
