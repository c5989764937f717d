//! The commands of the program, run as a user runs them.

mod alive;
mod config;
mod health;
mod import;
mod integrity;
mod kill;
pub mod logs;
mod queue;
mod retention;
pub mod run;
mod serve;
mod tenants;
mod wake;
