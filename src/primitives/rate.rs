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

    /// Parses a percentage with up to four decimals: `19%`, `8.1`, `5,5 %`.
    pub fn parse_percent(text: &str) -> Result<Self, TaxRateError> {
        let number = text.trim().trim_end_matches('%').trim_end();
        let (whole, decimals) = number.split_once(['.', ',']).unwrap_or((number, "0"));
        let is_number = |part: &str| {
            (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !is_number(whole) || !is_number(decimals) {
            return Err(TaxRateError);
        }
        let ppm = format!("{whole}{decimals:0<4}").parse();
        ppm.map_err(|_| TaxRateError).and_then(Self::from_ppm)
    }

    /// The rate as a percentage: `19 %`, `8.1 %`.
    pub fn percent(self) -> String {
        let decimals = format!("{:04}", self.0 % 10_000);
        let text = format!("{}.{decimals}", self.0 / 10_000);
        format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints_percentages() {
        for (text, ppm, printed) in [
            ("19%", 190_000, "19 %"),
            ("8.1 %", 81_000, "8.1 %"),
            ("5,5", 55_000, "5.5 %"),
            ("0", 0, "0 %"),
            ("8.8751%", 88_751, "8.8751 %"),
            ("100%", 1_000_000, "100 %"),
        ] {
            let rate = TaxRate::parse_percent(text).expect(text);
            assert_eq!((rate.ppm(), rate.percent().as_str()), (ppm, printed));
        }
        for text in [
            "", "%", "-1%", "100.1%", "1e1", "8.88751", ".5", "19%%x", "a",
        ] {
            assert!(TaxRate::parse_percent(text).is_err(), "{text}");
        }
    }
}
