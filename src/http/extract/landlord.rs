//! The house: calls about tenants, for a landlord key or for whoever runs the machine.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::caller::{Local, principal, request_id};
use crate::app::App;
use crate::http::problem::Problem;
use crate::primitives::{Actor, Class, Origin};
use crate::tenancy::Scope;

/// The house, and who asks.
pub struct Landlord {
    /// The process.
    pub app: Arc<App>,
    /// Who asks.
    pub origin: Origin,
}

impl Landlord {
    /// Runs what blocks (a file made, removed, opened) on a thread that may.
    ///
    /// # Errors
    /// What `f` refuses, as a problem.
    pub async fn blocking<R, F>(self, f: F) -> Result<R, Problem>
    where
        F: FnOnce(&Self) -> Result<R, Problem> + Send + 'static,
        R: Send + 'static,
    {
        let fault = |_| {
            Problem::new(
                Class::Internal,
                "internal_error",
                "the call was broken off by an internal fault",
            )
        };
        // What it logs is of this request.
        let span = tracing::Span::current();
        let run = move || span.in_scope(|| f(&self));
        tokio::task::spawn_blocking(run).await.map_err(fault)?
    }
}

impl FromRequestParts<Arc<App>> for Landlord {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let request_id = request_id(parts);
        if parts.extensions.get::<Local>().is_some() {
            return Ok(Self {
                app: app.clone(),
                origin: Origin {
                    actor: Actor::Operator,
                    request_id,
                },
            });
        }
        match principal(parts, app).await? {
            Some(principal)
                if principal.access.is_none() && principal.scopes.contains(Scope::Landlord) =>
            {
                Ok(Self {
                    app: app.clone(),
                    origin: Origin {
                        actor: Actor::ApiKey(principal.key_id),
                        request_id,
                    },
                })
            }
            Some(_) => Err(Problem::new(
                Class::Forbidden,
                "insufficient_scope",
                "this call needs a landlord key",
            )),
            None => Err(Problem::new(
                Class::Unauthenticated,
                "unauthenticated",
                "this call needs a landlord key: Authorization: Bearer KEY",
            )),
        }
    }
}
