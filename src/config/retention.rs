//! `[retention]`: how long traces are kept, and when the house is swept.
//!
//! Books are not in it: orders, payments, invoices and the ledger are never pruned.

use super::error::Faults;
use crate::primitives::Recurrence;
use crate::primitives::limits::RETENTION_REST_MS;
use serde::{Deserialize, Serialize};

/// The longest time that can be asked for, in days: a hundred years. Longer is a slip, and shorter
/// than a day would prune what is still looked at.
const DAYS_MAX: i64 = 36_525;

/// How long traces are kept, and when the house is swept.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Days that an entry of an audit log is kept.
    pub audit_days: i64,
    /// Days that a movement of stock is kept; what there was of each product before stays known.
    pub inventory_movement_days: i64,
    /// Days that an untouched cart is kept that was made without an API key and holds nothing.
    pub empty_cart_days: i64,
    /// Days that an untouched cart is kept that was made without an API key and holds something.
    /// Other carts are kept for 90 days.
    pub anonymous_cart_days: i64,
    /// Days that an event from Stripe is kept, once it was dealt with.
    pub stripe_events_days: i64,
    /// When the nightly run is due: second, minute, hour, day, month, weekday.
    pub schedule: String,
    /// The time zone of all that is done by the clock on the wall.
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
        "{schedule:?} comes round more often than once an hour; give one second and one minute, \
         such as \"0 0 2 * * *\" for each day at two"
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

    /// When the nightly run is due.
    pub fn recurrence(&self) -> Recurrence {
        self.at(&self.schedule)
    }

    /// A schedule of the program's own, in the operator's time zone.
    pub fn at(&self, schedule: &str) -> Recurrence {
        Recurrence::parse(schedule, &self.timezone).expect("the configuration was validated")
    }
}
