//! Daily log files, and the deletion of old ones.
//!
//! The file of a line depends on the clock at that line: after a clock was set ahead and back,
//! lines go to the file of their day again. The age of a file comes from its name, because the
//! modification time of a copy or a restored backup says nothing. Nothing is deleted here
//! automatically, because the writer does not know whether the clock is trusted; the caller of
//! [`remove_old`] does.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp, civil::Date, tz::Offset};

use crate::storage::data_dir::open_own;

/// The daily files of one log. Written by one thread.
pub(super) struct DailyFile {
    file: File,
    /// The day of `file`.
    day: Date,
    dir: PathBuf,
    log: &'static str,
    now_ms: fn() -> i64,
    /// The day whose file could not be created.
    failed: Option<Date>,
}

impl DailyFile {
    /// Opens files named `LOG.YYYY-MM-DD.log` in `dir`.
    pub fn open(dir: &Path, log: &'static str, now_ms: fn() -> i64) -> io::Result<Self> {
        let day = date_at(now_ms());
        Ok(Self {
            file: open_file(dir, log, day)?,
            day,
            dir: dir.to_owned(),
            log,
            now_ms,
            failed: None,
        })
    }

    /// Switches to the file of another day. While it cannot be created, lines go to the previous
    /// file, and each line tries again.
    fn switch_to(&mut self, today: Date) {
        match open_file(&self.dir, self.log, today) {
            Ok(file) => (self.file, self.day, self.failed) = (file, today, None),
            Err(error) => {
                if self.failed.replace(today) != Some(today) {
                    // Logging this would call this function again.
                    let _ = writeln!(
                        io::stderr(),
                        "cannot create the file of log {} for {today}: {error}; lines go to the \
                        file of {} until it can be created. Check the log directory",
                        self.log,
                        self.day
                    );
                }
            }
        }
    }
}

impl Write for DailyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let today = date_at((self.now_ms)());
        if today != self.day {
            self.switch_to(today);
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn date_at(ms: i64) -> Date {
    let now = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    Offset::UTC.to_datetime(now).date()
}

fn open_file(dir: &Path, log: &str, day: Date) -> io::Result<File> {
    let open = || {
        let path = dir.join(format!("{log}.{day}.log"));
        open_own(File::options().append(true).create(true), &path)
    };
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o750).create(dir)?;
            open()
        }
        opened => opened,
    }
}

/// Parses the date in a file name of these logs.
fn date_in(name: &str, logs: &[&str]) -> Option<Date> {
    let of = |log: &&str| {
        name.strip_prefix(*log)?
            .strip_prefix('.')?
            .strip_suffix(".log")
    };
    let date = logs.iter().find_map(of)?;
    // Other date formats are not ours.
    (date.len() == "YYYY-MM-DD".len()).then(|| date.parse().ok())?
}

/// Deletes the files of `logs` that are older than `keep_days` full days, without today, and
/// returns their number. `now_ms` must be trusted. A file that cannot be deleted is logged and
/// tried again next time.
pub(super) fn remove_old(dir: &Path, logs: &[&str], keep_days: u32, now_ms: i64) -> usize {
    let kept_since =
        date_at(now_ms).saturating_sub(SignedDuration::from_hours(24 * i64::from(keep_days)));
    let mut removed = 0;
    // Without a directory there are no files.
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let date = entry
            .file_name()
            .to_str()
            .and_then(|name| date_in(name, logs));
        if date.is_none_or(|date| date >= kept_since) {
            continue;
        }
        match fs::remove_file(entry.path()) {
            Ok(()) => removed += 1,
            Err(error) => {
                tracing::warn!(file = %entry.path().display(), error = %error, "an old log file \
                    could not be deleted; it is tried again")
            }
        }
    }
    removed
}
