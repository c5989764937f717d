//! The rate limits as a caller meets them: who it is, what it is told in the header fields of every
//! answer, and the refusal.
//!
//! A request to a limited route is charged first of all: before it is known whether its key will
//! do, before its body is read and before a shop's file is opened. So a flood of requests that are
//! refused for whatever reason, of replays, and of keys that are being guessed, is charged like any
//! other. A key has a bucket of its own only when it is a good one; made-up keys are charged to the
//! address that they come from. Who runs the machine (the admin socket, the commands) is not
//! limited.

use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::client_address::{client_address, peer_address};
use super::extract::{Known, Local, principal_of};
use super::problem::Problem;
use super::wire::server::Peer;
use crate::app::App;
use crate::rate_limit::{Caller, Policy, Standing};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Charges a request to its caller; `None` when it is none that is limited. Whose key that is, is
/// asked for no longer than `patience`.
pub async fn charge(app: &App, request: &mut Request, patience: Duration) -> Option<Standing> {
    if request.extensions().get::<Local>().is_some() {
        return None;
    }
    let policy = Policy::of_path(request.extensions().get::<MatchedPath>()?.as_str())?;
    let mut caller = None;
    if !policy.is_by_address() {
        // A key that is none is refused behind this, and so is a request whose key cannot be looked
        // up.
        let looked_up = tokio::time::timeout(patience, principal_of(request.headers(), app)).await;
        if let Ok(Ok(Some(principal))) = looked_up {
            caller = Some(Caller::Key(principal.key_id));
            request.extensions_mut().insert(Known(principal));
        }
    }
    let caller = caller.unwrap_or_else(|| {
        let peer = request.extensions().get::<Peer>().and_then(|peer| peer.0);
        let server = &app.config.server;
        Caller::of_address(client_address(
            peer_address(peer),
            request.headers(),
            &server.trusted_proxies,
            server.forwarded_header,
        ))
    });
    let standing = app.rate_limiter.charge(policy, caller);
    if !standing.is_admitted {
        metrics::counter!("tillbox_rate_limited_total", "policy" => policy.name()).increment(1);
        note_lock_out(&standing, caller);
    }
    Some(standing)
}

/// Somebody should know of an address that tries one password after the other; once, and not for
/// each that it is refused.
fn note_lock_out(standing: &Standing, caller: Caller) {
    if let (Policy::Login, true, Caller::Address(address)) =
        (standing.policy, standing.is_first_refusal, caller)
    {
        tracing::warn!(target: "security", %address, retry_after_s = standing.more_in_s, "login \
            locked out");
    }
}

/// What is said to whoever has asked too often.
pub fn refusal(standing: &Standing) -> Problem {
    let Standing {
        policy,
        rate,
        more_in_s,
        ..
    } = standing;
    let detail = format!(
        "too many requests: {rate} are allowed here; nothing was done; send it again in \
         {more_in_s} seconds, with the same Idempotency-Key"
    );
    Problem::of_status(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail)
        .retry_after(*more_in_s)
        .with_fact("violated-policies", [policy.name()])
}

/// Puts a caller's standing into the header fields of its answer
/// (draft-ietf-httpapi-ratelimit-headers).
pub fn tell(standing: &Standing, response: &mut Response) {
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
        HeaderValue::from_str(value).expect("a name and numbers are header text"),
    );
}

/// The header fields of a limited route's answers, for the API's description.
pub fn described() -> Value {
    let field =
        |description: &str| json!({"description": description, "schema": {"type": "string"}});
    json!({
        "RateLimit-Policy": field("the limit: its name, `q` requests in `w` seconds"),
        "RateLimit": field("`r` requests may follow at once, and one more than that after `t` \
         seconds"),
    })
}
