//! The disk as this process sees it. Every call that changes a file below one directory is noted in
//! order, and can be made to fail.
//!
//! The symbols below stand in for the C library's: this program's own code, the standard library
//! and SQLite are all bound to them when it is linked. So one recorder sees the database pages, the
//! WAL, renames and directory syncs alike, in the order in which they happened. Shared memory
//! (`-shm`) is left out: what a power cut leaves of it is never read.

pub mod calls;
pub mod states;

use std::collections::HashMap;
use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A file, whatever it is called at the moment.
pub type Inode = u32;

/// One thing that happened to the disk.
#[derive(Clone, Debug)]
pub enum Op {
    /// A file came to be at a path, empty.
    Create { path: PathBuf, inode: Inode },
    /// Bytes were written.
    Write {
        inode: Inode,
        offset: u64,
        bytes: Box<[u8]>,
    },
    /// A file was cut or stretched.
    Truncate { inode: Inode, len: u64 },
    /// What was written to a file is durable from here on.
    Sync { inode: Inode },
    /// A path lost its file.
    Unlink { path: PathBuf },
    /// A file has another path.
    Rename { from: PathBuf, to: PathBuf },
    /// What happened to a directory's entries is durable from here on.
    SyncDir { dir: PathBuf },
}

/// Which calls can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Open,
    Write,
    Truncate,
    Sync,
    Unlink,
    Rename,
}

impl Call {
    pub const ALL: &'static [Self] = &[
        Self::Open,
        Self::Write,
        Self::Truncate,
        Self::Sync,
        Self::Unlink,
        Self::Rename,
    ];
}

/// A call that is to fail.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub call: Call,
    /// How many such calls still succeed.
    pub after: u64,
    /// How many of them fail then.
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
    syncs_are_lies: bool,
    fault: Option<Fault>,
    struck: u64,
    /// How many more calls that change something the process lives to make.
    life: Option<u64>,
}

static WATCHING: AtomicBool = AtomicBool::new(false);
static RECORDER: Mutex<Option<Recorder>> = Mutex::new(None);

fn recorder() -> MutexGuard<'static, Option<Recorder>> {
    RECORDER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes from here on what happens below `root`, which is empty but for directories. With
/// `syncs_are_lies` a sync is not noted, as if the disk had only claimed to have done it.
pub fn watch(root: &Path, syncs_are_lies: bool) {
    *recorder() = Some(Recorder {
        root: root.to_owned(),
        syncs_are_lies,
        ..Recorder::default()
    });
    WATCHING.store(true, Ordering::SeqCst);
}

/// How many things have happened.
pub fn position() -> usize {
    recorder().as_ref().map_or(0, |recorder| recorder.ops.len())
}

/// Has a call fail; [`None`] lets all succeed again. Gives how many have failed since the last one
/// was set.
pub fn strike(fault: Option<Fault>) -> u64 {
    let mut guard = recorder();
    let Some(recorder) = guard.as_mut() else {
        return 0;
    };
    recorder.fault = fault;
    std::mem::take(&mut recorder.struck)
}

/// Has the process die, as by `kill -9`, after so many more calls that change something: from then
/// on each fails and leaves the disk as it is, so that whatever the process still does in its
/// orderly way reaches nothing. [`None`] begins a new life.
pub fn die_after(calls: Option<u64>) {
    if let Some(recorder) = recorder().as_mut() {
        recorder.life = calls;
    }
}

/// Whether its time has come.
pub fn is_dead() -> bool {
    recorder()
        .as_ref()
        .is_some_and(|recorder| recorder.life == Some(0))
}

/// ChainEnds the watch; gives what has happened.
pub fn take() -> Vec<Op> {
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

    /// The error that a call is to fail with, if its time has come.
    fn error_for(&mut self, call: Call) -> Option<c_int> {
        match self.life.as_mut() {
            Some(0) => return Some(libc::EIO),
            // What a connection for reading opens, and when, is chance; and opening alone changes
            // nothing that counts.
            Some(_) if call == Call::Open => {}
            Some(life) => *life -= 1,
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
        self.struck += 1;
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
        if !self.syncs_are_lies {
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
