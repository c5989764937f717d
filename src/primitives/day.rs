//! A calendar day without time or zone: the day of a published rate.

use std::fmt;

use super::Timestamp;

/// A day between the years 0001 and 9999, written `2026-01-31`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(jiff::civil::Date);

/// The text is not a calendar day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a day of the calendar; write it as 2026-01-31")]
pub struct DayError;

impl Day {
    /// Parses `2026-01-31`, and no other form.
    pub fn parse(text: &str) -> Result<Self, DayError> {
        let has_form = |(index, byte): (usize, u8)| {
            if matches!(index, 4 | 7) {
                byte == b'-'
            } else {
                byte.is_ascii_digit()
            }
        };
        if text.len() != 10 || !text.bytes().enumerate().all(has_form) || text.starts_with("0000") {
            return Err(DayError);
        }
        text.parse().map(Self).map_err(|_| DayError)
    }

    /// The UTC day of an instant.
    pub fn of(at: Timestamp) -> Self {
        Self::parse(&at.date()).expect("an instant has a day")
    }

    /// The number of days from this day to `later`; negative when `later` is earlier.
    pub fn days_until(self, later: Self) -> i32 {
        let span = self
            .0
            .until(later.0)
            .expect("the span of four-digit years is in range");
        span.get_days()
    }

    /// The following day; the last day of the year 9999 is followed by itself.
    pub fn next(self) -> Self {
        self.0.tomorrow().map_or(self, Self)
    }

    /// The first instant of the day in UTC.
    pub fn start(self) -> Timestamp {
        Timestamp::parse(&format!("{self}T00:00:00Z"))
            .unwrap_or_else(|_| Timestamp::from_millis_clamped(i64::MAX))
    }
}

impl From<jiff::civil::Date> for Day {
    fn from(date: jiff::civil::Date) -> Self {
        Self(date)
    }
}

impl From<Day> for jiff::civil::Date {
    fn from(day: Day) -> Self {
        day.0
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Day {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_one_form_only() {
        let day = Day::parse("2024-02-29").expect("a leap day");
        assert_eq!(day.to_string(), "2024-02-29");
        assert_eq!(day.start().to_string(), "2024-02-29T00:00:00Z");
        assert_eq!(Day::of(day.start().plus_millis(86_399_999)), day);
        for text in [
            "",
            "2023-02-29",
            "2024-2-29",
            "24-02-29",
            "2024-02-29T00",
            "2024/02/29",
            "0000-01-01",
            "２０２４-02-29",
            "2024-13-01",
        ] {
            assert_eq!(Day::parse(text), Err(DayError), "{text}");
        }
    }

    #[test]
    fn counts_days_across_months_and_years() {
        let day = |text| Day::parse(text).expect(text);
        assert_eq!(day("2023-12-31").days_until(day("2024-03-01")), 61);
        assert_eq!(day("2024-03-01").days_until(day("2024-02-29")), -1);
    }
}
