//! Which routes are limited, as one table of path patterns: a route that has such a path gets its
//! limiter without anybody remembering it.

use crate::config::{Rate, RateLimits};

/// A group of routes that share a rate; each caller has a bucket in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Policy {
    /// Notices from payment services.
    Webhook,
    /// Attempts to log in or to sign up.
    Login,
    /// Checkouts.
    Checkout,
    /// Payments.
    Payment,
    /// Sales and what tills send.
    Sales,
}

/// Where in a path a group's word stands; `/v1` comes before all of them.
enum Place {
    /// The first part.
    First,
    /// Any part.
    Any,
    /// The last part.
    Last,
}

/// The first pattern that fits decides: a notice about payments is a notice, a till's login is a
/// login.
const GROUPS: &[(Place, &str, Policy)] = &[
    (Place::Any, "webhook", Policy::Webhook),
    (Place::Any, "webhooks", Policy::Webhook),
    (Place::Last, "login", Policy::Login),
    (Place::Last, "register", Policy::Login),
    (Place::First, "checkout", Policy::Checkout),
    (Place::First, "payments", Policy::Payment),
    (Place::First, "sales", Policy::Sales),
    (Place::First, "pos", Policy::Sales),
];

impl Policy {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Webhook,
        Self::Login,
        Self::Checkout,
        Self::Payment,
        Self::Sales,
    ];

    /// Its name: in the configuration, in the headers, in the figures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Login => "login",
            Self::Checkout => "checkout",
            Self::Payment => "payment",
            Self::Sales => "sales",
        }
    }

    /// The group of a route, by its path as the router knows it.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let parts = path.strip_prefix("/v1/")?.split('/');
        let found = GROUPS.iter().find(|(place, word, _)| match place {
            Place::First => parts.clone().next() == Some(*word),
            Place::Any => parts.clone().any(|part| part == *word),
            Place::Last => parts.clone().next_back() == Some(*word),
        });
        found.map(|(_, _, policy)| *policy)
    }

    /// Whether a caller is its address even when it shows a key: where a key is what is being
    /// guessed, or where nobody has one.
    #[must_use]
    pub const fn is_by_address(self) -> bool {
        matches!(self, Self::Webhook | Self::Login)
    }

    /// The paths of its routes, as patterns: `**` stands for any number of parts, none too. A path
    /// that fits two groups is in the one that comes first in [`ALL`](Self::ALL).
    pub fn patterns(self) -> impl Iterator<Item = String> {
        GROUPS
            .iter()
            .filter(move |(_, _, policy)| *policy == self)
            .map(|(place, word, _)| match place {
                Place::First => format!("/v1/{word}/**"),
                Place::Any => format!("/v1/**/{word}/**"),
                Place::Last => format!("/v1/**/{word}"),
            })
    }

    /// What the configuration lets one caller ask.
    #[must_use]
    pub const fn rate(self, rates: &RateLimits) -> Rate {
        match self {
            Self::Webhook => rates.webhook,
            Self::Login => rates.login,
            Self::Checkout => rates.checkout,
            Self::Payment => rates.payment,
            Self::Sales => rates.sales,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patterns_that_are_shown_are_those_that_decide() {
        for (number, policy) in Policy::ALL.into_iter().enumerate() {
            let patterns: Vec<String> = policy.patterns().collect();
            assert!(!patterns.is_empty(), "{policy:?}");
            for pattern in patterns {
                assert_eq!(
                    Policy::of_path(&pattern.replace("/**", "")),
                    Some(policy),
                    "{pattern}"
                );
                if pattern.ends_with("/**") {
                    assert_eq!(
                        Policy::of_path(&pattern.replace("**", "x")),
                        Some(policy),
                        "{pattern}"
                    );
                }
            }
            let place = GROUPS.iter().position(|(_, _, of)| *of == policy).unwrap();
            let earlier = GROUPS[..place]
                .iter()
                .all(|(_, _, of)| Policy::ALL[..number].contains(of));
            assert!(earlier, "{policy:?} is not where it decides");
        }
    }

    #[test]
    fn paths_have_the_group_that_their_words_say() {
        for (path, policy) in [
            ("/v1/checkout", Some(Policy::Checkout)),
            ("/v1/checkout/confirm-payment", Some(Policy::Checkout)),
            ("/v1/payments/{id}/refund", Some(Policy::Payment)),
            ("/v1/payments/webhook", Some(Policy::Webhook)),
            ("/v1/landlord/billing/webhook", Some(Policy::Webhook)),
            ("/v1/webhooks/stripe/{account}", Some(Policy::Webhook)),
            ("/v1/sales", Some(Policy::Sales)),
            ("/v1/pos/sync", Some(Policy::Sales)),
            ("/v1/pos/registers", Some(Policy::Sales)),
            ("/v1/customer/login", Some(Policy::Login)),
            ("/v1/customer/register", Some(Policy::Login)),
            ("/v1/landlord/login", Some(Policy::Login)),
            ("/v1/checkouts", None),
            ("/v1/webhook-endpoints", None),
            ("/v1/landlord/billing/checkout", None),
            ("/v1/customer/logout", None),
            ("/v1/admin/sales", None),
            ("/health", None),
            ("/checkout", None),
        ] {
            assert_eq!(Policy::of_path(path), policy, "{path}");
        }
    }
}
