//! Alerts about discarded jobs: at once, once, and never about the alerts themselves.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tillbox::config::{Config, Span};
use tillbox::outbound::http::{Answer, AnswerPart, Call, CallError};
use tillbox::outbound::reach::Reach;
use tillbox::outbound::standard_webhooks::SigningKey;
use tillbox::platform::queue::Queue;
use tillbox::primitives::{Origin, Timestamp};
use tillbox::worker::handlers::{self, Handler, Handlers, OutboundJob};
use tillbox::worker::{JobError, Worker};

use super::{EndlessServer, doing, enqueue, jobs, run, until};
use crate::support::{TestApp, TestShop, logs};

const URL: &str = "https://hooks.example/T0/s3cret";
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Longer than the longest pause after a failure, and shorter than the alert window when it passes
/// once.
const PAUSE: Duration = Duration::from_secs(30 * 60);

fn both(config: &mut Config) {
    webhook(config);
    config.alerts.email_to = "ops@example.org".to_owned();
}

fn webhook(config: &mut Config) {
    config.alerts.webhook_url = serde_json::from_value(json!(URL)).expect("a URL");
}

fn started(settings: impl FnOnce(&mut Config)) -> (TestApp, TestShop) {
    let app = TestApp::with(false, settings);
    app.world().answers(|_| {
        Ok(Answer {
            status: 204,
            body: Vec::new(),
        })
    });
    let shop = app.tenant("corner");
    (app, shop)
}

/// Enqueues a job that is discarded at its first attempt, because its payload is invalid.
fn fail(shop: &TestShop) {
    enqueue(
        shop,
        Queue::Financial,
        "orders.confirmation",
        json!({"card": "4242424242424242"}),
    );
}

fn work(app: &TestApp) {
    run(app, handlers::ALL);
}

fn body(call: &Call) -> Value {
    serde_json::from_slice(&call.body).expect("the body is JSON")
}

fn header<'a>(call: &'a Call, name: &str) -> &'a str {
    let found = call.headers.iter().find(|(own, _)| *own == name);
    &found.unwrap_or_else(|| panic!("no {name}")).1
}

fn mails(app: &TestApp) -> Vec<String> {
    let entries = std::fs::read_dir(app.data_dir().join("outbox"))
        .into_iter()
        .flatten()
        .flatten();
    entries
        .map(|entry| std::fs::read_to_string(entry.path()).expect("a mail"))
        .collect()
}

fn kept_key(app: &TestApp) -> SigningKey {
    let text =
        std::fs::read_to_string(app.data_dir().join("alerts.secret")).expect("the key is kept");
    SigningKey::parse(text.trim_end()).expect("it is a key")
}

fn assert_failure_is_logged(shop: &TestShop) {
    let lines = logs().of_tenant(&shop.id.to_string()).saying("job failed");
    let [line] = lines.lines() else {
        panic!("{:?}", lines.lines())
    };
    for key in ["tenant_id", "queue", "job", "job_id", "attempt", "error"] {
        assert!(!line[key].is_null(), "{key} is missing in {line}");
    }
}

#[test]
fn sends_webhook_and_mail_when_job_is_discarded() {
    let (app, shop) = started(both);
    fail(&shop);
    work(&app);
    let job_id = shop
        .rows("SELECT lower(hex(id)) FROM job WHERE kind = 'orders.confirmation'")
        .remove(0);
    let calls = app.world().calls();
    let [call] = calls.as_slice() else {
        panic!("{calls:?}")
    };
    assert_eq!(
        (call.target.expose().as_str(), call.bounds.reach),
        (URL, Reach::Anywhere)
    );
    assert_eq!(
        call.bounds.answer,
        AnswerPart::Head,
        "a long answer is no failure"
    );
    let body = body(call);
    assert_eq!(
        (&body["type"], &body["timestamp"]),
        (&json!("job.failed"), &json!(app.now()))
    );
    let data = &body["data"];
    assert_eq!(
        data["job_id"].as_str().expect("an id").replace('-', ""),
        job_id
    );
    assert_eq!(data["tenant_id"], shop.id.to_string());
    assert_eq!(
        (&data["queue"], &data["job"]),
        (&json!("financial"), &json!("orders.confirmation"))
    );
    assert_eq!(
        (&data["attempt"], &data["failures"]),
        (&json!(1), &json!(1))
    );
    assert!(
        data["error"]
            .as_str()
            .expect("a text")
            .contains("the payload is invalid"),
        "{data}"
    );
    assert!(
        !body.to_string().contains("4242"),
        "the payload is not sent: {body}"
    );

    let signed = kept_key(&app).headers(header(call, "webhook-id"), app.now(), &call.body);
    for (name, value) in signed {
        assert_eq!(header(call, name), value);
    }
    let mails = mails(&app);
    let [mail] = mails.as_slice() else {
        panic!("{mails:?}")
    };
    assert!(
        mail.contains("To: ops@example.org") && mail.contains("tillbox queue retry"),
        "{mail}"
    );
    assert!(!mail.contains("4242"), "{mail}");
    assert_failure_is_logged(&shop);
}

/// Mail fails most often: an alert is sent even when its queue is paused or has a backlog.
#[tokio::test(flavor = "multi_thread")]
async fn sends_alert_when_queue_of_failed_job_is_paused() {
    let (app, shop) = started(both);
    app.app()
        .stores
        .pauses
        .pause(Origin::system(), Queue::Default, None)
        .await
        .expect("paused");
    fail(&shop);
    work(&app);
    assert_eq!((app.world().calls().len(), mails(&app).len()), (1, 1));
    // The alerts' own queue holds them until it is resumed.
    app.app()
        .stores
        .pauses
        .pause(Origin::system(), Queue::Billing, None)
        .await
        .expect("paused");
    app.advance(WINDOW);
    fail(&shop);
    work(&app);
    assert_eq!(app.world().calls().len(), 1);
    app.app()
        .stores
        .pauses
        .resume(Origin::system(), Queue::Billing, None)
        .await
        .expect("resumed");
    work(&app);
    assert_eq!(app.world().calls().len(), 2);
}

/// An alert goes before earlier jobs of its own queue, and those jobs, when they fail, are reported
/// as well.
#[test]
fn sends_alert_before_rest_of_its_queue() {
    static ORDER: Mutex<Vec<String>> = Mutex::new(Vec::new());
    fn call(outbound_job: &OutboundJob<'_>) -> Result<(), JobError> {
        let kind = if outbound_job.payload.contains("job_kind")
            || outbound_job.payload.contains("failures")
        {
            "alert"
        } else {
            "job"
        };
        ORDER.lock().expect("nobody panics").push(kind.to_owned());
        Err(JobError::permanent("not today"))
    }
    const HANDLERS: Handlers = Handlers(&[
        ("test.call", Handler::Outbound(call)),
        ("alerts.webhook", Handler::Outbound(call)),
        ("alerts.window_over", Handler::Outbound(call)),
    ]);
    let (app, shop) = started(webhook);
    for _ in 0..9 {
        enqueue(&shop, Queue::Billing, "test.call", doing("it"));
    }
    run(&app, HANDLERS);
    let order = ORDER.lock().expect("nobody panics").clone();
    assert_eq!(
        order.iter().filter(|kind| *kind == "alert").count(),
        1,
        "none of the alert itself: {order:?}"
    );
    assert_eq!(
        order.iter().position(|kind| kind == "alert"),
        Some(4),
        "four run at a time: {order:?}"
    );
}

/// Hanging mails occupy all slots of their shop, and more of them wait.
#[tokio::test(flavor = "multi_thread")]
async fn sends_alert_while_mails_hang() {
    let server = EndlessServer::start(|_| true);
    let (app, shop) = started(|config| {
        both(config);
        config.mail.smtp_url =
            serde_json::from_value(format!("smtp://{}", server.address).into()).expect("a URL");
        config.mail.timeout = Span::secs(120);
        config.queue.default.timeout = Span::secs(120);
    });
    let failed = json!({"tenant_id": shop.id, "queue": "default", "job": "orders.confirmation",
        "job_id": shop.id,
        "attempt": 15, "error": "not today", "failed_at": app.now()});
    for _ in 0..20 {
        enqueue(
            &shop,
            Queue::Default,
            "alerts.mail",
            json!({"failed": failed, "failures": 1}),
        );
    }
    let worker = Worker::start_with(app.app(), handlers::ALL);
    until("three hang", || {
        shop.count("SELECT count(*) FROM job WHERE queue = 'default' AND state = 'running'") == 3
    })
    .await;
    fail(&shop);
    until("an alert is sent", || !app.world().calls().is_empty()).await;
    assert_eq!(
        shop.count("SELECT count(*) FROM job WHERE queue = 'default' AND state = 'available'"),
        17
    );
    server.stop();
    worker.stop(Duration::ZERO).await;
}

#[test]
fn sends_one_summary_at_end_of_window() {
    let (app, shop) = started(webhook);
    for _ in 0..6 {
        fail(&shop);
        work(&app);
    }
    assert_eq!(app.world().calls().len(), 1);
    app.advance(WINDOW);
    work(&app);
    let calls = app.world().calls();
    assert_eq!(calls.len(), 2, "the rest is one alert");
    assert_eq!(body(&calls[1])["data"]["failures"], 5);
    assert_ne!(
        header(&calls[0], "webhook-id"),
        header(&calls[1], "webhook-id")
    );
    // No failure in the second window: it ends without an alert, and the next failure is reported
    // at once.
    app.advance(WINDOW);
    work(&app);
    assert_eq!(app.world().calls().len(), 2);
    assert_eq!(shop.rows("SELECT count(*) FROM alert_window"), ["0"]);
    fail(&shop);
    work(&app);
    assert_eq!(body(&app.world().calls()[2])["data"]["failures"], 1);
}

#[test]
fn keeps_one_window_per_kind_and_tenant() {
    let (app, shop) = started(webhook);
    let other = app.tenant("uptown");
    fail(&shop);
    fail(&other);
    enqueue(&shop, Queue::Low, "inventory.expire_reservation", json!({}));
    work(&app);
    let reported: Vec<Value> = app
        .world()
        .calls()
        .iter()
        .map(|call| body(call)["data"]["job"].clone())
        .collect();
    assert_eq!(reported.len(), 3, "{reported:?}");
}

#[test]
fn retries_failed_alert_as_same_message_without_further_alert() {
    let (app, shop) = started(both);
    let mut answers = [
        CallError::Timeout,
        CallError::Redirected(302),
        CallError::Status {
            status: 500,
            body: b"no".to_vec(),
        },
    ]
    .into_iter()
    .cycle();
    app.world()
        .answers(move |_| Err(answers.next().expect("it goes round")));
    fail(&shop);
    for _ in 0..40 {
        work(&app);
        app.advance(PAUSE);
    }
    let calls = app.world().calls();
    assert_eq!(calls.len(), 15, "as often as its queue tries");
    assert!(
        calls
            .iter()
            .all(|call| header(call, "webhook-id") == header(&calls[0], "webhook-id"))
    );
    assert_ne!(
        header(&calls[0], "webhook-timestamp"),
        header(&calls[1], "webhook-timestamp")
    );
    assert_eq!(jobs(&shop, "alerts.webhook"), ["discarded|15|0"]);
    let rows = shop.rows("SELECT DISTINCT queue, priority FROM job WHERE kind LIKE 'alerts.%'");
    assert_eq!(rows, ["billing|-1000"], "also the one that was tried again");
    assert_eq!(mails(&app).len(), 1);
    let lines = logs().of_tenant(&shop.id.to_string()).saying("job failed");
    let failed: Vec<&Value> = lines.lines().iter().map(|line| &line["job"]).collect();
    assert_eq!(failed, ["orders.confirmation", "alerts.webhook"]);
    let noted = shop
        .rows("SELECT errors FROM job WHERE kind = 'alerts.webhook'")
        .remove(0);
    assert!(
        noted.contains("https://hooks.example: no answer in time") && !noted.contains("s3cret"),
        "{noted}"
    );
}

#[test]
fn sends_nothing_without_recipients() {
    let (app, shop) = started(|_| {});
    fail(&shop);
    work(&app);
    assert_eq!(
        shop.rows("SELECT count(*) FROM job WHERE kind LIKE 'alerts.%'"),
        ["0"]
    );
    assert!(
        !app.data_dir().join("alerts.secret").exists(),
        "no key is created without recipients"
    );

    // A URL that was removed from the configuration gets no alert that was meant for it.
    let (app, shop) = started(webhook);
    app.world().answers(|_| Err(CallError::Timeout));
    fail(&shop);
    work(&app);
    app.restart_with(|config| {
        config.alerts.webhook_url = serde_json::from_value(json!("")).expect("no URL")
    });
    app.advance(PAUSE);
    work(&app);
    assert_eq!(app.world().calls().len(), 1);
    assert_eq!(jobs(&shop, "alerts.webhook"), ["completed|2|0"]);
}

#[test]
fn forbids_private_addresses_when_configured() {
    let (app, shop) = started(|config| {
        webhook(config);
        config.alerts.webhook_private = false;
    });
    fail(&shop);
    work(&app);
    assert_eq!(app.world().calls()[0].bounds.reach, Reach::Public);
}

#[test]
fn sends_alert_when_job_is_rescued_too_often() {
    let (app, shop) = started(webhook);
    enqueue(&shop, Queue::Default, "orders.confirmation", json!({}));
    app.stop();
    shop.raw("UPDATE job SET state = 'running', attempt = 1, rescues = 100")
        .expect("written");
    app.resume();
    work(&app);
    let calls = app.world().calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!(body(&calls[0])["data"]["error"], "rescued too often");
}

#[test]
fn sends_alert_after_clock_was_set_back() {
    let (app, shop) = started(webhook);
    fail(&shop);
    work(&app);
    app.clock()
        .set(Timestamp::parse("2025-01-01T00:00:00Z").expect("an instant"));
    fail(&shop);
    work(&app);
    assert_eq!(app.world().calls().len(), 2);
}

#[test]
fn keeps_generated_key_and_prefers_configured_key() {
    let (app, shop) = started(webhook);
    let key = kept_key(&app);
    let mode = std::fs::metadata(app.data_dir().join("alerts.secret"))
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    app.restart();
    assert_eq!(kept_key(&app), key);
    let own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    app.restart_with(|config| {
        config.alerts.webhook_secret = serde_json::from_value(json!(own)).expect("a key")
    });
    fail(&shop);
    work(&app);
    let calls = app.world().calls();
    let signed = SigningKey::parse(own).expect("a key").headers(
        header(&calls[0], "webhook-id"),
        app.now(),
        &calls[0].body,
    );
    assert_eq!(header(&calls[0], "webhook-signature"), signed[2].1);
}
