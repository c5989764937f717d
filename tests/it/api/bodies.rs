//! Request bodies on the wire (announced too large, never sent), invalid forms, misspelt filters.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::TestApp;
use crate::support::answer::pointers;
use crate::support::process::{Daemon, tillbox};
use serde_json::{Value, json};

/// Sends a cart's head and a part of its body; reads the answer until the connection is closed.
fn answer(daemon: &Daemon, headers: &str, sent: &str) -> (String, Value) {
    let mut stream = TcpStream::connect(daemon.address()).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    write!(
        stream,
        "POST /v1/carts HTTP/1.1\r\nhost: x\r\nx-tillbox-tenant: demo\r\ncontent-type: \
         application/json\r\n{headers}\r\n\r\n{sent}"
    )
    .expect("sent");
    let mut text = String::new();
    stream
        .read_to_string(&mut text)
        .expect("an answer, and the end");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    (
        head.to_owned(),
        serde_json::from_str(body).expect("a document"),
    )
}

#[test]
fn rejects_announced_large_body_before_it_is_sent() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(dir.path(), &["--dev"]);
    for expect in ["", "\r\nexpect: 100-continue"] {
        let (head, problem) = answer(&daemon, &format!("content-length: 2000000{expect}"), "");
        assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
        assert_eq!(problem["code"], "body_too_large");
    }
}

/// The client sends the whole body before it reads: an early close would reset the connection and
/// lose the answer.
#[test]
fn answers_413_to_client_that_sends_the_whole_large_body() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(dir.path(), &["--dev"]);
    let body = " ".repeat(6 << 20);
    for chunked in [false, true] {
        let (headers, sent) = if chunked {
            let chunks = body
                .as_bytes()
                .chunks(1 << 16)
                .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), " ".repeat(chunk.len())));
            (
                "transfer-encoding: chunked".to_owned(),
                chunks.collect::<String>() + "0\r\n\r\n",
            )
        } else {
            (format!("content-length: {}", body.len()), body.clone())
        };
        let (head, problem) = answer(&daemon, &format!("connection: close\r\n{headers}"), &sent);
        assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
        assert_eq!(problem["code"], "body_too_large");
    }
}

/// Covers rejections by path, method, key and content type, with bodies of any size.
#[test]
fn answers_client_when_request_is_rejected_before_its_body() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(dir.path(), &["--dev"]);
    let body = "x".repeat(5 << 20);
    for (first, headers, status, code) in [
        ("POST /v1/nothing", "", 404, "route_not_found"),
        ("DELETE /v1/sales", "", 405, "method_not_allowed"),
        ("POST /v1/sales", "", 401, "unauthenticated"),
        (
            "POST /v1/sales",
            "authorization: Bearer nonsense\r\n",
            401,
            "invalid_api_key",
        ),
        (
            "POST /v1/carts",
            "x-tillbox-tenant: demo\r\ncontent-type: text/plain\r\n",
            415,
            "unsupported_media_type",
        ),
    ] {
        let mut stream = TcpStream::connect(daemon.address()).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        let length = body.len();
        write!(
            stream,
            "{first} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {length}\r\nconnection: \
             close\r\n\r\n"
        )
        .expect("sent");
        stream
            .write_all(body.as_bytes())
            .expect("all of it can be sent");
        let mut text = String::new();
        stream
            .read_to_string(&mut text)
            .expect("an answer, and the end");
        assert!(
            text.starts_with(&format!("HTTP/1.1 {status} ")) && text.contains(code),
            "{first}: {text}"
        );
    }
}

#[test]
fn waits_half_the_timeout_for_a_missing_body() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("tillbox.toml");
    std::fs::write(&config, "[server]\nrequest_timeout = \"2s\"\n").expect("written");
    let config = config.to_str().expect("a name").to_owned();
    let daemon = Daemon::start(&dir.path().join("data"), &["--dev", "--config", &config]);
    let (head, problem) = answer(&daemon, "content-length: 20", "{");
    assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
    assert_eq!(problem["code"], "body_timeout");
}

#[tokio::test]
async fn rejects_unknown_filter() {
    let shop = TestApp::start().tenant("corner");
    for path in [
        "/v1/orders",
        "/v1/inventory/movements",
        "/v1/catalog/products",
        "/v1/catalog/categories",
        "/v1/invoices",
        "/v1/payments",
        "/v1/ledger/trial-balance",
        "/v1/reports/revenue",
    ] {
        shop.get(&format!("{path}?statu=paid"))
            .send()
            .await
            .refused(422, "validation_failed");
    }
}

#[tokio::test]
async fn rejects_array_in_place_of_object() {
    let shop = TestApp::start().tenant("corner");
    let tea = shop.product("TEA", 499).await;
    let payments = json!([{"method": "cash", "amount_minor": 499}]);
    let line = json!({"product_id": tea, "quantity": 1});
    let in_order = json!([null, tea, 1, null]);
    let cases = [
        (
            json!({"lines": [line, in_order], "payments": payments}),
            "/lines/1",
        ),
        (
            json!({"lines": [line], "payments": [[null, "cash", 499]]}),
            "/payments/0",
        ),
        (json!([null, null, [line], payments, null]), ""),
    ];
    for (sale, pointer) in cases {
        let refused = shop
            .post("/v1/sales")
            .key("k")
            .json(sale)
            .send()
            .await
            .refused(422, "validation_failed");
        assert_eq!(pointers(&refused), [pointer]);
        assert_eq!(
            refused["errors"][0]["detail"],
            "invalid type: an array, expected an object"
        );
    }
    for (quantity, detail) in [
        (
            json!(1.5),
            "invalid type: number `1.5`, expected a whole number",
        ),
        (
            json!("map, expected i64"),
            "invalid type: string \"map, expected i64\", expected a whole number",
        ),
        (
            json!({}),
            "invalid type: an object, expected a whole number",
        ),
    ] {
        let sale =
            json!({"lines": [{"product_id": tea, "quantity": quantity}], "payments": payments});
        let refused = shop
            .post("/v1/sales")
            .key("k")
            .json(sale)
            .send()
            .await
            .refused(422, "validation_failed");
        assert_eq!(refused["errors"][0]["detail"], detail);
    }
}

/// Announces a body of 64 KiB and sends the first `sent` bytes.
fn start_unfinished(daemon: &Daemon, headers: &str, sent: usize) -> TcpStream {
    let mut stream = TcpStream::connect(daemon.address()).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a timeout");
    write!(
        stream,
        "POST /v1/carts HTTP/1.1\r\nhost: x\r\n{headers}content-type: \
         application/json\r\nconnection: close\r\ncontent-length: 65536\r\n\r\n{}",
        " ".repeat(sent)
    )
    .expect("sent");
    stream
}

/// Sends the rest of the body and reads the answer.
fn finish(mut stream: TcpStream, sent: usize) -> String {
    let rest = " ".repeat(65_536 - sent - 2) + "{}";
    stream.write_all(rest.as_bytes()).expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}

fn memory_in_use(daemon: &Daemon) -> u64 {
    let metrics = daemon.client().get("/metrics").expect("an answer").text();
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix("tillbox_http_body_memory_bytes "));
    value.expect("the figure").parse().expect("a number")
}

/// Waits until the daemon has read the sent bytes.
fn wait_for_memory(daemon: &Daemon, bytes: u64) {
    for _ in 0..100_000 {
        if memory_in_use(daemon) == bytes {
            return;
        }
    }
    panic!("{} bytes are in use, not {bytes}", memory_in_use(daemon));
}

#[test]
fn refuses_large_keyless_body_when_memory_is_used_up() {
    const KIB: usize = 1024;
    const TENANT: &str = "x-tillbox-tenant: demo\r\n";
    let dir = tempfile::tempdir().expect("a directory");
    let made = |args: &[&str]| {
        let output = tillbox(dir.path(), args).output().expect("it runs");
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let key = made(&[
        "tenant", "create", "--no-tax", "demo", "--name", "Demo", "--json",
    ]);
    let key = key["api_key"].as_str().expect("a key").to_owned();
    // One keyless body of 64 KiB uses 48 KiB of the 64 KiB for keyless callers.
    let daemon = Daemon::start_with(
        dir.path(),
        &[],
        &[
            ("TILLBOX_SERVER__BODY_LIMIT", "64KiB".as_ref()),
            ("TILLBOX_SERVER__BODY_MEMORY", "128KiB".as_ref()),
        ],
    );
    let announced: Vec<TcpStream> = (0..8)
        .map(|_| start_unfinished(&daemon, TENANT, 0))
        .collect();
    let begun: Vec<TcpStream> = (0..8)
        .map(|_| start_unfinished(&daemon, TENANT, 4 * KIB))
        .collect();
    assert_eq!(memory_in_use(&daemon), 0, "nothing is charged in advance");
    let large = start_unfinished(&daemon, TENANT, 40 * KIB);
    wait_for_memory(&daemon, 48 * KIB as u64);
    let refused = finish(start_unfinished(&daemon, TENANT, 40 * KIB), 40 * KIB);
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
    assert!(refused.contains(r#""code":"server_busy""#), "{refused}");
    let mut client = daemon.client();
    let tenant = [
        ("x-tillbox-tenant", "demo"),
        ("content-type", "application/json"),
    ];
    client
        .request(
            "POST",
            "/v1/carts",
            &tenant,
            &[b' '; 16 * KIB - 2]
                .iter()
                .copied()
                .chain(*b"{}")
                .collect::<Vec<u8>>(),
        )
        .expect("an answer")
        .expect(201);
    let keyed = format!("authorization: Bearer {key}\r\n");
    let answer = finish(start_unfinished(&daemon, &keyed, 40 * KIB), 40 * KIB);
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let answer = finish(large, 40 * KIB);
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    wait_for_memory(&daemon, 0);
    let answer = finish(start_unfinished(&daemon, TENANT, 40 * KIB), 40 * KIB);
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    drop((announced, begun));
}

/// The announced chunk is never sent: the answer does not wait for it.
#[test]
fn rejects_a_chunk_beyond_the_limit_when_it_is_announced() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(dir.path(), &["--dev"]);
    for sent in ["100001\r\n", "2\r\n{}\r\nffffffffff;x\r\n{"] {
        let (head, problem) = answer(&daemon, "transfer-encoding: chunked", sent);
        assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
        assert_eq!(problem["code"], "body_too_large");
    }
    let (head, _) = answer(
        &daemon,
        "transfer-encoding: chunked",
        "2\r\n{}\r\n0\r\n\r\n",
    );
    assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
}

#[test]
fn rejects_transfer_codings_other_than_chunked() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(dir.path(), &["--dev"]);
    for codings in [
        "gzip, chunked",
        "gzip",
        "chunked, gzip",
        "chunked\r\ntransfer-encoding: chunked",
    ] {
        let (head, problem) = answer(&daemon, &format!("transfer-encoding: {codings}"), "");
        assert!(
            head.starts_with("HTTP/1.1 501 Not Implemented\r\n"),
            "{head}"
        );
        assert_eq!(problem["code"], "unsupported_transfer_coding", "{codings}");
        assert_eq!(problem["status"], 501, "{codings}");
    }
}

#[test]
fn rejects_a_request_target_with_a_fragment() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(dir.path(), &["--dev"]);
    for target in [
        "/health/live#x",
        "/health/live?a=#",
        "http://x/health/live#x",
    ] {
        let mut stream = TcpStream::connect(daemon.address()).expect("it listens");
        write!(stream, "GET {target} HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
        let mut text = String::new();
        stream
            .read_to_string(&mut text)
            .expect("an answer, and the end");
        assert!(text.starts_with("HTTP/1.1 400 "), "{target}: {text}");
        assert!(text.contains("contains `#`"), "{target}: {text}");
    }
}

#[tokio::test]
async fn rejects_a_charset_other_than_utf_8() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let create = |media_type: &str| {
        let call = shop.post("/v1/carts").header("content-type", media_type);
        call.bytes("{}")
    };
    for charset in ["utf-8", "UTF-8", "\"utf-8\"", "utf8"] {
        let media_type = format!("application/json; charset={charset}");
        create(&media_type).send().await.expect(201);
    }
    for charset in ["iso-8859-1", "UTF-16", "\"latin1\"", ""] {
        let media_type = format!("application/json;v=1; Charset={charset}");
        let refused = create(&media_type).send().await;
        let problem = refused.refused(415, "unsupported_media_type");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("UTF-8"), "{detail}");
    }
}
