//! `[logging]`: what is logged, where to and for how long.

use super::error::Faults;
use super::storage::DEFAULT_DATA_DIR;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::path::{Path, PathBuf};
use tracing_subscriber::filter::Directive;

/// What is logged, where to and for how long.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// A level, or directives such as `info,tillbox::worker=debug`; without a level for all it is
    /// `info`.
    pub level: String,
    /// The directory for log files; the empty text leaves the choice to [`Logging::effective_dir`].
    #[serde(serialize_with = "write_dir", deserialize_with = "read_dir")]
    pub dir: Option<PathBuf>,
    /// DailyFile files that are kept.
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
    /// The directory that is set; else the system's log directory for the system's data directory;
    /// else `logs` inside the data directory, so that a trial run stays in its own place.
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

/// The levels, from nothing to everything.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// How like a level a word must be to be taken for a slip of it.
const LIKE: f64 = 0.5;

/// What is wrong with directives. The filter itself takes a word that is no level for the name of a
/// module, and logs that module and nothing else.
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
            "{word:?} is no level; {hint}write off, error, warn, info, debug or trace, or one for \
             all and some for modules, such as info,tillbox::worker=debug"
        ));
    }
    let faulty = |directive: &&str| directive.parse::<Directive>().is_err();
    let wrong = directives.split(',').map(str::trim).find(faulty)?;
    Some(format!(
        "{wrong:?} is no module and its level; write it as in info,tillbox::worker=debug"
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
    fn the_log_directory_follows_the_data() {
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
    fn a_word_that_is_no_level_is_refused_and_the_nearest_is_named() {
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
                fault.starts_with(&format!("{word:?} is no level; ")),
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
                fault.contains("is no module and its level"),
                "{bad}: {fault}"
            );
        }
    }
}
