//! Durability and integrity of files.

mod books;
mod group_commit;
mod identity;
mod open_files;
mod own_files;
mod plans;
mod provisioning;
mod schema;
