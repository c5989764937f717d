//! Connections to the daemon: ambiguous heads, and slow clients that occupy connections.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::support::process::Daemon;

/// The number of slow clients at a time.
const SLOW: usize = 1_000;
/// Descriptors that this process and the daemon (it inherits the limit) need besides those of
/// clients.
const DESCRIPTORS: u64 = SLOW as u64 + 1_000;

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a timeout");
    stream
}

/// Sends `text` and reads all answers until the connection is closed.
fn answers(daemon: &Daemon, text: &str) -> String {
    let mut stream = connect(daemon.address());
    stream.write_all(text.as_bytes()).expect("sent");
    let mut heard = String::new();
    stream
        .read_to_string(&mut heard)
        .expect("an answer, and the end");
    heard
}

#[test]
fn rejects_ambiguous_request_and_reads_nothing_after_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(dir.path(), &["--dev"]);
    let behind =
        "POST /v1/carts HTTP/1.1\r\nhost: x\r\nx-tillbox-tenant: demo\r\ncontent-length: 0\r\n\r\n";
    let two_lengths = format!(
        "POST /v1/carts HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: \
         chunked\r\n\r\n0\r\n\r\n{behind}"
    );
    let bare_lf = format!("GET /health/live HTTP/1.1\r\nhost: x\nx: y\r\n\r\n{behind}");
    for (text, why) in [(two_lengths, "Transfer-Encoding"), (bare_lf, "bare LF")] {
        let heard = answers(&daemon, &text);
        let (head, body) = heard.split_once("\r\n\r\n").expect("a head");
        assert!(
            head.starts_with("HTTP/1.1 400 ") && head.contains("connection: close"),
            "{heard}"
        );
        assert!(
            head.contains("content-type: application/problem+json"),
            "{heard}"
        );
        let problem: Value =
            serde_json::from_str(body).expect("one document and nothing behind it");
        assert_eq!(problem["code"], "malformed_request");
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains(why)),
            "{problem}"
        );
    }
}

#[test]
fn limits_fields_and_bytes_of_heads() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut daemon = Daemon::start(dir.path(), &[]);
    let many = |count: usize| -> String { (2..count).map(|n| format!("x-{n}: y\r\n")).collect() };
    let long = |bytes: usize| format!("x: {}\r\n", "y".repeat(bytes));
    for (fields, status) in [
        (many(64), 200),
        (many(65), 431),
        (long(16_000), 200),
        (long(16_384), 431),
    ] {
        let text =
            format!("GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fields}\r\n");
        let heard = answers(&daemon, &text);
        assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{heard}");
        assert_eq!(
            heard.contains(r#""code":"headers_too_large""#),
            status == 431,
            "{heard}"
        );
    }
    assert!(daemon.ended().is_none(), "it goes on");
}

/// Raises the descriptor limit to what the clients need; the daemon inherits it and raises its own.
fn has_descriptors() -> bool {
    let limits = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= DESCRIPTORS);
    let raised = Rlimit {
        current: limits.maximum,
        maximum: limits.maximum,
    };
    enough(limits.current)
        || (enough(limits.maximum) && setrlimit(Resource::Nofile, raised).is_ok())
}

fn configured(dir: &Path, settings: &str) -> Daemon {
    let config = dir.join("tillbox.toml");
    std::fs::write(&config, format!("[server]\n{settings}\n")).expect("written");
    let config = config.to_str().expect("a name").to_owned();
    Daemon::start(&dir.join("data"), &["--dev", "--config", &config])
}

/// Chooses the bytes that a slow client has sent: a part of a head, a part of a body, or nothing.
fn slow_request(number: usize) -> &'static str {
    match number % 3 {
        0 => "GET /health HTTP/1.1\r\nhost: x\r\nx-slow: ",
        1 => {
            "POST /v1/carts HTTP/1.1\r\nhost: x\r\nx-tillbox-tenant: demo\r\ncontent-type: \
             application/json\r\ncontent-length: 900\r\n\r\n{"
        }
        _ => "",
    }
}

fn slow_clients(daemon: &Daemon) -> Vec<TcpStream> {
    let client = |number| {
        let mut stream = connect(daemon.address());
        stream
            .write_all(slow_request(number).as_bytes())
            .expect("sent");
        stream
    };
    (0..SLOW).map(client).collect()
}

#[test]
fn answers_health_beside_a_thousand_slow_clients() {
    if !has_descriptors() {
        eprintln!(
            "SKIPPED: {SLOW} connections need {DESCRIPTORS} file descriptors; raise `ulimit -Hn`"
        );
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    // Long enough that none of them is closed during the test.
    let daemon = configured(
        dir.path(),
        "header_timeout = \"2m\"\nidle_timeout = \"5m\"\nrequest_timeout = \"10m\"",
    );
    let clients = slow_clients(&daemon);
    for _ in 0..20 {
        let health = daemon
            .client()
            .get("/health")
            .expect("an answer")
            .expect(200)
            .json();
        assert_eq!(
            health["services"],
            json!({"db": "ok", "cache": "ok", "queue": "ok"})
        );
    }
    let mut kept = daemon.client();
    for _ in 0..20 {
        let tenant = [("x-tillbox-tenant", "demo")];
        kept.request("POST", "/v1/carts", &tenant, b"")
            .expect("an answer")
            .expect(201);
    }
    // All are still connected: none was closed in favour of another.
    for mut client in clients {
        client.set_nonblocking(true).expect("no waiting");
        let nothing = client
            .read(&mut [0; 1])
            .expect_err("neither an answer nor the end");
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn closes_a_thousand_slow_clients_with_a_reason() {
    if !has_descriptors() {
        eprintln!(
            "SKIPPED: {SLOW} connections need {DESCRIPTORS} file descriptors; raise `ulimit -Hn`"
        );
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = configured(
        dir.path(),
        "header_timeout = \"1s\"\nidle_timeout = \"1s\"\nrequest_timeout = \"2s\"",
    );
    let mut reasons = [0; 3];
    for (number, mut client) in slow_clients(&daemon).into_iter().enumerate() {
        let mut heard = String::new();
        client.read_to_string(&mut heard).expect("the end");
        let fits = match number % 3 {
            0 => heard.starts_with("HTTP/1.1 408 ") && heard.contains(r#""code":"head_timeout""#),
            1 => heard.starts_with("HTTP/1.1 408 ") && heard.contains(r#""code":"body_timeout""#),
            _ => heard.is_empty(),
        };
        assert!(fits, "{number}: {heard}");
        reasons[number % 3] += 1;
    }
    assert_eq!(reasons, [334, 333, 333]);
}
