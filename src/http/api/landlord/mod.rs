//! `/v1/landlord`: the operator's calls, one file per resource.

pub mod discarded;
pub mod jobs;
pub mod keys;
pub mod queue;
pub mod retention;
pub mod tenant_walk;
pub mod tenants;
