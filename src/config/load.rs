//! Loads a [`Config`]: the defaults, overridden by the file, overridden by the environment.
//!
//! The layers are merged as TOML and deserialised once, so that a partial `[queue.audit]` keeps
//! that queue's own defaults.

use super::keys::{dotted, env_key, is_known, nearest, secret_of};
use super::{Config, ConfigError, UnknownKey};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The file that is read if it exists and no other file is named.
pub const DEFAULT_PATH: &str = "/etc/tillbox/tillbox.toml";

impl Config {
    /// Reads and validates the configuration: `path` if given (it must exist), else
    /// [`DEFAULT_PATH`] if it exists, then the variables `TILLBOX_SECTION__KEY` of `env`.
    ///
    /// # Errors
    /// Each [`ConfigError`] names the key and its origin.
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

    /// Reads `text` in place of the file at `path`, otherwise like [`load`](Self::load).
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

/// The merged table and the origin of each override.
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
                // A key below a secret may itself be secret; `read` reports it without showing it.
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
        // Sorted, so that the same environment gives the same message.
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
        if let Some(key) = self.find_misused_section().map(str::to_owned) {
            let message = format!("is not a section; write [{key}], and its keys below that");
            let origin = self.file;
            return Err(ConfigError::WrongValue {
                key,
                origin,
                message,
            });
        }
        let config: Config = serde_path_to_error::deserialize(self.merged).map_err(|error| {
            let key = error.path().to_string();
            // Serde reports a list element as `key[1]` and a table member as `key.part`; the whole
            // value has one origin.
            let is_part = |known: &str| {
                key.strip_prefix(known)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
            };
            let origin = match self.variables.iter().find(|(known, _)| is_part(known)) {
                Some((_, variable)) => format!("the variable {variable}"),
                None => self.file,
            };
            // The parser's message shows the value, such as a number, which may be the secret.
            let (key, message) = match secret_of(&key) {
                Some(secret) => (
                    secret.to_owned(),
                    "is not a string; write it between quotes".to_owned(),
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

    /// Finds a section that is not a table in the file. The value is not shown, because it may be a
    /// secret. This check also rejects a list, which serde would read as the section's values in
    /// order.
    fn find_misused_section(&self) -> Option<&str> {
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

/// Finds the slot of a known key. Fails when the file has another value in place of its section.
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

/// Converts a variable's text to a value of the type of `current`. Where a string is expected,
/// unquoted text is used as it is (a password of digits stays a string); otherwise it is TOML.
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
    fn rejects_named_file_when_missing_or_not_toml() {
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
    fn names_section_when_file_has_a_value_in_its_place() {
        let error = load_text("server = 5", &[]).unwrap_err().to_string();
        assert!(error.starts_with("server in test.toml:"), "{error}");
        let error = load_text("server = 5", &[("TILLBOX_SERVER__LISTEN", "[::1]:9")]);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("not a table"), "{error}");
    }

    #[test]
    fn keeps_string_when_it_has_only_digits() {
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
