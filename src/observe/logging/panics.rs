//! Logs panics with their location and thread. The consequence (a request that is rolled back, a
//! job that failed) is logged by the code that catches the panic.

use std::backtrace::{Backtrace, BacktraceStatus};

use crate::storage::writer::panic_text;

/// Installs a panic hook that logs, in place of the standard library's text.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let location = panic.location().map(tracing::field::display);
        let text = panic_text(panic.payload());
        // Captured only when RUST_BACKTRACE asks for it.
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
