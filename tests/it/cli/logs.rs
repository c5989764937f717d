//! The logs of the real process: destination, format, and content that must never appear.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::run::run;
use crate::support::Answer;
use crate::support::process::{Client, Daemon, tillbox};
use crate::support::shop::landlord_file;

/// The text of all log files whose names begin with `start`.
pub fn files(dir: &Path, start: &str) -> String {
    let entries = fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("an entry"));
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(start));
    named
        .map(|entry| fs::read_to_string(entry.path()).expect("a text"))
        .collect()
}

#[test]
fn warns_and_goes_on_when_log_directory_is_read_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "").expect("written");
    for place in [file.clone(), file.join("logs")] {
        let mut daemon = Daemon::start_with(
            &dir.path().join("data"),
            &[],
            &[("TILLBOX_LOGGING__DIR", &place)],
        );
        let output = daemon.output();
        let said = output
            .lines()
            .find(|line| line.contains("cannot write log files; make the directory writable"));
        assert!(said.is_some_and(|line| line.contains("/file")), "{output}");
        assert_eq!(daemon.terminate().code(), Some(0));
    }
}

#[test]
fn rejects_invalid_retention_days() {
    let dir = tempfile::tempdir().expect("a directory");
    for days in ["0", "-1", "3651", "99999999999", "1.5", "never"] {
        let mut command = tillbox(dir.path(), &["config", "check"]);
        let output = command
            .env("TILLBOX_LOGGING__KEEP_DAYS", days)
            .output()
            .expect("it runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{days}");
        assert!(error.contains("logging.keep_days"), "{days}: {error}");
    }
}

/// At every level, a line of the security log names the request and the tenant.
#[test]
fn writes_complete_security_lines_at_every_level() {
    let dir = tempfile::tempdir().expect("a directory");
    let mine = key(
        dir.path(),
        &["tenant", "create", "corner", "--name", "Corner"],
    );
    key(
        dir.path(),
        &["tenant", "create", "other", "--name", "Other"],
    );
    for (level, id) in [
        ("error,tillbox::cli=info", "till-1"),
        ("off,tillbox::cli=info", "till-2"),
    ] {
        // The line with the address must appear; request lines are not enabled.
        let mut daemon = Daemon::start_with(
            dir.path(),
            &[],
            &[("TILLBOX_LOGGING__LEVEL", Path::new(level))],
        );
        let astray = [("x-tillbox-tenant", "other"), ("x-request-id", id)];
        let mut client = daemon.client().with_key(&mine);
        client
            .request("GET", "/v1/orders", &astray, b"")
            .expect("an answer")
            .expect(403);
        assert_eq!(daemon.terminate().code(), Some(0));
        let security = files(&dir.path().join("logs"), "security.");
        let mut lines = security
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("an object"));
        let line = lines
            .rfind(|line| line["message"] == "tenant mismatch")
            .expect("it is there");
        assert_eq!(line["request_id"], id, "{line}");
        assert!(line["tenant_id"].is_string(), "{line}");
    }
}

/// Lines for the journal: one per event, the priority in front, no colour.
#[test]
fn writes_priorities_for_journal() {
    let dir = tempfile::tempdir().expect("a directory");
    for (format, follows) in [("json", "{\"timestamp\":"), ("console", " INFO ")] {
        let data = dir.path().join(format);
        let journal = dir.path().join(format!("{format}.journal"));
        let (out, err) = (
            File::create(&journal).expect("made"),
            File::options().append(true).open(&journal).expect("opens"),
        );
        let meta = out.metadata().expect("known");
        let mut child = tillbox(&data, &["serve", "--listen", "127.0.0.1:0"])
            .env("TILLBOX_LOGGING__FORMAT", format)
            .env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino()))
            .env_remove("NO_COLOR")
            .stdout(out)
            .stderr(err)
            .spawn()
            .expect("it starts");
        let text = || fs::read_to_string(&journal).expect("a text");
        while !text().contains("listening") {
            assert!(child.try_wait().expect("our child").is_none(), "{}", text());
            std::thread::yield_now();
        }
        let sent = Command::new("kill")
            .arg("-TERM")
            .arg(child.id().to_string())
            .status();
        assert!(sent.is_ok_and(|status| status.success()));
        assert!(child.wait().expect("it ends").success());
        let text = text();
        assert!(
            text.contains("stopped") && !text.contains('\u{1b}'),
            "{text}"
        );
        assert!(
            text.lines()
                .all(|line| line.starts_with("<6>") || line.starts_with("<4>")),
            "{text}"
        );
        assert!(
            text.lines()
                .any(|line| line.starts_with(&format!("<6>{follows}"))),
            "{text}"
        );
    }
}

/// Card numbers, which a clerk may write into any field, a mail server's password, and keys. No
/// line contains them, even at the most verbose level.
const CARD: &str = "4242424242424242";
const CARD_SPACED: &str = "4000 0566 5566 5556";
const PASSWORD: &str = "Pa55-w0rd-of-the-mail-server";
const UNKNOWN_KEY: &str = "tb_aaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Secrets in the webhook's path, in the query of the exchange-rate URL, and the signing key of the
/// alerts.
const HOOK: &str = "T0-s3cret-path-of-the-hook";
const MIRROR: &str = "s3cret-key-of-the-mirror";
const SIGNING: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The rates of a day in the bank's format.
const DAILY: &str = "<Envelope><Cube><Cube time='2020-01-02'><Cube currency='USD' \
    rate='1.1193'/></Cube></Cube></Envelope>";

/// A remote server that serves one caller after another and records the first line of each request.
struct Elsewhere {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Elsewhere {
    fn open(talk: fn(&mut BufReader<TcpStream>, &Mutex<Vec<String>>) -> io::Result<()>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (address, heard) = (listener.local_addr().expect("an address"), Arc::default());
        let hearing = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // A caller that hangs up early is ignored.
                let _ = talk(&mut BufReader::new(stream), &hearing);
            }
        });
        Self { address, heard }
    }

    fn has_heard(&self, text: &str) -> bool {
        self.heard
            .lock()
            .expect("nobody panics")
            .iter()
            .any(|line| line.contains(text))
    }

    fn line_with(&self, text: &str) -> String {
        let heard = self.heard.lock().expect("nobody panics");
        heard
            .iter()
            .find(|line| line.contains(text))
            .expect("it was received")
            .clone()
    }
}

/// Accepts posts, and serves the rates of a day.
fn web(caller: &mut BufReader<TcpStream>, heard: &Mutex<Vec<String>>) -> io::Result<()> {
    let (mut first, mut length) = (String::new(), 0);
    caller.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        caller.read_line(&mut line)?;
        if line.trim_end().is_empty() {
            break;
        }
        let value = line.to_ascii_lowercase();
        length = value
            .strip_prefix("content-length:")
            .map_or(length, |value| value.trim().parse().expect("a number"));
    }
    caller.read_exact(&mut vec![0; length])?;
    let body = if first.starts_with("GET") { DAILY } else { "" };
    write!(
        caller.get_mut(),
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    heard.lock().expect("nobody panics").push(first);
    Ok(())
}

/// Accepts every login and rejects every mail.
fn mail(caller: &mut BufReader<TcpStream>, heard: &Mutex<Vec<String>>) -> io::Result<()> {
    caller.get_mut().write_all(b"220 mx.example ESMTP\r\n")?;
    let mut line = String::new();
    while caller.read_line(&mut line)? > 0 {
        let answer: &[u8] = match line.get(..4).unwrap_or_default() {
            "EHLO" => b"250-mx.example\r\n250 AUTH PLAIN\r\n",
            "AUTH" => b"235 2.7.0 welcome\r\n",
            "RCPT" => b"550 5.1.1 no such mailbox\r\n",
            _ => b"250 2.0.0 ok\r\n",
        };
        caller.get_mut().write_all(answer)?;
        heard
            .lock()
            .expect("nobody panics")
            .push(std::mem::take(&mut line));
    }
    Ok(())
}

fn post(client: &mut Client, path: &str, key: &str, body: &Value) -> Answer {
    client.post(path, key, body).expect("an answer")
}

/// Card numbers in wrong fields, in invalid bodies, in queries and headers.
fn send_card_numbers(client: &mut Client, line: &Value) {
    let astray = json!({"lines": line, "payments": [{"method": "card", "card_number": CARD,
        "cvc": "737", "amount_minor": 250}], "note": CARD_SPACED});
    post(client, "/v1/sales", "x", &astray).expect(422);
    let broken = format!("{{\"email\": \"{CARD_SPACED}\", ");
    let typed = [
        ("content-type", "application/json"),
        ("idempotency-key", "y"),
    ];
    client
        .request("POST", "/v1/sales", &typed, broken.as_bytes())
        .expect("an answer")
        .expect(400);
    client
        .get(&format!(
            "/v1/catalog/products?card={CARD}&password={PASSWORD}"
        ))
        .expect("an answer")
        .expect(422);
    client
        .get(&format!("/v1/nothing/{CARD}?key={UNKNOWN_KEY}"))
        .expect("an answer")
        .expect(404);
}

/// A day in a shop: sales, payments, refusals, invalid keys, failing mail.
fn a_day(client: &mut Client, anybody: &mut Client, landlord: &mut Client) {
    post(client, "/v1/tax-rates/none", "n", &json!({})).expect(200);
    let product = json!({"sku": "A", "name": "Apple", "price_minor": 250, "track_stock": false});
    let product = post(client, "/v1/catalog/products", "p", &product)
        .expect(201)
        .string("/id");
    let line = json!([{"product_id": product, "quantity": 1}]);
    let sale = json!({"lines": line, "payments": [{"method": "cash", "amount_minor": 250}],
        "email": "anna@example.org"});
    post(client, "/v1/sales", "s", &sale).expect(201);
    let cart = post(client, "/v1/carts", "c", &json!({}))
        .expect(201)
        .string("/id");
    post(
        client,
        &format!("/v1/carts/{cart}/items"),
        "i",
        &json!({"product_id": product, "quantity": 2}),
    )
    .expect(201);
    let order = json!({"cart_id": cart, "email": "anna@example.org", "payment_method": "test"});
    let payment = post(client, "/v1/checkout", "o", &order)
        .expect(201)
        .string("/payment/id");
    let confirm = json!({"payment_id": payment, "provider_reference": CARD});
    post(client, "/v1/checkout/confirm-payment", "d", &confirm).expect(200);
    post(client, "/v1/checkout/confirm-payment", "e", &confirm).expect(409);
    send_card_numbers(client, &line);
    let basic = [("authorization", PASSWORD)];
    anybody
        .request("GET", "/v1/orders", &basic, b"")
        .expect("an answer")
        .expect(401);
    let unknown = format!("Bearer {UNKNOWN_KEY}");
    anybody
        .request("GET", "/v1/orders", &[("authorization", &unknown)], b"")
        .expect("an answer")
        .expect(401);
    client
        .request("GET", "/v1/orders", &[("x-tillbox-tenant", "other")], b"")
        .expect("an answer")
        .expect(403);
    let made = post(
        landlord,
        "/v1/landlord/tenants/other/api-keys",
        "k",
        &json!({"name": "till", "scopes": ["pos"]}),
    );
    made.expect(201);
    landlord
        .get("/v1/landlord/queue/jobs")
        .expect("an answer")
        .expect(200);
}

fn key(data: &Path, args: &[&str]) -> String {
    let made = run(data, &[args, &["--json"]].concat()).code(0).json();
    made["api_key"].as_str().expect("a key").to_owned()
}

/// The most verbose level, also for the libraries that talk to those servers.
fn by_secret_ways(web: &Elsewhere, mail: &Elsewhere) -> [(&'static str, String); 8] {
    [
        (
            "TILLBOX_LOGGING__LEVEL",
            "trace,ureq=trace,ureq_proto=trace,lettre=trace".to_owned(),
        ),
        (
            "TILLBOX_MAIL__SMTP_URL",
            format!("smtp://shop:{PASSWORD}@{}", mail.address),
        ),
        (
            "TILLBOX_ALERTS__WEBHOOK_URL",
            format!("http://{}/{HOOK}", web.address),
        ),
        ("TILLBOX_ALERTS__WEBHOOK_SECRET", SIGNING.to_owned()),
        ("TILLBOX_EXCHANGE_RATES__FETCH", "true".to_owned()),
        (
            "TILLBOX_EXCHANGE_RATES__URL",
            format!("http://{}/daily.xml?key={MIRROR}", web.address),
        ),
        (
            "TILLBOX_EXCHANGE_RATES__ALLOW_PRIVATE_ADDRESSES",
            "true".to_owned(),
        ),
        ("TILLBOX_QUEUE__DEFAULT__TRIES", "1".to_owned()),
    ]
}

/// Asserts that the logs contain the lines of a full run, and only complete lines.
fn assert_complete(all: &str, security: &str) {
    for message in [
        "payment succeeded",
        "invoice issued",
        "job failed",
        "tenant mismatch",
        "double payment processing",
        "stopped",
    ] {
        assert!(
            all.contains(message),
            "{message} is not in the log: what follows would prove nothing"
        );
    }
    assert!(
        security.contains("tenant mismatch") && !security.contains("payment succeeded"),
        "{security}"
    );
    for line in all.lines().chain(security.lines()) {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for member in ["timestamp", "level", "target", "message"] {
            assert!(line[member].is_string(), "{member} is missing in {line}");
        }
    }
}

#[test]
fn logs_no_secret_in_full_run() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let mine = key(&data, &["tenant", "create", "corner", "--name", "Corner"]);
    landlord_file(&data)
        .execute_batch("INSERT INTO task_run VALUES ('exchange_rates', 0, NULL)")
        .expect("the rates are due");
    // The mail is rejected and its job discarded, an alert about that is sent, and the rates are
    // fetched: all from real servers over URLs with secrets.
    let (web, mail) = (Elsewhere::open(web), Elsewhere::open(mail));
    let settings = by_secret_ways(&web, &mail);
    let mut daemon = Daemon::start_with(
        &data,
        &["--dev"],
        &settings
            .each_ref()
            .map(|(name, value)| (*name, Path::new(value))),
    );
    let others = key(&data, &["tenant", "create", "other", "--name", "Other"]);
    let landlord_key = key(
        &data,
        &["api-key", "create", "--landlord", "--name", "landlord"],
    );
    let (mut client, mut landlord) = (
        daemon.client().with_key(&mine),
        daemon.client().with_key(&landlord_key),
    );
    a_day(&mut client, &mut daemon.client(), &mut landlord);
    let is_over = || {
        let output = daemon.output();
        let said = ["job failed", "exchange rates fetched"]
            .iter()
            .all(|said| output.contains(said));
        said && web.has_heard(HOOK) && web.has_heard(MIRROR) && mail.has_heard("AUTH")
    };
    while !is_over() {
        daemon
            .client()
            .get("/health/live")
            .expect("it lives")
            .expect(200);
    }
    assert_eq!(daemon.terminate().code(), Some(0));
    let logs = data.join("logs");
    let (all, security) = (files(&logs, "tillbox."), files(&logs, "security."));
    assert_complete(&all, &security);
    let demo = fs::read_to_string(data.join("demo.key")).expect("a key");
    // The password as the mail server received it.
    let login = mail.line_with("AUTH PLAIN ");
    let encoded = login.split(' ').nth(2).expect("a login").trim();
    let keys = [&mine, &others, &landlord_key, demo.trim(), UNKNOWN_KEY];
    let secrets = [
        &keys[..],
        &[PASSWORD, encoded, CARD, CARD_SPACED, HOOK, MIRROR, SIGNING],
    ]
    .concat();
    // The greeting on a developer's machine prints the demo key. It is no log line.
    let output = daemon.output();
    let printed = output
        .lines()
        .filter(|line| !line.starts_with("curl ") && !line.trim_start().starts_with("Demo key"));
    for line in all.lines().chain(security.lines()).chain(printed) {
        for secret in &secrets {
            assert!(!line.contains(secret), "{line}");
        }
        assert!(!line.contains("cvc"), "{line}");
    }
}

/// The lines about products that cannot be sold.
fn unsold(daemon: &Daemon) -> Vec<Value> {
    let output = daemon.output();
    let lines = output
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let message = |line: &Value| {
        line["message"]
            .as_str()
            .map(str::to_owned)
            .unwrap_or_default()
    };
    lines
        .filter(|line| message(line).starts_with("products of this tenant cannot be sold"))
        .collect()
}

/// A shop from before currencies had to be enabled, and one with outdated rates: one warning each
/// at the start, before a customer finds out.
#[test]
fn warns_at_start_about_unsellable_products() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut daemon = Daemon::start(dir.path(), &[]);
    let keys = ["corner", "kiosk", "uptown", "closed"]
        .map(|slug| key(dir.path(), &["tenant", "create", slug, "--name", slug]));
    let mut clients = keys.map(|key| daemon.client().with_key(&key));
    for (client, currencies) in
        clients
            .iter_mut()
            .zip([&["USD", "CHF", "EUR"][..], &["USD"], &["EUR"], &["USD"]])
    {
        for currency in currencies {
            let product = json!({"sku": currency, "name": "A product", "price_minor": 100,
                "currency": currency});
            client
                .post(
                    "/v1/catalog/products",
                    &format!("product {currency}"),
                    &product,
                )
                .expect("an answer")
                .expect(201);
        }
    }
    let mut enable = |shop: usize, code: &str| {
        let enabled = clients[shop].post("/v1/currencies", code, &json!({"code": code}));
        enabled.expect("an answer").expect(201);
    };
    enable(0, "USD");
    enable(1, "USD");
    let rate = json!({"base": "USD", "quote": "EUR", "rate": "0.9"});
    clients[1]
        .post("/v1/exchange-rates", "r", &rate)
        .expect("an answer")
        .expect(201);
    run(dir.path(), &["tenant", "suspend", "closed"]).code(0);
    assert!(
        !daemon.output().contains("cannot be sold"),
        "{}",
        daemon.output()
    );
    assert_eq!(daemon.terminate().code(), Some(0));

    let mut daemon = Daemon::start(dir.path(), &[]);
    while unsold(&daemon).is_empty() {
        daemon
            .client()
            .get("/health/live")
            .expect("it lives")
            .expect(200);
    }
    assert_eq!(daemon.terminate().code(), Some(0));
    let said = unsold(&daemon);
    let [line] = said.as_slice() else {
        panic!("{said:?}")
    };
    let reasons = line["reasons"].as_str().expect("a text");
    assert_eq!(line["tenant"], "corner");
    assert!(
        reasons.contains("exchange rate from USD to EUR")
            && reasons.contains("does not sell in CHF"),
        "{reasons}"
    );
    assert!(
        line["message"]
            .as_str()
            .is_some_and(|text| text.contains("tillbox exchange-rates import")),
        "{line}"
    );
}
