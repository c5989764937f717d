//! The write interface of command functions. One parameter carries the transaction, its instant,
//! its origin and its source of ids.

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rusqlite::{Connection, Params, Row};

use super::after_commit::AfterCommit;
use super::file::PAGE_BYTES;
use super::shared::Shared;
use super::{FileId, FileKind, Statement, StorageError, Tenant, View, Wake};
use crate::primitives::id::TenantId;
use crate::primitives::{Entropy, Id, Kind, Origin};

/// A unit of work on one file. Its effects are committed as a whole or not at all.
///
/// A `Work` dereferences to a [`View`] and can read everything that a view can.
pub struct Work<'c, K: FileKind> {
    view: View<'c, K>,
    file_id: FileId,
    entropy: &'c dyn Entropy,
    origin: Origin,
    after: AfterCommit,
}

/// The number of rows that a change must touch; another number rolls the work back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    Exactly(usize),
    AtMostOne,
    Any,
}

impl<'c, K: FileKind> Work<'c, K> {
    pub(super) fn new(conn: &'c Connection, shared: &'c Shared, origin: Origin) -> Self {
        let view = View::new(conn, &shared.stats, shared.clock.now(), true);
        Self {
            view,
            file_id: shared.file_id,
            entropy: shared.entropy.as_ref(),
            origin,
            after: AfterCommit::default(),
        }
    }

    pub(super) fn into_after_commit(self) -> AfterCommit {
        self.after
    }

    /// The identity of the file: the tenant's id, for log lines.
    pub const fn file_id(&self) -> FileId {
        self.file_id
    }

    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    pub const fn entropy(&self) -> &'c dyn Entropy {
        self.entropy
    }

    pub fn new_id<I: Kind>(&self) -> Id<I> {
        Id::new(self.now(), self.entropy)
    }

    /// Inserts one row. An existing row is a `Constraint` error: rules check before they insert.
    pub fn insert(
        &mut self,
        statement: &Statement,
        params: impl Params,
    ) -> Result<(), StorageError> {
        self.change(statement, params, Rows::Exactly(1)).map(drop)
    }

    /// Inserts one row and returns its rowid.
    pub fn insert_at_end(
        &mut self,
        statement: &Statement,
        params: impl Params,
    ) -> Result<i64, StorageError> {
        self.insert(statement, params)?;
        Ok(self.view.conn.last_insert_rowid())
    }

    /// Runs an `UPDATE` or `DELETE` (or an `INSERT … ON CONFLICT`) and returns the number of
    /// touched rows; `UnexpectedRows` when it violates `rows`.
    pub fn change(
        &mut self,
        statement: &Statement,
        params: impl Params,
        rows: Rows,
    ) -> Result<usize, StorageError> {
        self.require_transaction()?;
        let touched = self
            .view
            .run(statement, |prepared| prepared.execute(params));
        let touched = touched.inspect_err(|error| self.log_violation(error))?;
        let is_expected = match rows {
            Rows::Exactly(count) => touched == count,
            Rows::AtMostOne => touched <= 1,
            Rows::Any => true,
        };
        if is_expected {
            Ok(touched)
        } else {
            Err(StorageError::unexpected_rows(statement.name()))
        }
    }

    /// Logs an attempt to change final data, which only a fault of this program can cause. Nothing
    /// was changed.
    fn log_violation(&self, error: &StorageError) {
        if let Some(message) = error.immutable() {
            let tenant_id = (K::NAME == Tenant::NAME)
                .then(|| tracing::field::display(TenantId::from_bytes(self.file_id)));
            let (origin, statement) = (self.origin(), error.statement());
            tracing::warn!(target: "security", request_id = origin.request_id, tenant_id,
                actor = %origin.actor, statement, error = message, "immutability violation");
        }
    }

    /// Runs a change that returns rows (`… RETURNING …`).
    pub fn returning<T>(
        &mut self,
        statement: &Statement,
        params: impl Params,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StorageError> {
        self.require_transaction()?;
        self.view.all(statement, params, map)
    }

    /// Fails once SQLite has rolled back the whole transaction (disk full, I/O error): a later
    /// statement would commit on its own if a caller ignored the failure.
    fn require_transaction(&self) -> Result<(), StorageError> {
        if self.view.conn.is_autocommit() {
            Err(StorageError::new(self.view.stats.last_write_fault()))
        } else {
            Ok(())
        }
    }

    /// Runs `f` in a savepoint: its failure or panic rolls back only its own writes. Fails also
    /// when SQLite has rolled back the whole transaction meanwhile (disk full), because the
    /// caller's earlier writes are lost then.
    pub fn nested<R, E: From<StorageError>>(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<R, E>,
    ) -> Result<R, E> {
        self.require_transaction()?;
        let run = |sql| {
            self.view
                .conn
                .execute_batch(sql)
                .map_err(StorageError::from)
        };
        run("SAVEPOINT nested")?;
        let (actions, wakes) = (self.after.actions.len(), self.after.wakes.len());
        let result = catch_unwind(AssertUnwindSafe(|| f(self)));
        self.require_transaction()?;
        let run = |sql| {
            self.view
                .conn
                .execute_batch(sql)
                .map_err(StorageError::from)
        };
        if matches!(result, Ok(Ok(_))) {
            run("RELEASE nested")?;
        } else {
            run("ROLLBACK TO nested; RELEASE nested")?;
            self.after.actions.truncate(actions);
            self.after.wakes.truncate(wakes);
        }
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Gives at most `pages` free pages at the end of the file back to the system, while more than
    /// `kept` are free; returns their number. The next checkpoint shrinks the file.
    pub fn give_back_space(&mut self, pages: u32, kept: u32) -> Result<u32, StorageError> {
        self.require_transaction()?;
        let conn = self.view.conn;
        let number = |sql: &'static str| {
            conn.query_row(sql, [], |row| row.get::<_, u32>(0))
                .map_err(StorageError::from)
        };
        let free = number("PRAGMA freelist_count")?;
        if free <= kept {
            return Ok(0);
        }
        // Each step of the statement gives one page back.
        let mut vacuum = conn.prepare(&format!(
            "PRAGMA incremental_vacuum({})",
            pages.min(free - kept)
        ))?;
        let mut steps = vacuum.query([])?;
        while steps.next()?.is_some() {}
        let (left, size) = (
            number("PRAGMA freelist_count")?,
            number("PRAGMA page_count")?,
        );
        self.view
            .stats
            .allow_shrink_to(u64::from(size) * PAGE_BYTES);
        Ok(free - left.min(free))
    }

    /// Runs `action` once the work is on disk: a log line must not report a fact that was rolled
    /// back.
    pub fn on_commit(&mut self, action: impl FnOnce() + Send + 'static) {
        self.after.actions.push(Box::new(action));
    }

    /// Hints that a job is due, once the work is on disk.
    pub fn wake(&mut self, wake: Wake) {
        self.after.wakes.push(wake);
    }
}

impl<'c, K: FileKind> Deref for Work<'c, K> {
    type Target = View<'c, K>;
    fn deref(&self) -> &Self::Target {
        &self.view
    }
}
