//! Exchange rates: exact decimals, quotations of one currency in another, and the conversion of
//! amounts. No floats.
//!
//! A quotation is a fraction of two decimals: a cross rate over a third currency (dollars to
//! francs, both quoted against the euro) has no exact decimal. Only the converted amount is
//! rounded, once, by the mode that the caller names.

use std::fmt;

use rust_decimal::{Decimal, RoundingStrategy};

use super::money::divide;
use super::{Currency, Day, Money, MoneyError, Rounding};

/// The maximum number of digits on each side of the decimal point: no currency is worth a billion
/// times another.
const DIGITS_MAX: usize = 9;
/// The digits of a displayed rate.
const DIGITS_SHOWN: u32 = 12;

/// The price of one unit of a currency in another: a decimal above zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeRate(Decimal);

/// The text is not an exchange rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeRateError {
    #[error("is not a rate; write a decimal with a point, such as 1.0842")]
    Malformed,
    #[error("has more than {DIGITS_MAX} digits before its point or behind it")]
    TooManyDigits,
    #[error("is zero; a rate must be above zero")]
    Zero,
}

impl ExchangeRate {
    /// The denominator of a quotation that is not a cross rate.
    pub const ONE: Self = Self(Decimal::ONE);

    /// Parses digits with at most one decimal point: no sign, exponent, grouping or leading zeros.
    pub fn parse(text: &str) -> Result<Self, ExchangeRateError> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !is_digits(part) || (whole.len() > 1 && whole.starts_with('0')) {
            return Err(ExchangeRateError::Malformed);
        }
        if whole.len() > DIGITS_MAX || part.len() > DIGITS_MAX {
            return Err(ExchangeRateError::TooManyDigits);
        }
        let rate = Decimal::from_str_exact(text).map_err(|_| ExchangeRateError::TooManyDigits)?;
        if rate.is_zero() {
            return Err(ExchangeRateError::Zero);
        }
        Ok(Self(rate.normalize()))
    }

    /// Whether the rate is more than twice or less than half of `other`.
    #[must_use]
    pub fn is_far_from(self, other: Self) -> bool {
        let two = Decimal::TWO;
        self.0 > other.0 * two || self.0 * two < other.0
    }
}

impl fmt::Display for ExchangeRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ExchangeRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl serde::Serialize for ExchangeRate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One unit of `base` is `numerator ÷ denominator` of `quote`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotation {
    /// The currency that is priced.
    pub base: Currency,
    /// The currency of the price.
    pub quote: Currency,
    pub numerator: ExchangeRate,
    /// 1, unless the rate was inverted or is a cross rate over a third currency.
    pub denominator: ExchangeRate,
}

impl Quotation {
    /// The quotation with `base` and `quote` swapped.
    #[must_use]
    pub const fn inverse(self) -> Self {
        Self {
            base: self.quote,
            quote: self.base,
            numerator: self.denominator,
            denominator: self.numerator,
        }
    }

    /// The rate as a decimal of 12 digits, for display. Amounts are converted by the fraction.
    #[must_use]
    pub fn shown(&self) -> String {
        let rate = self.numerator.0 / self.denominator.0;
        let rounded =
            rate.round_sf_with_strategy(DIGITS_SHOWN, RoundingStrategy::MidpointNearestEven);
        rounded.unwrap_or(rate).normalize().to_string()
    }

    /// Converts `amount` to the other currency, rounded to its minor unit.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`] when the amount is not in `base`, [`MoneyError::Overflow`]
    /// beyond the limit of [`Money`].
    pub fn convert(&self, amount: Money, mode: Rounding) -> Result<Money, MoneyError> {
        if amount.currency() != self.base {
            return Err(MoneyError::CurrencyMismatch(amount.currency(), self.base));
        }
        let (above, below) = (self.numerator.0.mantissa(), self.denominator.0.mantissa());
        // Powers of ten of both rates and both minor units, applied to the side they enlarge.
        let gains = i64::from(self.denominator.0.scale()) + i64::from(self.quote.digits());
        let losses = i64::from(self.numerator.0.scale()) + i64::from(self.base.digits());
        let ten =
            |power: i64| 10_i128.pow(u32::try_from(power.max(0)).expect("a few dozen at the most"));
        let product = i128::from(amount.minor())
            .checked_mul(above)
            .and_then(|product| product.checked_mul(ten(gains - losses)))
            .ok_or(MoneyError::Overflow)?;
        let divisor = below
            .checked_mul(ten(losses - gains))
            .ok_or(MoneyError::Overflow)?;
        let minor =
            i64::try_from(divide(product, divisor, mode)).map_err(|_| MoneyError::Overflow)?;
        Money::new(minor, self.quote)
    }
}

/// The published daily rates of one currency: its price of one euro.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series(Vec<(Day, ExchangeRate)>);

impl Series {
    /// A series of rates in the order of their days, one per day.
    ///
    /// # Panics
    /// When two rates are of one day or out of order.
    #[must_use]
    pub fn new(rates: Vec<(Day, ExchangeRate)>) -> Self {
        assert!(
            rates.is_sorted_by(|one, next| one.0 < next.0),
            "one rate for each day, in order"
        );
        Self(rates)
    }

    /// The last rate of `day` or before, if it is at most `days_max` days old: on Sundays and
    /// holidays the rate of the previous business day applies.
    #[must_use]
    pub fn at(&self, day: Day, days_max: i32) -> Option<(Day, ExchangeRate)> {
        let after = self.0.partition_point(|(published, _)| *published <= day);
        let (published, rate) = *self.0.get(after.checked_sub(1)?)?;
        (published.days_until(day) <= days_max).then_some((published, rate))
    }
}

/// A published data set: the rates of each day against the euro.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publication {
    /// The days in any order, with the price of one euro in each currency.
    pub days: Vec<(Day, Vec<(Currency, ExchangeRate)>)>,
    /// Codes that were skipped because ISO 4217 no longer lists them.
    pub left_out: Vec<String>,
}

#[cfg(test)]
mod tests;
