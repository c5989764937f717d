//! Reads the chunk sizes of a body (RFC 9112 §7.1) as the bytes pass to hyper. Hyper reports no
//! size before the chunk's data has come, but a body that is too large is refused when it announces
//! that. Only hyper decides what a chunk is: on unexpected input this reader stops and reports
//! nothing more.

use std::future::pending;

use tokio::sync::watch;

/// The reader of chunk sizes.
#[derive(Default)]
pub struct Chunks(ChunkPosition);

/// The position of the next byte.
enum ChunkPosition {
    /// In the digits of a size.
    Size(Option<u64>),
    /// After the digits, before the end of their line.
    Extension(u64),
    /// In the data and its line end; the bytes that are still to come.
    Data(u64),
    /// After the last chunk, or after unexpected input.
    Ended,
}

impl Default for ChunkPosition {
    fn default() -> Self {
        Self::Size(None)
    }
}

impl Chunks {
    /// Reads the next bytes of the body. Returns the largest size that they announce.
    pub fn read(&mut self, mut bytes: &[u8]) -> Option<u64> {
        let mut largest = None;
        while let [first, rest @ ..] = bytes {
            match &mut self.0 {
                ChunkPosition::Ended => break,
                ChunkPosition::Data(left) => {
                    let part =
                        usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    *left -= part as u64;
                    bytes = &bytes[part..];
                    if *left == 0 {
                        self.0 = ChunkPosition::default();
                    }
                    continue;
                }
                ChunkPosition::Size(size) => match (char::from(*first).to_digit(16), *size) {
                    (Some(digit), _) => {
                        let more = size.unwrap_or(0).saturating_mul(16);
                        *size = Some(more.saturating_add(u64::from(digit)));
                    }
                    (None, Some(size)) if matches!(first, b'\r' | b';' | b' ' | b'\t') => {
                        largest = largest.max(Some(size));
                        self.0 = ChunkPosition::Extension(size);
                    }
                    (None, _) => self.0 = ChunkPosition::Ended,
                },
                ChunkPosition::Extension(0) => self.0 = ChunkPosition::Ended,
                ChunkPosition::Extension(size) if *first == b'\n' => {
                    self.0 = ChunkPosition::Data(size.saturating_add(2));
                }
                ChunkPosition::Extension(_) => {}
            }
            bytes = rest;
        }
        largest
    }
}

/// Extension of a request with a chunked body: the largest announced chunk size.
#[derive(Clone)]
pub struct ChunkSize(pub watch::Receiver<u64>);

impl ChunkSize {
    /// Resolves when a chunk larger than `limit` is announced; otherwise never.
    pub async fn exceeds(&mut self, limit: u64) {
        if self.0.wait_for(|size| *size > limit).await.is_err() {
            pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_when_body_comes_in_pieces() {
        for (body, expected) in [
            ("5\r\nhello\r\n0\r\n\r\n", Some(5)),
            ("5\r\nffff\n\r\nA\r\n0123456789\r\n0\r\n\r\n", Some(10)),
            ("fFf;name=\"ffffffff\"\r\n", Some(0xfff)),
            ("0\r\nff\r\n", Some(0)),
            ("ffffffffffffffffffff\r\n", Some(u64::MAX)),
            ("ff", None),
            ("\r\nff\r\n", None),
            ("xff\r\n", None),
            ("1\r\na\r\nzz\r\nffff\r\n", Some(1)),
        ] {
            for size in 1..=body.len() {
                let mut chunks = Chunks::default();
                let pieces = body.as_bytes().chunks(size);
                let largest = pieces.filter_map(|piece| chunks.read(piece)).max();
                assert_eq!(largest, expected, "{body:?} in pieces of {size}");
            }
        }
    }
}
