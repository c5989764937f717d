//! The effect, the failures and the end of a job.

use std::time::Duration;

use serde_json::json;
use tillbox::platform::audit::{self, AuditEntry};
use tillbox::platform::queue::{self, NewJob, Queue};
use tillbox::storage::{StorageError, StorageErrorKind, TenantWork};
use tillbox::worker::handlers::{self, Handler, Handlers};
use tillbox::worker::{JobCounts, JobError};

use super::{completed, doing, enqueue, jobs, run};
use crate::support::{TestApp, TestShop, blocking, logs};

const STEP: &str = "test.step";
const HANDLERS: Handlers = Handlers(&[(STEP, Handler::Local(step))]);

/// Leaves an entry in the audit chain as its effect, and then does what its payload says.
fn step(work: &mut TenantWork<'_>, payload: &str) -> Result<(), JobError> {
    let payload: serde_json::Value =
        serde_json::from_str(payload).map_err(|error| JobError::permanent(error.to_string()))?;
    let what = payload["what"].as_str().unwrap_or_default();
    let entry = AuditEntry {
        at: work.now(),
        actor: "system".to_owned(),
        action: "step.done".to_owned(),
        subject: what.to_owned(),
        request_id: None,
        details: json!({}),
    };
    audit::append(work, &entry)?;
    match what {
        "fail" => Err(JobError::transient("not today")),
        "refuse" => Err(JobError::permanent("never")),
        "panic" => panic!("out of order"),
        "panic deep inside" => work.nested(|work| {
            audit::append(work, &entry)?;
            panic!("out of order, deep inside")
        }),
        "find the disk full" => Err(StorageError::new(StorageErrorKind::Full).into()),
        _ => Ok(()),
    }
}

fn effects(shop: &TestShop) -> Vec<String> {
    shop.rows("SELECT subject FROM audit_log WHERE action = 'step.done' ORDER BY seq")
}

#[test]
fn commits_effect_with_completion() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    enqueue(&shop, Queue::Audit, STEP, doing("first"));
    enqueue(&shop, Queue::Audit, STEP, doing("second"));
    assert_eq!(run(&app, HANDLERS), completed(2));
    assert_eq!(effects(&shop), ["first", "second"]);
    assert_eq!(jobs(&shop, STEP), ["completed|1|0", "completed|1|0"]);
    assert_eq!(run(&app, HANDLERS), completed(0));

    enqueue(&shop, Queue::Audit, STEP, doing("fail"));
    let tally = run(&app, HANDLERS);
    assert_eq!((tally.completed, tally.retried), (0, 1));
    assert_eq!(
        effects(&shop),
        ["first", "second"],
        "a failed job leaves no effect"
    );
}

/// A clock that was ahead is corrected: a retry from that time must not wait until then.
#[test]
fn runs_retry_when_clock_is_set_back() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    enqueue(&shop, Queue::Default, STEP, doing("fail"));
    assert_eq!(run(&app, HANDLERS).retried, 1);
    let hour_ms = 60 * 60 * 1000;
    app.clock().set(app.now().plus_millis(-hour_ms));
    assert_eq!(
        run(&app, HANDLERS).total(),
        0,
        "a pause may be as long as that"
    );
    app.clock().set(app.now().plus_millis(-400 * 24 * hour_ms));
    let db = shop.db();
    let due = blocking(|| db.read(|view| queue::next_due(view, Queue::Default)).wait());
    assert_eq!(
        due.unwrap_or_else(|error: StorageError| panic!("{error}")),
        Some(app.now())
    );
    assert_eq!(run(&app, HANDLERS).retried, 1);
    assert_eq!(jobs(&shop, STEP), ["retryable|2|0"]);
    assert_eq!(
        run(&app, HANDLERS).total(),
        0,
        "its next pause is one by the clock as it is now"
    );
}

#[test]
fn runs_more_jobs_than_one_batch_in_order() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let push = |work: &mut TenantWork<'_>| {
        for number in 0..300 {
            let payload = doing(&format!("{number:03}"));
            queue::enqueue(work, &NewJob::new(Queue::Low, STEP, &payload))?;
        }
        Ok(())
    };
    shop.write(push).unwrap();
    assert_eq!(run(&app, HANDLERS), completed(300));
    let expected: Vec<String> = (0..300).map(|number| format!("{number:03}")).collect();
    assert_eq!(effects(&shop), expected);
}

#[test]
fn keeps_neighbours_when_job_fails_or_panics() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    for what in [
        "before",
        "panic",
        "between",
        "panic deep inside",
        "refuse",
        "after",
    ] {
        enqueue(&shop, Queue::Financial, STEP, doing(what));
    }
    let tally = run(&app, HANDLERS);
    let expected = JobCounts {
        completed: 3,
        retried: 2,
        discarded: 1,
        held: 0,
    };
    assert_eq!(tally, expected);
    assert_eq!(effects(&shop), ["before", "between", "after"]);
    let states = [
        "completed|1|0",
        "retryable|1|0",
        "completed|1|0",
        "retryable|1|0",
        "discarded|1|0",
        "completed|1|0",
    ];
    assert_eq!(jobs(&shop, STEP), states);
    let errors =
        shop.rows("SELECT errors ->> '$[0].error' FROM job WHERE state = 'retryable' ORDER BY seq");
    assert_eq!(
        errors,
        [
            "the handler panicked: out of order",
            "the handler panicked: out of order, deep inside"
        ]
    );
}

#[test]
fn retries_job_and_discards_it_after_last_attempt() {
    let app = TestApp::with(false, |config| config.queue.low.tries = 3);
    let shop = app.tenant("corner");
    enqueue(&shop, Queue::Low, STEP, doing("fail"));
    for (attempt, longest) in [(1, 5), (2, 30)] {
        assert_eq!(run(&app, HANDLERS).retried, 1);
        assert_eq!(jobs(&shop, STEP), [format!("retryable|{attempt}|0")]);
        assert_eq!(run(&app, HANDLERS).total(), 0, "its time has not come");
        let waits = shop.count(&format!(
            "SELECT scheduled_at - {} FROM job WHERE kind = '{STEP}'",
            app.now().as_millis()
        ));
        assert!(
            (1..=longest * 1000).contains(&waits),
            "{waits} ms after attempt {attempt}"
        );
        app.advance(Duration::from_millis(waits.unsigned_abs() - 1));
        assert_eq!(run(&app, HANDLERS).total(), 0, "its time has not come");
        app.advance(Duration::from_millis(1));
    }
    assert_eq!(run(&app, HANDLERS).discarded, 1);
    assert_eq!(jobs(&shop, STEP), ["discarded|3|0"]);
    let kept = shop.rows(&format!(
        "SELECT payload ->> 'what', json_array_length(errors) FROM job WHERE kind = '{STEP}'"
    ));
    assert_eq!(kept, ["fail|3"]);

    let id = shop.id.to_string();
    assert_eq!(
        logs()
            .of_tenant(&id)
            .saying("job will be retried")
            .lines()
            .len(),
        2
    );
    let failed = logs().of_tenant(&id).saying("job failed");
    let [line] = failed.lines() else {
        panic!("{failed:?}")
    };
    let job_id = shop
        .rows(&format!(
            "SELECT lower(hex(id)) FROM job WHERE kind = '{STEP}'"
        ))
        .remove(0);
    assert_eq!(line["level"], "ERROR");
    assert_eq!(
        (
            &line["queue"],
            &line["job"],
            &line["attempt"],
            &line["error"]
        ),
        (&json!("low"), &json!(STEP), &json!(3), &json!("not today"))
    );
    assert_eq!(
        line["job_id"].as_str().map(|text| text.replace('-', "")),
        Some(job_id)
    );
}

#[test]
fn discards_job_with_invalid_payload_at_once() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    enqueue(
        &shop,
        Queue::Audit,
        tillbox::platform::audit::APPEND_AUDIT,
        json!({"at": "yesterday"}),
    );
    let tally = run(&app, handlers::ALL);
    assert_eq!((tally.discarded, tally.retried), (1, 0));
    assert_eq!(
        jobs(&shop, tillbox::platform::audit::APPEND_AUDIT)
            .last()
            .unwrap(),
        "discarded|1|0"
    );
}

#[test]
fn counts_no_attempt_when_disk_is_full() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    enqueue(&shop, Queue::Audit, STEP, doing("good"));
    enqueue(&shop, Queue::Audit, STEP, doing("find the disk full"));
    assert_eq!(run(&app, HANDLERS).total(), 0);
    assert_eq!(jobs(&shop, STEP), ["available|0|0", "available|0|0"]);
    assert_eq!(effects(&shop), [""; 0]);
}

#[test]
fn counts_no_attempt_for_rescue_and_discards_poison_job() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    enqueue(&shop, Queue::Low, STEP, doing("first"));
    // The state that a process leaves when it dies in the middle of an outbound call.
    let die = |rescues: i64| {
        app.stop();
        shop.raw(&format!(
            "UPDATE job SET state = 'running', attempt = 1, rescues = {rescues}"
        ))
        .unwrap();
        app.resume();
        // The first use opens the file, and the orphans are rescued.
        drop(shop.db());
    };
    die(0);
    assert_eq!(jobs(&shop, STEP), ["available|0|1"]);
    assert_eq!(run(&app, HANDLERS), completed(1));
    assert_eq!(jobs(&shop, STEP), ["completed|1|1"]);

    die(10);
    assert_eq!(jobs(&shop, STEP), ["discarded|1|11"]);
    assert_eq!(run(&app, HANDLERS).total(), 0);
    let failed = logs().of_tenant(&shop.id.to_string()).saying("job failed");
    assert_eq!(failed.lines().len(), 1, "{failed:?}");
}

/// A copy that was made while a job ran is restored under a running process: no worker runs that
/// job.
#[test]
fn rescues_jobs_of_restored_file() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    enqueue(&shop, Queue::Low, STEP, doing("first"));
    app.stop();
    shop.raw("UPDATE job SET state = 'running', attempt = 1")
        .unwrap();
    let copy = std::fs::read(shop.path()).unwrap();
    shop.raw("UPDATE job SET state = 'available', attempt = 0")
        .unwrap();
    app.resume();
    drop(shop.db());
    let beside = shop.path().with_extension("copy");
    std::fs::write(&beside, &copy).unwrap();
    std::fs::rename(&beside, shop.path()).unwrap();
    shop.write(|_| Ok(())).unwrap_err();
    assert_eq!(run(&app, HANDLERS), completed(1));
    assert_eq!(jobs(&shop, STEP), ["completed|1|1"]);
}

#[test]
fn runs_scheduled_job_at_its_time() {
    let app = TestApp::start();
    let shop = app.tenant("corner");
    let new = NewJob {
        run_at: Some(app.now().plus_millis(60_000)),
        ..NewJob::new(Queue::Default, STEP, &doing("later"))
    };
    shop.write(move |work| queue::enqueue(work, &new)).unwrap();
    assert_eq!(run(&app, HANDLERS).total(), 0);
    assert_eq!(jobs(&shop, STEP), ["scheduled|0|0"]);
    app.advance(Duration::from_secs(60));
    assert_eq!(run(&app, HANDLERS), completed(1));
}

#[test]
fn runs_jobs_of_others_when_one_file_is_broken() {
    let app = TestApp::start();
    let (broken, whole) = (app.tenant("broken"), app.tenant("whole"));
    enqueue(&whole, Queue::Low, STEP, doing("first"));
    app.stop();
    std::fs::write(broken.path(), b"no database at all").unwrap();
    app.resume();
    assert_eq!(run(&app, HANDLERS), completed(1));
}
