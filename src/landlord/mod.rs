//! L4: the house. What is kept in the landlord's file beyond who exists, and the rules about it.

pub mod integrity;
pub mod retention;

/// Every SQL text of this layer that runs on the landlord's file, for the test that prepares them all.
pub const STATEMENTS: &[&[crate::storage::Statement]] =
    &[integrity::STATEMENTS, retention::STATEMENTS];
