//! What surrounds every request: its id, its span, its deadline, its place in a bucket, and the one
//! form of every error.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode, Version};
use tracing::Instrument as _;

use super::extract::{Local, RequestId};
use super::limit;
use super::metrics::{Present, note_request};
use super::problem::{OwnForm, Problem};
use super::wire::server::Peer;
use super::wire::unread_body::thrown_away;
use crate::app::App;
use crate::primitives::limits::{LOCAL_REQUEST_MS, REQUEST_ID_CHARS_MAX};
use crate::primitives::{Class, Entropy};
use crate::rate_limit::{LineKind, LogLines};

pub(super) const REQUEST_ID: &str = "x-request-id";
const TENANT: HeaderName = HeaderName::from_static("x-tillbox-tenant");

/// The outermost layer.
pub async fn surround(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let started = now();
    let _present = Present::request();
    let id = request_id(request.headers(), app.entropy.as_ref());
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    // Of the one target that no level turns off: lines of the security log lack nothing, however
    // little is logged.
    let span = tracing::info_span!(target: "security", "request", request_id = %id,
        tenant_id = tracing::field::Empty);
    let deadline = match request.extensions().get::<Local>() {
        Some(Local) => Duration::from_millis(LOCAL_REQUEST_MS),
        None => app.config.server.request_timeout.into(),
    };
    let standing = limit::charge(&app, &mut request, deadline)
        .instrument(span.clone())
        .await;
    let request = thrown_away(request);
    let refused = standing.as_ref().filter(|standing| !standing.is_admitted);
    let mut response = match refused
        .map(limit::refusal)
        .or_else(|| refuse_ambiguous(&request))
    {
        Some(problem) => problem.into_response(),
        None => {
            // The time in which the key was looked up is a part of it.
            let left = deadline.saturating_sub(now().duration_since(started));
            run(&app.log_lines, next, request, left)
                .instrument(span.clone())
                .await
        }
    };
    let problem = response.extensions_mut().remove::<Problem>();
    let has_own_form = response.extensions_mut().remove::<OwnForm>().is_some();
    let violated = problem.as_ref().and_then(Problem::standing).copied();
    if let Some(problem) = problem.or_else(|| bare(response.status()).filter(|_| !has_own_form)) {
        span.in_scope(|| problem.log(&app.log_lines));
        response = problem.render(&id);
    }
    if let Some(standing) = violated.or(standing) {
        limit::tell(&standing, &mut response);
    }
    // What is answered depends on the key, the host and the store that is named: nobody on the way
    // may keep it for another.
    response
        .headers_mut()
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let elapsed = now().duration_since(started);
    note_request(&method, route, response.status(), elapsed);
    let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    span.in_scope(|| {
        tracing::debug!(%method, route = route.unwrap_or("-"),
        status = response.status().as_u16(), elapsed_us, "request")
    });
    response
}

/// Refuses a request that does not say in one way which host it is for (RFC 9112 §3.2), because the
/// host chooses the store; one that names its key or its store twice; and one whose body
/// is packed in a way that nobody here unpacks.
fn refuse_ambiguous(request: &Request) -> Option<Problem> {
    let is_from_afar = matches!(request.extensions().get::<Peer>(), Some(Peer(Some(_))));
    let hosts = request.headers().get_all(HOST).iter().count();
    if is_from_afar && (hosts > 1 || (hosts == 0 && request.version() >= Version::HTTP_11)) {
        let detail = "a request has just one Host header (RFC 9112 §3.2); send one";
        return Some(Problem::new(Class::Malformed, "malformed_request", detail));
    }
    // Of two values, others on the way may read the one and this program the other.
    for name in [&AUTHORIZATION, &TENANT] {
        if request.headers().get_all(name).iter().count() > 1 {
            let detail = format!("the request has more than one `{name}` header; send one");
            return Some(Problem::new(Class::Malformed, "malformed_request", detail));
        }
    }
    let encoding = request
        .headers()
        .get(CONTENT_ENCODING)
        .map(HeaderValue::as_bytes);
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        let detail = "the body is compressed; send it as it is, without Content-Encoding";
        return Some(Problem::of_status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_content_encoding",
            detail,
        ));
    }
    None
}

/// Runs the request in a task of its own: a caller that hangs up does not stop what it began, and a
/// panic stays this request's.
async fn run(lines: &LogLines, next: Next, request: Request, deadline: Duration) -> Response {
    let task = tokio::spawn(next.run(request).in_current_span());
    match tokio::time::timeout(deadline, task).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            if lines.admits(LineKind::RequestPanicked, None) {
                tracing::error!(error = %error, "request panicked");
            }
            Problem::new(
                Class::Internal,
                "internal_error",
                "an internal fault; the log has the cause under this request_id",
            )
            .into_response()
        }
        Err(_) => {
            let detail = "the request took too long; what it asked for may have been done: repeat \
                it with the same Idempotency-Key";
            Problem::new(Class::Unavailable, "request_timeout", detail).into_response()
        }
    }
}

/// An error answer that is none of ours (a broken path, a body of axum's own) in our form.
fn bare(status: StatusCode) -> Option<Problem> {
    (status.is_client_error() || status.is_server_error()).then(|| {
        Problem::of_status(
            status,
            "request_failed",
            status.canonical_reason().unwrap_or("the request failed"),
        )
    })
}

/// Takes over a caller's id when it is sane: short, and of characters that cannot break a log line
/// or a header.
fn request_id(headers: &HeaderMap, entropy: &dyn Entropy) -> String {
    let taken = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let sane = |id: &&str| {
        (1..=REQUEST_ID_CHARS_MAX).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
    };
    taken
        .filter(sane)
        .map_or_else(|| fresh_request_id(entropy), str::to_owned)
}

/// An id for a request that brought none.
pub(super) fn fresh_request_id(entropy: &dyn Entropy) -> String {
    let mut bytes = [0_u8; 16];
    entropy.fill(&mut bytes);
    format!("req_{:032x}", u128::from_be_bytes(bytes))
}

/// The answer for a path that there is not.
pub async fn not_found() -> Problem {
    Problem::new(
        Class::NotFound,
        "route_not_found",
        "there is no such path; GET /openapi.json lists all there are",
    )
}

/// The answer for a method that a path does not have.
pub async fn method_not_allowed() -> Problem {
    Problem::of_status(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path does not have that method; see GET /openapi.json",
    )
}

#[expect(
    clippy::disallowed_methods,
    reason = "measures how long a request took, for the log and the figures"
)]
fn now() -> Instant {
    Instant::now()
}
