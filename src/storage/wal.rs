//! Distinguishes a damaged WAL from one that a power failure left, before SQLite opens it.
//!
//! SQLite's recovery stops at the first frame with a wrong checksum and discards all later ones,
//! because a power failure ends the WAL there. A flipped bit has the same effect, and loses every
//! commit that was acknowledged after it. The two differ: each commit waits for its sync, so a
//! power failure leaves at most one unfinished commit. Two consecutive commits at or after the
//! first bad frame were synced, so the frame was good then.
//!
//! The header is one sector, synced before the first frame: a wrong header before frames is damage
//! too. (A power failure could cause this only while a large WAL is restarted over its old frames,
//! on a disk that leaves garbage at an interrupted write; then nothing is lost, but the file still
//! waits for the operator.) Not detected: damage in the last commit alone, and a WAL that was
//! truncated at a frame. The format: <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The magic number without its last bit, which is the byte order of the checksums.
const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;
/// The page size of [`create`](super::file::create).
const PAGE_BYTES: u32 = 4096;
/// A power failure cannot leave this many commits at or after the first bad frame.
const SYNCED_COMMITS: u32 = 2;

/// Whether the WAL at `path` contains acknowledged commits that SQLite will not find. Reads all of
/// it. A missing file is not damaged.
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
    /// The checksum, if the header is valid.
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
    let is_valid = magic & !1 == MAGIC
        && word(bytes, 4) == VERSION
        && page_bytes.is_power_of_two()
        && (512..=65_536).contains(&page_bytes)
        && sum == pair(bytes, 24);
    Header {
        big_endian,
        page_bytes: if is_valid { page_bytes } else { PAGE_BYTES } as usize,
        salts: pair(bytes, 16),
        sum: is_valid.then_some(sum),
    }
}

/// Like [`is_damaged`] for bytes from any source.
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
    let mut is_intact = true;
    // State of a run of consecutive frames at or after the first bad one: its commits, and the
    // checksums that the next frame may continue.
    let (mut commits, mut follows) = (0, [(0, 0); 2]);
    while fill(&mut wal, &mut frame)? {
        let (is_ours, stored) = (pair(&frame, 8) == header.salts, pair(&frame, 16));
        let sum_from = |from: Sum| {
            let head = checksum(&frame[..8], header.big_endian, from);
            checksum(&frame[FRAME_HEADER_BYTES..], header.big_endian, head)
        };
        if is_intact {
            let right = sum_from(sum);
            if is_ours && right == stored {
                sum = right;
                continue;
            }
            is_intact = false;
            // Either the page or the checksum is wrong.
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

/// The last frame of a commit contains the number of pages of the file after it.
fn is_commit(frame: &[u8]) -> bool {
    word(frame, 4) != 0
}

/// Fills the buffer; `false` when fewer bytes remain.
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

    /// A WAL with [`COMMITS`] commits of a few pages each, as a crash leaves it, and the end of
    /// each commit. The WAL was restarted before, so that old frames follow its end.
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
        assert!(bytes.len() > ends[COMMITS - 1], "old frames follow the end");
        (bytes, ends)
    }

    fn finds(bytes: &[u8]) -> bool {
        scan(bytes).expect("memory reads")
    }

    #[test]
    fn accepts_intact_and_missing_wal() {
        let (bytes, _) = wal();
        assert!(!finds(&bytes));
        assert!(!finds(b""));
        assert!(!finds(&bytes[..HEADER_BYTES]));
        assert!(!is_damaged(Path::new("/nowhere/a.db-wal")).expect("a missing file is accepted"));
    }

    #[test]
    fn finds_any_flipped_bit_that_hides_an_acknowledged_commit() {
        let (bytes, ends) = wal();
        // In the header, and in every frame except those of the last commit.
        let positions = (0..24).chain((HEADER_BYTES..ends[COMMITS - 2]).step_by(397));
        for position in positions {
            for bit in [0, 7] {
                let mut flipped = bytes.clone();
                flipped[position] ^= 1 << bit;
                // Also in fields that SQLite ignores: the checkpoint sequence number is part of the
                // header's checksum.
                assert!(finds(&flipped), "byte {position}, bit {bit}");
            }
        }
    }

    #[test]
    fn finds_zeroed_page() {
        let (bytes, ends) = wal();
        for start in (0..ends[COMMITS - 4]).step_by(4096) {
            for length in [512, 4096] {
                let mut zeroed = bytes.clone();
                zeroed[start..start + length].fill(0);
                // Zeroing zeros is not damage.
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
            "every byte differs"
        );
    }

    #[test]
    fn accepts_last_commit_cut_by_power_failure() {
        let (bytes, ends) = wal();
        for (first, last) in ends.iter().zip(&ends[1..]) {
            // After the last synced commit, any sectors of the next one may be missing or contain
            // old data.
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
