//! Daily files, and the end of those that are older than they are kept.
//!
//! How old a file is stands in its name. The appender would go by when it was made, of which a copy or a restored backup says nothing, and by
//! how many there are; and it would count what only begins with the same letters.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp, civil::Date, tz::Offset};
use tracing_appender::rolling::{InitError, RollingFileAppender, Rotation};

/// The daily files of one log. Written to by one thread.
pub(super) struct Daily {
    file: RollingFileAppender,
    dir: PathBuf,
    log: &'static str,
    keep_days: u32,
    now_ms: fn() -> i64,
    /// The day for which it was last looked whether files have to go.
    looked: Option<Date>,
}

impl Daily {
    /// Files named `LOG.YYYY-MM-DD.log` in `dir`; `keep_days` full ones are kept, today's not counted.
    pub fn open(dir: &Path, log: &'static str, keep_days: u32, now_ms: fn() -> i64) -> Result<Self, InitError> {
        let file = RollingFileAppender::builder()
            .rotation(Rotation::DAILY)
            .filename_prefix(log)
            .filename_suffix("log")
            .build(dir)?;
        let mut daily = Self {
            file,
            dir: dir.to_owned(),
            log,
            keep_days,
            now_ms,
            looked: None,
        };
        daily.look();
        Ok(daily)
    }

    /// Once a day, removes what is older than is kept. What cannot be removed is tried again the next day.
    fn look(&mut self) {
        let now = Timestamp::from_millisecond((self.now_ms)()).unwrap_or(Timestamp::UNIX_EPOCH);
        let today = Offset::UTC.to_datetime(now).date();
        if self.looked == Some(today) {
            return;
        }
        self.looked = Some(today);
        let kept_since = today.saturating_sub(SignedDuration::from_hours(24 * i64::from(self.keep_days)));
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let is_old = entry
                .file_name()
                .to_str()
                .and_then(|name| self.date(name))
                .is_some_and(|date| date < kept_since);
            if is_old && let Err(error) = fs::remove_file(entry.path()) {
                // A line in the log would come back here.
                let _ = writeln!(
                    io::stderr(),
                    "the old log file {} cannot be removed: {error}",
                    entry.path().display()
                );
            }
        }
    }

    /// The date of one of this log's files.
    fn date(&self, name: &str) -> Option<Date> {
        let date = name.strip_prefix(self.log)?.strip_prefix('.')?.strip_suffix(".log")?;
        // Other forms of a date are no names of ours.
        (date.len() == "YYYY-MM-DD".len()).then(|| date.parse().ok())?
    }
}

impl Write for Daily {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.look();
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
