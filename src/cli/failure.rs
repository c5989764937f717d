//! The result of a command: its exit code, and for a failure one line with the error and one with
//! a hint.

use std::io::Write as _;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use crate::app::StartError;
use crate::config::ConfigError;

/// Exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    /// Invalid arguments.
    Usage = 2,
    /// A health or integrity check found a fault.
    CheckFailed = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The error of a command and a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// Creates a failure from an error text. By convention, the part after the first semicolon is
    /// the hint.
    pub fn failed(text: impl AsRef<str>) -> Self {
        match text.as_ref().split_once("; ") {
            Some((message, hint)) => Self::failed_with(message, hint),
            None => Self {
                exit: Exit::Failed,
                message: text.as_ref().to_owned(),
                hint: None,
            },
        }
    }

    pub fn failed_with(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed,
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// Creates a failure without a hint; semicolons stay in the message.
    pub fn in_one_line(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed,
            message: message.into(),
            hint: None,
        }
    }

    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            ..Self::failed_with(message, hint)
        }
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// Formats message and hint in one line.
    pub fn whole(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}; {hint}", self.message),
            None => self.message.clone(),
        }
    }

    /// Adds the hint that an interrupted import can be repeated.
    pub fn of_import(self) -> Self {
        let hint = self
            .hint
            .map(|hint| format!("{hint}; then "))
            .unwrap_or_default();
        Self {
            hint: Some(format!(
                "{hint}run the same command again: rows that were imported stay unchanged"
            )),
            ..self
        }
    }

    /// Replaces the name of a body member with the name of the file that it came from.
    pub fn naming(self, member: &str, file: impl std::fmt::Display) -> Self {
        match self
            .message
            .strip_prefix(member)
            .and_then(|rest| rest.strip_prefix(": "))
        {
            Some(rest) => Self {
                message: format!("{file}: {rest}"),
                ..self
            },
            None => self,
        }
    }

    /// Converts a problem document.
    pub fn of_problem(problem: &Value) -> Self {
        let errors = problem["errors"]
            .as_array()
            .filter(|errors| !errors.is_empty());
        let Some(errors) = errors else {
            return Self::failed(problem["detail"].as_str().unwrap_or("the request failed"));
        };
        let text = |error: &Value| {
            let pointer = error["pointer"]
                .as_str()
                .unwrap_or_default()
                .trim_start_matches('/');
            format!(
                "{pointer}: {}",
                error["detail"].as_str().unwrap_or_default()
            )
        };
        Self {
            exit: Exit::Failed,
            message: errors.iter().map(text).collect::<Vec<_>>().join("; "),
            hint: None,
        }
    }

    /// Prints the failure to standard error and returns its exit code.
    pub fn report(&self) -> Exit {
        let (error, hint) = (
            Style::new().bold().fg_color(Some(AnsiColor::Red.into())),
            Style::new().bold(),
        );
        let mut stderr = anstream::stderr().lock();
        // A failed write cannot be reported anywhere else.
        let _ = writeln!(stderr, "{error}error:{error:#} {}", self.message);
        if let Some(text) = &self.hint {
            let _ = writeln!(stderr, "{hint}hint:{hint:#} {text}");
        }
        self.exit
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match &error {
            ConfigError::Read { source, .. } => Self::failed_with(
                format!("{error}: {source}"),
                "name an existing file with --config, or omit --config",
            ),
            // A semicolon separates several faults there, not a hint.
            ConfigError::Invalid(_) => Self {
                exit: Exit::Failed,
                message: error.to_string(),
                hint: None,
            },
            ConfigError::UnknownKeys(keys) if keys.len() > 1 => Self::failed_with(
                error.to_string(),
                "correct or remove them; `tillbox config show` lists the known keys",
            ),
            _ => Self::failed(error.to_string()),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn splits_problem_into_message_and_hint() {
        let problem =
            json!({"detail": "no tenant `a`; `tillbox tenant list` lists them", "errors": []});
        let hint = "`tillbox tenant list` lists them";
        assert_eq!(
            Failure::of_problem(&problem),
            Failure::failed_with("no tenant `a`", hint)
        );
        let problem = json!({"detail": "see errors", "errors": [{"pointer": "/a",
            "detail": "is bad"}, {"pointer": "/b/0", "detail": "too"}]});
        assert_eq!(Failure::of_problem(&problem).message, "a: is bad; b/0: too");
    }
}
