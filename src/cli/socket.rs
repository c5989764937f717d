//! The admin socket: its path, and both of its ends. Its permissions (mode 0600) control who may
//! run commands.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::config::{Config, DEFAULT_DATA_DIR};

const NAME: &str = "admin.sock";
/// The longest path that is used directly: every Unix accepts 103 bytes for a socket. Longer paths
/// go through the directory's descriptor.
const PATH_BYTES_MAX: usize = 100;

/// Returns the socket's path: in systemd's RUNTIME_DIRECTORY, else in /run/tillbox for the data in
/// [`DEFAULT_DATA_DIR`], else in the data directory.
pub fn path(config: &Config) -> PathBuf {
    let given = std::env::var_os("RUNTIME_DIRECTORY").filter(|dir| !dir.is_empty());
    path_in(given.map(PathBuf::from), &config.storage.data_dir)
}

fn path_in(runtime_dir: Option<PathBuf>, data_dir: &Path) -> PathBuf {
    match runtime_dir {
        Some(dir) => dir.join(NAME),
        None if data_dir == Path::new(DEFAULT_DATA_DIR) => Path::new("/run/tillbox").join(NAME),
        None => data_dir.join(NAME),
    }
}

/// Listens at `path` and replaces a stale socket: the caller has the lock of the data directory, so
/// no daemon uses it.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    // Created under another name and renamed: clients never see wrong permissions or no socket.
    let fresh = path.with_extension("sock.new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = by_short_path(&fresh, |path| UnixListener::bind(path))?;
    fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
    fs::rename(&fresh, path)?;
    Ok(listener)
}

pub fn connect(path: &Path) -> io::Result<UnixStream> {
    by_short_path(path, |path| UnixStream::connect(path))
}

fn by_short_path<T>(path: &Path, open: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return open(path);
    };
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return open(path);
    }
    let dir = File::open(dir)?;
    open(
        &Path::new("/proc/self/fd")
            .join(dir.as_raw_fd().to_string())
            .join(name),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derives_path_from_runtime_and_data_directory() {
        let at = |runtime: Option<&str>, data: &str| {
            path_in(runtime.map(PathBuf::from), Path::new(data))
        };
        assert_eq!(at(Some("/run/x"), "/srv/t"), Path::new("/run/x/admin.sock"));
        assert_eq!(
            at(None, DEFAULT_DATA_DIR),
            Path::new("/run/tillbox/admin.sock")
        );
        assert_eq!(at(None, "/srv/t"), Path::new("/srv/t/admin.sock"));
    }

    #[test]
    fn replaces_stale_socket_at_long_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d".repeat(120)).join(NAME);
        drop(bind(&path).unwrap());
        assert!(connect(&path).is_err());
        let listener = bind(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        connect(&path).unwrap();
        drop(listener);
    }
}
