//! L1: the mechanics of SQLite. The only user of `rusqlite::Connection` and of r2d2.
//!
//! What the layers above get is small: a [`Database`] that takes closures, a [`View`] to read with
//! and a [`Work`] to write with. What they never get is a connection, a transaction that they could
//! forget, or SQL that is pieced together.
//!
//! Deliberately absent: a write pool (one writer per file, see [`writer`]), ATTACH (not atomic over
//! files in WAL mode), repositories and an ORM.

pub mod data_dir;
pub mod database;
pub mod error;
pub mod file;
pub mod kind;
pub mod migrate;
pub mod readers;
pub mod space;
mod sql_types;
pub mod statement;
pub mod stats;
pub mod view;
pub mod wal;
pub mod work;
pub mod writer;

pub use data_dir::DataDir;
pub use database::{Answer, Database, Settings};
pub use error::{StorageError, StorageErrorKind};
pub use file::{Check, FileId};
pub use kind::{FileKind, Landlord, Tenant};
pub use readers::Readers;
pub use rusqlite::{Row, named_params, params};
pub use space::{Room, Space};
pub use sql_types::{money, money_if_any};
pub use statement::Statement;
pub(crate) use statement::{statements, text_enum};
pub use stats::Stats;
pub use view::View;
pub use work::{Rows, Wake, Work};

/// Writes to a tenant's file.
pub type TenantWork<'c> = Work<'c, Tenant>;
/// Reads of a tenant's file.
pub type TenantView<'c> = View<'c, Tenant>;
/// Writes to the landlord's file.
pub type LandlordWork<'c> = Work<'c, Landlord>;
/// Reads of the landlord's file.
pub type LandlordView<'c> = View<'c, Landlord>;
