//! A JSON body, parsed into a command: first its structure (at most one fault, with its pointer),
//! then its values (all faults at once).

use axum::body::HttpBody as _;
use axum::extract::{FromRequest, Request};
use http::header::{CONTENT_TYPE, EXPECT};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use std::fmt;
use std::future::pending;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::caller::{Local, principal};
use crate::app::App;
use crate::body_memory::Share;
use crate::config::ByteSize;
use crate::http::faults::RequestFaults;
use crate::http::problem::{Fault, Problem};
use crate::http::wire::chunks::ChunkSize;
use crate::primitives::Class;
use crate::primitives::limits::{
    BODY_BYTES_FREE, LOCAL_BODY_BYTES_MAX, REFUSED_BODY_BYTES_MAX, REFUSED_BODY_PAUSE_MS,
};

/// A command that is parsed from a body.
pub trait FromBody: Sized {
    /// The JSON structure, with raw values. It must refuse unknown fields.
    type Wire: DeserializeOwned;

    /// Parses the values and records all faults.
    fn from_wire(wire: Self::Wire, faults: &mut RequestFaults) -> Option<Self>;
}

/// Divisor of the request time-out that gives the time for the body. Half is left for the work
/// itself.
const BODY_TIME_DIVISOR: u32 = 2;

/// A value that must be a JSON object. Without this wrapper serde would also accept an array with
/// the fields in order.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
                text.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members))
            }
        }

        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

pub struct Body<C>(pub C);

impl<C: FromBody> FromRequest<Arc<App>> for Body<C> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let bytes = read_json(request, app).await?;
        parse(&bytes).map(Self)
    }
}

/// A received body with its share of the memory for bodies.
pub(super) struct Received {
    bytes: Vec<u8>,
    _share: Share,
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a body with a JSON content type, up to the limit.
pub(super) async fn read_json(request: Request, app: &App) -> Result<Received, Problem> {
    let (parts, body) = request.into_parts();
    if let Some(charset) = non_utf8_charset(&parts.headers) {
        let detail = format!("the body's charset is {charset:?}; send it in UTF-8");
        return Err(Problem::of_status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            detail,
        ));
    }
    let has_json_type = has_json_type(&parts.headers);
    if body.is_end_stream() && (has_json_type || !parts.headers.contains_key(CONTENT_TYPE)) {
        // An empty body counts as `{}`: `curl -X POST` of a new cart, or a client library that
        // always sends a content type.
        return Ok(Received {
            bytes: b"{}".to_vec(),
            _share: Share::unlimited(),
        });
    }
    if !has_json_type {
        let detail = "the body must be JSON; send Content-Type: application/json";
        return Err(Problem::of_status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            detail,
        ));
    }
    let limit = match parts.extensions.get::<Local>() {
        Some(Local) => ByteSize::bytes(LOCAL_BODY_BYTES_MAX),
        None => app.config.server.body_limit,
    };
    // A client that asks first (`Expect`) learns it before it sends the body.
    if body.size_hint().lower() > limit.as_bytes() && parts.headers.contains_key(EXPECT) {
        return Err(too_large(limit));
    }
    let share = share(&parts, body.size_hint().upper(), app).await;
    let chunk = parts.extensions.get::<ChunkSize>().cloned();
    let time: Duration = app.config.server.request_timeout.into();
    let collected = collect(body, limit, share, chunk);
    match tokio::time::timeout(time / BODY_TIME_DIVISOR, collected).await {
        Ok(Ok(received)) => received,
        Ok(Err(_)) => Err(Problem::new(
            Class::Malformed,
            "body_unreadable",
            "the body ended early or its chunks are malformed; send it again",
        )),
        Err(_) => Err(Problem::of_status(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            "the body took too long to arrive; nothing was changed; send it again",
        )),
    }
}

fn too_large(limit: ByteSize) -> Problem {
    let detail = format!("the body is larger than {limit}; send less at once");
    Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

fn out_of_memory() -> Problem {
    metrics::counter!("tillbox_http_bodies_refused_total").increment(1);
    let detail = format!(
        "the memory for large bodies is used up; nothing was changed; send it again in a second, \
        or at max_bytes {} at once",
        ByteSize::bytes(BODY_BYTES_FREE)
    );
    Problem::new(Class::Unavailable, "server_busy", detail)
}

/// Returns the memory share of a body. The key is looked up only when the body may need a share.
async fn share(parts: &Parts, length_max: Option<u64>, app: &App) -> Share {
    if parts.extensions.get::<Local>().is_some() {
        return Share::unlimited();
    }
    let is_small = length_max.is_some_and(|length| length <= BODY_BYTES_FREE);
    let has_key =
        !is_small && matches!(principal(parts, &app.stores, &app.ports).await, Ok(Some(_)));
    app.limits.body_memory.share(has_key)
}

/// Collects the whole body, unless it exceeds `limit` or its share cannot grow. The rest of a
/// refused body is discarded while it keeps arriving, up to a bound: a client that is still sending
/// when the connection closes never sees the answer.
async fn collect(
    mut body: axum::body::Body,
    limit: ByteSize,
    mut share: Share,
    mut chunk: Option<ChunkSize>,
) -> Result<Result<Received, Problem>, axum::Error> {
    let (max_bytes, mut bytes, mut length) = (limit.as_bytes(), Vec::new(), 0);
    let mut refused = (body.size_hint().lower() > max_bytes).then(|| too_large(limit));
    loop {
        let frame = if refused.is_some() {
            let pause = Duration::from_millis(REFUSED_BODY_PAUSE_MS);
            tokio::time::timeout(pause, body.frame())
                .await
                .unwrap_or(None)
        } else {
            let too_large_chunk = async {
                match &mut chunk {
                    Some(chunk) => chunk.exceeds(max_bytes).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = too_large_chunk => {
                    refused = Some(too_large(limit));
                    continue;
                }
                frame = body.frame() => frame,
            }
        };
        let Some(frame) = frame.transpose()? else {
            let received = Received {
                bytes,
                _share: share,
            };
            return Ok(refused.map_or(Ok(received), Err));
        };
        let data = frame.into_data().unwrap_or_default();
        length += data.len() as u64;
        if length > max_bytes {
            refused.get_or_insert_with(|| too_large(limit));
        } else if refused.is_none() && !append(&mut bytes, &data, max_bytes, &mut share) {
            refused = Some(out_of_memory());
        }
        if let Some(problem) = &refused {
            // Return the memory at once, while the rest is still arriving.
            (bytes, share) = (Vec::new(), Share::unlimited());
            if length > max_bytes + REFUSED_BODY_BYTES_MAX {
                return Ok(Err(problem.clone()));
            }
        }
    }
}

/// Appends data to a buffer that doubles, up to `max_bytes`. Returns `false` when its share cannot
/// grow.
fn append(bytes: &mut Vec<u8>, data: &[u8], max_bytes: u64, share: &mut Share) -> bool {
    let needed = bytes.len() + data.len();
    if needed > bytes.capacity() {
        let max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        let grown = needed.next_power_of_two().min(max_bytes);
        if !share.grow_to(grown) {
            return false;
        }
        bytes.reserve_exact(grown - bytes.len());
    }
    bytes.extend_from_slice(data);
    true
}

/// Returns the charset of the content type, unless it is UTF-8.
fn non_utf8_charset(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let mut parameters = value.split(';').skip(1);
    let charset = parameters.find_map(|parameter| {
        let (name, charset) = parameter.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| charset.trim().trim_matches('"'))
    })?;
    let is_utf_8 = |name| charset.eq_ignore_ascii_case(name);
    (!["utf-8", "utf8"].into_iter().any(is_utf_8)).then_some(charset)
}

fn has_json_type(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// Parses a received body.
pub(in crate::http) fn parse<C: FromBody>(bytes: &[u8]) -> Result<C, Problem> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Problem::new(Class::Malformed, "malformed_utf8", "the body is not UTF-8"))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let Object(wire) = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| structure_problem(&error))?;
    deserializer.end().map_err(|error| malformed(&error))?;
    let mut faults = RequestFaults::default();
    let command = C::from_wire(wire, &mut faults);
    faults.finish(command)
}

fn structure_problem(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let inner = error.inner();
    if !inner.is_data() {
        return malformed(inner);
    }
    let pointer = error
        .path()
        .iter()
        .fold(String::new(), |pointer, segment| match segment {
            serde_path_to_error::Segment::Seq { index } => format!("{pointer}/{index}"),
            serde_path_to_error::Segment::Map { key } => {
                format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
            }
            serde_path_to_error::Segment::Enum { variant } => format!("{pointer}/{variant}"),
            serde_path_to_error::Segment::Unknown => pointer,
        });
    let text = inner.to_string();
    let detail = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(detail, _)| detail);
    let missing = detail
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'));
    let (pointer, code) = match missing {
        Some(name) => (format!("{pointer}/{name}"), "missing_field"),
        None if detail.starts_with("unknown field") => (pointer, "unknown_field"),
        None => (pointer, "wrong_type"),
    };
    let detail = in_json_terms(detail);
    Problem::invalid(vec![Fault {
        pointer,
        code,
        detail,
    }])
}

/// Translates serde's message from Rust types to JSON types.
fn in_json_terms(detail: &str) -> String {
    let Some((found, expected)) = detail.rsplit_once(", expected ") else {
        return detail.to_owned();
    };
    let found = match found.strip_prefix("invalid type: ") {
        Some("sequence") => "invalid type: an array".to_owned(),
        Some("map") => "invalid type: an object".to_owned(),
        _ => found.replacen("invalid type: floating point ", "invalid type: number ", 1),
    };
    let expected = match expected {
        "i64" | "u32" => "a whole number",
        "a sequence" => "an array",
        other => other,
    };
    format!("{found}, expected {expected}")
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(
        Class::Malformed,
        "malformed_json",
        format!("the body is not valid JSON: {error}"),
    )
}
