//! The port to randomness for ids, keys and jitter. A test can repeat a run from its seed.

use std::cell::RefCell;
use std::sync::Mutex;

use sha2::{Digest as _, Sha256};

use super::sync;

/// A source of unpredictable bytes.
pub trait Entropy: Send + Sync {
    fn fill(&self, bytes: &mut [u8]);

    /// A number from `0` to `below - 1`; `0` when `below` is `0`. The bias is under 2⁻³² for the
    /// small bounds used here.
    fn below(&self, below: u64) -> u64 {
        let mut bytes = [0_u8; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes).checked_rem(below).unwrap_or(0)
    }
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

/// Bytes that a thread requests at once: a sale uses about ten ids of ten bytes each, and does not
/// need a system call for every one.
const POOL_BYTES: usize = 1024;

thread_local! {
    /// Unused bytes; each is handed out once and wiped.
    static POOL: RefCell<([u8; POOL_BYTES], usize)> = const { RefCell::new(([0; POOL_BYTES],
        POOL_BYTES)) };
}

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        POOL.with_borrow_mut(|(pool, used)| {
            for byte in bytes {
                if *used == POOL_BYTES {
                    ask_system(pool);
                    *used = 0;
                }
                *byte = std::mem::take(&mut pool[*used]);
                *used += 1;
            }
        });
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the only call to the system's generator"
)]
fn ask_system(pool: &mut [u8]) {
    getrandom::fill(pool).expect("the kernel's generator answers once the system has booted");
}

/// SHA-256 in counter mode over a seed: repeatable, for tests. Never for keys of a real shop.
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    counter: Mutex<u64>,
}

impl SeededEntropy {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            counter: Mutex::new(0),
        }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut counter = sync::lock(&self.counter);
        for chunk in bytes.chunks_mut(32) {
            let mut hasher = Sha256::new();
            hasher.update(self.seed.to_le_bytes());
            hasher.update(counter.to_le_bytes());
            *counter += 1;
            chunk.copy_from_slice(&hasher.finalize()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ_across_pool_refills() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1_000 {
            let mut bytes = [0_u8; 10];
            SystemEntropy.fill(&mut bytes);
            assert!(seen.insert(bytes));
        }
    }
}
