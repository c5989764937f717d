//! Layers around every request: request id, span, deadline, rate limit, and the one form of every
//! error.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, HOST, HeaderName, HeaderValue};
use http::{StatusCode, Version};
use tracing::Instrument as _;

use super::extract::{Local, RequestId};
use super::limit;
use super::metrics::{InFlight, record_request};
use super::problem::{OwnBody, Problem};
use super::request_id::{REQUEST_ID, request_id};
use super::wire::peer::Peer;
use super::wire::unread_body::discard_unread;
use crate::app::App;
use crate::primitives::Class;
use crate::primitives::limits::LOCAL_REQUEST_MS;
use crate::rate_limit::{LineKind, LogLines};

const TENANT: HeaderName = HeaderName::from_static("x-tillbox-tenant");

/// The outermost layer.
pub async fn outer_layer(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = now();
    let _in_flight = InFlight::request();
    let id = request_id(request.headers(), app.ports.entropy.as_ref());
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    // The log level does not filter this target, so lines of the security log always have their
    // request id and tenant.
    let span = tracing::info_span!(target: "security", "request", request_id = %id,
        tenant_id = tracing::field::Empty);
    let deadline = match request.extensions().get::<Local>() {
        Some(Local) => Duration::from_millis(LOCAL_REQUEST_MS),
        None => app.config.server.request_timeout.into(),
    };
    let standing = limit::charge(&app, &mut request, deadline)
        .instrument(span.clone())
        .await;
    let request = discard_unread(request);
    let refused = standing.as_ref().filter(|standing| !standing.is_admitted);
    let mut response = match refused
        .map(limit::refusal)
        .or_else(|| refuse_ambiguous(&request))
    {
        Some(problem) => problem.into_response(),
        None => {
            // The deadline includes the key look-up.
            let left = deadline.saturating_sub(now().duration_since(started));
            run(&app.limits.log_lines, next, request, left)
                .instrument(span.clone())
                .await
        }
    };
    let problem = response.extensions_mut().remove::<Problem>();
    let has_own_body = response.extensions_mut().remove::<OwnBody>().is_some();
    let violated = problem.as_ref().and_then(Problem::standing).copied();
    if let Some(problem) =
        problem.or_else(|| problem_of_status(response.status()).filter(|_| !has_own_body))
    {
        span.in_scope(|| problem.log(&app.limits.log_lines));
        response = problem.render(&id);
    }
    if let Some(standing) = violated.or(standing) {
        limit::add_headers(&standing, &mut response);
    }
    // The answer depends on the key, the host and the tenant header: no cache may keep it for
    // another caller.
    response
        .headers_mut()
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let elapsed = now().duration_since(started);
    record_request(&method, route, response.status(), elapsed);
    let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    span.in_scope(|| {
        tracing::debug!(%method, route = route.unwrap_or("-"),
        status = response.status().as_u16(), elapsed_us, "request")
    });
    response
}

/// Refuses ambiguous requests: not exactly one host (RFC 9112 §3.2; the host selects the tenant),
/// more than one key or tenant header, or a compressed body.
fn refuse_ambiguous(request: &Request) -> Option<Problem> {
    let is_remote = matches!(request.extensions().get::<Peer>(), Some(Peer(Some(_))));
    let hosts = request.headers().get_all(HOST).iter().count();
    if is_remote && (hosts > 1 || (hosts == 0 && request.version() >= Version::HTTP_11)) {
        let detail = "the request needs exactly one Host header (RFC 9112 §3.2); send one";
        return Some(Problem::new(Class::Malformed, "malformed_request", detail));
    }
    // A proxy may read one of two values and this server the other.
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
        let detail = "the body is compressed; send it uncompressed, without Content-Encoding";
        return Some(Problem::of_status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_content_encoding",
            detail,
        ));
    }
    None
}

/// Runs the request in its own task: a caller that disconnects does not cancel it, and a panic ends
/// only this request.
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
                "internal error; the log has the cause under this request_id",
            )
            .into_response()
        }
        Err(_) => {
            let detail = "the request took too long and may have been carried out; repeat it with \
                the same Idempotency-Key";
            Problem::new(Class::Unavailable, "request_timeout", detail).into_response()
        }
    }
}

/// The problem for an error answer that axum made (an invalid path, a body error).
fn problem_of_status(status: StatusCode) -> Option<Problem> {
    (status.is_client_error() || status.is_server_error()).then(|| {
        Problem::of_status(
            status,
            "request_failed",
            status.canonical_reason().unwrap_or("the request failed"),
        )
    })
}

/// Answers a request to an unknown path.
pub async fn not_found() -> Problem {
    Problem::new(
        Class::NotFound,
        "route_not_found",
        "no such path; GET /openapi.json lists all paths",
    )
}

/// Answers a request whose path does not support its method.
pub async fn method_not_allowed() -> Problem {
    Problem::of_status(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "the path does not support this method; see GET /openapi.json",
    )
}

#[expect(
    clippy::disallowed_methods,
    reason = "measures the duration of a request, for the log and the metrics"
)]
fn now() -> Instant {
    Instant::now()
}
