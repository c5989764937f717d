//! `[rate_limits]`: the request rate of one caller by group of routes. `rate_limit/policy.rs`
//! assigns routes to groups.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The most requests in any window; a higher limit would have no effect.
const COUNT_MAX: u32 = 1_000_000;
/// The windows, with their lengths in seconds.
const WINDOWS: [(&str, u32); 3] = [("s", 1), ("min", 60), ("h", 3_600)];

/// A number of requests in a window: the size of a token bucket that refills in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    window_s: u32,
}

/// Reasons why a text is not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    #[error(
        "{0:?} is not a rate; write a number of requests and a window (s, min or h), such as 5/s, \
         30/min or 100/h"
    )]
    Form(String),
    /// Zero, or more than `COUNT_MAX`.
    #[error("{0:?} is out of bounds; write a number from 1 to {COUNT_MAX}, such as 30/min")]
    Bounds(String),
}

impl Rate {
    /// Creates a constant rate.
    ///
    /// # Panics
    /// When `count` is zero or above `COUNT_MAX`.
    #[must_use]
    pub const fn per_minute(count: u32) -> Self {
        assert!(count >= 1 && count <= COUNT_MAX);
        Self {
            count,
            window_s: 60,
        }
    }

    /// The requests in a window.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.count
    }

    /// The length of a window, in seconds.
    #[must_use]
    pub const fn window_s(self) -> u32 {
        self.window_s
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || RateError::Form(text.to_owned());
        let (number, window) = text.split_once('/').ok_or_else(form)?;
        let (_, window_s) = WINDOWS
            .into_iter()
            .find(|(name, _)| *name == window)
            .ok_or_else(form)?;
        let digits = number.strip_prefix('-').unwrap_or(number);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(form());
        }
        // Negative numbers and overflows are out of bounds like zero.
        match number.parse() {
            Ok(count) if (1..=COUNT_MAX).contains(&count) => Ok(Self { count, window_s }),
            _ => Err(RateError::Bounds(text.to_owned())),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = WINDOWS
            .into_iter()
            .find(|(_, length)| *length == self.window_s);
        write!(f, "{}/{}", self.count, window.map_or("s", |(name, _)| name))
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rates;
        impl de::Visitor<'_> for Rates {
            type Value = Rate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate, such as \"5/s\", \"30/min\" or \"100/h\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Rate, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Rates)
    }
}

/// The rates by group of routes.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimits {
    /// Checkouts, per key, or per address without a key.
    pub checkout: Rate,
    /// Payment calls, per key, or per address without a key.
    pub payment: Rate,
    /// Webhook calls of payment services, per address.
    pub webhook: Rate,
    /// Attempts to log in or to sign up, per address.
    pub login: Rate,
    /// Sales, per key.
    pub sales: Rate,
    /// All other writes without a valid key, per address.
    pub storefront: Rate,
    /// All other reads without a valid key, per address.
    pub storefront_read: Rate,
    /// Writes without a valid key to one tenant over all addresses, checkouts included.
    pub storefront_tenant: Rate,
    /// Requests on any route with an unknown, revoked or malformed key, per address.
    pub bad_keys: Rate,
}

impl RateLimits {
    /// The same rate for every group.
    #[must_use]
    pub const fn all(rate: Rate) -> Self {
        Self {
            checkout: rate,
            payment: rate,
            webhook: rate,
            login: rate,
            sales: rate,
            storefront: rate,
            storefront_read: rate,
            storefront_tenant: rate,
            bad_keys: rate,
        }
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            checkout: Rate::per_minute(30),
            payment: Rate::per_minute(20),
            webhook: Rate::per_minute(120),
            login: Rate::per_minute(10),
            sales: Rate::per_minute(1_200),
            storefront: Rate::per_minute(120),
            storefront_read: Rate::per_minute(600),
            storefront_tenant: Rate::per_minute(3_000),
            bad_keys: Rate::per_minute(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_formats_rates() {
        for (text, count, window_s) in [
            ("5/s", 5, 1),
            ("30/min", 30, 60),
            ("1/h", 1, 3_600),
            ("1000000/s", 1_000_000, 1),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.count(), rate.window_s()), (count, window_s));
            assert_eq!(rate.to_string(), text);
        }
    }

    #[test]
    fn rejects_invalid_rates() {
        for text in [
            "", "30", "/min", "30/", "30/m", "30 / min", "3.5/s", "+3/s", "-/s", "30/min/s", "٣/s",
        ] {
            assert_eq!(text.parse::<Rate>(), Err(RateError::Form(text.to_owned())));
        }
        for text in [
            "0/min",
            "1000000001/min",
            "-5/min",
            "-0/s",
            "1000001/s",
            "99999999999999999999/h",
        ] {
            assert_eq!(
                text.parse::<Rate>(),
                Err(RateError::Bounds(text.to_owned()))
            );
        }
    }
}
