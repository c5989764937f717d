//! Rules that every table keeps.

use std::path::Path;

use rusqlite::Connection;
use tillbox::primitives::Timestamp;
use tillbox::storage::{FileKind, Landlord, Tenant, file};

/// A new file of a kind, with a connection to it.
pub fn fresh<K: FileKind>(dir: &Path) -> Connection {
    let path = dir.join(format!("{}.db", K::NAME));
    file::create::<K>(&path, [7; 16], Timestamp::from_millis_clamped(0)).expect("the file is made");
    Connection::open(path).expect("the file opens")
}

#[test]
fn declares_every_table_strict() {
    let dir = tempfile::tempdir().expect("a directory");
    for conn in [fresh::<Tenant>(dir.path()), fresh::<Landlord>(dir.path())] {
        let loose: i64 = conn
            .query_row(
                "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND strict = 0 AND \
                 name NOT LIKE 'sqlite_%'",
                [],
                |row| row.get(0),
            )
            .expect("a number");
        assert_eq!(loose, 0);
    }
}
