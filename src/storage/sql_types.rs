//! SQL representations of the L0 values. Ids are 16-byte BLOBs (ARCHITECTURE.md has the
//! measurement), instants are milliseconds.

use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::primitives::{
    Barcode, ClientHash, Currency, Day, Digest, Email, ExchangeRate, HostName, Id, Kind, Measure,
    Money, Name, Note, Quantity, QuantityScale, Sku, Slug, TaxClass, TaxRate, Timestamp, Unit,
};

/// The amount in `column`, in a known currency. Fails also for an amount beyond the limit of money.
pub fn money(row: &Row<'_>, column: usize, currency: Currency) -> rusqlite::Result<Money> {
    Ok(Money::new(row.get(column)?, currency).map_err(FromSqlError::other)?)
}

/// Like [`money`], for a nullable column.
pub fn money_if_any(
    row: &Row<'_>,
    column: usize,
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

impl ToSql for ClientHash {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.as_bytes())))
    }
}

impl FromSql for ClientHash {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 8]>::column_result(value).map(Self::from_bytes)
    }
}

impl<K: Kind> ToSql for Id<K> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.as_bytes())))
    }
}

impl<K: Kind> FromSql for Id<K> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 16]>::column_result(value).map(Self::from_bytes)
    }
}

impl ToSql for Digest {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.as_bytes())))
    }
}

impl FromSql for Digest {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 32]>::column_result(value).map(Self::from_bytes)
    }
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.as_millis()))
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::from_millis(value.as_i64()?)
            .map_err(|_| FromSqlError::OutOfRange(value.as_i64().unwrap_or_default()))
    }
}

impl ToSql for Quantity {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.get()))
    }
}

impl FromSql for Quantity {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let units = value.as_i64()?;
        Self::new(units).map_err(|_| FromSqlError::OutOfRange(units))
    }
}

impl ToSql for Unit {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.as_str()))
    }
}

impl FromSql for Unit {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::parse(value.as_str()?).map_err(FromSqlError::other)
    }
}

impl ToSql for QuantityScale {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.get()))
    }
}

impl FromSql for QuantityScale {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let places = value.as_i64()?;
        Self::new(places).map_err(|_| FromSqlError::OutOfRange(places))
    }
}

impl ToSql for TaxRate {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.ppm()))
    }
}

impl FromSql for TaxRate {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let ppm = value.as_i64()?;
        Self::from_ppm(ppm).map_err(|_| FromSqlError::OutOfRange(ppm))
    }
}

impl ToSql for Currency {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.code()))
    }
}

impl FromSql for Currency {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::parse(value.as_str()?).map_err(FromSqlError::other)
    }
}

impl ToSql for Day {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.to_string()))
    }
}

impl FromSql for Day {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::parse(value.as_str()?).map_err(FromSqlError::other)
    }
}

impl ToSql for ExchangeRate {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.to_string()))
    }
}

impl FromSql for ExchangeRate {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::parse(value.as_str()?).map_err(FromSqlError::other)
    }
}

macro_rules! text_types {
    ($($name:ident),*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(self.as_str()))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                Self::parse(value.as_str()?).map_err(FromSqlError::other)
            }
        }
    )*};
}

text_types!(Barcode, Email, HostName, Name, Note, Sku, Slug, TaxClass);
