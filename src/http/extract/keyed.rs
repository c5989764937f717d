//! A body together with its `Idempotency-Key`: required for calls that move money, optional for
//! calls that create something.

use std::sync::Arc;

use axum::extract::{FromRequest, OriginalUri, Request};
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::body::{FromBody, parse, read_json};
use super::shop::{Permission, Shop};
use crate::app::App;
use crate::http::problem::Problem;
use crate::platform::idempotency::{
    self, IdempotencyKey, KeyExpiry, KeyOutcome, Once, StoredAnswer,
};
use crate::primitives::Class;
use crate::primitives::id::CartId;
use crate::storage::{TenantView, TenantWork};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A command with the key under which it runs once.
pub struct Keyed<C> {
    /// The key, bound to this request.
    pub key: IdempotencyKey,
    pub command: C,
}

impl<C: FromBody> FromRequest<Arc<App>> for Keyed<C> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        // Checked before the body is read: the body cannot fix a missing key.
        if !request.headers().contains_key(IDEMPOTENCY_KEY) {
            let detail = "the Idempotency-Key header is missing; send a fresh UUID, and the same \
                one when you repeat this request";
            return Err(Problem::new(
                Class::Malformed,
                "idempotency_key_missing",
                detail,
            ));
        }
        let MayBeKeyed { key, command } = MayBeKeyed::from_request(request, app).await?;
        let key = key.expect("the header is there");
        Ok(Self { key, command })
    }
}

/// A command with an optional key. With a key it runs once, without one each time.
pub struct MayBeKeyed<C> {
    /// The key, if there is one, bound to this request.
    pub key: Option<IdempotencyKey>,
    pub command: C,
}

impl<C: FromBody> FromRequest<Arc<App>> for MayBeKeyed<C> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let header = header(request.headers())?;
        let method = request.method().to_string();
        let path = request.extensions().get::<OriginalUri>().map_or_else(
            || request.uri().path().to_owned(),
            |uri| uri.path().to_owned(),
        );
        let bytes = read_json(request, app).await?;
        Ok(Self {
            key: bind(header, &method, &path, &bytes)?,
            command: parse(&bytes)?,
        })
    }
}

/// Returns the key of a request, if it has one, bound to its method, path and body.
pub(in crate::http) fn key_of(
    headers: &HeaderMap,
    method: &str,
    path: &str,
    body: &[u8],
) -> Result<Option<IdempotencyKey>, Problem> {
    bind(header(headers)?, method, path, body)
}

fn bind(
    header: Option<String>,
    method: &str,
    path: &str,
    body: &[u8],
) -> Result<Option<IdempotencyKey>, Problem> {
    let key = header
        .map(|header| IdempotencyKey::parse(&header, method, path, body))
        .transpose();
    key.map_err(|error| invalid(error.to_string()))
}

fn header(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(invalid(
            "the request has more than one Idempotency-Key; send one",
        ));
    }
    let text = value.to_str().map(str::to_owned);
    text.map(Some).map_err(|_| {
        invalid(
            "the Idempotency-Key has other than printable ASCII characters; send \
            a UUID",
        )
    })
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Class::Malformed, "idempotency_key_invalid", detail)
}

/// The result of a command under a key. Its type says what is stored for a repetition: a view is
/// stored as the answer, and a [`KeyOutcome`] decides at run time.
pub trait Replayable {
    /// The body of the answer.
    type View: Serialize;

    /// Returns the decision about the key.
    fn into_outcome(self) -> KeyOutcome<Self::View, Problem>;

    /// Shows the resource of which a caller without an API key has stored only the id, for a
    /// repetition.
    ///
    /// # Errors
    /// The resource may be gone.
    fn show(_: &TenantView, _: CartId) -> Result<Self::View, Problem> {
        unreachable!("a key is bound to its path")
    }
}

impl<T: Serialize> Replayable for T {
    type View = T;

    fn into_outcome(self) -> KeyOutcome<T, Problem> {
        KeyOutcome::Keep(self)
    }
}

impl<T: Serialize> Replayable for KeyOutcome<T, Problem> {
    type View = T;

    fn into_outcome(self) -> Self {
        self
    }
}

impl<P: Permission> Shop<P> {
    /// Runs a command once: its answer is stored in the transaction of its effects, and a
    /// repetition gets it byte for byte.
    ///
    /// # Errors
    /// `idempotency_key_reused`, the problem of the outcome, or the problem that `f` returns; then
    /// nothing was written and the key is not stored.
    pub async fn once<T, F>(
        &self,
        key: impl Into<Option<IdempotencyKey>>,
        status: StatusCode,
        mut f: F,
    ) -> Result<Response, Problem>
    where
        T: Replayable,
        F: FnMut(&mut TenantWork) -> Result<T, Problem> + Send + 'static,
    {
        let check_room = self.room_check();
        let key = key.into();
        let aging = match self.app().stores.clock_watch.is_trusted() {
            true => KeyExpiry::Active,
            false => KeyExpiry::Suspended,
        };
        let outcome = self.write_unchecked(move |work| {
            // Checked only for new work: a replay needs no room.
            let mut run = |work: &mut TenantWork| {
                check_room()?;
                f(work).map(|result| to_stored(status, result.into_outcome()))
            };
            let once = match &key {
                Some(key) => idempotency::once(work, key, aging, run)?,
                None => match run(work)? {
                    KeyOutcome::Keep(answer) | KeyOutcome::KeepCart(answer, _) => {
                        Once::First(answer)
                    }
                    KeyOutcome::Forget(problem) => Once::Forgotten(problem),
                },
            };
            Ok::<_, Problem>(match once {
                Once::First(answer) => Ok((answer, false)),
                Once::Replayed(answer) => Ok((answer, true)),
                Once::ReplayedCart { status, cart_id } => {
                    let body = body_of(&T::show(work, cart_id)?);
                    Ok((StoredAnswer { status, body }, true))
                }
                Once::Forgotten(problem) => Err(problem),
            })
        });
        outcome
            .await?
            .map(|(answer, is_replayed)| respond(answer, is_replayed))
    }
}

fn body_of(view: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(view).expect("a view is plain data")
}

/// Converts the result of a command to the stored answer.
fn to_stored<T: Serialize>(
    status: StatusCode,
    outcome: KeyOutcome<T, Problem>,
) -> KeyOutcome<StoredAnswer, Problem> {
    let answer = |view: &T| StoredAnswer {
        status: status.as_u16(),
        body: body_of(view),
    };
    match outcome {
        KeyOutcome::Keep(view) => KeyOutcome::Keep(answer(&view)),
        KeyOutcome::KeepCart(view, cart_id) => KeyOutcome::KeepCart(answer(&view), cart_id),
        KeyOutcome::Forget(problem) => KeyOutcome::Forget(problem),
    }
}

fn respond(answer: StoredAnswer, replayed: bool) -> Response {
    let mut response = Response::new(axum::body::Body::from(Bytes::from(answer.body)));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).expect("only valid statuses are stored");
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if replayed {
        response
            .headers_mut()
            .insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    response
}
