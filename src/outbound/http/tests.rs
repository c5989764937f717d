//! The port against a real, misbehaving server on this machine.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;

use super::*;

/// A server that answers every connection until it is dropped.
struct Server {
    port: u16,
    /// Dropping it stops the server.
    stop: Option<Sender<()>>,
    running: Option<JoinHandle<Vec<String>>>,
}

impl Server {
    /// `answer` receives the connection after the head of a request; the test runs while `Receiver`
    /// times out.
    fn start(answer: impl Fn(&mut TcpStream, &Receiver<()>) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        listener.set_nonblocking(true).expect("a socket can");
        let (stop, stopped) = channel();
        let running = std::thread::spawn(move || {
            let mut heads = Vec::new();
            loop {
                match listener.accept() {
                    Ok((mut stream, _)) => {
                        stream.set_nonblocking(false).expect("a socket can");
                        heads.push(head(&mut stream));
                        answer(&mut stream, &stopped);
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                if pause(&stopped) {
                    return heads;
                }
            }
        });
        let (stop, running) = (Some(stop), Some(running));
        Self {
            port,
            stop,
            running,
        }
    }

    fn answering(text: impl Into<Vec<u8>>) -> Self {
        let text = text.into();
        // The client may have closed the connection.
        Self::start(move |stream, _| drop(stream.write_all(&text)))
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Stops the server and returns the heads of the requests.
    fn stop(mut self) -> Vec<String> {
        drop(self.stop.take());
        self.running
            .take()
            .expect("runs")
            .join()
            .expect("the server did not panic")
    }
}

/// Waits a few milliseconds; returns whether the test has ended.
fn pause(stopped: &Receiver<()>) -> bool {
    stopped.recv_timeout(Duration::from_millis(2)) == Err(RecvTimeoutError::Disconnected)
}

fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("a head comes") == 1 {
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).expect("a head is text")
}

const ANSWER_BYTES: u64 = 1 << 16;
const BOUNDS: Bounds = Bounds {
    total: Duration::from_secs(20),
    connect: Duration::from_secs(10),
    answer: AnswerPart::Body(ANSWER_BYTES),
    reach: Reach::Anywhere,
};
/// Short, because tests wait for it.
const SHORT: Bounds = Bounds {
    total: Duration::from_millis(150),
    ..BOUNDS
};

fn get(url: &str, bounds: Bounds) -> Result<Answer, CallError> {
    let target = Target::parse(url).expect("a URL");
    let (headers, body) = (vec![("x-test", "1".to_owned())], Vec::new());
    Wire::default().call(&Call {
        method: Method::GET,
        target,
        headers,
        body,
        bounds,
    })
}

fn post(url: &str, body: &[u8]) -> Result<Answer, CallError> {
    let target = Target::parse(url).expect("a URL");
    let (headers, body) = (
        vec![("content-type", "application/json".to_owned())],
        body.to_vec(),
    );
    Wire::default().call(&Call {
        method: Method::POST,
        target,
        headers,
        body,
        bounds: BOUNDS,
    })
}

#[test]
fn reads_whole_answer() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let answer = get(&server.url("/rates?a=1"), BOUNDS).expect("an answer");
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (200, b"hello".as_slice())
    );
    let heads = server.stop();
    assert!(
        heads[0].starts_with("GET /rates?a=1 HTTP/1.1\r\n"),
        "{heads:?}"
    );
    assert!(
        heads[0].to_lowercase().contains("x-test: 1\r\n"),
        "{heads:?}"
    );
    assert!(heads[0].contains("tillbox/"), "{heads:?}");
}

#[test]
fn sends_body() {
    let server = Server::start(|stream, _| {
        let mut body = [0; 2];
        stream.read_exact(&mut body).expect("the body comes");
        assert_eq!(&body, b"{}");
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .expect("the client is connected");
    });
    assert_eq!(
        post(&server.url("/"), b"{}").expect("an answer").status,
        204
    );
    assert!(
        server.stop()[0]
            .to_lowercase()
            .contains("content-length: 2\r\n")
    );
}

#[test]
fn times_out_when_server_hangs() {
    let server = Server::start(|_, stopped| while !pause(stopped) {});
    assert_eq!(get(&server.url("/"), SHORT), Err(CallError::Timeout));
    server.stop();
}

#[test]
fn dripping_body_does_not_extend_deadline() {
    let server = Server::start(|stream, stopped| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n");
        while !pause(stopped) && stream.write_all(b"x").is_ok() {}
    });
    assert_eq!(get(&server.url("/"), SHORT), Err(CallError::Timeout));
    server.stop();
}

#[test]
fn dripping_head_does_not_extend_deadline() {
    let server = Server::start(|stream, stopped| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        while !pause(stopped) && stream.write_all(b"x").is_ok() {}
    });
    assert_eq!(get(&server.url("/"), SHORT), Err(CallError::Timeout));
    server.stop();
}

#[test]
fn dripping_handshake_does_not_extend_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    let (stop, stopped) = channel::<()>();
    let running = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        // The beginning of a TLS record that never ends.
        let _ = stream.write_all(b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb");
        while !pause(&stopped) && stream.write_all(b"x").is_ok() {}
    });
    assert_eq!(
        get(&format!("https://127.0.0.1:{port}/"), SHORT),
        Err(CallError::Timeout)
    );
    drop(stop);
    running.join().expect("the server did not panic");
}

#[test]
fn reports_status_and_body_of_refusal() {
    let server = Server::answering("HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\noops");
    let (status, body) = (500, b"oops".to_vec());
    assert_eq!(
        get(&server.url("/"), BOUNDS),
        Err(CallError::Status { status, body })
    );
    server.stop();
}

#[test]
fn does_not_follow_redirects() {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let text = format!(
            "HTTP/1.1 {status} Moved\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
            elsewhere.url("/")
        );
        let server = Server::answering(text);
        assert_eq!(
            get(&server.url("/"), BOUNDS),
            Err(CallError::Redirected(status))
        );
        assert_eq!(
            post(&server.url("/"), b""),
            Err(CallError::Redirected(status))
        );
        server.stop();
        assert_eq!(elsewhere.stop(), [""; 0]);
    }
}

#[test]
fn rejects_answer_beyond_limit() {
    let large = ANSWER_BYTES + 1;
    let announced = Server::answering(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {large}\r\n\r\nx"
    ));
    assert_eq!(
        get(&announced.url("/"), BOUNDS),
        Err(CallError::TooLarge(ANSWER_BYTES))
    );
    announced.stop();
    let endless = Server::start(|stream, stopped| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = [b"1000\r\n".as_slice(), &[b'x'; 0x1000], b"\r\n"].concat();
        while stream.write_all(&chunk).is_ok()
            && stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected)
        {}
    });
    assert_eq!(
        get(&endless.url("/"), BOUNDS),
        Err(CallError::TooLarge(ANSWER_BYTES))
    );
    endless.stop();
    let head = Server::answering(
        [
            b"HTTP/1.1 200 OK\r\nX: ".as_slice(),
            &[b'x'; HEAD_BYTES_MAX + 1],
        ]
        .concat(),
    );
    assert!(matches!(
        get(&head.url("/"), BOUNDS),
        Err(CallError::TooLarge(_) | CallError::Transport(_))
    ));
    head.stop();
}

/// A caller that needs only the head succeeds even when the body is large or endless.
#[test]
fn does_not_read_body_when_only_head_is_requested() {
    let head_only = Bounds {
        answer: AnswerPart::Head,
        ..BOUNDS
    };
    let good = Ok(Answer {
        status: 200,
        body: Vec::new(),
    });
    let large = ANSWER_BYTES + 1;
    for (head, goes_on) in [
        (
            format!("HTTP/1.1 200 OK\r\nContent-Length: {large}\r\n\r\nx"),
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_owned(),
            false,
        ),
        (
            format!("HTTP/1.1 200 OK\r\nContent-Length: {large}\r\n\r\n"),
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000\r\n".to_owned(),
            true,
        ),
    ] {
        let server = Server::start(move |stream, stopped| {
            let _ = stream.write_all(head.as_bytes());
            while goes_on && !pause(stopped) && stream.write_all(b"x").is_ok() {}
        });
        assert_eq!(get(&server.url("/"), head_only), good);
        server.stop();
    }
    let refused = Server::answering(format!(
        "HTTP/1.1 500 No\r\nContent-Length: {large}\r\n\r\nx"
    ));
    let (status, body) = (500, Vec::new());
    assert_eq!(
        get(&refused.url("/"), head_only),
        Err(CallError::Status { status, body })
    );
    refused.stop();
    let moved =
        Server::answering("HTTP/1.1 302 Moved\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        get(&moved.url("/"), head_only),
        Err(CallError::Redirected(302))
    );
    moved.stop();
}

#[test]
fn rejects_answer_that_is_not_http() {
    for text in [
        "SSH-2.0-OpenSSH_9.9\r\n\r\n",
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
    ] {
        let server = Server::answering(text);
        let error = get(&server.url("/"), BOUNDS).expect_err(text);
        assert!(
            matches!(error, CallError::Transport(_)),
            "{text:?}: {error:?}"
        );
        server.stop();
    }
}

#[test]
fn refuses_private_addresses_before_connecting() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let bounds = Bounds {
        reach: Reach::Public,
        ..BOUNDS
    };
    for host in [
        "127.0.0.1",
        "localhost",
        "[::ffff:127.0.0.1]",
        "127.1",
        "2130706433",
        "0.0.0.0",
    ] {
        let error = get(&format!("http://{host}:{}/", server.port), bounds).expect_err(host);
        assert!(
            matches!(error, CallError::RefusedAddress(_)),
            "{host}: {error:?}"
        );
    }
    assert_eq!(server.stop(), [""; 0], "no connection");
}

#[test]
fn reaches_do_not_share_connections() {
    let server =
        Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n");
    let wire = Wire::default();
    let call = |reach| {
        let (target, headers) = (Target::parse(&server.url("/")).expect("a URL"), Vec::new());
        let bounds = Bounds { reach, ..BOUNDS };
        wire.call(&Call {
            method: Method::GET,
            target,
            headers,
            body: Vec::new(),
            bounds,
        })
    };
    assert!(call(Reach::Anywhere).is_ok());
    assert!(
        matches!(call(Reach::Public), Err(CallError::RefusedAddress(_))),
        "a kept-alive connection does not serve it"
    );
    server.stop();
}

/// A resolver that returns one public and one private address.
#[derive(Debug)]
struct MixedResolver;

impl Resolver for MixedResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(([127, 0, 0, 1], 80).into());
        addresses.push(([9, 9, 9, 9], 80).into());
        Ok(addresses)
    }
}

#[test]
fn connector_receives_no_address_out_of_reach() {
    let resolve = |reach| {
        let uri = Uri::from_static("http://two.example/");
        let timeout = NextTimeout::default();
        let found = GuardedResolver {
            reach,
            resolver: MixedResolver,
        }
        .resolve(&uri, &Config::default(), timeout);
        found.expect("an address remains").len()
    };
    assert_eq!([resolve(Reach::Public), resolve(Reach::Anywhere)], [1, 2]);
}

#[test]
fn fails_when_nobody_listens() {
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a port")
        .port();
    let error = get(&format!("http://127.0.0.1:{port}/"), BOUNDS).expect_err("nobody listens");
    assert!(matches!(error, CallError::Transport(_)), "{error:?}");
}

#[test]
fn fails_when_server_has_no_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    let running = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let error = get(&format!("https://127.0.0.1:{port}/"), BOUNDS).expect_err("no TLS");
    assert!(matches!(error, CallError::Transport(_)), "{error:?}");
    running.join().expect("the server did not panic");
}

#[test]
fn accepts_only_http_targets_and_redacts_secrets() {
    for (text, error) in [
        ("", TargetError::Malformed),
        ("/path", TargetError::Malformed),
        ("https://", TargetError::Malformed),
        ("http://a b/", TargetError::Malformed),
        ("ftp://host/", TargetError::Scheme),
        ("file://host/etc/passwd", TargetError::Scheme),
        ("https://u:s3cret@host/", TargetError::UserInfo),
    ] {
        assert_eq!(Target::parse(text), Err(error), "{text}");
    }
    let target =
        Target::parse("https://hooks.example:444/s3cret/path?token=s3cret").expect("a URL");
    assert_eq!(target.to_string(), "https://hooks.example:444");
    assert_eq!(
        target.expose(),
        "https://hooks.example:444/s3cret/path?token=s3cret"
    );
    let server = Server::answering("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    let error = get(&server.url("/s3cret?s3cret"), BOUNDS).expect_err("refused");
    assert!(!format!("{error} {error:?}").contains("s3cret"));
    server.stop();
    let headers = vec![("authorization", "s3cret".to_owned())];
    let call = Call {
        method: Method::POST,
        target,
        headers,
        body: b"s3cret".to_vec(),
        bounds: BOUNDS,
    };
    assert_eq!(
        format!("{call:?}"),
        "POST https://hooks.example:444 (6 bytes)"
    );
}
