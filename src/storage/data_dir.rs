//! The data directory: its layout, and the lock that makes this process the only one that writes
//! there.
//!
//! The lock is what makes rescue exact: whoever holds it knows that every job marked `running` is
//! an orphan.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, FileExt as _, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::primitives::id::TenantId;

/// The name of the lock's file.
const LOCK: &str = "LOCK";
/// The write bits of the group and of everybody else.
const WRITE_OF_OTHERS: u32 = 0o022;

/// A data directory that this process has locked. The lock ends with the value, or with the
/// process, however it ends.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process holds the lock.
    #[error("the data directory {0} is in use by another tillbox process")]
    InUse(PathBuf),
    /// Others than its owner may write to it, and so put anything in the place of its files.
    #[error(
        "the data directory can be written by others than its owner: {path} has mode {mode:o}; \
         run: chmod go-w {path}"
    )]
    Writable {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It cannot be made, read or locked.
    #[error(
        "the data directory cannot be used: {path}: {source}; look at the permissions and the \
         disk, or name another one with --data-dir"
    )]
    Io {
        /// The directory or the file in it.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl DataDir {
    /// Creates what is missing (mode 0700), durably, and takes no lock: for what is put into the
    /// directory before it is opened.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn prepare(root: &Path) -> Result<(), DataDirError> {
        for dir in [root.to_owned(), root.join("tenants")] {
            if !dir.is_dir() {
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&dir)
                    .map_err(at(&dir))?;
                if dir != root {
                    give_to_owner(root, &dir).map_err(at(&dir))?;
                }
                sync_dir(
                    dir.parent()
                        .filter(|parent| !parent.as_os_str().is_empty())
                        .unwrap_or(Path::new(".")),
                )
                .map_err(at(&dir))?;
            }
        }
        Ok(())
    }

    /// Creates what is missing and takes the lock.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        Self::prepare(root)?;
        let path = root.join(LOCK);
        for dir in [root.to_owned(), root.join("tenants")] {
            let mode = fs::metadata(&dir).map_err(at(&dir))?.mode() & 0o777;
            if mode & WRITE_OF_OTHERS != 0 {
                return Err(DataDirError::Writable { path: dir, mode });
            }
        }
        let lock = open_own(
            File::options().create(true).truncate(false).write(true),
            &path,
        )
        .map_err(at(&path))?;
        lock.set_permissions(fs::Permissions::from_mode(0o600))
            .map_err(at(&path))?;
        give_to_owner(root, &path).map_err(at(&path))?;
        match lock.try_lock() {
            Ok(()) => {
                let dir = Self {
                    root: root.to_owned(),
                    lock,
                };
                // What a holder that is gone noted leads nowhere any more.
                dir.note_address(Path::new(""))?;
                Ok(dir)
            }
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(root.to_owned())),
            Err(TryLockError::Error(source)) => Err(DataDirError::Io { path, source }),
        }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes where whoever holds the directory can be spoken to into the lock's file, for others
    /// to read: nothing, when it listens nowhere.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn note_address(&self, address: &Path) -> Result<(), DataDirError> {
        use std::os::unix::ffi::OsStrExt as _;
        let path = self.root.join(LOCK);
        let write = || {
            self.lock.set_len(0)?;
            self.lock.write_all_at(address.as_os_str().as_bytes(), 0)
        };
        write().map_err(at(&path))
    }

    /// What the holder of the directory noted, if it noted anything.
    pub fn find_address(root: &Path) -> Option<PathBuf> {
        use std::os::unix::ffi::OsStringExt as _;
        let noted = fs::read(root.join(LOCK))
            .ok()
            .filter(|noted| !noted.is_empty())?;
        Some(PathBuf::from(std::ffi::OsString::from_vec(noted)))
    }

    /// The landlord's file.
    pub fn landlord(&self) -> PathBuf {
        self.root.join("landlord.db")
    }

    /// The directory of the tenants' files.
    pub fn tenants(&self) -> PathBuf {
        self.root.join("tenants")
    }

    /// How many files of tenants there are.
    pub fn count_tenants(&self) -> usize {
        let files = fs::read_dir(self.tenants()).into_iter().flatten().flatten();
        files
            .filter(|file| {
                Path::new(&file.file_name())
                    .extension()
                    .is_some_and(|extension| extension == "db")
            })
            .count()
    }

    /// A tenant's file. Its name is an id of ours, never a text of a user's.
    pub fn tenant(&self, id: TenantId) -> PathBuf {
        self.tenants().join(format!("{id}.db"))
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DataDirError + use<> {
    let path = path.to_owned();
    move |source| DataDirError::Io { path, source }
}

/// A secret that is kept in a file of the data directory (mode 0600): what is there, or what `make`
/// makes, durably. Only for whoever holds the lock.
///
/// # Errors
/// [`DataDirError::Io`].
pub fn keep_secret(
    root: &Path,
    name: &str,
    make: impl FnOnce() -> String,
) -> Result<String, DataDirError> {
    let path = root.join(name);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read.map_err(at(&path)),
    }
    let (secret, unfinished) = (make(), beside(&path, ".tmp"));
    let write = || {
        let mut options = File::options();
        options.create(true).truncate(true).write(true).mode(0o600);
        let mut file = open_own(&mut options, &unfinished)?;
        file.write_all(secret.as_bytes())?;
        file.sync_all()?;
        give_to_owner(root, &unfinished)?;
        fs::rename(&unfinished, &path)?;
        sync_dir(root)
    };
    write().map_err(at(&path))?;
    Ok(secret)
}

/// What root puts into somebody else's directory is theirs: a command that an administrator runs
/// while the daemon is down must not leave files behind that the daemon's own user cannot open.
/// SQLite does the same with what it puts beside a file.
///
/// # Errors
/// The system's.
pub fn give_to_owner(dir: &Path, path: &Path) -> io::Result<()> {
    let owner = fs::metadata(dir)?;
    if rustix::process::geteuid().is_root() && (owner.uid(), owner.gid()) != (0, 0) {
        std::os::unix::fs::lchown(path, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// Opens a file of the program's own, and never follows a symbolic link in its place: whoever put
/// that there chose the file that would be written.
///
/// # Errors
/// The system's; of a symbolic link, what to do about it.
pub fn open_own(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let opened = options.custom_flags(NO_FOLLOW).open(path);
    opened.map_err(|error| {
        if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            let text = "it is a symbolic link, which is not followed; remove the link";
            return io::Error::new(error.kind(), text);
        }
        error
    })
}

/// Makes a directory's entries durable: a file that was created or renamed in it is there after a
/// power cut.
///
/// # Errors
/// The system's.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The path of the file `suffix` beside a database file: `-wal`, `-shm`, `.tmp`, `.quarantined`.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
