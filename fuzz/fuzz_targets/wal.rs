//! Bytes as a WAL: they are read to their end without a panic, and what is damage in their first
//! part is damage in all of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tillbox::storage::wal::scan;

fuzz_target!(|data: &[u8]| {
    let of = |bytes: &[u8]| scan(bytes).expect("memory reads");
    let all = of(data);
    for part in [
        data.len() / 2,
        data.len() * 7 / 8,
        data.len().saturating_sub(1),
    ] {
        assert!(all || !of(&data[..part]));
    }
});
