//! Who gets into which shop.

mod access;
mod isolation;
mod marks;
