//! L4: the landlord's file, apart from the directory of tenants, and the rules about it.

pub mod check_results;
pub mod clock;
pub mod integrity;
pub mod published_rates;
pub mod rate_buckets;
pub mod retention;
pub mod task_runs;

pub use clock::{ClockSuspicion, ClockWatch};
pub use published_rates::PublishedRates;
pub use task_runs::TaskRuns;

/// All SQL statements of this layer that run on the landlord's file, for the test that prepares
/// them.
pub const STATEMENTS: &[&[crate::storage::Statement]] = &[
    check_results::STATEMENTS,
    clock::STATEMENTS,
    integrity::STATEMENTS,
    published_rates::STATEMENTS,
    rate_buckets::STATEMENTS,
    retention::STATEMENTS,
    task_runs::STATEMENTS,
];
