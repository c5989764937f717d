//! Opens a SQLite file: its identity, its settings, and the checks before the first write.
//!
//! Every setting that a guarantee depends on is read back: a file system or build that silently
//! ignores one is refused here, instead of losing data in a power failure.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::data_dir::{beside, give_to_owner, sync_dir};
use super::error::io_error;
use super::identity::{IDENTITY_TABLE, check_identity};
use super::{FileId, FileKind, Stats, StorageError, StorageErrorKind, View, migrate, wal};
use crate::primitives::Timestamp;

/// Pages in the WAL after which a commit also checkpoints. A larger value is faster for one busy
/// file (PERFORMANCE: 16,000), but hundreds of tenants would have hundreds of large WALs.
const AUTOCHECKPOINT_PAGES: i64 = 4_000;
/// Prepared statements cached per connection: one sale alone needs about twenty.
const STATEMENTS_CACHED: usize = 192;
/// The oldest SQLite release with a safe WAL: earlier ones can corrupt it when a checkpoint and a
/// reset race.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// Disk space needed to open a file: the index of its WAL and a page or two.
const OPENING_BYTES: u64 = 64 * 1024;

/// The page size of every file that [`create`] makes.
pub const PAGE_BYTES: u64 = 4096;

/// The header size of a SQLite file (<https://www.sqlite.org/fileformat.html> §1.3); a shorter file
/// is not a SQLite file, not even an empty one.
const HEADER_BYTES: u64 = 100;

/// The condition for checking all pages when a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// After an unclean stop, which a non-empty WAL indicates.
    AfterUncleanStop,
    /// Always, and also the indexes against their tables: the file had a fault when it was last
    /// open.
    Always,
}

/// The version of the linked SQLite.
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// Panics when the linked SQLite is older than `SQLITE_VERSION_MIN`: no data directory is opened
/// with it.
pub fn assert_sqlite_version() {
    let version = rusqlite::version_number();
    assert!(
        version >= SQLITE_VERSION_MIN,
        "SQLite {version} is older than {SQLITE_VERSION_MIN}, the first release that is safe in \
         WAL mode"
    );
}

/// Atomically creates a file at `path`: writes it under another name, checkpoints, syncs and
/// renames it, and syncs the directory. A crash leaves at most a `.tmp` file, which the next
/// attempt replaces. `WrongIdentity` when a file exists.
pub fn create<K: FileKind>(path: &Path, id: FileId, now: Timestamp) -> Result<(), StorageError> {
    if path.exists() {
        return Err(StorageError::new(StorageErrorKind::WrongIdentity));
    }
    // The WAL of a removed file must not be used with this one.
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

/// Opens the only writing connection after all checks, and migrates the schema. The kind of the
/// error tells the state of the file: `Missing`, `NotADatabase`, `Corrupt` (also truncated),
/// `WrongIdentity`, `NewerSchema` …
pub fn open_writer<K: FileKind>(
    path: &Path,
    id: FileId,
    check: Check,
) -> Result<Connection, StorageError> {
    open_verified::<K>(path, id, check, &|_| Ok(()))
}

/// A check of a file by the caller, before anything is written to it.
pub type Verify<'a, K> = &'a dyn Fn(&View<'_, K>) -> Result<(), StorageError>;

/// Like [`open_writer`]; `verify` checks the file before it is migrated, and a rejected file is
/// left unchanged.
pub fn open_verified<K: FileKind>(
    path: &Path,
    id: FileId,
    check: Check,
    verify: Verify<'_, K>,
) -> Result<Connection, StorageError> {
    open_checked::<K>(path, id, check, verify).map_err(|error| {
        // SQLite reports a disk fault when there is no space for its shared memory.
        if error.kind() == StorageErrorKind::Io && is_full(path) {
            StorageError::new(StorageErrorKind::Full)
        } else {
            error
        }
    })
}

/// Whether the disk of `path` has less space than needed to open a file.
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
    // An interrupted checkpoint leaves a partial page, and the WAL that contains all of it. Without
    // a WAL, a partial page means that the file was truncated.
    if !unclean && Inode::of_with_len(path)?.1 % PAGE_BYTES != 0 {
        return Err(StorageError::new(StorageErrorKind::Corrupt));
    }
    if unclean && wal::is_damaged(&log).map_err(|error| io_error(&error))? {
        return Err(StorageError::new(StorageErrorKind::Corrupt));
    }
    if unclean {
        // Unsynced writes of a killed process become visible here and may be acknowledged to a
        // retry: they have to be on disk first. (SQLite holds no lock on the WAL itself, so closing
        // our own descriptor releases none.)
        File::open(&log)
            .and_then(|log| log.sync_all())
            .map_err(|error| io_error(&error))?;
    }
    let mut conn = Connection::open_with_flags(path, flags(false))?;
    // SQLite opens an unwritable file for reading, and reports it only at the first write.
    if conn.is_readonly(rusqlite::MAIN_DB)? {
        return Err(StorageError::new(StorageErrorKind::ReadOnly));
    }
    // A rejected file is left unchanged with its WAL: SQLite would merge them on close.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    check_identity::<K>(&conn, id)?;
    migrate::refuse_newer::<K>(&conn)?;
    configure(&conn)?;
    match check {
        Check::Always => run_check(&conn, "PRAGMA integrity_check(1)")?,
        Check::AfterUncleanStop if unclean => run_check(&conn, "PRAGMA quick_check(1)")?,
        Check::AfterUncleanStop => {}
    }
    // The check does not depend on the time.
    verify(&View::new(
        &conn,
        &Stats::default(),
        Timestamp::from_millis_clamped(0),
        false,
    ))?;
    if unclean && check == Check::Always {
        // After a failed sync the kernel may consider unwritten pages clean (it reports the failure
        // once): rewriting them into the file makes them durable.
        checkpoint_wal(&conn)?;
    }
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    migrate::with_snapshot::<K>(&mut conn, path)?;
    conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    Ok(conn)
}

/// Restricts a connection to reading, and to the file that the writer has opened: a file that
/// replaced it at `path` is refused with `InvalidPath`.
pub fn prepare_reader<K: FileKind>(
    conn: &Connection,
    path: &Path,
    inode: Inode,
    id: FileId,
) -> Result<(), rusqlite::Error> {
    // The writer empties the WAL of a healthy file. Otherwise the WAL is the only copy of the last
    // commits and must survive the last close; and until the identity is checked, the WAL may
    // belong to another file.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let is_ours = || Inode::of(path).ok() == Some(inode) && check_identity::<K>(conn, id).is_ok();
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

/// Writes the WAL into the file. On a full disk, or when the file cannot grow, the WAL stays.
fn checkpoint_wal(conn: &Connection) -> Result<(), StorageError> {
    let checkpointed = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    match checkpointed.map_err(StorageError::from) {
        Err(error) if error.kind() != StorageErrorKind::Full && !error.is_refused_write() => {
            Err(error)
        }
        _ => Ok(()),
    }
}

/// The flags of every connection: no URI names, no shared cache, no mutex (only one thread at a
/// time uses a connection).
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

/// Checks that the file exists and has a header. Uses only metadata: closing a descriptor of our
/// own would release all locks of this process on the file (POSIX locks belong to the process), and
/// another program that then closes the file would remove the WAL as its last user. SQLite checks
/// the contents itself and reports missing pages as `Corrupt`.
fn check_presence(path: &Path) -> Result<(), StorageError> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() < HEADER_BYTES => {
            Err(StorageError::new(StorageErrorKind::NotADatabase))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(io_error(&error)),
    }
}

/// Runs a check: `quick_check` reads every page, `integrity_check` also the contents of the
/// indexes, which takes six times as long.
fn run_check(conn: &Connection, pragma: &'static str) -> Result<(), StorageError> {
    let result: String = conn.query_row(pragma, [], |row| row.get(0))?;
    if result == "ok" {
        Ok(())
    } else {
        Err(StorageError::new(StorageErrorKind::Corrupt))
    }
}

/// Quarantines a rejected file and its companions, unchanged: `NAME.quarantined`,
/// `NAME.quarantined-wal` … An earlier one stays; the new one is then `NAME.quarantined-2`. The
/// file moves first: a crash that left it without its WAL would hide the loss of the last commits.
/// On an error, the remaining files stay in place.
pub fn quarantine(path: &Path) -> std::io::Result<()> {
    let mut quarantined = beside(path, ".quarantined");
    for number in 2_u32.. {
        if !quarantined.exists() {
            break;
        }
        quarantined = beside(path, &format!(".quarantined-{number}"));
    }
    for suffix in ["", "-wal", "-shm"] {
        match std::fs::rename(beside(path, suffix), beside(&quarantined, suffix)) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Whether [`quarantine`] has moved a file from `path`.
pub fn has_quarantined(path: &Path) -> bool {
    last_quarantined(path).is_some()
}

fn last_quarantined(path: &Path) -> Option<PathBuf> {
    let first = beside(path, ".quarantined");
    let later = (2_u32..).map(|number| beside(path, &format!(".quarantined-{number}")));
    std::iter::once(first)
        .chain(later)
        .take_while(|quarantined| quarantined.exists())
        .last()
}

/// Restores the last quarantined file to its empty place, with its companions first, so that a
/// crash in between never leaves a file without its WAL. `false` when there is none.
pub fn restore_quarantined(path: &Path) -> std::io::Result<bool> {
    let Some(quarantined) = last_quarantined(path) else {
        return Ok(false);
    };
    for suffix in ["-wal", "-shm", ""] {
        match std::fs::rename(beside(&quarantined, suffix), beside(path, suffix)) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    sync_dir(path.parent().unwrap_or(Path::new(".")))?;
    Ok(true)
}

/// The device and inode of a file, which identify it independently of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    /// The inode of the file at `path`. `Missing` or `Io` on failure.
    pub fn of(path: &Path) -> Result<Self, StorageError> {
        Self::of_with_len(path).map(|(inode, _)| inode)
    }

    /// The inode and the size in bytes of the file at `path`. `Missing` or `Io` on failure.
    pub fn of_with_len(path: &Path) -> Result<(Self, u64), StorageError> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(path).map_err(|error| io_error(&error))?;
        let inode = Self {
            device: metadata.dev(),
            number: metadata.ino(),
        };
        Ok((inode, metadata.len()))
    }
}

fn restrict(path: &Path) -> Result<(), StorageError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|error| io_error(&error))
}
