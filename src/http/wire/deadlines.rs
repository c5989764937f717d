//! Connection deadlines that hyper lacks: for a request head that has begun, and for the client to
//! read its answer.
//!
//! hyper has one time-out for a head and for the wait for the next one. A short one closes the
//! connections that a proxy keeps for its next request, and loses a request that is on its way. A
//! long one lets every slow client keep a connection. So hyper gets the long one, and the short one
//! is enforced here, where the bytes arrive.
//!
//! hyper has no write time-out: a client that requests much and reads nothing would keep its
//! connection for ever, and a few thousand of those would shut out everybody else. Any progress
//! restarts the time.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// The deadline for the heads of a connection.
pub struct HeadDeadline {
    limit: Duration,
    /// The count of [`Requests`](super::head_guard::Requests) at which a head began to arrive, and
    /// its deadline.
    head: Option<(u64, Instant)>,
    /// Created at the first head that does not arrive in one piece; most connections never need it.
    timer: Option<Pin<Box<Sleep>>>,
}

impl HeadDeadline {
    /// Creates a deadline of `limit` for each head; the first one counts from now, whether it has
    /// begun or not.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            head: Some((0, Instant::now() + limit)),
            timer: None,
        }
    }

    /// Returns the deadline of the arriving head, if there is one.
    fn deadline(&self, count: u64) -> Option<Instant> {
        self.head
            .filter(|(began_at, _)| *began_at == count)
            .map(|(_, deadline)| deadline)
    }

    /// Records that bytes arrived at a count of beginnings and ends of requests. They belong to a
    /// head, unless a request is being served.
    pub fn record(&mut self, count: u64) {
        if count.is_multiple_of(2) && self.deadline(count).is_none() {
            self.head = Some((count, Instant::now() + self.limit));
        }
    }

    /// Ready when the deadline of an arriving head has passed.
    pub fn poll(&mut self, context: &mut Context<'_>, count: u64) -> Poll<()> {
        let Some(deadline) = self.deadline(count) else {
            return Poll::Pending;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(context)
    }
}

/// A connection that fails with `TimedOut` when no write made progress for too long.
pub struct WriteDeadline<Io> {
    io: Io,
    limit: Duration,
    /// Created at the first write that has to wait; most connections never need it.
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl<Io: Unpin> WriteDeadline<Io> {
    /// Limits the writes to `io` to `limit`.
    pub fn new(io: Io, limit: Duration) -> Self {
        Self {
            io,
            limit,
            timer: None,
            waiting: false,
        }
    }

    fn bounded<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut Io>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let done = poll(Pin::new(&mut self.io), context);
        if done.is_ready() {
            self.waiting = false;
            return done;
        }
        let limit = self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.waiting {
            timer.as_mut().reset(Instant::now() + limit);
            self.waiting = true;
        }
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for WriteDeadline<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for WriteDeadline<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.bounded(context, |io, context| io.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.bounded(context, |io, context| {
            io.poll_write_vectored(context, slices)
        })
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.bounded(context, |io, context| io.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.bounded(context, |io, context| io.poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn fails_when_write_makes_no_progress() {
        let (near, mut far) = tokio::io::duplex(4);
        let mut near = WriteDeadline::new(near, Duration::from_millis(20));
        near.write_all(b"1234").await.unwrap();
        let mut bytes = [0; 4];
        far.read_exact(&mut bytes).await.unwrap();
        near.write_all(b"5678").await.unwrap();
        let error = near.write_all(b"9").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        // The other direction has no deadline of its own.
        far.read_exact(&mut bytes).await.unwrap();
        far.write_all(b"x").await.unwrap();
        assert_eq!(near.read_u8().await.unwrap(), b'x');
    }
}
