//! The commands of the program, run as a user runs them.

mod acknowledged_sales_survive_kill;
mod alive;
mod config;
mod health;
mod import;
mod integrity;
pub mod logs;
mod queue;
mod retention;
pub mod run;
mod serve;
mod tenants;
mod wake;
