//! From a file and the environment to a [`Config`]: defaults, overlaid by the file, overlaid by the
//! environment.
//!
//! Everything is merged as TOML first and read once, so that a partial `[queue.audit]` keeps that
//! queue's own defaults.

use super::keys::{dotted, env_key, is_known, nearest, secret_of};
use super::{Config, ConfigError, UnknownKey};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The file that is read when none is named and it exists.
pub const DEFAULT_PATH: &str = "/etc/tillbox/tillbox.toml";

impl Config {
    /// Reads the configuration: `path` when given (it must exist), else [`DEFAULT_PATH`] if it
    /// exists, then the variables `TILLBOX_SECTION__KEY` among `env`; and checks it.
    ///
    /// # Errors
    /// See [`ConfigError`]. Each names the key and where it came from.
    pub fn load(
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let file = match path {
            Some(path) => Some(read(path)?),
            None => match read(Path::new(DEFAULT_PATH)) {
                Ok(file) => Some(file),
                Err(ConfigError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
                    None
                }
                Err(error) => return Err(error),
            },
        };
        Layers::new(file).with_env(env)?.read()
    }

    /// As [`load`](Self::load), of a text that stands for the file at `path`.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn of_text(
        path: &Path,
        text: &str,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Layers::new(Some(parse(path, text)?)).with_env(env)?.read()
    }
}

struct File {
    path: PathBuf,
    table: Table,
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
    let table = text.parse().map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let before = &text.as_bytes()[..start];
        ConfigError::Syntax {
            path: path.to_owned(),
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            message: error.message().to_owned(),
        }
    })?;
    Ok(File {
        path: path.to_owned(),
        table,
    })
}

/// The merged table, and where each override in it came from.
struct Layers {
    known: Vec<String>,
    merged: Table,
    file: String,
    variables: BTreeMap<String, String>,
    unknown: Vec<UnknownKey>,
}

impl Layers {
    fn new(file: Option<File>) -> Self {
        let merged = Table::try_from(Config::default())
            .expect("the configuration consists of tables, texts and numbers");
        let mut layers = Self {
            known: dotted(&merged),
            merged,
            file: "the defaults".to_owned(),
            variables: BTreeMap::new(),
            unknown: Vec::new(),
        };
        if let Some(File { path, table }) = file {
            layers.file = path.display().to_string();
            for key in dotted(&table) {
                // What stands below a secret may be one: whoever reads it says what is wrong, and
                // no more.
                if !is_known(&layers.known, &key) && secret_of(&key).is_none() {
                    layers.add_unknown(key, layers.file.clone());
                }
            }
            overlay(&mut layers.merged, table);
        }
        layers
    }

    fn with_env(
        mut self,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let ours = env.filter_map(|(variable, text)| {
            Some((env_key(&self.known, &variable)?, (variable, text)))
        });
        // Sorted, so that the same environment is always reported in the same way.
        let ours: BTreeMap<String, (String, String)> = ours.collect();
        for (key, (variable, text)) in ours {
            if self.known.contains(&key) {
                let slot = slot(&mut self.merged, &key, &variable)?;
                *slot = typed(slot, text);
                self.variables.insert(key, variable);
            } else {
                self.add_unknown(key, format!("the variable {variable}"));
            }
        }
        Ok(self)
    }

    fn add_unknown(&mut self, key: String, origin: String) {
        let nearest = nearest(&self.known, &key).map(str::to_owned);
        self.unknown.push(UnknownKey {
            key,
            origin,
            nearest,
        });
    }

    fn read(self) -> Result<Config, ConfigError> {
        if !self.unknown.is_empty() {
            return Err(ConfigError::UnknownKeys(self.unknown));
        }
        if let Some(key) = self.find_no_section().map(str::to_owned) {
            let message = format!("is no section; write [{key}], and its keys below that");
            let origin = self.file;
            return Err(ConfigError::WrongValue {
                key,
                origin,
                message,
            });
        }
        let config: Config = serde_path_to_error::deserialize(self.merged).map_err(|error| {
            let key = error.path().to_string();
            // An element of a list is reported as `key[1]`, a part of a table as `key.part`; each
            // came whole from one place.
            let is_part = |known: &str| {
                key.strip_prefix(known)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
            };
            let origin = match self.variables.iter().find(|(known, _)| is_part(known)) {
                Some((_, variable)) => format!("the variable {variable}"),
                None => self.file,
            };
            // The parser shows what it has found, such as a number, and that may be the secret.
            let (key, message) = match secret_of(&key) {
                Some(secret) => (
                    secret.to_owned(),
                    "is no text; write it between quotes".to_owned(),
                ),
                None => (key, error.into_inner().message().to_owned()),
            };
            ConfigError::WrongValue {
                key,
                origin,
                message,
            }
        })?;
        config.validate()?;
        Ok(config)
    }

    /// A section in whose place the file has something else. What that is, is not shown, for it may
    /// be a secret; nor is a list read as the section's values in their order, as the parser would.
    fn find_no_section(&self) -> Option<&str> {
        let is_table = |section: &&str| {
            let mut parts = section.split('.');
            parts
                .try_fold(&self.merged, |table, part| table.get(part)?.as_table())
                .is_some()
        };
        let sections = self
            .known
            .iter()
            .filter_map(|key| Some(key.rsplit_once('.')?.0));
        sections
            .filter(|section| !is_table(section))
            .min_by_key(|section| section.len())
    }
}

fn overlay(base: &mut Table, over: Table) {
    for (name, value) in over {
        match (base.get_mut(&name), value) {
            (Some(Value::Table(below)), Value::Table(above)) => overlay(below, above),
            (_, value) => {
                base.insert(name, value);
            }
        }
    }
}

/// The place of a known key, unless the file has put something else where its section should be.
fn slot<'a>(table: &'a mut Table, key: &str, variable: &str) -> Result<&'a mut Value, ConfigError> {
    let (section, name) = match key.rsplit_once('.') {
        Some((sections, name)) => {
            let inner = sections.split('.').try_fold(table, |table, section| {
                table.get_mut(section).and_then(Value::as_table_mut)
            });
            (inner, name)
        }
        None => (Some(table), key),
    };
    section
        .and_then(|section| section.get_mut(name))
        .ok_or_else(|| ConfigError::WrongValue {
            key: key.to_owned(),
            origin: format!("the variable {variable}"),
            message: "its section in the file is not a table".to_owned(),
        })
}

/// A variable's text as the value that belongs at `current`: where a text is expected it is the
/// text itself, unless quoted (a password of digits stays a text); elsewhere it is read as TOML.
fn typed(current: &Value, text: String) -> Value {
    match text.parse::<Value>() {
        Ok(value) if value.is_str() || !current.is_str() => value,
        _ => Value::String(text),
    }
}

/// Reads a configuration from text, as if from the file `test.toml`.
#[cfg(test)]
pub(super) fn load_text(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::of_text(Path::new("test.toml"), text, env)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(path: Option<&Path>) -> Result<Config, ConfigError> {
        Config::load(path, std::iter::empty())
    }

    #[test]
    fn a_named_file_must_exist_and_be_toml() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        let error = load(Some(&path)).unwrap_err();
        assert!(error.to_string().contains("t.toml"), "{error}");

        fs::write(&path, "[server]\nlisten = secret").unwrap();
        let error = load(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("t.toml, line 2"), "{error}");
        assert!(!error.contains("secret"), "{error}");

        fs::write(&path, "[server]\nlisten = '[::1]:9'").unwrap();
        let config = load(Some(&path)).unwrap();
        assert_eq!(config.server.listen.port(), 9);
    }

    #[test]
    fn a_value_in_the_place_of_a_section_is_named() {
        let error = load_text("server = 5", &[]).unwrap_err().to_string();
        assert!(error.starts_with("server in test.toml:"), "{error}");
        let error = load_text("server = 5", &[("TILLBOX_SERVER__LISTEN", "[::1]:9")]);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("not a table"), "{error}");
    }

    #[test]
    fn texts_of_digits_stay_texts() {
        let as_text = Value::String(String::new());
        assert_eq!(typed(&as_text, "007".into()), Value::String("007".into()));
        assert_eq!(typed(&as_text, "'x'".into()), Value::String("x".into()));
        assert_eq!(typed(&Value::Integer(1), "7".into()), Value::Integer(7));
        assert_eq!(
            typed(&Value::Integer(1), "x".into()),
            Value::String("x".into())
        );
    }
}
