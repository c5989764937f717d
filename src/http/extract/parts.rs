//! The small parts of a request: ids and names in the path, pages and filters in the query,
//! `If-Match`.

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

/// The one id in the path.
pub struct PathId<K>(pub Id<K>);

/// The parameters of the path, as they are: for paths with two, or with a name.
pub struct PathText<T>(pub T);

/// `?limit=&cursor=`, and nothing else: for lists without filters.
pub struct PageQuery(pub PageRequest);

/// `?limit=&cursor=` beside filters, which [`QueryOf`] reads and checks.
pub struct PageBeside(pub PageRequest);

/// As [`PageBeside`], for lists that go through one store after the other.
pub struct WalkBeside(pub WalkRequest);

/// Filters in the query, beside `limit` and `cursor`. `T` refuses unknown ones
/// (`deny_unknown_fields`): a filter that is spelled wrong must not give the whole list.
pub struct QueryOf<T>(pub T);

/// The version in `If-Match`, if there is one (`*` matches any).
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
    // Said of a value of ours that did not parse, and it is no URL that is wrong then.
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
            .expect("a part of a good query is one");
        Query::<T>::try_from_uri(&uri)
            .map(|Query(query)| Self(query))
            .map_err(|error| query_fault(&error))
    }
}

/// What the query's reader says, at the parameter that it says it of.
fn query_fault(error: &QueryRejection) -> Problem {
    let text = error.body_text();
    let said = text
        .strip_prefix("Failed to deserialize query string: ")
        .unwrap_or(&text);
    let (name, detail) = said.split_once(": ").unwrap_or(("", said));
    Problem::invalid(vec![Fault {
        pointer: format!("?{name}"),
        code: "invalid",
        detail: detail.to_owned(),
    }])
}

/// The query without what [`PageBeside`] reads.
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
                // A tag that is none of ours cannot match anything we have: that is a lost update,
                // not a syntax error (RFC 9110 §13.1.1).
                Ok(Self(Some(version.unwrap_or(-1))))
            }
        }
    }
}

/// The answer with its version as `ETag`.
pub fn with_etag(version: i64, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    let tag = HeaderValue::from_str(&format!("\"v{version}\"")).expect("digits are header text");
    response.headers_mut().insert(ETAG, tag);
    response
}
