//! The handle of an open file: accepts closures and returns answers.

use std::cell::Cell;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, RwLock};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use r2d2_sqlite::SqliteConnectionManager;
use tokio::sync::oneshot;

use super::data_dir::beside;
use super::file::{self, Check, Inode};
use super::readers::ReadKind;
use super::shared::Shared;
use super::writer::{Attempt, Message, Request, Writer, panic_text};
use super::{FileId, FileKind, Readers, Stats, StorageError, StorageErrorKind, View, Wake, Work};
use crate::primitives::limits::{LONG_READ_MS, LONG_READS_PER_FILE, READER_WAIT_MS, WRITER_INBOX};
use crate::primitives::sync;
use crate::primitives::{Clock, Entropy, Origin};

/// The dependencies of an open file.
#[derive(Clone)]
pub struct Settings {
    /// The source of `now`.
    pub clock: Arc<dyn Clock>,
    /// The source of ids.
    pub entropy: Arc<dyn Entropy>,
    /// The shared reader threads.
    pub readers: Arc<Readers>,
    /// The maximum number of connections that read this file concurrently.
    pub readers_per_file: u32,
}

/// A handle of an open file; clones share it.
pub struct Database<K: FileKind> {
    inner: Arc<Inner<K>>,
}

/// The number of files that this process has opened.
static OPENINGS: AtomicU64 = AtomicU64::new(0);

struct Inner<K: FileKind> {
    path: PathBuf,
    inode: Inode,
    opening: u64,
    inbox: SyncSender<Message<K>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// `None` after the file was closed.
    pool: RwLock<Option<r2d2::Pool<SqliteConnectionManager>>>,
    readers: Arc<Readers>,
    shared: Arc<Shared>,
}

impl<K: FileKind> Clone for Database<K> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<K: FileKind> Database<K> {
    /// Opens an existing file after all checks of [`file::open_writer`]. `on_wake` receives jobs
    /// that became due.
    pub fn open(
        path: &Path,
        id: FileId,
        settings: &Settings,
        check: Check,
        on_wake: impl Fn(&[Wake]) + Send + Sync + 'static,
    ) -> Result<Self, StorageError> {
        Self::open_verified(path, id, settings, check, &|_| Ok(()), on_wake)
    }

    /// Like [`open`](Self::open), if `verify` accepts the file. It runs before anything is written
    /// to the file.
    pub fn open_verified(
        path: &Path,
        id: FileId,
        settings: &Settings,
        check: Check,
        verify: file::Verify<'_, K>,
        on_wake: impl Fn(&[Wake]) + Send + Sync + 'static,
    ) -> Result<Self, StorageError> {
        let inode = Inode::of(path)?;
        let conn = file::open_verified::<K>(path, id, check, verify)?;
        let shared = Arc::new(Shared {
            file_id: id,
            clock: settings.clock.clone(),
            entropy: settings.entropy.clone(),
            on_wake: Box::new(on_wake),
            stats: Stats::default(),
            healthy: AtomicBool::new(true),
            readable: AtomicBool::new(true),
            long_reads: AtomicU32::new(0),
            overloaded_at: AtomicI64::new(i64::MIN),
            refused_at: AtomicI64::new(i64::MIN),
        });
        let pool = reader_pool::<K>(path, id, inode, settings, &shared);
        let (inbox, receiver) = sync_channel(WRITER_INBOX);
        let writer = Writer {
            conn,
            path: path.to_owned(),
            inode,
            wal_inode: Inode::of(&beside(path, "-wal")).ok(),
            len: Cell::new(0),
            inbox: receiver,
            shared: shared.clone(),
        };
        let unhealthy_at_end = UnhealthyOnDrop(shared.clone());
        let thread = thread::Builder::new()
            .name(format!("writer-{}", K::NAME))
            .spawn(move || {
                let _unhealthy_at_end = unhealthy_at_end;
                writer.run();
            })
            .map_err(|_| StorageError::new(StorageErrorKind::Overloaded))?;
        let readers = settings.readers.clone();
        Ok(Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                inode,
                opening: OPENINGS.fetch_add(1, Ordering::Relaxed),
                inbox,
                thread: Mutex::new(Some(thread)),
                pool: RwLock::new(Some(pool)),
                readers,
                shared,
            }),
        })
    }

    /// Runs `f` as if in its own transaction. The answer is ready when its effects are on disk.
    ///
    /// `f` may run twice (see [`writer`](super::writer)); only the last run counts, so its only
    /// effects must go through its `Work`.
    pub fn write<R, E, F>(&self, origin: Origin, f: F) -> Answer<R, E>
    where
        F: FnMut(&mut Work<'_, K>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let (reply, receiver) = oneshot::channel();
        let request = Pending {
            origin,
            f,
            outcome: None,
            reply,
        };
        match self
            .inner
            .inbox
            .try_send(Message::Request(Box::new(request)))
        {
            Ok(()) => Answer(AnswerState::Waiting(receiver)),
            Err(TrySendError::Full(_)) => {
                metrics::counter!("tillbox_overloads_total", "file" => K::NAME).increment(1);
                if self
                    .inner
                    .shared
                    .should_log(&self.inner.shared.overloaded_at)
                {
                    let file = self.inner.path.display();
                    tracing::warn!(%file, inbox = WRITER_INBOX,
                        "writer overloaded; requests refused");
                }
                Answer::failed(StorageErrorKind::Overloaded)
            }
            Err(TrySendError::Disconnected(_)) => Answer::failed(StorageErrorKind::Closed),
        }
    }

    /// Runs `f` on a consistent view, on a shared reader thread. For a row or a page.
    pub fn read<R, E, F>(&self, f: F) -> Answer<R, E>
    where
        F: FnOnce(&View<'_, K>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        self.read_as(ReadKind::Point, None, f)
    }

    /// Like [`read`](Self::read), on separate threads and with a deadline: for reports. One file
    /// may use few of them at once; a further read is refused as `Overloaded`, because waiting for
    /// a connection would occupy a thread that all files share.
    pub fn read_long<R, E, F>(&self, f: F) -> Answer<R, E>
    where
        F: FnOnce(&View<'_, K>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        self.read_within(Duration::from_millis(LONG_READ_MS), f)
    }

    /// Like [`read_long`](Self::read_long) with another deadline: for reads that the operator waits
    /// for.
    pub fn read_within<R, E, F>(&self, within: Duration, f: F) -> Answer<R, E>
    where
        F: FnOnce(&View<'_, K>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let Some(permit) = LongRead::begin(&self.inner.shared) else {
            return Answer::failed(StorageErrorKind::Overloaded);
        };
        self.read_as(ReadKind::Long, Some(within), move |view| {
            let _permit = permit;
            f(view)
        })
    }

    fn read_as<R, E, F>(&self, kind: ReadKind, within: Option<Duration>, f: F) -> Answer<R, E>
    where
        F: FnOnce(&View<'_, K>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let (reply, receiver) = oneshot::channel();
        let Some(pool) = sync::read(&self.inner.pool).clone() else {
            return Answer::failed(StorageErrorKind::Closed);
        };
        let shared = self.inner.shared.clone();
        let task = move || {
            if reply.is_closed() {
                return;
            }
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                read_on(&pool, &shared, within, f)
            }));
            let result = result.unwrap_or_else(|panic| {
                tracing::error!(
                    panic = panic_text(panic.as_ref()),
                    kind = K::NAME,
                    "read panicked"
                );
                Err(StorageError::new(StorageErrorKind::Panicked).into())
            });
            // The caller may have cancelled; then the answer is dropped.
            drop(reply.send(result));
        };
        match self.inner.readers.send(kind, Box::new(task)) {
            Ok(()) => Answer(AnswerState::Waiting(receiver)),
            Err(error) => Answer(AnswerState::Ready(Some(Err(error.into())))),
        }
    }

    /// The number of this opening of the file, unique in this process; the [counters](Self::stats)
    /// belong to this opening.
    pub fn opening(&self) -> u64 {
        self.inner.opening
    }

    pub fn stats(&self) -> &Stats {
        &self.inner.shared.stats
    }

    /// The inode that was opened, whatever is at the path now.
    pub fn inode(&self) -> Inode {
        self.inner.inode
    }

    /// The identity stored in the file.
    pub fn file_id(&self) -> FileId {
        self.inner.shared.file_id
    }

    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Whether the file is trusted: `false` after a failed commit or sync or a sign of damage,
    /// until it has been opened and checked again.
    pub fn is_healthy(&self) -> bool {
        self.inner.shared.healthy.load(Ordering::Acquire) && !self.inner.shared.stats.is_damaged()
    }

    /// Whether nobody uses the file: this is the only handle, and no long read is running.
    pub fn is_idle(&self) -> bool {
        Arc::strong_count(&self.inner) == 1
            && self.inner.shared.long_reads.load(Ordering::Acquire) == 0
    }

    /// Processes the messages in the inbox, truncates the WAL, closes the writing connection, and
    /// waits for all that. Blocks.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl<K: FileKind> Inner<K> {
    fn close(&self) {
        // Readers first: the writer's connection closes last and, when the file is healthy, leaves
        // no WAL.
        drop(sync::write(&self.pool).take());
        let thread = sync::lock(&self.thread).take();
        if let Some(thread) = thread {
            // Fails only when the thread has already ended.
            drop(self.inbox.send(Message::Stop));
            if thread.join().is_err() {
                tracing::error!(kind = K::NAME, "writer thread panicked");
            }
        }
    }
}

impl<K: FileKind> Drop for Inner<K> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Marks the file unhealthy when its writer thread ends in any way: a handle without a writer must
/// not count as healthy.
struct UnhealthyOnDrop(Arc<Shared>);

impl Drop for UnhealthyOnDrop {
    fn drop(&mut self) {
        self.0.healthy.store(false, Ordering::Release);
    }
}

fn reader_pool<K: FileKind>(
    path: &Path,
    id: FileId,
    inode: Inode,
    settings: &Settings,
    shared: &Arc<Shared>,
) -> r2d2::Pool<SqliteConnectionManager> {
    let (at, readable) = (path.to_owned(), shared.clone());
    let manager = SqliteConnectionManager::file(path)
        .with_flags(file::flags(false))
        .with_init(move |conn| {
            file::prepare_reader::<K>(conn, &at, inode, id)?;
            readable.readable.store(true, Ordering::Release);
            Ok(())
        });
    let open_errors = ReaderOpenErrors {
        path: path.to_owned(),
        inode,
        shared: shared.clone(),
    };
    r2d2::Pool::builder()
        // Additional connections for long reads: a report must not block the shared threads.
        .max_size(settings.readers_per_file + LONG_READS_PER_FILE)
        .min_idle(Some(0))
        .test_on_check_out(false)
        .idle_timeout(Some(Duration::from_secs(60)))
        .connection_timeout(Duration::from_millis(READER_WAIT_MS))
        .error_handler(Box::new(open_errors))
        .thread_pool(settings.readers.pool_threads())
        .build_unchecked(manager)
}

/// Handles failures to open a reading connection. The pool keeps trying; readers do not wait for
/// that.
#[derive(Debug)]
struct ReaderOpenErrors {
    path: PathBuf,
    inode: Inode,
    shared: Arc<Shared>,
}

impl r2d2::HandleError<rusqlite::Error> for ReaderOpenErrors {
    fn handle_error(&self, error: rusqlite::Error) {
        self.shared.readable.store(false, Ordering::Release);
        let error = StorageError::from(error);
        self.shared.stats.record_fault(error.kind(), false);
        if Inode::of(&self.path).ok() != Some(self.inode) {
            // The file was replaced or removed: it must be opened and checked again before any read
            // or write.
            self.shared.healthy.store(false, Ordering::Release);
        }
        tracing::warn!(error = %error, source = ?std::error::Error::source(&error),
            "file cannot be opened for reading");
    }
}

/// The permit of a long read, from its request to its end.
struct LongRead(Arc<Shared>);

impl LongRead {
    fn begin(shared: &Arc<Shared>) -> Option<Self> {
        let more = |running: u32| (running < LONG_READS_PER_FILE).then_some(running + 1);
        shared
            .long_reads
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .ok()?;
        Some(Self(shared.clone()))
    }
}

impl Drop for LongRead {
    fn drop(&mut self) {
        self.0.long_reads.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Gets a reading connection. All files share the waiting thread, so it waits only for a file that
/// opens.
fn connection(
    pool: &r2d2::Pool<SqliteConnectionManager>,
    shared: &Shared,
) -> Result<r2d2::PooledConnection<SqliteConnectionManager>, StorageError> {
    let is_readable = || shared.readable.load(Ordering::Acquire);
    let found = if is_readable() {
        pool.get().ok()
    } else {
        pool.try_get()
    };
    found.ok_or_else(|| {
        StorageError::new(if is_readable() {
            StorageErrorKind::Overloaded
        } else {
            StorageErrorKind::CannotOpen
        })
    })
}

fn read_on<K, R, E: From<StorageError>>(
    pool: &r2d2::Pool<SqliteConnectionManager>,
    shared: &Shared,
    within: Option<Duration>,
    f: impl FnOnce(&View<'_, K>) -> Result<R, E>,
) -> Result<R, E> {
    let conn = connection(pool, shared)?;
    let run = |sql: &'static str| {
        conn.prepare_cached(sql)
            .and_then(|mut prepared| prepared.execute([]))
            .map_err(StorageError::from)
    };
    run("BEGIN")?;
    if let Some(within) = within {
        let deadline = deadline(within);
        conn.progress_handler(10_000, Some(move || is_past(deadline)))
            .map_err(StorageError::from)?;
    }
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        f(&View::new(&conn, &shared.stats, shared.clock.now(), false))
    }));
    if within.is_some() {
        conn.progress_handler(0, None::<fn() -> bool>)
            .map_err(StorageError::from)?;
    }
    // SQLite may have ended the transaction after an interrupt.
    if !conn.is_autocommit()
        && let Err(error) = run("COMMIT")
    {
        // The connection returns to the pool and must not keep the transaction open.
        if !conn.is_autocommit() {
            run("ROLLBACK")?;
        }
        return Err(error.into());
    }
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the deadline of one read; nothing of it is stored"
)]
fn deadline(within: Duration) -> Instant {
    Instant::now() + within
}

#[expect(
    clippy::disallowed_methods,
    reason = "the deadline of one read; nothing of it is stored"
)]
fn is_past(deadline: Instant) -> bool {
    Instant::now() >= deadline
}

struct Pending<F, R, E> {
    origin: Origin,
    f: F,
    outcome: Option<Result<R, E>>,
    reply: oneshot::Sender<Result<R, E>>,
}

impl<K, F, R, E> Request<K> for Pending<F, R, E>
where
    K: FileKind,
    F: FnMut(&mut Work<'_, K>) -> Result<R, E> + Send,
    R: Send,
    E: From<StorageError> + Send,
{
    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn attempt(&mut self, work: &mut Work<'_, K>) -> Attempt {
        let outcome = (self.f)(work);
        let attempt = if outcome.is_ok() {
            Attempt::Done
        } else {
            Attempt::Refused
        };
        self.outcome = Some(outcome);
        attempt
    }

    fn fail(&mut self, error: StorageError) {
        self.outcome = Some(Err(error.into()));
    }

    fn settle(self: Box<Self>) {
        let outcome = self
            .outcome
            .unwrap_or_else(|| Err(StorageError::new(StorageErrorKind::Closed).into()));
        // The caller may have timed out; the change is committed all the same.
        drop(self.reply.send(outcome));
    }
}

/// A pending answer: a future for async code, [`wait`](Self::wait) for blocking code.
#[must_use = "an answer that is dropped may cancel its request"]
pub struct Answer<R, E>(AnswerState<R, E>);

enum AnswerState<R, E> {
    Ready(Option<Result<R, E>>),
    Waiting(oneshot::Receiver<Result<R, E>>),
}

impl<R, E: From<StorageError>> Answer<R, E> {
    /// An answer that is already known.
    pub const fn ready(result: Result<R, E>) -> Self {
        Self(AnswerState::Ready(Some(result)))
    }

    fn failed(kind: StorageErrorKind) -> Self {
        Self(AnswerState::Ready(Some(
            Err(StorageError::new(kind).into()),
        )))
    }

    /// Blocks until the answer is ready. Not for the async runtime.
    pub fn wait(self) -> Result<R, E> {
        match self.0 {
            AnswerState::Ready(result) => {
                result.unwrap_or_else(|| Err(StorageError::new(StorageErrorKind::Closed).into()))
            }
            AnswerState::Waiting(receiver) => receiver
                .blocking_recv()
                .unwrap_or_else(|_| Err(StorageError::new(StorageErrorKind::Closed).into())),
        }
    }
}

impl<R: Unpin, E: From<StorageError> + Unpin> Future for Answer<R, E> {
    type Output = Result<R, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            AnswerState::Ready(result) => Poll::Ready(
                result
                    .take()
                    .expect("a future is not polled after completion"),
            ),
            AnswerState::Waiting(receiver) => Pin::new(receiver).poll(context).map(|result| {
                result.unwrap_or_else(|_| Err(StorageError::new(StorageErrorKind::Closed).into()))
            }),
        }
    }
}
