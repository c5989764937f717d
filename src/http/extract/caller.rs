//! The caller: the key in `Authorization`, if there is one, and the request id.

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::app::{Ports, Stores};
use crate::http::problem::Problem;
use crate::primitives::Class;
use crate::tenancy::Principal;

/// The request id; the outermost layer puts it into the extensions.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Marks a request from the admin socket or from inside the process. Its sender is the operator.
#[derive(Clone, Copy, Debug)]
pub struct Local;

/// The principal of the request, if it has already been looked up.
#[derive(Clone)]
pub(in crate::http) struct KnownPrincipal(pub Principal);

/// Returns the request id.
pub(super) fn request_id(parts: &Parts) -> Option<String> {
    parts.extensions.get::<RequestId>().map(|id| id.0.clone())
}

/// Returns the principal of the request's key, if it has one.
pub(super) async fn principal(
    parts: &Parts,
    stores: &Stores,
    ports: &Ports,
) -> Result<Option<Principal>, Problem> {
    match parts.extensions.get::<KnownPrincipal>() {
        Some(KnownPrincipal(principal)) => Ok(Some(principal.clone())),
        None => principal_of(&parts.headers, stores, ports).await,
    }
}

/// Whether a request has more than one key. Such a request counts as having none.
pub(in crate::http) fn has_several_keys(headers: &HeaderMap) -> bool {
    headers.get_all(AUTHORIZATION).iter().count() > 1
}

/// Like [`principal`], but reads the header fields.
pub(in crate::http) async fn principal_of(
    headers: &HeaderMap,
    stores: &Stores,
    ports: &Ports,
) -> Result<Option<Principal>, Problem> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let presented = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, key)) = presented else {
        return Err(Problem::new(
            Class::Unauthenticated,
            "unauthenticated",
            "the Authorization header is invalid; send Authorization: Bearer KEY",
        ));
    };
    match stores.directory.principal(key.trim()).await? {
        Some(principal) => {
            stores
                .directory
                .record_use(principal.key_id, ports.clock.now());
            Ok(Some(principal))
        }
        None => Err(Problem::new(
            Class::Unauthenticated,
            "invalid_api_key",
            "this API key is unknown or revoked; create one with `tillbox api-key create`",
        )),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(request_id(parts).unwrap_or_default()))
    }
}
