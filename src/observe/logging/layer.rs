//! The one layer: it remembers the fields of spans, and writes a line per event to each sink.
//!
//! One layer for all sinks, because a line is then put together once, and because layers of the
//! same kind would fight over the fields that a span keeps.

use super::SECURITY;
use super::line::{Fields, Line};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One flat JSON object.
    Json,
    /// Time, level, message and fields, for a person.
    Console {
        /// Whether the level is coloured.
        ansi: bool,
    },
    /// For the journal, which has times of its own: behind a priority and without colours.
    Journal {
        /// As a flat JSON object, or as a line for a person.
        json: bool,
    },
}

/// One place that lines go to.
#[derive(Debug)]
pub struct Sink {
    /// How the lines look there.
    pub shape: Shape,
    /// Whether only security events go there.
    pub security_only: bool,
    /// Where; each line is one `write` call.
    pub writer: BoxMakeWriter,
}

pub(super) struct Lines {
    pub now_ms: fn() -> i64,
    pub sinks: Vec<Sink>,
}

impl<S> Layer<S> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        // From the inside out: the innermost span that knows a field wins.
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.add_missing(outer);
            }
        }
        let line = Line::new(
            (self.now_ms)(),
            *metadata.level(),
            metadata.target(),
            fields,
        );
        for shape in self.shapes() {
            let mut bytes = line.write(shape).into_bytes();
            bytes.push(b'\n');
            let takes = |sink: &&Sink| !sink.security_only || line.target == SECURITY;
            for sink in self
                .sinks
                .iter()
                .filter(|sink| sink.shape == shape)
                .filter(takes)
            {
                use std::io::Write as _;
                // There is nowhere to report to that a line could not be written.
                let _ = sink.writer.make_writer().write_all(&bytes);
            }
        }
    }
}

impl Lines {
    /// The distinct shapes, so that no line is put together twice.
    fn shapes(&self) -> impl Iterator<Item = Shape> {
        let shape_at = |index: usize| self.sinks[index].shape;
        (0..self.sinks.len())
            .filter(move |index| !(0..*index).any(|before| shape_at(before) == shape_at(*index)))
            .map(move |index| self.sinks[index].shape)
    }
}
