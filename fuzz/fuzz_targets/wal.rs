//! Arbitrary bytes as a WAL: the scan ends without a panic, and damage in a prefix is damage in the
//! whole.
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
