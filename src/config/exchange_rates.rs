//! `[exchange_rates]`: the fetch of the European Central Bank's daily rates. Off by default: a new
//! installation contacts no other server unasked. An installation without a network imports files
//! (`tillbox exchange-rates import`), or each shop sets its own rates.

use super::error::Faults;
use super::redacted::shown_redacted;
use super::units::Span;
use crate::outbound::http::Target;
use serde::{Deserialize, Serialize};

/// The source of published rates.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExchangeRates {
    pub fetch: bool,
    /// The URL of the daily file.
    pub url: RatesUrl,
    /// The interval between fetches. The file changes once a day; an interval of some hours needs
    /// no calendar of the bank's holidays.
    pub every: Span,
    /// The longest time of one fetch.
    pub timeout: Span,
    /// Whether the URL may lead to a private address.
    pub allow_private_addresses: bool,
}

impl Default for ExchangeRates {
    fn default() -> Self {
        Self {
            fetch: false,
            url: RatesUrl(
                "https://www.ecb.europa.eu/stats/eurofxref/eurofxref-daily.xml".to_owned(),
            ),
            every: Span::secs(6 * 3_600),
            timeout: Span::secs(30),
            allow_private_addresses: false,
        }
    }
}

impl ExchangeRates {
    pub(super) fn check(&self, faults: &mut Faults) {
        if let Err(error) = Target::parse(self.url.expose()) {
            faults.add("exchange_rates.url", error);
        }
        faults.within(
            "exchange_rates.every",
            self.every,
            Span::secs(600)..=Span::secs(72 * 3_600),
        );
        faults.within(
            "exchange_rates.timeout",
            self.timeout,
            Span::millis(100)..=Span::secs(120),
        );
    }
}

/// A URL whose query may hold the key of a mirror. Printing, logging and serialising show `***` in
/// place of the query.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct RatesUrl(String);

impl RatesUrl {
    /// The full URL, only for connecting.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn redacted(&self) -> String {
        match (Target::parse(&self.0), self.0.split_once('?')) {
            // An invalid URL may have a password before the host; `check` reports the fault.
            (Err(_), _) => "***".to_owned(),
            (Ok(_), Some((before_query, _))) => format!("{before_query}?***"),
            (Ok(_), None) => self.0.clone(),
        }
    }
}

shown_redacted! { RatesUrl }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redacts_key_in_mirror_url() {
        for (url, shown) in [
            (
                "https://mirror.example/daily.xml",
                "https://mirror.example/daily.xml",
            ),
            (
                "https://mirror.example/daily.xml?key=s3cret",
                "https://mirror.example/daily.xml?***",
            ),
            ("https://bob:s3cret@mirror.example/daily.xml", "***"),
            ("s3cret", "***"),
        ] {
            let url = RatesUrl(url.to_owned());
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("{shown:?}"));
        }
    }
}
