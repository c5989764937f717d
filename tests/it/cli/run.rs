//! A run of the program and its results.

use std::path::Path;

use serde_json::Value;

use crate::support::process::tillbox;

/// The results of a run.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command over a data directory.
pub fn run(data_dir: &Path, args: &[&str]) -> Ran {
    let output = tillbox(data_dir, args).output().expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    Ran {
        code: output.status.code().expect("no signal"),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

impl Ran {
    /// Asserts the exit code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// The standard output as JSON. Asserts that standard error is empty.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The lines of a failure: the error, then the hint.
    #[track_caller]
    pub fn failure(&self) -> Vec<&str> {
        let lines: Vec<&str> = self.stderr.lines().collect();
        assert!(
            lines
                .first()
                .is_some_and(|line| line.starts_with("error: ")),
            "{self:?}"
        );
        assert_eq!(self.stdout, "", "{self:?}");
        lines
    }
}
