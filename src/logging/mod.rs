//! L5: log lines, one flat JSON object each, to daily files and to where the process was started.
//!
//! Security events (`target: "security"`) are in a file of their own as well, and no level set by the operator
//! turns them off. Deliberately absent: nested objects and span enter/exit lines, which nobody greps.

mod layer;
mod line;

pub use layer::{Shape, Sink};

use layer::Lines;
use std::path::{Path, PathBuf};
use tracing::Subscriber;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{InitError, RollingFileAppender, Rotation};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The target of events that also go to the security file.
pub const SECURITY: &str = "security";

/// What is logged and where to.
#[derive(Clone, Debug)]
pub struct Logging {
    /// A level, or `EnvFilter` directives such as `info,tillbox::worker=debug`.
    pub level: String,
    /// The directory for files; `None` for no files.
    pub dir: Option<PathBuf>,
    /// Full days kept in files, today not counted.
    pub keep_days: u32,
    /// What goes to the terminal or the journal.
    pub stdout: Stdout,
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
        source: tracing_subscriber::filter::ParseError,
    },
    /// The directory cannot be written to. Starting again with `dir: None` logs without files.
    #[error("cannot write log files in {}", dir.display())]
    Files {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        source: InitError,
    },
    /// Logging runs already; it can start once in a process.
    #[error("logging runs already")]
    Running(#[source] TryInitError),
}

/// Keeps the writers alive. Dropping it writes out what is still buffered, so it lives as long as `main`.
#[must_use = "lines written after this is dropped are lost"]
pub struct LogGuard {
    _writers: Vec<WorkerGuard>,
}

impl Logging {
    /// Starts logging for the whole process.
    ///
    /// # Errors
    /// See [`LoggingError`]; after [`LoggingError::Files`] the call may be repeated without a directory.
    pub fn start(&self) -> Result<LogGuard, LoggingError> {
        let (sinks, guard) = self.sinks()?;
        let subscriber = subscriber(&self.level, self.now_ms, sinks)?;
        subscriber.try_init().map_err(LoggingError::Running)?;
        Ok(guard)
    }

    fn sinks(&self) -> Result<(Vec<Sink>, LogGuard), LoggingError> {
        let mut sinks = Vec::new();
        let mut writers = Vec::new();
        if let Some(dir) = &self.dir {
            let files = [("tillbox", false), (SECURITY, true)];
            for (prefix, security_only) in files {
                let file = self.daily_file(dir, prefix)?;
                // Ordinary lines are dropped rather than slow a sale down; the few that are evidence are not.
                let (writer, guard) = buffered(file, !security_only);
                writers.push(guard);
                sinks.push(Sink {
                    shape: Shape::Json,
                    security_only,
                    writer: BoxMakeWriter::new(writer),
                });
            }
        }
        let (shape, writer) = match self.stdout {
            Stdout::Json => {
                // Buffered as well: a journal that stalls must not stall the daemon.
                let (writer, guard) = buffered(std::io::stdout(), true);
                writers.push(guard);
                (Shape::Json, BoxMakeWriter::new(writer))
            }
            Stdout::Console { ansi } => (Shape::Console { ansi }, BoxMakeWriter::new(std::io::stderr)),
            Stdout::None => return Ok((sinks, LogGuard { _writers: writers })),
        };
        sinks.push(Sink {
            shape,
            security_only: false,
            writer,
        });
        Ok((sinks, LogGuard { _writers: writers }))
    }

    fn daily_file(&self, dir: &Path, prefix: &str) -> Result<RollingFileAppender, LoggingError> {
        // The appender makes room for a new file at each start, although today's may exist: without one to
        // spare, a restart would delete a day too early, and with `keep_days = 1` today's.
        let files = usize::try_from(self.keep_days).unwrap_or(usize::MAX).saturating_add(1);
        RollingFileAppender::builder()
            .rotation(Rotation::DAILY)
            .filename_prefix(prefix)
            .filename_suffix("log")
            .max_log_files(files)
            .build(dir)
            .map_err(|source| LoggingError::Files {
                dir: dir.to_owned(),
                source,
            })
    }
}

/// The subscriber that [`Logging::start`] installs, over any sinks.
///
/// # Errors
/// [`LoggingError::Level`].
pub fn subscriber(level: &str, now_ms: fn() -> i64, sinks: Vec<Sink>) -> Result<impl Subscriber + Send + Sync + 'static, LoggingError> {
    let filter = EnvFilter::builder().parse(level).map_err(|source| LoggingError::Level {
        level: level.to_owned(),
        source,
    })?;
    let always = format!("{SECURITY}=info").parse().expect("a target and a level");
    // A file that is opened is no news at every start.
    let quiet = "rusqlite_migration=warn".parse().expect("a target and a level");
    let filter = filter.add_directive(always).add_directive(quiet);
    let lines = Lines { now_ms, sinks };
    Ok(tracing_subscriber::registry().with(filter).with(lines))
}

fn buffered<W>(writer: W, lossy: bool) -> (NonBlocking, WorkerGuard)
where
    W: std::io::Write + Send + 'static,
{
    NonBlockingBuilder::default().lossy(lossy).thread_name("log").finish(writer)
}

#[cfg(test)]
mod tests;
