//! Integrity checks of the landlord's file. As for a tenant's file, they report and never repair.

use crate::storage::{LandlordView, Row, StorageError, migrate, statements};

statements! {
    PAGES = "SELECT * FROM pragma_integrity_check LIMIT 10";
    FOREIGN_KEYS = "SELECT \"table\" || ' row ' || coalesce(rowid, '?')
        || ' refers to no row of ' || parent FROM pragma_foreign_key_check LIMIT 50";
}

/// Runs all checks and returns the findings of each; an empty list means that nothing was found.
/// The audit chain is checked separately.
pub fn check(view: &LandlordView) -> Result<Vec<(&'static str, Vec<String>)>, StorageError> {
    let text = |row: &Row<'_>| row.get::<_, String>(0);
    let pages = view.all(&PAGES, [], text)?;
    Ok(vec![
        ("schema", migrate::schema_differences(view)?),
        (
            "pages",
            pages
                .into_iter()
                .filter(|finding| finding != "ok")
                .collect(),
        ),
        ("foreign keys", view.all(&FOREIGN_KEYS, [], text)?),
    ])
}
