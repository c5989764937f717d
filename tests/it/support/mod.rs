//! What the tests stand on. A test says what is done and what must come of it; how that is done is
//! here.

pub mod answer;
pub mod jobs;
pub mod logs;
pub mod process;
pub mod sale;
pub mod shop;
pub mod world;

pub use answer::Answer;
pub use logs::logs;
pub use shop::{TestApp, TestShop};
pub use world::World;

/// Runs what blocks where blocking is allowed, from a plain test and from an async one alike.
pub fn blocking<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| scope.spawn(f).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests;
