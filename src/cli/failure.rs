//! How a command ends: its exit code, and for a failure one line that says what is wrong and one
//! that says what to do.

use std::io::Write as _;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use crate::app::StartError;
use crate::config::ConfigError;

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It is done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// The arguments make no sense.
    Usage = 2,
    /// What was checked is not well.
    FoundWrong = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// It failed. By the custom of all messages here, what follows the first semicolon says what to
    /// do.
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

    /// It failed, and this is what to do.
    pub fn failed_with(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed,
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// It failed, and all of it is one line.
    pub fn in_one_line(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed,
            message: message.into(),
            hint: None,
        }
    }

    /// The arguments make no sense.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            ..Self::failed_with(message, hint)
        }
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What is wrong and what to do about it, in a line.
    pub fn whole(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}; {hint}", self.message),
            None => self.message.clone(),
        }
    }

    /// The same in the middle of an import.
    pub fn of_import(self) -> Self {
        let hint = self
            .hint
            .map(|hint| format!("{hint}; then "))
            .unwrap_or_default();
        Self {
            hint: Some(format!(
                "{hint}run the same command again: what is in already stays as it is"
            )),
            ..self
        }
    }

    /// The same where a member of the request's body was a file: whoever named the file knows it by
    /// that name.
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

    /// From a problem document.
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

    /// Prints it and gives the exit code.
    pub fn report(&self) -> Exit {
        let (error, hint) = (
            Style::new().bold().fg_color(Some(AnsiColor::Red.into())),
            Style::new().bold(),
        );
        let mut stderr = anstream::stderr().lock();
        // There is nowhere else to say it.
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
                "name the file with --config, or leave that out",
            ),
            // Several faults stand side by side there: what follows a semicolon is the next one.
            ConfigError::Invalid(_) => Self {
                exit: Exit::Failed,
                message: error.to_string(),
                hint: None,
            },
            ConfigError::UnknownKeys(keys) if keys.len() > 1 => Self::failed_with(
                error.to_string(),
                "correct or remove them; `tillbox config show` lists the keys there are",
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
    fn a_problem_is_one_line_and_its_hint() {
        let problem = json!({"detail": "there is no tenant `a`; `tillbox tenant list` shows those \
            there are", "errors": []});
        let hint = "`tillbox tenant list` shows those there are";
        assert_eq!(
            Failure::of_problem(&problem),
            Failure::failed_with("there is no tenant `a`", hint)
        );
        let problem = json!({"detail": "see errors", "errors": [{"pointer": "/a",
            "detail": "is bad"}, {"pointer": "/b/0", "detail": "too"}]});
        assert_eq!(Failure::of_problem(&problem).message, "a: is bad; b/0: too");
    }
}
