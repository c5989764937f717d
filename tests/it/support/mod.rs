//! The test harness. A test states an action and its expected result; the harness hides the
//! mechanics.

pub mod jobs;
pub mod logs;
pub mod sale;
pub mod shop;
pub mod world;

pub use crate::harness::{Answer, answer, process};
pub use logs::logs;
pub use shop::{TestApp, TestShop};
pub use world::World;

/// Runs blocking code on a thread of its own, from a plain test or an async one.
pub fn blocking<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| scope.spawn(f).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests;
