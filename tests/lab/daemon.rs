//! The real program as a child process, and clients for it: tills use HTTP, the operator uses the
//! command line.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use http::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::process::tillbox;
pub use crate::harness::process::{Client, Daemon};
use crate::harness::shop::Shop;
use crate::instance::{self, Call, Reply, Transport};
use crate::power::scratch;
use crate::workload::{CallLog, Till};

/// Status that stands for a missing answer. Greater than any status of the program.
pub const NO_ANSWER: u16 = 599;
/// Polling interval for events without a notification.
const MOMENT: Duration = Duration::from_millis(2);

/// Builds the command that serves a directory on a free port.
pub fn serve(dir: &Path) -> Command {
    tillbox(dir, &["serve", "--listen", "127.0.0.1:0"])
}

/// Lets `wrapper` run another command, with that command's environment.
pub fn wrap_command(wrapper: &mut Command, program: &Command) {
    wrapper.arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => wrapper.env(name, value),
            None => wrapper.env_remove(name),
        };
    }
}

/// Waits where elapsed time is part of the trial.
pub fn pause(time: Duration) {
    // No one unparks this thread. A spurious wakeup is as good a moment.
    thread::park_timeout(time);
}

/// Polls until a condition holds, for at most a minute. Every operation here is far faster; a
/// longer one hangs.
pub fn within_a_minute(mut holds: impl FnMut() -> bool) -> bool {
    for _ in 0..60_000 / MOMENT.as_millis() {
        if holds() {
            return true;
        }
        pause(MOMENT);
    }
    holds()
}

/// Keeps a failed directory for inspection.
pub fn keep(dir: &Path, name: &str) {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !kept.exists() {
        copy(dir, &kept);
    }
}

/// A directory with one shop and its first delivery, made by the real program and closed cleanly.
/// Trials run on copies.
pub struct ShopTemplate {
    dir: TempDir,
    pub secret: String,
    pub product: String,
    pub id: String,
}

impl ShopTemplate {
    pub fn create() -> Self {
        let dir = scratch();
        let Shop {
            id, key: secret, ..
        } = Shop::create(dir.path(), "corner", &[]);
        let mut daemon = Daemon::start(dir.path(), &[]);
        let endpoint = Endpoint::default();
        endpoint.connect(daemon.address());
        let caller = Caller::new(&endpoint, dir.path(), Retry::Never);
        let product = instance::runtime(1).block_on(
            Till::of(&caller, &CallLog::default(), "first day", &secret).create_product(),
        );
        assert!(!product.is_empty(), "the product is created");
        assert!(
            daemon.terminate().success(),
            "the daemon shuts down cleanly"
        );
        Self {
            dir,
            secret,
            product,
            id,
        }
    }

    /// Copies the directory to a new one.
    pub fn copy(&self) -> TempDir {
        let to = scratch();
        copy(self.dir.path(), to.path());
        to
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Copies the directory into an existing one.
    pub fn copy_to(&self, to: &Path) {
        copy(self.dir.path(), to);
    }
}

/// Copies files and directories, and skips everything else.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let (kind, to) = (
            entry.file_type().expect("a kind"),
            to.join(entry.file_name()),
        );
        if kind.is_dir() {
            copy(&entry.path(), &to);
        } else if kind.is_file() {
            fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

/// Runs a command. Returns its JSON output, or its error output.
pub fn command(dir: &Path, args: &[&str]) -> Result<Value, String> {
    let output = tillbox(dir, args).output().expect("the program runs");
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
    } else {
        let printed = [output.stdout, output.stderr].concat();
        Err(format!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&printed).trim().replace('\n', "; ")
        ))
    }
}

/// The daemon's current address. Callers can wait for a change.
#[derive(Default)]
pub struct Endpoint {
    address: Mutex<Option<SocketAddr>>,
    changed: Condvar,
    is_stopped: AtomicBool,
}

/// Stops the waiting of all callers when it is dropped.
pub struct WaitGuard<'a>(&'a Endpoint);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.is_stopped.store(true, Ordering::SeqCst);
    }
}

impl Endpoint {
    pub fn connect(&self, address: SocketAddr) {
        *self.address() = Some(address);
        self.changed.notify_all();
    }

    /// Returns a guard. Once it is dropped, no caller waits for a missing answer.
    pub const fn stop_waiting_on_drop(&self) -> WaitGuard<'_> {
        WaitGuard(self)
    }

    fn address(&self) -> MutexGuard<'_, Option<SocketAddr>> {
        self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits briefly for another address. The same one may answer again.
    fn wait(&self) {
        let lost = *self.address();
        // The next call shows whether the address changed.
        drop(
            self.changed
                .wait_timeout_while(self.address(), MOMENT, |address| *address == lost),
        );
    }
}

/// A caller's reaction to a missing answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Returns [`NO_ANSWER`].
    Never,
    /// Repeats the call until a daemon answers it.
    Forever,
}

/// The connection of one till.
pub struct Caller<'a> {
    endpoint: &'a Endpoint,
    dir: PathBuf,
    retry: Retry,
    client: RefCell<Option<(SocketAddr, Client)>>,
}

impl<'a> Caller<'a> {
    pub fn new(endpoint: &'a Endpoint, dir: &Path, retry: Retry) -> Self {
        Self {
            endpoint,
            dir: dir.to_owned(),
            retry,
            client: RefCell::new(None),
        }
    }

    fn once(&self, call: &Call) -> io::Result<Reply> {
        let Some(secret) = &call.secret else {
            return Ok(landlord(&self.dir, call));
        };
        let mut client = self.client.borrow_mut();
        let address = (*self.endpoint.address()).ok_or(io::ErrorKind::NotConnected)?;
        let connected = match client.take().filter(|(connected, _)| *connected == address) {
            Some(connected) => connected,
            None => (address, Client::connect(address)?.with_key(secret)),
        };
        let (_, connection) = client.insert(connected);
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(
            call.idempotency_key
                .as_deref()
                .map(|key| ("idempotency-key", key)),
        );
        let body = if call.body.is_null() {
            String::new()
        } else {
            call.body.to_string()
        };
        let answer =
            connection.request(call.method.as_str(), &call.path, &headers, body.as_bytes())?;
        Ok(Reply {
            status: answer.status,
            body: serde_json::from_slice(&answer.body).unwrap_or(Value::Null),
        })
    }
}

impl Transport for Caller<'_> {
    async fn send(&self, call: &Call) -> Reply {
        loop {
            let answered = self.once(call);
            if answered.is_err() {
                self.client.take();
            }
            let reply = answered.unwrap_or(Reply {
                status: NO_ANSWER,
                body: Value::Null,
            });
            let is_final = !matches!(reply.status, 429 | 503 | NO_ANSWER);
            if is_final
                || self.retry == Retry::Never
                || self.endpoint.is_stopped.load(Ordering::SeqCst)
            {
                return reply;
            }
            self.endpoint.wait();
        }
    }
}

/// Runs a call of the landlord API by the command line.
fn landlord(dir: &Path, call: &Call) -> Reply {
    let slug = call.path.rsplit('/').next().unwrap_or_default();
    let (done, ran) = match call.method {
        Method::DELETE => (204, command(dir, &["tenant", "delete", slug, "--yes"])),
        _ => {
            let slug = call.body["slug"].as_str().unwrap_or_default();
            (
                201,
                command(
                    dir,
                    &[
                        "tenant", "create", "--no-tax", slug, "--name", slug, "--json",
                    ],
                ),
            )
        }
    };
    let (status, body) = ran.map_or((NO_ANSWER, Value::Null), |printed| (done, printed));
    Reply { status, body }
}
