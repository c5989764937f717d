//! The accept loop: sockets in, requests to the router, an orderly end.
//!
//! Written here and not taken from axum, because a daemon that faces clients needs what
//! `axum::serve` does not have: deadlines for the head of a request and for reading the answer,
//! caps on connections, an end to the draining, heads that only one reading is possible of.
//! Deliberately absent: body limits, request deadlines and the errors of requests that could be
//! read; those are layers of the router.

use super::bad_request::{BadRequest, Reason};
use super::connection_limits::{ConnectionLimits, Place};
use super::date::Dates;
use super::deadlines::WriteDeadline;
use super::head_guard::{HeadGuard, Requests};
use crate::app::Ports;
use crate::http::metrics::Present;
use crate::primitives::Entropy;
use axum::Router;
use axum::body::HttpBody as _;
use http::header::{CONNECTION, DATE};
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tower::Service as _;

/// How long to wait after `accept` failed for want of file descriptors or memory, which only others
/// can free.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(200);

/// The limits of the accept loop.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The longest time for the head of a request to arrive, once it has begun to; on a new
    /// connection, from its beginning.
    pub header_timeout: Duration,
    /// How long a kept connection may wait for its next request. Longer than proxies keep theirs,
    /// so that it is they who close them.
    pub idle_timeout: Duration,
    /// Connections at a time; more of them wait in the listener's backlog.
    pub max_connections: usize,
    /// Connections at a time from one address; with more of them the answer is 429. This machine
    /// has no such limit.
    pub max_connections_per_address: usize,
    /// Header fields in a request; with more of them the answer is 431.
    pub max_headers: usize,
    /// Bytes in the head of a request, at least 8192; with more of them the answer is 431.
    pub head_bytes: usize,
    /// How long a client may take to read anything of its answer.
    pub write_timeout: Duration,
    /// How long requests may take to finish once the end has been asked for; then they are cut off.
    pub drain_timeout: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(75),
            max_connections: 4096,
            max_connections_per_address: 512,
            max_headers: 64,
            head_bytes: 16 * 1024,
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// In the extensions of every request: the other end of the connection; `None` on a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub Option<SocketAddr>);

/// A socket that connections come from.
pub trait Listener: Send {
    /// One connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for a connection. It must be safe to drop the future: no connection may be lost with
    /// it.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, Peer)>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(Self::Io, Peer)> {
        let (stream, address) = Self::accept(self).await?;
        // Answers are written whole; waiting to join small packets would only delay them.
        stream.set_nodelay(true)?;
        Ok((stream, Peer(Some(address))))
    }
}

impl Listener for UnixListener {
    type Io = UnixStream;

    async fn accept(&mut self) -> io::Result<(Self::Io, Peer)> {
        let (stream, _) = Self::accept(self).await?;
        Ok((stream, Peer(None)))
    }
}

/// What is said to whoever has too many connections; [`BadRequest`] gives it its document.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Serves `router` until `shutdown` resolves, then finishes the requests that run, within the drain
/// timeout. Requests that cannot be read reach no router; their ids come from the port to
/// randomness, the date of every answer from the port to the clock.
///
/// # Errors
/// When the settings cannot work. A failing `accept` or connection never ends the loop.
pub async fn serve<L: Listener>(
    mut listener: L,
    router: Router,
    ports: Ports,
    settings: ServerSettings,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let http = http_settings(&settings)?;
    // Routes are built here once; otherwise each request would build its own.
    let router = router.with_state(());
    let drain_timeout = settings.drain_timeout;
    let slots = Arc::new(Semaphore::new(settings.max_connections));
    let addresses = ConnectionLimits::new(settings.max_connections_per_address);
    let house = Shared {
        http,
        router,
        dates: Arc::new(Dates::new(ports.clock)),
        entropy: ports.entropy,
        settings,
    };
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(done) = connections.join_next() => log_panic(done),
            (io, peer, slot) = next_connection(&mut listener, &slots) => {
                if let Some(place) = addresses.admit(peer.0) {
                    connections.spawn(house.clone().serve(io, peer, (slot, place),
                        graceful.watcher()));
                } else {
                    connections.spawn(house.clone().turn_away(io, peer, slot));
                }
            }
        }
    }
    drop(listener);
    let drained = async {
        graceful.shutdown().await;
        while let Some(done) = connections.join_next().await {
            log_panic(done);
        }
    };
    if tokio::time::timeout(drain_timeout, drained).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "connections cut off at shutdown"
        );
        connections.shutdown().await;
    }
    Ok(())
}

fn http_settings(settings: &ServerSettings) -> io::Result<http1::Builder> {
    let sound = settings.head_bytes >= 8192
        && (1..=Semaphore::MAX_PERMITS).contains(&settings.max_connections)
        && settings.max_connections_per_address >= 1;
    if !sound {
        let problem = "head_bytes must be at least 8192, max_connections and \
            max_connections_per_address at least 1";
        return Err(io::Error::new(ErrorKind::InvalidInput, problem));
    }
    let mut http = http1::Builder::new();
    // Without a timer hyper would not keep the time-out. What it calls that of the head begins with
    // the wait for it.
    http.timer(TokioTimer::new())
        .header_read_timeout(settings.idle_timeout.max(settings.header_timeout))
        .max_headers(settings.max_headers)
        .max_header_size(settings.head_bytes)
        .max_buf_size(settings.head_bytes)
        // Ours goes by the injected clock, and follows it back.
        .auto_date_header(false)
        .keep_alive(true)
        // Who has said all and ends its sending waits for the answer all the same.
        .half_close(true);
    Ok(http)
}

/// First a slot, then a connection: while there is no slot, the kernel's backlog holds those who
/// wait.
async fn next_connection<L: Listener>(
    listener: &mut L,
    slots: &Arc<Semaphore>,
) -> (L::Io, Peer, OwnedSemaphorePermit) {
    let slot = Arc::clone(slots)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((io, peer)) => return (io, peer, slot),
            Err(error) if is_of_one_connection(&error) => {
                tracing::debug!(%error, "connection lost")
            }
            Err(error) => {
                tracing::error!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// The client went away before it was accepted; the next one may be fine at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    use ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput, NotConnected,
    };
    // The last two are what `set_nodelay` says of a socket that the client has closed.
    let kinds = [
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        NotConnected,
        InvalidInput,
    ];
    kinds.contains(&error.kind())
}

/// What all connections share.
#[derive(Clone)]
struct Shared {
    http: http1::Builder,
    router: Router,
    dates: Arc<Dates>,
    entropy: Arc<dyn Entropy>,
    settings: ServerSettings,
}

impl Shared {
    async fn serve<Io>(
        self,
        io: Io,
        peer: Peer,
        places: (OwnedSemaphorePermit, Place),
        watcher: Watcher,
    ) where
        Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let present = Present::connection(peer.0.is_some());
        let (requests, reason) = (Requests::default(), Reason::default());
        let io = self.sheltered(io, reason.clone());
        let io = HeadGuard::new(io, self.settings.header_timeout, requests.clone(), reason);
        let Self {
            http,
            router,
            dates,
            ..
        } = self;
        let service = service_fn(move |mut request: Request<Incoming>| {
            let serving = requests.begin(&request.body().size_hint());
            request.extensions_mut().insert(peer);
            if serving.is_last {
                request.extensions_mut().insert(requests.chunk_size());
            }
            // A router is always ready, so `poll_ready` has nothing to say.
            let answer = router.clone().call(request);
            let dates = dates.clone();
            async move {
                let mut answer = answer.await;
                if let Ok(answer) = &mut answer {
                    answer.headers_mut().insert(DATE, dates.header());
                    if serving.is_last {
                        answer
                            .headers_mut()
                            .insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                }
                drop(serving);
                answer
            }
        });
        let connection = http.serve_connection(TokioIo::new(io), service);
        if let Err(error) = watcher.watch(connection).await {
            // Mostly clients that left or never spoke HTTP; not news for an operator.
            tracing::debug!(%error, ?peer, "connection ended");
        }
        drop((places, present));
    }

    /// Says why, and closes. A line in the log for each would fill the disk in a flood.
    async fn turn_away<Io: AsyncRead + AsyncWrite + Unpin>(
        self,
        io: Io,
        peer: Peer,
        slot: OwnedSemaphorePermit,
    ) {
        metrics::counter!("tillbox_http_connections_refused_total").increment(1);
        let mut io = self.sheltered(io, Reason::default());
        let said = async {
            io.write_all(TOO_MANY).await?;
            io.shutdown().await
        };
        let said = said.await.is_ok();
        tracing::debug!(?peer, said, "too many connections from one address");
        drop(slot);
    }

    /// What every answer goes out through.
    fn sheltered<Io: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: Io,
        reason: Reason,
    ) -> BadRequest<WriteDeadline<Io>> {
        let io = WriteDeadline::new(io, self.settings.write_timeout);
        BadRequest::new(io, self.entropy.clone(), self.dates.clone(), reason)
    }
}

/// A panic ends its own connection; the task it ran in is where it stops.
fn log_panic(done: Result<(), JoinError>) {
    if let Err(error) = done
        && error.is_panic()
    {
        tracing::error!(%error, "a connection panicked");
    }
}

#[cfg(test)]
mod tests;
