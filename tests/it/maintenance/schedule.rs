//! Recurring tasks run once per period: over restarts, clock changes and downtime.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tillbox::app::App;
use tillbox::maintenance::scheduler::{Scheduler, TASKS, Task, When, run_due};
use tillbox::primitives::{ManualClock, Timestamp};
use tillbox::worker::Worker;

use super::DAY;
use crate::support::{TestApp, blocking};

/// At two each night, in the operator's time zone.
const NIGHTLY: &[Task] = &[Task {
    name: "nightly",
    when: When::Recurs(|config| config.retention.recurrence()),
    deletes: false,
    run: |_, _| Ok(()),
}];

/// A task that never succeeds.
const FAILING: &[Task] = &[Task {
    name: "failing",
    when: When::Recurs(|config| config.retention.recurrence()),
    deletes: false,
    run: |_, _| Err("the disk is away".to_owned()),
}];

const HOUR: Duration = Duration::from_secs(3600);

fn due(app: &TestApp, tasks: &'static [Task]) -> usize {
    let app: Arc<App> = app.app();
    blocking(|| run_due(&app, tasks)).len()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("an instant")
}

#[tokio::test]
async fn runs_once_a_night_over_restarts_and_once_for_missed_nights() {
    let app = TestApp::start();
    assert_eq!(
        due(&app, NIGHTLY),
        0,
        "a new instance runs nothing at ten in the morning"
    );
    let mut ran = Vec::new();
    for hour in 0..48 {
        app.advance(HOUR);
        if hour % 5 == 0 {
            app.restart();
        }
        if due(&app, NIGHTLY) > 0 {
            ran.push(app.now().to_string());
            assert_eq!(due(&app, NIGHTLY), 0, "once");
        }
    }
    assert_eq!(ran, ["2026-01-16T02:00:00Z", "2026-01-17T02:00:00Z"]);
    app.stop();
    app.advance(5 * DAY);
    app.resume();
    assert_eq!(
        due(&app, NIGHTLY),
        1,
        "five missed nights are made up for by one run"
    );
    assert_eq!(due(&app, NIGHTLY), 0);
    app.advance(15 * HOUR);
    assert_eq!(due(&app, NIGHTLY), 0);
    app.advance(HOUR);
    assert_eq!(due(&app, NIGHTLY), 1, "and the next one comes at its time");
}

#[tokio::test]
async fn runs_once_in_nights_of_clock_change() {
    let app = TestApp::with(false, |config| {
        config.retention.timezone = "Europe/Berlin".to_owned()
    });
    for (from, expected) in [
        (
            "2026-03-28T20:00:00Z",
            ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"],
        ),
        (
            "2026-10-24T20:00:00Z",
            ["2026-10-25T00:00:00Z", "2026-10-26T01:00:00Z"],
        ),
    ] {
        app.clock().set(at(from));
        due(&app, NIGHTLY);
        let mut ran = Vec::new();
        for _ in 0..(36 * 12) {
            app.advance(HOUR / 12);
            if due(&app, NIGHTLY) > 0 {
                ran.push(app.now().to_string());
            }
        }
        assert_eq!(ran, expected);
    }
}

#[tokio::test]
async fn runs_nothing_twice_and_strands_nothing_when_clock_goes_back() {
    let app = TestApp::start();
    due(&app, NIGHTLY);
    app.advance(16 * HOUR + Duration::from_secs(60));
    assert_eq!(due(&app, NIGHTLY), 1);
    app.clock().set(app.now().plus_millis(-3_600_000));
    for _ in 0..6 {
        app.advance(HOUR / 2);
        assert_eq!(due(&app, NIGHTLY), 0, "it was two again");
    }
    // The clock goes ten years ahead, the task runs there, and the clock comes back.
    let now = app.now();
    app.clock().set(now.plus(3_650 * DAY));
    assert_eq!(due(&app, NIGHTLY), 1);
    app.clock().set(now);
    assert_eq!(due(&app, NIGHTLY), 0);
    app.advance(DAY);
    assert_eq!(due(&app, NIGHTLY), 1, "it does not wait for ten years");
}

#[tokio::test]
async fn keeps_failed_task_due() {
    let app = TestApp::start();
    due(&app, FAILING);
    app.advance(DAY);
    assert_eq!((due(&app, FAILING), due(&app, FAILING)), (1, 1));
    app.restart();
    assert_eq!(due(&app, FAILING), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn enqueues_nightly_job_where_something_expired() {
    let app = TestApp::start();
    let (old, idle) = (app.tenant("old"), app.tenant("idle"));
    due(&app, TASKS);
    let tea = old.stocked("TEA", 450, 10).await;
    old.sell(&[(&tea, 1)]).await;
    app.work_off();
    for _ in 0..400 {
        app.advance(DAY);
        due(&app, NIGHTLY);
        blocking(|| app.app().stores.clock_watch.observe()).expect("the clock is checked");
    }
    let writes = idle.rows("PRAGMA data_version");
    assert_eq!(due(&app, TASKS), 3);
    let jobs = |shop: &crate::support::TestShop| {
        shop.rows("SELECT queue, state, unique_key FROM job WHERE kind = 'retention.prune'")
    };
    assert_eq!(jobs(&old), ["low|available|retention.prune"]);
    assert_eq!(
        (jobs(&idle), idle.rows("PRAGMA data_version")),
        (Vec::new(), writes),
        "nothing to do, nothing written"
    );
    app.work_off();
    assert_eq!(jobs(&old), ["low|completed|retention.prune"]);
    let entry = old.rows("SELECT actor, action, subject FROM audit_log ORDER BY seq DESC LIMIT 1");
    assert_eq!(entry, ["system|retention.pruned|shop:retention"]);
    assert_eq!(old.count("SELECT count(*) FROM idempotency_key"), 0);
    old.assert_integrity();
    for _ in 0..2 {
        app.advance(DAY);
        assert_eq!(due(&app, TASKS), 3);
        app.work_off();
    }
    assert_eq!(
        old.count("SELECT count(*) FROM audit_log WHERE action = 'retention.pruned'"),
        2,
        "the entry that was the newest went in the night after, and then there is nothing"
    );
    let status = app
        .get("/v1/landlord/retention")
        .local()
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        status["tasks"][0],
        json!({"task": "retention", "last_run_at": app.now(),
            "next_run_at": "2027-02-22T02:00:00Z"}),
        "{status}"
    );
    let named: Vec<&str> = status["tasks"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|task| task["task"].as_str())
        .collect();
    let all: Vec<&str> = TASKS.iter().map(|task| task.name).collect();
    assert_eq!(named, all, "all recurring tasks are shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_queue_unhealthy_without_scheduler() {
    let app = TestApp::start();
    app.advance(Duration::from_secs(100));
    let worker = Worker::start(app.app());
    let scheduler = Scheduler::start_with(app.app(), NIGHTLY);
    let queue = || async { app.get("/health").local().send().await.json() };
    assert_eq!(queue().await["services"]["queue"], "ok");
    scheduler.stop(Duration::from_secs(30)).await;
    let broken = queue().await;
    assert_eq!(
        (&broken["services"]["queue"], &broken["details"]["queue"]),
        (&json!("fail"), &json!("the scheduler is not running"))
    );
    // A heartbeat from when the machine had just been started.
    app.app()
        .observation
        .liveness
        .scheduler_heartbeat(&ManualClock::new(app.now()));
    let silent = queue().await["details"]["queue"].to_string();
    assert!(
        silent.contains("the scheduler has sent no heartbeat since"),
        "{silent}"
    );
    let scheduler = Scheduler::start_with(app.app(), NIGHTLY);
    assert_eq!(queue().await["services"]["queue"], "ok");
    // The wakeup that depends on the clock is silent for a while. Liveness stays healthy all the
    // same.
    app.clock().set(app.now().plus_millis(-1_800_000));
    assert_eq!(queue().await["details"]["queue"], Value::Null);
    app.clock().set(app.now().plus_millis(3_600_000));
    assert_eq!(queue().await["details"]["queue"], Value::Null);
    scheduler.stop(Duration::from_secs(30)).await;
    worker.stop(Duration::from_secs(30)).await;
}
