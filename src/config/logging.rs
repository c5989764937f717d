//! `[logging]`: what is logged, where to and for how long.

use super::error::Faults;
use super::storage::DEFAULT_DATA_DIR;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::path::{Path, PathBuf};
use tracing_subscriber::EnvFilter;

/// What is logged, where to and for how long.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// A level, or directives such as `info,tillbox::worker=debug`.
    pub level: String,
    /// The directory for log files; the empty text leaves the choice to [`Logging::effective_dir`].
    #[serde(serialize_with = "write_dir", deserialize_with = "read_dir")]
    pub dir: Option<PathBuf>,
    /// Daily files that are kept.
    pub keep_days: u32,
    /// The shape of the lines on standard output.
    pub format: Format,
}

/// The shape of the lines on standard output; files are always JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object per line.
    #[default]
    Json,
    /// One line for a person.
    Console,
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            dir: None,
            keep_days: 30,
            format: Format::Json,
        }
    }
}

impl Logging {
    /// The directory that is set; else the system's log directory for the system's data directory; else `logs`
    /// inside the data directory, so that a trial run stays in its own place.
    #[must_use]
    pub fn effective_dir(&self, data_dir: &Path) -> PathBuf {
        match &self.dir {
            Some(dir) => dir.clone(),
            None if data_dir == Path::new(DEFAULT_DATA_DIR) => PathBuf::from("/var/log/tillbox"),
            None => data_dir.join("logs"),
        }
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        if let Err(error) = EnvFilter::builder().parse(&self.level) {
            faults.add("logging.level", format!("{:?}: {error}", self.level));
        }
        faults.within("logging.keep_days", self.keep_days, 1..=3_650);
    }
}

// TOML has no null; a `None` left out would also be missing from the list of known keys.
fn write_dir<S: Serializer>(dir: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match dir {
        Some(dir) => dir.serialize(serializer),
        None => serializer.serialize_str(""),
    }
}

fn read_dir<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let dir = PathBuf::deserialize(deserializer)?;
    Ok(Some(dir).filter(|dir| !dir.as_os_str().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_directory_follows_the_data() {
        let mut logging = Logging::default();
        let dir = |logging: &Logging, data: &str| logging.effective_dir(Path::new(data));
        assert_eq!(dir(&logging, DEFAULT_DATA_DIR), Path::new("/var/log/tillbox"));
        assert_eq!(dir(&logging, "/srv/t"), Path::new("/srv/t/logs"));
        logging.dir = Some("/logs".into());
        assert_eq!(dir(&logging, DEFAULT_DATA_DIR), Path::new("/logs"));
    }
}
