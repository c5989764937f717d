//! Exit of a command whose runtime cannot wake its threads. When the system refuses a write to the
//! runtime's eventfd, tokio panics in the waking thread, and the other thread sleeps forever. The
//! process then exits at once; files survive this as they survive a kill.

use std::panic::PanicHookInfo;

use super::failure::Failure;
use crate::storage::writer::panic_text;

/// The beginning of tokio's panic message; a test breaks a real eventfd and so detects a changed
/// message.
const CANNOT_WAKE: &str = "failed to wake I/O driver";

/// Installs a panic hook that exits with an error line and exit code 1 when threads cannot be
/// woken.
pub fn exit_when_threads_cannot_wake() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if is_wake_failure(panic) {
            std::process::exit(failure(panic).report() as i32);
        }
        default(panic);
    }));
}

fn is_wake_failure(panic: &PanicHookInfo<'_>) -> bool {
    panic_text(panic.payload()).starts_with(CANNOT_WAKE)
}

fn failure(panic: &PanicHookInfo<'_>) -> Failure {
    let cause = panic_text(panic.payload());
    Failure::in_one_line(format!(
        "the system does not let this command wake its own threads ({cause}); the outcome is \
         unknown: check the result, then repeat the command if necessary"
    ))
}
