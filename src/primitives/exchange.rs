//! Exchange rates: exact decimals, quotations of one currency in another, and what an amount of the
//! one is in the other. No floats.
//!
//! A quotation is a fraction of two decimals, because a rate over a third currency (dollars to
//! francs, both quoted against the euro) has no exact decimal: it is kept whole, and the one
//! rounding is that of the amount, by a mode that whoever converts names.

use std::fmt;

use rust_decimal::{Decimal, RoundingStrategy};

use super::money::divide;
use super::{Currency, Day, Money, MoneyError, Rounding};

/// The digits of a rate before its point, and behind it: no currency is worth a billion times
/// another.
const DIGITS_MAX: usize = 9;
/// The digits of a rate that is shown.
const DIGITS_SHOWN: u32 = 12;

/// How much of one currency one unit of another is: a decimal above zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeRate(Decimal);

/// A text that is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeRateError {
    /// Not a plain decimal.
    #[error("is not a rate; write a decimal with a point, such as 1.0842")]
    Malformed,
    /// More digits than rates have.
    #[error("has more than {DIGITS_MAX} digits before its point or behind it")]
    TooManyDigits,
    /// Zero.
    #[error("is zero, which is no rate")]
    Zero,
}

impl ExchangeRate {
    /// One for one: the other side of a quotation that is no cross.
    pub const ONE: Self = Self(Decimal::ONE);

    /// Reads digits with at most one point among them: no sign, no exponent, no grouping, no zeros
    /// in front.
    ///
    /// # Errors
    /// [`ExchangeRateError`].
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

    /// Whether it is more than twice or less than half of `other`.
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
    /// What is priced.
    pub base: Currency,
    /// In what it is priced.
    pub quote: Currency,
    /// Above the line.
    pub numerator: ExchangeRate,
    /// Below it; 1, unless the rate was the other way round or went over a third currency.
    pub denominator: ExchangeRate,
}

impl Quotation {
    /// The same, the other way round.
    #[must_use]
    pub const fn inverse(self) -> Self {
        Self {
            base: self.quote,
            quote: self.base,
            numerator: self.denominator,
            denominator: self.numerator,
        }
    }

    /// The rate as a decimal of 12 digits: to be read. Amounts go by the fraction.
    #[must_use]
    pub fn shown(&self) -> String {
        let rate = self.numerator.0 / self.denominator.0;
        let rounded =
            rate.round_sf_with_strategy(DIGITS_SHOWN, RoundingStrategy::MidpointNearestEven);
        rounded.unwrap_or(rate).normalize().to_string()
    }

    /// What `amount` is in the other currency, to its minor unit.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`] for an amount in another currency than `base`,
    /// [`MoneyError::Overflow`] beyond what money can be.
    pub fn convert(&self, amount: Money, mode: Rounding) -> Result<Money, MoneyError> {
        if amount.currency() != self.base {
            return Err(MoneyError::CurrencyMismatch(amount.currency(), self.base));
        }
        let (above, below) = (self.numerator.0.mantissa(), self.denominator.0.mantissa());
        // The powers of ten of both rates and of both minor units, on the side where they make it
        // larger.
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

/// A currency's published rates, each of a day: how much of it one euro is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series(Vec<(Day, ExchangeRate)>);

impl Series {
    /// Of rates in the order of their days, one for each.
    ///
    /// # Panics
    /// When they are not.
    #[must_use]
    pub fn new(rates: Vec<(Day, ExchangeRate)>) -> Self {
        assert!(
            rates.is_sorted_by(|one, next| one.0 < next.0),
            "one rate for each day, in their order"
        );
        Self(rates)
    }

    /// The last rate of `day` or before, if it is not older than `days_max`: on Sundays and
    /// holidays that of the day before holds.
    #[must_use]
    pub fn at(&self, day: Day, days_max: i32) -> Option<(Day, ExchangeRate)> {
        let after = self.0.partition_point(|(published, _)| *published <= day);
        let (published, rate) = *self.0.get(after.checked_sub(1)?)?;
        (published.days_until(day) <= days_max).then_some((published, rate))
    }
}

/// What somebody publishes: for each day the rates of that day, against the euro.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publication {
    /// The days, in no order, with what one euro is.
    pub days: Vec<(Day, Vec<(Currency, ExchangeRate)>)>,
    /// Codes that were left out, because ISO 4217 has them no more.
    pub left_out: Vec<String>,
}

#[cfg(test)]
mod tests;
