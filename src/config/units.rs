//! Sizes and durations in the configuration file: `1MiB`, `30s`.
//!
//! A duration without a unit is rejected, because it could be seconds or milliseconds; a size
//! without a unit is in bytes. Decimal units (`MB`) are rejected, because their meaning is
//! ambiguous.

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

/// A length of time, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    millis: u64,
}

/// Reasons why a text is not a size or a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("{0:?} is not a size; write bytes or a binary unit, such as 65536, 512KiB or 1MiB")]
    Size(String),
    #[error(
        "{0:?} is not a duration; write a number and its unit, such as 250ms, 30s, 5m, 1h or 7d"
    )]
    Span(String),
}

/// Largest first: `Display` uses the first unit that divides evenly.
const SIZES: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];
const SPANS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl ByteSize {
    #[must_use]
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub const fn as_bytes(self) -> u64 {
        self.0
    }
}

impl Span {
    #[must_use]
    pub const fn secs(secs: u64) -> Self {
        Self::millis(secs * 1_000)
    }

    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        Self { millis }
    }

    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.millis
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_millis(span.millis)
    }
}

/// Parses `12KiB` → 12 × 1024 with a table of units. `None` for invalid text and overflow.
fn parse_with(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits_end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits_end);
    let number: u64 = number.parse().ok()?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.checked_mul(*factor)
}

fn write_with(value: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let fits = |(_, factor): &&(&str, u64)| value > 0 && value.is_multiple_of(*factor);
    match units.iter().find(fits) {
        Some((name, factor)) => write!(f, "{}{name}", value / factor),
        // Zero of the largest unit would look odd; the last but one is the usual unit.
        None => write!(f, "0{}", units[units.len() - 2].0),
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The empty unit is not in the table, so that `Display` always writes a unit.
        parse_with(text, &SIZES)
            .or_else(|| parse_with(text, &[("", 1)]))
            .map(Self)
            .ok_or_else(|| UnitError::Size(text.to_owned()))
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_with(text, &SPANS)
            .map(Self::millis)
            .ok_or_else(|| UnitError::Span(text.to_owned()))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with(self.0, &SIZES, f)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with(self.millis, &SPANS, f)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sizes;
        impl Visitor<'_> for Sizes {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 65536, \"512KiB\" or \"1MiB\"")
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
                let unexpected = de::Unexpected::Signed(bytes);
                u64::try_from(bytes)
                    .map(ByteSize)
                    .map_err(|_| E::invalid_value(unexpected, &self))
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Sizes)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Spans;
        impl Visitor<'_> for Spans {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a duration with its unit, such as \"250ms\", \"30s\", \"5m\", \"1h\" \
                    or \"7d\"",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parses_sizes_and_durations() {
        for (text, bytes) in [
            ("1MiB", 1 << 20),
            ("512KiB", 1 << 19),
            ("77", 77),
            ("9 B", 9),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize::bytes(bytes)), "{text}");
        }
        for (text, millis) in [
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
            ("7ms", 7),
        ] {
            assert_eq!(text.parse(), Ok(Span::millis(millis)), "{text}");
        }
        assert_eq!("300s".parse::<Span>().unwrap().to_string(), "5m");
        assert_eq!(Span::secs(0).to_string(), "0s");
        assert_eq!(ByteSize::bytes(0).to_string(), "0KiB");
        assert_eq!(ByteSize::bytes(1536).to_string(), "1536B");
    }

    #[test]
    fn rejects_ambiguous_units() {
        for text in [
            "",
            "MiB",
            "1MB",
            "-1",
            "1.5MiB",
            "99999999999GiB",
            "1 M",
            "+1",
        ] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        for text in [
            "",
            "30",
            "s",
            "-5s",
            "1.5s",
            "1w",
            "99999999999999999h",
            "5 min",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        let message = "1MB".parse::<ByteSize>().unwrap_err().to_string();
        assert!(message.contains("512KiB"), "{message}");
    }

    proptest! {
        #[test]
        fn parses_formatted_value(value in 0u64..=1 << 50) {
            prop_assert_eq!(ByteSize(value).to_string().parse(), Ok(ByteSize(value)));
            prop_assert_eq!(Span::millis(value).to_string().parse(), Ok(Span::millis(value)));
        }
    }
}
