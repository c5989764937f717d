//! Gapless number series. A number is taken inside the transaction that uses it, so a rollback gives it back;
//! and a file has one writer, so two transactions never take the same one.

use crate::storage::{StorageError, TenantWork, params, statements};

statements! {
    NEXT = "INSERT INTO series (name, last_number) VALUES (?1, 1)
            ON CONFLICT (name) DO UPDATE SET last_number = last_number + 1 RETURNING last_number";
}

/// The next number of the series `name`; the first is 1.
///
/// # Errors
/// [`StorageError`].
pub fn next(work: &mut TenantWork, name: &str) -> Result<u64, StorageError> {
    let numbers = work.returning(&NEXT, params![name], |row| row.get::<_, i64>(0))?;
    let number = numbers.first().copied().expect("an upsert returns its row");
    Ok(u64::try_from(number).expect("the schema keeps numbers above zero"))
}
