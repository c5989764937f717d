//! The admin socket: where it is, and how it is opened from both ends. Who may open it is who may
//! run the commands (mode 0600).

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::config::{Config, DEFAULT_DATA_DIR};

const NAME: &str = "admin.sock";
/// The longest path that every Unix takes for a socket is 103 bytes; longer ones go by way of the
/// directory's descriptor.
const PATH_BYTES_MAX: usize = 100;

/// Where the socket is: in the runtime directory that systemd names, else in the system's for the
/// system's data, else with the data.
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

/// Listens. Whatever lies at `path` is a dead daemon's: the caller holds the lock of the data
/// directory.
///
/// # Errors
/// The system's.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    // Made beside its place and then moved there: nobody ever finds it with other permissions, or
    // finds none.
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

/// Connects.
///
/// # Errors
/// The system's.
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
    fn the_socket_is_where_the_contract_says() {
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
    fn a_stale_socket_is_replaced_and_a_long_path_works() {
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
