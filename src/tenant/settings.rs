//! The shop's settings: its name, its currency, and whether its prices include tax.

use serde_json::json;

use super::tax;
use crate::platform::audit;
use crate::primitives::{Currency, Name, Timestamp, refusals};
use crate::storage::{Row, Rows, StorageError, TenantView, TenantWork, params, statements};

statements! {
    SHOP = "SELECT name, currency, prices_include_tax, version, updated_at FROM shop WHERE \
        singleton = 1";
    INSERT = "INSERT INTO shop (singleton, name, currency, prices_include_tax, version, \
        updated_at) VALUES (1, ?1, ?2, 0, 1, ?3)";
    UPDATE = "UPDATE shop SET name = ?1, prices_include_tax = ?2, version = version + 1, \
        updated_at = ?3 WHERE singleton = 1";
}

/// The settings of the shop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shop {
    /// The name on documents.
    pub name: Name,
    /// The default currency of products and carts. Fixed when the shop is created.
    pub currency: Currency,
    /// Whether prices include tax (as consumer prices in Europe do) or tax comes on top (as in the
    /// United States).
    pub prices_include_tax: bool,
    /// Incremented with each change; sent as the `ETag`.
    pub version: i64,
    /// The instant of the last change.
    pub updated_at: Timestamp,
}

/// A change of the settings; a field that is `None` stays unchanged.
#[derive(Clone, Debug, Default)]
pub struct ChangeShop {
    pub name: Option<Name>,
    /// Applies from now on. Placed orders keep their setting.
    pub prices_include_tax: Option<bool>,
}

refusals! {
    /// Reasons to refuse a change of the settings.
    pub enum SettingsRefused {
        /// The caller has read an older version.
        Stale: Stale "stale_version",
            "the settings have changed since they were read; read them again, then repeat the \
             change";
    }
    inherits { Storage(StorageError) }
}

fn shop_row(row: &Row<'_>) -> rusqlite::Result<Shop> {
    Ok(Shop {
        name: row.get("name")?,
        currency: row.get("currency")?,
        prices_include_tax: row.get("prices_include_tax")?,
        version: row.get("version")?,
        updated_at: row.get("updated_at")?,
    })
}

/// Inserts the first rows of a new shop: its settings, and a standard tax class of 0 % that the
/// shop is expected to change.
pub fn seed(work: &mut TenantWork, name: &Name, currency: Currency) -> Result<(), StorageError> {
    let now = work.now();
    work.insert(&INSERT, params![name, currency, now])?;
    super::currency::seed(work, currency)?;
    tax::seed(work)
}

pub fn shop(view: &TenantView) -> Result<Shop, StorageError> {
    view.one(&SHOP, [], shop_row)
}

/// Changes the settings; without a difference nothing is written. `expected` is the version that
/// the caller has read (`If-Match`), if any.
pub fn change_shop(
    work: &mut TenantWork,
    expected: Option<i64>,
    change: &ChangeShop,
) -> Result<Shop, SettingsRefused> {
    let before = shop(work)?;
    if expected.is_some_and(|version| version != before.version) {
        return Err(SettingsRefused::Stale);
    }
    let name = change.name.as_ref().unwrap_or(&before.name);
    let prices_include_tax = change
        .prices_include_tax
        .unwrap_or(before.prices_include_tax);
    if (name, prices_include_tax) == (&before.name, before.prices_include_tax) {
        return Ok(before);
    }
    let now = work.now();
    work.change(
        &UPDATE,
        params![name, prices_include_tax, now],
        Rows::Exactly(1),
    )?;
    audit::record(
        work,
        "settings.changed",
        "shop",
        json!({"prices_include_tax": prices_include_tax}),
    )?;
    Ok(shop(work)?)
}
