//! The sizes of the chunks of a body (RFC 9112 §7.1), read beside hyper as the bytes pass: hyper
//! tells no size before the chunk's data has come, and a body that is too large is refused when it
//! says so. Hyper alone decides what is a chunk; on anything unexpected this file stops reading and
//! announces nothing more.

use std::future::pending;

use tokio::sync::watch;

/// The reader of the sizes.
#[derive(Default)]
pub struct Chunks(Place);

/// The place of the next byte.
enum Place {
    /// In the digits of a size.
    Size(Option<u64>),
    /// Behind the digits, before the end of their line.
    Extension(u64),
    /// In the data and its line end, of which so much is still to come.
    Data(u64),
    /// Behind the last chunk, or behind something unexpected.
    Over,
}

impl Default for Place {
    fn default() -> Self {
        Self::Size(None)
    }
}

impl Chunks {
    /// Reads the next bytes of the body; gives the largest size that is announced in them.
    pub fn read(&mut self, mut bytes: &[u8]) -> Option<u64> {
        let mut largest = None;
        while let [first, rest @ ..] = bytes {
            match &mut self.0 {
                Place::Over => break,
                Place::Data(left) => {
                    let part =
                        usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    *left -= part as u64;
                    bytes = &bytes[part..];
                    if *left == 0 {
                        self.0 = Place::default();
                    }
                    continue;
                }
                Place::Size(size) => match (char::from(*first).to_digit(16), *size) {
                    (Some(digit), _) => {
                        let more = size.unwrap_or(0).saturating_mul(16);
                        *size = Some(more.saturating_add(u64::from(digit)));
                    }
                    (None, Some(size)) if matches!(first, b'\r' | b';' | b' ' | b'\t') => {
                        largest = largest.max(Some(size));
                        self.0 = Place::Extension(size);
                    }
                    (None, _) => self.0 = Place::Over,
                },
                Place::Extension(0) => self.0 = Place::Over,
                Place::Extension(size) if *first == b'\n' => {
                    self.0 = Place::Data(size.saturating_add(2));
                }
                Place::Extension(_) => {}
            }
            bytes = rest;
        }
        largest
    }
}

/// In the extensions of a request whose body comes in chunks: the largest size that one of them has
/// announced.
#[derive(Clone)]
pub struct ChunkSize(pub watch::Receiver<u64>);

impl ChunkSize {
    /// Resolves when a chunk is announced that is larger than `limit`; otherwise never.
    pub async fn beyond(&mut self, limit: u64) {
        if self.0.wait_for(|size| *size > limit).await.is_err() {
            pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_however_the_body_is_cut() {
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
