//! Who gets into which shop.

mod access;
mod canaries;
mod isolation;
mod marks;
mod matrix;
