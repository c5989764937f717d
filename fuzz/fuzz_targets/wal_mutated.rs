//! A valid WAL, generated from the format's description, then truncated and changed in one frame. A
//! truncation is never damage, and a change that hides two or more commits always is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tillbox::storage::wal::scan;
use tillbox_fuzz::Bytes;

const PAGE: usize = 512;
const HEADER: usize = 32;
const FRAME: usize = 24 + PAGE;
const SALTS: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// The checksum of <https://www.sqlite.org/fileformat2.html#checksum_algorithm>, with words in the
/// file's byte order.
fn sum(bytes: &[u8], big_endian: bool, (mut s0, mut s1): (u32, u32)) -> (u32, u32) {
    let word = |at: usize| {
        let word = bytes[at..at + 4].try_into().expect("four bytes");
        if big_endian {
            u32::from_be_bytes(word)
        } else {
            u32::from_le_bytes(word)
        }
    };
    for at in (0..bytes.len()).step_by(8) {
        s0 = s0.wrapping_add(word(at)).wrapping_add(s1);
        s1 = s1.wrapping_add(word(at + 4)).wrapping_add(s0);
    }
    (s0, s1)
}

/// Generates a WAL of commits with the given numbers of frames.
fn wal(commits: &[u8], big_endian: bool) -> Vec<u8> {
    let mut wal = Vec::new();
    for word in [
        0x377f_0682 | u32::from(big_endian),
        3_007_000,
        PAGE as u32,
        7,
    ] {
        wal.extend(word.to_be_bytes());
    }
    wal.extend(SALTS);
    let mut running = sum(&wal, big_endian, (0, 0));
    wal.extend([running.0.to_be_bytes(), running.1.to_be_bytes()].concat());
    let mut number = 0_u32;
    for frames in commits {
        for left in (0..*frames).rev() {
            number += 1;
            let page: Vec<u8> = (0..PAGE)
                .map(|at| (at as u32 ^ number.wrapping_mul(0x9e37)) as u8)
                .collect();
            let head = [
                number.to_be_bytes(),
                if left == 0 { number } else { 0 }.to_be_bytes(),
            ]
            .concat();
            running = sum(&page, big_endian, sum(&head, big_endian, running));
            wal.extend(
                [
                    &head[..],
                    &SALTS,
                    &running.0.to_be_bytes(),
                    &running.1.to_be_bytes(),
                    &page,
                ]
                .concat(),
            );
        }
    }
    wal
}

/// Returns whether SQLite accepts the frame after valid ones.
fn is_good(wal: &[u8], frame: usize, big_endian: bool) -> bool {
    let at = HEADER + frame * FRAME;
    let pair = |at: usize| {
        let word = |at: usize| u32::from_be_bytes(wal[at..at + 4].try_into().expect("four bytes"));
        (word(at), word(at + 4))
    };
    let before = pair(if frame == 0 { 24 } else { at - FRAME + 16 });
    let head = sum(&wal[at..at + 8], big_endian, before);
    wal[at + 8..at + 16] == SALTS
        && sum(&wal[at + 24..at + FRAME], big_endian, head) == pair(at + 16)
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes(data);
    let big_endian = bytes.byte() & 1 == 1;
    let commits: Vec<u8> = (0..1 + bytes.byte() % 8)
        .map(|_| 1 + bytes.byte() % 3)
        .collect();
    let good = wal(&commits, big_endian);
    let of = |wal: &[u8]| scan(wal).expect("memory reads");
    assert!(!of(&good), "an intact WAL");
    let cut = bytes.number().unsigned_abs() as usize % (good.len() + 1);
    assert!(!of(&good[..cut]), "a truncated WAL");

    let frames = (good.len() - HEADER) / FRAME;
    let hit = bytes.number().unsigned_abs() as usize % frames;
    let mut changed = good.clone();
    let frame = &mut changed[HEADER + hit * FRAME..][..FRAME];
    while !bytes.0.is_empty() {
        let at = (usize::from(bytes.byte()) << 8 | usize::from(bytes.byte())) % FRAME;
        frame[at] ^= bytes.byte();
    }
    if is_good(&changed, hit, big_endian) {
        // Nothing changed, or the format's checksum does not detect the change: two flips of one
        // high bit 96 bytes apart can cancel out. SQLite accepts such a frame, and hides nothing.
        return;
    }
    // Commits whose last frame is behind the changed one: they are intact, but unreachable.
    let ends = commits.iter().scan(0, |end, frames| {
        *end += usize::from(*frames);
        Some(*end)
    });
    let hidden = ends.filter(|end| *end > hit + 1).count();
    let found = of(&changed);
    assert!(found || hidden < 2, "{hidden} commits are hidden");
    assert!(
        !found || hidden >= 1,
        "a power cut may leave the last commit so"
    );
});
