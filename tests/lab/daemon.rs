//! The real program as a child process, and the tills' line to it: calls over HTTP, the landlord's
//! by the command line.

#[expect(dead_code, reason = "the integration tests use the rest of it")]
#[path = "../it/support/answer.rs"]
mod answer;
#[expect(dead_code, reason = "the integration tests use the rest of it")]
#[path = "../it/support/process.rs"]
mod process;

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

use answer::Answer;
use process::tillbox;
pub use process::{Client, Daemon};

use crate::house::{self, Call, Peer, Reply};
use crate::power::scratch;
use crate::workload::{Diary, Till};

/// Stands for an answer that did not come. Greater than any fault that the program itself answers
/// with.
pub const NO_ANSWER: u16 = 599;
/// How long to wait for what nobody tells of, before looking again.
const MOMENT: Duration = Duration::from_millis(2);

/// The command that serves a directory at a port of the system's choice.
pub fn serve(dir: &Path) -> Command {
    tillbox(dir, &["serve", "--listen", "127.0.0.1:0"])
}

/// Has `with` run another command, in its environment.
pub fn under(with: &mut Command, program: &Command) {
    with.arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => with.env(name, value),
            None => with.env_remove(name),
        };
    }
}

/// Lets time pass, where the time itself is a part of the trial.
pub fn pause(time: Duration) {
    // Nobody wakes it; should it wake by itself, that is as good an instant.
    thread::park_timeout(time);
}

/// Whether something comes to hold. A minute is far longer than anything here takes; whoever needs
/// it hangs.
pub fn within_a_minute(mut holds: impl FnMut() -> bool) -> bool {
    for _ in 0..60_000 / MOMENT.as_millis() {
        if holds() {
            return true;
        }
        pause(MOMENT);
    }
    holds()
}

/// Keeps a directory that was found wrong, for whoever looks into it.
pub fn keep(dir: &Path, name: &str) {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !kept.exists() {
        copy(dir, &kept);
    }
}

/// A directory with a shop and its first delivery in it, made by the real program and closed in an
/// orderly way.
pub struct Shop {
    dir: TempDir,
    pub secret: String,
    pub product: String,
    pub id: String,
}

impl Shop {
    /// Makes it.
    pub fn found() -> Self {
        let dir = scratch();
        let made = command(
            dir.path(),
            &["tenant", "create", "corner", "--name", "Corner", "--json"],
        )
        .expect("a shop can be made");
        let secret = made["api_key"].as_str().expect("a key").to_owned();
        let mut daemon = Daemon::start(dir.path(), &[]);
        let line = Line::default();
        line.connect(daemon.address());
        let caller = Caller::new(&line, dir.path(), Patience::None);
        let product = house::runtime(1)
            .block_on(Till::of(&caller, &Diary::default(), "first day", &secret).stocked());
        assert!(!product.is_empty(), "a product can be made");
        assert!(daemon.terminate().success(), "it ends in an orderly way");
        let id = made["id"].as_str().expect("an id").to_owned();
        Self {
            dir,
            secret,
            product,
            id,
        }
    }

    /// A directory with the same in it.
    pub fn copy(&self) -> TempDir {
        let to = scratch();
        copy(self.dir.path(), to.path());
        to
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The same into a directory that there is.
    pub fn copy_to(&self, to: &Path) {
        copy(self.dir.path(), to);
    }
}

/// Copies files and directories; what is neither stays behind.
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

/// Runs a command; what it printed as JSON, or what it complained of.
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

/// Where the daemon listens at present, for those who want to know when that changes.
#[derive(Default)]
pub struct Line {
    address: Mutex<Option<SocketAddr>>,
    changed: Condvar,
    is_over: AtomicBool,
}

/// ChainEnds the wait of all callers when it is dropped.
pub struct HangUp<'a>(&'a Line);

impl Drop for HangUp<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
    }
}

impl Line {
    pub fn connect(&self, address: SocketAddr) {
        *self.address() = Some(address);
        self.changed.notify_all();
    }

    /// From then on nobody waits for an answer that does not come.
    pub const fn hang_up_at_the_end(&self) -> HangUp<'_> {
        HangUp(self)
    }

    fn address(&self) -> MutexGuard<'_, Option<SocketAddr>> {
        self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for another address, for a moment: it may be that the same one answers again.
    fn wait(&self) {
        let lost = *self.address();
        // Whether it is another one is seen when it is called.
        drop(
            self.changed
                .wait_timeout_while(self.address(), MOMENT, |address| *address == lost),
        );
    }
}

/// What a caller does when no answer comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Says so.
    None,
    /// Sends the call again until it is answered, whoever answers.
    Endless,
}

/// One till's connection.
pub struct Caller<'a> {
    line: &'a Line,
    dir: PathBuf,
    patience: Patience,
    client: RefCell<Option<(SocketAddr, Client)>>,
}

impl<'a> Caller<'a> {
    pub fn new(line: &'a Line, dir: &Path, patience: Patience) -> Self {
        Self {
            line,
            dir: dir.to_owned(),
            patience,
            client: RefCell::new(None),
        }
    }

    fn once(&self, call: &Call) -> io::Result<Reply> {
        let Some(secret) = &call.secret else {
            return Ok(landlord(&self.dir, call));
        };
        let mut client = self.client.borrow_mut();
        let address = (*self.line.address()).ok_or(io::ErrorKind::NotConnected)?;
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

impl Peer for Caller<'_> {
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
                || self.patience == Patience::None
                || self.line.is_over.load(Ordering::SeqCst)
            {
                return reply;
            }
            self.line.wait();
        }
    }
}

/// A call of the landlord's, who has the command line.
fn landlord(dir: &Path, call: &Call) -> Reply {
    let slug = call.path.rsplit('/').next().unwrap_or_default();
    let (done, ran) = match call.method {
        Method::DELETE => (204, command(dir, &["tenant", "delete", slug, "--yes"])),
        _ => {
            let slug = call.body["slug"].as_str().unwrap_or_default();
            (
                201,
                command(dir, &["tenant", "create", slug, "--name", slug, "--json"]),
            )
        }
    };
    let (status, body) = ran.map_or((NO_ANSWER, Value::Null), |printed| (done, printed));
    Reply { status, body }
}
