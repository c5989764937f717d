//! Recurring times: six cron fields in a time zone, such as `0 0 2 * * *` in Europe/Berlin.
//!
//! When the clocks go forward over the time, it occurs at the first instant after the gap; when
//! they go back, it occurs the first time only. So a daily schedule occurs once on each day.

use chrono::{DateTime, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::Cron;
use croner::parser::{CronParser, Seconds};

use super::Timestamp;

/// A schedule in a time zone.
#[derive(Clone, Debug)]
pub struct Recurrence {
    cron: Cron,
    zone: Tz,
}

/// The reason why a schedule is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecurrenceError {
    #[error(
        "{0:?} is not a schedule: {1}; write second, minute, hour, day, month and weekday, such as \
         \"0 0 2 * * *\" for each day at two"
    )]
    Schedule(String, String),
    /// The schedule never occurs, like a 30th of February.
    #[error("{0:?} never occurs; write a schedule that does, such as \"0 0 2 * * *\"")]
    Never(String),
    #[error("there is no time zone {0:?}; did you mean {1}?")]
    Zone(String, &'static str),
}

/// Parses a zone name exactly as the tz database writes it.
fn zone(name: &str) -> Result<Tz, RecurrenceError> {
    name.parse().map_err(|_| {
        let likeness = |zone: &&Tz| {
            let (zone, name) = (zone.name().to_lowercase(), name.to_lowercase());
            // A city alone is as good a hint as the whole name.
            let city = zone.rsplit('/').next().unwrap_or_default();
            strsim::normalized_damerau_levenshtein(&zone, &name)
                .max(strsim::normalized_damerau_levenshtein(city, &name))
        };
        let nearest = TZ_VARIANTS
            .iter()
            .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        RecurrenceError::Zone(name.to_owned(), nearest.map_or("UTC", |zone| zone.name()))
    })
}

impl Recurrence {
    /// Validates the name of a time zone; the error suggests the nearest name.
    pub fn check_zone(name: &str) -> Result<(), RecurrenceError> {
        zone(name).map(drop)
    }

    /// Parses a schedule in a time zone.
    pub fn parse(schedule: &str, time_zone: &str) -> Result<Self, RecurrenceError> {
        let zone = zone(time_zone)?;
        let parsed = CronParser::builder()
            .seconds(Seconds::Required)
            .build()
            .parse(schedule);
        let cron = parsed
            .map_err(|error| RecurrenceError::Schedule(schedule.to_owned(), error.to_string()))?;
        let recurrence = Self { cron, zone };
        let any = Timestamp::from_millis_clamped(0);
        recurrence
            .next_after(any)
            .map(|_| recurrence.clone())
            .ok_or_else(|| RecurrenceError::Never(schedule.to_owned()))
    }

    /// Whether two occurrences are less than `ms` apart.
    pub fn recurs_within(&self, ms: i64) -> bool {
        // A schedule that recurs within an hour or a minute does so in each one in which it occurs:
        // of three consecutive times, two are in one that is seen whole.
        let first = self.next_after(Timestamp::from_millis_clamped(0));
        let next = |before: &Timestamp| self.next_after(*before);
        let times: Vec<i64> = std::iter::successors(first, next)
            .take(3)
            .map(Timestamp::as_millis)
            .collect();
        times.windows(2).any(|pair| pair[1] - pair[0] < ms)
    }

    /// The next occurrence after an instant; `None` beyond the end of all calendars.
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        // Whole seconds: croner carries the fraction along.
        let utc: DateTime<Utc> = DateTime::from_timestamp(instant.as_millis().div_euclid(1000), 0)?;
        let next = self
            .cron
            .find_next_occurrence(&utc.with_timezone(&self.zone), false)
            .ok()?;
        Timestamp::from_millis(next.timestamp_millis()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("an instant")
    }

    fn days(zone: &str, from: &str, count: usize) -> Vec<String> {
        let daily = Recurrence::parse("0 0 2 * * *", zone).expect("good");
        let mut instant = at(from);
        let next = || {
            instant = daily.next_after(instant).expect("it recurs");
            Some(instant.to_string())
        };
        std::iter::from_fn(next).take(count).collect()
    }

    /// In Berlin 02:00 does not exist on 29 March 2026 and exists twice on 25 October.
    #[test]
    fn occurs_once_on_each_day_when_clocks_change() {
        let spring = [
            "2026-03-28T01:00:00Z",
            "2026-03-29T01:00:00Z",
            "2026-03-30T00:00:00Z",
        ];
        assert_eq!(days("Europe/Berlin", "2026-03-27T12:00:00Z", 3), spring);
        let autumn = [
            "2026-10-24T00:00:00Z",
            "2026-10-25T00:00:00Z",
            "2026-10-26T01:00:00Z",
        ];
        assert_eq!(days("Europe/Berlin", "2026-10-23T12:00:00Z", 3), autumn);
        // From several instants between the two.
        for from in [
            "2026-10-25T00:00:00Z",
            "2026-10-25T00:59:59.999Z",
            "2026-10-25T01:00:03Z",
            "2026-10-25T01:59:00Z",
        ] {
            assert_eq!(
                days("Europe/Berlin", from, 1),
                ["2026-10-26T01:00:00Z"],
                "{from}"
            );
        }
        // Lord Howe Island moves by half an hour, at two.
        let days = days("Australia/Lord_Howe", "2026-04-01T00:00:00Z", 370);
        assert_eq!(
            days.len(),
            days.iter().collect::<std::collections::BTreeSet<_>>().len()
        );
        let gap = |pair: &[String]| at(&pair[1]).as_millis() - at(&pair[0]).as_millis();
        assert!(
            days.windows(2)
                .all(|pair| (82_800_000..=90_000_000).contains(&gap(pair))),
            "{days:?}"
        );
    }

    #[test]
    fn detects_recurrence_within_an_hour() {
        let recurs = |schedule: &str| {
            Recurrence::parse(schedule, "UTC")
                .expect("good")
                .recurs_within(3_600_000)
        };
        for often in [
            "* * * * * *",
            "*/30 0 2 * * *",
            "0,59 59 23 31 12 *",
            "0 * 2 * * *",
            "0 0,59 * * * *",
            "0 0,30 0 1 1 *",
            "0 0,59 0 * * *",
            "0 0,1 0 29 2 *",
        ] {
            assert!(recurs(often), "{often}");
        }
        for seldom in [
            "0 0 * * * *",
            "59 59 * * * *",
            "0 0 2 * * *",
            "0 0 2,3 * * *",
            "0 0 0 29 2 *",
            "0 0 2 * * 1#1",
        ] {
            assert!(!recurs(seldom), "{seldom}");
        }
    }

    #[test]
    fn rejects_invalid_schedules_with_reason() {
        for bad in [
            "",
            "daily",
            "0 2 * * *",
            "0 0 24 * * *",
            "0 0 2 * * * * *",
            "a b c d e f",
        ] {
            let error = Recurrence::parse(bad, "UTC").expect_err(bad);
            assert!(
                matches!(error, RecurrenceError::Schedule(..)),
                "{bad}: {error:?}"
            );
        }
        assert_eq!(
            Recurrence::parse("0 0 2 30 2 *", "UTC").map(drop),
            Err(RecurrenceError::Never("0 0 2 30 2 *".to_owned()))
        );
        for (bad, nearest) in [
            ("Europe/Berln", "Europe/Berlin"),
            ("Berlin", "Europe/Berlin"),
            ("utc", "UTC"),
            ("europe/paris", "Europe/Paris"),
        ] {
            assert_eq!(
                Recurrence::check_zone(bad),
                Err(RecurrenceError::Zone(bad.to_owned(), nearest))
            );
        }
    }
}
