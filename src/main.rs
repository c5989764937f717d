//! Binary entry point: passes the arguments to the library and returns its exit code.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Messages between threads (a request to a writer, an answer to a socket) are freed on another
/// thread than the one that allocated them, which is slow in the system allocator. mimalloc makes a
/// sale about 10 % faster.
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tillbox::cli::run()
}
