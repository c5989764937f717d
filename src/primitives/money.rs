//! Money: an integer number of minor units and a currency. No operators, no floats; every rounding
//! names its mode.

use std::fmt;

use super::Day;
use super::limits::{MONEY_MINOR_MAX, PRICE_MINOR_MAX};

/// The last days of discontinued currencies that past amounts still use.
const ENDED: &[(&str, &str)] = &[
    ("BGN", "2025-12-31"),
    ("CUC", "2020-12-31"),
    ("HRK", "2022-12-31"),
    ("SLL", "2024-03-31"),
    ("ZWL", "2024-08-31"),
];

/// An ISO 4217 currency with minor units that is in circulation, or was when the amount was
/// recorded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// Parses an alphabetic code in capitals, as ISO 4217 writes it.
    ///
    /// # Errors
    /// [`MoneyError::UnknownCurrency`] for an unknown code, and for the codes of metals, funds and
    /// tests (`XAU`, `XXX` …), which have no minor unit.
    pub fn parse(code: &str) -> Result<Self, MoneyError> {
        let currency =
            iso_currency::Currency::from_code(code).ok_or(MoneyError::UnknownCurrency)?;
        match currency.exponent() {
            Some(_) => Ok(Self(currency)),
            None => Err(MoneyError::UnknownCurrency),
        }
    }

    /// The three-letter code.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// The last day of a discontinued currency: past amounts stay readable, and nothing new is sold
    /// in it.
    pub fn last_day(self) -> Option<Day> {
        let ended = ENDED.iter().find(|(code, _)| *code == self.code())?;
        Some(Day::parse(ended.1).expect("a day"))
    }

    /// Digits after the decimal separator: EUR 2, JPY 0, KWD 3.
    pub fn digits(self) -> u32 {
        u32::from(self.0.exponent().unwrap_or(0))
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl serde::Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> serde::Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// An amount in the minor unit of its currency, between ±(2⁵³ − 1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

/// The reason why an amount is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a code of ISO 4217.
    #[error("is not a currency; use an ISO 4217 code in capitals, such as EUR")]
    UnknownCurrency,
    /// Two currencies in one sum.
    #[error("{0} and {1} cannot be added up; convert one of them first")]
    CurrencyMismatch(Currency, Currency),
    /// Beyond ±(2⁵³ − 1) minor units.
    #[error("the amount is too large; the limit is 9007199254740991 minor units")]
    Overflow,
    /// A negative price or payment.
    #[error("the amount is negative; prices and payments must be zero or more")]
    Negative,
    /// A price or payment above [`PRICE_MINOR_MAX`].
    #[error(
        "the amount is above the limit of {PRICE_MINOR_MAX} minor units for a price or a payment; \
         check that no barcode was entered as the amount"
    )]
    BeyondPrices,
}

/// The rounding of a fraction of a minor unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest; a half goes away from zero ("commercial rounding" in tax law).
    HalfUp,
    /// To the nearest; a half goes to the even neighbour (IEEE 754 roundTiesToEven).
    HalfEven,
    /// Towards zero.
    Down,
}

impl Money {
    /// An amount of `minor` units; [`MoneyError::Overflow`] beyond the limit.
    pub fn new(minor: i64, currency: Currency) -> Result<Self, MoneyError> {
        Self::from_wide(i128::from(minor), currency)
    }

    /// A non-negative amount: a price or a payment.
    pub fn price(minor: i64, currency: Currency) -> Result<Self, MoneyError> {
        match minor {
            ..0 => Err(MoneyError::Negative),
            0..=PRICE_MINOR_MAX => Self::new(minor, currency),
            _ => Err(MoneyError::BeyondPrices),
        }
    }

    pub const fn zero(currency: Currency) -> Self {
        Self { minor: 0, currency }
    }

    fn from_wide(minor: i128, currency: Currency) -> Result<Self, MoneyError> {
        match i64::try_from(minor) {
            Ok(minor) if minor.unsigned_abs() <= MONEY_MINOR_MAX.unsigned_abs() => {
                Ok(Self { minor, currency })
            }
            _ => Err(MoneyError::Overflow),
        }
    }

    /// The amount in minor units.
    pub const fn minor(self) -> i64 {
        self.minor
    }

    pub const fn currency(self) -> Currency {
        self.currency
    }

    pub const fn is_zero(self) -> bool {
        self.minor == 0
    }

    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        Self::from_wide(
            i128::from(self.minor) + i128::from(other.minor),
            self.currency,
        )
    }

    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        Self::from_wide(
            i128::from(self.minor) - i128::from(other.minor),
            self.currency,
        )
    }

    pub fn times(self, count: i64) -> Result<Self, MoneyError> {
        Self::from_wide(i128::from(self.minor) * i128::from(count), self.currency)
    }

    /// `self × numerator ÷ denominator`, rounded by `mode`.
    ///
    /// [`MoneyError::Overflow`] also when the denominator is not positive.
    pub fn ratio(
        self,
        numerator: i64,
        denominator: i64,
        mode: Rounding,
    ) -> Result<Self, MoneyError> {
        if denominator <= 0 {
            return Err(MoneyError::Overflow);
        }
        let product = i128::from(self.minor) * i128::from(numerator);
        Self::from_wide(
            divide(product, i128::from(denominator), mode),
            self.currency,
        )
    }

    /// Splits the amount by `weights`: the parts sum to it exactly, each within one minor unit of
    /// its fair share.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] when no weight is above zero and the amount is not zero.
    pub fn allocate(self, weights: &[i64]) -> Result<Vec<Self>, MoneyError> {
        let parts = allocate(self.minor, weights).ok_or(MoneyError::Overflow)?;
        Ok(parts
            .into_iter()
            .map(|minor| Self {
                minor,
                currency: self.currency,
            })
            .collect())
    }

    fn same_currency(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            Ok(())
        } else {
            Err(MoneyError::CurrencyMismatch(self.currency, other.currency))
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.currency.digits() as usize;
        let sign = if self.minor < 0 { "-" } else { "" };
        let scale = 10_u64.pow(self.currency.digits());
        let (whole, part) = (
            self.minor.unsigned_abs() / scale,
            self.minor.unsigned_abs() % scale,
        );
        if digits == 0 {
            write!(f, "{sign}{whole} {}", self.currency)
        } else {
            write!(f, "{sign}{whole}.{part:0digits$} {}", self.currency)
        }
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The rounded integer quotient; `denominator` is above zero.
pub(super) fn divide(numerator: i128, denominator: i128, mode: Rounding) -> i128 {
    let (quotient, rest) = (numerator / denominator, numerator % denominator);
    let away = if numerator < 0 {
        quotient - 1
    } else {
        quotient + 1
    };
    match (mode, rest.abs().cmp(&(denominator - rest.abs()))) {
        (Rounding::Down, _) | (_, std::cmp::Ordering::Less) => quotient,
        (_, std::cmp::Ordering::Greater) | (Rounding::HalfUp, std::cmp::Ordering::Equal) => away,
        (Rounding::HalfEven, std::cmp::Ordering::Equal) => {
            if quotient % 2 == 0 {
                quotient
            } else {
                away
            }
        }
    }
}

/// Splits `total` over `weights` by the largest remainder (Hamilton's method). The parts sum to
/// `total` exactly: the units left after rounding down go to the largest remainders, the earlier
/// first among equals.
///
/// `None` when a weight is negative, or when all weights are zero and `total` is not.
pub fn allocate(total: i64, weights: &[i64]) -> Option<Vec<i64>> {
    let sum: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
    if weights.iter().any(|weight| *weight < 0) || (sum == 0 && total != 0) {
        return None;
    }
    if sum == 0 {
        return Some(vec![0; weights.len()]);
    }
    let sign = if total < 0 { -1 } else { 1 };
    let magnitude = i128::from(total).abs();
    let mut parts: Vec<i128> = weights
        .iter()
        .map(|weight| magnitude * i128::from(*weight) / sum)
        .collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&index| {
        (
            std::cmp::Reverse(magnitude * i128::from(weights[index]) % sum),
            index,
        )
    });
    let left = magnitude - parts.iter().sum::<i128>();
    let left = usize::try_from(left).expect("fewer units are left than there are parts");
    order.iter().take(left).for_each(|&index| parts[index] += 1);
    parts
        .into_iter()
        .map(|part| i64::try_from(part * sign).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn eur(minor: i64) -> Money {
        Money::new(minor, Currency::parse("EUR").expect("known")).expect("in range")
    }

    #[test]
    fn knows_digits_of_currencies() {
        for (code, digits) in [("EUR", 2), ("JPY", 0), ("KWD", 3), ("USD", 2)] {
            assert_eq!(
                Currency::parse(code).expect(code).digits(),
                digits,
                "{code}"
            );
        }
        for code in ["", "eur", "XAU", "XXX", "EURO", "ZZZ", "€"] {
            assert_eq!(
                Currency::parse(code),
                Err(MoneyError::UnknownCurrency),
                "{code}"
            );
        }
    }

    #[test]
    fn gives_last_day_of_ended_currencies() {
        let last = |code: &str| {
            Currency::parse(code)
                .expect(code)
                .last_day()
                .map(|day| day.to_string())
        };
        assert_eq!(last("HRK").as_deref(), Some("2022-12-31"));
        assert_eq!([last("EUR"), last("USD")], [None, None]);
        for (code, _) in ENDED {
            assert!(last(code).is_some());
        }
    }

    #[test]
    fn rounds_half_by_mode() {
        let half = |minor, mode| eur(minor).ratio(1, 2, mode).expect("small").minor();
        assert_eq!(
            [
                half(5, Rounding::HalfUp),
                half(5, Rounding::HalfEven),
                half(5, Rounding::Down)
            ],
            [3, 2, 2]
        );
        assert_eq!(
            [
                half(-5, Rounding::HalfUp),
                half(-5, Rounding::HalfEven),
                half(-5, Rounding::Down)
            ],
            [-3, -2, -2]
        );
        assert_eq!(half(7, Rounding::HalfEven), 4);
    }

    #[test]
    fn formats_digits_of_currency() {
        assert_eq!(eur(-5).to_string(), "-0.05 EUR");
        assert_eq!(
            Money::zero(Currency::parse("JPY").expect("known")).to_string(),
            "0 JPY"
        );
    }

    #[test]
    fn rejects_amounts_beyond_limits() {
        assert_eq!(eur(MONEY_MINOR_MAX).plus(eur(1)), Err(MoneyError::Overflow));
        assert_eq!(
            eur(MONEY_MINOR_MAX).times(i64::MAX),
            Err(MoneyError::Overflow)
        );
        assert_eq!(
            Money::new(i64::MIN, eur(0).currency()),
            Err(MoneyError::Overflow)
        );
        let price = |minor| Money::price(minor, eur(0).currency());
        assert_eq!(
            price(PRICE_MINOR_MAX).map(Money::minor),
            Ok(PRICE_MINOR_MAX)
        );
        assert_eq!(
            [price(PRICE_MINOR_MAX + 1), price(i64::MAX)],
            [Err(MoneyError::BeyondPrices); 2]
        );
        assert_eq!([price(-1), price(i64::MIN)], [Err(MoneyError::Negative); 2]);
    }

    proptest! {
        #[test]
        fn allocates_exactly_and_fairly(total in -1_000_000_000_i64..1_000_000_000,
            weights in prop::collection::vec(0_i64..1_000_000, 1..50)) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let parts = allocate(total, &weights).expect("something has weight");
            prop_assert_eq!(parts.iter().sum::<i64>(), total);
            let sum: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
            for (part, weight) in parts.iter().zip(&weights) {
                let fair = i128::from(total) * i128::from(*weight);
                prop_assert!((i128::from(*part) * sum - fair).abs() < sum, "more than a unit off");
            }
        }

        #[test]
        fn subtraction_undoes_addition(a in -MONEY_MINOR_MAX/2..MONEY_MINOR_MAX/2,
            b in -MONEY_MINOR_MAX/2..MONEY_MINOR_MAX/2) {
            prop_assert_eq!(eur(a).plus(eur(b)).and_then(|sum| sum.minus(eur(b))), Ok(eur(a)));
        }

        #[test]
        fn ratio_is_within_half_a_unit(minor in -1_000_000_000_i64..1_000_000_000,
            numerator in 0_i64..2_000_000) {
            let rounded = eur(minor).ratio(numerator, 1_000_000,
                Rounding::HalfUp).expect("small").minor();
            let error = i128::from(rounded) * 1_000_000 - i128::from(minor) * i128::from(numerator);
            prop_assert!(error.abs() * 2 <= 1_000_000);
        }
    }
}
