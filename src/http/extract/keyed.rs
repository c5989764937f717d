//! A body together with its `Idempotency-Key`: which calls that move money must have, and calls
//! that create something may have.

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

/// A command, and the key under which it is carried out once.
pub struct Keyed<C> {
    /// The key, bound to this very request.
    pub key: IdempotencyKey,
    /// The command.
    pub command: C,
}

impl<C: FromBody> FromRequest<Arc<App>> for Keyed<C> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        // Said before the body is looked at: nothing in it can mend that.
        if !request.headers().contains_key(IDEMPOTENCY_KEY) {
            let detail = "send an Idempotency-Key header with a fresh UUID; repeat it when you \
                repeat this request";
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

/// A command that may have a key, under which it is carried out once; without one it is carried out
/// each time it comes.
pub struct MayBeKeyed<C> {
    /// The key, if there is one, bound to this very request.
    pub key: Option<IdempotencyKey>,
    /// The command.
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

/// The key of a request, if it has one, bound to its method, path and body.
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
        return Err(invalid("there is more than one Idempotency-Key; send one"));
    }
    let text = value.to_str().map(str::to_owned);
    text.map(Some)
        .map_err(|_| invalid("the Idempotency-Key may hold printable ASCII characters only"))
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Class::Malformed, "idempotency_key_invalid", detail)
}

impl<P: Permission> Shop<P> {
    /// Carries a command out once: what it answers is kept in the transaction of its effects, and a
    /// repetition gets it byte for byte.
    ///
    /// # Errors
    /// `idempotency_key_reused`, and what `f` refuses; nothing was written then, and nothing is
    /// kept of the key.
    pub async fn once<T, F>(
        &self,
        key: impl Into<Option<IdempotencyKey>>,
        status: StatusCode,
        mut f: F,
    ) -> Result<Response, Problem>
    where
        T: Serialize,
        F: FnMut(&mut TenantWork) -> Result<T, Problem> + Send + 'static,
    {
        self.once_or(key, status, move |work| Ok(KeyOutcome::Keep(f(work)?)))
            .await
    }

    /// As [`once`](Self::once), for a command that can end in a problem whose effects are kept and
    /// whose key is not.
    ///
    /// # Errors
    /// `idempotency_key_reused`, what `f` refuses, and the problem that it ends in.
    pub async fn once_or<T, F>(
        &self,
        key: impl Into<Option<IdempotencyKey>>,
        status: StatusCode,
        f: F,
    ) -> Result<Response, Problem>
    where
        T: Serialize,
        F: FnMut(&mut TenantWork) -> Result<KeyOutcome<T, Problem>, Problem> + Send + 'static,
    {
        let show = |_: &TenantView, _| unreachable!("a key is bound to its path");
        self.once_of(key, status, f, show).await
    }

    /// As [`once`](Self::once), for a command that returns a cart. Under the key of a caller
    /// without an API key, only the status and the cart's id are stored: `show` renders the present
    /// cart for a replay.
    ///
    /// # Errors
    /// `idempotency_key_reused` and the refusals of `f`; for a replay also those of `show`, because
    /// the cart may be deleted.
    pub async fn once_cart<T, F, S>(
        &self,
        key: impl Into<Option<IdempotencyKey>>,
        status: StatusCode,
        mut f: F,
        show: S,
    ) -> Result<Response, Problem>
    where
        T: Serialize,
        F: FnMut(&mut TenantWork) -> Result<(T, CartId), Problem> + Send + 'static,
        S: FnMut(&TenantView, CartId) -> Result<T, Problem> + Send + 'static,
    {
        let kept = move |work: &mut TenantWork| {
            let (view, cart_id) = f(work)?;
            Ok(KeyOutcome::KeepCart(view, cart_id))
        };
        self.once_of(key, status, kept, show).await
    }

    async fn once_of<T, F, S>(
        &self,
        key: impl Into<Option<IdempotencyKey>>,
        status: StatusCode,
        mut f: F,
        mut show: S,
    ) -> Result<Response, Problem>
    where
        T: Serialize,
        F: FnMut(&mut TenantWork) -> Result<KeyOutcome<T, Problem>, Problem> + Send + 'static,
        S: FnMut(&TenantView, CartId) -> Result<T, Problem> + Send + 'static,
    {
        let room = self.room();
        let key = key.into();
        let aging = match self.app().clock_watch.is_trusted() {
            true => KeyExpiry::Active,
            false => KeyExpiry::Suspended,
        };
        let answered = self.write_without_room(move |work| {
            // Space is checked only before an execution; a stored answer needs none.
            let mut execute = |work: &mut TenantWork| {
                room()?;
                f(work).map(|outcome| stored(status, outcome))
            };
            let once = match &key {
                Some(key) => idempotency::once(work, key, aging, execute)?,
                None => match execute(work)? {
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
                    let body = body_of(&show(work, cart_id)?);
                    Ok((StoredAnswer { status, body }, true))
                }
                Once::Forgotten(problem) => Err(problem),
            })
        });
        answered
            .await?
            .map(|(answer, is_replayed)| respond(answer, is_replayed))
    }
}

fn body_of(view: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(view).expect("a view is plain data")
}

/// Renders the answer of a command for storage and for the client.
fn stored<T: Serialize>(
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
        StatusCode::from_u16(answer.status).expect("only good statuses are stored");
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
