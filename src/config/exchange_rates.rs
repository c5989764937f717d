//! `[exchange_rates]`: whether the European Central Bank's daily rates are fetched. Off, because a daemon that was just installed calls nobody unasked;
//! a shop without a network imports files (`tillbox exchange-rates import`) or sets its own rates.

use super::error::Faults;
use super::units::Span;
use crate::outbound::http::Target;
use serde::{Deserialize, Serialize};

/// How published rates come in.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExchangeRates {
    /// Whether they are fetched.
    pub fetch: bool,
    /// Where the daily file is.
    pub url: String,
    /// How often it is looked for. It changes once a day; an interval of some hours needs no calendar of the bank's.
    pub every: Span,
    /// The longest that one fetch may take.
    pub timeout: Span,
    /// Whether the URL may lead to an address of this house.
    pub allow_private_addresses: bool,
}

impl Default for ExchangeRates {
    fn default() -> Self {
        Self {
            fetch: false,
            url: "https://www.ecb.europa.eu/stats/eurofxref/eurofxref-daily.xml".to_owned(),
            every: Span::secs(6 * 3_600),
            timeout: Span::secs(30),
            allow_private_addresses: false,
        }
    }
}

impl ExchangeRates {
    pub(super) fn check(&self, faults: &mut Faults) {
        if let Err(error) = Target::parse(&self.url) {
            faults.add("exchange_rates.url", error);
        }
        faults.within("exchange_rates.every", self.every, Span::secs(600)..=Span::secs(72 * 3_600));
        faults.within("exchange_rates.timeout", self.timeout, Span::millis(100)..=Span::secs(120));
    }
}
