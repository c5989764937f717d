//! Writing: what a command function gets. One parameter carries the transaction, its instant, its
//! origin and its source of ids.

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rusqlite::{Connection, Params, Row};

use super::file::PAGE_BYTES;
use super::writer::Shared;
use super::{FileId, FileKind, Statement, StorageError, Tenant, View};
use crate::primitives::id::TenantId;
use crate::primitives::{Entropy, Id, Kind, Origin, Timestamp};

/// A unit of work on one file. What it did is kept as a whole, or not at all.
///
/// Everything that a [`View`] can read, a `Work` can read as well (it dereferences to one).
pub struct Work<'c, K: FileKind> {
    view: View<'c, K>,
    file_id: FileId,
    entropy: &'c dyn Entropy,
    origin: Origin,
    after: AfterCommit,
}

/// How many rows a change must touch; another number is a broken invariant and rolls the work back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Just so many.
    Exactly(usize),
    /// None or one.
    AtMostOne,
    /// As many as there are.
    Any,
}

/// A hint that a queue has a job that is due at an instant. Losing it costs latency, never work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// The queue's name.
    pub queue: &'static str,
    /// When the job is due.
    pub at: Timestamp,
}

/// What is due once the work is on disk.
#[derive(Default)]
pub(super) struct AfterCommit {
    pub(super) actions: Vec<Box<dyn FnOnce() + Send>>,
    pub(super) wakes: Vec<Wake>,
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

    /// Which file this is: the tenant's id, for log lines.
    pub const fn file_id(&self) -> FileId {
        self.file_id
    }

    /// Who asked, and in which request.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The source of randomness of this work.
    pub const fn entropy(&self) -> &'c dyn Entropy {
        self.entropy
    }

    /// A new id at the work's instant.
    pub fn new_id<I: Kind>(&self) -> Id<I> {
        Id::new(self.now(), self.entropy)
    }

    /// Inserts one row.
    ///
    /// # Errors
    /// [`StorageError`]; a row that is already there is a `Constraint`: rules look before they
    /// insert.
    pub fn insert(
        &mut self,
        statement: &Statement,
        params: impl Params,
    ) -> Result<(), StorageError> {
        self.change(statement, params, Rows::Exactly(1)).map(drop)
    }

    /// Inserts one row, and gives the place that the file gave it.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn insert_at_end(
        &mut self,
        statement: &Statement,
        params: impl Params,
    ) -> Result<i64, StorageError> {
        self.insert(statement, params)?;
        Ok(self.view.conn.last_insert_rowid())
    }

    /// Runs an `UPDATE` or `DELETE` (or an `INSERT … ON CONFLICT`) and says how many rows it
    /// touched.
    ///
    /// # Errors
    /// [`StorageError`]; `UnexpectedRows` when that is not what `rows` promised.
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
        let touched = touched.inspect_err(|error| self.note_violation(error))?;
        let as_promised = match rows {
            Rows::Exactly(count) => touched == count,
            Rows::AtMostOne => touched <= 1,
            Rows::Any => true,
        };
        if as_promised {
            Ok(touched)
        } else {
            Err(StorageError::unexpected_rows(statement.name()))
        }
    }

    /// Whoever tried to change what is final: by a fault of ours, or with one's help. Nothing was
    /// changed, and somebody should know.
    fn note_violation(&self, error: &StorageError) {
        if let Some(said) = error.immutable() {
            let tenant_id = (K::NAME == Tenant::NAME)
                .then(|| tracing::field::display(TenantId::from_bytes(self.file_id)));
            let (origin, statement) = (self.origin(), error.statement());
            tracing::warn!(target: "security", request_id = origin.request_id, tenant_id,
                actor = %origin.actor, statement, error = said, "immutability violation");
        }
    }

    /// Runs a change that returns rows (`… RETURNING …`).
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn returning<T>(
        &mut self,
        statement: &Statement,
        params: impl Params,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StorageError> {
        self.require_transaction()?;
        self.view.all(statement, params, map)
    }

    /// Refuses once SQLite has given up the whole transaction by itself (disk full, I/O error):
    /// what came now would be on disk at once, alone, even though a caller that overlooked the
    /// failure goes on.
    fn require_transaction(&self) -> Result<(), StorageError> {
        if self.view.conn.is_autocommit() {
            Err(StorageError::new(self.view.stats.last_write_fault()))
        } else {
            Ok(())
        }
    }

    /// Runs `f` so that its failure or its panic undoes what it wrote and nothing else: a
    /// savepoint.
    ///
    /// # Errors
    /// What `f` returns, or the storage's own error: also when SQLite gave up the whole transaction
    /// meanwhile (disk full), because what the caller wrote before is gone then as well.
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

    /// Gives free pages at the end of the file back to the system, at most `pages` of them, while
    /// more than `kept` are free; gives how many went. The file itself becomes smaller with the
    /// checkpoint.
    ///
    /// # Errors
    /// [`StorageError`].
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
        // Each step of the statement gives one page back, so it is stepped to its end.
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
        self.view.stats.shrinks_to(u64::from(size) * PAGE_BYTES);
        Ok(free - left.min(free))
    }

    /// Has `action` done once the work is on disk: a log line that tells of a fact must not tell of
    /// one that was undone.
    pub fn on_commit(&mut self, action: impl FnOnce() + Send + 'static) {
        self.after.actions.push(Box::new(action));
    }

    /// Hints, once the work is on disk, that a job is due.
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
