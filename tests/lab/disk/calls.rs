//! Replacements for functions of the C library, which record their effects.
#![expect(
    unsafe_code,
    reason = "these are the C library's own symbols, with its signatures"
)]

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use libc::{mode_t, off_t, size_t, ssize_t};

use super::{Recorder, Syscall, WATCHING, recorder};

/// Returns the C library's own function of a name.
macro_rules! real {
    ($name:literal as fn($($argument:ty),*) -> $result:ty) => {{
        static REAL: OnceLock<usize> = OnceLock::new();
        let address = *REAL.get_or_init(|| {
            // SAFETY: the name is a C string.
            let found = unsafe { libc::dlsym(libc::RTLD_NEXT, $name.as_ptr()) };
            assert!(!found.is_null(), "the C library has this function");
            found as usize
        });
        // SAFETY: the C library's function of that name has that signature.
        unsafe { std::mem::transmute::<usize,
            unsafe extern "C" fn($($argument),*) -> $result>(address) }
    }};
}

fn fail<T: From<i8>>(errno: c_int) -> T {
    // SAFETY: the address is this thread's own.
    unsafe { *libc::__errno_location() = errno };
    T::from(-1)
}

fn path_of<'a>(path: *const c_char) -> &'a Path {
    // SAFETY: callers of these functions pass a C string that lives as long as the call.
    Path::new(OsStr::from_bytes(
        unsafe { CStr::from_ptr(path) }.to_bytes(),
    ))
}

/// Runs `call`, and `record` on its result, under one lock, so that the order of records is the
/// order of calls. `sees` decides whether the recorder observes this call.
fn observe<T: From<i8> + PartialOrd + Copy>(
    kind: Syscall,
    sees: impl FnOnce(&Recorder) -> bool,
    call: impl FnOnce() -> T,
    record: impl FnOnce(&mut Recorder, T),
) -> T {
    if !WATCHING.load(Ordering::SeqCst) {
        return call();
    }
    let mut guard = recorder();
    let Some(recorder) = guard.as_mut().filter(|recorder| sees(recorder)) else {
        drop(guard);
        return call();
    };
    if let Some(errno) = recorder.error_for(kind) {
        return fail(errno);
    }
    let result = call();
    if result >= T::from(0) {
        record(recorder, result);
    }
    result
}

fn observe_open(path: *const c_char, flags: c_int, call: impl FnOnce() -> c_int) -> c_int {
    let path = path_of(path);
    let is_dir = std::cell::Cell::new(false);
    let call = || {
        let fd = call();
        if fd >= 0 {
            // SAFETY: an all-zero `stat` is a valid one, and the descriptor is open.
            let mut stat: libc::stat = unsafe { std::mem::zeroed() };
            let result = unsafe { libc::fstat(fd, &raw mut stat) };
            is_dir.set(result == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFDIR);
        }
        fd
    };
    observe(
        Syscall::Open,
        |recorder| recorder.sees(path),
        call,
        |recorder, fd| recorder.opened(fd, path, is_dir.get(), flags & libc::O_TRUNC != 0),
    )
}

/// # Safety
/// As open(2). The mode is a variadic argument there; it is passed in the same register here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    let real = real!(c"open" as fn(*const c_char, c_int, mode_t) -> c_int);
    // SAFETY: the caller's arguments, unchanged.
    observe_open(path, flags, || unsafe { real(path, flags, mode) })
}

/// # Safety
/// As open(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    let real = real!(c"open64" as fn(*const c_char, c_int, mode_t) -> c_int);
    // SAFETY: the caller's arguments, unchanged.
    observe_open(path, flags, || unsafe { real(path, flags, mode) })
}

/// # Safety
/// As close(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    let real = real!(c"close" as fn(c_int) -> c_int);
    if WATCHING.load(Ordering::SeqCst)
        && let Some(recorder) = recorder().as_mut()
    {
        // Before the call: afterwards another file may get the same number at once.
        recorder.handles.remove(&fd);
    }
    // SAFETY: the caller's argument, unchanged.
    unsafe { real(fd) }
}

fn bytes_of<'a>(buffer: *const c_void, count: ssize_t) -> &'a [u8] {
    // SAFETY: the system has just read so many bytes from there.
    unsafe { std::slice::from_raw_parts(buffer.cast(), usize::try_from(count).unwrap_or(0)) }
}

/// # Safety
/// As write(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, buffer: *const c_void, count: size_t) -> ssize_t {
    let real = real!(c"write" as fn(c_int, *const c_void, size_t) -> ssize_t);
    // SAFETY: the caller's arguments, unchanged.
    let call = || unsafe { real(fd, buffer, count) };
    let record = |recorder: &mut Recorder, written: ssize_t| {
        // SAFETY: only asks for the descriptor's position after the call.
        let end = unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) };
        recorder.written(
            fd,
            u64::try_from(end - written as off_t).unwrap_or(0),
            bytes_of(buffer, written),
        );
    };
    observe(
        Syscall::Write,
        |recorder| recorder.inode(fd).is_some(),
        call,
        record,
    )
}

fn observe_pwrite(
    fd: c_int,
    buffer: *const c_void,
    offset: off_t,
    call: impl FnOnce() -> ssize_t,
) -> ssize_t {
    let record = |recorder: &mut Recorder, written: ssize_t| {
        recorder.written(
            fd,
            u64::try_from(offset).unwrap_or(0),
            bytes_of(buffer, written),
        );
    };
    observe(
        Syscall::Write,
        |recorder| recorder.inode(fd).is_some(),
        call,
        record,
    )
}

/// # Safety
/// As pwrite(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite(
    fd: c_int,
    buffer: *const c_void,
    count: size_t,
    offset: off_t,
) -> ssize_t {
    let real = real!(c"pwrite" as fn(c_int, *const c_void, size_t, off_t) -> ssize_t);
    // SAFETY: the caller's arguments, unchanged.
    observe_pwrite(fd, buffer, offset, || unsafe {
        real(fd, buffer, count, offset)
    })
}

/// # Safety
/// As pwrite(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(
    fd: c_int,
    buffer: *const c_void,
    count: size_t,
    offset: off_t,
) -> ssize_t {
    let real = real!(c"pwrite64" as fn(c_int, *const c_void, size_t, off_t) -> ssize_t);
    // SAFETY: the caller's arguments, unchanged.
    observe_pwrite(fd, buffer, offset, || unsafe {
        real(fd, buffer, count, offset)
    })
}

fn observe_truncate(fd: c_int, len: off_t, call: impl FnOnce() -> c_int) -> c_int {
    let record = |recorder: &mut Recorder, _| recorder.cut(fd, u64::try_from(len).unwrap_or(0));
    observe(
        Syscall::Truncate,
        |recorder| recorder.inode(fd).is_some(),
        call,
        record,
    )
}

/// # Safety
/// As ftruncate(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate(fd: c_int, len: off_t) -> c_int {
    let real = real!(c"ftruncate" as fn(c_int, off_t) -> c_int);
    // SAFETY: the caller's arguments, unchanged.
    observe_truncate(fd, len, || unsafe { real(fd, len) })
}

/// # Safety
/// As ftruncate(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate64(fd: c_int, len: off_t) -> c_int {
    let real = real!(c"ftruncate64" as fn(c_int, off_t) -> c_int);
    // SAFETY: the caller's arguments, unchanged.
    observe_truncate(fd, len, || unsafe { real(fd, len) })
}

fn observe_sync(fd: c_int, call: impl FnOnce() -> c_int) -> c_int {
    let sees = |recorder: &Recorder| recorder.handles.contains_key(&fd);
    observe(Syscall::Sync, sees, call, |recorder, _| recorder.synced(fd))
}

/// # Safety
/// As fsync(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    let real = real!(c"fsync" as fn(c_int) -> c_int);
    // SAFETY: the caller's argument, unchanged.
    observe_sync(fd, || unsafe { real(fd) })
}

/// # Safety
/// As fdatasync(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    let real = real!(c"fdatasync" as fn(c_int) -> c_int);
    // SAFETY: the caller's argument, unchanged.
    observe_sync(fd, || unsafe { real(fd) })
}

/// # Safety
/// As unlink(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    let real = real!(c"unlink" as fn(*const c_char) -> c_int);
    let name = path_of(path);
    observe(
        Syscall::Unlink,
        |recorder| recorder.sees(name),
        // SAFETY: the caller's argument, unchanged.
        || unsafe { real(path) },
        |recorder, _| recorder.unlinked(name),
    )
}

/// # Safety
/// As rename(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let real = real!(c"rename" as fn(*const c_char, *const c_char) -> c_int);
    let (old, new) = (path_of(from), path_of(to));
    observe(
        Syscall::Rename,
        |recorder| recorder.sees(old),
        // SAFETY: the caller's arguments, unchanged.
        || unsafe { real(from, to) },
        |recorder, _| recorder.renamed(old, new),
    )
}
