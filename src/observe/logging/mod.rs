//! L5: log lines, one flat JSON object each, to daily files and to where the process was started.
//!
//! Security events (`target: "security"`) are in a file of their own as well, and no level set by
//! the operator turns them off. Deliberately absent: nested objects and span enter/exit lines,
//! which nobody greps.

mod daily_file;
mod layer;
mod line;
mod lossy_writer;
mod panics;

pub use layer::{Shape, Sink};
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

/// The target of events that also go to the security file.
pub const SECURITY: &str = "security";

/// The name of the file with all lines.
const ALL: &str = "tillbox";

/// What is logged where no level without a target is set.
const BASE: &str = "info";

/// How long the end of the process waits for lines that are not written yet: a disk that hangs
/// keeps nobody for longer.
const FLUSH_MAX: Duration = Duration::from_secs(10);

/// What is logged and where to.
#[derive(Clone, Debug)]
pub struct Logging {
    /// A level, or `EnvFilter` directives such as `info,tillbox::worker=debug`, of which each was
    /// found to have a level.
    pub level: String,
    /// The directory for files; `None` for no files.
    pub dir: Option<PathBuf>,
    /// What goes to the terminal or the journal.
    pub stdout: Stdout,
    /// Whether what goes there goes to the journal.
    pub journal: bool,
    /// The time of an event, in milliseconds since 1970 UTC.
    pub now_ms: fn() -> i64,
}

/// What goes to the terminal or the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdout {
    /// The lines of the files, on standard output.
    Json,
    /// Lines for a person, on standard error, so that the output of a command stays clean.
    Console {
        /// Whether levels are coloured.
        ansi: bool,
    },
    /// Nothing.
    None,
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level is no list of directives.
    #[error("{level:?} is no log level")]
    Level {
        /// What was given.
        level: String,
        /// What the parser says.
        source: ParseError,
    },
    /// The directory cannot be written to. Starting again with `dir: None` logs without files.
    #[error("cannot write log files in {}", dir.display())]
    Files {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Logging runs already; it can start once in a process.
    #[error("logging runs already")]
    Running(#[source] TryInitError),
}

/// Keeps the writers alive. Dropping it writes out what is still buffered, so it lives as long as
/// `main`, also when that panics.
#[must_use = "lines written after this is dropped are lost"]
pub struct LogGuard {
    buffers: Buffers,
    level: Option<Level>,
    _writers: Vec<WorkerGuard>,
}

/// What is buffered, to be waited for.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Vec<Arc<Progress>>);

impl Buffers {
    /// Waits until what was logged is written, for a few seconds at most. Blocks.
    pub fn flush(&self) {
        self.0.iter().for_each(|buffer| buffer.wait(FLUSH_MAX));
    }
}

/// What is logged of a process that runs.
#[derive(Clone, Debug)]
pub struct Level(reload::Handle<EnvFilter, Registry>);

impl Level {
    /// Logs by other directives from now on.
    ///
    /// # Errors
    /// [`LoggingError::Level`].
    pub fn set(&self, level: &str) -> Result<(), LoggingError> {
        let filter = filter(level)?;
        // Fails when the subscriber is gone, and nobody logs any more.
        let _ = self.0.reload(filter);
        Ok(())
    }
}

impl LogGuard {
    /// What is buffered, for an end that does not come by dropping this.
    pub fn buffers(&self) -> Buffers {
        self.buffers.clone()
    }

    /// What is logged, to be changed.
    pub fn level(&self) -> Option<Level> {
        self.level.clone()
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        // What the writers' own guards would wait for is a second.
        self.buffers.flush();
    }
}

impl Logging {
    /// Starts logging for the whole process.
    ///
    /// # Errors
    /// See [`LoggingError`]; after [`LoggingError::Files`] the call may be repeated without a
    /// directory.
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
            .with(discreet())
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
                // Ordinary lines are dropped rather than slow a sale down; the few that are
                // evidence are not.
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
            // Buffered as well: a journal that stalls must not stall the daemon.
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

/// The subscriber that [`Logging::start`] installs, over any sinks.
///
/// # Errors
/// [`LoggingError::Level`].
pub fn subscriber(
    level: &str,
    now_ms: fn() -> i64,
    sinks: Vec<Sink>,
) -> Result<impl Subscriber + Send + Sync + 'static, LoggingError> {
    let lines = Lines { now_ms, sinks };
    Ok(tracing_subscriber::registry()
        .with(filter(level)?)
        .with(discreet())
        .with(lines))
}

/// Who talks to others shows, at its lower levels, what it says to them: URLs that are secrets,
/// passwords, whole mails. No directive of the operator's brings that into the log, however exactly
/// it names its source.
const TALKERS: [&str; 4] = ["ureq", "ureq_proto", "rustls", "lettre"];

fn discreet() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    fn passes(metadata: &Metadata<'_>) -> bool {
        let is_of = |talker: &&str| {
            metadata
                .target()
                .strip_prefix(*talker)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        *metadata.level() <= tracing::Level::WARN || !TALKERS.iter().any(is_of)
    }
    filter_fn(passes)
}

/// Removes log files of more than `keep_days` full days ago, today not counted; gives how many.
/// `now_ms` is an instant that is trusted: a clock that was set ahead makes all of them old.
/// Blocks.
pub fn remove_old(dir: &Path, keep_days: u32, now_ms: i64) -> usize {
    daily_file::remove_old(dir, &[ALL, SECURITY], keep_days, now_ms)
}

/// What a level lets through. Security events pass in any case, and without a level for all there
/// is the default one: who asks for more of one module does not ask for silence.
fn filter(level: &str) -> Result<EnvFilter, LoggingError> {
    // Of two that say the same the last one counts; and the parser takes a space for a part of a
    // name.
    let directives: Vec<&str> = std::iter::once(BASE)
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
    // That a file is opened, or a bell hung up, is no news at every start.
    let quiet =
        ["rusqlite_migration", "tokio_cron_scheduler"].map(|target| format!("{target}=warn"));
    let directives = quiet
        .iter()
        .map(|quiet| quiet.parse().expect("a target and a level"));
    Ok(directives.fold(filter.add_directive(always), EnvFilter::add_directive))
}

#[cfg(test)]
mod tests;
