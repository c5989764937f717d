//! Collects the faults of a request, so that the caller gets all of them at once.

use super::problem::{Fault, Problem};

/// The faults collected so far.
#[derive(Debug, Default)]
pub struct RequestFaults(Vec<Fault>);

impl RequestFaults {
    /// Returns a valid value, or records its fault.
    pub fn check<T, E: std::fmt::Display>(
        &mut self,
        pointer: impl Into<String>,
        value: Result<T, E>,
    ) -> Option<T> {
        value
            .map_err(|error| self.add(pointer, "invalid", error.to_string()))
            .ok()
    }

    /// As [`check`](Self::check), for a value that may be left out.
    pub fn optional<T, E: std::fmt::Display>(
        &mut self,
        pointer: impl Into<String>,
        value: Option<Result<T, E>>,
    ) -> Option<Option<T>> {
        match value {
            None => Some(None),
            Some(value) => self.check(pointer, value).map(Some),
        }
    }

    /// Records a fault.
    pub fn add(
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

    /// Returns the command, or its faults in one line of text: for the rows of an import.
    pub fn finish_as_line<C>(self, command: Option<C>) -> Result<C, String> {
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

    /// Returns the command if there are no faults, otherwise the problem with all faults.
    pub fn finish<C>(self, command: Option<C>) -> Result<C, Problem> {
        match command {
            Some(command) if self.0.is_empty() => Ok(command),
            _ => Err(Problem::invalid(self.0)),
        }
    }
}
