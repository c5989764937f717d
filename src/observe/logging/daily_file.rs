//! DailyFile files, and the end of those that are older than they are kept.
//!
//! Which file a line goes to is asked of the clock for each line: one that was set ahead and back
//! again is back in the file of its day. How old a file is stands in its name: when it was made
//! says nothing of a copy or a restored backup. Nothing goes here by itself, for whoever writes
//! lines does not know whether the clock is trusted: [`remove_old`] is called by who does.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp, civil::Date, tz::Offset};

use crate::storage::data_dir::open_own;

/// The daily files of one log. Written to by one thread.
pub(super) struct DailyFile {
    file: File,
    /// The day of that file.
    day: Date,
    dir: PathBuf,
    log: &'static str,
    now_ms: fn() -> i64,
    /// The day whose file could not be made.
    failed: Option<Date>,
}

impl DailyFile {
    /// Files named `LOG.YYYY-MM-DD.log` in `dir`.
    pub fn open(dir: &Path, log: &'static str, now_ms: fn() -> i64) -> io::Result<Self> {
        let day = date_of(now_ms());
        Ok(Self {
            file: open_file(dir, log, day)?,
            day,
            dir: dir.to_owned(),
            log,
            now_ms,
            failed: None,
        })
    }

    /// Goes on in the file of another day. While that cannot be made the lines go where they went
    /// before, and each tries again.
    fn turn(&mut self, today: Date) {
        match open_file(&self.dir, self.log, today) {
            Ok(file) => (self.file, self.day, self.failed) = (file, today, None),
            Err(error) => {
                if self.failed.replace(today) != Some(today) {
                    // A line in the log would come back here.
                    let _ = writeln!(
                        io::stderr(),
                        "the log {} has no file for {today}, and goes on in that of {}: {error}",
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
        let today = date_of((self.now_ms)());
        if today != self.day {
            self.turn(today);
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn date_of(ms: i64) -> Date {
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

/// The date of one of the files of these logs.
fn date_in(name: &str, logs: &[&str]) -> Option<Date> {
    let of = |log: &&str| {
        name.strip_prefix(*log)?
            .strip_prefix('.')?
            .strip_suffix(".log")
    };
    let date = logs.iter().find_map(of)?;
    // Other forms of a date are no names of ours.
    (date.len() == "YYYY-MM-DD".len()).then(|| date.parse().ok())?
}

/// Removes the files of `logs` that are older than `keep_days` full days, today not counted.
/// `now_ms` is trusted. Gives how many went; what cannot be removed is said, and stays until the
/// next time.
pub(super) fn remove_old(dir: &Path, logs: &[&str], keep_days: u32, now_ms: i64) -> usize {
    let kept_since =
        date_of(now_ms).saturating_sub(SignedDuration::from_hours(24 * i64::from(keep_days)));
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
                    cannot be removed; it is tried again")
            }
        }
    }
    removed
}
