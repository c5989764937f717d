//! The end of a command whose runtime cannot wake its threads: when the system refuses the write
//! that does so (an error of its eventfd), tokio panics in whichever thread wanted to wake another,
//! and the other one sleeps for ever. Nothing in this process can be waited for then, so it ends at
//! once. Files survive that as they survive a kill.

use std::panic::PanicHookInfo;

use super::failure::Failure;
use crate::storage::writer::panic_text;

/// The beginning of tokio's panic in that case; a test breaks a real eventfd, so that a change of
/// it shows.
const CANNOT_WAKE: &str = "failed to wake I/O driver";

/// ChainEnds the process with a line and exit code 1 when its threads cannot be woken, from now on.
pub fn fail_when_impossible() {
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
        "the system does not let this command wake its own threads ({cause}); it is not known \
         whether the work was done: check, and repeat the command"
    ))
}
