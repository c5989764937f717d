//! Who gets into which shop.

mod access;
mod canaries;
mod checkpoints;
mod isolation;
mod matrix;
