//! Gapless number series. A number is drawn in the transaction that uses it, so a rollback returns
//! it; a file has one writer, so two transactions never draw the same number.

use crate::storage::{Rows, StorageError, TenantWork, params, statements};

statements! {
    LAST = "SELECT last_number FROM series WHERE name = ?1";
    BEGIN = "INSERT INTO series (name, last_number) VALUES (?1, 1)";
    // Two statements: RETURNING would keep its row in a temporary table that is created each time.
    TAKE = "UPDATE series SET last_number = ?2 WHERE name = ?1 AND last_number = ?2 - 1";
}

/// The next number of the series `name`; the first is 1.
pub fn next(work: &mut TenantWork, name: &str) -> Result<u64, StorageError> {
    let last: Option<i64> = work.find(&LAST, params![name], |row| row.get(0))?;
    let number = last.unwrap_or(0) + 1;
    match last {
        None => work.insert(&BEGIN, params![name])?,
        Some(_) => work
            .change(&TAKE, params![name, number], Rows::Exactly(1))
            .map(drop)?,
    }
    Ok(u64::try_from(number).expect("the schema keeps numbers positive"))
}
