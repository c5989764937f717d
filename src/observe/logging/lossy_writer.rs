//! Where buffered lines end up: a file or a stream that may fail for a while, and says afterwards
//! what it lacks.
//!
//! A full disk stops no shop: the line is gone, and it is counted. Before the next line that can be
//! written stands one that says how many are missing here and why. What a crash of the system
//! itself takes is not known to anybody.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tracing::Level;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

use super::layer::Shape;
use super::line::{Fields, Line};

/// The target of the line that says what is missing.
const TARGET: &str = "tillbox::observe::logging";

/// How far one buffer is with what it was given.
#[derive(Debug, Default)]
pub(super) struct Progress {
    given: AtomicU64,
    overflow: OnceLock<ErrorCounter>,
    done: Mutex<u64>,
    moved: Condvar,
}

impl Progress {
    /// Lines that did not even fit into the buffer.
    fn overflown(&self) -> u64 {
        self.overflow
            .get()
            .map_or(0, |counter| counter.dropped_lines() as u64)
    }

    fn step(&self) {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.moved.notify_all();
    }

    /// Waits until all that was given before is written, or given up as lost; not for longer than
    /// `within`.
    pub fn wait(&self, within: Duration) {
        let given = self.given.load(Ordering::Acquire);
        let is_behind = |done: &mut u64| *done + self.overflown() < given;
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        // Whether it ran out of time or not, there is nothing more to be done here.
        drop(self.moved.wait_timeout_while(done, within, is_behind));
    }
}

/// Buffers lines for `writer` on a thread of its own. A lossy buffer drops lines when it is full,
/// the other kind makes whoever logs wait.
pub(super) fn buffered<W>(
    writer: W,
    log: &'static str,
    shape: Shape,
    now_ms: fn() -> i64,
    lossy: bool,
) -> (Buffered, WorkerGuard)
where
    W: Write + Send + 'static,
{
    let progress = Arc::new(Progress::default());
    let honest = LossyWriter {
        writer,
        log,
        shape,
        now_ms,
        progress: progress.clone(),
        missing: Missing::default(),
        told: 0,
    };
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(lossy)
        .thread_name("log")
        .finish(honest);
    // Nothing has been given yet, so nobody has asked.
    let _ = progress.overflow.set(writer.error_counter());
    (Buffered { writer, progress }, guard)
}

/// The end of a buffer that lines are put into.
#[derive(Clone, Debug)]
pub(super) struct Buffered {
    writer: NonBlocking,
    pub progress: Arc<Progress>,
}

impl Write for Buffered {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.progress.given.fetch_add(1, Ordering::AcqRel);
        self.writer.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl<'a> MakeWriter<'a> for Buffered {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What the file lacks since the last line that says so.
#[derive(Debug, Default)]
struct Missing {
    lines: u64,
    error: Option<String>,
    /// Part of a line may be there.
    is_torn: bool,
}

struct LossyWriter<W> {
    writer: W,
    log: &'static str,
    shape: Shape,
    now_ms: fn() -> i64,
    progress: Arc<Progress>,
    missing: Missing,
    /// How many of those that did not fit into the buffer are accounted for.
    told: u64,
}

impl<W: Write> LossyWriter<W> {
    /// Writes a line, after one that says what is missing before it.
    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        let overflown = self.progress.overflown();
        let lines = self.missing.lines + (overflown - self.told);
        if lines > 0 {
            let mut text = self.confession(lines);
            if self.missing.is_torn {
                text.insert(0, '\n');
            }
            self.writer.write_all(text.as_bytes())?;
            metrics::counter!("tillbox_log_lines_dropped_total", "log" => self.log)
                .increment(overflown - self.told);
            (self.missing, self.told) = (Missing::default(), overflown);
        }
        self.writer.write_all(line)
    }

    fn confession(&self, lines: u64) -> String {
        let error = self
            .missing
            .error
            .as_deref()
            .unwrap_or("more came than could be written");
        let fields = [
            ("message", Value::from("log lines are missing here")),
            ("log", self.log.into()),
            ("lines", lines.into()),
            ("error", error.into()),
        ];
        let line = Line::new((self.now_ms)(), Level::WARN, TARGET, Fields::of(fields));
        line.write(self.shape) + "\n"
    }

    /// The first line that is lost is told of where the process was started: the file cannot.
    fn lose(&mut self, error: &io::Error) {
        if self.missing.lines == 0 {
            // There is no third place.
            let _ = writeln!(
                io::stderr(),
                "the log {} cannot be written, and goes on when it can: {error}",
                self.log
            );
        }
        metrics::counter!("tillbox_log_lines_dropped_total", "log" => self.log).increment(1);
        self.missing.lines += 1;
        self.missing.is_torn = true;
        self.missing.error = Some(error.to_string());
    }
}

impl<W: Write> Write for LossyWriter<W> {
    /// Takes one whole line, whatever becomes of it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.put(line) {
            self.lose(&error);
        }
        self.progress.step();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with so much room.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Disk {
        fn has(&self, room: usize) {
            self.0.lock().unwrap().1 = room;
        }

        fn lines(&self) -> Vec<String> {
            String::from_utf8_lossy(&self.0.lock().unwrap().0)
                .lines()
                .map(str::to_owned)
                .collect()
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().unwrap();
            if disk.1 == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let part = bytes.len().min(disk.1);
            disk.1 -= part;
            disk.0.extend_from_slice(&bytes[..part]);
            Ok(part)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_loses_lines_and_the_next_one_says_how_many() {
        let disk = Disk::default();
        disk.has(1_000);
        let (mut buffered, guard) = buffered(disk.clone(), "tillbox", Shape::Json, || 0, true);
        let mut write = |line: &str| {
            buffered.write_all(line.as_bytes()).unwrap();
            buffered.progress.wait(Duration::from_secs(60));
        };
        write("one\n");
        disk.has(2);
        write("two\n");
        write("three\n");
        disk.has(1_000);
        write("four\n");
        write("five\n");
        drop(guard);
        insta::assert_snapshot!(disk.lines().join("\n"), @r#"
        one
        tw
        {"timestamp":"1970-01-01T00:00:00.000Z","level":"WARN","target":"tillbox::observe::logging","message":"log lines are missing here","log":"tillbox","lines":2,"error":"no storage space"}
        four
        five
        "#);
    }

    /// A writer that stands still until it may go on.
    struct Slow(std::sync::mpsc::Receiver<()>, Disk);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().ok();
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_waited_for_is_written_and_a_disk_that_hangs_is_not_waited_for() {
        let (go, wait) = std::sync::mpsc::channel();
        let disk = Disk::default();
        disk.has(1_000);
        let (mut buffered, guard) = buffered(
            Slow(wait, disk.clone()),
            "tillbox",
            Shape::Json,
            || 0,
            false,
        );
        buffered.write_all(b"one\n").unwrap();
        buffered.write_all(b"two\n").unwrap();
        buffered.progress.wait(Duration::ZERO);
        assert_eq!(disk.lines().len(), 0);
        drop(go);
        buffered.progress.wait(Duration::from_secs(60));
        assert_eq!(disk.lines(), ["one", "two"]);
        drop(guard);
    }
}
