//! The accept loop: accepts connections, passes requests to the router, shuts down gracefully.
//!
//! `axum::serve` lacks parts that a public daemon needs: deadlines for the head of a request and
//! for reading the answer, caps on connections, an end to draining, and refusal of ambiguous heads.
//! Body limits, request deadlines and errors of readable requests are layers of the router.

use super::bad_request::{BadRequest, Reason, TOO_MANY_CONNECTIONS};
use super::connection_limits::{ConnectionLimits, ConnectionPermit};
use super::date::Dates;
use super::deadlines::WriteDeadline;
use super::head_guard::{HeadGuard, Requests};
use super::peer::Peer;
use crate::app::Ports;
use crate::http::metrics::InFlight;
use crate::http::problem::Problem;
use crate::http::request_id::fresh_request_id;
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
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tower::Service as _;

/// The wait after `accept` failed because file descriptors or memory ran out; only other
/// connections can free them.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(200);

/// Connections beyond `max_connections`, for sending refusals, and for answering `/health` to this
/// machine when all others are used.
const RESERVED_CONNECTIONS: usize = 32;

/// The limits of the accept loop.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The time for the head of a request to arrive, once it has begun; on a new connection, from
    /// its beginning.
    pub header_timeout: Duration,
    /// The time that an idle connection may wait for its next request. Longer than proxies keep
    /// theirs, so that they close them first.
    pub idle_timeout: Duration,
    /// Concurrent connections; further ones are refused with 503.
    pub max_connections: usize,
    /// Concurrent connections from one remote address; further ones are refused with 429.
    pub max_connections_per_address: usize,
    /// Concurrent connections from this machine; further ones get answers to `/health` and
    /// `/metrics` only.
    pub max_connections_local: usize,
    /// Header fields in a request; more are refused with 431.
    pub max_headers: usize,
    /// Bytes in the head of a request, at least 8192; more are refused with 431.
    pub head_bytes: usize,
    /// The time within which a client must read part of its answer.
    pub write_timeout: Duration,
    /// The time for running requests to finish after the shutdown signal; then they are cut off.
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

/// A source of connections.
pub trait Listener: Send {
    /// The stream of a connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for a connection. Dropping the future must not lose one.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, Peer)>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(Self::Io, Peer)> {
        let (stream, address) = Self::accept(self).await?;
        // Answers are written whole, so joining small packets would only delay them.
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

/// The refusal of a connection beyond `max_connections`; [`BadRequest`] adds the document.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: \
    1\r\ncontent-length: 0\r\n\r\n";

/// The refusal of a connection beyond the limit of its address.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Serves `router` until `shutdown` resolves, then lets running requests finish within the drain
/// time-out. Unreadable requests do not reach the router.
///
/// # Errors
/// When the settings are invalid. A failing `accept` or connection never ends the loop.
pub async fn serve<L: Listener>(
    mut listener: L,
    router: Router,
    ports: Ports,
    settings: ServerSettings,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let http = http_settings(&settings)?;
    // Builds the routes once; otherwise each request would build them.
    let router = router.with_state(());
    let drain_timeout = settings.drain_timeout;
    let slots = Arc::new(Semaphore::new(
        settings.max_connections + RESERVED_CONNECTIONS,
    ));
    let permits = ConnectionPermits::new(&settings);
    let shared = Shared {
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
                match permits.admit(peer) {
                    Err(refusal) if !peer.is_local() => {
                        connections.spawn(shared.clone().refuse(io, peer, slot, refusal));
                    }
                    permit => {
                        let permits = (slot, permit.ok());
                        connections.spawn(shared.clone().serve(io, peer, permits, watcher));
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
    let is_valid = settings.head_bytes >= 8192
        && (1..=Semaphore::MAX_PERMITS - RESERVED_CONNECTIONS).contains(&settings.max_connections)
        && settings.max_connections_per_address >= 1
        && settings.max_connections_local >= 1;
    if !is_valid {
        let problem =
            "head_bytes must be at least 8192, and each max_connections setting at least 1";
        return Err(io::Error::new(ErrorKind::InvalidInput, problem));
    }
    let mut http = http1::Builder::new();
    // Without a timer hyper ignores the time-out. Hyper's head time-out includes the wait for the
    // head.
    http.timer(TokioTimer::new())
        .header_read_timeout(settings.idle_timeout.max(settings.header_timeout))
        .max_headers(settings.max_headers)
        .max_header_size(settings.head_bytes)
        .max_buf_size(settings.head_bytes)
        // Ours uses the injected clock and follows it when it is set back.
        .auto_date_header(false)
        .keep_alive(true)
        // A client that has closed its sending side still waits for the answer.
        .half_close(true);
    Ok(http)
}

/// Acquires a slot before it accepts: while there is none, connections wait in the kernel's
/// backlog.
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
            Err(error) if is_connection_error(&error) => {
                tracing::debug!(%error, "connection lost")
            }
            Err(error) => {
                tracing::error!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// Whether the client left before it was accepted; the next `accept` may succeed at once.
fn is_connection_error(error: &io::Error) -> bool {
    use ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput, NotConnected,
    };
    // `set_nodelay` returns the last two for a socket that the client has closed.
    let kinds = [
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        NotConnected,
        InvalidInput,
    ];
    kinds.contains(&error.kind())
}

/// Permits of served connections, in all and for each address.
struct ConnectionPermits {
    all: Arc<Semaphore>,
    addresses: ConnectionLimits,
}

impl ConnectionPermits {
    fn new(settings: &ServerSettings) -> Self {
        let max_per_address = settings.max_connections_per_address;
        Self {
            all: Arc::new(Semaphore::new(settings.max_connections)),
            addresses: ConnectionLimits::new(max_per_address, settings.max_connections_local),
        }
    }

    /// Returns the permits for a connection, or the refusal.
    fn admit(&self, peer: Peer) -> Result<(OwnedSemaphorePermit, ConnectionPermit), &'static [u8]> {
        let of_address = self.addresses.admit(peer.0).ok_or(TOO_MANY)?;
        let of_all = Arc::clone(&self.all)
            .try_acquire_owned()
            .map_err(|_| BUSY)?;
        Ok((of_all, of_address))
    }
}

/// The permits of a served connection. `None` for a reserved one, which answers one [`is_health`]
/// request only: monitoring must reach the process when strangers use all connections.
type ServedPermits = Option<(OwnedSemaphorePermit, ConnectionPermit)>;

fn is_health(path: &str) -> bool {
    path == "/metrics" || path == "/health" || path.starts_with("/health/")
}

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
        permits: (OwnedSemaphorePermit, ServedPermits),
        watcher: Watcher,
    ) where
        Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let in_flight = InFlight::connection(peer.0.is_some());
        let (requests, reason) = (Requests::default(), Reason::default());
        let io = self.guard_writes(io, reason.clone());
        let io = HeadGuard::new(io, self.settings.header_timeout, requests.clone(), reason);
        let Self {
            http,
            router,
            dates,
            entropy,
            ..
        } = self;
        let is_reserved = permits.1.is_none();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let mut serving = requests.begin(&request.body().size_hint());
            serving.is_last |= is_reserved;
            request.extensions_mut().insert(peer);
            let is_answered = !is_reserved || is_health(request.uri().path());
            if serving.is_last {
                request.extensions_mut().insert(requests.chunk_size());
            }
            // A router is always ready, so `poll_ready` is not needed.
            let answer = router.clone().call(request);
            let (dates, entropy) = (dates.clone(), entropy.clone());
            async move {
                let mut answer = if is_answered {
                    answer.await
                } else {
                    Ok(busy_answer(entropy.as_ref()))
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
            // Mostly clients that disconnected or never spoke HTTP; not relevant for an operator.
            tracing::debug!(%error, ?peer, "connection ended");
        }
        drop((permits, in_flight));
    }

    /// Sends the refusal and closes. A log line for each would fill the disk in a flood.
    async fn refuse<Io: AsyncRead + AsyncWrite + Unpin>(
        self,
        io: Io,
        peer: Peer,
        slot: OwnedSemaphorePermit,
        refusal: &'static [u8],
    ) {
        metrics::counter!("tillbox_http_connections_refused_total").increment(1);
        let mut io = self.guard_writes(io, Reason::default());
        let sent = async {
            io.write_all(refusal).await?;
            io.shutdown().await
        };
        let is_sent = sent.await.is_ok();
        tracing::debug!(?peer, is_sent, "connection refused");
        drop(slot);
    }

    /// Wraps a connection in the write deadline and the refusal documents.
    fn guard_writes<Io: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: Io,
        reason: Reason,
    ) -> BadRequest<WriteDeadline<Io>> {
        let io = WriteDeadline::new(io, self.settings.write_timeout);
        BadRequest::new(io, self.entropy.clone(), self.dates.clone(), reason)
    }
}

/// Builds the refusal of a request that a reserved connection does not answer.
fn busy_answer(entropy: &dyn Entropy) -> Response {
    metrics::counter!("tillbox_http_connections_refused_total").increment(1);
    Problem::new(Class::Unavailable, "server_busy", TOO_MANY_CONNECTIONS)
        .render(&fresh_request_id(entropy))
}

/// Logs a panic, which ends only its own connection.
fn log_panic(done: Result<(), JoinError>) {
    if let Err(error) = done
        && error.is_panic()
    {
        tracing::error!(%error, "a connection panicked");
    }
}

#[cfg(test)]
mod tests;
