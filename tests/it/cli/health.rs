//! `tillbox health`.

use super::run::run;
use crate::support::process::Daemon;

#[test]
fn exits_with_zero_when_healthy_and_three_when_silent() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut daemon = Daemon::start(dir.path(), &[]);
    let url = format!("http://{}", daemon.address());
    let well = run(dir.path(), &["health", "--url", &url]).code(0).stdout;
    assert!(well.starts_with("ok\n") && well.contains("queue"), "{well}");
    let report = run(dir.path(), &["health", "--url", &url, "--json"])
        .code(0)
        .json();
    assert_eq!(
        (report["status"].as_str(), report["services"]["db"].as_str()),
        (Some("ok"), Some("ok"))
    );
    daemon.terminate();
    let silent = run(dir.path(), &["health", "--url", &url, "--json"])
        .code(3)
        .json();
    assert_eq!(silent["status"], "unreachable");
    assert!(
        run(dir.path(), &["health", "--url", &url])
            .code(3)
            .stdout
            .starts_with("unreachable")
    );
    for url in ["https://a.example", "127.0.0.1"] {
        run(dir.path(), &["health", "--url", url]).code(2);
    }
}

#[test]
fn reports_unhealthy_when_peer_is_no_daemon() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let stranger = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut head = [0; 1024];
        let read = stream.read(&mut head).expect("a request");
        assert!(head[..read].starts_with(b"GET /health "));
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwhat")
            .expect("written");
    });
    let dir = tempfile::tempdir().expect("a directory");
    let wrong = run(dir.path(), &["health", "--url", &url]).code(3);
    assert!(wrong.stdout.contains("is not a health report"), "{wrong:?}");
    stranger.join().expect("it was asked");
}
