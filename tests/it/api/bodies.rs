//! Bodies as they come over the wire, announced too large or never sent; forms that only look
//! right; filters spelled wrong.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::TestApp;
use crate::support::answer::pointers;
use crate::support::process::Daemon;
use serde_json::{Value, json};

/// What the daemon answers to a cart's head and this much of its body, until it closes.
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
fn a_body_announced_too_large_is_refused_before_it_is_sent() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(dir.path(), &["--dev"]);
    for expect in ["", "\r\nexpect: 100-continue"] {
        let (head, problem) = answer(&daemon, &format!("content-length: 2000000{expect}"), "");
        assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
        assert_eq!(problem["code"], "body_too_large");
    }
}

/// A client that sends all of it before it reads: closed under it, the connection would break and
/// the reason be lost.
#[test]
fn whoever_sends_too_much_hears_why() {
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

/// The same for what is refused by its path, its method, its key or its type, whatever its size.
#[test]
fn whoever_is_refused_before_the_body_is_read_hears_why() {
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
fn a_body_that_does_not_come_is_waited_for_half_of_the_time() {
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
async fn a_filter_that_is_spelled_wrong_does_not_give_the_whole_list() {
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
async fn objects_are_not_taken_from_arrays() {
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

/// The chunk that is announced never comes: the answer does not wait for it.
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
