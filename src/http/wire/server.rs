//! The accept loop: sockets in, requests to the router, an orderly end.
//!
//! Written here and not taken from axum, because a daemon that faces clients needs what
//! `axum::serve` does not have: deadlines for the head of a request and for reading the answer,
//! caps on connections, an end to the draining, heads that only one reading is possible of.
//! Deliberately absent: body limits, request deadlines and the errors of requests that could be
//! read; those are layers of the router.

use super::bad_request::{BadRequest, Reason, TOO_MANY_IN_ALL};
use super::connection_limits::{ConnectionLimits, Place};
use super::date::Dates;
use super::deadlines::WriteDeadline;
use super::head_guard::{HeadGuard, Requests};
use crate::app::Ports;
use crate::http::layers::fresh_request_id;
use crate::http::metrics::Present;
use crate::http::problem::Problem;
use crate::primitives::{Class, Entropy};
use axum::Router;
use axum::body::HttpBody as _;
use axum::response::Response;
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

/// Places beyond `max_connections`, in which connections are turned away, and `/health` answers
/// this machine when all others are taken.
const RESERVED_PLACES: usize = 32;

/// The limits of the accept loop.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The longest time for the head of a request to arrive, once it has begun to; on a new
    /// connection, from its beginning.
    pub header_timeout: Duration,
    /// How long a kept connection may wait for its next request. Longer than proxies keep theirs,
    /// so that it is they who close them.
    pub idle_timeout: Duration,
    /// Connections at a time; more of them are turned away with 503.
    pub max_connections: usize,
    /// Connections at a time from one address of another machine; with more of them the answer is
    /// 429.
    pub max_connections_per_address: usize,
    /// Connections at a time from this machine; more of them are answered `/health` and `/metrics`
    /// only.
    pub max_connections_local: usize,
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
            max_connections_local: 3584,
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

/// The refusal of a connection beyond `max_connections`; [`BadRequest`] gives it its document.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: \
    1\r\ncontent-length: 0\r\n\r\n";

/// The refusal of a connection beyond the limit of its address.
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
    let slots = Arc::new(Semaphore::new(settings.max_connections + RESERVED_PLACES));
    let places = Places::new(&settings);
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
                let watcher = graceful.watcher();
                match places.admit(peer) {
                    Err(refusal) if !is_of_this_machine(peer) => {
                        connections.spawn(house.clone().turn_away(io, peer, slot, refusal));
                    }
                    place => {
                        let places = (slot, place.ok());
                        connections.spawn(house.clone().serve(io, peer, places, watcher));
                    }
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
        && (1..=Semaphore::MAX_PERMITS - RESERVED_PLACES).contains(&settings.max_connections)
        && settings.max_connections_per_address >= 1
        && settings.max_connections_local >= 1;
    if !sound {
        let problem =
            "head_bytes must be at least 8192, and each of the max_connections at least 1";
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

/// The places of connections that are served, in all and of each address.
struct Places {
    all: Arc<Semaphore>,
    addresses: ConnectionLimits,
}

impl Places {
    fn new(settings: &ServerSettings) -> Self {
        let most = settings.max_connections_per_address;
        Self {
            all: Arc::new(Semaphore::new(settings.max_connections)),
            addresses: ConnectionLimits::new(most, settings.max_connections_local),
        }
    }

    /// A place for a connection, or the refusal.
    fn admit(&self, peer: Peer) -> Result<(OwnedSemaphorePermit, Place), &'static [u8]> {
        let of_address = self.addresses.admit(peer.0).ok_or(TOO_MANY)?;
        let of_all = Arc::clone(&self.all)
            .try_acquire_owned()
            .map_err(|_| BUSY)?;
        Ok((of_all, of_address))
    }
}

/// Whether a peer is on this machine: a proxy, a probe, or the operator at the admin socket.
fn is_of_this_machine(peer: Peer) -> bool {
    peer.0
        .is_none_or(|address| address.ip().to_canonical().is_loopback())
}

/// The place of a connection that is served; `None` in a reserved one, where only [`is_health`] is
/// answered, once: whoever watches the process must see that it lives when strangers have taken all
/// places.
type Served = Option<(OwnedSemaphorePermit, Place)>;

fn is_health(path: &str) -> bool {
    path == "/metrics" || path == "/health" || path.starts_with("/health/")
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
        places: (OwnedSemaphorePermit, Served),
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
            entropy,
            ..
        } = self;
        let is_reserved = places.1.is_none();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let mut serving = requests.begin(&request.body().size_hint());
            serving.is_last |= is_reserved;
            request.extensions_mut().insert(peer);
            let is_answered = !is_reserved || is_health(request.uri().path());
            if serving.is_last {
                request.extensions_mut().insert(requests.chunk_size());
            }
            // A router is always ready, so `poll_ready` has nothing to say.
            let answer = router.clone().call(request);
            let (dates, entropy) = (dates.clone(), entropy.clone());
            async move {
                let mut answer = if is_answered {
                    answer.await
                } else {
                    Ok(busy(entropy.as_ref()))
                };
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
        refusal: &'static [u8],
    ) {
        metrics::counter!("tillbox_http_connections_refused_total").increment(1);
        let mut io = self.sheltered(io, Reason::default());
        let said = async {
            io.write_all(refusal).await?;
            io.shutdown().await
        };
        let said = said.await.is_ok();
        tracing::debug!(?peer, said, "connection refused");
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

/// The answer to a request that a reserved place is not for.
fn busy(entropy: &dyn Entropy) -> Response {
    metrics::counter!("tillbox_http_connections_refused_total").increment(1);
    Problem::new(Class::Unavailable, "server_busy", TOO_MANY_IN_ALL)
        .render(&fresh_request_id(entropy))
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
