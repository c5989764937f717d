//! Gathers what is wrong with a body, so that the caller is told everything at once.

use super::problem::{Fault, Problem};

/// The faults found so far.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Keeps a value, or notes what is wrong with it.
    pub fn take<T, E: std::fmt::Display>(
        &mut self,
        pointer: impl Into<String>,
        value: Result<T, E>,
    ) -> Option<T> {
        value
            .map_err(|error| self.note(pointer, "invalid", error.to_string()))
            .ok()
    }

    /// As [`take`](Self::take), for a value that may be left out.
    pub fn optional<T, E: std::fmt::Display>(
        &mut self,
        pointer: impl Into<String>,
        value: Option<Result<T, E>>,
    ) -> Option<Option<T>> {
        match value {
            None => Some(None),
            Some(value) => self.take(pointer, value).map(Some),
        }
    }

    /// Notes a fault.
    pub fn note(
        &mut self,
        pointer: impl Into<String>,
        code: &'static str,
        detail: impl Into<String>,
    ) {
        self.0.push(Fault {
            pointer: pointer.into(),
            code,
            detail: detail.into(),
        });
    }

    /// The command, or all that was wrong with it in one line: for the rows of a list.
    ///
    /// # Errors
    /// The line.
    pub fn finish_in_a_line<C>(self, command: Option<C>) -> Result<C, String> {
        match command {
            Some(command) if self.0.is_empty() => Ok(command),
            _ => {
                let texts: Vec<String> = self
                    .0
                    .iter()
                    .map(|fault| format!("{} {}", fault.pointer, fault.detail))
                    .collect();
                Err(texts.join("; "))
            }
        }
    }

    /// The command, if nothing was wrong.
    ///
    /// # Errors
    /// The problem document with all faults.
    pub fn finish<C>(self, command: Option<C>) -> Result<C, Problem> {
        match command {
            Some(command) if self.0.is_empty() => Ok(command),
            _ => Err(Problem::invalid(self.0)),
        }
    }
}
