//! The disk as this process sees it. Every call that changes a file below one directory is recorded
//! in order, and can be made to fail.
//!
//! The symbols in [`calls`] replace those of the C library. The linker binds this program's own
//! code, the standard library and SQLite to them. So one recorder sees database pages, the WAL,
//! renames and directory syncs in the order in which they happen. Shared memory (`-shm`) is left
//! out, because its content is never read after a power cut.

pub mod calls;
pub mod states;

use std::collections::HashMap;
use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A file, independent of its current path.
pub type Inode = u32;

/// One recorded change of the disk.
#[derive(Clone, Debug)]
pub enum Op {
    /// An empty file was created at a path.
    Create {
        path: PathBuf,
        inode: Inode,
    },
    Write {
        inode: Inode,
        offset: u64,
        bytes: Box<[u8]>,
    },
    /// A file was shortened or extended.
    Truncate {
        inode: Inode,
        len: u64,
    },
    /// Everything written to a file so far is durable.
    Sync {
        inode: Inode,
    },
    /// A path was removed.
    Unlink {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    /// All changes to a directory's entries so far are durable.
    SyncDir {
        dir: PathBuf,
    },
}

/// The calls that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syscall {
    Open,
    Write,
    Truncate,
    Sync,
    Unlink,
    Rename,
}

impl Syscall {
    pub const ALL: &'static [Self] = &[
        Self::Open,
        Self::Write,
        Self::Truncate,
        Self::Sync,
        Self::Unlink,
        Self::Rename,
    ];
}

/// A planned failure of a call.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub call: Syscall,
    /// Calls that still succeed.
    pub after: u64,
    /// Calls that fail after those.
    pub times: u64,
    pub errno: c_int,
}

#[derive(Clone, Debug)]
enum Handle {
    File(Inode),
    Dir(PathBuf),
}

#[derive(Default)]
struct Recorder {
    root: PathBuf,
    ops: Vec<Op>,
    paths: HashMap<PathBuf, Inode>,
    handles: HashMap<c_int, Handle>,
    inodes: Inode,
    ignores_syncs: bool,
    fault: Option<Fault>,
    hits: u64,
    /// Changing calls left before the simulated death of the process.
    calls_left: Option<u64>,
}

static WATCHING: AtomicBool = AtomicBool::new(false);
static RECORDER: Mutex<Option<Recorder>> = Mutex::new(None);

fn recorder() -> MutexGuard<'static, Option<Recorder>> {
    RECORDER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts recording the changes below `root`, which holds no files yet. With `ignores_syncs` no
/// sync is recorded, like on a disk that reports syncs without doing them.
pub fn watch(root: &Path, ignores_syncs: bool) {
    *recorder() = Some(Recorder {
        root: root.to_owned(),
        ignores_syncs,
        ..Recorder::default()
    });
    WATCHING.store(true, Ordering::SeqCst);
}

/// Returns the number of recorded changes.
pub fn position() -> usize {
    recorder().as_ref().map_or(0, |recorder| recorder.ops.len())
}

/// Makes a call fail; [`None`] lets all calls succeed again. Returns the number of failures since
/// the last call of this function.
pub fn inject(fault: Option<Fault>) -> u64 {
    let mut guard = recorder();
    let Some(recorder) = guard.as_mut() else {
        return 0;
    };
    recorder.fault = fault;
    std::mem::take(&mut recorder.hits)
}

/// Simulates `kill -9` after a number of changing calls. From then on each such call fails and
/// leaves the disk unchanged, so that the orderly shutdown of the process has no effect. [`None`]
/// ends the simulated death.
pub fn kill_after(calls: Option<u64>) {
    if let Some(recorder) = recorder().as_mut() {
        recorder.calls_left = calls;
    }
}

/// Reports whether the simulated death has happened.
pub fn is_dead() -> bool {
    recorder()
        .as_ref()
        .is_some_and(|recorder| recorder.calls_left == Some(0))
}

/// Stops recording and returns the changes.
pub fn stop() -> Vec<Op> {
    WATCHING.store(false, Ordering::SeqCst);
    recorder()
        .take()
        .map(|recorder| recorder.ops)
        .unwrap_or_default()
}

impl Recorder {
    fn sees(&self, path: &Path) -> bool {
        path.starts_with(&self.root) && !path.as_os_str().as_encoded_bytes().ends_with(b"-shm")
    }

    /// Returns the error that a call must fail with, if any.
    fn error_for(&mut self, call: Syscall) -> Option<c_int> {
        match self.calls_left.as_mut() {
            Some(0) => return Some(libc::EIO),
            // The opens of reading connections depend on timing, and an open alone changes nothing
            // that matters here.
            Some(_) if call == Syscall::Open => {}
            Some(calls_left) => *calls_left -= 1,
            None => {}
        }
        let fault = self.fault.as_mut().filter(|fault| fault.call == call)?;
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        if fault.times == 0 {
            return None;
        }
        fault.times -= 1;
        self.hits += 1;
        Some(fault.errno)
    }

    fn opened(&mut self, fd: c_int, path: &Path, is_dir: bool, truncated: bool) {
        if is_dir {
            self.handles.insert(fd, Handle::Dir(path.to_owned()));
            return;
        }
        let inode = match self.paths.get(path) {
            Some(inode) => *inode,
            None => {
                let inode = self.inodes;
                self.inodes += 1;
                self.paths.insert(path.to_owned(), inode);
                self.ops.push(Op::Create {
                    path: path.to_owned(),
                    inode,
                });
                inode
            }
        };
        if truncated {
            self.ops.push(Op::Truncate { inode, len: 0 });
        }
        self.handles.insert(fd, Handle::File(inode));
    }

    fn inode(&self, fd: c_int) -> Option<Inode> {
        match self.handles.get(&fd)? {
            Handle::File(inode) => Some(*inode),
            Handle::Dir(_) => None,
        }
    }

    fn written(&mut self, fd: c_int, offset: u64, bytes: &[u8]) {
        if let Some(inode) = self.inode(fd) {
            let bytes = bytes.into();
            self.ops.push(Op::Write {
                inode,
                offset,
                bytes,
            });
        }
    }

    fn cut(&mut self, fd: c_int, len: u64) {
        if let Some(inode) = self.inode(fd) {
            self.ops.push(Op::Truncate { inode, len });
        }
    }

    fn synced(&mut self, fd: c_int) {
        let op = match self.handles.get(&fd) {
            Some(Handle::File(inode)) => Op::Sync { inode: *inode },
            Some(Handle::Dir(dir)) => Op::SyncDir { dir: dir.clone() },
            None => return,
        };
        if !self.ignores_syncs {
            self.ops.push(op);
        }
    }

    fn unlinked(&mut self, path: &Path) {
        if self.paths.remove(path).is_some() {
            self.ops.push(Op::Unlink {
                path: path.to_owned(),
            });
        }
    }

    fn renamed(&mut self, from: &Path, to: &Path) {
        if let Some(inode) = self.paths.remove(from) {
            self.paths.insert(to.to_owned(), inode);
            self.ops.push(Op::Rename {
                from: from.to_owned(),
                to: to.to_owned(),
            });
        }
    }
}
