//! `tillbox tenant` and `tillbox api-key`, with and without a daemon.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::run::run;
use crate::support::process::Daemon;

fn data() -> (TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    (dir, data)
}

#[test]
fn creates_lists_and_deletes_tenant_without_daemon() {
    let (_dir, data) = data();
    let nothing = run(&data, &["tenant", "list"]).code(1);
    assert!(
        nothing.failure()[0].contains("no data found in"),
        "{nothing:?}"
    );
    assert!(!data.exists(), "reading creates nothing");
    let args = [
        "tenant",
        "create",
        "corner",
        "--name",
        "Corner Shop",
        "--domain",
        "a.example",
        "--domain",
        "b.example",
        "--json",
    ];
    let made = run(&data, &args).code(0).json();
    assert!(
        made["id"].is_string() && made["api_key"].is_string(),
        "{made}"
    );
    assert_eq!(
        (&made["slug"], &made["currency"]),
        (&json!("corner"), &json!("EUR"))
    );
    assert_eq!(made["domains"], json!(["a.example", "b.example"]));
    let listed = run(&data, &["tenant", "list"]).code(0).stdout;
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 2, "{listed}");
    assert!(
        lines[0].starts_with("SLUG    NAME") && lines[1].starts_with("corner  Corner Shop  EUR"),
        "{listed}"
    );
    assert_eq!(
        run(&data, &["tenant", "suspend", "corner", "--json"])
            .code(0)
            .json()["status"],
        "suspended"
    );
    assert_eq!(
        run(&data, &["tenant", "resume", "corner", "--json"])
            .code(0)
            .json()["status"],
        "active"
    );
    assert_eq!(
        run(&data, &["tenant", "show", "corner", "--json"])
            .code(0)
            .json()["id"],
        made["id"]
    );
    let refused = run(&data, &["tenant", "delete", "corner"]).code(2);
    assert!(refused.failure()[1].contains("--yes"), "{refused:?}");
    run(&data, &["tenant", "delete", "corner", "--yes"]).code(0);
    let gone = run(&data, &["tenant", "show", "corner"]).code(1);
    assert_eq!(
        gone.failure(),
        [
            "error: there is no tenant `corner`",
            "hint: `tillbox tenant list` shows those there are"
        ]
    );
}

#[test]
fn exits_with_own_codes_for_refusal_and_wrong_usage() {
    let (_dir, data) = data();
    run(&data, &["tenant", "create", "corner", "--name", "C"]).code(0);
    let taken = run(&data, &["tenant", "create", "corner", "--name", "C"]).code(1);
    assert_eq!(taken.failure()[0], "error: the slug `corner` is in use");
    let currency = run(
        &data,
        &["tenant", "create", "b", "--name", "B", "--currency", "EURO"],
    )
    .code(2);
    assert!(currency.stderr.contains("--currency"), "{currency:?}");
    for args in [
        &["tenant", "create", "Bad Slug", "--name", "B"][..],
        &["tenant", "create", "b"],
        &["tenant", "show"],
        &["tenant", "migrate"],
        &["tenant", "nonsense"],
        &["api-key", "list"],
        &["api-key", "create", "--tenant", "corner", "--name", "K"],
        &[
            "api-key",
            "create",
            "--tenant",
            "corner",
            "--name",
            "K",
            "--scope",
            "everything",
        ],
        &[
            "api-key",
            "create",
            "--landlord",
            "--name",
            "K",
            "--scope",
            "pos",
        ],
        &["api-key", "revoke", "7"],
        &["--nonsense"],
        &[],
    ] {
        let wrong = run(&data, args).code(2);
        assert!(
            !wrong.stderr.is_empty() && wrong.stdout.is_empty(),
            "{wrong:?}"
        );
    }
    for args in [
        &["--help"][..],
        &["tenant", "--help"],
        &["tenant", "create", "--help"],
        &["--version"],
    ] {
        assert!(!run(&data, args).code(0).stdout.is_empty());
    }
}

#[test]
fn runs_command_beside_daemon() {
    let (_dir, data) = data();
    run(&data, &["tenant", "create", "before", "--name", "Before"]).code(0);
    let daemon = Daemon::start(&data, &[]);
    let made = run(
        &data,
        &["tenant", "create", "during", "--name", "During", "--json"],
    )
    .code(0)
    .json();
    let slugs: Vec<Value> = slugs(&run(&data, &["tenant", "list", "--json"]).code(0).json());
    assert_eq!(slugs, ["during", "before"]);
    let key = made["api_key"].as_str().expect("a key");
    let answer = daemon
        .client()
        .with_key(key)
        .get("/v1/catalog/products")
        .expect("an answer");
    answer.expect(200);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(daemon.socket())
            .expect("a socket")
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    run(&data, &["tenant", "suspend", "during"]).code(0);
    let answer = daemon
        .client()
        .with_key(key)
        .get("/v1/catalog/products")
        .expect("an answer");
    answer.refused(403, "tenant_suspended");
}

fn slugs(tenants: &Value) -> Vec<Value> {
    tenants
        .as_array()
        .expect("a list")
        .iter()
        .map(|tenant| tenant["slug"].clone())
        .collect()
}

#[test]
fn runs_command_after_daemon_was_killed() {
    let (_dir, data) = data();
    let mut daemon = Daemon::start(&data, &[]);
    run(&data, &["tenant", "create", "corner", "--name", "C"]).code(0);
    daemon.kill();
    assert!(
        daemon.socket().exists(),
        "a killed daemon leaves its socket"
    );
    assert_eq!(
        slugs(&run(&data, &["tenant", "list", "--json"]).code(0).json()),
        ["corner"]
    );
    let daemon = Daemon::start(&data, &[]);
    assert_eq!(
        slugs(&run(&data, &["tenant", "list", "--json"]).code(0).json()),
        ["corner"]
    );
    drop(daemon);
}

#[test]
fn runs_commands_one_after_another() {
    let (_dir, data) = data();
    let create = |number: usize| {
        run(
            &data,
            &["tenant", "create", &format!("s{number}"), "--name", "S"],
        )
        .code(0)
    };
    std::thread::scope(|scope| {
        for number in 0..6 {
            scope.spawn(move || create(number));
        }
    });
    assert_eq!(
        slugs(&run(&data, &["tenant", "list", "--json"]).code(0).json()).len(),
        6
    );
}

/// Not only a running daemon: also one that starts or stops.
#[test]
fn waits_for_daemon_that_starts_or_stops() {
    let (_dir, data) = data();
    run(&data, &["tenant", "create", "corner", "--name", "C"]).code(0);
    std::thread::scope(|scope| {
        let commands = scope.spawn(|| {
            for _ in 0..12 {
                assert_eq!(
                    slugs(&run(&data, &["tenant", "list", "--json"]).code(0).json()),
                    ["corner"]
                );
            }
        });
        while !commands.is_finished() {
            let mut daemon = Daemon::start(&data, &[]);
            daemon
                .client()
                .get("/health/live")
                .expect("an answer")
                .expect(200);
            assert_eq!(daemon.terminate().code(), Some(0));
        }
        commands.join().expect("all were answered");
    });
}

#[test]
fn creates_shows_once_and_revokes_keys() {
    let (_dir, data) = data();
    run(&data, &["tenant", "create", "corner", "--name", "C"]).code(0);
    let args = [
        "api-key",
        "create",
        "--tenant",
        "corner",
        "--name",
        "Till",
        "--scope",
        "pos",
        "catalog:read",
        "--scope",
        "orders",
        "--json",
    ];
    let made = run(&data, &args).code(0).json();
    assert_eq!(made["scopes"], json!(["catalog:read", "orders", "pos"]));
    let key = made["api_key"].as_str().expect("a key");
    let listed = run(&data, &["api-key", "list", "--tenant", "corner"])
        .code(0)
        .stdout;
    assert!(listed.contains("Till") && !listed.contains(key), "{listed}");
    let id = made["id"].as_str().expect("an id");
    run(&data, &["api-key", "revoke", id]).code(0);
    let again = run(&data, &["api-key", "revoke", id]).code(1);
    assert!(
        again.failure()[0].contains("no such active key"),
        "{again:?}"
    );
    let keys = run(&data, &["api-key", "list", "--tenant", "corner", "--json"])
        .code(0)
        .json();
    assert!(
        keys[0]["revoked_at"].is_string(),
        "the newest first: {keys}"
    );
    let landlord = run(
        &data,
        &["api-key", "create", "--landlord", "--name", "L", "--json"],
    )
    .code(0)
    .json();
    assert_eq!(landlord["scopes"], json!(["landlord"]));
    let file = crate::support::shop::landlord_file(&data);
    file.execute_batch(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 230)
         INSERT INTO api_key (id, tenant_id, name, prefix, hash, scopes, created_at)
         SELECT randomblob(16), tenant.id, 'K', 'k' || i, randomblob(32), '[]', 0 FROM n JOIN \
         tenant",
    )
    .expect("rows");
    drop(file);
    let keys = run(&data, &["api-key", "list", "--tenant", "corner", "--json"])
        .code(0)
        .json();
    assert_eq!(
        keys.as_array().map(Vec::len),
        Some(232),
        "all of them, not the first page"
    );
    assert_eq!(
        run(&data, &["api-key", "list", "--landlord", "--json"])
            .code(0)
            .json()[0]["name"],
        "L"
    );
}

#[test]
fn reports_each_tenant_when_migrating() {
    let (_dir, data) = data();
    for slug in ["one", "two"] {
        run(&data, &["tenant", "create", slug, "--name", slug]).code(0);
    }
    let report = run(&data, &["tenant", "migrate", "--all", "--json"])
        .code(0)
        .json();
    assert_eq!(
        report,
        json!([{"slug": "two", "status": "ok"}, {"slug": "one", "status": "ok"}])
    );
    let id = run(&data, &["tenant", "show", "one", "--json"])
        .code(0)
        .json();
    let file = data
        .join("tenants")
        .join(format!("{}.db", id["id"].as_str().expect("an id")));
    std::fs::write(&file, b"no database").expect("written");
    let broken = run(&data, &["tenant", "migrate", "--all", "--json"]).code(1);
    let report = broken.json();
    assert_eq!(
        (&report[0]["status"], &report[1]["status"]),
        (&json!("ok"), &json!("failed")),
        "{report}"
    );
    run(&data, &["tenant", "migrate", "two"]).code(0);
}

/// An administrator's command while the daemon is down must leave no file that the daemon's user
/// cannot open.
#[test]
fn gives_files_created_by_root_to_directory_owner() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let (_dir, data) = data();
    std::fs::create_dir(&data).expect("made");
    if chown(&data, Some(1_234), Some(5_678)).is_err() {
        println!("skipped: only root can give a directory away");
        return;
    }
    run(&data, &["tenant", "create", "corner", "--name", "Corner"]).code(0);
    let mut paths = vec![
        data.join("LOCK"),
        data.join("landlord.db"),
        data.join("tenants"),
    ];
    paths.extend(
        std::fs::read_dir(data.join("tenants"))
            .expect("reads")
            .map(|entry| entry.expect("an entry").path()),
    );
    assert_eq!(paths.len(), 4, "{paths:?}");
    for path in paths {
        let owner = std::fs::metadata(&path).expect("is there");
        assert_eq!(
            (owner.uid(), owner.gid()),
            (1_234, 5_678),
            "{}",
            path.display()
        );
    }
}
