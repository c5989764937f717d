//! Extractor for calls about tenants: a landlord key, or the operator.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::caller::{Local, principal, request_id};
use crate::app::App;
use crate::http::problem::Problem;
use crate::primitives::{Actor, Class, Origin};
use crate::tenancy::Scope;

/// The app and the authorized caller of a landlord call.
pub struct Landlord {
    pub app: Arc<App>,
    pub origin: Origin,
}

impl Landlord {
    /// Runs blocking work (creating, deleting or opening a file) on a blocking thread.
    ///
    /// # Errors
    /// The problem that `f` returns, or `internal_error` when it panics.
    pub async fn blocking<R, F>(self, f: F) -> Result<R, Problem>
    where
        F: FnOnce(&Self) -> Result<R, Problem> + Send + 'static,
        R: Send + 'static,
    {
        let fault = |_| {
            Problem::new(
                Class::Internal,
                "internal_error",
                "internal error; the log has the cause under this request_id",
            )
        };
        // Its log lines belong to this request.
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
        match principal(parts, &app.stores, &app.ports).await? {
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
