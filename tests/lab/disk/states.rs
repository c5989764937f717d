//! Possible disk states after a power cut at a point of the history.
//!
//! Synced data is there. Of unsynced data any part may be there: nothing, everything, everything
//! before some instant, or any selection of 512-byte sectors, some of which hold garbage. A file's
//! directory entry is separate: it is durable after the directory was synced. Entries of one
//! directory become durable in order, as every journaling file system guarantees.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Inode, Op};
use crate::rng::Rng;

const SECTOR: usize = 512;

/// The part of the unsynced data that survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survives {
    Nothing,
    Everything,
    /// Changes before some instant.
    Prefix,
    /// Any selection of sectors.
    Sectors,
}

impl Survives {
    pub const ALL: &'static [Self] =
        &[Self::Nothing, Self::Everything, Self::Prefix, Self::Sectors];
}

#[derive(Clone, Debug)]
enum Change<'a> {
    Write { offset: u64, bytes: &'a [u8] },
    Truncate { len: u64 },
}

#[derive(Clone, Debug)]
enum Entry<'a> {
    Add { path: &'a Path, inode: Inode },
    Remove { path: &'a Path },
    Rename { from: &'a Path, to: &'a Path },
}

#[derive(Clone, Debug, Default)]
struct File<'a> {
    durable: Vec<u8>,
    pending: Vec<(usize, Change<'a>)>,
}

/// The disk at a point of its history.
#[derive(Clone, Debug, Default)]
pub struct Disk<'a> {
    at: usize,
    files: BTreeMap<Inode, File<'a>>,
    entries: BTreeMap<&'a Path, Inode>,
    pending: BTreeMap<&'a Path, Vec<(usize, Entry<'a>)>>,
}

impl<'a> Disk<'a> {
    /// Replays the history up to `end`.
    pub fn advance(&mut self, history: &'a [Op], end: usize) {
        while self.at < end {
            self.step(&history[self.at]);
            self.at += 1;
        }
    }

    fn step(&mut self, op: &'a Op) {
        let at = self.at;
        match op {
            Op::Create { path, inode } => {
                self.files.insert(*inode, File::default());
                self.entry(
                    path,
                    Entry::Add {
                        path,
                        inode: *inode,
                    },
                );
            }
            Op::Write {
                inode,
                offset,
                bytes,
            } => self.file(*inode).pending.push((
                at,
                Change::Write {
                    offset: *offset,
                    bytes,
                },
            )),
            Op::Truncate { inode, len } => self
                .file(*inode)
                .pending
                .push((at, Change::Truncate { len: *len })),
            Op::Sync { inode } => {
                let file = self.file(*inode);
                for (_, change) in std::mem::take(&mut file.pending) {
                    apply(&mut file.durable, &change);
                }
            }
            Op::Unlink { path } => self.entry(path, Entry::Remove { path }),
            Op::Rename { from, to } => self.entry(from, Entry::Rename { from, to }),
            Op::SyncDir { dir } => {
                for (_, entry) in self.pending.remove(dir.as_path()).unwrap_or_default() {
                    enter(&mut self.entries, &entry);
                }
            }
        }
    }

    fn file(&mut self, inode: Inode) -> &mut File<'a> {
        self.files.entry(inode).or_default()
    }

    fn entry(&mut self, path: &'a Path, entry: Entry<'a>) {
        let dir = path.parent().unwrap_or(path);
        self.pending.entry(dir).or_default().push((self.at, entry));
    }

    /// Returns the files after a cut, with their contents.
    pub fn image(&self, survives: Survives, rng: &mut Rng) -> BTreeMap<PathBuf, Vec<u8>> {
        let instant = rng.below(self.at as u64 + 1) as usize;
        let share = 1 + rng.below(9);
        let mut entries = self.entries.clone();
        for pending in self.pending.values() {
            let kept = match survives {
                Survives::Nothing => 0,
                Survives::Everything => pending.len(),
                Survives::Prefix => pending.iter().filter(|(at, _)| *at < instant).count(),
                Survives::Sectors => rng.below(pending.len() as u64 + 1) as usize,
            };
            pending
                .iter()
                .take(kept)
                .for_each(|(_, entry)| enter(&mut entries, entry));
        }
        let contents = |(path, inode): (&Path, Inode), rng: &mut Rng| {
            let file = &self.files[&inode];
            let mut bytes = file.durable.clone();
            for (at, change) in &file.pending {
                match survives {
                    Survives::Nothing => {}
                    Survives::Everything => apply(&mut bytes, change),
                    Survives::Prefix if *at < instant => apply(&mut bytes, change),
                    Survives::Prefix => {}
                    Survives::Sectors => tear(&mut bytes, change, share, rng),
                }
            }
            (path.to_owned(), bytes)
        };
        entries
            .into_iter()
            .map(|entry| contents(entry, rng))
            .collect()
    }
}

fn enter<'a>(entries: &mut BTreeMap<&'a Path, Inode>, entry: &Entry<'a>) {
    match entry {
        Entry::Add { path, inode } => drop(entries.insert(path, *inode)),
        Entry::Remove { path } => drop(entries.remove(path)),
        Entry::Rename { from, to } => {
            if let Some(inode) = entries.remove(from) {
                entries.insert(to, inode);
            }
        }
    }
}

fn apply(file: &mut Vec<u8>, change: &Change<'_>) {
    match change {
        Change::Truncate { len } => file.resize(*len as usize, 0),
        Change::Write { offset, bytes } => put(file, *offset as usize, bytes),
    }
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

/// Applies `share` tenths of the sectors of a change. One applied sector in thirty-two holds
/// garbage.
fn tear(file: &mut Vec<u8>, change: &Change<'_>, share: u64, rng: &mut Rng) {
    let Change::Write { offset, bytes } = change else {
        if rng.below(10) < share {
            apply(file, change);
        }
        return;
    };
    let (mut at, end) = (*offset as usize, *offset as usize + bytes.len());
    while at < end {
        let next = ((at / SECTOR + 1) * SECTOR).min(end);
        let piece = &bytes[at - *offset as usize..next - *offset as usize];
        if rng.below(10) < share {
            if rng.below(32) == 0 {
                let garbage: Vec<u8> = piece.iter().map(|_| rng.below(256) as u8).collect();
                put(file, at, &garbage);
            } else {
                put(file, at, piece);
            }
        }
        at = next;
    }
}
