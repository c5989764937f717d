//! A body that nobody reads, because the request was refused by its path, its key or its type: it
//! is thrown away as it comes, up to a bound.
//!
//! A client that is still sending when the connection is closed under it gets a reset, and never
//! sees why it was refused.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use bytes::Bytes;
use http::header::EXPECT;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};

use crate::primitives::limits::{REFUSED_BODY_BYTES_MAX, REFUSED_BODY_MS, REFUSED_BODY_PAUSE_MS};

/// Bodies up to this size hyper itself reads to their end: they fit into what it takes from the
/// socket at once.
const SMALL_BYTES: u64 = 8 * 1024;

/// The request, its body thrown away when it is left unread. Whoever asks first whether to send it
/// (`Expect`) is told, and sends nothing.
pub fn thrown_away(request: Request) -> Request {
    let is_small = request
        .body()
        .size_hint()
        .upper()
        .is_some_and(|most| most <= SMALL_BYTES);
    if is_small || request.headers().contains_key(EXPECT) {
        request
    } else {
        request.map(|body| {
            Body::new(UnreadBody {
                body,
                is_over: false,
            })
        })
    }
}

struct UnreadBody {
    body: Body,
    is_over: bool,
}

impl HttpBody for UnreadBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.is_over |= matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for UnreadBody {
    fn drop(&mut self) {
        if self.is_over || self.body.is_end_stream() {
            return;
        }
        let body = std::mem::take(&mut self.body);
        // Where there is no runtime any more, there is no connection either.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let limit = Duration::from_millis(REFUSED_BODY_MS);
            runtime.spawn(tokio::time::timeout(limit, throw_away(body)));
        }
    }
}

async fn throw_away(mut body: Body) {
    let pause = Duration::from_millis(REFUSED_BODY_PAUSE_MS);
    let mut length = 0;
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(pause, body.frame()).await {
        length += frame.data_ref().map_or(0, |data| data.len() as u64);
        if length > REFUSED_BODY_BYTES_MAX {
            return;
        }
    }
}
