//! Keyset pagination: a cursor is the position of the last row of a page, so that rows inserted
//! meanwhile shift nothing.

use crate::primitives::limits::{PAGE_DEFAULT, PAGE_MAX};
use crate::storage::{Row, Statement, StorageError, View, params};

/// The requested page: newest first, rows before `before`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Only rows with a smaller `seq`.
    pub before: i64,
    pub limit: u32,
}

/// The reason why a page request is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    #[error("limit must be from 1 to {PAGE_MAX}")]
    Limit,
    /// Not a cursor of this API.
    #[error("cursor is not one that this API gave out; start again without it")]
    Cursor,
}

impl PageRequest {
    /// Parses `limit` and `cursor`.
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

    /// The number of rows to fetch: one more than the page, to detect a next page.
    pub const fn fetch(self) -> u32 {
        self.limit + 1
    }

    /// Reads the page. `statement` takes `before` and the number of rows, and returns a `seq`.
    pub fn read<K, T>(
        self,
        view: &View<'_, K>,
        statement: &Statement,
        map: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Page<T>, StorageError> {
        let rows = view.all(statement, params![self.before, self.fetch()], with_seq(map))?;
        Ok(Page::cut(rows, self))
    }
}

/// Maps rows that have a `seq` to that and the result of `map`.
pub fn with_seq<T>(
    map: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> impl Fn(&Row<'_>) -> rusqlite::Result<(i64, T)> {
    move |row| Ok((row.get("seq")?, map(row)?))
}

/// The requested page of a list over all tenants, the oldest tenant first, and in each the newest
/// rows first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkRequest {
    /// The `seq` of the first tenant.
    pub tenant_seq: i64,
    /// In that tenant, only rows with a smaller `seq`.
    pub before: i64,
    pub limit: u32,
}

impl WalkRequest {
    /// Parses `limit` and `cursor`.
    pub fn parse(limit: Option<i64>, cursor: Option<&str>) -> Result<Self, PageError> {
        let PageRequest { limit, .. } = PageRequest::parse(limit, None)?;
        let position = match cursor {
            None => Some((0, i64::MAX)),
            Some(cursor) => cursor.split_once('.').and_then(|(tenant, before)| {
                let tenant_seq = if tenant == "c0" { 0 } else { decode(tenant)? };
                Some((tenant_seq, decode(before)?))
            }),
        };
        let (tenant_seq, before) = position.ok_or(PageError::Cursor)?;
        Ok(Self {
            tenant_seq,
            before,
            limit,
        })
    }

    /// The cursor of a page that begins at a tenant, with its rows before `before`.
    pub fn cursor(tenant_seq: i64, before: i64) -> String {
        format!("{}.{}", encode(tenant_seq), encode(before))
    }
}

/// One page of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub data: Vec<T>,
    /// The cursor of the next page; `None` on the last one.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Builds a page from rows that were fetched with [`PageRequest::fetch`].
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

    /// All rows in one page, for lists that are always short.
    pub const fn whole(data: Vec<T>) -> Self {
        Self {
            data,
            next_cursor: None,
        }
    }

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
    fn walk_continues_at_its_cursor() {
        let first = WalkRequest::parse(Some(7), None);
        let wanted = WalkRequest {
            tenant_seq: 0,
            before: i64::MAX,
            limit: 7,
        };
        assert_eq!(first, Ok(wanted));
        for (tenant_seq, before) in [(0, 1), (3, i64::MAX), (i64::MAX, 12)] {
            let next = WalkRequest::parse(None, Some(&WalkRequest::cursor(tenant_seq, before)))
                .expect("our own cursor");
            assert_eq!(
                (next.tenant_seq, next.before, next.limit),
                (tenant_seq, before, PAGE_DEFAULT)
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
