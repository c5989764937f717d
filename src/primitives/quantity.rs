//! How many of a thing there are: on a line, in a correction of stock, on the shelf. Whole numbers,
//! each with its bounds.

use super::limits::{QUANTITY_MAX, STOCK_MAX};

/// A number of units on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Quantity(i64);

/// A number that is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the quantity must be a whole number from 1 to {QUANTITY_MAX}")]
pub struct QuantityError;

impl Quantity {
    /// Takes a number.
    ///
    /// # Errors
    /// [`QuantityError`] outside of 1 to [`QUANTITY_MAX`].
    pub const fn new(units: i64) -> Result<Self, QuantityError> {
        if units >= 1 && units <= QUANTITY_MAX {
            Ok(Self(units))
        } else {
            Err(QuantityError)
        }
    }

    /// The number of units.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// By how much stock is corrected: up to a million up or down, and never by nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct QuantityDelta(i64);

/// A number that is no correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the difference must be a whole number from -{QUANTITY_MAX} to {QUANTITY_MAX}, and not 0")]
pub struct QuantityDeltaError;

impl QuantityDelta {
    /// Takes a number.
    ///
    /// # Errors
    /// [`QuantityDeltaError`] for 0 and beyond ±[`QUANTITY_MAX`].
    pub const fn new(units: i64) -> Result<Self, QuantityDeltaError> {
        if units != 0 && units >= -QUANTITY_MAX && units <= QUANTITY_MAX {
            Ok(Self(units))
        } else {
            Err(QuantityDeltaError)
        }
    }

    /// The number of units, below zero when there are fewer.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// How many lie on the shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct OnHand(i64);

/// A number that cannot lie on a shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the number on hand must be a whole number from 0 to {STOCK_MAX}")]
pub struct OnHandError;

impl OnHand {
    /// Takes a number.
    ///
    /// # Errors
    /// [`OnHandError`] below 0 and above [`STOCK_MAX`].
    pub const fn new(units: i64) -> Result<Self, OnHandError> {
        if units >= 0 && units <= STOCK_MAX {
            Ok(Self(units))
        } else {
            Err(OnHandError)
        }
    }

    /// The number of units.
    pub const fn get(self) -> i64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_keeps_to_its_bounds() {
        for (units, quantity, delta, on_hand) in [
            (i64::MIN, false, false, false),
            (-QUANTITY_MAX - 1, false, false, false),
            (-QUANTITY_MAX, false, true, false),
            (0, false, false, true),
            (1, true, true, true),
            (QUANTITY_MAX, true, true, true),
            (QUANTITY_MAX + 1, false, false, true),
            (STOCK_MAX, false, false, true),
            (STOCK_MAX + 1, false, false, false),
            (i64::MAX, false, false, false),
        ] {
            let taken = (
                Quantity::new(units).is_ok(),
                QuantityDelta::new(units).is_ok(),
                OnHand::new(units).is_ok(),
            );
            assert_eq!(taken, (quantity, delta, on_hand), "{units}");
        }
    }
}
