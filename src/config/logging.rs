//! `[logging]`: the level, format, place and retention of logs.

use super::error::Faults;
use super::storage::DEFAULT_DATA_DIR;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::path::{Path, PathBuf};
use tracing_subscriber::filter::Directive;

/// The level, format, place and retention of logs.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// A level, or directives such as `info,tillbox::worker=debug`; the level for all is `info`
    /// unless set.
    pub level: String,
    /// The directory for log files; if empty, [`Logging::effective_dir`] chooses it.
    #[serde(serialize_with = "write_dir", deserialize_with = "read_dir")]
    pub dir: Option<PathBuf>,
    /// The number of daily files to keep.
    pub keep_days: u32,
    pub format: Format,
}

/// The format of the lines on standard output; files are always JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object per line.
    #[default]
    Json,
    /// One line for people.
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
    /// Returns the configured directory, else `/var/log/tillbox` if the data is in
    /// [`DEFAULT_DATA_DIR`], else `logs` in the data directory, so that a trial run writes nowhere
    /// else.
    #[must_use]
    pub fn effective_dir(&self, data_dir: &Path) -> PathBuf {
        match &self.dir {
            Some(dir) => dir.clone(),
            None if data_dir == Path::new(DEFAULT_DATA_DIR) => PathBuf::from("/var/log/tillbox"),
            None => data_dir.join("logs"),
        }
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        if let Some(problem) = fault_of(&self.level) {
            faults.add("logging.level", problem);
        }
        faults.within("logging.keep_days", self.keep_days, 1..=3_650);
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// The lowest similarity (of 1) at which a word counts as a misspelt level.
const LIKE: f64 = 0.5;

/// Describes the fault of invalid directives. The filter itself would read a misspelt level as a
/// module name and log that module only.
fn fault_of(directives: &str) -> Option<String> {
    let mut levels = directives.split(',').map(|directive| {
        directive
            .rsplit_once('=')
            .map_or(directive, |(_, level)| level)
            .trim()
    });
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    if let Some(word) = levels.find(|word| !is_level(word)) {
        let likeness =
            |level: &&str| strsim::normalized_damerau_levenshtein(level, &word.to_lowercase());
        let alike = LEVELS.into_iter().filter(|level| likeness(level) >= LIKE);
        let nearest = alike.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        let hint = nearest.map_or_else(String::new, |nearest| format!("did you mean {nearest}? "));
        return Some(format!(
            "{word:?} is not a level; {hint}write off, error, warn, info, debug or trace, or one \
             for all and some for modules, such as info,tillbox::worker=debug"
        ));
    }
    let faulty = |directive: &&str| directive.parse::<Directive>().is_err();
    let wrong = directives.split(',').map(str::trim).find(faulty)?;
    Some(format!(
        "{wrong:?} is not a module and its level; write it as in info,tillbox::worker=debug"
    ))
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
    fn derives_log_directory_from_data_directory() {
        let mut logging = Logging::default();
        let dir = |logging: &Logging, data: &str| logging.effective_dir(Path::new(data));
        assert_eq!(
            dir(&logging, DEFAULT_DATA_DIR),
            Path::new("/var/log/tillbox")
        );
        assert_eq!(dir(&logging, "/srv/t"), Path::new("/srv/t/logs"));
        logging.dir = Some("/logs".into());
        assert_eq!(dir(&logging, DEFAULT_DATA_DIR), Path::new("/logs"));
    }

    #[test]
    fn rejects_unknown_level_and_suggests_the_nearest() {
        for good in [
            "info",
            "OFF",
            "tillbox::worker=debug",
            "warn, tillbox=trace",
            "info,[request]=debug",
            "info,tillbox[request{tenant_id=x}]=trace",
        ] {
            assert_eq!(fault_of(good), None, "{good}");
        }
        for (bad, word, nearest) in [
            ("inof", "inof", Some("info")),
            ("", "", None),
            ("warn,foo", "foo", None),
            ("tillbox", "tillbox", None),
            ("info,tillbox=Warning", "Warning", Some("warn")),
            ("info,tillbox=", "", None),
            ("info,,tillbox=debug", "", None),
            ("info;tillbox=debug,wran", "wran", Some("warn")),
            ("3", "3", None),
            ("info,[request{tenant_id=x}]", "x}]", None),
        ] {
            let fault = fault_of(bad).unwrap();
            assert!(
                fault.starts_with(&format!("{word:?} is not a level; ")),
                "{bad}: {fault}"
            );
            let named = fault
                .split_once("did you mean ")
                .map(|(_, rest)| rest.split_once('?').unwrap().0);
            assert_eq!(named, nearest, "{bad}: {fault}");
        }
        for bad in ["=debug", "info,[request=debug"] {
            let fault = fault_of(bad).unwrap();
            assert!(
                fault.contains("is not a module and its level"),
                "{bad}: {fault}"
            );
        }
    }
}
