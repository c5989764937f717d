//! The read interface of query functions. A view is within one transaction, so all its reads are
//! consistent.

use std::marker::PhantomData;

use rusqlite::{Connection, Params, Row};

use super::{Statement, Stats, StorageError};
use crate::primitives::Timestamp;

/// The value of `PRAGMA auto_vacuum` for files that can give pages back.
const INCREMENTAL: u32 = 2;

/// A consistent view of one file.
pub struct View<'c, K> {
    pub(super) conn: &'c Connection,
    pub(super) stats: &'c Stats,
    now: Timestamp,
    writes: bool,
    kind: PhantomData<fn() -> K>,
}

impl<'c, K> View<'c, K> {
    /// Creates a view for reading, or with `writes` the view inside a `Work`.
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

    /// The only row of `statement`, such as a count; an error when there is none.
    pub fn one<T>(
        &self,
        statement: &Statement,
        params: impl Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StorageError> {
        self.run(statement, |prepared| prepared.query_row(params, map))
    }

    /// The number of free pages that could be given back to the disk; 0 for a file that keeps them.
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
            self.stats.record_fault(error.kind(), self.writes);
            if self.writes && error.is_disk_fault() {
                self.stats.record_disk_fault();
            }
            error
        })
    }
}
