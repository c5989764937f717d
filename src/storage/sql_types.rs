//! SQL representations of the L0 values. Ids are 16-byte BLOBs (ARCHITECTURE.md has the
//! measurement), instants are milliseconds.

use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::primitives::{
    Barcode, ClientHash, Currency, Day, Digest, Email, ExchangeRate, HostName, Id, Kind, Measure,
    Money, Name, Note, Quantity, QuantityScale, Sku, Slug, TaxClass, TaxRate, TimeZone, Timestamp,
    Unit,
};

/// The amount in `column`, in a known currency. Fails also for an amount beyond the limit of money.
pub fn money(row: &Row<'_>, column: &str, currency: Currency) -> rusqlite::Result<Money> {
    Ok(Money::new(row.get(column)?, currency).map_err(FromSqlError::other)?)
}

/// Like [`money`], for a nullable column.
pub fn money_if_any(
    row: &Row<'_>,
    column: &str,
    currency: Currency,
) -> rusqlite::Result<Option<Money>> {
    let minor: Option<i64> = row.get(column)?;
    Ok(minor
        .map(|minor| Money::new(minor, currency))
        .transpose()
        .map_err(FromSqlError::other)?)
}

/// The measure in the columns `unit` and `quantity_scale`.
pub fn measure(row: &Row<'_>) -> rusqlite::Result<Measure> {
    Ok(Measure {
        unit: row.get("unit")?,
        scale: row.get("quantity_scale")?,
    })
}

macro_rules! blob_types {
    ($($name:ident $(<$kind:ident>)?),*) => {$(
        impl $(<$kind: Kind>)? ToSql for $name $(<$kind>)? {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.as_bytes())))
            }
        }

        impl $(<$kind: Kind>)? FromSql for $name $(<$kind>)? {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                FromSql::column_result(value).map(Self::from_bytes)
            }
        }
    )*};
}

blob_types!(ClientHash, Digest, Id<K>);

macro_rules! integer_types {
    ($($name:ident: $get:ident, $parse:ident);*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(self.$get()))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let number = value.as_i64()?;
                Self::$parse(number).map_err(|_| FromSqlError::OutOfRange(number))
            }
        }
    )*};
}

integer_types!(Timestamp: as_millis, from_millis; Quantity: get, new; QuantityScale: get, new;
    TaxRate: ppm, from_ppm);

macro_rules! text_types {
    ($($name:ident: $text:ident),*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(self.$text()))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                Self::parse(value.as_str()?).map_err(FromSqlError::other)
            }
        }
    )*};
}

text_types!(
    Unit: as_str,Barcode: as_str, Email: as_str, HostName: as_str, Name: as_str, Note: as_str,
    Sku: as_str, Slug: as_str, TaxClass: as_str, Currency: code, Day: to_string, TimeZone: name,
    ExchangeRate: to_string);
