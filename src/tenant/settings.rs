//! The shop's settings: its name, its currency, whether its prices include tax, its time
//! zone, and the seller as documents name it.

use serde_json::json;

use super::party::Party;
use crate::platform::audit;
use crate::primitives::vat_id::VatIdError;
use crate::primitives::{
    Address, Country, Currency, Email, Name, TimeZone, Timestamp, VatId, refusals,
};
use crate::storage::{Row, Rows, StorageError, TenantView, TenantWork, params, statements};

statements! {
    SHOP = "SELECT name, currency, prices_include_tax, seller, timezone, version, \
        updated_at FROM shop WHERE singleton = 1";
    INSERT = "INSERT INTO shop (singleton, name, currency, prices_include_tax, seller, timezone, \
        version, updated_at) VALUES (1, ?1, ?2, ?3, ?4, ?5, 1, ?6)";
    UPDATE = "UPDATE shop SET name = ?1, prices_include_tax = ?2, seller = ?3, timezone = ?4, \
        version = version + 1, updated_at = ?5 WHERE singleton = 1";
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
    /// The shop as its documents name it; `name` stands for a legal name that is not set.
    pub seller: Party,
    /// Decides the year of an invoice number, and the day of a report and of a tax rate.
    pub timezone: TimeZone,
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
    /// The parts of the seller that change; a part that is `Some(None)` is removed.
    pub seller: ChangeParty,
    /// Applies to documents from now on; no document and no tax rate is dated anew.
    pub timezone: Option<TimeZone>,
}

/// A change of the seller; a part that is `None` stays unchanged.
#[derive(Clone, Debug, Default)]
pub struct ChangeParty {
    pub address: Option<Option<Address>>,
    pub country: Option<Option<Country>>,
    pub email: Option<Option<Email>>,
    pub name: Option<Option<Name>>,
    pub phone: Option<Option<Name>>,
    pub tax_id: Option<Option<Name>>,
    pub vat_id: Option<Option<VatId>>,
}

impl ChangeParty {
    fn apply(&self, party: &Party) -> Party {
        fn changed<T: Clone>(change: &Option<Option<T>>, before: &Option<T>) -> Option<T> {
            change.as_ref().unwrap_or(before).clone()
        }
        Party {
            address: changed(&self.address, &party.address),
            country: changed(&self.country, &party.country),
            email: changed(&self.email, &party.email),
            name: changed(&self.name, &party.name),
            phone: changed(&self.phone, &party.phone),
            tax_id: changed(&self.tax_id, &party.tax_id),
            vat_id: changed(&self.vat_id, &party.vat_id),
        }
    }
}

/// The settings of a new shop.
#[derive(Clone, Debug)]
pub struct NewSettings {
    pub country: Option<Country>,
    pub prices_include_tax: bool,
    pub timezone: TimeZone,
}

refusals! {
    /// Reasons to refuse a change of the settings.
    pub enum SettingsRefused {
        /// The caller has read an older version.
        Stale: Stale "stale_version",
            "the settings have changed since they were read; read them again, then repeat the \
             change";
        /// The VAT id is of another country than the seller.
        VatId(#[from] VatIdError): Invalid "vat_id_mismatch", "the VAT id {0}";
    }
    inherits { Storage(StorageError) }
}

fn shop_row(row: &Row<'_>) -> rusqlite::Result<Shop> {
    Ok(Shop {
        name: row.get("name")?,
        currency: row.get("currency")?,
        prices_include_tax: row.get("prices_include_tax")?,
        seller: row.get("seller")?,
        timezone: row.get("timezone")?,
        version: row.get("version")?,
        updated_at: row.get("updated_at")?,
    })
}

/// Inserts the settings of a new shop.
pub fn insert(
    work: &mut TenantWork,
    name: &Name,
    currency: Currency,
    new: &NewSettings,
) -> Result<(), StorageError> {
    let now = work.now();
    let seller = Party {
        country: new.country,
        ..Party::default()
    };
    work.insert(
        &INSERT,
        params![
            name,
            currency,
            new.prices_include_tax,
            seller,
            new.timezone,
            now
        ],
    )
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
    let after = Shop {
        name: change.name.clone().unwrap_or_else(|| before.name.clone()),
        prices_include_tax: change
            .prices_include_tax
            .unwrap_or(before.prices_include_tax),
        seller: change.seller.apply(&before.seller),
        timezone: change
            .timezone
            .clone()
            .unwrap_or_else(|| before.timezone.clone()),
        ..before.clone()
    };
    after.seller.check_vat_id()?;
    if after == before {
        return Ok(before);
    }
    let now = work.now();
    let (included, timezone) = (after.prices_include_tax, &after.timezone);
    work.change(
        &UPDATE,
        params![after.name, included, after.seller, timezone, now],
        Rows::Exactly(1),
    )?;
    let details = json!({"prices_include_tax": included, "timezone": timezone,
        "seller": after.seller});
    audit::record(work, "settings.changed", "shop", details)?;
    Ok(shop(work)?)
}
