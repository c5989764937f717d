//! Who gets into which shop.

mod access;
mod canaries;
mod checkpoints;
mod matrix;
mod tenant_isolation;
