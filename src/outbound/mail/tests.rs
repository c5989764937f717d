//! Mail as the receiver sees it, in the outbox and over a real connection.

use super::*;
use crate::primitives::chain;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(20);
/// Short, because tests wait for it.
const SHORT: Duration = Duration::from_millis(150);
const FROM: &str = "Laden Müller <shop@example.com>";

fn mail() -> Mail {
    Mail {
        to: "ada@example.org".to_owned(),
        subject: "Rechnung über 5 €".to_owned(),
        text: "Grüße,\nline two\n.\n".to_owned(),
        message_id: "0197-order.1".to_owned(),
        date_ms: 1_767_323_045_006,
    }
}

fn mailer(url: &str, outbox: &Path) -> Mailer {
    Mailer::from_settings(url, FROM, Duration::from_secs(5), outbox).unwrap()
}

fn files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn writes_message_to_outbox_as_sent() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = dir.path().join("deep/outbox");
    mailer("", &outbox).send(&mail(), LONG).unwrap();
    let path = outbox.join("0197-order.1.eml");
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    insta::assert_snapshot!(text.replace("\r\n", "\n"), @r"
    From: =?utf-8?b?TGFkZW4gTcO8bGxlcg==?= <shop@example.com>
    To: ada@example.org
    Subject: Rechnung =?utf-8?b?w7xiZXI=?= 5 =?utf-8?b?4oKs?=
    Date: Fri, 02 Jan 2026 03:04:05 +0000
    Message-ID: <0197-order.1@example.com>
    Auto-Submitted: auto-generated
    MIME-Version: 1.0
    Content-Type: text/plain; charset=utf-8
    Content-Transfer-Encoding: base64

    R3LDvMOfZSwNCmxpbmUgdHdvDQouDQo=
    ");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&outbox)), (0o600, 0o700));
}

#[test]
fn replaces_own_file_when_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let mailer = mailer("", dir.path());
    mailer.send(&mail(), LONG).unwrap();
    let first = fs::read(dir.path().join("0197-order.1.eml")).unwrap();
    mailer.send(&mail(), LONG).unwrap();
    assert_eq!(files(dir.path()), ["0197-order.1.eml"]);
    assert_eq!(
        fs::read(dir.path().join("0197-order.1.eml")).unwrap(),
        first
    );

    let message_id = "0197-order.2@shop.example".to_owned();
    mailer
        .send(
            &Mail {
                message_id,
                ..mail()
            },
            LONG,
        )
        .unwrap();
    assert_eq!(files(dir.path()).len(), 2);
    let other = fs::read_to_string(dir.path().join("0197-order.2@shop.example.eml")).unwrap();
    assert!(
        other.contains("\r\nMessage-ID: <0197-order.2@shop.example>\r\n"),
        "{other}"
    );
}

#[test]
fn rejects_header_injection_and_path_traversal() {
    let dir = tempfile::tempdir().unwrap();
    let mailer = mailer("", dir.path());
    let subject = |subject: &str| Mail {
        subject: subject.to_owned(),
        ..mail()
    };
    let to = |to: &str| Mail {
        to: to.to_owned(),
        ..mail()
    };
    let message_id = |id: &str| Mail {
        message_id: id.to_owned(),
        ..mail()
    };
    let long = "x".repeat(MAX_MESSAGE_ID_CHARS + 1);
    let rejected = [
        subject("a\r\nBcc: eve@example.net"),
        subject("a\nb"),
        subject("a\0"),
        to("ada@example.org\r\nBcc: eve@example.net"),
        to("ada@example.org, eve@example.net"),
        to("Ada <ada@example.org>"),
        to("ada@example.org>\u{7f}"),
        to("ada"),
        to(""),
        message_id("../../etc/x"),
        message_id(".."),
        message_id("a b"),
        message_id("a>\r\nBcc: x"),
        message_id("<a@b>"),
        message_id("a@b@c"),
        message_id("a@"),
        message_id(""),
        message_id(&long),
        Mail {
            date_ms: -1,
            ..mail()
        },
        Mail {
            date_ms: i64::MAX,
            ..mail()
        },
    ];
    for mail in rejected {
        let error = mailer.send(&mail, LONG).expect_err(&format!("{mail:?}"));
        assert!(error.is_permanent(), "{error}");
    }
    assert!(files(dir.path()).is_empty());

    let long_subject = "ü".repeat(500) + &"x".repeat(2_000);
    mailer.send(&subject(&long_subject), LONG).unwrap();
    let date_ms = i64::try_from(MAX_DATE_MS).unwrap();
    mailer.send(&Mail { date_ms, ..mail() }, LONG).unwrap();
}

#[test]
fn refuses_symbolic_link_in_outbox() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, victim) = (dir.path().join("outbox"), dir.path().join("victim"));
    fs::create_dir(&outbox).unwrap();
    fs::write(&victim, "precious").unwrap();
    // The tests of this process share the numbers of temporary files.
    for number in 0..1_000 {
        std::os::unix::fs::symlink(&victim, outbox.join(format!(".{number}.tmp"))).unwrap();
    }
    let error = mailer("", &outbox).send(&mail(), LONG).unwrap_err();
    assert!(!error.is_permanent(), "{error}");
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

#[test]
fn is_retryable_when_outbox_is_not_writable() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = mailer("", &file).send(&mail(), LONG).unwrap_err();
    assert!(!error.is_permanent(), "{error}");

    // A directory occupies the final name: the temporary file must be removed.
    fs::create_dir(dir.path().join("0197-order.1.eml")).unwrap();
    mailer("", dir.path()).send(&mail(), LONG).unwrap_err();
    assert!(!files(dir.path()).iter().any(|name| name.contains("tmp")));
}

/// A mail server for one connection that answers RCPT with `recipient_answer`; returns what it
/// received.
fn smtp_server(recipient_answer: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut writer = stream.try_clone().unwrap();
        let mut answer = |text: &str| writer.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        let mut received = String::new();
        let mut in_data = false;
        answer("220 ready");
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { break };
            match line.as_str() {
                "DATA" => {
                    in_data = true;
                    answer("354 go on");
                }
                "." => {
                    in_data = false;
                    answer("250 accepted");
                }
                "QUIT" => {
                    answer("221 bye");
                    break;
                }
                _ if in_data => {}
                line if line.starts_with("RCPT") => answer(recipient_answer),
                _ => answer("250 yes"),
            }
            received.push_str(&line);
            received.push('\n');
        }
        received
    });
    (url, server)
}

#[test]
fn sends_message_with_own_id() {
    let (url, server) = smtp_server("250 yes");
    let transport = mailer(&url, Path::new("/nowhere"));
    transport.send(&mail(), LONG).unwrap();
    drop(transport);
    let received = server.join().unwrap();
    for line in [
        "MAIL FROM:<shop@example.com>",
        "RCPT TO:<ada@example.org>",
        "Message-ID: <0197-order.1@example.com>",
    ] {
        assert!(received.contains(line), "{received}");
    }
}

/// Waits a few milliseconds; returns whether the test has ended.
fn pause(stopped: &Receiver<()>) -> bool {
    stopped.recv_timeout(Duration::from_millis(2)) == Err(RecvTimeoutError::Disconnected)
}

/// A server for one connection with the given behaviour, until its `Sender` is dropped.
fn bad_server(
    behave: impl FnOnce(&mut TcpStream, &Receiver<()>) + Send + 'static,
) -> (String, Sender<()>, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let (stop, stopped) = channel();
    let running = thread::spawn(move || behave(&mut listener.accept().unwrap().0, &stopped));
    (url, stop, running)
}

/// Sends a byte every few milliseconds, well within any limit of a single wait.
fn drip(stream: &mut TcpStream, stopped: &Receiver<()>) {
    while !pause(stopped) && stream.write_all(b"x").is_ok() {}
}

#[test]
fn times_out_at_total_deadline_when_server_hangs_or_drips() {
    type Behaviour = fn(&mut TcpStream, &Receiver<()>);
    let behaviours: [Behaviour; 4] = [
        |_, stopped| while !pause(stopped) {},
        |stream, stopped| {
            let _ = stream.write_all(b"220 ");
            drip(stream, stopped);
        },
        // Whole lines of an answer that never ends.
        |stream, stopped| while !pause(stopped) && stream.write_all(b"220-x\r\n").is_ok() {},
        |stream, stopped| {
            let _ = stream.write_all(b"220 ready\r\n250-hello\r\n250-");
            drip(stream, stopped);
        },
    ];
    for (number, behave) in behaviours.into_iter().enumerate() {
        // With the mailer's own limit as the shorter one, then with the caller's.
        for (own, left) in [(SHORT, LONG), (LONG, SHORT)] {
            let (url, stop, running) = bad_server(behave);
            let mailer = Mailer::from_settings(&url, FROM, own, Path::new("/nowhere")).unwrap();
            let error = mailer.send(&mail(), left).unwrap_err();
            assert!(
                matches!(error, MailError::TooSlow { limit: SHORT, .. }),
                "{number}: {error:?}"
            );
            assert!(!error.is_permanent());
            drop(stop);
            running.join().unwrap();
        }
    }
}

#[test]
fn times_out_at_total_deadline_when_handshake_drips() {
    // The beginning of a TLS record that never ends.
    let (url, stop, running) = bad_server(|stream, stopped| {
        let _ = stream.write_all(b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb");
        drip(stream, stopped);
    });
    let url = url.replace("smtp://", "smtps://");
    let mailer = Mailer::from_settings(&url, FROM, SHORT, Path::new("/nowhere")).unwrap();
    let error = mailer.send(&mail(), LONG).unwrap_err();
    assert!(
        matches!(error, MailError::TooSlow { limit: SHORT, .. }),
        "{error:?}"
    );
    drop(stop);
    running.join().unwrap();
}

/// A server's answer after it has accepted the message has no effect: a retry would send a second
/// mail.
#[test]
fn succeeds_when_server_does_not_answer_quit() {
    let (url, stop, running) = bad_server(|stream, stopped| {
        let lines = BufReader::new(stream.try_clone().unwrap())
            .lines()
            .map_while(Result::ok);
        let mut answer = |text: &str| stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        answer("220 ready");
        let mut in_data = false;
        for line in lines {
            match line.as_str() {
                "QUIT" => break,
                "." => {
                    in_data = false;
                    answer("250 accepted");
                }
                _ if in_data => {}
                "DATA" => {
                    in_data = true;
                    answer("354 go on");
                }
                _ => answer("250 yes"),
            }
        }
        while !pause(stopped) {}
    });
    mailer(&url, Path::new("/nowhere"))
        .send(&mail(), LONG)
        .unwrap();
    drop(stop);
    running.join().unwrap();
}

#[test]
fn rejections_are_permanent_only_when_message_is_at_fault() {
    for (recipient_answer, permanent) in [
        ("550 no such user", true),
        ("451 later", false),
        ("535 wrong password", false),
        ("530 log in first", false),
    ] {
        let (url, server) = smtp_server(recipient_answer);
        let error = mailer(&url, Path::new("/nowhere"))
            .send(&mail(), LONG)
            .unwrap_err();
        assert_eq!(
            error.is_permanent(),
            permanent,
            "{recipient_answer}: {error:?}"
        );
        server.join().unwrap();
    }
    // The port is free again, so nothing listens there.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let error = mailer(&format!("smtp://{free}"), Path::new("/nowhere")).send(&mail(), LONG);
    assert!(!error.unwrap_err().is_permanent());
}

/// The text names the cause once, so that the operator knows where to look.
#[test]
fn error_names_server_and_cause_without_secrets() {
    let (url, server) = smtp_server("550 no such user");
    let address = url.strip_prefix("smtp://").unwrap().to_owned();
    let error = mailer(&url, Path::new("/nowhere"))
        .send(&mail(), LONG)
        .unwrap_err();
    assert_eq!(
        chain(&error),
        format!(
            "the mail server {address} did not accept the message: permanent error (550): no such \
             user"
        )
    );
    server.join().unwrap();
    // The port is free again.
    let url = format!("smtp://bob:hunter2@{address}");
    let error = mailer(&url, Path::new("/nowhere"))
        .send(&mail(), LONG)
        .unwrap_err();
    let text = chain(&error);
    assert!(
        text.starts_with(&format!(
            "the mail server {address} did not accept the message: "
        )),
        "{text}"
    );
    assert_eq!(text.matches("refused").count(), 1, "{text}");
}

#[test]
fn names_server_by_host_and_port() {
    for (url, name) in [
        ("smtp://mx.example", "mx.example:25"),
        ("smtp://mx.example:2525/me", "mx.example:2525"),
        ("smtps://bob:hunter2@mx.example", "mx.example:465"),
        (
            "smtp://bob:hun%40ter2@mx.example?tls=required",
            "mx.example:587",
        ),
        ("smtp://bob:tls=1@mx.example", "mx.example:25"),
        ("smtp://bob:hun@ter2:9@mx.example:26", "mx.example:26"),
        ("smtp://[2001:db8::25]", "[2001:db8::25]:25"),
        (
            "smtps://bob:hunter2@[2001:db8::25]:9/me",
            "[2001:db8::25]:9",
        ),
    ] {
        let made = Mailer::from_settings(url, FROM, LONG, Path::new("x")).unwrap();
        assert!(
            matches!(made, Mailer::Smtp { name: own, .. } if own == name),
            "{url}"
        );
    }
}

#[test]
fn rejects_invalid_settings() {
    let make = |url, from| Mailer::from_settings(url, from, Duration::from_secs(1), Path::new("x"));
    assert!(matches!(
        make("", "nobody").err(),
        Some(MailConfigError::From { .. })
    ));
    let error = make("http://bob:hunter2@mx", FROM).err().unwrap();
    assert!(!error.to_string().contains("hunter2"));
    assert!(matches!(
        make("smtps://bob:x@mx.example", FROM),
        Ok(Mailer::Smtp { .. })
    ));
}
