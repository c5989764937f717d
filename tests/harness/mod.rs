//! The harness that the integration tests, the laboratory, the attack program and the benchmarks
//! share: the real program, a client, a shop. Each program uses a part of it.

pub mod answer;
pub mod process;
pub mod shop;

pub use answer::Answer;
