//! A writer for a file or a stream that may fail for a while, and that then reports the missing
//! lines.
//!
//! A full disk does not stop sales: the line is dropped and counted. Before the next line that can
//! be written, a line reports how many are missing and why. Lines lost in a crash of the system are
//! not reported.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use serde_json::Value;
use tracing::Level;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

use super::line::{Fields, Line, Shape};
use crate::primitives::sync;

/// The target of the line that reports missing lines.
const TARGET: &str = "tillbox::observe::logging";

/// The progress of one buffer.
#[derive(Debug, Default)]
pub(super) struct Progress {
    submitted: AtomicU64,
    overflow: OnceLock<ErrorCounter>,
    done: Mutex<u64>,
    moved: Condvar,
}

impl Progress {
    /// Lines that did not fit into the buffer.
    fn overflown(&self) -> u64 {
        self.overflow
            .get()
            .map_or(0, |counter| counter.dropped_lines() as u64)
    }

    fn step(&self) {
        *sync::lock(&self.done) += 1;
        self.moved.notify_all();
    }

    /// Waits until all lines submitted before are written or lost, for `within` at most.
    pub fn wait(&self, within: Duration) {
        let submitted = self.submitted.load(Ordering::Acquire);
        let is_behind = |done: &mut u64| *done + self.overflown() < submitted;
        let done = sync::lock(&self.done);
        // A timeout needs no further action.
        drop(self.moved.wait_timeout_while(done, within, is_behind));
    }
}

/// Buffers lines for `writer` on a thread of its own. A lossy buffer drops lines when it is full;
/// another one blocks the logging thread.
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
    let lossy_writer = LossyWriter {
        writer,
        log,
        shape,
        now_ms,
        progress: progress.clone(),
        missing: Missing::default(),
        reported: 0,
    };
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(lossy)
        .thread_name("log")
        .finish(lossy_writer);
    // No line has been submitted yet, so the cell is still empty.
    let _ = progress.overflow.set(writer.error_counter());
    (Buffered { writer, progress }, guard)
}

/// The input side of a buffer.
#[derive(Clone, Debug)]
pub(super) struct Buffered {
    writer: NonBlocking,
    pub progress: Arc<Progress>,
}

impl Write for Buffered {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.progress.submitted.fetch_add(1, Ordering::AcqRel);
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

/// Lines that are missing since the last report.
#[derive(Debug, Default)]
struct Missing {
    lines: u64,
    error: Option<String>,
    /// A partial line may have been written.
    is_torn: bool,
}

struct LossyWriter<W> {
    writer: W,
    log: &'static str,
    shape: Shape,
    now_ms: fn() -> i64,
    progress: Arc<Progress>,
    missing: Missing,
    /// The number of overflown lines that have been reported.
    reported: u64,
}

impl<W: Write> LossyWriter<W> {
    /// Writes a line, after a report of the missing lines before it.
    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        let overflown = self.progress.overflown();
        let lines = self.missing.lines + (overflown - self.reported);
        if lines > 0 {
            let mut text = self.format_report(lines);
            if self.missing.is_torn {
                text.insert(0, '\n');
            }
            self.writer.write_all(text.as_bytes())?;
            metrics::counter!("tillbox_log_lines_dropped_total", "log" => self.log)
                .increment(overflown - self.reported);
            (self.missing, self.reported) = (Missing::default(), overflown);
        }
        self.writer.write_all(line)
    }

    fn format_report(&self, lines: u64) -> String {
        let error = self
            .missing
            .error
            .as_deref()
            .unwrap_or("the buffer was full");
        let fields = [
            ("message", Value::from("log lines are missing here")),
            ("log", self.log.into()),
            ("lines", lines.into()),
            ("error", error.into()),
        ];
        let line = Line::new((self.now_ms)(), Level::WARN, TARGET, Fields::of(fields));
        line.write(self.shape) + "\n"
    }

    /// Counts a lost line. The first one is reported on standard error, because the file cannot be
    /// written.
    fn lose(&mut self, error: &io::Error) {
        if self.missing.lines == 0 {
            // There is no other place to report.
            let _ = writeln!(
                io::stderr(),
                "cannot write the log {}: {error}; lines are dropped until it can be written. \
                Free disk space or check the log directory",
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
    /// Accepts one whole line, even when it is lost.
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

    /// A disk with limited space.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Disk {
        fn set_space(&self, bytes_free: usize) {
            self.0.lock().unwrap().1 = bytes_free;
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
    fn reports_lost_lines_after_full_disk() {
        let disk = Disk::default();
        disk.set_space(1_000);
        let (mut buffered, guard) = buffered(disk.clone(), "tillbox", Shape::Json, || 0, true);
        let mut write = |line: &str| {
            buffered.write_all(line.as_bytes()).unwrap();
            buffered.progress.wait(Duration::from_secs(60));
        };
        write("one\n");
        disk.set_space(2);
        write("two\n");
        write("three\n");
        disk.set_space(1_000);
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

    /// A writer that blocks until it is released.
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
    fn waits_for_writes_until_timeout() {
        let (go, wait) = std::sync::mpsc::channel();
        let disk = Disk::default();
        disk.set_space(1_000);
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
