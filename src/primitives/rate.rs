//! A tax rate in parts per million: 19 % is 190,000, New York's 8.875 % is 88,750. No floats.

/// A tax rate, 0 to 100 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct TaxRate(i64);

/// The number is not a tax rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rate must be from 0 to 1000000 parts per million (19 % is 190000)")]
pub struct TaxRateError;

impl TaxRate {
    /// 100 %.
    pub const ONE: i64 = 1_000_000;

    /// Validates a rate of 0 to 1,000,000 parts per million.
    pub const fn from_ppm(ppm: i64) -> Result<Self, TaxRateError> {
        if ppm >= 0 && ppm <= Self::ONE {
            Ok(Self(ppm))
        } else {
            Err(TaxRateError)
        }
    }

    pub const fn ppm(self) -> i64 {
        self.0
    }
}
