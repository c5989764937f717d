//! `tillbox serve`: requirements, banner, and end.

use std::net::TcpListener;
use std::process::Command;

use super::run::run;
use crate::support::process::Daemon;

#[test]
fn stops_orderly_on_sigterm() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut daemon = Daemon::start(dir.path(), &[]);
    let socket = daemon.socket();
    assert!(socket.exists());
    daemon
        .client()
        .get("/health/ready")
        .expect("an answer")
        .expect(200);
    assert_eq!(daemon.terminate().code(), Some(0));
    assert!(!socket.exists(), "the socket is removed");
    let left: Vec<String> = std::fs::read_dir(dir.path())
        .expect("a directory")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name.ends_with("-wal"))
        .collect();
    assert_eq!(left, Vec::<String>::new(), "no WAL is left");
}

#[test]
fn is_ready_as_soon_as_it_listens() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(dir.path(), &[]);
    // Nothing slow happens between the line with the address and the first request.
    daemon
        .client()
        .get("/health/ready")
        .expect("an answer")
        .expect(200);
}

#[test]
fn explains_failed_start_in_one_line_with_hint() {
    let dir = tempfile::tempdir().expect("a directory");
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let daemon = Daemon::start(&one, &[]);
    let taken = run(&one, &["serve", "--listen", "127.0.0.1:0"]).code(1);
    assert!(
        taken.stderr.contains("is in use by a running daemon"),
        "{taken:?}"
    );
    let address = daemon.address().to_string();
    let taken = run(&two, &["serve", "--listen", &address]).code(1);
    assert!(
        taken.stderr.contains(&format!(
            "error: cannot listen on {address}: the address is in use\nhint: "
        )),
        "{taken:?}"
    );
    // The running daemon was not disturbed.
    daemon
        .client()
        .get("/health/live")
        .expect("an answer")
        .expect(200);
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("written");
    let unusable = run(&file.join("data"), &["serve"]).code(1);
    assert!(
        unusable.failure()[0].contains("cannot be used"),
        "{unusable:?}"
    );
    run(&two, &["serve", "--listen", "nonsense"]).code(2);
}

#[test]
fn rejects_demo_on_public_address() {
    let dir = tempfile::tempdir().expect("a directory");
    let refused = run(dir.path(), &["serve", "--dev", "--listen", "0.0.0.0:0"]).code(2);
    assert!(
        refused.failure()[0].contains("loopback addresses only"),
        "{refused:?}"
    );
    assert_eq!(
        std::fs::read_dir(dir.path()).expect("a directory").count(),
        0,
        "nothing was begun"
    );
}

/// The banner's lines, from a daemon that was started by pasting them.
fn pasted(daemon: &Daemon) -> Vec<String> {
    let output = daemon.output();
    output
        .lines()
        .filter(|line| line.starts_with("curl "))
        .map(str::to_owned)
        .collect()
}

/// The banner's last line follows the line with the address: polls until it is there.
fn banner(daemon: &Daemon) -> Vec<String> {
    loop {
        let lines = pasted(daemon);
        if lines
            .last()
            .is_some_and(|line| line.contains("/openapi.json"))
        {
            return lines;
        }
        daemon
            .client()
            .get("/health/live")
            .expect("an answer")
            .expect(200);
    }
}

#[test]
fn prints_banner_that_can_be_pasted() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(dir.path(), &["--dev"]);
    let lines = banner(&daemon);
    assert_eq!(lines.len(), 5, "{lines:#?}");
    if Command::new("curl").arg("--version").output().is_err() {
        println!("there is no curl here; the lines were not pasted");
        return;
    }
    for line in &lines {
        let output = Command::new("sh")
            .args(["-c", &line.replacen("curl ", "curl --fail-with-body ", 1)])
            .output()
            .expect("a shell");
        let body = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{line}\n{body}");
        serde_json::from_str::<serde_json::Value>(&body).expect("JSON");
    }
    let invoices = Command::new("sh")
        .args(["-c", &lines[2]])
        .output()
        .expect("a shell");
    let invoices: serde_json::Value = serde_json::from_slice(&invoices.stdout).expect("JSON");
    assert_eq!(
        invoices["data"].as_array().map(Vec::len),
        Some(1),
        "{invoices}"
    );
    // The daemon's own commands find it, and its books are in order.
    assert_eq!(
        run(dir.path(), &["integrity", "check"]).code(0).stdout,
        "PASS\n"
    );
}

/// A demo shop whose file cannot be used affects no other shop, under --dev as well.
#[test]
fn serves_without_unusable_demo_shop() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut daemon = Daemon::start(dir.path(), &["--dev"]);
    let made = run(
        dir.path(),
        &[
            "tenant", "create", "--no-tax", "corner", "--name", "Corner", "--json",
        ],
    )
    .code(0)
    .json();
    assert_eq!(daemon.terminate().code(), Some(0));
    let demo = run(dir.path(), &["tenant", "show", "demo", "--json"])
        .code(0)
        .json();
    let file = dir
        .path()
        .join("tenants")
        .join(format!("{}.db", demo["id"].as_str().expect("an id")));
    std::fs::write(file, [0; 8192]).expect("damaged");
    let mut daemon = Daemon::start(dir.path(), &["--dev"]);
    assert!(
        daemon.output().contains("the demo shop is unavailable"),
        "{}",
        daemon.output()
    );
    let mut client = daemon
        .client()
        .with_key(made["api_key"].as_str().expect("a key"));
    client.get("/v1/orders").expect("an answer").expect(200);
    assert_eq!(daemon.terminate().code(), Some(0));
}

#[test]
fn creates_demo_shop_once_and_keeps_its_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut daemon = Daemon::start(dir.path(), &["--dev"]);
    banner(&daemon);
    let key = std::fs::read_to_string(dir.path().join("demo.key")).expect("the key");
    let key = key.trim();
    assert!(daemon.output().contains(key));
    let products = daemon
        .client()
        .with_key(key)
        .get("/v1/catalog/products")
        .expect("an answer")
        .expect(200)
        .json();
    assert_eq!(
        products["data"].as_array().map(Vec::len),
        Some(8),
        "{products}"
    );
    assert_eq!(daemon.terminate().code(), Some(0));
    let mut daemon = Daemon::start(dir.path(), &["--dev"]);
    banner(&daemon);
    assert!(daemon.output().contains(key), "the same key");
    daemon.terminate();
    // A lost or revoked demo key is replaced by one that works.
    std::fs::remove_file(dir.path().join("demo.key")).expect("removed");
    let daemon = Daemon::start(dir.path(), &["--dev"]);
    banner(&daemon);
    let fresh = std::fs::read_to_string(dir.path().join("demo.key")).expect("the key");
    assert_ne!(fresh.trim(), key);
    daemon
        .client()
        .with_key(fresh.trim())
        .get("/v1/orders")
        .expect("an answer")
        .expect(200);
}

#[test]
fn frees_port_after_exit() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut daemon = Daemon::start(dir.path(), &[]);
    daemon
        .client()
        .get("/health/live")
        .expect("an answer")
        .expect(200);
    let address = daemon.address();
    daemon.terminate();
    TcpListener::bind(address).expect("the port is free");
}

/// The service manager sets the socket's path, and an administrator's shell does not: the command
/// finds the path in the lock file.
#[test]
fn finds_daemon_when_socket_is_elsewhere() {
    let (dir, runtime) = (
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("a directory"),
    );
    let data = dir.path().join("data");
    let mut daemon = Daemon::start_with(&data, &[], &[("RUNTIME_DIRECTORY", runtime.path())]);
    assert!(runtime.path().join("admin.sock").exists() && !data.join("admin.sock").exists());
    run(
        &data,
        &["tenant", "create", "--no-tax", "corner", "--name", "Corner"],
    )
    .code(0);
    let listed = run(&data, &["tenant", "list", "--json"]).code(0).json();
    assert_eq!(listed[0]["slug"], "corner");
    assert_eq!(daemon.terminate().code(), Some(0));
    run(&data, &["tenant", "show", "corner"]).code(0);
}
