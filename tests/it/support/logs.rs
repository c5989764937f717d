//! Captured log lines. One subscriber serves the whole binary, because the writers' threads log
//! too. A test finds its lines by the tenant's id, which is unique to it.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use serde_json::Value;
use tillbox::observe::logging::{self, Shape, Sink};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

static LINES: Mutex<Vec<Value>> = Mutex::new(Vec::new());
static INSTALL: Once = Once::new();

/// 2026-01-15T10:00:00Z: all log lines of tests carry one time, so that they can be compared.
const NOW_MS: fn() -> i64 = || 1_768_471_200_000;

struct Capture;

impl Write for Capture {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        lines().push(serde_json::from_slice(line)?);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lines() -> MutexGuard<'static, Vec<Value>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the capture. Only the first call has an effect.
pub fn install() {
    INSTALL.call_once(|| {
        let sink = Sink {
            shape: Shape::Json,
            security_only: false,
            writer: BoxMakeWriter::new(|| Capture),
        };
        let subscriber =
            logging::subscriber("warn,tillbox=debug", NOW_MS, vec![sink]).expect("a valid level");
        subscriber.try_init().expect("no other subscriber is there");
    });
}

/// The lines so far.
pub fn logs() -> Logs {
    Logs(lines().clone())
}

#[derive(Debug)]
pub struct Logs(Vec<Value>);

impl Logs {
    /// Keeps the lines about a tenant.
    pub fn of_tenant(self, id: &str) -> Self {
        self.only(|line| line["tenant_id"] == id)
    }

    /// Keeps the lines of the security log.
    pub fn security(self) -> Self {
        self.only(|line| line["target"] == "security")
    }

    /// Keeps the lines with this `message`.
    pub fn saying(self, message: &str) -> Self {
        self.only(|line| line["message"] == message)
    }

    /// Whether any line contains `text` anywhere.
    pub fn contain(&self, text: &str) -> bool {
        self.0.iter().any(|line| line.to_string().contains(text))
    }

    pub fn lines(&self) -> &[Value] {
        &self.0
    }

    pub fn only(mut self, keep: impl Fn(&Value) -> bool) -> Self {
        self.0.retain(keep);
        self
    }
}
