//! An instant: milliseconds since 1970-01-01T00:00:00Z, written as RFC 3339 in UTC with `Z`.

use std::fmt;
use std::time::Duration;

/// An instant between the years 0001 and 9999, without the last 26 hours, which are in year 10000
/// in some zone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The text or number is not an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an instant; write it as RFC 3339 with its zone, such as 2026-01-31T18:30:00Z")]
pub struct TimestampError;

const MIN_MS: i64 = -62_135_596_800_000;
const MAX_MS: i64 = 253_402_207_200_000;

impl Timestamp {
    /// Validates milliseconds since 1970; the range is the years 0001 to 9999.
    pub const fn from_millis(ms: i64) -> Result<Self, TimestampError> {
        if ms >= MIN_MS && ms <= MAX_MS {
            Ok(Self(ms))
        } else {
            Err(TimestampError)
        }
    }

    /// Clamps milliseconds since 1970 to the range: for clocks and stored values.
    pub fn from_millis_clamped(ms: i64) -> Self {
        Self(ms.clamp(MIN_MS, MAX_MS))
    }

    /// Parses RFC 3339 with any zone offset.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        // jiff also reads other forms, some of them ambiguous.
        if !is_rfc3339(text) {
            return Err(TimestampError);
        }
        let instant: jiff::Timestamp = text.parse().map_err(|_| TimestampError)?;
        Self::from_millis(instant.as_millisecond())
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The instant `ms` milliseconds later (earlier, when negative), clamped to the range.
    pub fn plus_millis(self, ms: i64) -> Self {
        Self::from_millis_clamped(self.0.saturating_add(ms))
    }

    pub fn plus(self, by: Duration) -> Self {
        self.plus_millis(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
    }

    /// The year in UTC, by the Gregorian calendar.
    pub fn year(self) -> i16 {
        self.civil().year()
    }

    /// The day in UTC as `2026-01-31`.
    pub fn date(self) -> String {
        self.civil().date().to_string()
    }

    /// The HTTP form (RFC 9110 §5.6.7): `Sat, 31 Jan 2026 18:30:00 GMT`.
    pub fn http_date(self) -> String {
        let instant =
            jiff::Timestamp::from_millisecond(self.0).expect("the range is within jiff's");
        let written =
            jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&instant);
        written.expect("the years of the range have four digits")
    }

    fn civil(self) -> jiff::civil::DateTime {
        let instant =
            jiff::Timestamp::from_millisecond(self.0).expect("the range is within jiff's");
        jiff::tz::Offset::UTC.to_datetime(instant)
    }
}

/// Whether a text has the form `date-time` (RFC 3339 §5.6). Does not check that the day exists.
fn is_rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let has_form = |from: usize, form: &[u8]| {
        let part = bytes.get(from..from + form.len()).unwrap_or_default();
        let fits = |(byte, wanted): (&u8, &u8)| {
            if *wanted == b'0' {
                byte.is_ascii_digit()
            } else {
                byte.eq_ignore_ascii_case(wanted)
            }
        };
        part.len() == form.len() && part.iter().zip(form).all(fits)
    };
    if !has_form(0, b"0000-00-00T00:00:00") {
        return false;
    }
    let mut end = 19;
    if bytes.get(end) == Some(&b'.') {
        let digits = bytes[end + 1..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits == 0 {
            return false;
        }
        end += 1 + digits;
    }
    match &bytes[end..] {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', tens, ones, ..] => {
            bytes.len() == end + 6 && has_form(end + 1, b"00:00") && (*tens, *ones) < (b'2', b'4')
        }
        _ => false,
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instant =
            jiff::Timestamp::from_millisecond(self.0).expect("the range is within jiff's");
        if self.0 % 1000 == 0 {
            write!(f, "{instant:.0}")
        } else {
            write!(f, "{instant:.3}")
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_http_dates_at_both_ends_of_range() {
        let written = |text: &str| Timestamp::parse(text).expect("good").http_date();
        assert_eq!(
            written("2026-01-31T18:30:00.999Z"),
            "Sat, 31 Jan 2026 18:30:00 GMT"
        );
        assert_eq!(
            Timestamp::from_millis_clamped(i64::MIN).http_date(),
            "Mon, 01 Jan 0001 00:00:00 GMT"
        );
        assert_eq!(
            Timestamp::from_millis_clamped(i64::MAX).http_date(),
            "Thu, 30 Dec 9999 22:00:00 GMT"
        );
    }

    #[test]
    fn parses_offsets_and_prints_utc() {
        let instant = Timestamp::parse("2021-01-01T01:00:00+01:00").expect("good");
        assert_eq!(instant.to_string(), "2021-01-01T00:00:00Z");
        assert_eq!(
            (instant.year(), instant.date()),
            (2021, "2021-01-01".to_owned())
        );
        for same in [
            "2021-01-01t00:00:00z",
            "2020-12-31T23:00:00.000-01:00",
            "2021-01-01T00:00:00.0000Z",
        ] {
            assert_eq!(Timestamp::parse(same), Ok(instant), "{same}");
        }
        assert_eq!(
            instant.plus_millis(1).to_string(),
            "2021-01-01T00:00:00.001Z"
        );
    }

    /// A clock may show anything; an instant that cannot be printed would be a panic.
    #[test]
    fn prints_both_ends_of_range() {
        let (first, last) = (
            Timestamp::from_millis_clamped(i64::MIN),
            Timestamp::from_millis_clamped(i64::MAX),
        );
        assert_eq!(first.to_string(), "0001-01-01T00:00:00Z");
        assert_eq!(last.to_string(), "9999-12-30T22:00:00Z");
        assert_eq!((last.year(), last.date()), (9999, "9999-12-30".to_owned()));
        assert_eq!(Timestamp::parse(&last.to_string()), Ok(last));
        assert!(Timestamp::from_millis(last.as_millis() + 1).is_err());
    }

    #[test]
    fn rejects_other_forms_than_rfc_3339() {
        for text in [
            "",
            "2021-01-01",
            "2021-01-01T00:00:00",
            "yesterday",
            "2021-13-01T00:00:00Z",
            "99999-01-01T00:00:00Z",
            "20210101T000000Z",
            "2021-01-01T00Z",
            "2021-01-01T00:00:00,5Z",
            "2021-01-01T00:00:00.Z",
            "2021-01-01T00:00:00+25:00",
            "2021-01-01T00:00:00+01",
            "2021-01-01T00:00:00Z[Europe/Berlin]",
            "2021-01-01T00:00:00+01:00[UTC]",
            "2021-01-01 00:00:00Z",
            "２021-01-01T00:00:00Z",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text:?}");
        }
        assert!(Timestamp::from_millis(i64::MAX).is_err());
    }
}
