//! Durability and integrity of files.

mod books;
mod group_commit;
mod identity;
mod middle_column;
mod open_files;
mod own_files;
mod plans;
mod provisioning;
mod schema;
