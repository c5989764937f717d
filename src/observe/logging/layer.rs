//! The logging layer: stores the fields of spans, and writes one line per event to each sink.
//!
//! There is one layer for all sinks, because a line is then formatted once, and because layers of
//! the same kind would overwrite each other's span fields.

use super::line::{Fields, Line, SECURITY, Shape};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// A destination of log lines.
#[derive(Debug)]
pub struct Sink {
    pub shape: Shape,
    /// Whether only security events are written there.
    pub security_only: bool,
    /// Receives each line in one `write` call.
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
        // From the innermost span outwards: the innermost value of a field wins.
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
            let accepts = |sink: &&Sink| !sink.security_only || line.target == SECURITY;
            for sink in self
                .sinks
                .iter()
                .filter(|sink| sink.shape == shape)
                .filter(accepts)
            {
                use std::io::Write as _;
                // There is no place to report a failed write.
                let _ = sink.writer.make_writer().write_all(&bytes);
            }
        }
    }
}

impl Lines {
    /// The distinct formats, so that each line is formatted once per format.
    fn shapes(&self) -> impl Iterator<Item = Shape> {
        let shape_at = |index: usize| self.sinks[index].shape;
        (0..self.sinks.len())
            .filter(move |index| !(0..*index).any(|before| shape_at(before) == shape_at(*index)))
            .map(move |index| self.sinks[index].shape)
    }
}
