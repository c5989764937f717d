//! Notifications to the service manager, SIGHUP, and events that must not end the process.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use super::run::run;
use crate::support::process::Daemon;

/// The longest wait for an event that is expected at once.
const PATIENCE: Duration = Duration::from_secs(60);
/// The largest number of polls for a condition.
const ASKED_MAX: usize = 20_000;

/// The service manager's end of the protocol.
struct Manager {
    dir: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn listen() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = UnixDatagram::bind(dir.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("set");
        Self { dir, socket }
    }

    /// Starts a daemon over `data` with a watchdog of so many microseconds.
    fn start(&self, data: &Path, args: &[&str], watchdog_us: &str) -> Daemon {
        let path = self.dir.path().join("notify");
        Daemon::start_with(
            data,
            args,
            &[
                ("NOTIFY_SOCKET", &path),
                ("WATCHDOG_USEC", Path::new(watchdog_us)),
            ],
        )
    }

    /// The lines of the next message.
    fn hear(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).expect("a message comes");
        let text = std::str::from_utf8(&message[..length]).expect("UTF-8");
        text.lines().map(str::to_owned).collect()
    }

    /// The next message with a line that begins with `start`.
    fn hear_of(&self, start: &str) -> Vec<String> {
        loop {
            let message = self.hear();
            if message.iter().any(|line| line.starts_with(start)) {
                return message;
            }
        }
    }

    /// All messages that have been sent and not read yet.
    fn drain(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).expect("set");
        let mut lines = Vec::new();
        let mut message = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut message) {
            lines.extend(
                String::from_utf8_lossy(&message[..length])
                    .lines()
                    .map(str::to_owned),
            );
        }
        self.socket.set_nonblocking(false).expect("set");
        lines
    }
}

fn signal(daemon: &Daemon, name: &str) {
    let sent = Command::new("kill")
        .arg(name)
        .arg(daemon.pid().to_string())
        .status();
    assert!(
        sent.is_ok_and(|status| status.success()),
        "{name} could not be sent"
    );
}

/// The log lines so far with this `message`.
fn lines_of(daemon: &Daemon, message: &str) -> Vec<Value> {
    let output = daemon.output();
    let lines = output
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

/// The log lines with this `message`. Waits until there are `count`.
fn lines(daemon: &Daemon, message: &str, count: usize) -> Vec<Value> {
    for _ in 0..ASKED_MAX {
        let said = lines_of(daemon, message);
        if said.len() >= count {
            return said;
        }
        // Each poll is a request that the daemon answers, so polling needs no sleep.
        daemon
            .client()
            .get("/health/live")
            .expect("it lives")
            .expect(200);
    }
    panic!("{message} is not said: {}", daemon.output());
}

#[test]
fn notifies_service_manager_from_start_to_stop() {
    let (dir, manager) = (tempfile::tempdir().expect("a directory"), Manager::listen());
    let mut daemon = manager.start(dir.path(), &[], "300000");
    let ready = manager.hear();
    assert_eq!(ready[0], "READY=1");
    assert_eq!(ready[1], "STATUS=0 tenants open; the queue works");
    manager.hear_of("WATCHDOG=1");
    let files = || {
        ["landlord.db", "landlord.db-wal"].map(|name| {
            std::fs::metadata(dir.path().join(name))
                .map(|file| (file.len(), file.modified().ok()))
                .ok()
        })
    };
    // A new instance first writes by itself.
    let is_quiet = (0..20).any(|_| {
        let before = files();
        (0..3).for_each(|_| drop(manager.hear_of("WATCHDOG=1")));
        files() == before
    });
    assert!(is_quiet, "what feeds the watchdog writes nothing");
    run(
        dir.path(),
        &["tenant", "create", "--no-tax", "corner", "--name", "Corner"],
    )
    .code(0);
    assert_eq!(
        manager.hear_of("STATUS=1"),
        ["STATUS=1 tenant open; the queue works"]
    );
    run(dir.path(), &["queue", "pause", "low"]).code(0);
    assert_eq!(
        manager.hear_of("STATUS"),
        ["STATUS=1 tenant open; the queue works; paused: low"]
    );
    daemon.ask_to_end();
    assert_eq!(manager.hear_of("STOPPING")[0], "STOPPING=1");
    assert_eq!(daemon.terminate().code(), Some(0));
}

/// Without a service manager nothing is sent and nothing is wrong. With one that is gone, a warning
/// is logged.
#[test]
fn serves_without_service_manager() {
    let dir = tempfile::tempdir().expect("a directory");
    let nowhere = dir.path().join("nobody");
    let mut daemon = Daemon::start_with(
        &dir.path().join("data"),
        &[],
        &[("NOTIFY_SOCKET", &nowhere)],
    );
    lines(&daemon, "cannot notify the service manager", 1);
    assert_eq!(daemon.terminate().code(), Some(0));
}

#[test]
fn stops_feeding_watchdog_while_landlord_file_is_locked() {
    let (dir, manager) = (tempfile::tempdir().expect("a directory"), Manager::listen());
    let mut daemon = manager.start(dir.path(), &[], "300000");
    manager.hear_of("WATCHDOG=1");
    let lock = rusqlite::Connection::open(dir.path().join("landlord.db")).expect("opens");
    lock.busy_timeout(PATIENCE).expect("set");
    lock.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let starving = "the watchdog is not fed; the service manager restarts the daemon if this lasts";
    let said = lines(&daemon, starving, 1);
    assert!(
        said[0]["error"]
            .as_str()
            .is_some_and(|error| error.contains("the landlord's file")),
        "{said:?}"
    );
    manager.drain();
    // The next check lasts as long as the wait for the lock; none succeeds before the lock is
    // released.
    assert!(!manager.drain().contains(&"WATCHDOG=1".to_owned()));
    lock.execute_batch("ROLLBACK").expect("unlocked");
    manager.hear_of("WATCHDOG=1");
    lines(&daemon, "the watchdog is fed again", 1);
    assert_eq!(daemon.terminate().code(), Some(0));
}

/// Invalid configurations, each with a part of its error.
const INVALID: [(&str, &str); 5] = [
    ("[logging]\nlevle = 'off'\n", "did you mean logging.level?"),
    (
        "[logging]\nlevel = 'loud=very'\nkeep_days = 0\n",
        "logging.keep_days: 0 is not between",
    ),
    ("[logging]\nlevel = 'inof'\n", "did you mean info?"),
    (
        "[logging]\nlevel = 'off'\nkeep_days = -3\n",
        "logging.keep_days in",
    ),
    ("[logging\n", "line 1"),
];

#[test]
fn reloads_some_settings_and_names_the_others_on_sighup() {
    let (dir, manager) = (tempfile::tempdir().expect("a directory"), Manager::listen());
    let data = dir.path().join("data");
    let file = dir.path().join("tillbox.toml");
    let write = |text: &str| std::fs::write(&file, text).expect("written");
    write("[logging]\nlevel = 'info'\n");
    let mut daemon = manager.start(
        &data,
        &["--config", file.to_str().expect("UTF-8")],
        "60000000",
    );
    manager.hear_of("READY=1");
    let requests = |daemon: &Daemon| lines(daemon, "request", 0).len();
    daemon
        .client()
        .get("/health/live")
        .expect("an answer")
        .expect(200);
    assert_eq!(requests(&daemon), 0, "not at this level");

    write("[logging]\nlevel = 'debug'\n[server]\nmax_connections = 99\nbody_limit = '2MiB'\n");
    signal(&daemon, "-HUP");
    let reloading = manager.hear_of("RELOADING=1");
    let instant = reloading
        .iter()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(
        instant.is_some_and(|text| text.parse::<u64>().is_ok_and(|us| us > 0)),
        "{reloading:?}"
    );
    manager.hear_of("READY=1");
    assert_eq!(
        lines(&daemon, "configuration reloaded", 1)[0]["applied"],
        "logging.level"
    );
    let waiting = lines(
        &daemon,
        "these changed keys take effect at the next start",
        1,
    );
    assert_eq!(
        waiting[0]["keys"],
        "server.body_limit, server.max_connections"
    );
    lines(&daemon, "request", 1);

    // An invalid configuration is rejected as a whole, and the old one stays in force.
    let refused = "configuration not reloaded; the previous configuration stays in effect";
    for (number, (text, fault)) in INVALID.into_iter().enumerate() {
        write(text);
        signal(&daemon, "-HUP");
        manager.hear_of("RELOADING=1");
        manager.hear_of("READY=1");
        let said = lines(&daemon, refused, number + 1);
        let error = said[number]["error"].as_str().unwrap_or_default();
        assert!(error.contains(fault), "{text}: {error}");
    }
    let before = requests(&daemon);
    lines(&daemon, "request", before + 2);
    assert_eq!(daemon.terminate().code(), Some(0));
}

/// A shop sells whatever the state of its alert recipients. Only the daemon warns about it, and a
/// reload applies the correction.
#[test]
fn runs_with_invalid_alert_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data, file) = (dir.path().join("data"), dir.path().join("tillbox.toml"));
    let text =
        "[alerts]\nwebhook_url = 'http://127.0.0.1:9/s3cret'\nemail_to = 'ops@example.org'\n";
    std::fs::write(&file, text).expect("written");
    let file = file.to_str().expect("UTF-8");
    let create = [
        "tenant", "create", "--no-tax", "corner", "--name", "Corner", "--config", file,
    ];
    run(&data, &create).code(0);
    let secret = data.join("alerts.secret");
    std::fs::write(&secret, "").expect("written");
    let listed = run(&data, &["tenant", "list", "--config", file]).code(0);
    assert!(
        listed.stdout.contains("corner") && listed.stderr.is_empty(),
        "{listed:?}"
    );

    let mut daemon = Daemon::start(&data, &["--config", file]);
    let said = lines(
        &daemon,
        "webhook alerts wait until a signing key is available",
        1,
    );
    assert_eq!((&said[0]["level"], said.len()), (&json!("ERROR"), 1));
    assert!(
        said[0]["error"]
            .as_str()
            .is_some_and(|error| error.contains("delete it")),
        "{said:?}"
    );
    let warned = lines(&daemon, "the configuration is valid but has warnings", 1);
    assert!(
        warned[0]["warning"]
            .as_str()
            .is_some_and(|text| text.contains("mail.smtp_url")),
        "{warned:?}"
    );
    signal(&daemon, "-HUP");
    let failed = lines(
        &daemon,
        "these keys could not be applied; their previous values stay in effect",
        1,
    );
    assert_eq!(failed[0]["keys"], "alerts");
    std::fs::remove_file(&secret).expect("it goes");
    signal(&daemon, "-HUP");
    let reloaded = lines(&daemon, "configuration reloaded", 2);
    assert_eq!(
        reloaded[1]["applied"],
        "alerts.email_to, alerts.webhook_url"
    );
    assert!(secret.exists(), "a new one is made");
    assert_eq!(daemon.terminate().code(), Some(0));
}

/// A configuration on a disk that does not answer, here a FIFO without a writer. The daemon serves
/// meanwhile, and stops on SIGTERM.
#[test]
fn stops_in_time_while_reload_hangs() {
    let (dir, manager) = (tempfile::tempdir().expect("a directory"), Manager::listen());
    let file = dir.path().join("tillbox.toml");
    std::fs::write(&file, "").expect("written");
    let mut daemon = manager.start(
        &dir.path().join("data"),
        &["--config", file.to_str().expect("UTF-8")],
        "60000000",
    );
    manager.hear_of("READY=1");
    std::fs::remove_file(&file).expect("it goes");
    let made = Command::new("mkfifo").arg(&file).status();
    assert!(made.is_ok_and(|status| status.success()));
    signal(&daemon, "-HUP");
    manager.hear_of("RELOADING=1");
    // A second reload waits behind the first, and blocks nothing else.
    signal(&daemon, "-HUP");
    daemon
        .client()
        .get("/health/live")
        .expect("it lives")
        .expect(200);
    daemon.ask_to_end();
    manager.hear_of("STOPPING=1");
    assert_eq!(daemon.terminate().code(), Some(0), "{}", daemon.output());
    assert!(
        !manager.drain().contains(&"READY=1".to_owned()),
        "the reload is not over"
    );
    assert_eq!(lines_of(&daemon, "stopped").len(), 1);
}

/// The system's limit for file sizes: writes that grow a file fail, the process lives, and the shop
/// sells again when the limit is raised.
#[test]
fn survives_file_size_limit() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut daemon = Daemon::start(dir.path(), &[]);
    let made = run(
        dir.path(),
        &[
            "tenant", "create", "--no-tax", "corner", "--name", "Corner", "--json",
        ],
    )
    .code(0)
    .json();
    let mut client = daemon
        .client()
        .with_key(made["api_key"].as_str().expect("a key"));
    let product = json!({"sku": "A", "name": "Apple", "price_minor": 250});
    let product = client
        .post("/v1/catalog/products", "p", &product)
        .expect("an answer")
        .expect(201)
        .string("/id");
    let sale = json!({"lines": [{"product_id": product, "quantity": 1}],
        "payments": [{"method": "cash", "amount_minor": 250}]});
    let mut sell = |number: usize| {
        client
            .post("/v1/sales", &format!("k-{number}"), &sale)
            .expect("an answer")
            .status
    };
    assert_eq!(sell(0), 201);
    let pid = i32::try_from(daemon.pid()).ok().and_then(Pid::from_raw);
    let limit = |current| {
        prlimit(
            pid,
            Resource::Fsize,
            Rlimit {
                current,
                maximum: None,
            },
        )
        .expect("our own child")
    };
    // The limit covers every shop's file and WAL. It does not cover the landlord's, which is small:
    // when that file cannot be written, the daemon ends and is restarted.
    let id = made["id"].as_str().expect("an id");
    let largest = std::fs::metadata(dir.path().join("tenants").join(format!("{id}.db")))
        .expect("a file")
        .len();
    limit(Some(largest));
    let refused = (1..ASKED_MAX).find(|number| sell(*number) >= 500);
    assert!(refused.is_some(), "something has to grow for a sale");
    daemon
        .client()
        .get("/health/live")
        .expect("it lives")
        .expect(200);
    limit(None);
    assert!(
        (ASKED_MAX..2 * ASKED_MAX).any(|number| sell(number) == 201),
        "it sells again"
    );
    assert_eq!(daemon.terminate().code(), Some(0), "{}", daemon.output());
    run(dir.path(), &["integrity", "check"]).code(0);
}
