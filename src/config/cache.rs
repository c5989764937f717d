//! `[cache]`: lifetimes of cached data. A change in this process invalidates an entry at once.
//! Amounts of money are never cached.

use super::error::Faults;
use super::units::Span;
use serde::{Deserialize, Serialize};

/// Lifetimes of cached data.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Published exchange rates.
    pub rate_ttl: Span,
    /// The currencies that a shop sells in.
    pub settings_ttl: Span,
    /// The features of plans. Accepted so that a file with this key stays valid; plans do not exist
    /// yet, so the value has no effect.
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
