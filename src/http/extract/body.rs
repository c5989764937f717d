//! A JSON body, parsed into a command: first its form (one fault at most, with its place), then its
//! values (all faults at once).

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
use crate::http::faults::Faults;
use crate::http::problem::{Fault, Problem};
use crate::http::wire::chunks::ChunkSize;
use crate::primitives::Class;
use crate::primitives::limits::{
    BODY_BYTES_FREE, LOCAL_BODY_BYTES_MAX, REFUSED_BODY_BYTES_MAX, REFUSED_BODY_PAUSE_MS,
};

/// A command that comes in a body.
pub trait FromBody: Sized {
    /// Its form in JSON, with raw values; unknown fields are refused.
    type Wire: DeserializeOwned;

    /// Parses the values; notes all that is wrong.
    fn from_wire(wire: Self::Wire, faults: &mut Faults) -> Option<Self>;
}

/// The part of a request's time that its body may take to arrive: a half, so that the other half is
/// left for what it asks.
const BODY_SHARE_OF_TIME: u32 = 2;

/// A value that JSON writes as an object. By itself serde would also take a struct from an array,
/// by the order of its fields.
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

/// A parsed body.
pub struct Body<C>(pub C);

impl<C: FromBody> FromRequest<Arc<App>> for Body<C> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let bytes = read_json(request, app).await?;
        parse(&bytes).map(Self)
    }
}

/// A body that was read, and its share of the memory for bodies.
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

/// Reads a body that says it is JSON, up to the limit.
pub(super) async fn read_json(request: Request, app: &App) -> Result<Received, Problem> {
    let (parts, body) = request.into_parts();
    if let Some(charset) = foreign_charset(&parts.headers) {
        let detail = format!("the body's charset is {charset:?}; send it in UTF-8");
        return Err(Problem::of_status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            detail,
        ));
    }
    let says_json = is_json(&parts.headers);
    if body.is_end_stream() && (says_json || !parts.headers.contains_key(CONTENT_TYPE)) {
        // Nothing was said, where all may be left out: `curl -X POST` of a new cart, or a library
        // that always names its type.
        return Ok(Received {
            bytes: b"{}".to_vec(),
            _share: Share::unlimited(),
        });
    }
    if !says_json {
        let detail = "the body must be JSON: Content-Type: application/json";
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
    // Who asks first whether it may send so much is told before sending it.
    if body.size_hint().lower() > limit.as_bytes() && parts.headers.contains_key(EXPECT) {
        return Err(too_large(limit));
    }
    let share = share(&parts, body.size_hint().upper(), app).await;
    let chunk = parts.extensions.get::<ChunkSize>().cloned();
    let time: Duration = app.config.server.request_timeout.into();
    let collected = collect(body, limit, share, chunk);
    match tokio::time::timeout(time / BODY_SHARE_OF_TIME, collected).await {
        Ok(Ok(received)) => received,
        Ok(Err(_)) => Err(Problem::new(
            Class::Malformed,
            "body_unreadable",
            "the body broke off or its chunks are malformed; send it again",
        )),
        Err(_) => Err(Problem::of_status(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            "the body took too long to arrive; nothing was done; send it again",
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
        "the server reads as many large bodies as its memory allows; nothing was done; send it \
         again in a second, or at most {} at once",
        ByteSize::bytes(BODY_BYTES_FREE)
    );
    Problem::new(Class::Unavailable, "server_busy", detail)
}

/// The share of the memory that this body may take. The key is looked up only for a body that may
/// need a share.
async fn share(parts: &Parts, length_max: Option<u64>, app: &App) -> Share {
    if parts.extensions.get::<Local>().is_some() {
        return Share::unlimited();
    }
    let is_small = length_max.is_some_and(|most| most <= BODY_BYTES_FREE);
    let has_key = !is_small && matches!(principal(parts, app).await, Ok(Some(_)));
    app.body_memory.share(has_key)
}

/// The whole body, unless it is larger than `limit` or its share cannot grow. The rest of a refused
/// body is thrown away as long as more of it keeps coming, up to a bound: a client that is still
/// sending when the connection is closed under it never sees the answer.
async fn collect(
    mut body: axum::body::Body,
    limit: ByteSize,
    mut share: Share,
    mut chunk: Option<ChunkSize>,
) -> Result<Result<Received, Problem>, axum::Error> {
    let (most, mut bytes, mut length) = (limit.as_bytes(), Vec::new(), 0);
    let mut refused = (body.size_hint().lower() > most).then(|| too_large(limit));
    loop {
        let frame = if refused.is_some() {
            let pause = Duration::from_millis(REFUSED_BODY_PAUSE_MS);
            tokio::time::timeout(pause, body.frame())
                .await
                .unwrap_or(None)
        } else {
            let announced = async {
                match &mut chunk {
                    Some(chunk) => chunk.beyond(most).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = announced => {
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
        if length > most {
            refused.get_or_insert_with(|| too_large(limit));
        } else if refused.is_none() && !append(&mut bytes, &data, most, &mut share) {
            refused = Some(out_of_memory());
        }
        if let Some(problem) = &refused {
            // What will not be used is given back at once, while the rest is still coming.
            (bytes, share) = (Vec::new(), Share::unlimited());
            if length > most + REFUSED_BODY_BYTES_MAX {
                return Ok(Err(problem.clone()));
            }
        }
    }
}

/// Appends what has come to a buffer that doubles, up to `most`; `false` when its share cannot
/// grow.
fn append(bytes: &mut Vec<u8>, data: &[u8], most: u64, share: &mut Share) -> bool {
    let needed = bytes.len() + data.len();
    if needed > bytes.capacity() {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let grown = needed.next_power_of_two().min(most);
        if !share.grow_to(grown) {
            return false;
        }
        bytes.reserve_exact(grown - bytes.len());
    }
    bytes.extend_from_slice(data);
    true
}

/// The charset that the body's type names, unless it is UTF-8.
fn foreign_charset(headers: &HeaderMap) -> Option<&str> {
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

fn is_json(headers: &HeaderMap) -> bool {
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

/// Parses a body that was read.
pub(in crate::http) fn parse<C: FromBody>(bytes: &[u8]) -> Result<C, Problem> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Problem::new(Class::Malformed, "malformed_utf8", "the body is not UTF-8"))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let Object(wire) = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| form_problem(&error))?;
    deserializer.end().map_err(|error| malformed(&error))?;
    let mut faults = Faults::default();
    let command = C::from_wire(wire, &mut faults);
    faults.finish(command)
}

fn form_problem(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
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
    let detail = in_words_of_json(detail);
    Problem::invalid(vec![Fault {
        pointer,
        code,
        detail,
    }])
}

/// serde speaks of Rust's types; the caller wrote JSON.
fn in_words_of_json(detail: &str) -> String {
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
        format!("the body is not JSON: {error}"),
    )
}
