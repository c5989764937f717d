//! Which requests are limited: named groups of routes, as one table of path patterns, and beside
//! them every request without a good key. A new route gets its limiter without anybody remembering
//! it.

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
    /// Writes without a good key, where no other group fits.
    Storefront,
    /// Reads without a good key, where no other group fits.
    StorefrontRead,
    /// Writes without a good key to one shop, of all addresses together.
    StorefrontTenant,
    /// Keys that are unknown, revoked or malformed, wherever they are shown.
    BadKeys,
}

/// Paths that monitors and orchestrators ask, without any limit: a probe that is refused in a flood
/// has a working daemon restarted. They look at memory alone, but for one write a second
/// (`http/health.rs`).
const PROBES: [&str; 3] = ["/health", "/health/live", "/health/ready"];

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
    pub const ALL: [Self; 9] = [
        Self::Webhook,
        Self::Login,
        Self::Checkout,
        Self::Payment,
        Self::Sales,
        Self::Storefront,
        Self::StorefrontRead,
        Self::StorefrontTenant,
        Self::BadKeys,
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
            Self::Storefront => "storefront",
            Self::StorefrontRead => "storefront_read",
            Self::StorefrontTenant => "storefront_tenant",
            Self::BadKeys => "bad_keys",
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

    /// Whether a path, as the router knows it, is one that health is asked at.
    #[must_use]
    pub fn is_probe(path: &str) -> bool {
        PROBES.contains(&path)
    }

    /// Whether a path answers everybody alike, whatever key is shown: there nobody can guess one.
    #[must_use]
    pub fn is_blind(path: &str) -> bool {
        matches!(path, "/health/live" | "/health/ready")
    }

    /// The group of a request without a good key: that of its route, or else the storefront's.
    /// `path` is the route as the router knows it, `None` where there is no such route. Only probes
    /// have none.
    #[must_use]
    pub fn of_keyless(path: Option<&str>, is_read: bool) -> Option<Self> {
        if path.is_some_and(Self::is_probe) {
            return None;
        }
        let storefront = match is_read {
            true => Self::StorefrontRead,
            false => Self::Storefront,
        };
        path.and_then(Self::of_path).or(Some(storefront))
    }

    /// Whether a caller is its address even when it shows a key: where a key is what is being
    /// guessed, or where nobody has one.
    #[must_use]
    pub const fn is_by_address(self) -> bool {
        matches!(self, Self::Webhook | Self::Login)
    }

    /// The requests that it limits, for a person.
    #[must_use]
    pub fn scope(self) -> String {
        match self {
            Self::Storefront => "every other write without a good key".to_owned(),
            Self::StorefrontRead => {
                format!(
                    "every other read without a good key, but {}",
                    PROBES.join(" ")
                )
            }
            Self::StorefrontTenant => "writes without a good key, checkouts included".to_owned(),
            Self::BadKeys => "requests with a key that is not a good one".to_owned(),
            named => named.patterns().collect::<Vec<_>>().join(" "),
        }
    }

    /// The caller whose requests are counted together, for a person.
    #[must_use]
    pub const fn counted_by(self) -> &'static str {
        match self {
            Self::Checkout | Self::Payment | Self::Sales => "API key, or address without one",
            Self::StorefrontTenant => "shop, all addresses together",
            _ => "address",
        }
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
            Self::Storefront => rates.storefront,
            Self::StorefrontRead => rates.storefront_read,
            Self::StorefrontTenant => rates.storefront_tenant,
            Self::BadKeys => rates.bad_keys,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patterns_that_are_shown_are_those_that_decide() {
        for (number, policy) in Policy::ALL.into_iter().enumerate() {
            assert!(!policy.scope().is_empty(), "{policy:?}");
            let patterns: Vec<String> = policy.patterns().collect();
            if patterns.is_empty() {
                continue;
            }
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

    #[test]
    fn limits_every_keyless_path_but_the_probes() {
        let of = |path, is_read| Policy::of_keyless(Some(path), is_read);
        for is_read in [true, false] {
            for probe in ["/health", "/health/live", "/health/ready"] {
                assert_eq!(of(probe, is_read), None, "{probe}");
            }
            assert_eq!(of("/v1/checkout", is_read), Some(Policy::Checkout));
        }
        assert_eq!(of("/v1/carts", false), Some(Policy::Storefront));
        assert_eq!(of("/v1/carts/{id}", true), Some(Policy::StorefrontRead));
        assert_eq!(of("/metrics", true), Some(Policy::StorefrontRead));
        assert_eq!(of("/health/more", true), Some(Policy::StorefrontRead));
        assert_eq!(Policy::of_keyless(None, false), Some(Policy::Storefront));
        assert_eq!(Policy::of_keyless(None, true), Some(Policy::StorefrontRead));
    }
}
