//! Who gets into which shop.

mod access;
mod canaries;
mod isolation;
mod matrix;
