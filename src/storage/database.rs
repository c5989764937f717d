//! An open file: the handle that the layers above hold. It takes closures and gives answers.

use std::cell::Cell;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use r2d2_sqlite::SqliteConnectionManager;
use tokio::sync::oneshot;

use super::data_dir::beside;
use super::file::{self, Check, FileId, Place};
use super::readers::Lane;
use super::writer::{Attempt, Message, Request, Shared, Writer, panic_text};
use super::{FileKind, Readers, Stats, StorageError, StorageErrorKind, View, Wake, Work};
use crate::primitives::limits::{LONG_READ_MS, LONG_READS_PER_FILE, READER_WAIT_MS, WRITER_INBOX};
use crate::primitives::{Clock, Entropy, Origin};

/// What opening a file needs besides its path.
#[derive(Clone)]
pub struct Settings {
    /// Where `now` comes from.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub entropy: Arc<dyn Entropy>,
    /// The shared reader threads.
    pub readers: Arc<Readers>,
    /// Connections that may read this file at once.
    pub readers_per_file: u32,
}

/// A handle of an open file; clones share it.
pub struct Database<K: FileKind> {
    inner: Arc<Inner<K>>,
}

/// How many files this process has opened.
static OPENINGS: AtomicU64 = AtomicU64::new(0);

struct Inner<K: FileKind> {
    path: PathBuf,
    place: Place,
    opening: u64,
    inbox: SyncSender<Message<K>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// None once the file was closed.
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
    /// Opens an existing file after all checks of [`file::open_writer`]. `on_wake` is told of jobs
    /// that became due.
    ///
    /// # Errors
    /// [`StorageError`] whose kind says what is wrong with the file.
    pub fn open(
        path: &Path,
        id: FileId,
        settings: &Settings,
        check: Check,
        on_wake: impl Fn(&[Wake]) + Send + Sync + 'static,
    ) -> Result<Self, StorageError> {
        Self::open_verified(path, id, settings, check, &|_| Ok(()), on_wake)
    }

    /// As [`open`](Self::open), if `verify` has nothing against the file, which it sees before
    /// anything is written to it.
    ///
    /// # Errors
    /// As [`open`](Self::open), and what `verify` gives.
    pub fn open_verified(
        path: &Path,
        id: FileId,
        settings: &Settings,
        check: Check,
        verify: file::Verify<'_, K>,
        on_wake: impl Fn(&[Wake]) + Send + Sync + 'static,
    ) -> Result<Self, StorageError> {
        let place = Place::of(path)?;
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
        let pool = reader_pool::<K>(path, id, place, settings, &shared);
        let (inbox, receiver) = sync_channel(WRITER_INBOX);
        let writer = Writer {
            conn,
            path: path.to_owned(),
            place,
            log_place: Place::of(&beside(path, "-wal")).ok(),
            len: Cell::new(0),
            inbox: receiver,
            shared: shared.clone(),
        };
        let until_the_end = GivenUp(shared.clone());
        let thread = thread::Builder::new()
            .name(format!("writer-{}", K::NAME))
            .spawn(move || {
                let _until_the_end = until_the_end;
                writer.run();
            })
            .map_err(|_| StorageError::new(StorageErrorKind::Overloaded))?;
        let readers = settings.readers.clone();
        Ok(Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                place,
                opening: OPENINGS.fetch_add(1, Ordering::Relaxed),
                inbox,
                thread: Mutex::new(Some(thread)),
                pool: RwLock::new(Some(pool)),
                readers,
                shared,
            }),
        })
    }

    /// Runs `f` in a transaction of its own, or rather: as if it were one. The answer comes when
    /// what it did is on disk.
    ///
    /// `f` may be run twice (see [`writer`](super::writer)); only the last run counts, so it must
    /// have no effect but through its `Work`.
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
            Ok(()) => Answer(State::Waiting(receiver)),
            Err(TrySendError::Full(_)) => {
                metrics::counter!("tillbox_overloads_total", "file" => K::NAME).increment(1);
                if self.inner.shared.is_news(&self.inner.shared.overloaded_at) {
                    let file = self.inner.path.display();
                    tracing::warn!(%file, inbox = WRITER_INBOX, "requests are refused: too many \
                        wait for this file");
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
        self.read_in(Lane::Point, None, f)
    }

    /// As [`read`](Self::read), apart from the short ones and with a deadline: for reports. Few of
    /// one file at once; one more is refused as `Overloaded`, because whoever waited for a
    /// connection would wait on a thread that is every file's.
    pub fn read_long<R, E, F>(&self, f: F) -> Answer<R, E>
    where
        F: FnOnce(&View<'_, K>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        self.read_within(Duration::from_millis(LONG_READ_MS), f)
    }

    /// As [`read_long`](Self::read_long), with another deadline: for what the operator waits for.
    pub fn read_within<R, E, F>(&self, within: Duration, f: F) -> Answer<R, E>
    where
        F: FnOnce(&View<'_, K>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let Some(place) = LongRead::begin(&self.inner.shared) else {
            return Answer::failed(StorageErrorKind::Overloaded);
        };
        self.read_in(Lane::Long, Some(within), move |view| {
            let _place = place;
            f(view)
        })
    }

    fn read_in<R, E, F>(&self, lane: Lane, within: Option<Duration>, f: F) -> Answer<R, E>
    where
        F: FnOnce(&View<'_, K>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let (reply, receiver) = oneshot::channel();
        let Some(pool) = self
            .inner
            .pool
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
        else {
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
            // The caller may be gone by now; then nobody needs the answer.
            drop(reply.send(result));
        };
        match self.inner.readers.send(lane, Box::new(task)) {
            Ok(()) => Answer(State::Waiting(receiver)),
            Err(error) => Answer(State::Ready(Some(Err(error.into())))),
        }
    }

    /// The number of this opening of the file: no other in this process has it, and its
    /// [counters](Self::stats) are of it alone.
    pub fn opening(&self) -> u64 {
        self.inner.opening
    }

    /// Counters of this file.
    pub fn stats(&self) -> &Stats {
        &self.inner.shared.stats
    }

    /// Which file it is, whatever lies at its path by now.
    pub fn place(&self) -> Place {
        self.inner.place
    }

    /// Who the file is.
    pub fn file_id(&self) -> FileId {
        self.inner.shared.file_id
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Whether the file can be trusted: `false` after a failed commit, sync or a sign of damage,
    /// until it has been opened and checked again.
    pub fn is_healthy(&self) -> bool {
        self.inner.shared.healthy.load(Ordering::Acquire) && !self.inner.shared.stats.is_damaged()
    }

    /// Whether nobody uses the file at the moment: this is the only handle, and no long read goes
    /// on.
    pub fn is_at_rest(&self) -> bool {
        Arc::strong_count(&self.inner) == 1
            && self.inner.shared.long_reads.load(Ordering::Acquire) == 0
    }

    /// Finishes what is in the inbox before this call, truncates the WAL, closes the writing
    /// connection, and waits for all that. Blocks.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl<K: FileKind> Inner<K> {
    fn close(&self) {
        // First the readers: the last connection to close is the writer's, which leaves a single
        // file behind when all is well.
        drop(
            self.pool
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // Fails only when the thread has ended by itself, which is what is wanted.
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

/// Gives the file up when its writer thread ends, however it ends: a handle without a writer must
/// not pass for a good one.
struct GivenUp(Arc<Shared>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.healthy.store(false, Ordering::Release);
    }
}

fn reader_pool<K: FileKind>(
    path: &Path,
    id: FileId,
    place: Place,
    settings: &Settings,
    shared: &Arc<Shared>,
) -> r2d2::Pool<SqliteConnectionManager> {
    let (at, readable) = (path.to_owned(), shared.clone());
    let manager = SqliteConnectionManager::file(path)
        .with_flags(file::flags(false))
        .with_init(move |conn| {
            file::prepare_reader::<K>(conn, &at, place, id)?;
            readable.readable.store(true, Ordering::Release);
            Ok(())
        });
    let not_opened = NotOpened {
        path: path.to_owned(),
        place,
        shared: shared.clone(),
    };
    r2d2::Pool::builder()
        // More for the long lane: a report must not keep the shared threads waiting for a
        // connection.
        .max_size(settings.readers_per_file + LONG_READS_PER_FILE)
        .min_idle(Some(0))
        .test_on_check_out(false)
        .idle_timeout(Some(Duration::from_secs(60)))
        .connection_timeout(Duration::from_millis(READER_WAIT_MS))
        .error_handler(Box::new(not_opened))
        .thread_pool(settings.readers.pool_threads())
        .build_unchecked(manager)
}

/// Hears of reading connections that could not be opened; the pool goes on trying, and whoever
/// reads is not kept waiting for that.
#[derive(Debug)]
struct NotOpened {
    path: PathBuf,
    place: Place,
    shared: Arc<Shared>,
}

impl r2d2::HandleError<rusqlite::Error> for NotOpened {
    fn handle_error(&self, error: rusqlite::Error) {
        self.shared.readable.store(false, Ordering::Release);
        let error = StorageError::from(error);
        self.shared.stats.fault(error.kind(), false);
        if Place::of(&self.path).ok() != Some(self.place) {
            // Another file lies there, or none: this one is opened and checked anew before anybody
            // reads or writes again.
            self.shared.healthy.store(false, Ordering::Release);
        }
        tracing::warn!(error = %error, source = ?std::error::Error::source(&error), "file cannot \
            be opened for reading");
    }
}

/// One of the long reads of a file, from when it is asked for until it is over.
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

/// A connection to read with. The thread that waits for one is every store's, so it waits for a
/// file that opens, and not for one that does not.
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
    // After an interrupt SQLite may have ended the transaction by itself.
    if !conn.is_autocommit()
        && let Err(error) = run("COMMIT")
    {
        // The connection goes back to the others, and must not take the transaction along.
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
        // The caller may be gone (a request time-out); what it asked for is done all the same.
        drop(self.reply.send(outcome));
    }
}

/// An answer that is on its way: a future for the async layers, [`wait`](Self::wait) for the
/// others.
#[must_use = "an answer that nobody waits for may never be worked on"]
pub struct Answer<R, E>(State<R, E>);

enum State<R, E> {
    Ready(Option<Result<R, E>>),
    Waiting(oneshot::Receiver<Result<R, E>>),
}

impl<R, E: From<StorageError>> Answer<R, E> {
    /// An answer that is known already.
    pub const fn ready(result: Result<R, E>) -> Self {
        Self(State::Ready(Some(result)))
    }

    fn failed(kind: StorageErrorKind) -> Self {
        Self(State::Ready(Some(Err(StorageError::new(kind).into()))))
    }

    /// Blocks until the answer is there. Not for the async runtime.
    ///
    /// # Errors
    /// What the closure returned, or the storage's own error.
    pub fn wait(self) -> Result<R, E> {
        match self.0 {
            State::Ready(result) => {
                result.unwrap_or_else(|| Err(StorageError::new(StorageErrorKind::Closed).into()))
            }
            State::Waiting(receiver) => receiver
                .blocking_recv()
                .unwrap_or_else(|_| Err(StorageError::new(StorageErrorKind::Closed).into())),
        }
    }
}

impl<R: Unpin, E: From<StorageError> + Unpin> Future for Answer<R, E> {
    type Output = Result<R, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Ready(result) => Poll::Ready(
                result
                    .take()
                    .expect("a future is not polled after it is ready"),
            ),
            State::Waiting(receiver) => Pin::new(receiver).poll(context).map(|result| {
                result.unwrap_or_else(|_| Err(StorageError::new(StorageErrorKind::Closed).into()))
            }),
        }
    }
}
