//! Policies: which requests are limited. Named groups of routes, as one table of path patterns, and
//! besides every request without a valid key. A new route that matches a pattern is limited without
//! further code.

use crate::config::{Rate, RateLimits};

/// A group of routes that share a rate; each caller has a bucket in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Policy {
    /// Notifications from payment services.
    Webhook,
    /// Attempts to log in or to sign up.
    Login,
    Checkout,
    Payment,
    /// Sales and other requests of tills.
    Sales,
    /// Writes without a valid key that no other group covers.
    Storefront,
    /// Reads without a valid key that no other group covers.
    StorefrontRead,
    /// Writes without a valid key to one shop, of all addresses together.
    StorefrontTenant,
    /// Requests with a key that is unknown, revoked or malformed, on any route.
    BadKeys,
}

/// Paths of monitors and orchestrators, without any limit: a probe that is refused in a flood would
/// cause a restart of a working daemon. They read only memory, except for one write a second
/// (`http/health.rs`).
const PROBES: [&str; 3] = ["/health", "/health/live", "/health/ready"];

/// The position of a group's word in a path, after `/v1`.
enum WordPosition {
    First,
    Any,
    Last,
}

/// The groups; the first pattern that matches decides: a webhook of payments is a webhook, a till's
/// login is a login.
const GROUPS: &[(WordPosition, &str, Policy)] = &[
    (WordPosition::Any, "webhook", Policy::Webhook),
    (WordPosition::Any, "webhooks", Policy::Webhook),
    (WordPosition::Last, "login", Policy::Login),
    (WordPosition::Last, "register", Policy::Login),
    (WordPosition::First, "checkout", Policy::Checkout),
    (WordPosition::First, "payments", Policy::Payment),
    (WordPosition::First, "sales", Policy::Sales),
    (WordPosition::First, "pos", Policy::Sales),
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

    /// The name in the configuration, the headers and the metrics.
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

    /// The policy of a route, by the path pattern of the router.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let parts = path.strip_prefix("/v1/")?.split('/');
        let found = GROUPS.iter().find(|(position, word, _)| match position {
            WordPosition::First => parts.clone().next() == Some(*word),
            WordPosition::Any => parts.clone().any(|part| part == *word),
            WordPosition::Last => parts.clone().next_back() == Some(*word),
        });
        found.map(|(_, _, policy)| *policy)
    }

    /// Whether a path pattern of the router is a health probe.
    #[must_use]
    pub fn is_probe(path: &str) -> bool {
        PROBES.contains(&path)
    }

    /// Whether a path responds equally to any key, so that keys cannot be guessed there.
    #[must_use]
    pub fn is_blind(path: &str) -> bool {
        matches!(path, "/health/live" | "/health/ready")
    }

    /// The policy of a request without a valid key: that of its route, or else the storefront's.
    /// `path` is the path pattern of the router, `None` when no route matches. Only probes have no
    /// policy.
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

    /// Whether callers are counted by address even with a key: where credentials are guessed, or
    /// where callers have no key.
    #[must_use]
    pub const fn is_by_address(self) -> bool {
        matches!(self, Self::Webhook | Self::Login)
    }

    /// The limited requests, for an operator to read.
    #[must_use]
    pub fn scope(self) -> String {
        match self {
            Self::Storefront => "every other write without a valid key".to_owned(),
            Self::StorefrontRead => {
                format!(
                    "every other read without a valid key, except {}",
                    PROBES.join(" ")
                )
            }
            Self::StorefrontTenant => "writes without a valid key, checkouts included".to_owned(),
            Self::BadKeys => "requests with an invalid key".to_owned(),
            named => named.patterns().collect::<Vec<_>>().join(" "),
        }
    }

    /// The unit by which requests are counted, for an operator to read.
    #[must_use]
    pub const fn counted_by(self) -> &'static str {
        match self {
            Self::Checkout | Self::Payment | Self::Sales => "API key, or address without one",
            Self::StorefrontTenant => "shop, all addresses together",
            _ => "address",
        }
    }

    /// The path patterns of the routes: `**` stands for any number of parts, also none. A path that
    /// matches two policies belongs to the first in [`ALL`](Self::ALL).
    pub fn patterns(self) -> impl Iterator<Item = String> {
        GROUPS
            .iter()
            .filter(move |(_, _, policy)| *policy == self)
            .map(|(position, word, _)| match position {
                WordPosition::First => format!("/v1/{word}/**"),
                WordPosition::Any => format!("/v1/**/{word}/**"),
                WordPosition::Last => format!("/v1/**/{word}"),
            })
    }

    /// The configured rate of one caller.
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
    fn matches_routes_by_displayed_patterns() {
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
            let position = GROUPS.iter().position(|(_, _, of)| *of == policy).unwrap();
            let earlier = GROUPS[..position]
                .iter()
                .all(|(_, _, of)| Policy::ALL[..number].contains(of));
            assert!(earlier, "{policy:?} is not in the order of the table");
        }
    }

    #[test]
    fn selects_policy_by_words_of_path() {
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
    fn limits_every_keyless_path_except_probes() {
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
