//! `tillbox retention` and `tillbox audit`, with and without a daemon.

use std::path::Path;

use serde_json::{Value, json};

use super::run::run;
use crate::support::process::Daemon;

fn assert_table(data: &Path) {
    let table = run(
        data,
        &["retention", "prune", "--dry-run", "--tenant", "corner"],
    )
    .code(0);
    let lines: Vec<&str> = table.stdout.lines().collect();
    assert_eq!(lines.len(), 7, "a row for each table: {table:?}");
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["TENANT", "TABLE", "ROWS", "CUT_OFF"]
    );
    assert!(lines[1].starts_with("corner  audit_log "), "{table:?}");
    run(data, &["retention", "prune", "--tenant", "nobody"]).code(1);
}

#[test]
fn counts_and_prunes_with_and_without_daemon() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path();
    let nothing = run(&data.join("typo"), &["retention", "prune"]).code(1);
    assert!(
        nothing.failure()[0].contains("no data found in"),
        "{nothing:?}"
    );
    run(data, &["tenant", "create", "corner", "--name", "Corner"]).code(0);
    let shown = run(data, &["tenant", "show", "corner", "--json"])
        .code(0)
        .json();
    let id = shown["id"].as_str().expect("an id");
    let path = data.join("tenants").join(format!("{id}.db"));
    let put = || {
        let conn = rusqlite::Connection::open(&path).expect("opens");
        let sql = "INSERT INTO idempotency_key (key_hash, request_hash, status, body, created_at) \
            VALUES (randomblob(32), zeroblob(32), 200, x'', 0)";
        conn.execute(sql, []).expect("inserted");
    };
    let rows = |found: &Value| -> i64 {
        let rows = found["pruned"].as_array().expect("a list").iter();
        rows.filter(|row| row["tenant"] == "corner" && row["table"] == "idempotency_key")
            .map(|row| row["rows"].as_i64().expect("a number"))
            .sum()
    };
    let both = |what: &str| {
        put();
        let dry = run(data, &["retention", "prune", "--dry-run", "--json"])
            .code(0)
            .json();
        assert_eq!(
            (rows(&dry), &dry["dry_run"], &dry["failed"]),
            (1, &json!(true), &json!([])),
            "{what}"
        );
        let audit = run(data, &["audit", "prune", "--tenant", "corner", "--json"])
            .code(0)
            .json();
        assert_eq!(
            audit["pruned"].as_array().map(Vec::len),
            Some(1),
            "{what}: {audit}"
        );
        let real = run(data, &["retention", "prune", "--json"]).code(0).json();
        assert_eq!(rows(&real), 1, "{what}");
        assert_eq!(
            rows(&run(data, &["retention", "prune", "--json"]).code(0).json()),
            0,
            "{what}"
        );
    };
    both("in process");
    let mut daemon = Daemon::start(data, &[]);
    both("by the daemon");
    let shown = run(data, &["retention", "status"]).code(0).stdout;
    assert!(
        shown.contains("trusted") && shown.contains("integrity"),
        "{shown}"
    );
    daemon.terminate();
    assert!(
        !daemon.output().contains("has no wakeup"),
        "{}",
        daemon.output()
    );

    assert_table(data);
}

/// The reason is reported with the shop's name, and the other shops are pruned.
#[test]
fn reports_reason_when_tenant_cannot_be_pruned() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path();
    for slug in ["broken", "whole"] {
        run(data, &["tenant", "create", slug, "--name", "Shop"]).code(0);
    }
    let id = run(data, &["tenant", "show", "broken", "--json"])
        .code(0)
        .json()["id"]
        .clone();
    let path = data
        .join("tenants")
        .join(format!("{}.db", id.as_str().expect("an id")));
    std::fs::write(path, b"no database at all").expect("written");
    let failed = run(data, &["retention", "prune"]).code(1);
    assert!(
        failed.stdout.contains("whole") && !failed.stdout.contains("broken"),
        "{failed:?}"
    );
    let lines: Vec<&str> = failed.stderr.lines().collect();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("broken: ") && line.ends_with("(tenant_unavailable)")),
        "{failed:?}"
    );
    assert!(
        lines.contains(&"error: these tenants were not or not completely pruned: broken"),
        "{failed:?}"
    );
    let json = run(data, &["retention", "prune", "--dry-run", "--json"])
        .code(1)
        .json();
    assert_eq!(
        (&json["failed"][0]["tenant"], &json["failed"][0]["code"]),
        (&json!("broken"), &json!("tenant_unavailable"))
    );
}

/// The process of a command finds the suspicion that another process stored.
#[test]
fn stores_clock_suspicion_until_operator_confirms() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path();
    run(data, &["tenant", "create", "corner", "--name", "Corner"]).code(0);
    run(data, &["retention", "prune"]).code(0);
    let landlord = crate::support::shop::landlord_file(data);
    landlord
        .execute(
            "UPDATE clock_trust SET trusted_at = trusted_at - 8 * 86400000",
            [],
        )
        .expect("aged");
    drop(landlord);
    for _ in 0..2 {
        let refused = run(data, &["retention", "prune"]).code(1);
        assert!(
            refused.stderr.contains("error: the clock is not trusted"),
            "{refused:?}"
        );
        assert_eq!(refused.stdout, "");
    }
    run(data, &["retention", "prune", "--dry-run"]).code(0);
    let status = run(data, &["retention", "status"]).code(0).stdout;
    assert!(
        status.contains("suspect since") && status.contains("168 more hours"),
        "{status}"
    );
    // A dry run says nothing about the clock.
    for prune in ["retention", "audit"] {
        let both = run(data, &[prune, "prune", "--dry-run", "--clock-is-right"]).code(2);
        assert!(
            both.stderr.contains("cannot be used with") && both.stderr.contains("--clock-is-right"),
            "{both:?}"
        );
        assert_eq!(both.stdout, "");
    }
    run(data, &["retention", "prune"]).code(1);
    run(data, &["retention", "prune", "--clock-is-right"]).code(0);
    run(data, &["retention", "prune"]).code(0);
}

#[test]
fn prunes_at_once_and_shows_what_takes_the_room() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path();
    run(data, &["tenant", "create", "corner", "--name", "Corner"]).code(0);
    let now = [
        "retention",
        "prune",
        "--now",
        "answers,carts",
        "--tenant",
        "corner",
    ];
    let pruned = run(data, &now).code(0).stdout;
    let rows: Vec<Vec<&str>> = pruned
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[1], ["corner", "answers", "0", "-"], "{pruned}");
    assert_eq!(rows[2], ["corner", "carts", "0", "-"], "{pruned}");
    let wrong = run(data, &["retention", "prune", "--now", "orders"]).code(2);
    assert!(wrong.stderr.contains("write answers, carts"), "{wrong:?}");
    let wrong = run(data, &["audit", "prune", "--now", "carts"]).code(2);
    assert!(
        wrong.failure()[0].contains("--now deletes no audit entries"),
        "{wrong:?}"
    );

    let shown = run(data, &["tenant", "show", "corner"]).code(0).stdout;
    for name in [
        "disk used",
        "share of the disk",
        "documents",
        "stored answers",
        "carts",
        "jobs",
    ] {
        let line = shown.lines().find(|line| line.starts_with(name));
        assert!(
            line.is_some_and(|line| line.ends_with('B')),
            "{name}: {shown}"
        );
    }
}
