//! What a caller is told when something is wrong: RFC 9457 problem documents. The only file that
//! turns a [`Class`] into a status.
//!
//! A [`Problem`] travels to the outermost layer as an extension of its response; there the
//! request's id is put in and the document is written. So every path, the router's own 404 and 405
//! included, answers in this one form.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde_json::{Map, Value, json};

use crate::primitives::{Class, Refusal, chain};
use crate::rate_limit::{LineKind, LogLines, Standing};

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// When to ask again for a store whose file cannot be used, in seconds: as often as the sweep
/// looks.
const UNAVAILABLE_RETRY_S: u32 = 60;

/// Codes whose kind of problem is in a registry: draft-ietf-httpapi-ratelimit-headers.
const KINDS_ELSEWHERE: [(&str, &str); 1] = [(
    "rate_limited",
    "https://iana.org/assignments/http-problem-types#quota-exceeded",
)];

/// In the extensions of an answer whose status is an error's and whose body is nevertheless what
/// was asked for: `/health`.
#[derive(Clone, Copy, Debug)]
pub struct OwnForm;

/// One thing that is wrong with one value of a request.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// Where, as a JSON pointer (RFC 6901) into the body, or `?name` for a query parameter.
    pub pointer: String,
    /// What, for a program.
    pub code: &'static str,
    /// What, for a person.
    pub detail: String,
}

/// An answer that is no success.
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
    /// The fault behind it, with its causes: for the log, never for the caller.
    cause: Option<Box<str>>,
}

impl Problem {
    /// A problem of a class.
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

    /// A problem that HTTP itself has a status for.
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

    /// A request with values that are not acceptable: all of them.
    pub fn invalid(errors: Vec<Fault>) -> Self {
        let mut problem = Self::new(
            Class::Invalid,
            "validation_failed",
            "some values are not acceptable; see errors",
        );
        problem.errors = errors.into();
        problem
    }

    /// There is no such thing in this store.
    pub fn not_found(code: &'static str, what: &str) -> Self {
        Self::new(
            Class::NotFound,
            code,
            format!("there is no such {what} in this store"),
        )
    }

    /// The same problem with a fact for a program.
    pub fn with_fact(mut self, name: &str, fact: impl serde::Serialize) -> Self {
        self.facts.insert(name.to_owned(), json!(fact));
        self
    }

    /// The same problem, to be tried again after so many seconds.
    pub const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The same problem, with the rate limit that refused the request.
    pub fn of_limit(mut self, standing: Standing) -> Self {
        self.standing = Some(Box::new(standing));
        self
    }

    /// The rate limit that refused the request.
    pub fn standing(&self) -> Option<&Standing> {
        self.standing.as_deref()
    }

    /// The same problem for whoever does not run the house: how a store's file is put right, and
    /// that it is an older copy, is its operator's business.
    pub fn for_customers(mut self) -> Self {
        if self.code == "tenant_unavailable" {
            "this store cannot be opened at present; its operator finds the cause in the log; \
             other stores are not affected"
                .clone_into(&mut self.detail);
        }
        self
    }

    /// Its status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Its code.
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// What is wrong, for a person.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The fault behind it, with its causes: for the log.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// Logs the fault behind it, if there is one: once, where the request ends, whose id and tenant
    /// are in the line.
    pub fn log(&self, lines: &LogLines) {
        let Some(cause) = &self.cause else { return };
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            if lines.admits(LineKind::RequestFailed, None) {
                tracing::error!(code = self.code, error = cause, "request failed");
            }
        } else {
            // Logged where it arose as well; a line for each request that is turned away would fill
            // the disk in a flood.
            tracing::debug!(code = self.code, error = cause, "request turned away");
        }
    }

    /// The URI of what kind of problem it is: our own, unless somebody else has defined it.
    fn kind(&self) -> String {
        let elsewhere = KINDS_ELSEWHERE.iter().find(|(code, _)| *code == self.code);
        elsewhere.map_or_else(
            || format!("urn:tillbox:problem:{}", self.code),
            |(_, kind)| (*kind).to_owned(),
        )
    }

    /// The document.
    pub fn document(&self, request_id: &str) -> Value {
        let mut document = json!({
            "type": self.kind(),
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

    /// The response with its document.
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
            "an internal fault; nothing was written; the log has the cause under this request_id"
                .to_owned()
        } else {
            refusal.to_string()
        };
        let mut problem = Self::new(class, refusal.code(), detail);
        problem.facts = refusal.facts();
        if problem.code == "tenant_unavailable" {
            // Somebody has to put the file right; nobody does that within a second.
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
