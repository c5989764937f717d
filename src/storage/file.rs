//! Opening one SQLite file: its identity, its settings, and the checks before anyone may write to
//! it.
//!
//! Every setting that a promise rests upon is read back: a file system or a build that silently
//! ignores one is refused here rather than found out in a power cut.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::data_dir::{beside, give_to_owner, sync_dir};
use super::{FileKind, Stats, StorageError, StorageErrorKind, View, migrate, wal};
use crate::primitives::Timestamp;

/// Pages in the WAL after which a commit also checkpoints. Larger is faster for one busy file
/// (PERFORMANCE: 16,000), but a directory of hundreds of tenants would hold hundreds of large WALs.
const AUTOCHECKPOINT_PAGES: i64 = 4_000;
/// Prepared statements kept per connection: one sale alone needs about twenty.
const STATEMENTS_CACHED: usize = 192;
/// The SQLite release that a WAL can be trusted to: earlier ones can corrupt it when a checkpoint
/// and a reset race.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// Room on the disk that opening a file takes: the index of its WAL, and a page or two.
const OPENING_BYTES: u64 = 64 * 1024;

/// The page of every file that [`create`] makes.
pub const PAGE_BYTES: u64 = 4096;

/// The header of every SQLite file (<https://www.sqlite.org/fileformat.html> §1.3); a shorter file
/// is none, not even an empty one.
const HEADER_BYTES: u64 = 100;

/// Who a file is: stored inside it, so that a file under another's name is found out.
pub type FileId = [u8; 16];

/// The one table that is older than the first migration.
pub(super) const IDENTITY_TABLE: &str = "CREATE TABLE file_identity (
    singleton  INTEGER PRIMARY KEY CHECK (singleton = 1),
    file_id    BLOB NOT NULL CHECK (length(file_id) = 16),
    created_at INTEGER NOT NULL
) STRICT;";

/// When the pages of a file are looked through at open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// After an unclean stop, which a WAL with something in it tells.
    AfterUncleanStop,
    /// In any case, and the indexes against their tables too: something was wrong with the file
    /// when it was last open.
    Always,
}

/// The version of the SQLite that is linked.
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// Asserts that it is one that can be trusted.
///
/// # Panics
/// When it is older: no data directory is opened with it.
pub fn assert_sqlite_version() {
    let version = rusqlite::version_number();
    assert!(
        version >= SQLITE_VERSION_MIN,
        "SQLite {version} is older than {SQLITE_VERSION_MIN}, which is the first that is safe in \
         WAL mode"
    );
}

/// Makes a new file at `path`, whole or not at all: written under another name, checkpointed,
/// synced, renamed, and the directory synced. A crash leaves at most a `.tmp` file, which the next
/// attempt replaces.
///
/// # Errors
/// [`StorageError`]; `WrongIdentity` when there is a file already.
pub fn create<K: FileKind>(path: &Path, id: FileId, now: Timestamp) -> Result<(), StorageError> {
    if path.exists() {
        return Err(StorageError::new(StorageErrorKind::WrongIdentity));
    }
    // The WAL of a file that is gone would be taken for this one's.
    for suffix in ["-wal", "-shm"] {
        let stray = beside(path, suffix);
        if stray.exists() {
            std::fs::rename(&stray, beside(&stray, ".displaced"))
                .map_err(|error| io_error(&error))?;
        }
    }
    let temporary = beside(path, ".tmp");
    for suffix in ["", "-wal", "-shm", "-journal"] {
        match std::fs::remove_file(beside(&temporary, suffix)) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error(&error)),
        }
    }
    let mut conn = Connection::open_with_flags(&temporary, flags(true))?;
    restrict(&temporary)?;
    give_to_owner(path.parent().unwrap_or(Path::new(".")), &temporary)
        .map_err(|error| io_error(&error))?;
    conn.execute_batch(&format!(
        "PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA application_id={}; \
         {IDENTITY_TABLE}",
        K::APPLICATION_ID
    ))?;
    configure(&conn)?;
    conn.execute(
        "INSERT INTO file_identity (singleton, file_id, created_at) VALUES (1, ?1, ?2)",
        rusqlite::params![id, now],
    )?;
    migrate::to_latest::<K>(&mut conn)?;
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    conn.close()
        .map_err(|(_, error)| StorageError::from(error))?;
    File::open(&temporary)
        .and_then(|file| file.sync_all())
        .map_err(|error| io_error(&error))?;
    std::fs::rename(&temporary, path).map_err(|error| io_error(&error))?;
    sync_dir(path.parent().unwrap_or(Path::new("."))).map_err(|error| io_error(&error))
}

/// Opens the one connection that writes, after all checks, and brings the schema up to date.
///
/// # Errors
/// [`StorageError`] whose kind says what the file is: `Missing`, `NotADatabase`, `Corrupt`
/// (truncated too), `WrongIdentity`, `NewerSchema` …
pub fn open_writer<K: FileKind>(
    path: &Path,
    id: FileId,
    check: Check,
) -> Result<Connection, StorageError> {
    open_verified::<K>(path, id, check, &|_| Ok(()))
}

/// What a caller wants of a file before anything is written to it.
pub type Verify<'a, K> = &'a dyn Fn(&View<'_, K>) -> Result<(), StorageError>;

/// As [`open_writer`]; `verify` looks at the file before it is migrated, and one that it refuses is
/// left as it is.
///
/// # Errors
/// As [`open_writer`], and what `verify` gives.
pub fn open_verified<K: FileKind>(
    path: &Path,
    id: FileId,
    check: Check,
    verify: Verify<'_, K>,
) -> Result<Connection, StorageError> {
    open_checked::<K>(path, id, check, verify).map_err(|error| {
        // SQLite calls it a fault of the disk when there is no room for the memory that its
        // connections share.
        if error.kind() == StorageErrorKind::Io && is_full(path) {
            StorageError::new(StorageErrorKind::Full)
        } else {
            error
        }
    })
}

/// Whether the disk of `path` has less room than opening a file takes.
fn is_full(path: &Path) -> bool {
    rustix::fs::statvfs(path)
        .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < OPENING_BYTES)
}

fn open_checked<K: FileKind>(
    path: &Path,
    id: FileId,
    check: Check,
    verify: Verify<'_, K>,
) -> Result<Connection, StorageError> {
    check_presence(path)?;
    let log = beside(path, "-wal");
    let unclean = std::fs::metadata(&log).is_ok_and(|log| log.len() > 0);
    // A checkpoint that was cut short leaves a part of a page, and the WAL that has all of it.
    // Without a WAL a part of a page is what is left of a file that somebody cut.
    if !unclean && Place::and_len(path)?.1 % PAGE_BYTES != 0 {
        return Err(StorageError::new(StorageErrorKind::Corrupt));
    }
    if unclean && wal::is_damaged(&log).map_err(|error| io_error(&error))? {
        return Err(StorageError::new(StorageErrorKind::Corrupt));
    }
    if unclean {
        // What a process that was killed had written and not synced is seen from here on, and
        // acknowledged to whoever asks again: it has to be on disk before. (SQLite holds no lock on
        // the WAL itself, so a descriptor of our own takes none with it.)
        File::open(&log)
            .and_then(|log| log.sync_all())
            .map_err(|error| io_error(&error))?;
    }
    let mut conn = Connection::open_with_flags(path, flags(false))?;
    // Where it cannot be written SQLite opens it for reading, and says so only at the first write.
    if conn.is_readonly(rusqlite::MAIN_DB)? {
        return Err(StorageError::new(StorageErrorKind::ReadOnly));
    }
    // A file that is refused is left as it is, its WAL beside it: SQLite would merge them when the
    // connection is closed.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    check_identity::<K>(&conn, id)?;
    migrate::refuse_newer::<K>(&conn)?;
    configure(&conn)?;
    match check {
        Check::Always => look_through(&conn, "PRAGMA integrity_check(1)")?,
        Check::AfterUncleanStop if unclean => look_through(&conn, "PRAGMA quick_check(1)")?,
        Check::AfterUncleanStop => {}
    }
    // At no instant: it looks at what is there, whenever that is.
    verify(&View::new(
        &conn,
        &Stats::default(),
        Timestamp::from_millis_clamped(0),
        false,
    ))?;
    if unclean && check == Check::Always {
        // After a failed sync the kernel may take for written what is not (it says so once):
        // written anew into the file, it is.
        empty_wal(&conn)?;
    }
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    migrate::with_snapshot::<K>(&mut conn, path)?;
    conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    Ok(conn)
}

/// Makes a connection one that only reads, and only the file that its writer writes: whatever has
/// come to lie at `path` since is refused.
///
/// # Errors
/// SQLite's; `InvalidPath` for another file than the one at `place`.
pub fn prepare_reader<K: FileKind>(
    conn: &Connection,
    path: &Path,
    place: Place,
    id: FileId,
) -> Result<(), rusqlite::Error> {
    // The writer empties the WAL when all is well. When it is not, the WAL is all there is of the
    // last commits and stays, whoever closes last; and until it is known whose file this is, the
    // WAL beside it may be another one's.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let is_ours = || Place::of(path).ok() == Some(place) && check_identity::<K>(conn, id).is_ok();
    if !is_ours() {
        return Err(rusqlite::Error::InvalidPath(path.to_owned()));
    }
    conn.busy_timeout(Duration::from_secs(5))?;
    harden(conn)?;
    conn.execute_batch("PRAGMA query_only=ON; PRAGMA cache_size=-1024;")?;
    conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    Ok(())
}

/// Puts the WAL into the file. Where the disk is full, or the file cannot grow, it stays what it
/// is.
fn empty_wal(conn: &Connection) -> Result<(), StorageError> {
    let emptied = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    match emptied.map_err(StorageError::from) {
        Err(error) if error.kind() != StorageErrorKind::Full && !error.is_refused_write() => {
            Err(error)
        }
        _ => Ok(()),
    }
}

/// The flags of every connection: no URI names, no shared cache, no mutex (one thread at a time
/// holds a connection).
pub fn flags(create: bool) -> OpenFlags {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    if create {
        flags | OpenFlags::SQLITE_OPEN_CREATE
    } else {
        flags
    }
}

fn configure(conn: &Connection) -> Result<(), StorageError> {
    conn.busy_timeout(Duration::from_secs(5))?;
    harden(conn)?;
    let mode: String = conn.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
    conn.execute_batch(&format!(
        "PRAGMA synchronous=FULL; PRAGMA journal_size_limit=67108864; PRAGMA \
         wal_autocheckpoint={AUTOCHECKPOINT_PAGES}; PRAGMA secure_delete=FAST;"
    ))?;
    let synchronous: i64 = conn.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
    let foreign_keys: i64 = conn.query_row("PRAGMA foreign_keys", [], |row| row.get(0))?;
    if mode != "wal" || synchronous != 2 || foreign_keys != 1 {
        return Err(StorageError::new(StorageErrorKind::ReadOnly));
    }
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    Ok(())
}

fn harden(conn: &Connection) -> Result<(), rusqlite::Error> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    conn.execute_batch(
        "PRAGMA foreign_keys=ON; PRAGMA recursive_triggers=ON; PRAGMA cell_size_check=ON; PRAGMA \
         temp_store=MEMORY; PRAGMA mmap_size=0;",
    )
}

fn check_identity<K: FileKind>(conn: &Connection, id: FileId) -> Result<(), StorageError> {
    let application: i32 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if application != K::APPLICATION_ID {
        return Err(StorageError::new(StorageErrorKind::WrongIdentity));
    }
    let stored: FileId = conn.query_row(
        "SELECT file_id FROM file_identity WHERE singleton = 1",
        [],
        |row| row.get(0),
    )?;
    if stored == id {
        Ok(())
    } else {
        Err(StorageError::new(StorageErrorKind::WrongIdentity))
    }
}

/// Whether there is a file that can be opened at all. Told by its name alone: a descriptor of our
/// own, when it is closed, would take with it all locks that this process's connections hold on the
/// file (POSIX locks are the process's), and another program that closes the file then takes itself
/// for the last user and removes the WAL. What is in the file SQLite looks at itself; one that has
/// lost pages is `Corrupt` to it.
fn check_presence(path: &Path) -> Result<(), StorageError> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() < HEADER_BYTES => {
            Err(StorageError::new(StorageErrorKind::NotADatabase))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(io_error(&error)),
    }
}

/// `quick_check` looks at every page, `integrity_check` at the contents of the indexes as well,
/// which takes six times as long.
fn look_through(conn: &Connection, pragma: &'static str) -> Result<(), StorageError> {
    let verdict: String = conn.query_row(pragma, [], |row| row.get(0))?;
    if verdict == "ok" {
        Ok(())
    } else {
        Err(StorageError::new(StorageErrorKind::Corrupt))
    }
}

/// Moves a damaged file and its companions aside, untouched: `NAME.quarantined`,
/// `NAME.quarantined-wal` … One that was set aside earlier stays; the new one is then
/// `NAME.quarantined-2`. The file goes first: one that a crash left behind without its WAL would be
/// opened as if nothing were wrong, and lack what was acknowledged last.
///
/// # Errors
/// The system's; what could not be moved stays where it is.
pub fn set_aside(path: &Path) -> std::io::Result<()> {
    let mut aside = beside(path, ".quarantined");
    for number in 2_u32.. {
        if !aside.exists() {
            break;
        }
        aside = beside(path, &format!(".quarantined-{number}"));
    }
    for suffix in ["", "-wal", "-shm"] {
        match std::fs::rename(beside(path, suffix), beside(&aside, suffix)) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Whether [`set_aside`] has moved a file away from `path`.
pub fn was_set_aside(path: &Path) -> bool {
    last_aside(path).is_some()
}

/// The file that was set aside last.
fn last_aside(path: &Path) -> Option<PathBuf> {
    let first = beside(path, ".quarantined");
    let later = (2_u32..).map(|number| beside(path, &format!(".quarantined-{number}")));
    std::iter::once(first)
        .chain(later)
        .take_while(|aside| aside.exists())
        .last()
}

/// Moves the file that was set aside last back to its place, which is empty, with its companions:
/// those first, so that a crash in between leaves nothing at the place rather than a file without
/// its WAL. `false` when there is none.
///
/// # Errors
/// The system's.
pub fn take_back(path: &Path) -> std::io::Result<bool> {
    let Some(aside) = last_aside(path) else {
        return Ok(false);
    };
    for suffix in ["-wal", "-shm", ""] {
        match std::fs::rename(beside(&aside, suffix), beside(path, suffix)) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    sync_dir(path.parent().unwrap_or(Path::new(".")))?;
    Ok(true)
}

/// Which file has a path: its device and its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    device: u64,
    inode: u64,
}

impl Place {
    /// The file at `path` at present.
    ///
    /// # Errors
    /// `Missing`, or `Io`.
    pub fn of(path: &Path) -> Result<Self, StorageError> {
        Self::and_len(path).map(|(place, _)| place)
    }

    /// The file at `path` at present, and its size in bytes.
    ///
    /// # Errors
    /// `Missing`, or `Io`.
    pub fn and_len(path: &Path) -> Result<(Self, u64), StorageError> {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata(path).map_err(|error| io_error(&error))?;
        let place = Self {
            device: found.dev(),
            inode: found.ino(),
        };
        Ok((place, found.len()))
    }
}

fn restrict(path: &Path) -> Result<(), StorageError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|error| io_error(&error))
}

/// The storage's error for a failed file operation outside of SQLite.
pub fn io_error(error: &std::io::Error) -> StorageError {
    StorageError::new(match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            StorageErrorKind::Full
        }
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            StorageErrorKind::ReadOnly
        }
        std::io::ErrorKind::NotFound => StorageErrorKind::Missing,
        _ => StorageErrorKind::Io,
    })
}
