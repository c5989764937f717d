//! L1: SQLite mechanics. The only user of `rusqlite::Connection` and of r2d2.
//!
//! The interface is small: a [`Database`] accepts closures, a [`View`] reads and a [`Work`] writes.
//! Other layers never get a connection, an open transaction or dynamic SQL.
//!
//! Deliberately absent: a write pool (one writer per file, see [`writer`]), ATTACH (not atomic
//! across files in WAL mode), repositories and an ORM.

mod after_commit;
pub mod data_dir;
pub mod database;
pub mod error;
pub mod file;
pub mod identity;
pub mod kind;
pub mod migrate;
mod migration;
pub mod readers;
mod shared;
pub mod space;
mod sql_types;
pub mod statement;
pub mod stats;
pub mod view;
pub mod wal;
pub mod work;
pub mod writer;

pub use after_commit::Wake;
pub use data_dir::DataDir;
pub use database::{Answer, Database, Settings};
pub use error::{StorageError, StorageErrorKind};
pub use file::Check;
pub use identity::FileId;
pub use kind::{FileKind, Landlord, Tenant};
pub use migration::{Migration, Rebuild};
pub use readers::Readers;
pub use rusqlite::{Row, named_params, params};
pub use space::{DiskSpace, Space};
pub use sql_types::{measure, money, money_if_any};
pub use statement::Statement;
pub(crate) use statement::{statements, text_enum};
pub use stats::Stats;
pub use view::View;
pub use work::{Rows, Work};

/// A write transaction of a tenant's file.
pub type TenantWork<'c> = Work<'c, Tenant>;
/// A read transaction of a tenant's file.
pub type TenantView<'c> = View<'c, Tenant>;
/// A write transaction of the landlord's file.
pub type LandlordWork<'c> = Work<'c, Landlord>;
/// A read transaction of the landlord's file.
pub type LandlordView<'c> = View<'c, Landlord>;
