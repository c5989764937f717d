//! Connections as the daemon meets them: heads that two readers would read in two ways, and clients
//! that take places and give nothing.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::support::process::Daemon;

/// How many clients are slow at once.
const SLOW: usize = 1_000;
/// What this process and the daemon, which inherits the limit, need beside a descriptor for each of
/// them.
const DESCRIPTORS: u64 = SLOW as u64 + 1_000;

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a timeout");
    stream
}

/// All that is answered to `text` until the connection is closed.
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
fn a_request_that_two_read_in_two_ways_is_refused_and_nothing_behind_it_is_read() {
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
fn heads_are_bounded_in_fields_and_bytes() {
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

/// As many descriptors as the clients need; the daemon inherits the limit and raises its own.
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

/// What a slow client has said so far, by its number: a part of a head, a part of a body, or
/// nothing at all.
fn slow_words(number: usize) -> &'static str {
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
            .write_all(slow_words(number).as_bytes())
            .expect("sent");
        stream
    };
    (0..SLOW).map(client).collect()
}

#[test]
fn a_thousand_slow_clients_leave_health_answering() {
    if !has_descriptors() {
        eprintln!(
            "SKIPPED: {SLOW} connections need {DESCRIPTORS} file descriptors; raise `ulimit -Hn`"
        );
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    // So long that none of them is cut while we look.
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
    // They are all still there: nobody was served by others being cut off.
    for mut client in clients {
        client.set_nonblocking(true).expect("no waiting");
        let nothing = client
            .read(&mut [0; 1])
            .expect_err("neither an answer nor the end");
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn a_thousand_slow_clients_are_cut_and_told_why() {
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
    let mut told = [0; 3];
    for (number, mut client) in slow_clients(&daemon).into_iter().enumerate() {
        let mut heard = String::new();
        client.read_to_string(&mut heard).expect("the end");
        let fits = match number % 3 {
            0 => heard.starts_with("HTTP/1.1 408 ") && heard.contains(r#""code":"head_timeout""#),
            1 => heard.starts_with("HTTP/1.1 408 ") && heard.contains(r#""code":"body_timeout""#),
            _ => heard.is_empty(),
        };
        assert!(fits, "{number}: {heard}");
        told[number % 3] += 1;
    }
    assert_eq!(told, [334, 333, 333]);
}
