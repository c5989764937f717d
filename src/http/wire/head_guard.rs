//! A connection whose heads are looked through before hyper reads them: for the two things that
//! hyper takes and others on the way may read differently.
//!
//! A line that ends with a bare LF is a line to some and a part of one to others, and of a request
//! with both Content-Length and Transfer-Encoding each reads another body. Where two readers of one
//! connection disagree about where a request ends, the rest of one request is taken for another's
//! (RFC 9112 §11.2). So both are refused, whichever way hyper would have understood them.
//!
//! This is no second parser: hyper alone says what a request is and how long its body. Bytes are
//! handed on up to the end of a head and no further, until hyper has begun that request and told
//! the length of its body; then as many bytes as it told, then the next head. What comes after a
//! body of untold length (chunked) is never read as a request: that connection is closed with the
//! answer. Where hyper and this file disagreed about the end of a head, the connection would end,
//! not go on.
//!
//! What is refused is refused by hyper, in its turn among the answers: it is handed something that
//! is no HTTP in place of the rest.

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

/// What no reader of HTTP takes, wherever in a head it stands, with an end, because hyper waits for
/// one before it looks.
const NO_HTTP: &[u8] = b"\0\r\n\r\n";

/// What is said to whoever does not finish the first head of a connection;
/// [`BadRequest`](super::bad_request::BadRequest) gives it its document.
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

const BARE_LF: Refusal = Refusal::malformed(
    "a line of the head ends with a bare LF; lines of HTTP end with CR LF (RFC 9112 §2.2)",
);
const TWO_LENGTHS: Refusal = Refusal::malformed(
    "the head has both Content-Length and Transfer-Encoding; send one of them (RFC 9112 §6.3)",
);
const UNCLEAR_END: Refusal = Refusal::malformed(
    "it is not clear where the head ends; lines of HTTP end with CR LF (RFC 9112 §2.2)",
);
const FRAGMENT: Refusal = Refusal::malformed(
    "the request target contains `#`; write %23 for the character, and leave out a fragment (RFC \
     9112 §3.2)",
);
const UNKNOWN_CODING: Refusal = Refusal {
    status: StatusCode::NOT_IMPLEMENTED,
    code: "unsupported_transfer_coding",
    detail: "the only transfer coding is `chunked`, once; send the body as it is (RFC 9112 §6.1)",
};

/// Counts the beginnings and the ends of a connection's requests: while the count is odd, a request
/// is being served.
#[derive(Clone, Debug, Default)]
pub struct Requests(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Beginnings and ends.
    steps: AtomicU64,
    /// The heads that were handed to hyper whole.
    heads: AtomicU64,
    /// The requests that hyper has begun.
    begun: AtomicU64,
    /// The length of the last one's body, as hyper understood it.
    body: AtomicU64,
    /// The largest chunk that the body in chunks has announced; a connection has at most one such
    /// body.
    chunk: watch::Sender<u64>,
}

/// The length of a body that ends where it says so itself.
const UNKNOWN_LENGTH: u64 = u64::MAX;

/// A request that is being served; it ends with the value.
pub struct Serving {
    requests: Requests,
    /// Whether nothing that comes behind this request may be read as another.
    pub is_last: bool,
}

impl Requests {
    /// The head of a request has come whole; hyper says of its body what `body` says.
    ///
    /// # Panics
    /// When hyper begins a request whose head was not looked through. The connection ends with it.
    pub fn begin(&self, body: &SizeHint) -> Serving {
        let counts = &self.0;
        let length = body.exact().unwrap_or(UNKNOWN_LENGTH);
        counts.body.store(length, Ordering::Release);
        let begun = counts.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let heads = counts.heads.load(Ordering::Acquire);
        assert_eq!(
            begun, heads,
            "hyper began a request whose head was not looked through"
        );
        counts.steps.fetch_add(1, Ordering::AcqRel);
        Serving {
            requests: self.clone(),
            is_last: length == UNKNOWN_LENGTH,
        }
    }

    /// The beginnings and the ends so far.
    pub fn count(&self) -> u64 {
        self.0.steps.load(Ordering::Acquire)
    }

    /// The sizes that the chunks of the last body announce.
    pub fn chunk_size(&self) -> ChunkSize {
        ChunkSize(self.0.chunk.subscribe())
    }

    fn note_chunk(&self, size: u64) {
        self.0.chunk.send_if_modified(|largest| {
            let is_larger = size > *largest;
            *largest = size.max(*largest);
            is_larger
        });
    }

    fn note_head(&self) {
        self.0.heads.fetch_add(1, Ordering::AcqRel);
    }

    /// The length of the body that belongs to the last head, once hyper has begun its request.
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

/// A connection whose heads are looked through, and fails with `TimedOut` when one does not come
/// whole in time.
pub struct HeadGuard<Io> {
    io: Io,
    deadline: HeadDeadline,
    /// Whether a byte has come at all.
    has_begun: bool,
    requests: Requests,
    reason: Reason,
    place: Place,
    chunks: Chunks,
    /// What has come and must not be handed on yet.
    rest: Bytes,
}

/// Where in the conversation the next byte stands.
enum Place {
    Head(Head),
    /// Behind a head that hyper has whole.
    BehindHead,
    /// In a body of which so much is still to come.
    Body(u64),
    /// Behind what was refused; so much of [`NO_HTTP`] is still to be handed on.
    Refused(&'static [u8]),
}

impl<Io> HeadGuard<Io> {
    /// Looks through the heads that come from `io`, each within `limit`; `requests` hears of those
    /// that hyper has begun, `reason` is told why one is refused.
    pub fn new(io: Io, limit: Duration, requests: Requests, reason: Reason) -> Self {
        Self {
            io,
            deadline: HeadDeadline::new(limit),
            has_begun: false,
            requests,
            reason,
            place: Place::Head(Head::default()),
            chunks: Chunks::default(),
            rest: Bytes::new(),
        }
    }

    fn refuse(&mut self, why: Refusal) {
        self.reason.give(why);
        self.place = Place::Refused(NO_HTTP);
        self.rest = Bytes::new();
    }

    /// Hyper wants to read on: behind a head it must have begun the request by now.
    fn move_on(&mut self) {
        if matches!(self.place, Place::BehindHead) {
            match self.requests.body() {
                Some(0) => self.place = Place::Head(Head::default()),
                Some(length) => self.place = Place::Body(length),
                None => self.refuse(UNCLEAR_END),
            }
        }
    }

    /// How many of these bytes, which come next, may be handed on now.
    fn look(&mut self, bytes: &[u8]) -> usize {
        match &mut self.place {
            Place::Head(head) => match head.look(bytes) {
                Found::Nothing => bytes.len(),
                Found::End(length) => {
                    self.requests.note_head();
                    self.place = Place::BehindHead;
                    length
                }
                Found::Fault(length, why) => {
                    self.refuse(why);
                    length
                }
            },
            Place::Body(UNKNOWN_LENGTH) => {
                if let Some(size) = self.chunks.read(bytes) {
                    self.requests.note_chunk(size);
                }
                bytes.len()
            }
            Place::Body(left) => {
                let part = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= part as u64;
                if *left == 0 {
                    self.place = Place::Head(Head::default());
                }
                part
            }
            Place::BehindHead | Place::Refused(_) => 0,
        }
    }

    /// Hands on what was held back, as far as it may be.
    fn hand_on_rest(&mut self, buffer: &mut ReadBuf<'_>) {
        let mut rest = std::mem::take(&mut self.rest);
        let fitting = &rest[..rest.len().min(buffer.remaining())];
        let part = self.look(fitting);
        buffer.put_slice(&fitting[..part]);
        if !matches!(self.place, Place::Refused(_)) {
            rest.advance(part);
            self.rest = rest;
        }
    }
}

impl<Io: AsyncRead + Unpin> HeadGuard<Io> {
    /// Hands on what comes, as far as it may be, and holds back the rest.
    fn poll_more(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        let part = self.look(&buffer.filled()[before..]);
        let surplus = &buffer.filled()[before + part..];
        if !surplus.is_empty() && !matches!(self.place, Place::Refused(_)) {
            self.rest = Bytes::copy_from_slice(surplus);
        }
        buffer.set_filled(before + part);
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncRead + Unpin> HeadGuard<Io> {
    fn poll_looked_through(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.move_on();
        if self.rest.has_remaining() {
            self.hand_on_rest(buffer);
        } else if !matches!(self.place, Place::Refused(_)) {
            ready!(self.poll_more(context, buffer))?;
        }
        // Behind a refusal there is nothing more: to hyper it looks like the end.
        if let Place::Refused(no_http) = &mut self.place {
            let (now, later) = no_http.split_at(no_http.len().min(buffer.remaining()));
            buffer.put_slice(now);
            *no_http = later;
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> HeadGuard<Io> {
    /// Says why the connection is cut, as far as that can be said at once. Only before the first
    /// request: after it, an answer may still be on its way out.
    fn say_too_slow(&mut self, context: &mut Context<'_>) {
        if self.has_begun && self.requests.count() == 0 {
            let io = &mut self.io;
            // Whoever takes nothing any more is cut off without a word.
            if let Poll::Ready(Ok(_)) = Pin::new(&mut *io).poll_write(context, TOO_SLOW) {
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
        if let Poll::Ready(read) = self.poll_looked_through(context, buffer) {
            self.has_begun |= !buffer.filled().is_empty();
            let count = self.requests.count();
            self.deadline.note(count);
            return Poll::Ready(read);
        }
        let count = self.requests.count();
        ready!(self.deadline.poll(context, count));
        self.say_too_slow(context);
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

/// What has been seen of a head.
#[derive(Default)]
struct Head {
    /// Lines that have ended and were not empty.
    lines: usize,
    /// Bytes of the present line, its LF left out.
    length: usize,
    ends_in_cr: bool,
    name: Name,
    /// Whether the method of the first line has ended.
    has_method: bool,
    has_length: bool,
    has_coding: bool,
    /// The transfer coding, while its line comes.
    coding: Option<Coding>,
}

/// What some bytes of a head hold.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// Neither its end nor a fault.
    Nothing,
    /// Its end, behind so many bytes.
    End(usize),
    /// A fault, behind so many bytes.
    Fault(usize, Refusal),
}

impl Head {
    fn look(&mut self, bytes: &[u8]) -> Found {
        for (index, byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if !self.ends_in_cr => return Found::Fault(index, BARE_LF),
                b'\n' if self.coding.take().is_some_and(|coding| coding.is_unknown()) => {
                    return Found::Fault(index, UNKNOWN_CODING);
                }
                b'\n' if self.length > 1 => {
                    self.lines += 1;
                    self.begin_line();
                }
                b'\n' if self.lines > 0 => return Found::End(index + 1),
                // Empty lines before the first one are skipped, here as there (RFC 9112 §2.2).
                b'\n' => self.begin_line(),
                byte => {
                    // The first line has no name; whatever it holds, its fields come later.
                    if self.lines > 0 {
                        self.note_field(*byte);
                    } else if *byte == b'#' && self.has_method {
                        return Found::Fault(index, FRAGMENT);
                    }
                    self.has_method |= *byte == b' ';
                    if self.has_length && self.has_coding {
                        return Found::Fault(index, TWO_LENGTHS);
                    }
                    self.length += 1;
                    self.ends_in_cr = *byte == b'\r';
                }
            }
        }
        Found::Nothing
    }

    fn begin_line(&mut self) {
        self.length = 0;
        self.ends_in_cr = false;
        self.name = Name::default();
    }

    fn note_field(&mut self, byte: u8) {
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

/// The value of a Transfer-Encoding field, as far as it has come. One that is empty is hyper's to
/// refuse.
#[derive(Default)]
struct Coding {
    /// Characters that are those of the one coding there is.
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

/// The name of a header field, as far as it has come and as it would matter.
#[derive(Default)]
struct Name {
    bytes: [u8; Self::LONGEST],
    length: usize,
    is_over: bool,
}

impl Name {
    /// Of the names that are looked for.
    const LONGEST: usize = b"transfer-encoding".len();

    /// Takes the next byte of a line; gives the name at the colon behind it, in small letters.
    fn push(&mut self, byte: u8) -> Option<&[u8]> {
        if self.is_over {
            return None;
        }
        self.is_over = byte == b':' || self.length == Self::LONGEST;
        if byte == b':' {
            return Some(&self.bytes[..self.length]);
        }
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte.to_ascii_lowercase();
            self.length += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// No head of a test takes so long.
    const LONG: Duration = Duration::from_secs(60);

    /// What is found in `head` when it comes in pieces of `size`; the places are counted from its
    /// beginning.
    fn found(head: &str, size: usize) -> Found {
        let mut seen = Head::default();
        for (index, piece) in head.as_bytes().chunks(size).enumerate() {
            match seen.look(piece) {
                Found::Nothing => {}
                Found::End(place) => return Found::End(index * size + place),
                Found::Fault(place, why) => return Found::Fault(index * size + place, why),
            }
        }
        Found::Nothing
    }

    #[test]
    fn heads_end_where_they_end_however_they_are_cut() {
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
                    found(head, size),
                    Found::End(end),
                    "{head:?} in pieces of {size}"
                );
            }
        }
    }

    #[test]
    fn faults_are_found_where_they_are_however_the_head_is_cut() {
        let both =
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nHost: x\r\nTRANSFER-ENCODING: chunked\r\n\r\n";
        let other = "POST / HTTP/1.1\r\ntransfer-encoding:chunked\r\ncontent-length:3\r\n\r\n";
        let gzip = "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n";
        let gzip_chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n";
        let twice =
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n";
        for (head, place, why) in [
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
                    found(head, size),
                    Found::Fault(place, why),
                    "{head:?} in pieces of {size}"
                );
            }
        }
    }

    #[test]
    fn names_that_only_look_alike_are_none_of_them() {
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
            assert_eq!(found(&head, 7), Found::End(head.len()), "{head:?}");
        }
    }

    /// As hyper would, all that can be read at once.
    async fn read<Io: AsyncRead + AsyncWrite + Unpin>(
        heads: &mut HeadGuard<Io>,
        room: usize,
    ) -> String {
        let mut bytes = vec![0; room];
        let length = heads.read(&mut bytes).await.unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[tokio::test]
    async fn nothing_is_handed_on_past_a_head_or_a_body() {
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
        // Whatever still comes is of that body.
        far.write_all(second.as_bytes()).await.unwrap();
        assert_eq!(read(&mut heads, 4096).await, second);
        drop(far);
        assert_eq!(read(&mut heads, 4096).await, "");
    }

    #[tokio::test]
    async fn a_reader_that_sees_another_end_gets_no_further() {
        let (near, mut far) = tokio::io::duplex(4096);
        let reason = Reason::default();
        let mut heads = HeadGuard::new(near, LONG, Requests::default(), reason);
        far.write_all(b"GET / HTTP/1.1\r\n\r\nGET /more HTTP/1.1\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(read(&mut heads, 4096).await, "GET / HTTP/1.1\r\n\r\n");
        // It has begun no request, and wants more.
        assert_eq!(read(&mut heads, 3).await, "\0\r\n");
        assert_eq!(read(&mut heads, 3).await, "\r\n");
        assert_eq!(read(&mut heads, 3).await, "");
    }

    #[test]
    #[should_panic(expected = "was not looked through")]
    fn a_request_without_a_head_that_was_looked_through_is_none() {
        Requests::default().begin(&SizeHint::with_exact(0));
    }
}
