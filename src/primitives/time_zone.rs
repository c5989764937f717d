//! The time zone of a shop. It decides to which calendar day and year an instant belongs.

use std::fmt;
use std::sync::LazyLock;

use jiff::civil::Date;
use jiff::tz::TimeZoneDatabase;

use super::timestamp::TimestampError;
use super::{Day, Timestamp};

/// Keeps each zone that was used.
static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A zone of the IANA time zone database. The database is part of the program, so that a zone means
/// the same on every machine.
#[derive(Clone, PartialEq, Eq)]
pub struct TimeZone(jiff::tz::TimeZone);

/// The text names no zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a time zone; write its IANA name, such as Europe/Berlin or UTC")]
pub struct TimeZoneError;

impl TimeZone {
    /// The zone of a new shop.
    pub fn utc() -> Self {
        Self(jiff::tz::TimeZone::UTC)
    }

    /// Parses an IANA name, whatever its case. Former names of renamed zones stay valid
    /// (`Europe/Kiev`), and keep their name.
    pub fn parse(name: &str) -> Result<Self, TimeZoneError> {
        let zone = DATABASE.get(name);
        zone.map(Self).map_err(|_| TimeZoneError)
    }

    /// The IANA name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The year of an instant, by the Gregorian calendar.
    pub fn year_of(&self, at: Timestamp) -> i16 {
        self.date(at).year()
    }

    /// The day of an instant.
    pub fn day_of(&self, at: Timestamp) -> Day {
        Day::from(self.date(at))
    }

    /// The first instant of a day. Where the clocks were set forward at midnight, that is the first
    /// instant after the gap.
    pub fn start_of(&self, day: Day) -> Timestamp {
        let start = self.0.to_timestamp(Date::from(day).at(0, 0, 0, 0));
        start.map_or_else(
            // Only the last day of the year 9999 has no instant in every zone.
            |_| Timestamp::from_millis_clamped(i64::MAX),
            |start| Timestamp::from_millis_clamped(start.as_millisecond()),
        )
    }

    fn date(&self, at: Timestamp) -> Date {
        let instant = jiff::Timestamp::from_millisecond(at.as_millis());
        self.0
            .to_datetime(instant.expect("the range is within jiff's"))
            .date()
    }
}

/// A point of a calendar: an instant, or a day that begins and ends in the zone of a shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DayOrInstant {
    Day(Day),
    Instant(Timestamp),
}

impl DayOrInstant {
    /// Parses `2026-01-31` or RFC 3339.
    ///
    /// # Errors
    /// That of an instant, which says how to write one.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        match Day::parse(text) {
            Ok(day) => Ok(Self::Day(day)),
            Err(_) => Timestamp::parse(text).map(Self::Instant),
        }
    }

    /// The instant, or the first one of the day.
    pub fn start(self, zone: &TimeZone) -> Timestamp {
        match self {
            Self::Day(day) => zone.start_of(day),
            Self::Instant(instant) => instant,
        }
    }

    /// Whether a period from here to `end` would end before it begins.
    pub fn is_after(self, end: Self, zone: &TimeZone) -> bool {
        match (self, end) {
            (Self::Day(first), Self::Day(last)) => first > last,
            (first, last) => first.start(zone) > last.end(zone),
        }
    }

    /// The instant, or the end of the day: the first instant after it.
    pub fn end(self, zone: &TimeZone) -> Timestamp {
        match self {
            Self::Day(day) => zone.start_of(day.next()),
            Self::Instant(instant) => instant,
        }
    }
}

impl std::str::FromStr for TimeZone {
    type Err = TimeZoneError;

    fn from_str(name: &str) -> Result<Self, TimeZoneError> {
        Self::parse(name)
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name())
    }
}

impl serde::Serialize for TimeZone {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("an instant")
    }

    #[test]
    fn decides_day_and_year_of_instant() {
        let kiritimati = TimeZone::parse("Pacific/Kiritimati").expect("a zone");
        let new_year = at("2025-12-31T10:00:00Z");
        assert_eq!(kiritimati.year_of(new_year), 2026);
        assert_eq!(kiritimati.day_of(new_year).to_string(), "2026-01-01");
        assert_eq!(TimeZone::utc().year_of(new_year), 2025);
    }

    #[test]
    fn finds_start_of_days_with_changed_clocks() {
        let start = |zone: &str, day: &str| {
            let zone = TimeZone::parse(zone).expect("a zone");
            zone.start_of(Day::parse(day).expect("a day")).to_string()
        };
        assert_eq!(start("Europe/Berlin", "2026-07-01"), "2026-06-30T22:00:00Z");
        assert_eq!(start("Europe/Berlin", "2026-12-01"), "2026-11-30T23:00:00Z");
        // The clocks were set from 00:00 to 01:00.
        assert_eq!(
            start("America/Sao_Paulo", "2018-11-04"),
            "2018-11-04T03:00:00Z"
        );
        assert!(start("Pacific/Kiritimati", "0001-01-01").starts_with("0001-01-01"));
        assert!(start("America/Los_Angeles", "9999-12-31").starts_with("9999-12-30T22"));
    }

    #[test]
    fn ends_day_where_next_one_starts() {
        let berlin = TimeZone::parse("Europe/Berlin").expect("a zone");
        let day = DayOrInstant::parse("2026-03-29").expect("a day");
        assert_eq!(day.start(&berlin).to_string(), "2026-03-28T23:00:00Z");
        assert_eq!(
            day.end(&berlin).to_string(),
            "2026-03-29T22:00:00Z",
            "23 hours long"
        );
        let instant = DayOrInstant::parse("2026-03-29T00:00:00Z").expect("an instant");
        assert_eq!(instant.start(&berlin), instant.end(&berlin));
        assert!(DayOrInstant::parse("2026-02-30").is_err());
        let noon = DayOrInstant::parse("2026-03-29T12:00:00Z").expect("an instant");
        let before = DayOrInstant::parse("2026-03-28").expect("a day");
        assert!(!noon.is_after(day, &berlin), "the day ends after its noon");
        assert!(noon.is_after(before, &berlin) && day.is_after(before, &berlin));
        assert!(!before.is_after(day, &berlin) && !day.is_after(day, &berlin));
        let last = DayOrInstant::parse("9999-12-31").expect("a day");
        assert!(last.start(&berlin) <= last.end(&berlin));
    }

    #[test]
    fn accepts_renamed_zones_and_rejects_unknown_ones() {
        for name in ["Europe/Kiev", "europe/berlin", "UTC", "Asia/Calcutta"] {
            assert!(TimeZone::parse(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "Berlin",
            "Europe/Atlantis",
            "+01:00",
            "CET-1CEST",
            "../etc/passwd",
        ] {
            assert_eq!(TimeZone::parse(name), Err(TimeZoneError), "{name}");
        }
        assert_eq!(TimeZone::utc().name(), "UTC");
    }
}
