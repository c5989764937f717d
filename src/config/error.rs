//! What can be wrong with a configuration, said so that the operator can mend it without the
//! manual.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read; one named on the command line must exist.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}, line {line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says. The text of the line is left out: it may hold a secret.
        message: String,
    },
    /// Keys that nobody reads, from the file and from the environment.
    #[error("{}", joined(.0))]
    UnknownKeys(Vec<UnknownKey>),
    /// A value of the wrong kind.
    #[error("{key} in {origin}: {message}")]
    WrongValue {
        /// The dotted key.
        key: String,
        /// The file or the environment variable.
        origin: String,
        /// What was expected.
        message: String,
    },
    /// Values of the right kind, out of their bounds.
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
    /// The known key most like it, if one is.
    pub nearest: Option<String>,
}

/// A value out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The dotted key.
    pub key: String,
    /// What is wrong, and what would be right.
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
                "unknown key {key} in {origin}; `tillbox config show` prints all that there are"
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

    /// `Ok` when there was no fault.
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
    fn all_faults_are_in_one_line() {
        let mut faults = Faults::default();
        faults.within("a.b", 0, 1..=3);
        faults.within("a.c", 2, 1..=3);
        faults.add("a.d", "is empty");
        let error = faults.into_result().unwrap_err().to_string();
        assert_eq!(error, "a.b: 0 is not between 1 and 3; a.d: is empty");
        assert!(Faults::default().into_result().is_ok());
    }
}
