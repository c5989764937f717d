//! Rate limits of requests: the caller that is charged, the header fields of every answer, and the
//! refusal.
//!
//! A request is charged before its body is read and before a tenant's file is opened. So floods of
//! refused requests, replays and guessed keys are charged like any other request. Only a valid key
//! has its own bucket. Invalid keys are charged to their address, on every route, which slows down
//! guessing. A valid key is never charged for its address: a till keeps working whatever its
//! neighbours behind the same router do.
//!
//! A proxy that names no client, or is not trusted, is the client. All requests through it share
//! one bucket, because the alternative would be unlimited, and the log says once what to configure.
//! The operator (the admin socket, the commands) is not limited.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use http::header::{FORWARDED, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::client_address::{client_address, peer_address};
use super::extract::{KnownPrincipal, Local, has_several_keys, principal_of};
use super::problem::Problem;
use super::wire::peer::Peer;
use crate::app::{App, Limits, Ports, Stores};
use crate::config::Server;
use crate::primitives::id::{ApiKeyId, TenantId};
use crate::rate_limit::{Caller, LineKind, Policy, Standing};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The key that a request presents.
enum PresentedKey {
    Valid(ApiKeyId),
    /// Unknown, revoked or malformed.
    Invalid,
    /// No key, or one that cannot be looked up now.
    Absent,
}

/// Charges a request to its caller; `None` when the request is not limited. `patience` bounds the
/// key look-up.
pub async fn charge(app: &App, request: &mut Request, patience: Duration) -> Option<Standing> {
    if request.extensions().get::<Local>().is_some() {
        return None;
    }
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    if route.is_some_and(Policy::is_blind) {
        return None;
    }
    let presented = identify(&app.stores, &app.ports, request, patience).await;
    let server = &app.config.server;
    let named = route.and_then(Policy::of_path);
    let (policy, key) = match presented {
        PresentedKey::Absent => (Policy::of_keyless(route, request.method().is_safe()), None),
        PresentedKey::Invalid => (named, None),
        PresentedKey::Valid(key) => (
            named,
            Some(key).filter(|_| !named.is_some_and(Policy::is_by_address)),
        ),
    };
    if matches!(presented, PresentedKey::Invalid) {
        let standing = charge_address(&app.limits, server, Policy::BadKeys, request);
        if !standing.is_admitted || policy.is_none() {
            return Some(standing);
        }
    }
    Some(match key {
        Some(key) => charge_caller(&app.limits, policy?, Caller::Key(key)),
        None => charge_address(&app.limits, server, policy?, request),
    })
}

/// Looks up the key of a request and keeps it for the extractors.
async fn identify(
    stores: &Stores,
    ports: &Ports,
    request: &mut Request,
    patience: Duration,
) -> PresentedKey {
    if has_several_keys(request.headers()) {
        return PresentedKey::Absent;
    }
    let looked_up =
        tokio::time::timeout(patience, principal_of(request.headers(), stores, ports)).await;
    match looked_up {
        Ok(Ok(Some(principal))) => {
            let key = principal.key_id;
            request.extensions_mut().insert(KnownPrincipal(principal));
            PresentedKey::Valid(key)
        }
        Ok(Err(problem)) if problem.status() == StatusCode::UNAUTHORIZED => PresentedKey::Invalid,
        Ok(Ok(None) | Err(_)) | Err(_) => PresentedKey::Absent,
    }
}

/// Charges the budget that all callers without a key share in one shop.
///
/// # Errors
/// `rate_limited`, when it is used up.
pub fn charge_tenant(limits: &Limits, tenant: TenantId) -> Result<(), Problem> {
    let standing = charge_caller(limits, Policy::StorefrontTenant, Caller::Tenant(tenant));
    match standing.is_admitted {
        true => Ok(()),
        false => Err(refusal(&standing)),
    }
}

fn charge_address(limits: &Limits, server: &Server, policy: Policy, request: &Request) -> Standing {
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.0);
    let peer = peer_address(peer);
    let address = client_address(
        peer,
        request.headers(),
        &server.trusted_proxies,
        server.forwarded_header,
    );
    let standing = charge_caller(limits, policy, Caller::of_address(address));
    if !standing.is_admitted && address == peer.to_canonical() {
        warn_of_proxy(limits, server, address, request.headers());
    }
    standing
}

/// Warns once of a proxy whose clients share one rate limit: a trusted one that sends no client
/// address, or one of a private network that sends an address and is not trusted.
fn warn_of_proxy(limits: &Limits, server: &Server, proxy: IpAddr, headers: &HeaderMap) {
    let trusted = &server.trusted_proxies;
    let is_trusted = trusted.iter().any(|network| network.contains(proxy));
    let names_client = headers.contains_key("x-forwarded-for") || headers.contains_key(FORWARDED);
    if (is_trusted || (names_client && is_private(proxy)))
        && limits.rate_limiter.is_first_warning_of_proxy()
    {
        tracing::warn!(
            %proxy,
            is_trusted,
            "the clients of a proxy share one rate limit; add it to server.trusted_proxies, and \
             let it send X-Forwarded-For or set server.forwarded_header"
        );
    }
}

const fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

fn charge_caller(limits: &Limits, policy: Policy, caller: Caller) -> Standing {
    let standing = limits.rate_limiter.charge(policy, caller);
    if !standing.is_admitted {
        metrics::counter!("tillbox_rate_limited_total", "policy" => policy.name()).increment(1);
        log_lockout(limits, &standing, caller);
    }
    standing
}

/// Logs an address that tries many passwords; once per lock-out.
fn log_lockout(limits: &Limits, standing: &Standing, caller: Caller) {
    if let (Policy::Login, true, Caller::Address(address)) =
        (standing.policy, standing.is_first_refusal, caller)
        && limits
            .log_lines
            .admits(LineKind::LoginLockedOut, Some(caller))
    {
        tracing::warn!(target: "security", %address, retry_after_s = standing.more_in_s, "login \
            locked out");
    }
}

/// Builds the refusal of a request over its limit.
pub fn refusal(standing: &Standing) -> Problem {
    let Standing {
        policy,
        rate,
        more_in_s,
        ..
    } = standing;
    let detail = format!(
        "too many requests: {rate} are allowed; nothing was changed; send it again in {more_in_s} \
        seconds, with the same Idempotency-Key"
    );
    Problem::of_status(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail)
        .retry_after(*more_in_s)
        .with_fact("violated-policies", [policy.name()])
        .with_standing(*standing)
}

/// Adds the `RateLimit` header fields to an answer (draft-ietf-httpapi-ratelimit-headers).
pub fn add_headers(standing: &Standing, response: &mut Response) {
    let name = standing.policy.name();
    let (quota, window) = (standing.rate.count(), standing.rate.window_s());
    let (remaining, more_in_s) = (standing.remaining, standing.more_in_s);
    insert(
        response.headers_mut(),
        POLICY,
        &format!("\"{name}\";q={quota};w={window}"),
    );
    insert(
        response.headers_mut(),
        LIMIT,
        &format!("\"{name}\";r={remaining};t={more_in_s}"),
    );
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    headers.insert(
        name,
        HeaderValue::from_str(value).expect("names and numbers are valid header text"),
    );
}

/// Returns the header fields of a limited route, for the API description.
pub fn header_schemas() -> Value {
    let field =
        |description: &str| json!({"description": description, "schema": {"type": "string"}});
    json!({
        "RateLimit-Policy": field("the limit: name, `q` requests in `w` seconds"),
        "RateLimit": field("`r` requests may follow at once, and one more after `t` seconds"),
    })
}
