//! The log of the real process: where it goes, in which form, what is never in it.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::run::run;
use crate::support::process::{Client, Daemon, tillbox};
use crate::support::shop::landlord_file;

/// The text of all log files whose names begin so.
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
fn a_directory_that_cannot_be_written_is_said_and_done_without() {
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
fn days_that_are_none_are_refused() {
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

/// However little is logged, a line of the security log says of which request and which store it
/// is.
#[test]
fn security_lines_are_whole_at_every_level() {
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
        // Where it listens must be told; that of requests is not asked for.
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

/// Lines for the journal: one per event, the priority before it, no colour.
#[test]
fn the_journal_gets_priorities() {
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

/// Numbers of cards, as a clerk may write them into any field, a password of a mail server, and
/// keys: none of them is in any line, at the highest level there is.
const CARD: &str = "4242424242424242";
const CARD_SPACED: &str = "4000 0566 5566 5556";
const PASSWORD: &str = "Pa55-w0rd-of-the-mail-server";
const UNKNOWN_KEY: &str = "tb_aaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// In the path of the webhook, in the query of the exchange rates' URL, and the key of the alerts'
/// signatures.
const HOOK: &str = "T0-s3cret-path-of-the-hook";
const MIRROR: &str = "s3cret-key-of-the-mirror";
const SIGNING: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The rates of a day, as the bank writes them.
const DAILY: &str = "<Envelope><Cube><Cube time='2020-01-02'><Cube currency='USD' \
    rate='1.1193'/></Cube></Cube></Envelope>";

/// A server elsewhere that talks to one caller after the other, and the first line of each request
/// that it has heard.
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
                // A caller that hangs up early is its own trouble.
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
            .expect("it was heard")
            .clone()
    }
}

/// Takes what is posted, and has the rates of a day for whoever asks.
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

/// Lets whoever comes log in, and takes no mail.
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

/// A day in a shop: sales, payments, refusals, keys that are none, mail that fails.
fn a_day(client: &mut Client, anybody: &mut Client, house: &mut Client) {
    let post = |client: &mut Client, path: &str, key: &str, body: &Value| {
        client.post(path, key, body).expect("an answer")
    };
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
    // In fields where they have no place, in bodies that are none, in queries and headers.
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
        house,
        "/v1/landlord/tenants/other/api-keys",
        "k",
        &json!({"name": "till", "scopes": ["pos"]}),
    );
    made.expect(201);
    house
        .get("/v1/landlord/queue/jobs")
        .expect("an answer")
        .expect(200);
}

fn key(data: &Path, args: &[&str]) -> String {
    let made = run(data, &[args, &["--json"]].concat()).code(0).json();
    made["api_key"].as_str().expect("a key").to_owned()
}

/// At the highest level there is, also of the libraries that talk to those servers.
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

#[test]
fn no_line_of_a_full_run_holds_a_secret() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let mine = key(&data, &["tenant", "create", "corner", "--name", "Corner"]);
    landlord_file(&data)
        .execute_batch("INSERT INTO task_run VALUES ('exchange_rates', 0, NULL)")
        .expect("the rates are due");
    // The mail is refused and its job is given up, an alert of that is sent, and the rates are
    // fetched: all of it to real servers, by secret ways.
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
    let houses = key(
        &data,
        &["api-key", "create", "--landlord", "--name", "house"],
    );
    let (mut client, mut house) = (
        daemon.client().with_key(&mine),
        daemon.client().with_key(&houses),
    );
    a_day(&mut client, &mut daemon.client(), &mut house);
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
    for said in [
        "payment succeeded",
        "invoice issued",
        "job failed",
        "tenant mismatch",
        "double payment processing",
        "stopped",
    ] {
        assert!(
            all.contains(said),
            "{said} is not in the log: what follows would prove nothing"
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
    let demo = fs::read_to_string(data.join("demo.key")).expect("a key");
    // The password as the mail server has heard it.
    let login = mail.line_with("AUTH PLAIN ");
    let encoded = login.split(' ').nth(2).expect("a login").trim();
    let keys = [&mine, &others, &houses, demo.trim(), UNKNOWN_KEY];
    let secrets = [
        &keys[..],
        &[PASSWORD, encoded, CARD, CARD_SPACED, HOOK, MIRROR, SIGNING],
    ]
    .concat();
    // Where a developer's machine greets, it shows the demo key; that is no line of the log.
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

/// The lines that tell of products which cannot be sold.
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
        .filter(|line| message(line).starts_with("products of this store cannot be sold"))
        .collect()
}

/// A shop from before currencies had to be enabled, and one whose rates have grown old: said at the
/// start, one line for each, before a customer finds out.
#[test]
fn products_that_cannot_be_sold_are_spoken_of_at_the_start() {
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
