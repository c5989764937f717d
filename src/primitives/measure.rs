//! The measure of a product: its unit, and the decimal places of its quantities. A quantity is an
//! integer of 10^-scale units: 250 of a product in `KGM` with scale 3 is 0.250 kg.

use std::fmt;

use super::limits::{QUANTITY_MAX, QUANTITY_SCALE_MAX};
use super::{Money, MoneyError, Quantity, QuantityDelta, Rounding};

/// A unit of measure, with its code of UN/ECE Recommendation 20.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Unit {
    #[default]
    Piece,
    Kilogram,
    Gram,
    Litre,
    Metre,
    Hour,
    Day,
}

/// The text is not a known unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one of C62 (piece), KGM, GRM, LTR, MTR, HUR and DAY")]
pub struct UnitError;

impl Unit {
    /// All units, in order.
    pub const ALL: &'static [Self] = &[
        Self::Piece,
        Self::Kilogram,
        Self::Gram,
        Self::Litre,
        Self::Metre,
        Self::Hour,
        Self::Day,
    ];

    /// The code of UN/ECE Recommendation 20.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Piece => "C62",
            Self::Kilogram => "KGM",
            Self::Gram => "GRM",
            Self::Litre => "LTR",
            Self::Metre => "MTR",
            Self::Hour => "HUR",
            Self::Day => "DAY",
        }
    }

    /// Parses a code, in capitals.
    pub fn parse(code: &str) -> Result<Self, UnitError> {
        let found = Self::ALL.iter().find(|unit| unit.as_str() == code);
        found.copied().ok_or(UnitError)
    }

    /// The symbol after a number; none for pieces.
    const fn symbol(self) -> &'static str {
        match self {
            Self::Piece => "",
            Self::Kilogram => " kg",
            Self::Gram => " g",
            Self::Litre => " l",
            Self::Metre => " m",
            Self::Hour => " h",
            Self::Day => " d",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Unit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The decimal places of a quantity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct QuantityScale(i64);

/// The number is outside the bounds of a [`QuantityScale`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number from 0 to {QUANTITY_SCALE_MAX}")]
pub struct QuantityScaleError;

impl QuantityScale {
    /// Validates a scale of 0 to [`QUANTITY_SCALE_MAX`].
    pub const fn new(places: i64) -> Result<Self, QuantityScaleError> {
        if places >= 0 && places <= QUANTITY_SCALE_MAX {
            Ok(Self(places))
        } else {
            Err(QuantityScaleError)
        }
    }

    pub const fn get(self) -> i64 {
        self.0
    }

    /// The integer of one whole unit: 10^scale.
    pub const fn whole(self) -> i64 {
        match self.0 {
            0 => 1,
            1 => 10,
            2 => 100,
            _ => 1_000,
        }
    }
}

/// A unit and the scale of its quantities; by default whole pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Measure {
    pub unit: Unit,
    pub scale: QuantityScale,
}

/// A quantity of more than [`QUANTITY_MAX`] whole units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the quantity would be {}; the limit is {}; reduce the quantity",
    .measure.show(*.quantity), .measure.show(.measure.quantity_max())
)]
pub struct QuantityTooLarge {
    measure: Measure,
    quantity: i64,
}

impl Measure {
    /// The largest integer of a quantity in this measure.
    const fn quantity_max(self) -> i64 {
        QUANTITY_MAX * self.scale.whole()
    }

    const fn limit(self, quantity: i64) -> Result<(), QuantityTooLarge> {
        if quantity.unsigned_abs() > self.quantity_max().unsigned_abs() {
            return Err(QuantityTooLarge {
                measure: self,
                quantity,
            });
        }
        Ok(())
    }

    /// Refuses a quantity of more than [`QUANTITY_MAX`] whole units.
    pub const fn require_quantity(self, quantity: Quantity) -> Result<(), QuantityTooLarge> {
        self.limit(quantity.get())
    }

    /// Refuses a change of more than [`QUANTITY_MAX`] whole units.
    pub const fn require_delta(self, delta: QuantityDelta) -> Result<(), QuantityTooLarge> {
        self.limit(delta.get())
    }

    /// The sum of two quantities.
    pub fn add(self, one: Quantity, other: Quantity) -> Result<Quantity, QuantityTooLarge> {
        let quantity = one.get() + other.get();
        self.limit(quantity)?;
        Ok(Quantity::new(quantity).expect("no measure allows more than a quantity can be"))
    }

    /// The price of `quantity` at a price for one whole unit, rounded half up, once.
    pub fn amount(self, unit_price: Money, quantity: i64) -> Result<Money, MoneyError> {
        unit_price.ratio(quantity, self.scale.whole(), Rounding::HalfUp)
    }

    /// A quantity as people write it: `0.250 kg`; a piece has no symbol.
    pub fn show(self, quantity: i64) -> String {
        let (whole, places) = (self.scale.whole().unsigned_abs(), self.scale.0);
        let sign = if quantity < 0 { "-" } else { "" };
        let (before, after) = (
            quantity.unsigned_abs() / whole,
            quantity.unsigned_abs() % whole,
        );
        let symbol = self.unit.symbol();
        match usize::try_from(places) {
            Ok(places @ 1..) => format!("{sign}{before}.{after:0places$}{symbol}"),
            _ => format!("{sign}{before}{symbol}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::primitives::Currency;
    use crate::primitives::limits::PRICE_MINOR_MAX;

    fn measure(unit: Unit, places: i64) -> Measure {
        let scale = QuantityScale::new(places).expect("in range");
        Measure { unit, scale }
    }

    #[test]
    fn parses_codes_and_scales() {
        for unit in Unit::ALL {
            assert_eq!(Unit::parse(unit.as_str()), Ok(*unit));
        }
        for code in ["", "c62", "KG", "XXX", "KGM "] {
            assert_eq!(Unit::parse(code), Err(UnitError), "{code}");
        }
        for places in [i64::MIN, -1, 4, i64::MAX] {
            assert_eq!(
                QuantityScale::new(places),
                Err(QuantityScaleError),
                "{places}"
            );
        }
    }

    #[test]
    fn shows_quantity_with_its_places() {
        assert_eq!(measure(Unit::Kilogram, 3).show(250), "0.250 kg");
        assert_eq!(measure(Unit::Kilogram, 3).show(-1_005), "-1.005 kg");
        assert_eq!(measure(Unit::Hour, 1).show(15), "1.5 h");
        assert_eq!(Measure::default().show(-3), "-3");
    }

    #[test]
    fn limits_whole_units_at_each_scale() {
        for (places, most) in [(0, 1_000_000), (1, 10_000_000), (3, 1_000_000_000)] {
            let (measure, quantity) = (measure(Unit::Litre, places), Quantity::new(most));
            let most = quantity.expect("in range");
            assert_eq!(measure.require_quantity(most), Ok(()));
            let refused = measure.add(most, Quantity::new(1).expect("in range"));
            let limit = measure.show(most.get());
            let refused = refused.expect_err("above the limit").to_string();
            assert!(
                refused.contains(&format!("the limit is {limit};")),
                "{refused}"
            );
        }
        let delta = QuantityDelta::new(-1_000_001).expect("in range");
        assert!(Measure::default().require_delta(delta).is_err());
        assert!(measure(Unit::Litre, 1).require_delta(delta).is_ok());
    }

    /// Multiplies two decimals digit by digit, as on paper, and rounds half up.
    fn on_paper(price: i64, quantity: i64, places: usize) -> String {
        let digits = |number: i64| -> Vec<u8> {
            let text = number.to_string();
            text.bytes().rev().map(|digit| digit - b'0').collect()
        };
        let (a, b) = (digits(price), digits(quantity));
        let mut product = vec![0_u32; a.len() + b.len() + 1];
        for (i, x) in a.iter().enumerate() {
            for (j, y) in b.iter().enumerate() {
                product[i + j] += u32::from(*x) * u32::from(*y);
            }
        }
        if places > 0 {
            product.resize(product.len().max(places + 1), 0);
            // A half of the last digit that is kept; the digits below it are cut off.
            product[places - 1] += 5;
        }
        for place in 0..product.len() - 1 {
            product[place + 1] += product[place] / 10;
            product[place] %= 10;
        }
        let kept = product[places..].iter().rev().map(u32::to_string);
        let text: String = kept.collect();
        let text = text.trim_start_matches('0');
        if text.is_empty() { "0" } else { text }.to_owned()
    }

    proptest! {
        #[test]
        fn amount_equals_multiplication_on_paper(
            price in prop_oneof![0_i64..1_000, 0..=PRICE_MINOR_MAX],
            quantity in prop_oneof![1_i64..2_000, 1..=1_000_000_000_i64],
            places in 0_i64..=3,
        ) {
            let unit_price = Money::price(price, Currency::parse("EUR").expect("known"));
            let amount = measure(Unit::Kilogram, places)
                .amount(unit_price.expect("in range"), quantity);
            let expected = on_paper(price, quantity, usize::try_from(places).expect("small"));
            match amount {
                Ok(amount) => prop_assert_eq!(amount.minor().to_string(), expected),
                Err(_) => prop_assert!(expected.parse::<i64>().is_err() ||
                    expected.len() >= 16, "{}", expected),
            }
        }
    }
}
