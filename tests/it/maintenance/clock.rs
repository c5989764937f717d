//! No run deletes while the clock is suspect. Deletion is held and reported until the operator
//! confirms the clock, or the clock itself has proved right.

use std::time::Duration;

use serde_json::{Value, json};
use tillbox::maintenance::scheduler::{TASKS, run_due};
use tillbox::outbound::http::{Answer, CallError};
use tillbox::primitives::Timestamp;

use super::{DAY, prune, rows_of};
use crate::support::logs::logs;
use crate::support::{TestApp, TestShop, blocking};

const HOUR: Duration = Duration::from_secs(3600);

/// A shop with a sale of today.
async fn shop(app: &TestApp) -> TestShop {
    let shop = app.tenant("corner");
    let tea = shop.stocked("TEA", 450, 10).await;
    shop.sell(&[(&tea, 1)]).await;
    app.work_off();
    night(app);
    shop
}

/// Runs the due tasks and the jobs that they enqueue.
fn night(app: &TestApp) -> Vec<&'static str> {
    let running = app.app();
    let done = blocking(|| run_due(&running, TASKS));
    drop(running);
    app.work_off();
    done.into_iter().map(|(task, _)| task).collect()
}

/// Creates log files with these names, as a daemon leaves them. Returns a function that counts
/// those that remain.
fn log_files(app: &TestApp, names: &[&str]) -> impl Fn() -> usize {
    let dir = app.data_dir().join("logs");
    std::fs::create_dir_all(&dir).expect("made");
    for name in names {
        std::fs::write(dir.join(name), "x\n").expect("written");
    }
    move || std::fs::read_dir(&dir).expect("a directory").count()
}

async fn suspicion(app: &TestApp) -> Value {
    app.get("/v1/landlord/retention")
        .local()
        .send()
        .await
        .expect(200)
        .json()["clock_suspicion"]
        .clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_nothing_when_clock_is_a_year_ahead() {
    let app = TestApp::start();
    let shop = shop(&app).await;
    let (right, rows) = (app.now(), shop.census());
    let log_files = log_files(&app, &["security.2026-01-10.log", "tillbox.2026-01-10.log"]);
    app.clock().set(right.plus(370 * DAY));
    assert_eq!(night(&app), ["integrity"], "deletion is held");
    assert_eq!((shop.census(), log_files()), (rows.clone(), 2));
    let suspected = suspicion(&app).await;
    assert!(
        suspected["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("set forward by")),
        "{suspected}"
    );
    assert!(logs().security().contain("the clock is not trusted"));
    // Neither a restart nor a day of waiting makes it trusted.
    app.restart();
    app.advance(DAY);
    assert_eq!(night(&app), ["integrity"]);
    prune(&app, json!({})).await.refused(409, "clock_suspect");
    let dry = prune(&app, json!({"dry_run": true}))
        .await
        .expect(200)
        .json();
    assert!(!rows_of(&dry).is_empty(), "a dry run is allowed");
    assert_eq!((shop.census(), log_files()), (rows, 2));
    // The clock is corrected. The later time was recorded, so an operator has to confirm.
    app.clock().set(right.plus(DAY));
    app.restart();
    assert_eq!(night(&app), Vec::<&str>::new());
    prune(&app, json!({})).await.refused(409, "clock_suspect");
    prune(&app, json!({"clock_is_right": true}))
        .await
        .expect(200);
    assert_eq!(suspicion(&app).await, Value::Null);
    let trail = app.landlord_rows("SELECT actor, action FROM audit_log ORDER BY seq DESC LIMIT 1");
    assert_eq!(trail, ["operator|clock.confirmed"]);
    shop.assert_integrity();
    app.advance(DAY);
    assert!(
        night(&app).contains(&"retention"),
        "and the nights are as before"
    );
    assert_eq!(log_files(), 2, "their thirty days are not over");
    app.advance(30 * DAY);
    assert!(night(&app).contains(&"log_files"));
    assert_eq!(log_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn suspects_clock_set_back_an_hour_until_it_is_right() {
    let app = TestApp::start();
    shop(&app).await;
    let started = app.now();
    app.advance(15 * HOUR);
    app.clock().set(app.now().plus_millis(-3_600_000));
    night(&app);
    let suspected = suspicion(&app).await;
    assert!(
        suspected["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("set back by 3600 s")),
        "{suspected}"
    );
    app.advance(2 * HOUR);
    assert!(!night(&app).contains(&"retention"));
    // The same process sees the clock return to the expected time.
    app.clock().set(started.plus(17 * HOUR));
    assert!(night(&app).contains(&"retention"));
    assert_eq!(suspicion(&app).await, Value::Null);
    // A time server's correction is not reported.
    app.clock().set(app.now().plus_millis(-900));
    assert_eq!(suspicion(&app).await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn trusts_a_week_over_restart_and_suspects_more() {
    let app = TestApp::start();
    shop(&app).await;
    app.stop();
    app.advance(6 * DAY);
    app.resume();
    assert!(night(&app).contains(&"retention"));
    app.stop();
    app.advance(8 * DAY);
    app.resume();
    assert!(!night(&app).contains(&"retention"));
    let suspected = suspicion(&app).await;
    assert!(
        suspected["reason"]
            .as_str()
            .is_some_and(|reason| reason.starts_with("it shows 8 days after")),
        "{suspected}"
    );
    let both = json!({"clock_is_right": true, "dry_run": true});
    prune(&app, both).await.refused(422, "validation_failed");
    assert!(
        !night(&app).contains(&"retention"),
        "a dry run says nothing"
    );
    prune(&app, json!({"clock_is_right": true}))
        .await
        .expect(200);
    assert!(night(&app).contains(&"retention"));
}

/// One step ahead once made each start warn until the clock had passed that time.
#[tokio::test(flavor = "multi_thread")]
async fn stops_warning_at_starts_when_operator_confirms() {
    let app = TestApp::start();
    let shop = shop(&app).await;
    let right = app.now();
    app.clock().set(right.plus(370 * DAY));
    let tea = shop.stocked("MUG", 450, 10).await;
    shop.sell(&[(&tea, 1)]).await;
    app.stop();
    app.clock().set(right.plus(HOUR));
    let warnings = || {
        let now = app.now().to_string();
        let lines = logs().saying(
            "the clock is behind a time that it showed before; correct it, or confirm it with \
            `tillbox retention prune --clock-is-right`",
        );
        lines.only(|line| line["now"] == now.as_str()).lines().len()
    };
    let before = warnings();
    app.resume();
    assert_eq!(warnings(), before + 1, "it warns");
    prune(&app, json!({"clock_is_right": true}))
        .await
        .expect(200);
    app.advance(Duration::from_millis(1_001));
    app.restart();
    assert_eq!(warnings(), 0, "and no more");
    assert!(rows_of(&prune(&app, json!({})).await.expect(200).json()).is_empty());
}

async fn ends(app: &TestApp) -> String {
    suspicion(app).await["ends"]
        .as_str()
        .unwrap_or("it is trusted")
        .to_owned()
}

/// An empty battery: the machine starts in another year, and a time server answers when the daemon
/// already runs.
#[tokio::test(flavor = "multi_thread")]
async fn trusts_clock_behind_at_start_once_it_catches_up() {
    let app = TestApp::start();
    let shop = shop(&app).await;
    let right = app.now();
    app.stop();
    app.clock().set(right.plus_millis(-9_000 * 86_400_000));
    app.resume();
    assert!(!night(&app).contains(&"retention"));
    let suspected = suspicion(&app).await;
    assert!(
        suspected["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("it showed a later time before")),
        "{suspected}"
    );
    assert!(
        ends(&app).await.starts_with("by itself when it shows"),
        "{suspected}"
    );
    let tea = shop.stocked("MUG", 450, 10).await;
    shop.sell(&[(&tea, 1)]).await;
    app.work_off();
    let rows = shop.census();
    // Set a year too far, the clock is as suspect as at a start.
    app.clock().set(right.plus(370 * DAY));
    assert!(!night(&app).contains(&"retention"));
    assert_eq!(
        ends(&app).await,
        "when you confirm that it is right; it does not end by itself"
    );
    assert_eq!(shop.census(), rows);
    app.clock().set(right.plus_millis(-9_000 * 86_400_000));
    night(&app);
    app.restart();
    app.advance(Duration::from_secs(60));
    night(&app);
    assert!(ends(&app).await.starts_with("by itself when it shows"));
    // Corrected, to a time that the next start would have trusted.
    app.clock().set(right.plus(DAY));
    assert!(night(&app).contains(&"retention"));
    assert_eq!(suspicion(&app).await, Value::Null);
    let trail =
        app.landlord_rows("SELECT actor, action FROM audit_log WHERE subject = 'landlord:clock'");
    assert_eq!(trail, ["system|clock.trusted"]);
    for table in ["audit_log", "inventory_movement"] {
        assert_eq!(
            shop.count(&format!("SELECT min(seq) FROM {table}")),
            1,
            "what bears an old time stands behind what does not"
        );
    }
    shop.assert_integrity();
}

#[tokio::test(flavor = "multi_thread")]
async fn trusts_clock_by_itself_after_two_weeks_closed() {
    let app = TestApp::start();
    shop(&app).await;
    app.stop();
    app.advance(14 * DAY);
    app.resume();
    assert!(
        !night(&app).contains(&"retention"),
        "it may have been a month that was mistyped"
    );
    assert!(
        ends(&app)
            .await
            .starts_with("by itself after 168 more hours"),
        "{}",
        ends(&app).await
    );
    // A till that is turned off every night reaches its week as well. Time while it is off does not
    // count.
    for day in 0..14 {
        assert!(!night(&app).contains(&"retention"), "day {day}");
        for _ in 0..24 {
            app.advance(HOUR / 2);
            night(&app);
        }
        app.stop();
        app.advance(12 * HOUR);
        app.resume();
    }
    assert!(night(&app).contains(&"retention"));
    assert_eq!(suspicion(&app).await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn trusts_paused_machine_after_a_week_and_restarts_the_week_when_set_again() {
    let app = TestApp::start();
    shop(&app).await;
    app.clock().set(app.now().plus(10 * HOUR));
    night(&app);
    for _ in 0..6 {
        app.advance(DAY);
        assert!(!night(&app).contains(&"retention"));
    }
    app.clock().set(app.now().plus(2 * HOUR));
    night(&app);
    for _ in 0..6 {
        app.advance(DAY);
        assert!(!night(&app).contains(&"retention"));
    }
    app.advance(DAY);
    assert!(night(&app).contains(&"retention"));
}

#[tokio::test(flavor = "multi_thread")]
async fn never_trusts_clock_a_year_ahead_by_waiting() {
    for is_at_start in [true, false] {
        let app = TestApp::start();
        let shop = shop(&app).await;
        let rows = shop.census();
        if is_at_start {
            app.stop();
        }
        app.clock().set(app.now().plus(370 * DAY));
        if is_at_start {
            app.resume();
        }
        for day in 0..20 {
            assert!(!night(&app).contains(&"retention"), "day {day}");
            if day % 4 == 3 {
                app.restart();
            }
            app.advance(DAY);
        }
        night(&app);
        assert_eq!(
            ends(&app).await,
            "when you confirm that it is right; it does not end by itself"
        );
        assert_eq!(shop.census(), rows);
    }
}

/// A time shown while the clock was ahead, and corrected in the same process, does not count
/// against a later start.
#[tokio::test(flavor = "multi_thread")]
async fn trusts_clock_that_came_back_at_next_start() {
    let app = TestApp::start();
    let shop = shop(&app).await;
    let right = app.now();
    app.clock().set(right.plus(370 * DAY));
    night(&app);
    let tea = shop.stocked("MUG", 450, 10).await;
    shop.sell(&[(&tea, 1)]).await;
    let running = app.app();
    blocking(|| running.stores.registry.write_checkpoints()).expect("written");
    drop(running);
    app.clock().set(right);
    night(&app);
    assert_eq!(suspicion(&app).await, Value::Null);
    app.restart();
    night(&app);
    assert_eq!(suspicion(&app).await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn shows_suspicion_and_degrades_nothing() {
    let app = TestApp::start();
    let gauge = async || {
        let text = app.get("/metrics").send().await.expect(200).text();
        let line = text
            .lines()
            .find(|line| line.starts_with("tillbox_clock_trusted "))
            .map(str::to_owned);
        line.expect("it is there")
    };
    // Nobody works on the queue here. Everything else is healthy, whatever the clock shows.
    let health = async || {
        let health = app.get("/health").local().send().await.expect(503).json();
        assert_eq!(
            health["services"],
            json!({"db": "ok", "cache": "ok", "queue": "fail"})
        );
        health["details"]["clock"].clone()
    };
    let look = || {
        let running = app.app();
        blocking(|| running.stores.clock_watch.observe()).expect("looked at");
    };
    assert_eq!(gauge().await, "tillbox_clock_trusted 0", "not checked yet");
    look();
    assert_eq!(
        (gauge().await.as_str(), health().await),
        ("tillbox_clock_trusted 1", Value::Null)
    );
    app.clock().set(app.now().plus(370 * DAY));
    look();
    assert_eq!(gauge().await, "tillbox_clock_trusted 0");
    let said = health().await;
    for part in [
        "not trusted since",
        "set forward by",
        "ended jobs are kept",
        "when you confirm",
        "--clock-is-right",
    ] {
        assert!(
            said.as_str().is_some_and(|said| said.contains(part)),
            "{part}: {said}"
        );
    }
    prune(&app, json!({"clock_is_right": true}))
        .await
        .expect(200);
    assert_eq!(
        (gauge().await.as_str(), health().await),
        ("tillbox_clock_trusted 1", Value::Null)
    );
}

fn assert_same_alert_twice(app: &TestApp, since: Timestamp) {
    let calls = app.world().calls();
    let [first, second] = calls.as_slice() else {
        panic!("{calls:?}")
    };
    let id = |call: &tillbox::outbound::http::Call| {
        call.headers
            .iter()
            .find(|(name, _)| *name == "webhook-id")
            .cloned()
    };
    assert_eq!(
        (id(first), &first.body),
        (id(second), &second.body),
        "the same message"
    );
    let body: Value = serde_json::from_slice(&second.body).expect("JSON");
    assert_eq!(
        (&body["type"], &body["data"]["since"]),
        (&json!("clock.suspected"), &json!(since))
    );
    assert!(
        body["data"]["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("set forward")),
        "{body}"
    );
}

/// Once for each suspicion and on each channel. A channel that fails is retried alone, with the
/// same message.
#[tokio::test(flavor = "multi_thread")]
async fn notifies_operator_once_of_suspicion() {
    let app = TestApp::with(false, |config| {
        config.alerts.webhook_url =
            serde_json::from_value(json!("https://hooks.example/T0/s3cret")).expect("a URL");
        config.alerts.email_to = "ops@example.org".to_owned();
    });
    let mails = || {
        std::fs::read_dir(app.data_dir().join("outbox"))
            .into_iter()
            .flatten()
            .flatten()
            .count()
    };
    let notify = || {
        let running = app.app();
        let done = blocking(|| run_due(&running, TASKS));
        let mut notify = done
            .into_iter()
            .filter(|(task, _)| *task == "clock_alert")
            .map(|(_, done)| done);
        notify.next()
    };
    assert_eq!((notify(), mails()), (None, 0));
    app.world().answers(|_| Err(CallError::Timeout));
    app.clock().set(app.now().plus(370 * DAY));
    let since = app.now();
    let failed = notify().expect("it is due").expect_err("nobody answers");
    assert!(
        failed.contains("https://hooks.example: no answer in time") && !failed.contains("s3cret"),
        "{failed}"
    );
    assert_eq!(mails(), 1);
    app.restart();
    app.world().answers(|_| {
        Ok(Answer {
            status: 204,
            body: Vec::new(),
        })
    });
    app.advance(HOUR);
    notify().expect("it is due").expect("it arrives");
    assert_eq!((notify(), mails()), (None, 1), "once");
    assert_same_alert_twice(&app, since);
    // The next suspicion is a new one.
    prune(&app, json!({"clock_is_right": true}))
        .await
        .expect(200);
    assert_eq!(notify(), None);
    app.clock().set(app.now().plus(10 * HOUR));
    notify().expect("it is due").expect("it arrives");
    assert_eq!((app.world().calls().len(), mails()), (3, 2));
}
