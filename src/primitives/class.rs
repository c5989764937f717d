//! Classes of errors: the few kinds that a caller can act upon.
//!
//! A command's error enum keeps the facts. `http/problem.rs` chooses the status by the [`Class`]
//! alone, and `worker` chooses between retry and discard by it. There is no default class: a new
//! variant must state its own.

use serde_json::{Map, Value};

/// The class of a refusal or fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request cannot be parsed (bad JSON, bad UTF-8, bad id in the path).
    Malformed,
    /// The request can be parsed, but a value in it is not acceptable.
    Invalid,
    /// Missing or invalid credentials.
    Unauthenticated,
    /// A payment was declined by the payment provider.
    Declined,
    /// The caller is authenticated but may not do this.
    Forbidden,
    /// No such resource in this tenant.
    NotFound,
    /// The current state does not allow it.
    Conflict,
    /// The caller's copy is out of date (`If-Match`).
    Stale,
    /// The service or this one tenant cannot answer at the moment; the caller should retry later.
    Unavailable,
    /// The disk is full: nothing was written.
    StorageFull,
    /// An internal fault.
    Internal,
}

/// An error that can reach a caller.
///
/// `Display` is the sentence for a person (what is wrong, then what to do); it never prints the
/// source.
pub trait Refusal: std::error::Error {
    fn class(&self) -> Class;
    /// The stable, documented code in `snake_case`.
    fn code(&self) -> &'static str;
    /// Facts for a program, added to the problem document as its own members.
    fn facts(&self) -> Map<String, Value> {
        Map::new()
    }
}

/// Declares the refusals of a module: per variant its class, code and text; then the variants that
/// pass on another refusal, and the facts.
macro_rules! refusals {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $($(#[$doc:meta])* $variant:ident $(($($tuple:tt)*))? $({ $($fields:tt)* })?:
                $class:ident $code:literal, $text:literal $(($($arg:tt)*))?;)*
        }
        $(inherits { $($inner:ident($refused:ty)),* $(,)? })?
        $(facts { $($pattern:pat => { $($fact:ident: $value:expr),* }),* $(,)? })?
    ) => {
        $(#[$meta])*
        #[derive(Debug, thiserror::Error)]
        $vis enum $name {
            $($(#[$doc])* #[error($text $(, $($arg)*)?)]
            $variant $(($($tuple)*))? $({ $($fields)* })?,)*
            $($(#[error(transparent)] $inner(#[from] $refused),)*)?
        }

        impl $crate::primitives::Refusal for $name {
            fn class(&self) -> $crate::primitives::Class {
                match self {
                    $(Self::$variant { .. } => $crate::primitives::Class::$class,)*
                    $($(Self::$inner(refused) => refused.class(),)*)?
                }
            }

            fn code(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $code,)*
                    $($(Self::$inner(refused) => refused.code(),)*)?
                }
            }

            fn facts(&self) -> serde_json::Map<String, serde_json::Value> {
                match self {
                    $($($pattern => serde_json::Map::from_iter([
                        $((stringify!($fact).to_owned(), serde_json::json!($value))),*
                    ]),)*)?
                    refused => {
                        $($(if let Self::$inner(inner) = refused { return inner.facts(); })*)?
                        let _ = refused;
                        serde_json::Map::new()
                    }
                }
            }
        }
    };
}
pub(crate) use refusals;

/// An error and its causes in one line. Our errors do not print their source; those of libraries
/// may, and a cause that was printed is not repeated.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !contains_words(&text, &cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}

/// Whether `text` contains `cause` as whole words.
fn contains_words(text: &str, cause: &str) -> bool {
    let is_word = |next: Option<char>| next.is_some_and(char::is_alphanumeric);
    let mut matches = text.match_indices(cause);
    cause.is_empty()
        || matches.any(|(at, _)| {
            !is_word(text[..at].chars().next_back())
                && !is_word(text[at + cause.len()..].chars().next())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error whose text may include its source, as in many libraries.
    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct ChainLink {
        text: &'static str,
        source: Option<Box<ChainLink>>,
    }

    fn links(texts: &[&'static str]) -> Option<Box<ChainLink>> {
        let (text, causes) = texts.split_first()?;
        let source = links(causes);
        Some(Box::new(ChainLink { text, source }))
    }

    #[test]
    fn prints_each_cause_once() {
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
            assert_eq!(chain(&*links(texts).unwrap()), line);
        }
    }
}
