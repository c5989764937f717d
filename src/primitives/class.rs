//! Why a rule refused, in the few kinds that a caller can act upon.
//!
//! A command's error enum keeps the facts; its [`Class`] is all that `http/problem.rs` needs to
//! choose a status and all that `worker` needs to choose between retry and discard. There is no
//! default class: a new variant has to say what it is.

use serde_json::{Map, Value};

/// The kind of a refusal or fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request cannot be read at all (bad JSON, bad UTF-8, bad id in the path).
    Malformed,
    /// The request can be read, but a value in it is not acceptable.
    Invalid,
    /// No credentials, or ones that are not valid.
    Unauthenticated,
    /// A payment was declined by whoever decides on it.
    Declined,
    /// The caller is known and may not do this.
    Forbidden,
    /// There is no such thing in this store.
    NotFound,
    /// The state of things does not allow it now.
    Conflict,
    /// The caller's copy is out of date (`If-Match`).
    Stale,
    /// The service or this one store cannot answer for the moment: trying again later is right.
    Unavailable,
    /// The disk is full: nothing was written.
    StorageFull,
    /// A fault of ours.
    Internal,
}

/// What every error that can reach a caller has to say about itself.
///
/// `Display` is the sentence for a person (what is wrong and what to do); it never prints the
/// source.
pub trait Refusal: std::error::Error {
    /// Its kind.
    fn class(&self) -> Class;
    /// Its stable, documented code in `snake_case`.
    fn code(&self) -> &'static str;
    /// Facts for a program, added to the problem document as members of their own.
    fn facts(&self) -> Map<String, Value> {
        Map::new()
    }
}

/// An error and its causes in one line. Ours do not print their source; others' do, and what has
/// been said is not said again.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !says(&text, &cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}

/// Whether a text has another in it, and not as a part of a word.
fn says(text: &str, cause: &str) -> bool {
    let is_word = |next: Option<char>| next.is_some_and(char::is_alphanumeric);
    let mut places = text.match_indices(cause);
    cause.is_empty()
        || places.any(|(at, _)| {
            !is_word(text[..at].chars().next_back())
                && !is_word(text[at + cause.len()..].chars().next())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prints its source if it is told to, as many libraries do.
    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Said {
        text: &'static str,
        source: Option<Box<Said>>,
    }

    fn said(texts: &[&'static str]) -> Option<Box<Said>> {
        let (text, causes) = texts.split_first()?;
        let source = said(causes);
        Some(Box::new(Said { text, source }))
    }

    #[test]
    fn a_cause_is_said_once() {
        for (texts, line) in [
            (&["not sent"][..], "not sent"),
            (
                &["not sent", "no way", "cut off"],
                "not sent: no way: cut off",
            ),
            (
                &["not sent", "no way: cut off", "cut off"],
                "not sent: no way: cut off",
            ),
            (
                &["not sent: no way: cut off", "no way: cut off", "cut off"],
                "not sent: no way: cut off",
            ),
            (&["not sent (cut off)", "cut off"], "not sent (cut off)"),
            (
                &["no answer of timeout.example", "time"],
                "no answer of timeout.example: time",
            ),
        ] {
            assert_eq!(chain(&*said(texts).unwrap()), line);
        }
    }
}
