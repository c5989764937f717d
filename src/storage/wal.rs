//! Tells a damaged WAL from one that a power cut has left, before SQLite opens it.
//!
//! SQLite's recovery stops at the first frame whose checksum is wrong and forgets all behind it,
//! because that is where a power cut ends. A flipped bit ends it as well, and takes with it every
//! commit that was acknowledged after. The two look different: each commit waits for its sync, so a
//! power cut leaves one commit unfinished at the most. Where two commits of one piece lie at or
//! behind the first bad frame, they were synced, and the frame was good then.
//!
//! The header is one sector, and synced before the first frame: a wrong one before frames is damage
//! too. (The one moment in which a power cut could leave such a thing is when a large WAL is begun
//! anew over its old frames, on a disk that leaves garbage where it was writing; then nothing is
//! lost, and the file waits for the operator all the same.) What this cannot see: damage in the
//! last commit alone, and a WAL that was cut off at a frame. The format:
//! <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// Without its last bit, which says in which order of bytes the checksums are.
const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;
/// What [`create`](super::file::create) gives a file.
const PAGE_BYTES: u32 = 4096;
/// So many commits at or behind the first bad frame no power cut leaves.
const SYNCED_COMMITS: u32 = 2;

/// Whether commits that were acknowledged lie in the WAL at `path` where SQLite will not find them.
/// Reads all of it.
///
/// # Errors
/// The system's; a file that is not there is no WAL, and no error.
pub fn is_damaged(path: &Path) -> io::Result<bool> {
    match File::open(path) {
        Ok(file) => scan(BufReader::with_capacity(1 << 16, file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

type Sum = (u32, u32);

struct Header {
    big_endian: bool,
    page_bytes: usize,
    salts: Sum,
    /// Its checksum, if it is right.
    sum: Option<Sum>,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn pair(bytes: &[u8], at: usize) -> Sum {
    (word(bytes, at), word(bytes, at + 4))
}

fn checksum(bytes: &[u8], big_endian: bool, from: Sum) -> Sum {
    bytes.chunks_exact(8).fold(from, |(s0, s1), chunk| {
        let (x0, x1) = pair(chunk, 0);
        let (x0, x1) = if big_endian {
            (x0, x1)
        } else {
            (x0.swap_bytes(), x1.swap_bytes())
        };
        let s0 = s0.wrapping_add(x0).wrapping_add(s1);
        (s0, s1.wrapping_add(x1).wrapping_add(s0))
    })
}

fn read_header(bytes: &[u8; HEADER_BYTES]) -> Header {
    let (magic, page_bytes) = (word(bytes, 0), word(bytes, 8));
    let big_endian = magic & 1 == 1;
    let sum = checksum(&bytes[..24], big_endian, (0, 0));
    let is_right = magic & !1 == MAGIC
        && word(bytes, 4) == VERSION
        && page_bytes.is_power_of_two()
        && (512..=65_536).contains(&page_bytes)
        && sum == pair(bytes, 24);
    Header {
        big_endian,
        page_bytes: if is_right { page_bytes } else { PAGE_BYTES } as usize,
        salts: pair(bytes, 16),
        sum: is_right.then_some(sum),
    }
}

/// The same of bytes that may come from anywhere.
///
/// # Errors
/// What reading them gives.
pub fn scan(mut wal: impl Read) -> io::Result<bool> {
    let mut bytes = [0; HEADER_BYTES];
    if !fill(&mut wal, &mut bytes)? {
        return Ok(false);
    }
    let header = read_header(&bytes);
    let mut frame = vec![0; FRAME_HEADER_BYTES + header.page_bytes];
    let Some(mut sum) = header.sum else {
        return fill(&mut wal, &mut frame);
    };
    let mut is_sound = true;
    // Of a piece of frames that follow on one another, at or behind the first bad one: its commits,
    // and what the next one's sum may follow on.
    let (mut commits, mut follows) = (0, [(0, 0); 2]);
    while fill(&mut wal, &mut frame)? {
        let (is_ours, stored) = (pair(&frame, 8) == header.salts, pair(&frame, 16));
        let sum_from = |from: Sum| {
            let head = checksum(&frame[..8], header.big_endian, from);
            checksum(&frame[FRAME_HEADER_BYTES..], header.big_endian, head)
        };
        if is_sound {
            let right = sum_from(sum);
            if is_ours && right == stored {
                sum = right;
                continue;
            }
            is_sound = false;
            // What is wrong with it may be its page or its sum.
            (commits, follows) = (0, [stored, right]);
        } else {
            if !(is_ours && follows.iter().any(|from| sum_from(*from) == stored)) {
                commits = 0;
            }
            follows = [stored; 2];
        }
        commits += u32::from(is_ours && is_commit(&frame));
        if commits >= SYNCED_COMMITS {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The last frame of a commit says how many pages the file has after it.
fn is_commit(frame: &[u8]) -> bool {
    word(frame, 4) != 0
}

/// Fills the buffer; `false` when there was not so much left.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    const COMMITS: usize = 12;

    /// A WAL with so many commits of a few pages each, as a crash leaves it, and where each of them
    /// ends. Before them the WAL was begun anew, so that frames of its former life lie behind its
    /// end.
    fn wal() -> (Vec<u8>, Vec<usize>) {
        let dir = tempfile::tempdir().expect("a directory");
        let conn = Connection::open(dir.path().join("a.db")).expect("opens");
        conn.execute_batch(
            "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE \
             TABLE t (id INTEGER PRIMARY KEY, x BLOB); CREATE INDEX i ON t (x);",
        )
        .expect("runs");
        let insert = |bytes: i64| {
            conn.execute("INSERT INTO t (x) VALUES (randomblob(?1))", [bytes])
                .expect("inserts")
        };
        for _ in 0..40 {
            insert(3_000);
        }
        conn.execute_batch("PRAGMA wal_checkpoint(RESTART)")
            .expect("checkpoints");
        let read = || std::fs::read(dir.path().join("a.db-wal")).expect("a WAL");
        for _ in 0..COMMITS {
            insert(900);
        }
        let bytes = read();
        let salts = pair(&bytes, 16);
        let frames = bytes[HEADER_BYTES..].chunks_exact(FRAME_HEADER_BYTES + PAGE_BYTES as usize);
        let ours = frames
            .enumerate()
            .filter(|(_, frame)| pair(frame, 8) == salts && is_commit(frame));
        let ends: Vec<usize> = ours
            .map(|(index, _)| {
                HEADER_BYTES + (index + 1) * (FRAME_HEADER_BYTES + PAGE_BYTES as usize)
            })
            .collect();
        assert_eq!(ends.len(), COMMITS);
        assert!(
            bytes.len() > ends[COMMITS - 1],
            "frames of its former life lie behind"
        );
        (bytes, ends)
    }

    fn finds(bytes: &[u8]) -> bool {
        scan(bytes).expect("memory reads")
    }

    #[test]
    fn a_sound_one_and_none_are_no_damage() {
        let (bytes, _) = wal();
        assert!(!finds(&bytes));
        assert!(!finds(b""));
        assert!(!finds(&bytes[..HEADER_BYTES]));
        assert!(!is_damaged(Path::new("/nowhere/a.db-wal")).expect("none is no error"));
    }

    #[test]
    fn a_bit_that_hides_an_acknowledged_commit_is_found_wherever_it_is() {
        let (bytes, ends) = wal();
        // In the header, and in every frame but those of the last commit.
        let places = (0..24).chain((HEADER_BYTES..ends[COMMITS - 2]).step_by(397));
        for place in places {
            for bit in [0, 7] {
                let mut flipped = bytes.clone();
                flipped[place] ^= 1 << bit;
                // One that SQLite does not look at changes nothing: the sequence number of
                // checkpoints is in the header's sum all the same.
                assert!(finds(&flipped), "byte {place}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_zeroed_page_is_found() {
        let (bytes, ends) = wal();
        for start in (0..ends[COMMITS - 4]).step_by(4096) {
            for length in [512, 4096] {
                let mut zeroed = bytes.clone();
                zeroed[start..start + length].fill(0);
                // Where there were zeros before, nothing is damaged.
                assert_eq!(finds(&zeroed), zeroed != bytes, "{length} bytes at {start}");
            }
        }
        assert!(
            finds(
                &bytes
                    .iter()
                    .map(|byte| byte.wrapping_mul(31) ^ 0x5a)
                    .collect::<Vec<_>>()
            ),
            "all of it is something else"
        );
    }

    #[test]
    fn what_a_power_cut_leaves_of_the_last_commit_is_no_damage() {
        let (bytes, ends) = wal();
        for (first, last) in ends.iter().zip(&ends[1..]) {
            // Behind the last synced commit any sectors of the next one may lack, and hold what was
            // there before.
            for sector in (*first..*last).step_by(512) {
                let mut cut = bytes[..*last].to_vec();
                let end = (sector + 512).min(*last);
                cut[sector..end].fill(0);
                assert!(!finds(&cut), "{sector} of {first} to {last}");
                assert!(!finds(&bytes[..sector]), "cut off at {sector}");
            }
        }
    }
}
