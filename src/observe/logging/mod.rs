//! L5: log lines, one flat JSON object each, to daily files and to the output of the process.
//!
//! Security events (`target: "security"`) are also written to a file of their own, and no
//! configured level turns them off. Deliberately absent: nested objects and span enter/exit lines,
//! which are hard to grep.

mod daily_file;
mod layer;
mod line;
mod lossy_writer;
mod panics;

pub use layer::Sink;
pub use line::{SECURITY, Shape};
pub use panics::log_panics;

use daily_file::DailyFile;
use layer::Lines;
use lossy_writer::{Progress, buffered};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tracing::{Metadata, Subscriber};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::{FilterFn, ParseError, filter_fn};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Registry, reload};

/// The prefix of the file with all lines.
const ALL: &str = "tillbox";

/// The level for targets without one of their own.
const DEFAULT_LEVEL: &str = "info";

/// The longest wait, at the end of the process, for lines that are not written yet: a disk that
/// hangs does not block the end.
const FLUSH_MAX: Duration = Duration::from_secs(10);

/// The configuration of logging.
#[derive(Clone, Debug)]
pub struct Logging {
    /// A level, or `EnvFilter` directives such as `info,tillbox::worker=debug`, each with a
    /// validated level.
    pub level: String,
    pub dir: Option<PathBuf>,
    /// The output to the terminal or the journal.
    pub stdout: Stdout,
    /// Whether that output is read by the journal.
    pub journal: bool,
    /// Returns the time of an event, in milliseconds since 1970 UTC.
    pub now_ms: fn() -> i64,
}

/// The output to the terminal or the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdout {
    /// The same lines as in the files, on standard output.
    Json,
    /// Lines for a person, on standard error, so that the output of a command stays
    /// machine-readable.
    Console {
        /// Whether levels are coloured.
        ansi: bool,
    },
    None,
}

/// The reason why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level is not a valid list of directives.
    #[error("invalid log level {level:?}")]
    Level { level: String, source: ParseError },
    /// The directory is not writable. Starting again with `dir: None` logs without files.
    #[error("cannot write log files in {}", dir.display())]
    Files { dir: PathBuf, source: io::Error },
    /// Logging is already running; it can start once per process.
    #[error("logging is already running")]
    Running(#[source] TryInitError),
}

/// Keeps the writers alive. Dropping it writes buffered lines, so it lives as long as `main`, even
/// when that panics.
#[must_use = "lines written after this is dropped are lost"]
pub struct LogGuard {
    buffers: Buffers,
    level: Option<Level>,
    _writers: Vec<WorkerGuard>,
}

/// Buffered lines, for waiting until they are written.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Vec<Arc<Progress>>);

impl Buffers {
    /// Waits until buffered lines are written, `FLUSH_MAX` at most. Blocks.
    pub fn flush(&self) {
        self.0.iter().for_each(|buffer| buffer.wait(FLUSH_MAX));
    }
}

/// The level of a running process.
#[derive(Clone, Debug)]
pub struct Level(reload::Handle<EnvFilter, Registry>);

impl Level {
    /// Changes the directives.
    pub fn set(&self, level: &str) -> Result<(), LoggingError> {
        let filter = filter(level)?;
        // Fails when the subscriber is gone, and nothing is logged any more.
        let _ = self.0.reload(filter);
        Ok(())
    }
}

impl LogGuard {
    /// Returns the buffers, for an end of the process that does not drop this guard.
    pub fn buffers(&self) -> Buffers {
        self.buffers.clone()
    }

    /// Returns the level, for changing it.
    pub fn level(&self) -> Option<Level> {
        self.level.clone()
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        // The writers' own guards wait for one second only.
        self.buffers.flush();
    }
}

impl Logging {
    /// Starts logging for the whole process.
    ///
    /// # Errors
    /// After [`LoggingError::Files`] the call may be repeated without a directory.
    pub fn start(&self) -> Result<LogGuard, LoggingError> {
        let filter = filter(&self.level)?;
        let (sinks, mut guard) = self.sinks()?;
        let (filter, level) = reload::Layer::new(filter);
        let lines = Lines {
            now_ms: self.now_ms,
            sinks,
        };
        let subscriber = tracing_subscriber::registry()
            .with(filter)
            .with(without_wire_data())
            .with(lines);
        subscriber.try_init().map_err(LoggingError::Running)?;
        guard.level = Some(Level(level));
        Ok(guard)
    }

    fn sinks(&self) -> Result<(Vec<Sink>, LogGuard), LoggingError> {
        let mut sinks = Vec::new();
        let mut guard = LogGuard {
            buffers: Buffers::default(),
            level: None,
            _writers: Vec::new(),
        };
        let mut add = |(buffered, writer): (lossy_writer::Buffered, WorkerGuard)| {
            guard.buffers.0.push(buffered.progress.clone());
            guard._writers.push(writer);
            BoxMakeWriter::new(buffered)
        };
        if let Some(dir) = &self.dir {
            let files = [(ALL, false), (SECURITY, true)];
            for (prefix, security_only) in files {
                let file = DailyFile::open(dir, prefix, self.now_ms).map_err(|source| {
                    LoggingError::Files {
                        dir: dir.clone(),
                        source,
                    }
                })?;
                // Ordinary lines are dropped rather than delay a sale; security lines are evidence
                // and are never dropped.
                let writer = add(buffered(
                    file,
                    prefix,
                    Shape::Json,
                    self.now_ms,
                    !security_only,
                ));
                sinks.push(Sink {
                    shape: Shape::Json,
                    security_only,
                    writer,
                });
            }
        }
        let shape = match self.stdout {
            Stdout::Json if self.journal => Shape::Journal { json: true },
            Stdout::Json => Shape::Json,
            Stdout::Console { .. } if self.journal => Shape::Journal { json: false },
            Stdout::Console { ansi } => Shape::Console { ansi },
            Stdout::None => return Ok((sinks, guard)),
        };
        let writer = match self.stdout {
            // Buffered too: a journal that stalls must not stall the daemon.
            Stdout::Json => add(buffered(
                std::io::stdout(),
                "stdout",
                shape,
                self.now_ms,
                true,
            )),
            _ => BoxMakeWriter::new(std::io::stderr),
        };
        sinks.push(Sink {
            shape,
            security_only: false,
            writer,
        });
        Ok((sinks, guard))
    }
}

/// The subscriber of [`Logging::start`], with any sinks.
pub fn subscriber(
    level: &str,
    now_ms: fn() -> i64,
    sinks: Vec<Sink>,
) -> Result<impl Subscriber + Send + Sync + 'static, LoggingError> {
    let lines = Lines { now_ms, sinks };
    Ok(tracing_subscriber::registry()
        .with(filter(level)?)
        .with(without_wire_data())
        .with(lines))
}

/// Crates that log, below the level of a warning, the data that they send: URLs that are secrets,
/// passwords, whole mails. No directive of the operator enables these lines.
const WIRE_CRATES: [&str; 4] = ["ureq", "ureq_proto", "rustls", "lettre"];

fn without_wire_data() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    fn passes(metadata: &Metadata<'_>) -> bool {
        let is_of = |name: &&str| {
            metadata
                .target()
                .strip_prefix(*name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        *metadata.level() <= tracing::Level::WARN || !WIRE_CRATES.iter().any(is_of)
    }
    filter_fn(passes)
}

/// Deletes log files older than `keep_days` full days, without today, and returns their number.
/// `now_ms` must be a trusted time: a clock that was set ahead makes all of them old. Blocks.
pub fn remove_old(dir: &Path, keep_days: u32, now_ms: i64) -> usize {
    daily_file::remove_old(dir, &[ALL, SECURITY], keep_days, now_ms)
}

/// Builds the filter for a level. Security events always pass, and targets without a directive get
/// the default level: a directive for one module does not silence the others.
fn filter(level: &str) -> Result<EnvFilter, LoggingError> {
    // The last of equal directives counts. The parser treats a space as part of a name.
    let directives: Vec<&str> = std::iter::once(DEFAULT_LEVEL)
        .chain(level.split(',').map(str::trim))
        .collect();
    let filter = EnvFilter::builder()
        .parse(directives.join(","))
        .map_err(|source| LoggingError::Level {
            level: level.to_owned(),
            source,
        })?;
    let always = format!("{SECURITY}=info")
        .parse()
        .expect("a target and a level");
    // Messages of these crates at every start are not worth logging.
    let quiet =
        ["rusqlite_migration", "tokio_cron_scheduler"].map(|target| format!("{target}=warn"));
    let directives = quiet
        .iter()
        .map(|quiet| quiet.parse().expect("a target and a level"));
    Ok(directives.fold(filter.add_directive(always), EnvFilter::add_directive))
}

#[cfg(test)]
mod tests;
