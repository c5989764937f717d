//! A log line: its fields and its formats.
//!
//! A value from a client must not be able to end the line or to control the terminal: JSON escapes
//! control characters itself, the console format does it here.

use crate::primitives::chain;
use crate::primitives::limits::{LOG_ERROR_BYTES_MAX, LOG_TEXT_BYTES_MAX};
use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write as _};
use tracing::Level;
use tracing::field::{Field, Visit};

/// Fields with text of the program or the system, not of a caller: errors with their causes and
/// advice, backtraces.
const PROGRAM_FIELDS: [&str; 10] = [
    "message",
    "file",
    "error",
    "source",
    "panic",
    "backtrace",
    "reason",
    "reasons",
    "first",
    "because",
];

/// The keys of every line. A field with such a name gets a trailing `_`.
const RESERVED: [&str; 3] = ["timestamp", "level", "target"];

/// The target of events that also go to the security file.
pub const SECURITY: &str = "security";

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Json,
    Console {
        ansi: bool,
    },
    /// For the journal, which adds its own timestamp: with a priority prefix and without colours.
    Journal {
        /// A flat JSON object, or else a line for a person.
        json: bool,
    },
}

/// The fields of a span or an event, in the order in which they were recorded.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    pub fn of(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        Self(fields.into_iter().collect())
    }

    fn set(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|(own, _)| *own == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let index = self.0.iter().position(|(own, _)| *own == name)?;
        Some(self.0.remove(index).1)
    }

    /// Adds the fields of `outer` that are missing. A span's field `message` is ignored.
    pub fn add_missing(&mut self, outer: &Self) {
        for (name, value) in &outer.0 {
            if *name != "message" && !self.0.iter().any(|(own, _)| own == name) {
                self.0.push((name, value.clone()));
            }
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), truncate(field.name(), value).into());
    }

    // Our errors do not print their source, so the chain is formatted here.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.set(field.name(), truncate(field.name(), &chain(value)).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(
            field.name(),
            truncate(field.name(), &format!("{value:?}")).into(),
        );
    }
}

/// An event, ready for formatting.
pub(super) struct Line {
    timestamp: String,
    level: Level,
    pub target: String,
    message: String,
    fields: Fields,
}

impl Line {
    /// `now_ms` is the time in milliseconds since 1970 UTC.
    pub fn new(now_ms: i64, level: Level, target: &str, mut fields: Fields) -> Self {
        let timestamp = Timestamp::from_millisecond(now_ms).unwrap_or(Timestamp::UNIX_EPOCH);
        // Events of the `log` crate all have the target "log" and carry their own target as a
        // field.
        let bridged = fields.take("log.target");
        fields.0.retain(|(name, _)| !name.starts_with("log."));
        Self {
            timestamp: format!("{timestamp:.3}"),
            level,
            target: bridged.map_or_else(|| target.to_owned(), plain),
            message: fields.take("message").map_or_else(String::new, plain),
            fields,
        }
    }

    pub fn write(&self, shape: Shape) -> String {
        match shape {
            Shape::Json => self.json(),
            Shape::Console { ansi } => format!("{} {}", self.timestamp, self.console(ansi)),
            // The journal adds its own time and reads the number as the line's priority.
            Shape::Journal { json: true } => format!("<{}>{}", self.priority(), self.json()),
            Shape::Journal { json: false } => {
                format!("<{}>{}", self.priority(), self.console(false))
            }
        }
    }

    /// The syslog number of the level, as in `sd-daemon(3)`.
    const fn priority(&self) -> u8 {
        match self.level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        }
    }

    fn json(&self) -> String {
        let mut out = String::with_capacity(256);
        let text = |text: &str| Value::from(text);
        out.push('{');
        let head = [
            ("timestamp", text(&self.timestamp)),
            ("level", text(self.level.as_str())),
            ("target", text(&self.target)),
            ("message", text(&self.message)),
        ];
        for (name, value) in &head {
            json_member(&mut out, name, "", value);
        }
        for (name, value) in &self.fields.0 {
            let tail = if RESERVED.contains(name) { "_" } else { "" };
            json_member(&mut out, name, tail, value);
        }
        out.push('}');
        out
    }

    fn console(&self, ansi: bool) -> String {
        let (on, off) = match (ansi, self.level) {
            (false, _) => ("", ""),
            (true, Level::ERROR) => ("\x1b[31m", "\x1b[0m"),
            (true, Level::WARN) => ("\x1b[33m", "\x1b[0m"),
            (true, Level::INFO) => ("\x1b[32m", "\x1b[0m"),
            (true, _) => ("\x1b[2m", "\x1b[0m"),
        };
        let mut out = format!("{on}{:>5}{off} ", self.level);
        push_visible(&mut out, &self.message);
        for (name, value) in &self.fields.0 {
            out.push(' ');
            out.push_str(name);
            out.push('=');
            match value {
                Value::String(text) if !text.is_empty() && !text.contains([' ', '"', '=']) => {
                    push_visible(&mut out, text);
                }
                other => push_visible(&mut out, &other.to_string()),
            }
        }
        out
    }
}

fn json_member(out: &mut String, name: &str, tail: &str, value: &Value) {
    if !out.ends_with('{') {
        out.push(',');
    }
    // A field name may be any quoted text in the source, so it is escaped like a value.
    let name = Value::from(format!("{name}{tail}"));
    write!(out, "{name}:{value}").expect("writing to a String cannot fail");
}

/// Cuts the text of a field to its maximum length, including the ellipsis.
fn truncate<'a>(field: &str, text: &'a str) -> Cow<'a, str> {
    const ELLIPSIS: &str = "…";
    let max = match PROGRAM_FIELDS.contains(&field) {
        true => LOG_ERROR_BYTES_MAX,
        false => LOG_TEXT_BYTES_MAX,
    };
    if text.len() <= max {
        return text.into();
    }
    let end = text.floor_char_boundary(max - ELLIPSIS.len());
    format!("{}{ELLIPSIS}", &text[..end]).into()
}

/// Appends text with control characters written as `\u{1b}`; everything else stays readable.
fn push_visible(out: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
}

fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}
