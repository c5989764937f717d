//! Problem documents (RFC 9457). The only file that maps a [`Class`] to a status.
//!
//! A [`Problem`] travels to the outermost layer in the extensions of its response; that layer adds
//! the request id and writes the document. So every path, also the router's 404 and 405, answers in
//! this one form.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde_json::{Map, Value, json};

use crate::primitives::{Class, Refusal, chain};
use crate::rate_limit::{LineKind, LogLines, Standing};

/// The media type of problem documents.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Retry-After, in seconds, for a tenant whose file cannot be used: the interval of the sweep.
const UNAVAILABLE_RETRY_S: u32 = 60;

/// Problem types that a registry defines: draft-ietf-httpapi-ratelimit-headers.
const REGISTERED_TYPES: [(&str, &str); 1] = [(
    "rate_limited",
    "https://iana.org/assignments/http-problem-types#quota-exceeded",
)];

/// Extension of an error answer that keeps its own body: `/health`.
#[derive(Clone, Copy, Debug)]
pub struct OwnBody;

/// A fault of one value of a request.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// A JSON pointer (RFC 6901) into the body, or `?name` for a query parameter.
    pub pointer: String,
    /// The code, for programs.
    pub code: &'static str,
    /// The explanation, for people.
    pub detail: String,
}

/// An error answer.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Box<[Fault]>,
    facts: Map<String, Value>,
    retry_after_s: Option<u32>,
    /// The rate limit that refused the request.
    standing: Option<Box<Standing>>,
    /// The underlying fault with its causes: for the log, never for the caller.
    cause: Option<Box<str>>,
}

impl Problem {
    /// Creates a problem of a class.
    pub fn new(class: Class, code: &'static str, detail: impl Into<String>) -> Self {
        let retry_after_s = match class {
            Class::Unavailable => Some(1),
            Class::StorageFull => Some(60),
            _ => None,
        };
        Self {
            status: status(class),
            code,
            detail: detail.into(),
            errors: Box::default(),
            facts: Map::new(),
            retry_after_s,
            standing: None,
            cause: None,
        }
    }

    /// Creates a problem with an explicit status.
    pub fn of_status(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            errors: Box::default(),
            facts: Map::new(),
            retry_after_s: None,
            standing: None,
            cause: None,
        }
    }

    /// Creates the problem of a request with invalid values.
    pub fn invalid(errors: Vec<Fault>) -> Self {
        let mut problem = Self::new(
            Class::Invalid,
            "validation_failed",
            "some values are invalid; see errors",
        );
        problem.errors = errors.into();
        problem
    }

    /// Creates the problem of a missing resource.
    pub fn not_found(code: &'static str, what: &str) -> Self {
        Self::new(
            Class::NotFound,
            code,
            format!("{what} not found in this shop; check the id"),
        )
    }

    /// Adds a machine-readable fact.
    pub fn with_fact(mut self, name: &str, fact: impl serde::Serialize) -> Self {
        self.facts.insert(name.to_owned(), json!(fact));
        self
    }

    /// Sets `Retry-After`.
    pub const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Adds the rate limit that refused the request.
    pub fn with_standing(mut self, standing: Standing) -> Self {
        self.standing = Some(Box::new(standing));
        self
    }

    /// The rate limit that refused the request.
    pub fn standing(&self) -> Option<&Standing> {
        self.standing.as_deref()
    }

    /// Hides details that are for the operator: how a tenant's file is repaired, and that it is an
    /// older copy.
    pub fn without_operator_details(mut self) -> Self {
        if self.code == "tenant_unavailable" {
            "this shop is unavailable; its operator finds the cause in the log; other shops are \
            not affected"
                .clone_into(&mut self.detail);
        }
        self
    }

    pub const fn status(&self) -> StatusCode {
        self.status
    }

    pub const fn code(&self) -> &'static str {
        self.code
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns the underlying fault with its causes, for the log.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// Logs the underlying fault, if there is one: once, at the end of the request, inside the span
    /// with its id and tenant.
    pub fn log(&self, lines: &LogLines) {
        let Some(cause) = &self.cause else { return };
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            if lines.admits(LineKind::RequestFailed, None) {
                tracing::error!(code = self.code, error = cause, "request failed");
            }
        } else {
            // Logged at its source as well. A line for each refused request would fill the disk in
            // a flood.
            tracing::debug!(code = self.code, error = cause, "request refused");
        }
    }

    /// Returns the type URI: our own, unless a registry defines one.
    fn type_uri(&self) -> String {
        let registered = REGISTERED_TYPES.iter().find(|(code, _)| *code == self.code);
        registered.map_or_else(
            || format!("urn:tillbox:problem:{}", self.code),
            |(_, kind)| (*kind).to_owned(),
        )
    }

    /// Builds the JSON document.
    pub fn document(&self, request_id: &str) -> Value {
        let mut document = json!({
            "type": self.type_uri(),
            "title": self.status.canonical_reason().unwrap_or("Problem"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
            "errors": self.errors,
        });
        if let Value::Object(members) = &mut document {
            for (name, fact) in &self.facts {
                members.entry(name.clone()).or_insert_with(|| fact.clone());
            }
        }
        document
    }

    /// Builds the response.
    pub fn render(&self, request_id: &str) -> Response {
        let mut response = (self.status, self.document(request_id).to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                http::header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer"),
            );
        }
        response
    }
}

const fn status(class: Class) -> StatusCode {
    match class {
        Class::Malformed => StatusCode::BAD_REQUEST,
        Class::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Class::Unauthenticated => StatusCode::UNAUTHORIZED,
        Class::Declined => StatusCode::PAYMENT_REQUIRED,
        Class::Forbidden => StatusCode::FORBIDDEN,
        Class::NotFound => StatusCode::NOT_FOUND,
        Class::Conflict => StatusCode::CONFLICT,
        Class::Stale => StatusCode::PRECONDITION_FAILED,
        Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Class::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        Class::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl<R: Refusal> From<R> for Problem {
    fn from(refusal: R) -> Self {
        let class = refusal.class();
        let detail = if class == Class::Internal {
            "internal error; nothing was written; the log has the cause under this request_id"
                .to_owned()
        } else {
            refusal.to_string()
        };
        let mut problem = Self::new(class, refusal.code(), detail);
        problem.facts = refusal.facts();
        if problem.code == "tenant_unavailable" {
            // Somebody has to repair the file, which takes more than a second.
            problem.retry_after_s = Some(UNAVAILABLE_RETRY_S);
        }
        if matches!(
            class,
            Class::Internal | Class::Unavailable | Class::StorageFull
        ) {
            problem.cause = Some(chain(&refusal).into());
        }
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
