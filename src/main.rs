//! The binary: arguments in, exit code out. All else is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// What one thread hands to another (a request to a writer, an answer to a socket) is freed on
/// another one than it was taken on, which the system's allocator does slowly: with this one a sale
/// takes a tenth less.
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tillbox::cli::run()
}
