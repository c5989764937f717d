//! A panic is a line in the log like any other trouble: where it came from, and on which thread.
//! What becomes of it (a request that is rolled back, a job that failed) is said by whoever catches
//! it.

use std::backtrace::{Backtrace, BacktraceStatus};

use crate::storage::writer::panic_text;

/// Has panics logged from now on, in the place of the text that the standard library prints.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let location = panic.location().map(tracing::field::display);
        let text = panic_text(panic.payload());
        // As elsewhere, RUST_BACKTRACE asks for it.
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured)
            .then(|| tracing::field::display(&backtrace));
        tracing::error!(
            location,
            thread = thread.name(),
            panic = text,
            backtrace,
            "panicked"
        );
    }));
}
