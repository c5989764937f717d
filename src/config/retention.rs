//! `[retention]`: how long records are kept, and when the nightly run prunes them.
//!
//! Orders, payments, invoices and the ledger are never pruned.

use super::error::Faults;
use crate::primitives::Recurrence;
use crate::primitives::limits::RETENTION_REST_MS;
use serde::{Deserialize, Serialize};

/// The longest retention in days: a hundred years; more is a mistake. The shortest is a day,
/// because newer records are still in use.
const DAYS_MAX: i64 = 36_525;

/// Retention times and the schedule of the nightly run.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Days to keep entries of an audit log.
    pub audit_days: i64,
    /// Days to keep stock movements; the stock of each product before them stays known.
    pub inventory_movement_days: i64,
    /// Days to keep an untouched empty cart that was created without an API key.
    pub empty_cart_days: i64,
    /// Days to keep an untouched cart with items that was created without an API key. Other carts
    /// are kept for 90 days.
    pub anonymous_cart_days: i64,
    /// Days to keep a processed event from Stripe.
    pub stripe_events_days: i64,
    /// The schedule of the nightly run: second, minute, hour, day, month, weekday.
    pub schedule: String,
    /// The time zone of all schedules.
    pub timezone: String,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            audit_days: 365,
            inventory_movement_days: 365,
            empty_cart_days: 1,
            anonymous_cart_days: 7,
            stripe_events_days: 90,
            schedule: "0 0 2 * * *".to_owned(),
            timezone: "UTC".to_owned(),
        }
    }
}

fn too_often(schedule: &str) -> String {
    format!(
        "{schedule:?} is due more often than once an hour; write one second and one minute, such \
         as \"0 0 2 * * *\" for each day at two"
    )
}

impl Retention {
    pub(super) fn check(&self, faults: &mut Faults) {
        faults.within("retention.audit_days", self.audit_days, 1..=DAYS_MAX);
        faults.within(
            "retention.inventory_movement_days",
            self.inventory_movement_days,
            1..=DAYS_MAX,
        );
        let (empty, anonymous) = (self.empty_cart_days, self.anonymous_cart_days);
        faults.within("retention.empty_cart_days", empty, 1..=90);
        faults.within("retention.anonymous_cart_days", anonymous, 1..=90);
        faults.within(
            "retention.stripe_events_days",
            self.stripe_events_days,
            1..=DAYS_MAX,
        );
        match Recurrence::parse(&self.schedule, "UTC") {
            Err(error) => faults.add("retention.schedule", error),
            Ok(often) if often.recurs_within(RETENTION_REST_MS) => {
                faults.add("retention.schedule", too_often(&self.schedule))
            }
            Ok(_) => {}
        }
        if let Err(error) = Recurrence::check_zone(&self.timezone) {
            faults.add("retention.timezone", error);
        }
    }

    /// The schedule of the nightly run.
    pub fn recurrence(&self) -> Recurrence {
        self.at(&self.schedule)
    }

    /// A built-in schedule in the operator's time zone.
    pub fn at(&self, schedule: &str) -> Recurrence {
        Recurrence::parse(schedule, &self.timezone).expect("the configuration was validated")
    }
}
