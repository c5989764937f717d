//! Reading: what a query function gets. A view stands inside one transaction, so all that it reads
//! is of one moment.

use std::marker::PhantomData;

use rusqlite::{Connection, Params, Row};

use super::{Statement, Stats, StorageError};
use crate::primitives::Timestamp;

/// What `PRAGMA auto_vacuum` says of a file that gives pages back when it is told to.
const INCREMENTAL: u32 = 2;

/// A consistent look at one file.
pub struct View<'c, K> {
    pub(super) conn: &'c Connection,
    pub(super) stats: &'c Stats,
    now: Timestamp,
    writes: bool,
    kind: PhantomData<fn() -> K>,
}

impl<'c, K> View<'c, K> {
    /// A view for reading, or (`writes`) the part of a `Work` that runs statements.
    pub(super) fn new(
        conn: &'c Connection,
        stats: &'c Stats,
        now: Timestamp,
        writes: bool,
    ) -> Self {
        Self {
            conn,
            stats,
            now,
            writes,
            kind: PhantomData,
        }
    }

    /// The instant of the transaction.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// All rows of `statement`.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn all<T>(
        &self,
        statement: &Statement,
        params: impl Params,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StorageError> {
        self.run(statement, |prepared| {
            prepared.query_map(params, map)?.collect()
        })
    }

    /// The first row of `statement`, if there is one.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn find<T>(
        &self,
        statement: &Statement,
        params: impl Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StorageError> {
        self.run(statement, |prepared| {
            prepared.query(params)?.next()?.map(map).transpose()
        })
    }

    /// The only row of `statement`, such as a count's.
    ///
    /// # Errors
    /// [`StorageError`], also when there is no row.
    pub fn one<T>(
        &self,
        statement: &Statement,
        params: impl Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StorageError> {
        self.run(statement, |prepared| prepared.query_row(params, map))
    }

    /// How many pages of the file are free and could be given back to the disk; none, in a file
    /// that was made to keep them.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn free_pages(&self) -> Result<u32, StorageError> {
        let number = |sql: &'static str| self.conn.query_row(sql, [], |row| row.get::<_, u32>(0));
        let gives_back = number("PRAGMA auto_vacuum")? == INCREMENTAL;
        Ok(if gives_back {
            number("PRAGMA freelist_count")?
        } else {
            0
        })
    }

    pub(super) fn run<T>(
        &self,
        statement: &Statement,
        f: impl FnOnce(&mut rusqlite::CachedStatement<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StorageError> {
        self.stats.statement();
        let result = self
            .conn
            .prepare_cached(statement.sql())
            .and_then(|mut prepared| f(&mut prepared));
        result.map_err(|error| {
            let error = StorageError::sqlite(error, statement.name());
            self.stats.fault(error.kind(), self.writes);
            if self.writes && error.is_disk_fault() {
                self.stats.disk_fault();
            }
            error
        })
    }
}
