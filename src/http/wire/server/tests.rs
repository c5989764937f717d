//! The accept loop over real sockets. Tests wait for events and for the server's own short
//! time-outs, never for a fixed time.

use super::*;
use crate::primitives::{Clock as _, ManualClock, Timestamp};
use axum::routing::get;
use axum::{Extension, body::Body};
use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const GET_AND_CLOSE: &str = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<io::Result<()>>,
}

impl Server {
    async fn start(router: Router, settings: ServerSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, running) = run(listener, router, settings);
        Self {
            address,
            stop,
            running,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
    }
}

fn run<L: Listener + 'static>(
    listener: L,
    router: Router,
    settings: ServerSettings,
) -> (oneshot::Sender<()>, JoinHandle<io::Result<()>>) {
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move {
        let _ = stopped.await;
    };
    (
        stop,
        tokio::spawn(serve(
            listener,
            router,
            Ports::default(),
            settings,
            shutdown,
        )),
    )
}

fn hello() -> Router {
    Router::new().route(
        "/",
        get(|Extension(Peer(peer)): Extension<Peer>| async move {
            format!("hello {}", peer.is_some())
        }),
    )
}

/// Short time-outs, only for tests that wait for one of them: a loaded machine must not make the
/// others fail.
fn quick() -> ServerSettings {
    ServerSettings {
        header_timeout: Duration::from_millis(100),
        idle_timeout: Duration::from_millis(100),
        drain_timeout: Duration::from_millis(100),
        ..ServerSettings::default()
    }
}

async fn send(io: &mut (impl AsyncWrite + Unpin), text: &str) {
    io.write_all(text.as_bytes()).await.unwrap();
}

/// Receives everything until the server closes; a reset counts as a close.
async fn receive(io: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let _ = io.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

/// Far above the time-out under test, and far below the next longer one.
const LONG: Duration = Duration::from_secs(20);

/// As [`receive`]; fails when the server does not close by then.
async fn receive_within(io: &mut (impl AsyncRead + Unpin), within: Duration) -> String {
    tokio::time::timeout(within, receive(io))
        .await
        .expect("the server closes")
}

#[tokio::test]
async fn passes_peer_address_of_tcp_and_none_of_unix() {
    let server = Server::start(hello(), ServerSettings::default()).await;
    let mut client = server.connect().await;
    send(&mut client, GET_AND_CLOSE).await;
    let answer = receive(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("hello true"), "{answer}");
    server.stop().await;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let (stop, running) = run(
        UnixListener::bind(&path).unwrap(),
        hello(),
        ServerSettings::default(),
    );
    let mut client = UnixStream::connect(&path).await.unwrap();
    send(&mut client, GET_AND_CLOSE).await;
    assert!(receive(&mut client).await.ends_with("hello false"));
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn closes_connection_when_head_is_slow_or_connection_is_idle() {
    let settings = ServerSettings {
        header_timeout: Duration::from_millis(100),
        ..ServerSettings::default()
    };
    let server = Server::start(hello(), settings).await;
    let mut slow = server.connect().await;
    send(&mut slow, "GET / HTTP/1.1\r\nhost:").await;
    let answer = receive_within(&mut slow, LONG).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains(r#""code":"head_timeout""#),
        "{answer}"
    );
    // A client that sent nothing gets no answer.
    let mut silent = server.connect().await;
    assert_eq!(receive_within(&mut silent, LONG).await, "");
    server.stop().await;

    let server = Server::start(hello(), quick()).await;
    let mut idle = server.connect().await;
    send(&mut idle, GET).await;
    assert!(receive(&mut idle).await.ends_with("hello true"));
    server.stop().await;
}

#[tokio::test]
async fn answers_client_that_closes_its_sending_side() {
    let server = Server::start(hello(), ServerSettings::default()).await;
    for _ in 0..20 {
        let mut client = server.connect().await;
        send(&mut client, GET).await;
        client.shutdown().await.unwrap();
        assert!(
            receive_within(&mut client, LONG)
                .await
                .ends_with("hello true")
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn keeps_idle_connection_longer_than_head_timeout() {
    let settings = ServerSettings {
        header_timeout: Duration::from_millis(100),
        ..ServerSettings::default()
    };
    let server = Server::start(hello(), settings).await;
    let mut kept = server.connect().await;
    send(&mut kept, GET).await;
    let mut first = [0; 12];
    kept.read_exact(&mut first).await.unwrap();
    // When this connection is cut, the head time-out has passed for the other one as well.
    let mut silent = server.connect().await;
    assert_eq!(receive(&mut silent).await, "");
    send(&mut kept, GET_AND_CLOSE).await;
    let rest = receive(&mut kept).await;
    assert!(
        rest.ends_with("hello true") && rest.contains("HTTP/1.1 200"),
        "{rest}"
    );

    // The head of a later request has the same deadline as the first.
    let mut dribbling = server.connect().await;
    send(&mut dribbling, GET).await;
    dribbling.read_exact(&mut first).await.unwrap();
    send(&mut dribbling, "GET / HTTP/1.1\r\nhost:").await;
    assert!(
        receive_within(&mut dribbling, LONG)
            .await
            .ends_with("hello true")
    );
    server.stop().await;
}

#[tokio::test]
async fn refuses_head_with_431_when_too_large() {
    let server = Server::start(hello(), ServerSettings::default()).await;
    let headers =
        |count: usize| -> String { (1..count).map(|n| format!("x-{n}: y\r\n")).collect() };
    // With the rest of the head and the field's own five bytes: the maximum, and one more.
    let rest = GET_AND_CLOSE.len() + "x: \r\n".len();
    let long = |length: usize| format!("x: {}\r\n", "y".repeat(length - rest));
    for (extra, status) in [
        (headers(63), "200"),
        (headers(64), "431"),
        (long(16_384), "200"),
        (long(16_385), "431"),
        (long(20_000), "431"),
    ] {
        let mut client = server.connect().await;
        send(
            &mut client,
            &GET_AND_CLOSE.replace("\r\n\r\n", &format!("\r\n{extra}\r\n")),
        )
        .await;
        let answer = receive(&mut client).await;
        assert_eq!(answer.get(9..12), Some(status), "{answer}");
        assert_eq!(
            answer.contains("application/problem+json"),
            status == "431",
            "{answer}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn answers_problem_document_when_request_is_not_http() {
    let server = Server::start(hello(), ServerSettings::default()).await;
    let twice = GET.replace(
        "\r\n\r\n",
        "\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    );
    let long = GET.replace("/ ", &format!("/{} ", "x".repeat(70_000)));
    let cases = [
        ("hello\r\n\r\n".to_owned(), "malformed_request"),
        (GET.replace("host", "ho st"), "malformed_request"),
        (GET.replace("host: x", "host: \0"), "malformed_request"),
        (twice, "malformed_request"),
        (long, "headers_too_large"),
    ];
    for (text, code) in cases {
        let mut client = server.connect().await;
        // The server may refuse and close before everything is sent.
        let _ = client.write_all(text.as_bytes()).await;
        let answer = receive(&mut client).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains("content-type: application/problem+json"),
            "{answer}"
        );
        assert!(body.contains(&format!("\"code\":\"{code}\"")), "{answer}");
    }
    server.stop().await;
}

/// A route that reports when it was entered and answers when it is released.
fn gated() -> (Router, oneshot::Receiver<()>, oneshot::Sender<()>) {
    let (entered_tx, entered) = oneshot::channel();
    let (release, released) = oneshot::channel();
    let gate = Arc::new(Mutex::new(Some((entered_tx, released))));
    let handler = move || {
        let gate = gate.lock().unwrap().take();
        async move {
            if let Some((entered, released)) = gate {
                entered.send(()).unwrap();
                let _: Result<(), _> = released.await;
            }
            "through"
        }
    };
    (Router::new().route("/", get(handler)), entered, release)
}

#[tokio::test]
async fn finishes_running_requests_and_accepts_no_more_at_shutdown() {
    let (router, entered, release) = gated();
    let settings = ServerSettings::default();
    let Server {
        address,
        stop,
        running,
    } = Server::start(router, settings).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    send(&mut client, GET).await;
    entered.await.unwrap();
    stop.send(()).unwrap();
    // The listener is dropped at shutdown; from then on connecting fails.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!running.is_finished());
    release.send(()).unwrap();
    let answer = receive(&mut client).await;
    assert!(answer.ends_with("through"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn closes_idle_connections_at_shutdown() {
    let server = Server::start(hello(), ServerSettings::default()).await;
    let mut kept = server.connect().await;
    send(&mut kept, GET).await;
    kept.readable().await.unwrap();
    let _silent = server.connect().await;
    // Well before the header timeout of five seconds.
    let stopped = tokio::time::timeout(Duration::from_secs(2), server.stop()).await;
    assert!(stopped.is_ok(), "still draining");
}

#[tokio::test]
async fn closes_connection_when_client_does_not_read() {
    let large = get(|| async { vec![b'x'; 32 << 20] });
    let settings = ServerSettings {
        max_connections: 1,
        write_timeout: Duration::from_millis(100),
        ..ServerSettings::default()
    };
    let server = Server::start(hello().route("/large", large), settings).await;
    let mut greedy = server.connect().await;
    send(&mut greedy, &GET.replace("/ ", "/large ")).await;
    // The connection is released a moment later.
    let mut is_served = false;
    while !is_served {
        let mut next = server.connect().await;
        send(&mut next, GET_AND_CLOSE).await;
        is_served = receive(&mut next).await.ends_with("hello true");
    }
    drop(greedy);
    server.stop().await;
}

#[tokio::test]
async fn cuts_off_requests_when_drain_timeout_passes() {
    let (router, entered, _release) = gated();
    let server = Server::start(router, quick()).await;
    let mut client = server.connect().await;
    send(&mut client, GET).await;
    entered.await.unwrap();
    server.stop().await;
    assert_eq!(receive(&mut client).await, "");
}

#[tokio::test]
async fn refuses_connection_when_limit_is_reached() {
    let (router, entered, release) = gated();
    let settings = ServerSettings {
        max_connections: 1,
        ..ServerSettings::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, running) = run(RemotePeers(listener), router, settings);
    let mut first = TcpStream::connect(address).await.unwrap();
    send(&mut first, GET_AND_CLOSE).await;
    entered.await.unwrap();
    let mut second = TcpStream::connect(address).await.unwrap();
    let answer = receive(&mut second).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    assert!(answer.contains(r#""code":"server_busy""#), "{answer}");
    release.send(()).unwrap();
    assert!(receive(&mut first).await.ends_with("through"));
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn answers_health_to_this_machine_when_limit_is_reached() {
    for settings in [
        ServerSettings {
            max_connections: 1,
            ..ServerSettings::default()
        },
        ServerSettings {
            max_connections_local: 1,
            ..ServerSettings::default()
        },
    ] {
        let router = hello().route("/health", get(|| async { "ok" }));
        let server = Server::start(router, settings).await;
        let mut first = server.connect().await;
        send(&mut first, GET).await;
        first.readable().await.unwrap();
        let mut probe = server.connect().await;
        send(&mut probe, &GET.replace("/ ", "/health ")).await;
        let answer = receive(&mut probe).await;
        assert!(answer.ends_with("ok"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        let mut other = server.connect().await;
        send(&mut other, GET).await;
        let answer = receive(&mut other).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains(r#""code":"server_busy""#), "{answer}");
        drop(first);
        server.stop().await;
    }
}

#[tokio::test]
async fn serves_others_when_a_handler_panics() {
    let panics = get(|| async {
        if true {
            panic!("on purpose")
        }
    });
    let server = Server::start(hello().route("/panic", panics), ServerSettings::default()).await;
    let mut other = server.connect().await;
    let mut client = server.connect().await;
    send(&mut client, &GET.replace("/ ", "/panic ")).await;
    assert_eq!(receive(&mut client).await, "");
    send(&mut other, GET_AND_CLOSE).await;
    assert!(receive(&mut other).await.ends_with("hello true"));
    server.stop().await;
}

/// Fails once for each of its errors, then accepts connections.
struct Failing {
    errors: Vec<io::Error>,
    inner: TcpListener,
}

impl Listener for Failing {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, Peer)> {
        match self.errors.pop() {
            Some(error) => Err(error),
            None => Listener::accept(&mut self.inner).await,
        }
    }
}

#[tokio::test]
async fn keeps_accepting_when_accept_fails() {
    let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = inner.local_addr().unwrap();
    // EMFILE, and a client that left before it was accepted.
    let errors = vec![
        io::Error::from_raw_os_error(24),
        ErrorKind::ConnectionAborted.into(),
    ];
    let (stop, running) = run(
        Failing { errors, inner },
        hello(),
        ServerSettings::default(),
    );
    let mut client = TcpStream::connect(address).await.unwrap();
    send(&mut client, GET_AND_CLOSE).await;
    assert!(receive(&mut client).await.ends_with("hello true"));
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn rejects_invalid_settings() {
    let changes: [fn(&mut ServerSettings); 4] = [
        |settings| settings.head_bytes = 8191,
        |settings| settings.max_connections = 0,
        |settings| settings.max_connections_per_address = 0,
        |settings| settings.max_connections_local = 0,
    ];
    for change in changes {
        let mut settings = quick();
        change(&mut settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let router = Router::new().fallback(|| async { Body::empty() });
        let ended = serve(
            listener,
            router,
            Ports::default(),
            settings,
            std::future::pending(),
        )
        .await;
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

/// Echoes the body.
fn echo() -> Router {
    hello().route(
        "/echo",
        axum::routing::post(|body: String| async move { format!("<{body}>") }),
    )
}

fn post(body: &str, fields: &str) -> String {
    format!(
        "POST /echo HTTP/1.1\r\nhost: x\r\n{fields}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn refuses_ambiguous_head_and_closes_connection() {
    let server = Server::start(echo(), ServerSettings::default()).await;
    let chunked = "transfer-encoding: chunked\r\n";
    let two = "Content-Length and Transfer-Encoding";
    let cases = [
        (post("0\r\n\r\n", chunked), two),
        (post("", "Transfer-Encoding: chunked\r\n"), two),
        (
            post("0\r\n\r\n", "").replace("\r\n\r\n", "\r\ntransfer-encoding:\tchunked\r\n\r\n"),
            two,
        ),
        (post("", "transfer-encoding: \r\n"), two),
        (GET.replace("\r\n", "\n"), "bare LF"),
        (GET.replace("host: x\r\n", "host: x\n"), "bare LF"),
        (GET.replace("\r\n\r\n", "\r\n\n"), "bare LF"),
        (format!("\n{GET}"), "bare LF"),
        (GET.replace("/ ", "/\n "), "bare LF"),
    ];
    for (refused, reason) in &cases {
        for before in ["", GET] {
            let mut client = server.connect().await;
            // The bytes after it belong to no request.
            send(&mut client, &format!("{before}{refused}{GET}")).await;
            let answer = receive_within(&mut client, LONG).await;
            assert_eq!(
                answer.matches("HTTP/1.1 200").count(),
                usize::from(before == GET),
                "{refused:?}: {answer}"
            );
            let (_, problem) = answer
                .split_once("HTTP/1.1 400 Bad Request\r\n")
                .expect("a refusal");
            assert!(problem.contains("connection: close\r\n"), "{answer}");
            assert!(
                problem.contains("content-type: application/problem+json\r\n"),
                "{answer}"
            );
            assert!(
                problem.contains(r#""code":"malformed_request""#) && problem.contains(reason),
                "{answer}"
            );
            assert_eq!(
                answer.matches("HTTP/1.1 ").count(),
                1 + usize::from(before == GET),
                "{answer}"
            );
        }
    }
    // The same byte by byte. A client that sends more after the refusal may lose it with the
    // connection, so these send no more.
    for (refused, reason) in cases {
        let mut client = server.connect().await;
        client.set_nodelay(true).unwrap();
        for byte in &refused.as_bytes()[..end_of_fault(&refused)] {
            client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let answer = receive_within(&mut client, LONG).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.contains(reason),
            "{answer}"
        );
    }
    server.stop().await;
}

/// Returns the end of the first bare LF, or else of the second of the two names.
fn end_of_fault(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_bare = |at: &usize| bytes[*at] == b'\n' && (*at == 0 || bytes[at - 1] != b'\r');
    let of_name = |name: &str| {
        text.to_lowercase()
            .find(name)
            .map_or(0, |at| at + name.len())
    };
    let names = ["content-length:", "transfer-encoding:"].map(of_name);
    let bare = (0..text.find("\r\n\r\n").unwrap_or(text.len())).find(is_bare);
    bare.map_or(names[0].max(names[1]), |at| at + 1)
}

#[tokio::test]
async fn does_not_read_bodies_as_heads() {
    let server = Server::start(echo(), ServerSettings::default()).await;
    let bodies = [
        "",
        "a\nb",
        "\n\n",
        "\r\n\r\n",
        GET,
        "GET / HTTP/1.1\n\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        &"x\n".repeat(50_000),
    ];
    let requests: String = bodies.map(|body| post(body, "") + GET).concat();
    let expected: Vec<String> = bodies
        .iter()
        .flat_map(|body| [format!("<{body}>"), "hello true".to_owned()])
        .collect();
    // All at once, and cut at points unrelated to where requests begin and end.
    for size in [requests.len(), 4096, 1000, 77] {
        let (mut from, mut to) = server.connect().await.into_split();
        let last = format!("{requests}{GET_AND_CLOSE}");
        let saying = async {
            for piece in last.as_bytes().chunks(size) {
                to.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (answer, ()) = tokio::join!(receive_within(&mut from, LONG), saying);
        let mut rest = answer.as_str();
        for body in &expected {
            let (head, after) = rest.split_once("\r\n\r\n").expect("an answer");
            assert!(
                head.starts_with("HTTP/1.1 200 ")
                    && head.contains(&format!("content-length: {}", body.len())),
                "{head}"
            );
            rest = after
                .strip_prefix(body.as_str())
                .expect("the body that was sent");
        }
        assert_eq!(rest.matches("HTTP/1.1 ").count(), 1, "{rest}");
    }
    server.stop().await;
}

/// A head that came with the request before it has its deadline like any other, from when its
/// request is next.
#[tokio::test]
async fn closes_connection_when_next_head_stays_incomplete() {
    let settings = ServerSettings {
        header_timeout: Duration::from_millis(100),
        ..ServerSettings::default()
    };
    let server = Server::start(hello(), settings).await;
    let mut client = server.connect().await;
    send(&mut client, &format!("{GET}GET / HTTP/1.1\r\nhost:")).await;
    let answer = receive_within(&mut client, LONG).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello true"),
        "{answer}"
    );
    server.stop().await;
}

#[tokio::test]
async fn skips_unread_body() {
    let server = Server::start(hello(), ServerSettings::default()).await;
    let mut client = server.connect().await;
    let refused = post("a\nb\r\n\r\nGET / HTTP/1.1\r\n\r\n", "").replace("/echo", "/");
    send(&mut client, &format!("{refused}{refused}{GET_AND_CLOSE}")).await;
    let answer = receive_within(&mut client, LONG).await;
    assert_eq!(answer.matches("HTTP/1.1 405 ").count(), 2, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 1, "{answer}");
    // A bare answer of the router is not a refusal of hyper's, and passes unchanged.
    assert!(
        answer.ends_with("hello true") && !answer.contains("malformed_request"),
        "{answer}"
    );
    server.stop().await;
}

#[tokio::test]
async fn continues_when_client_expects_it() {
    let server = Server::start(echo(), ServerSettings::default()).await;
    let mut client = server.connect().await;
    let request = post("a\n\nb", "expect: 100-continue\r\n");
    let (head, body) = request.split_at(request.len() - 4);
    send(&mut client, head).await;
    let mut answer = [0; 25];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    send(&mut client, &format!("{body}{GET_AND_CLOSE}")).await;
    let answer = receive_within(&mut client, LONG).await;
    assert!(
        answer.contains("<a\n\nb>HTTP/1.1 200 ") && answer.ends_with("hello true"),
        "{answer}"
    );
    server.stop().await;
}

#[tokio::test]
async fn reads_nothing_after_chunked_body() {
    let server = Server::start(echo(), ServerSettings::default()).await;
    let head = "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut client = server.connect().await;
    send(
        &mut client,
        &format!("{GET}{head}3\r\na\nb\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n{GET}"),
    )
    .await;
    let answer = receive_within(&mut client, LONG).await;
    assert!(answer.ends_with("<a\nb\r\n\r\n>"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
    assert_eq!(
        answer.matches("connection: close\r\n").count(),
        1,
        "{answer}"
    );
    server.stop().await;
}

/// A listener whose clients seem to have one remote address.
struct RemotePeers(TcpListener);

impl Listener for RemotePeers {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, Peer)> {
        let (stream, _) = Listener::accept(&mut self.0).await?;
        Ok((stream, Peer(Some("192.0.2.7:1".parse().unwrap()))))
    }
}

#[tokio::test]
async fn refuses_connection_when_address_has_too_many() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = ServerSettings {
        max_connections_per_address: 2,
        ..ServerSettings::default()
    };
    let (stop, running) = run(RemotePeers(listener), hello(), settings);
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut client = TcpStream::connect(address).await.unwrap();
        send(&mut client, GET).await;
        client.readable().await.unwrap();
        kept.push(client);
    }
    let mut third = TcpStream::connect(address).await.unwrap();
    let answer = receive_within(&mut third, LONG).await;
    assert!(
        answer.starts_with("HTTP/1.1 429 ") && answer.contains(r#""code":"too_many_connections""#),
        "{answer}"
    );
    // The others are still served, and a closed connection makes room.
    let mut first = kept.remove(0);
    send(&mut first, GET_AND_CLOSE).await;
    assert!(receive(&mut first).await.ends_with("hello true"));
    // The connection is released a moment later.
    let mut is_served = false;
    for _ in 0..1_000 {
        let mut next = TcpStream::connect(address).await.unwrap();
        let _ = next.write_all(GET_AND_CLOSE.as_bytes()).await;
        is_served = receive(&mut next).await.ends_with("hello true");
        if is_served {
            break;
        }
    }
    assert!(is_served, "the connection is never released");
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn answers_date_of_clock_when_it_is_set_back() {
    let clock = Arc::new(ManualClock::new(
        Timestamp::parse("2026-01-15T10:00:00Z").unwrap(),
    ));
    let ports = Ports {
        clock: clock.clone(),
        ..Ports::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = async move { drop(stopped.await) };
    let running = tokio::spawn(serve(
        listener,
        hello(),
        ports,
        ServerSettings::default(),
        ended,
    ));
    let dates = async |text: &str| -> Vec<String> {
        let mut client = TcpStream::connect(address).await.unwrap();
        send(&mut client, text).await;
        let answer = receive(&mut client).await;
        let dates = answer
            .lines()
            .filter_map(|line| line.strip_prefix("date: "));
        dates.map(str::to_owned).collect()
    };
    let both = format!("{GET}GET /\n\n");
    assert_eq!(dates(&both).await, ["Thu, 15 Jan 2026 10:00:00 GMT"; 2]);
    clock.set(clock.now().plus_millis(-400 * 86_400_000));
    assert_eq!(dates(&both).await, ["Wed, 11 Dec 2024 10:00:00 GMT"; 2]);
    clock.advance(Duration::from_secs(1));
    assert_eq!(dates(&both).await, ["Wed, 11 Dec 2024 10:00:01 GMT"; 2]);
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}
