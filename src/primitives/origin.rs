//! The actor and the request of a transaction, recorded in its audit entry and its log lines.

use super::id::ApiKeyId;

/// The actor of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A program or person with an API key, of the tenant or of the landlord.
    ApiKey(ApiKeyId),
    /// A storefront visitor without a key.
    Storefront,
    /// The person who runs the instance, over the command line.
    Operator,
    /// The daemon itself (a job, a sweep).
    System,
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ApiKey(id) => write!(f, "api_key:{id}"),
            Self::Storefront => f.write_str("storefront"),
            Self::Operator => f.write_str("operator"),
            Self::System => f.write_str("system"),
        }
    }
}

/// The cause of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub actor: Actor,
    /// The request id, as in the answer's `X-Request-Id`.
    pub request_id: Option<String>,
}

impl Origin {
    pub const fn system() -> Self {
        Self {
            actor: Actor::System,
            request_id: None,
        }
    }

    pub const fn operator() -> Self {
        Self {
            actor: Actor::Operator,
            request_id: None,
        }
    }
}
