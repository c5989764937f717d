//! Does the landlord's file agree with itself? As for a shop's: it finds, and never mends.

use crate::storage::{LandlordView, Row, StorageError, migrate, statements};

statements! {
    PAGES = "SELECT * FROM pragma_integrity_check LIMIT 10";
    FOREIGN_KEYS = "SELECT \"table\" || ' row ' || coalesce(rowid, '?') || ' refers to no row of ' \
        || parent FROM pragma_foreign_key_check LIMIT 50";
}

/// What was found, by check; an empty list where all is well. The audit chain is looked at by
/// whoever has its report.
///
/// # Errors
/// [`StorageError`].
pub fn check(view: &LandlordView) -> Result<Vec<(&'static str, Vec<String>)>, StorageError> {
    let text = |row: &Row<'_>| row.get::<_, String>(0);
    let pages = view.all(&PAGES, [], text)?;
    Ok(vec![
        ("schema", migrate::schema_differences(view)?),
        (
            "pages",
            pages
                .into_iter()
                .filter(|verdict| verdict != "ok")
                .collect(),
        ),
        ("foreign keys", view.all(&FOREIGN_KEYS, [], text)?),
    ])
}
