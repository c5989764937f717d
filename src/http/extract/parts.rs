//! Small parts of a request: ids and names in the path, pages and filters in the query, `If-Match`.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query};
use axum::response::{IntoResponse, Response};
use http::Uri;
use http::header::{ETAG, HeaderValue, IF_MATCH};
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::http::problem::{Fault, Problem};
use crate::platform::page::{PageError, PageRequest, WalkRequest};
use crate::primitives::{Class, Id, Kind};

/// The only id in the path.
pub struct PathId<K>(pub Id<K>);

/// The path parameters as text: for paths with two parameters, or with a name.
pub struct PathText<T>(pub T);

/// `?limit=&cursor=` and no filters.
pub struct PageQuery(pub PageRequest);

/// `?limit=&cursor=` beside filters, which [`QueryOf`] parses and validates.
pub struct PageBeside(pub PageRequest);

/// As [`PageBeside`], for lists that walk through the tenants.
pub struct WalkBeside(pub WalkRequest);

/// Filters in the query, beside `limit` and `cursor`. `T` must refuse unknown fields
/// (`deny_unknown_fields`): a misspelled filter must not return the whole list.
pub struct QueryOf<T>(pub T);

/// The version in `If-Match`; `None` without the header and for `*`.
pub struct IfMatch(pub Option<i64>);

impl<S: Send + Sync, K: Kind> FromRequestParts<S> for PathId<K> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| malformed(&error))?;
        Id::parse(&text).map(Self).map_err(|error| {
            let detail = format!("the id in the path is {error}");
            Problem::new(Class::Malformed, "malformed_id", detail)
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathText<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Path::<T>::from_request_parts(parts, state)
            .await
            .map(|Path(text)| Self(text))
            .map_err(|error| malformed(&error))
    }
}

fn malformed(error: &PathRejection) -> Problem {
    let text = error.body_text();
    // axum's prefix for a value that did not parse, although the URL itself is valid.
    let reason = text.strip_prefix("Invalid URL: ").unwrap_or(&text);
    Problem::new(
        Class::Malformed,
        "malformed_id",
        format!("an id in the path is malformed: {reason}"),
    )
}

#[derive(Deserialize)]
struct PageWire {
    limit: Option<String>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFilter {}

impl<S: Send + Sync> FromRequestParts<S> for PageQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let QueryOf(NoFilter {}) = QueryOf::from_request_parts(parts, state).await?;
        let PageBeside(page) = PageBeside::from_request_parts(parts, state).await?;
        Ok(Self(page))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PageBeside {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        page(parts, state, PageRequest::parse).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WalkBeside {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        page(parts, state, WalkRequest::parse).await.map(Self)
    }
}

async fn page<S: Send + Sync, P>(
    parts: &mut Parts,
    state: &S,
    parse: impl Fn(Option<i64>, Option<&str>) -> Result<P, PageError> + Send,
) -> Result<P, Problem> {
    let query = Query::<PageWire>::from_request_parts(parts, state)
        .await
        .map_err(|error| query_fault(&error))?;
    let limit = query
        .limit
        .as_deref()
        .map(|text| text.parse::<i64>().unwrap_or(-1));
    parse(limit, query.cursor.as_deref()).map_err(|error| {
        let pointer = match error {
            PageError::Limit => "?limit",
            PageError::Cursor => "?cursor",
        };
        Problem::invalid(vec![Fault {
            pointer: pointer.to_owned(),
            code: "invalid",
            detail: error.to_string(),
        }])
    })
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let filters = without_page(parts.uri.query().unwrap_or_default());
        let uri: Uri = format!("/?{filters}")
            .parse()
            .expect("a subset of a valid query is valid");
        Query::<T>::try_from_uri(&uri)
            .map(|Query(query)| Self(query))
            .map_err(|error| query_fault(&error))
    }
}

/// Converts an error of the query parser, at the parameter that it names.
fn query_fault(error: &QueryRejection) -> Problem {
    let text = error.body_text();
    let message = text
        .strip_prefix("Failed to deserialize query string: ")
        .unwrap_or(&text);
    let (name, detail) = message.split_once(": ").unwrap_or(("", message));
    Problem::invalid(vec![Fault {
        pointer: format!("?{name}"),
        code: "invalid",
        detail: detail.to_owned(),
    }])
}

/// Returns the query without `limit` and `cursor`.
fn without_page(query: &str) -> String {
    let is_page = |pair: &&str| matches!(pair.split('=').next(), Some("limit" | "cursor"));
    query
        .split('&')
        .filter(|pair| !is_page(pair))
        .collect::<Vec<_>>()
        .join("&")
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(IF_MATCH) else {
            return Ok(Self(None));
        };
        match value.to_str().unwrap_or_default().trim() {
            "*" => Ok(Self(None)),
            text => {
                let version = text
                    .strip_prefix("\"v")
                    .and_then(|rest| rest.strip_suffix('"'))
                    .and_then(|digits| digits.parse().ok());
                // A foreign tag cannot match any of our versions. That is a lost update, not a
                // syntax error (RFC 9110 §13.1.1).
                Ok(Self(Some(version.unwrap_or(-1))))
            }
        }
    }
}

/// Adds the version as `ETag`.
pub fn with_etag(version: i64, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    let tag = HeaderValue::from_str(&format!("\"v{version}\"")).expect(
        "digits are valid header \
        text",
    );
    response.headers_mut().insert(ETAG, tag);
    response
}
