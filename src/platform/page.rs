//! Keyset pages: a cursor is the place of the last row that was seen, so rows that come in
//! meanwhile shift nothing.

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

/// Which page is wanted of a list that goes through one store after the other, the oldest store
/// first and in each the newest rows first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkRequest {
    /// Beginning with the store at this place.
    pub store: i64,
    /// There, only rows whose `seq` is smaller.
    pub before: i64,
    /// At most so many rows.
    pub limit: u32,
}

impl WalkRequest {
    /// Reads `limit` and `cursor`.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn parse(limit: Option<i64>, cursor: Option<&str>) -> Result<Self, PageError> {
        let PageRequest { limit, .. } = PageRequest::parse(limit, None)?;
        let places = match cursor {
            None => Some((0, i64::MAX)),
            Some(cursor) => cursor.split_once('.').and_then(|(store, before)| {
                let store = if store == "c0" { 0 } else { decode(store)? };
                Some((store, decode(before)?))
            }),
        };
        let (store, before) = places.ok_or(PageError::Cursor)?;
        Ok(Self {
            store,
            before,
            limit,
        })
    }

    /// The cursor of a page that begins in the store at a place, with its rows before `before`.
    pub fn cursor(store: i64, before: i64) -> String {
        format!("{}.{}", encode(store), encode(before))
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
        Self {
            data,
            next_cursor: None,
        }
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
    let digits = cursor.strip_prefix('c').filter(|digits| {
        digits.len() <= 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })?;
    i64::from_str_radix(digits, 16).ok().filter(|seq| *seq > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_goes_on_where_its_cursor_says() {
        let first = WalkRequest::parse(Some(7), None);
        let wanted = WalkRequest {
            store: 0,
            before: i64::MAX,
            limit: 7,
        };
        assert_eq!(first, Ok(wanted));
        for (store, before) in [(0, 1), (3, i64::MAX), (i64::MAX, 12)] {
            let next = WalkRequest::parse(None, Some(&WalkRequest::cursor(store, before)))
                .expect("our own cursor");
            assert_eq!(
                (next.store, next.before, next.limit),
                (store, before, PAGE_DEFAULT)
            );
        }
        for bad in [
            "",
            ".",
            "c1",
            "c1.",
            ".c1",
            "c1.c0",
            "c-1.c1",
            "c1.c1.c1",
            "1.1",
            "cffffffffffffffff.c1",
        ] {
            assert_eq!(
                WalkRequest::parse(None, Some(bad)),
                Err(PageError::Cursor),
                "{bad}"
            );
        }
        assert_eq!(WalkRequest::parse(Some(0), None), Err(PageError::Limit));
    }
}
