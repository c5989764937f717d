//! `tillbox queue`.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Value, json};

use super::run::{Ran, run};
use crate::support::jobs::{id, insert};
use crate::support::process::Daemon;

const KIND: &str = "kind.of_old";

fn queue(data: &Path, args: &[&str]) -> Ran {
    let args: Vec<&str> = std::iter::once("queue")
        .chain(args.iter().copied())
        .collect();
    run(data, &args)
}

/// Creates a shop, and returns the path of its file.
fn shop(data: &Path, slug: &str) -> PathBuf {
    let made = run(
        data,
        &[
            "tenant", "create", "--no-tax", slug, "--name", slug, "--json",
        ],
    )
    .code(0)
    .json();
    let id = made["id"].as_str().expect("an id");
    data.join("tenants").join(format!("{id}.db"))
}

fn put(file: &Path, number: usize, queue: &str, state: &str) {
    let conn = Connection::open(file).expect("it opens");
    conn.busy_timeout(std::time::Duration::from_secs(30))
        .expect("set");
    conn.execute_batch(&insert(number, queue, KIND, state))
        .expect("a job");
}

fn states(file: &Path) -> Vec<String> {
    let conn = Connection::open(file).expect("it opens");
    let sql = format!("SELECT state FROM job WHERE kind = '{KIND}' ORDER BY id");
    let mut prepared = conn.prepare(&sql).expect("prepares");
    let rows = prepared.query_map([], |row| row.get(0)).expect("runs");
    rows.collect::<Result<_, _>>().expect("texts")
}

fn ids(jobs: &Value) -> Vec<&str> {
    let jobs = jobs.as_array().expect("a list");
    jobs.iter().filter_map(|job| job["id"].as_str()).collect()
}

fn low_queue(status: &Value) -> &Value {
    let mut queues = status["queues"].as_array().expect("a list").iter();
    queues
        .find(|queue| queue["queue"] == "low")
        .expect("it is there")
}

fn assert_failed_jobs_are_listed(data: &Path) {
    let failed = queue(data, &["failed"]).code(0).stdout;
    assert!(
        failed.starts_with("ID ") && failed.contains("the last"),
        "{failed}"
    );
    let list = |args: &[&str]| {
        queue(data, &[&["failed", "--json"], args].concat())
            .code(0)
            .json()
    };
    assert_eq!(ids(&list(&[])), [id(3), id(2), id(1), id(4)]);
    assert_eq!(ids(&list(&["--tenant", "second"])), [id(4)]);
    assert_eq!(ids(&list(&["--queue", "low"])), [id(3), id(2), id(1)]);
    let status = queue(data, &["status", "--json"]).code(0).json();
    let low = low_queue(&status);
    assert_eq!(
        (&low["discarded"], &low["scheduled"]),
        (&json!(3), &json!(1)),
        "{status}"
    );
}

#[test]
fn lists_retries_and_forgets_failed_jobs_without_daemon() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    queue(&data, &["status"]).code(1);
    assert!(!data.exists(), "reading creates nothing");
    let (first, second) = (shop(&data, "first"), shop(&data, "second"));
    assert_eq!(
        queue(&data, &["failed"]).code(0).stdout,
        "No discarded jobs found.\n"
    );
    for number in 1..=3 {
        put(&first, number, "low", "discarded");
    }
    put(&second, 4, "billing", "discarded");
    put(&second, 5, "low", "scheduled");

    assert_failed_jobs_are_listed(&data);

    let retried = queue(&data, &["retry", &id(1)]).code(0).stdout;
    assert_eq!(retried, format!("{} of first is available\n", id(1)));
    let forgotten = queue(&data, &["forget", &id(2), "--json"]).code(0).json();
    assert_eq!(
        forgotten,
        json!({"id": id(2), "tenant": "first", "outcome": "forgotten"})
    );
    let cancelled = queue(&data, &["forget", &id(5), "--tenant", "second"])
        .code(0)
        .stdout;
    assert_eq!(cancelled, format!("cancelled {} of second\n", id(5)));
    assert_eq!(
        (states(&first), states(&second)),
        (
            vec!["available".to_owned(), "discarded".to_owned()],
            vec!["discarded".to_owned(), "cancelled".to_owned()]
        )
    );

    let all = queue(&data, &["retry", "--all", "--tenant", "first", "--json"])
        .code(0)
        .json();
    assert_eq!(
        all,
        json!([{"tenant": "first", "retried": 1, "skipped": 0, "error": null}])
    );
    assert_eq!(states(&first), ["available"; 2]);
    let none = queue(&data, &["flush", "--queue", "low", "--json"])
        .code(0)
        .json();
    assert_eq!(none, json!([]), "the discarded jobs are in another queue");
    let flushed = queue(&data, &["flush", "--json"]).code(0).json();
    assert_eq!(
        flushed,
        json!([{"tenant": "second", "forgotten": 1, "skipped": 0, "error": null}])
    );
    assert_eq!(
        (states(&first).len(), states(&second)),
        (2, vec!["cancelled".to_owned()])
    );
}

#[test]
fn retries_and_flushes_more_jobs_than_one_batch_holds() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let file = shop(&data, "corner");
    let conn = Connection::open(&file).expect("it opens");
    let sql: Vec<String> = (0..450)
        .map(|number| insert(number, "low", KIND, "discarded"))
        .collect();
    conn.execute_batch(&sql.concat()).expect("jobs");
    // A superseded job stays, and is skipped.
    conn.execute_batch(&insert(999, "low", KIND, "retryable"))
        .expect("a job");
    let twins = format!(
        "UPDATE job SET unique_key = 'twins' WHERE id IN (x'{}', x'{}')",
        id(7).replace('-', ""),
        id(999).replace('-', "")
    );
    conn.execute_batch(&twins).expect("twins");
    drop(conn);
    let retried = queue(&data, &["retry", "--all", "--json"]).code(0).json();
    assert_eq!(
        retried,
        json!([{"tenant": "corner", "retried": 449, "skipped": 1, "error": null}])
    );
    let left = states(&file);
    assert_eq!(
        left.iter().filter(|state| *state == "available").count(),
        449
    );
    assert_eq!(
        (left[7].as_str(), left[450].as_str()),
        ("discarded", "retryable")
    );
    let flushed = queue(&data, &["flush"]).code(0).stdout;
    assert!(flushed.contains("corner  1 "), "{flushed}");
    assert_eq!(states(&file).len(), 450);
}

#[test]
fn leaves_running_job_alone_beside_daemon() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let file = shop(&data, "corner");
    let daemon = Daemon::start(&data, &[]);
    // After its answer the daemon has the file open: jobs marked as running from now on are no
    // orphans.
    queue(&data, &["status"]).code(0);
    put(&file, 1, "low", "running");
    put(&file, 2, "low", "discarded");
    let retried = queue(&data, &["retry", &id(1)]).code(1);
    assert_eq!(
        retried.failure(),
        ["error: the job is running", "hint: wait for its end"]
    );
    queue(&data, &["forget", &id(1)]).code(1);
    let flushed = queue(&data, &["flush", "--json"]).code(0).json();
    assert_eq!(
        flushed,
        json!([{"tenant": "corner", "forgotten": 1, "skipped": 0, "error": null}])
    );
    assert_eq!(states(&file), ["running"]);
    let unknown = queue(&data, &["retry", &id(9)]).code(1);
    assert_eq!(unknown.failure()[0], "error: no such job");
    drop(daemon);
}

#[test]
fn keeps_pause_over_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    shop(&data, "corner");
    let daemon = Daemon::start(&data, &[]);
    let paused = queue(&data, &["pause", "low"]).code(0).stdout;
    assert!(paused.starts_with("low is paused since 2"), "{paused}");
    assert!(!paused.contains("alerts"), "{paused}");
    let paused = queue(&data, &["pause", "billing"]).code(0).stdout;
    assert!(
        paused.contains("alerts about discarded jobs wait in it"),
        "{paused}"
    );
    queue(&data, &["resume", "billing"]).code(0);
    let daemon = daemon.kill_and_restart();
    let line = |name: &str| -> String {
        let status = queue(&data, &["status"]).code(0).stdout;
        let line = status
            .lines()
            .find(|line| line.starts_with(name))
            .expect("a line");
        line.split_whitespace().nth(1).expect("a state").to_owned()
    };
    assert_eq!(
        (line("low").as_str(), line("audit").as_str()),
        ("paused", "open")
    );
    drop(daemon);
    let resumed = queue(&data, &["resume", "low", "--json"]).code(0).json();
    assert_eq!(
        (&resumed["paused"], &resumed["queue"]),
        (&json!(false), &json!("low"))
    );
    assert_eq!(line("low"), "open");
}

#[test]
fn pauses_one_tenant_and_releases_its_held_jobs() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let (still, other) = (shop(&data, "still"), shop(&data, "other"));
    let paused = queue(&data, &["pause", "low", "--tenant", "still"])
        .code(0)
        .stdout;
    assert!(
        paused.starts_with("low of still is paused since 2"),
        "{paused}"
    );
    let status = queue(&data, &["status"]).code(0).stdout;
    assert!(
        status.contains("low of still is paused since 2"),
        "{status}"
    );
    let all = queue(&data, &["pause", "--tenant", "still", "--json"])
        .code(0)
        .json();
    let all = all.as_array().expect("all queues");
    assert!(
        all.len() == 5
            && all
                .iter()
                .all(|queue| queue["paused"] == true && queue["tenant"] == "still"),
        "{all:?}"
    );
    let resumed = queue(&data, &["resume", "--tenant", "still"])
        .code(0)
        .stdout;
    assert_eq!(
        resumed
            .lines()
            .filter(|line| line.ends_with(" of still is open"))
            .count(),
        5,
        "{resumed}"
    );

    put(&still, 1, "low", "available");
    put(&still, 2, "low", "scheduled");
    put(&other, 3, "low", "scheduled");
    let conn = Connection::open(&still).expect("it opens");
    conn.execute_batch("UPDATE epoch SET number = 2")
        .expect("as if it had been put back");
    drop(conn);
    let status = queue(&data, &["status", "--tenant", "still", "--json"])
        .code(0)
        .json();
    let low = low_queue(&status);
    assert_eq!(
        (&low["held"], &low["available"], &low["scheduled"]),
        (&json!(2), &json!(0), &json!(0))
    );
    let released = queue(&data, &["release", "--tenant", "still"])
        .code(0)
        .stdout;
    assert!(
        released.ends_with(" jobs of still released\n"),
        "{released}"
    );
    let again = queue(&data, &["release", "--tenant", "still", "--json"])
        .code(0)
        .json();
    assert_eq!(
        again,
        json!({"tenant": "still", "released": 0, "superseded": 0})
    );
}

#[test]
fn exits_with_two_and_names_queues_on_wrong_usage() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    shop(&data, "corner");
    for args in [
        &["pause", "slow"][..],
        &["resume"],
        &["pause"],
        &["release"],
        &["failed", "--queue", "slow"],
        &["retry"],
        &["retry", "7"],
        &["retry", &id(1), "--all"],
        &["retry", &id(1), "--queue", "low"],
        &["forget"],
        &["forget", "--all"],
        &["nonsense"],
    ] {
        let wrong = queue(&data, args).code(2);
        assert!(
            !wrong.stderr.is_empty() && wrong.stdout.is_empty(),
            "{wrong:?}"
        );
    }
    let wrong = queue(&data, &["pause", "slow"]).code(2);
    assert!(wrong.stderr.contains("financial"), "{wrong:?}");
    let nobody = queue(&data, &["failed", "--tenant", "nobody"]).code(1);
    assert_eq!(nobody.failure()[0], "error: there is no tenant `nobody`");
}
