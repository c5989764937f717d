//! Discards the unread body of a request that was refused by its path, its key or its type, up to a
//! bound.
//!
//! A client that is still sending when the connection closes gets a reset and never sees the
//! refusal.

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

/// Hyper itself reads bodies up to this size to their end: they fit into one read of the socket.
const SMALL_BYTES: u64 = 8 * 1024;

/// Wraps a request so that its unread body is discarded. A client that asks first (`Expect`) gets
/// the refusal and sends no body.
pub fn discard_unread(request: Request) -> Request {
    let is_small = request
        .body()
        .size_hint()
        .upper()
        .is_some_and(|length| length <= SMALL_BYTES);
    if is_small || request.headers().contains_key(EXPECT) {
        request
    } else {
        request.map(|body| {
            Body::new(UnreadBody {
                body,
                has_ended: false,
            })
        })
    }
}

struct UnreadBody {
    body: Body,
    has_ended: bool,
}

impl HttpBody for UnreadBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.has_ended |= matches!(polled, Poll::Ready(None | Some(Err(_))));
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
        if self.has_ended || self.body.is_end_stream() {
            return;
        }
        let body = std::mem::take(&mut self.body);
        // Without a runtime there is no connection either.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let limit = Duration::from_millis(REFUSED_BODY_MS);
            runtime.spawn(tokio::time::timeout(limit, discard(body)));
        }
    }
}

async fn discard(mut body: Body) {
    let pause = Duration::from_millis(REFUSED_BODY_PAUSE_MS);
    let mut length = 0;
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(pause, body.frame()).await {
        length += frame.data_ref().map_or(0, |data| data.len() as u64);
        if length > REFUSED_BODY_BYTES_MAX {
            return;
        }
    }
}
