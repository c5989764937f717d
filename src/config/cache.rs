//! `[cache]`: how long what was read is trusted. A change in this process ends it at once, whatever
//! stands here; money is in no cache.

use super::error::Faults;
use super::units::Span;
use serde::{Deserialize, Serialize};

/// How long what was read is trusted.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Published exchange rates.
    pub rate_ttl: Span,
    /// The currencies that a shop sells in.
    pub settings_ttl: Span,
    /// The features of plans. Taken, so that a file which names it is a good one; there are no
    /// plans yet, and nothing goes by it.
    pub feature_ttl: Span,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            rate_ttl: Span::secs(3_600),
            settings_ttl: Span::secs(300),
            feature_ttl: Span::secs(600),
        }
    }
}

impl Cache {
    pub(super) fn check(&self, faults: &mut Faults) {
        let spans = Span::millis(0)..=Span::secs(24 * 3_600);
        faults.within("cache.rate_ttl", self.rate_ttl, spans.clone());
        faults.within("cache.settings_ttl", self.settings_ttl, spans.clone());
        faults.within("cache.feature_ttl", self.feature_ttl, spans);
    }
}
