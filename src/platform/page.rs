//! Keyset pages: a cursor is the place of the last row that was seen, so rows that come in meanwhile shift nothing.

use crate::primitives::limits::{PAGE_DEFAULT, PAGE_MAX};

/// Which page is wanted: newest first, rows before `before`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Only rows whose `seq` is smaller.
    pub before: i64,
    /// At most so many.
    pub limit: u32,
}

/// A text that is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Zero or too many rows.
    #[error("limit must be from 1 to {PAGE_MAX}")]
    Limit,
    /// Not a cursor of ours.
    #[error("cursor is not one that this API gave out; start again without it")]
    Cursor,
}

impl PageRequest {
    /// Reads `limit` and `cursor`.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn parse(limit: Option<i64>, cursor: Option<&str>) -> Result<Self, PageError> {
        let limit = match limit {
            None => PAGE_DEFAULT,
            Some(limit) => u32::try_from(limit)
                .ok()
                .filter(|limit| (1..=PAGE_MAX).contains(limit))
                .ok_or(PageError::Limit)?,
        };
        let before = match cursor {
            None => i64::MAX,
            Some(cursor) => decode(cursor).ok_or(PageError::Cursor)?,
        };
        Ok(Self { before, limit })
    }

    /// How many rows to ask for: one more than the page, to know whether there is a next one.
    pub const fn fetch(self) -> u32 {
        self.limit + 1
    }
}

/// One page of rows, each with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Where the next page begins; `None` on the last one.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Cuts rows that were fetched with [`PageRequest::fetch`].
    pub fn cut(mut rows: Vec<(i64, T)>, request: PageRequest) -> Self {
        let limit = request.limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| more).map(|(seq, _)| encode(*seq));
        Self {
            data: rows.into_iter().map(|(_, row)| row).collect(),
            next_cursor,
        }
    }

    /// All there is, in one page: for lists that are short by their nature.
    pub const fn whole(data: Vec<T>) -> Self {
        Self { data, next_cursor: None }
    }

    /// The same page of other rows.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page {
            data: self.data.into_iter().map(f).collect(),
            next_cursor: self.next_cursor,
        }
    }
}

fn encode(seq: i64) -> String {
    format!("c{seq:x}")
}

fn decode(cursor: &str) -> Option<i64> {
    let digits = cursor
        .strip_prefix('c')
        .filter(|digits| digits.len() <= 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    i64::from_str_radix(digits, 16).ok().filter(|seq| *seq > 0)
}
