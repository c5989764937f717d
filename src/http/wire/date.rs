//! The `Date` header, by the clock that all of the process looks at.
//!
//! hyper has one of its own, made anew when a second has gone by since the last: after the
//! machine's clock was set back it would name the same instant until the clock has come there
//! again.

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;

use crate::primitives::{Clock, Timestamp};

/// Tells the date, written once a second.
pub struct Dates {
    clock: Arc<dyn Clock>,
    /// The second, counted from 1970, and its text.
    last: Mutex<(i64, HeaderValue)>,
}

impl Dates {
    /// By this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let last = Mutex::new(written(clock.now()));
        Self { clock, last }
    }

    /// The present instant as HTTP writes it.
    pub fn header(&self) -> HeaderValue {
        let now = self.clock.now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Any other second, also an earlier one.
        if last.0 != second(now) {
            *last = written(now);
        }
        last.1.clone()
    }
}

const fn second(now: Timestamp) -> i64 {
    now.as_millis().div_euclid(1000)
}

fn written(now: Timestamp) -> (i64, HeaderValue) {
    let text =
        HeaderValue::try_from(now.http_date()).expect("a date is letters, digits and spaces");
    (second(now), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::ManualClock;
    use std::time::Duration;

    #[test]
    fn the_date_follows_the_clock_forward_and_back() {
        let start = Timestamp::parse("2026-01-15T10:00:00.999Z").unwrap();
        let clock = Arc::new(ManualClock::new(start));
        let dates = Dates::new(clock.clone());
        assert_eq!(dates.header(), "Thu, 15 Jan 2026 10:00:00 GMT");
        clock.advance(Duration::from_millis(1));
        assert_eq!(dates.header(), "Thu, 15 Jan 2026 10:00:01 GMT");
        clock.set(start.plus_millis(-400 * 86_400_000));
        assert_eq!(dates.header(), "Wed, 11 Dec 2024 10:00:00 GMT");
        clock.advance(Duration::from_secs(1));
        assert_eq!(dates.header(), "Wed, 11 Dec 2024 10:00:01 GMT");
    }
}
