//! A connection that checks request heads before hyper reads them, for ambiguities that hyper
//! accepts and proxies may read differently.
//!
//! Some readers accept a line that ends with a bare LF, others treat it as part of a line. A
//! request with both Content-Length and Transfer-Encoding has two possible bodies. When two readers
//! of a connection disagree about the end of a request, part of one request is taken for another
//! (request smuggling, RFC 9112 §11.2). So both are refused, whatever hyper would have done.
//!
//! This is not a second parser: only hyper decides what a request is and how long its body is. The
//! guard passes bytes on up to the end of a head, until hyper has begun that request and reported
//! the length of its body. Then it passes on that many bytes, then the next head. Bytes after a
//! body of unknown length (chunked) are never read as a request: that connection closes with the
//! answer. If hyper and the guard disagree about the end of a head, the connection ends.
//!
//! Hyper sends the refusal, in order among the answers: the guard passes it invalid bytes instead
//! of the rest.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::StatusCode;
use hyper::body::SizeHint;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use super::bad_request::{Reason, Refusal};
use super::chunks::{ChunkSize, Chunks};
use super::deadlines::HeadDeadline;

/// Bytes that are invalid anywhere in a head. They have an end, because hyper waits for one before
/// it parses.
const INVALID_HEAD: &[u8] = b"\0\r\n\r\n";

/// The answer to a client that does not finish the first head of a connection;
/// [`BadRequest`](super::bad_request::BadRequest) adds the document.
const HEAD_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

const BARE_LF: Refusal = Refusal::malformed(
    "a line of the head ends with a bare LF; lines of HTTP end with CR LF (RFC 9112 §2.2)",
);
const TWO_LENGTHS: Refusal = Refusal::malformed(
    "the head has both Content-Length and Transfer-Encoding; send one of them (RFC 9112 §6.3)",
);
const UNCLEAR_END: Refusal = Refusal::malformed(
    "the end of the head is ambiguous; lines of HTTP end with CR LF (RFC 9112 §2.2)",
);
const FRAGMENT: Refusal = Refusal::malformed(
    "the request target contains `#`; write %23 for the character, and leave out a fragment (RFC \
     9112 §3.2)",
);
const UNKNOWN_CODING: Refusal = Refusal {
    status: StatusCode::NOT_IMPLEMENTED,
    code: "unsupported_transfer_coding",
    detail: "the only supported transfer coding is `chunked`, once; send the body uncompressed \
        (RFC 9112 §6.1)",
};

/// Counts the beginnings and ends of a connection's requests: while the count is odd, a request is
/// being served.
#[derive(Clone, Debug, Default)]
pub struct Requests(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Beginnings and ends.
    steps: AtomicU64,
    /// Heads that hyper has received completely.
    heads: AtomicU64,
    /// Requests that hyper has begun.
    begun: AtomicU64,
    /// The length of the last request's body, as hyper understood it.
    body: AtomicU64,
    /// The largest chunk size that the chunked body has announced; a connection has at most one
    /// such body.
    chunk: watch::Sender<u64>,
}

/// The length of a body that marks its own end (chunked).
const UNKNOWN_LENGTH: u64 = u64::MAX;

/// A request that is being served; it ends when this is dropped.
pub struct Serving {
    requests: Requests,
    /// Whether the connection must close after this request.
    pub is_last: bool,
}

impl Requests {
    /// Records that hyper has begun a request with this body size.
    ///
    /// # Panics
    /// When hyper begins a request whose head was not checked. The connection ends with it.
    pub fn begin(&self, body: &SizeHint) -> Serving {
        let counts = &self.0;
        let length = body.exact().unwrap_or(UNKNOWN_LENGTH);
        counts.body.store(length, Ordering::Release);
        let begun = counts.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let heads = counts.heads.load(Ordering::Acquire);
        assert_eq!(
            begun, heads,
            "hyper began a request whose head was not checked"
        );
        counts.steps.fetch_add(1, Ordering::AcqRel);
        Serving {
            requests: self.clone(),
            is_last: length == UNKNOWN_LENGTH,
        }
    }

    /// Returns the number of beginnings and ends so far.
    pub fn count(&self) -> u64 {
        self.0.steps.load(Ordering::Acquire)
    }

    /// Returns the chunk sizes that the last body announces.
    pub fn chunk_size(&self) -> ChunkSize {
        ChunkSize(self.0.chunk.subscribe())
    }

    fn record_chunk(&self, size: u64) {
        self.0.chunk.send_if_modified(|largest| {
            let is_larger = size > *largest;
            *largest = size.max(*largest);
            is_larger
        });
    }

    fn record_head(&self) {
        self.0.heads.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns the body length of the last head, once hyper has begun its request.
    fn body(&self) -> Option<u64> {
        let counts = &self.0;
        let has_begun =
            counts.begun.load(Ordering::Acquire) == counts.heads.load(Ordering::Acquire);
        has_begun.then(|| counts.body.load(Ordering::Acquire))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.requests.0.steps.fetch_add(1, Ordering::AcqRel);
    }
}

/// A connection that checks request heads, and fails with `TimedOut` when a head is not complete in
/// time.
pub struct HeadGuard<Io> {
    io: Io,
    deadline: HeadDeadline,
    /// Whether any byte has come.
    has_begun: bool,
    requests: Requests,
    reason: Reason,
    position: GuardPosition,
    chunks: Chunks,
    /// Bytes that have come and must not be passed on yet.
    rest: Bytes,
}

/// The position of the next byte.
enum GuardPosition {
    Head(Head),
    /// After a head that hyper has completely.
    AfterHead,
    /// In a body; the bytes that are still to come.
    Body(u64),
    /// After a refusal; the part of [`INVALID_HEAD`] that is still to be passed on.
    Refused(&'static [u8]),
}

impl<Io> HeadGuard<Io> {
    /// Checks the heads that come from `io`, each within `limit`. `requests` counts the requests
    /// that hyper has begun; `reason` receives the reason of a refusal.
    pub fn new(io: Io, limit: Duration, requests: Requests, reason: Reason) -> Self {
        Self {
            io,
            deadline: HeadDeadline::new(limit),
            has_begun: false,
            requests,
            reason,
            position: GuardPosition::Head(Head::default()),
            chunks: Chunks::default(),
            rest: Bytes::new(),
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.reason.set(refusal);
        self.position = GuardPosition::Refused(INVALID_HEAD);
        self.rest = Bytes::new();
    }

    /// Hyper reads on: after a head it must have begun the request by now.
    fn advance(&mut self) {
        if matches!(self.position, GuardPosition::AfterHead) {
            match self.requests.body() {
                Some(0) => self.position = GuardPosition::Head(Head::default()),
                Some(length) => self.position = GuardPosition::Body(length),
                None => self.refuse(UNCLEAR_END),
            }
        }
    }

    /// Returns how many of the next bytes may be passed on now.
    fn scan(&mut self, bytes: &[u8]) -> usize {
        match &mut self.position {
            GuardPosition::Head(head) => match head.scan(bytes) {
                HeadScan::Incomplete => bytes.len(),
                HeadScan::End(length) => {
                    self.requests.record_head();
                    self.position = GuardPosition::AfterHead;
                    length
                }
                HeadScan::Fault(length, refusal) => {
                    self.refuse(refusal);
                    length
                }
            },
            GuardPosition::Body(UNKNOWN_LENGTH) => {
                if let Some(size) = self.chunks.read(bytes) {
                    self.requests.record_chunk(size);
                }
                bytes.len()
            }
            GuardPosition::Body(left) => {
                let part = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= part as u64;
                if *left == 0 {
                    self.position = GuardPosition::Head(Head::default());
                }
                part
            }
            GuardPosition::AfterHead | GuardPosition::Refused(_) => 0,
        }
    }

    /// Passes on held bytes, as far as allowed.
    fn pass_rest(&mut self, buffer: &mut ReadBuf<'_>) {
        let mut rest = std::mem::take(&mut self.rest);
        let fitting = &rest[..rest.len().min(buffer.remaining())];
        let part = self.scan(fitting);
        buffer.put_slice(&fitting[..part]);
        if !matches!(self.position, GuardPosition::Refused(_)) {
            rest.advance(part);
            self.rest = rest;
        }
    }
}

impl<Io: AsyncRead + Unpin> HeadGuard<Io> {
    /// Passes on incoming bytes, as far as allowed, and holds the rest.
    fn poll_io(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        let part = self.scan(&buffer.filled()[before..]);
        let surplus = &buffer.filled()[before + part..];
        if !surplus.is_empty() && !matches!(self.position, GuardPosition::Refused(_)) {
            self.rest = Bytes::copy_from_slice(surplus);
        }
        buffer.set_filled(before + part);
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncRead + Unpin> HeadGuard<Io> {
    fn poll_checked(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.advance();
        if self.rest.has_remaining() {
            self.pass_rest(buffer);
        } else if !matches!(self.position, GuardPosition::Refused(_)) {
            ready!(self.poll_io(context, buffer))?;
        }
        // After a refusal hyper sees the end of the stream.
        if let GuardPosition::Refused(invalid) = &mut self.position {
            let (now, later) = invalid.split_at(invalid.len().min(buffer.remaining()));
            buffer.put_slice(now);
            *invalid = later;
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> HeadGuard<Io> {
    /// Sends the time-out answer, as far as it can be written at once. Only before the first
    /// request: later, an answer may still be on its way out.
    fn send_timeout(&mut self, context: &mut Context<'_>) {
        if self.has_begun && self.requests.count() == 0 {
            let io = &mut self.io;
            // A client that reads nothing is cut off without an answer.
            if let Poll::Ready(Ok(_)) = Pin::new(&mut *io).poll_write(context, HEAD_TIMEOUT) {
                let _ = Pin::new(io).poll_flush(context);
            }
        }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncRead for HeadGuard<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = self.poll_checked(context, buffer) {
            self.has_begun |= !buffer.filled().is_empty();
            let count = self.requests.count();
            self.deadline.record(count);
            return Poll::Ready(read);
        }
        let count = self.requests.count();
        ready!(self.deadline.poll(context, count));
        self.send_timeout(context);
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for HeadGuard<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// The state of a head that is being read.
#[derive(Default)]
struct Head {
    /// Complete lines that were not empty.
    lines: usize,
    /// Bytes of the current line, without its LF.
    length: usize,
    ends_in_cr: bool,
    name: Name,
    /// Whether the method of the first line has ended.
    has_method: bool,
    has_length: bool,
    has_coding: bool,
    /// The transfer coding, while its line is read.
    coding: Option<Coding>,
}

/// The result of scanning some bytes of a head.
#[derive(Debug, PartialEq, Eq)]
enum HeadScan {
    /// Neither the end nor a fault.
    Incomplete,
    /// The end, after this many bytes.
    End(usize),
    /// A fault, after this many bytes.
    Fault(usize, Refusal),
}

impl Head {
    fn scan(&mut self, bytes: &[u8]) -> HeadScan {
        for (index, byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if !self.ends_in_cr => return HeadScan::Fault(index, BARE_LF),
                b'\n' if self.coding.take().is_some_and(|coding| coding.is_unknown()) => {
                    return HeadScan::Fault(index, UNKNOWN_CODING);
                }
                b'\n' if self.length > 1 => {
                    self.lines += 1;
                    self.begin_line();
                }
                b'\n' if self.lines > 0 => return HeadScan::End(index + 1),
                // Empty lines before the first one are skipped (RFC 9112 §2.2), as hyper does.
                b'\n' => self.begin_line(),
                byte => {
                    // The first line is not a header field.
                    if self.lines > 0 {
                        self.scan_field_byte(*byte);
                    } else if *byte == b'#' && self.has_method {
                        return HeadScan::Fault(index, FRAGMENT);
                    }
                    self.has_method |= *byte == b' ';
                    if self.has_length && self.has_coding {
                        return HeadScan::Fault(index, TWO_LENGTHS);
                    }
                    self.length += 1;
                    self.ends_in_cr = *byte == b'\r';
                }
            }
        }
        HeadScan::Incomplete
    }

    fn begin_line(&mut self) {
        self.length = 0;
        self.ends_in_cr = false;
        self.name = Name::default();
    }

    fn scan_field_byte(&mut self, byte: u8) {
        if let Some(coding) = &mut self.coding {
            coding.push(byte);
        }
        match self.name.push(byte) {
            Some(b"content-length") => self.has_length = true,
            Some(b"transfer-encoding") => {
                self.coding = Some(Coding {
                    is_other: self.has_coding,
                    ..Coding::default()
                });
                self.has_coding = true;
            }
            _ => {}
        }
    }
}

/// The value of a Transfer-Encoding field, as far as it was read. Hyper refuses an empty one.
#[derive(Default)]
struct Coding {
    /// Matched characters of `chunked`.
    matched: usize,
    /// Whether there is anything else, or the field is the second of its name.
    is_other: bool,
}

impl Coding {
    fn push(&mut self, byte: u8) {
        if matches!(byte, b' ' | b'\t' | b'\r') {
            return;
        }
        match b"chunked".get(self.matched) {
            Some(expected) if byte.eq_ignore_ascii_case(expected) => self.matched += 1,
            _ => self.is_other = true,
        }
    }

    const fn is_unknown(&self) -> bool {
        self.is_other || (self.matched > 0 && self.matched < b"chunked".len())
    }
}

/// The lower-case name of a header field, as far as it was read and can matter.
#[derive(Default)]
struct Name {
    bytes: [u8; Self::LONGEST],
    length: usize,
    has_ended: bool,
}

impl Name {
    /// The length of the longest relevant name.
    const LONGEST: usize = b"transfer-encoding".len();

    /// Adds the next byte of a line. Returns the name at the colon after it.
    fn push(&mut self, byte: u8) -> Option<&[u8]> {
        if self.has_ended {
            return None;
        }
        self.has_ended = byte == b':' || self.length == Self::LONGEST;
        if byte == b':' {
            return Some(&self.bytes[..self.length]);
        }
        if let Some(slot) = self.bytes.get_mut(self.length) {
            *slot = byte.to_ascii_lowercase();
            self.length += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Longer than any test needs for a head.
    const LONG: Duration = Duration::from_secs(60);

    /// Scans `head` in pieces of `size`; positions count from its beginning.
    fn scan(head: &str, size: usize) -> HeadScan {
        let mut state = Head::default();
        for (index, piece) in head.as_bytes().chunks(size).enumerate() {
            match state.scan(piece) {
                HeadScan::Incomplete => {}
                HeadScan::End(position) => return HeadScan::End(index * size + position),
                HeadScan::Fault(position, refusal) => {
                    return HeadScan::Fault(index * size + position, refusal);
                }
            }
        }
        HeadScan::Incomplete
    }

    #[test]
    fn finds_end_of_head_when_it_comes_in_pieces() {
        for (head, end) in [
            ("GET / HTTP/1.1\r\n\r\n", 18),
            ("GET / HTTP/1.1\r\nhost: x\r\n\r\nGET", 27),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", 22),
            ("GET / HTTP/1.1\r\na: \r\n\r\n\r\n", 23),
            ("POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\n\n", 38),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
                47,
            ),
        ] {
            for size in 1..=head.len() {
                assert_eq!(
                    scan(head, size),
                    HeadScan::End(end),
                    "{head:?} in pieces of {size}"
                );
            }
        }
    }

    #[test]
    fn finds_fault_when_head_comes_in_pieces() {
        let both =
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nHost: x\r\nTRANSFER-ENCODING: chunked\r\n\r\n";
        let other = "POST / HTTP/1.1\r\ntransfer-encoding:chunked\r\ncontent-length:3\r\n\r\n";
        let gzip = "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n";
        let gzip_chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n";
        let twice =
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n";
        for (head, position, refusal) in [
            ("\nGET / HTTP/1.1\r\n\r\n", 0, BARE_LF),
            ("GET / HTTP/1.1\n\n", 14, BARE_LF),
            ("GET / HTTP/1.1\r\nhost: x\nx: y\r\n\r\n", 23, BARE_LF),
            ("GET / HTTP/1.1\r\nhost: x\r\n\n", 25, BARE_LF),
            ("GET / HTTP/1.1\r\nhost: x\r y\n\r\n", 26, BARE_LF),
            (both, both.find(": chunked").unwrap(), TWO_LENGTHS),
            (other, other.find(":3").unwrap(), TWO_LENGTHS),
            ("GET /a#b HTTP/1.1\r\n\r\n", 6, FRAGMENT),
            ("GET http://x/#b HTTP/1.1\r\n\r\n", 13, FRAGMENT),
            (gzip, gzip.len() - 3, UNKNOWN_CODING),
            (gzip_chunked, gzip_chunked.len() - 3, UNKNOWN_CODING),
            (twice, twice.len() - 3, UNKNOWN_CODING),
        ] {
            for size in 1..=head.len() {
                assert_eq!(
                    scan(head, size),
                    HeadScan::Fault(position, refusal),
                    "{head:?} in pieces of {size}"
                );
            }
        }
    }

    #[test]
    fn ignores_similar_names() {
        for fields in [
            "content-length: 3\r\ncontent-length: 3",
            "x-content-length: 3\r\ntransfer-encoding: chunked",
            "content-length: 3\r\ntransfer-encodings: chunked",
            "content-length: 3\r\nx: transfer-encoding: chunked",
            "content-length: 3\r\ntransfer-encoding",
            "transfer-encoding:\tChunked \r\nx: #",
            "transfer-encoding: \r\nx: gzip",
        ] {
            let head = format!("POST /content-length: HTTP/1.1\r\n{fields}\r\n\r\n");
            assert_eq!(scan(&head, 7), HeadScan::End(head.len()), "{head:?}");
        }
    }

    /// Reads all that can be read at once, as hyper does.
    async fn read<Io: AsyncRead + AsyncWrite + Unpin>(
        heads: &mut HeadGuard<Io>,
        room: usize,
    ) -> String {
        let mut bytes = vec![0; room];
        let length = heads.read(&mut bytes).await.unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[tokio::test]
    async fn passes_nothing_past_head_or_body() {
        let (near, mut far) = tokio::io::duplex(4096);
        let requests = Requests::default();
        let mut heads = HeadGuard::new(near, LONG, requests.clone(), Reason::default());
        let first = "POST /1 HTTP/1.1\r\ncontent-length: 6\r\n\r\n";
        let second = "GET /2 HTTP/1.1\r\n\r\n";
        let third = "POST /3 HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        far.write_all(format!("{first}a\n\n\nbc{second}{third}2\r\n\n\n\r\n").as_bytes())
            .await
            .unwrap();
        assert_eq!(read(&mut heads, 4096).await, first);
        drop(requests.begin(&SizeHint::with_exact(6)));
        assert_eq!(read(&mut heads, 4).await, "a\n\n\n");
        assert_eq!(read(&mut heads, 4096).await, "bc");
        assert_eq!(read(&mut heads, 4096).await, second);
        drop(requests.begin(&SizeHint::with_exact(0)));
        assert_eq!(read(&mut heads, 9).await, &third[..9]);
        assert_eq!(read(&mut heads, 4096).await, &third[9..]);
        assert!(requests.begin(&SizeHint::default()).is_last);
        assert_eq!(read(&mut heads, 4096).await, "2\r\n\n\n\r\n");
        // All further bytes belong to that body.
        far.write_all(second.as_bytes()).await.unwrap();
        assert_eq!(read(&mut heads, 4096).await, second);
        drop(far);
        assert_eq!(read(&mut heads, 4096).await, "");
    }

    #[tokio::test]
    async fn refuses_when_reader_begins_no_request_after_head() {
        let (near, mut far) = tokio::io::duplex(4096);
        let reason = Reason::default();
        let mut heads = HeadGuard::new(near, LONG, Requests::default(), reason);
        far.write_all(b"GET / HTTP/1.1\r\n\r\nGET /more HTTP/1.1\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(read(&mut heads, 4096).await, "GET / HTTP/1.1\r\n\r\n");
        // No request has begun, and the reader wants more.
        assert_eq!(read(&mut heads, 3).await, "\0\r\n");
        assert_eq!(read(&mut heads, 3).await, "\r\n");
        assert_eq!(read(&mut heads, 3).await, "");
    }

    #[test]
    #[should_panic(expected = "was not checked")]
    fn panics_when_request_begins_without_checked_head() {
        Requests::default().begin(&SizeHint::with_exact(0));
    }
}
