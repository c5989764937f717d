//! Configuration errors. Each message says how to fix the problem, without the manual.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Reasons why the configuration cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read; one named on the command line must exist.
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}, line {line}: {message}", path.display())]
    Syntax {
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The parser's message, without the text of the line: it may hold a secret.
        message: String,
    },
    /// Keys in the file or the environment that do not exist.
    #[error("{}", joined(.0))]
    UnknownKeys(Vec<UnknownKey>),
    /// A value of the wrong type.
    #[error("{key} in {origin}: {message}")]
    WrongValue {
        /// The dotted key.
        key: String,
        /// The file or the environment variable.
        origin: String,
        /// The expected value.
        message: String,
    },
    /// Values of the right type that are out of bounds.
    #[error("{}", joined(.0))]
    Invalid(Vec<Fault>),
}

/// A key that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// The key as it was written.
    pub key: String,
    /// The file or the environment variable.
    pub origin: String,
    /// The most similar known key.
    pub nearest: Option<String>,
}

/// A value out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The dotted key.
    pub key: String,
    /// The problem and how to fix it.
    pub problem: String,
}

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            origin,
            nearest,
        } = self;
        match nearest {
            Some(nearest) => write!(f, "unknown key {key} in {origin}; did you mean {nearest}?"),
            None => write!(
                f,
                "unknown key {key} in {origin}; `tillbox config show` lists the known keys"
            ),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

fn joined<T: fmt::Display>(items: &[T]) -> String {
    let texts: Vec<String> = items.iter().map(T::to_string).collect();
    texts.join("; ")
}

/// Collects the faults of all sections.
#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    /// Records a fault of `key`.
    pub fn add(&mut self, key: impl Into<String>, problem: impl fmt::Display) {
        self.0.push(Fault {
            key: key.into(),
            problem: problem.to_string(),
        });
    }

    /// Records a fault when `value` is outside `allowed`.
    pub fn within<T>(&mut self, key: impl Into<String>, value: T, allowed: RangeInclusive<T>)
    where
        T: PartialOrd + fmt::Display,
    {
        if !allowed.contains(&value) {
            let (low, high) = allowed.into_inner();
            self.add(key, format!("{value} is not between {low} and {high}"));
        }
    }

    /// Returns `Ok` without faults.
    pub fn into_result(self) -> Result<(), ConfigError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::Invalid(self.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_all_faults_into_one_line() {
        let mut faults = Faults::default();
        faults.within("a.b", 0, 1..=3);
        faults.within("a.c", 2, 1..=3);
        faults.add("a.d", "is empty");
        let error = faults.into_result().unwrap_err().to_string();
        assert_eq!(error, "a.b: 0 is not between 1 and 3; a.d: is empty");
        assert!(Faults::default().into_result().is_ok());
    }
}
