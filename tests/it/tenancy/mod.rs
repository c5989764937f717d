//! Access to tenants.

mod access;
mod canaries;
mod checkpoints;
mod matrix;
mod tenant_isolation;
