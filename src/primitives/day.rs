//! A day of the calendar, without a clock or a zone: the day of a published rate.

use std::fmt;

use super::Timestamp;

/// A day between the years 0001 and 9999, written `2026-01-31`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(jiff::civil::Date);

/// A text that is no day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a day of the calendar; write it as 2026-01-31")]
pub struct DayError;

impl Day {
    /// Reads `2026-01-31`, and no other form.
    ///
    /// # Errors
    /// [`DayError`].
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

    /// The day in UTC of an instant.
    pub fn of(at: Timestamp) -> Self {
        Self::parse(&at.date()).expect("an instant's day is one")
    }

    /// How many days `later` is after this one; negative when it is before.
    pub fn days_until(self, later: Self) -> i32 {
        let span = self
            .0
            .until(later.0)
            .expect("days of four-digit years are within reach");
        span.get_days()
    }

    /// Its first instant, in UTC.
    pub fn start(self) -> Timestamp {
        Timestamp::parse(&format!("{self}T00:00:00Z"))
            .unwrap_or_else(|_| Timestamp::from_millis_clamped(i64::MAX))
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
    fn days_are_read_in_one_form() {
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
    fn days_are_counted_over_months_and_years() {
        let day = |text| Day::parse(text).expect(text);
        assert_eq!(day("2023-12-31").days_until(day("2024-03-01")), 61);
        assert_eq!(day("2024-03-01").days_until(day("2024-02-29")), -1);
    }
}
