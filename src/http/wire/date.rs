//! The `Date` header, from the injected clock.
//!
//! hyper's own date changes only when a second has passed since the last: after the machine's clock
//! was set back, it would keep the same date until the clock catches up.

use std::sync::{Arc, Mutex};

use http::HeaderValue;

use crate::primitives::sync;
use crate::primitives::{Clock, Timestamp};

/// The date, formatted once a second.
pub struct Dates {
    clock: Arc<dyn Clock>,
    /// The second since 1970, and its text.
    last: Mutex<(i64, HeaderValue)>,
}

impl Dates {
    /// Creates the dates of a clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let last = Mutex::new(format_date(clock.now()));
        Self { clock, last }
    }

    /// Returns the current time as an HTTP date.
    pub fn header(&self) -> HeaderValue {
        let now = self.clock.now();
        let mut last = sync::lock(&self.last);
        // Any other second, earlier ones included.
        if last.0 != second(now) {
            *last = format_date(now);
        }
        last.1.clone()
    }
}

const fn second(now: Timestamp) -> i64 {
    now.as_millis().div_euclid(1000)
}

fn format_date(now: Timestamp) -> (i64, HeaderValue) {
    let text = HeaderValue::try_from(now.http_date()).expect("a date is valid header text");
    (second(now), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::ManualClock;
    use std::time::Duration;

    #[test]
    fn follows_clock_when_it_is_set_back() {
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
