//! Shared by the targets: numbers from the fuzzer's bytes, and files in memory.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

/// The fuzzer's bytes, read from the front; zeros after their end.
pub struct Bytes<'a>(pub &'a [u8]);

impl Bytes<'_> {
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// Reads a small number from one byte, or one of eight bytes after a 255: both are one mutation
    /// apart.
    pub fn number(&mut self) -> i64 {
        match self.byte() {
            255 => i64::from_le_bytes(std::array::from_fn(|_| self.byte())),
            small => i64::from(small),
        }
    }

    /// Reads numbers to the end, at most `most`.
    pub fn numbers(&mut self, most: usize) -> Vec<i64> {
        let mut numbers = Vec::new();
        while !self.0.is_empty() && numbers.len() < most {
            numbers.push(self.number());
        }
        numbers
    }
}

/// A file in memory.
pub struct MemoryFile {
    // It ends with its last handle.
    _file: File,
    pub path: PathBuf,
}

impl MemoryFile {
    pub fn new(content: &[u8]) -> Self {
        let fd = rustix::fs::memfd_create("fuzz", rustix::fs::MemfdFlags::CLOEXEC).expect("memory");
        let mut file = File::from(fd);
        file.write_all(content).expect("memory");
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Self { _file: file, path }
    }
}

/// Splits at the first zero byte.
pub fn two_parts(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(data.len());
    (&data[..end], data.get(end + 1..).unwrap_or_default())
}

/// Asserts that a refusal of the request's format has a suitable status, and lists its errors when
/// it should.
pub fn assert_format_refusal(problem: &tillbox::http::problem::Problem) {
    let document = problem.document("req_fuzz");
    let names_faults = document["errors"]
        .as_array()
        .is_some_and(|faults| !faults.is_empty());
    match problem.status().as_u16() {
        400 => assert!(!names_faults, "{document}"),
        422 => assert!(
            names_faults && document["code"] == "validation_failed",
            "{document}"
        ),
        _ => panic!("{document}"),
    }
}
