//! What a power cut may leave: the states of the disk that are legal at a point of its history.
//!
//! What was synced is there. Of what was not, any part may be there: nothing, all, everything
//! before some instant, or any choice of 512-byte sectors, the ones under way holding garbage. A
//! file's entry in its directory is a thing of its own, durable when the directory was synced;
//! entries of one directory become durable in order, as every journaling file system keeps them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Inode, Op};
use crate::dice::Dice;

const SECTOR: usize = 512;

/// How much of what was not synced is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survives {
    Nothing,
    Everything,
    /// What happened before some instant.
    Prefix,
    /// Any choice of sectors.
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
    /// Goes on in its history to `end`.
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

    /// The files that are there after a cut, with their contents.
    pub fn image(&self, survives: Survives, dice: &mut Dice) -> BTreeMap<PathBuf, Vec<u8>> {
        let instant = dice.below(self.at as u64 + 1) as usize;
        let share = 1 + dice.below(9);
        let mut entries = self.entries.clone();
        for pending in self.pending.values() {
            let kept = match survives {
                Survives::Nothing => 0,
                Survives::Everything => pending.len(),
                Survives::Prefix => pending.iter().filter(|(at, _)| *at < instant).count(),
                Survives::Sectors => dice.below(pending.len() as u64 + 1) as usize,
            };
            pending
                .iter()
                .take(kept)
                .for_each(|(_, entry)| enter(&mut entries, entry));
        }
        let contents = |(path, inode): (&Path, Inode), dice: &mut Dice| {
            let file = &self.files[&inode];
            let mut bytes = file.durable.clone();
            for (at, change) in &file.pending {
                match survives {
                    Survives::Nothing => {}
                    Survives::Everything => apply(&mut bytes, change),
                    Survives::Prefix if *at < instant => apply(&mut bytes, change),
                    Survives::Prefix => {}
                    Survives::Sectors => tear(&mut bytes, change, share, dice),
                }
            }
            (path.to_owned(), bytes)
        };
        entries
            .into_iter()
            .map(|entry| contents(entry, dice))
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

/// Applies `share` tenths of a change's sectors; one in thirty-two that was under way holds
/// garbage.
fn tear(file: &mut Vec<u8>, change: &Change<'_>, share: u64, dice: &mut Dice) {
    let Change::Write { offset, bytes } = change else {
        if dice.below(10) < share {
            apply(file, change);
        }
        return;
    };
    let (mut at, end) = (*offset as usize, *offset as usize + bytes.len());
    while at < end {
        let next = ((at / SECTOR + 1) * SECTOR).min(end);
        let piece = &bytes[at - *offset as usize..next - *offset as usize];
        if dice.below(10) < share {
            if dice.below(32) == 0 {
                let garbage: Vec<u8> = piece.iter().map(|_| dice.below(256) as u8).collect();
                put(file, at, &garbage);
            } else {
                put(file, at, piece);
            }
        }
        at = next;
    }
}
