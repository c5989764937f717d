//! The data directory: its layout, and the lock that makes this process its only writer.
//!
//! The lock makes rescue exact: for its holder, every job marked `running` is an orphan.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, FileExt as _, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::primitives::id::TenantId;

const LOCK: &str = "LOCK";
/// The write permissions of the group and of others.
const WRITE_OF_OTHERS: u32 = 0o022;

/// A locked data directory. The lock is released with the value, or when the process ends in any
/// way.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    lock: File,
}

/// The reason why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process holds the lock.
    #[error(
        "the data directory {0} is in use by another tillbox process; stop it or use another \
         directory"
    )]
    InUse(PathBuf),
    /// Others than its owner can write to it, and so replace its files.
    #[error(
        "the data directory can be written by others than its owner: {path} has mode {mode:o}; \
         run: chmod go-w {path}"
    )]
    Writable {
        path: PathBuf,
        /// The permissions of the directory.
        mode: u32,
    },
    /// It cannot be created, read or locked.
    #[error(
        "the data directory cannot be used: {path}: {source}; check the permissions and the disk, \
         or choose another one with --data-dir"
    )]
    Io {
        /// The directory or a file in it.
        path: PathBuf,
        source: io::Error,
    },
}

impl DataDir {
    /// Durably creates missing directories (mode 0700) without locking: for files that are put into
    /// the directory before it is opened.
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

    /// Creates missing directories and locks the data directory.
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
                // The address of an earlier process is no longer valid.
                dir.write_address(Path::new(""))?;
                Ok(dir)
            }
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(root.to_owned())),
            Err(TryLockError::Error(source)) => Err(DataDirError::Io { path, source }),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes the address of the admin socket into the lock file for other processes; empty when
    /// the process does not listen.
    pub fn write_address(&self, address: &Path) -> Result<(), DataDirError> {
        use std::os::unix::ffi::OsStrExt as _;
        let path = self.root.join(LOCK);
        let write = || {
            self.lock.set_len(0)?;
            self.lock.write_all_at(address.as_os_str().as_bytes(), 0)
        };
        write().map_err(at(&path))
    }

    /// The address in the lock file, if there is one.
    pub fn find_address(root: &Path) -> Option<PathBuf> {
        use std::os::unix::ffi::OsStringExt as _;
        let address = fs::read(root.join(LOCK))
            .ok()
            .filter(|address| !address.is_empty())?;
        Some(PathBuf::from(std::ffi::OsString::from_vec(address)))
    }

    /// The landlord's file.
    pub fn landlord(&self) -> PathBuf {
        self.root.join("landlord.db")
    }

    /// The directory of the tenants' files.
    pub fn tenants(&self) -> PathBuf {
        self.root.join("tenants")
    }

    /// Counts the files of tenants.
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

    /// The path of a tenant's file. Its name is a generated id, never a user's text.
    pub fn tenant(&self, id: TenantId) -> PathBuf {
        self.tenants().join(format!("{id}.db"))
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DataDirError + use<> {
    let path = path.to_owned();
    move |source| DataDirError::Io { path, source }
}

/// Loads a secret from a file of the data directory (mode 0600), or durably creates it with `make`.
/// Only for the holder of the lock.
pub fn load_or_create_secret(
    root: &Path,
    name: &str,
    make: impl FnOnce() -> String,
) -> Result<String, DataDirError> {
    let path = root.join(name);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read.map_err(at(&path)),
    }
    let (secret, temporary) = (make(), beside(&path, ".tmp"));
    let write = || {
        let mut options = File::options();
        options.create(true).truncate(true).write(true).mode(0o600);
        let mut file = open_own(&mut options, &temporary)?;
        file.write_all(secret.as_bytes())?;
        file.sync_all()?;
        give_to_owner(root, &temporary)?;
        fs::rename(&temporary, &path)?;
        sync_dir(root)
    };
    write().map_err(at(&path))?;
    Ok(secret)
}

/// Gives a file that root creates in another user's directory to that user. An administrator's
/// command, run while the daemon is down, must not leave files that the daemon's user cannot open.
/// SQLite does the same with the files beside a database.
pub fn give_to_owner(dir: &Path, path: &Path) -> io::Result<()> {
    let owner = fs::metadata(dir)?;
    if rustix::process::geteuid().is_root() && (owner.uid(), owner.gid()) != (0, 0) {
        std::os::unix::fs::lchown(path, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// Opens a file of the program without following a symbolic link: the creator of such a link would
/// choose the file that is written.
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

/// Makes a directory's entries durable: a created or renamed file survives a power failure.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The path of the file `suffix` beside a database file: `-wal`, `-shm`, `.tmp`, `.quarantined`.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
