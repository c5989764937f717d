//! A connection that gives hyper's bare refusals the one form of every error.
//!
//! A head that is too large or is not HTTP reaches no service: hyper answers it with a bare status
//! and closes. This layer completes that answer on its way out. It reads no requests; hyper decides
//! what is refused.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::date::Dates;
use crate::http::problem::{MEDIA_TYPE, Problem};
use crate::http::request_id::{REQUEST_ID, fresh_request_id};
use crate::primitives::Entropy;

/// The refusal of a head, where the guard knows the reason better than hyper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub code: &'static str,
    /// The fault and its remedy, for people.
    pub detail: &'static str,
}

impl Refusal {
    /// The refusal of invalid or ambiguous HTTP.
    pub const fn malformed(detail: &'static str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "malformed_request",
            detail,
        }
    }
}

/// The refusal of a connection's last head, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Reason(Arc<OnceLock<Refusal>>);

impl Reason {
    /// Sets the refusal; the first one counts.
    pub fn set(&self, refusal: Refusal) {
        // A refusal ends the connection: there is no second one.
        let _ = self.0.set(refusal);
    }
}

/// A connection that adds a problem document to bare refusals.
pub struct BadRequest<Io> {
    io: Io,
    entropy: Arc<dyn Entropy>,
    dates: Arc<Dates>,
    reason: Reason,
    /// The unsent rest of a completed refusal.
    pending: Bytes,
}

impl<Io: AsyncWrite + Unpin> BadRequest<Io> {
    /// Wraps `io`. Request ids of unreadable requests come from `entropy`, the date from `dates`.
    pub fn new(io: Io, entropy: Arc<dyn Entropy>, dates: Arc<Dates>, reason: Reason) -> Self {
        Self {
            io,
            entropy,
            dates,
            reason,
            pending: Bytes::new(),
        }
    }

    fn poll_pending(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.pending.has_remaining() {
            let written = ready!(Pin::new(&mut self.io).poll_write(context, &self.pending))?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.pending.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn refusal(&self, status: StatusCode, head: &str) -> Bytes {
        let request_id = fresh_request_id(self.entropy.as_ref());
        let given = self
            .reason
            .0
            .get()
            .filter(|_| status == StatusCode::BAD_REQUEST);
        let given = given.copied().unwrap_or_else(|| default_refusal(status));
        let head = head.replacen(&status.to_string(), &given.status.to_string(), 1);
        let status = given.status;
        metrics::counter!("tillbox_http_bad_requests_total",
            "status" => status.as_str().to_owned())
        .increment(1);
        let problem = Problem::of_status(status, given.code, given.detail);
        let document = problem.document(&request_id).to_string();
        tracing::debug!(request_id, status = status.as_u16(), "unreadable request");
        let fields = format!(
            "content-type: {MEDIA_TYPE}\r\n{REQUEST_ID}: {request_id}\r\ndate: \
             {}\r\ncontent-length: {}",
            self.dates.header().to_str().unwrap_or_default(),
            document.len()
        );
        Bytes::from(head.replacen(NO_BODY, &fields, 1) + &document)
    }
}

const NO_BODY: &str = "content-length: 0";

/// The detail of `server_busy` for a connection beyond `server.max_connections`.
pub const TOO_MANY_CONNECTIONS: &str = "the server has its maximum of connections; nothing was \
    changed; connect again in a second";

/// Returns the status and head of a refusal that is not the router's: a bare 4xx of hyper's or
/// ours, or our 503. Each answer of the router has a date.
fn bare_refusal(bytes: &[u8]) -> Option<(StatusCode, &str)> {
    // A cheap test first, because all other answers pass here as well.
    if !bytes.starts_with(b"HTTP/1.1 4") && !bytes.starts_with(b"HTTP/1.1 503") {
        return None;
    }
    let head = std::str::from_utf8(bytes).ok()?;
    let is_whole = head.find("\r\n\r\n") == Some(head.len() - 4);
    let has_no_body = head.contains(&format!("\r\n{NO_BODY}\r\n"));
    let has_date = head.contains("\r\ndate: ");
    let status = head.get(9..12)?.parse().ok()?;
    (is_whole && has_no_body && !has_date).then_some((status, head))
}

fn default_refusal(status: StatusCode) -> Refusal {
    let (code, detail) = match status {
        StatusCode::TOO_MANY_REQUESTS => (
            "too_many_connections",
            "too many connections from this address; close some, and reuse one for many requests",
        ),
        StatusCode::SERVICE_UNAVAILABLE => ("server_busy", TOO_MANY_CONNECTIONS),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (
            "headers_too_large",
            "the header fields are too many or too large; send fewer or shorter ones",
        ),
        StatusCode::REQUEST_TIMEOUT => (
            "head_timeout",
            "the request line and the header fields took too long to arrive; nothing was changed; \
            send them in one piece",
        ),
        StatusCode::URI_TOO_LONG => (
            "uri_too_long",
            "the path and the query are too long; send shorter ones",
        ),
        _ => (
            "malformed_request",
            "the request is not HTTP/1.1 (RFC 9112): its first line or a header field is \
            malformed; send valid HTTP",
        ),
    };
    Refusal {
        status,
        code,
        detail,
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for BadRequest<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for BadRequest<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_pending(context))?;
        if let Some((status, head)) = bare_refusal(bytes) {
            self.pending = self.refusal(status, head);
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A refusal is one slice: it has no body for another.
        if let [bytes] = slices {
            return self.poll_write(context, bytes);
        }
        ready!(self.poll_pending(context))?;
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(context))?;
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(context))?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::{ManualClock, SeededEntropy, Timestamp};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const BARE: &str = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: \
        close\r\ncontent-length: 0\r\n\r\n";

    /// Returns what arrives of `bytes` over a connection that accepts four bytes at a time.
    async fn sent(bytes: &str) -> String {
        let (near, mut far) = tokio::io::duplex(4);
        let dates = Arc::new(Dates::new(Arc::new(ManualClock::new(
            Timestamp::from_millis_clamped(0),
        ))));
        let mut near = BadRequest::new(
            near,
            Arc::new(SeededEntropy::new(1)),
            dates,
            Reason::default(),
        );
        let sending = async {
            near.write_all(bytes.as_bytes()).await.unwrap();
            near.shutdown().await.unwrap();
        };
        let mut text = String::new();
        let (_, read) = tokio::join!(sending, far.read_to_string(&mut text));
        read.unwrap();
        text
    }

    #[tokio::test]
    async fn adds_document_to_bare_refusal() {
        let sent = sent(BARE).await;
        let (head, body) = sent.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains("\r\nconnection: close\r\ncontent-type: application/problem+json\r\n"),
            "{head}"
        );
        assert!(
            head.contains(&format!("\r\ncontent-length: {}", body.len())),
            "{head}"
        );
        let document: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            (&document["status"], &document["code"]),
            (&431.into(), &"headers_too_large".into())
        );
        let request_id = document["request_id"].as_str().unwrap();
        assert!(
            head.contains(&format!("\r\nx-request-id: {request_id}\r\n")),
            "{head}"
        );
        assert!(
            head.contains("\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"),
            "{head}"
        );
    }

    #[tokio::test]
    async fn passes_other_answers_unchanged() {
        let with_body = "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}";
        let from_router = BARE.replace("connection: ", "date: now\r\nconnection: ");
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        for bytes in [
            with_body,
            &from_router,
            ok,
            "",
            "HTTP/1.1 4",
            &BARE[..BARE.len() - 2],
            &format!("{BARE}{ok}"),
        ] {
            assert_eq!(sent(bytes).await, bytes);
        }
    }
}
