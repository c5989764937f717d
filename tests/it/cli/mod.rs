//! The commands of the program, run as a user runs them.

mod config;
mod health;
mod import;
mod integrity;
mod kill;
mod queue;
mod retention;
pub mod run;
mod serve;
mod tenants;
