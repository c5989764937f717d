//! Use case: Import products from a list that is kept in another system. The SKU identifies the
//! product, so the same list can be imported again.

use super::change_product::{ChangeProduct, change_product};
use super::create_category::create_category;
use super::create_product::{CreateProduct, create_product};
use super::model::{CatalogRefused, Product};
use super::store;
use crate::primitives::id::CategoryId;
use crate::primitives::{
    Barcode, Currency, Measure, Money, Name, QuantityScale, Sku, TaxClass, Unit,
};
use crate::storage::TenantWork;

/// A row of the list. A field that is absent stays unchanged; a new product gets its default.
#[derive(Clone, Debug)]
pub struct ImportProduct {
    pub sku: Sku,
    pub name: Name,
    /// The name of its category, which is created when it does not exist.
    pub category: Option<Name>,
    /// Price of one whole unit, in minor units.
    pub price_minor: i64,
    pub currency: Currency,
    pub barcode: Option<Barcode>,
    pub tax_class: Option<TaxClass>,
    /// Whether stock is counted.
    pub track_stock: Option<bool>,
    pub unit: Option<Unit>,
    pub quantity_scale: Option<QuantityScale>,
}

/// The outcome of importing a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    Created,
    Updated,
    /// The product equals the row already.
    Unchanged,
}

/// Creates or updates the product of one row.
pub fn import_product(
    work: &mut TenantWork,
    row: &ImportProduct,
) -> Result<Imported, CatalogRefused> {
    let category_id = row
        .category
        .as_ref()
        .map(|name| category(work, name))
        .transpose()?;
    match store::find_by_sku(work, &row.sku)? {
        Some(before) => update(work, &before, row, category_id),
        None => {
            let command = CreateProduct {
                sku: row.sku.clone(),
                barcode: row.barcode.clone(),
                name: row.name.clone(),
                price_minor: row.price_minor,
                currency: Some(row.currency),
                tax_class: row.tax_class.clone(),
                track_stock: row.track_stock.unwrap_or(false),
                category_id,
                measure: Measure {
                    unit: row.unit.unwrap_or_default(),
                    scale: row.quantity_scale.unwrap_or_default(),
                },
            };
            create_product(work, &command).map(|_| Imported::Created)
        }
    }
}

fn category(work: &mut TenantWork, name: &Name) -> Result<CategoryId, CatalogRefused> {
    match store::find_category(work, name)? {
        Some(id) => Ok(id),
        None => create_category(work, name).map(|category| category.id),
    }
}

fn update(
    work: &mut TenantWork,
    before: &Product,
    row: &ImportProduct,
    category_id: Option<CategoryId>,
) -> Result<Imported, CatalogRefused> {
    if before.price.currency() != row.currency {
        return Err(CatalogRefused::CurrencyFixed(
            before.price.currency(),
            row.currency,
        ));
    }
    let change = ChangeProduct {
        sku: None,
        barcode: row.barcode.clone().map(Some),
        name: Some(row.name.clone()),
        price_minor: Some(row.price_minor),
        tax_class: row.tax_class.clone(),
        track_stock: row.track_stock,
        category_id: category_id.map(Some),
        unit: row.unit,
        quantity_scale: row.quantity_scale,
    };
    if is_unchanged(before, row, category_id)? {
        return Ok(Imported::Unchanged);
    }
    change_product(work, before.id, None, &change).map(|_| Imported::Updated)
}

fn is_unchanged(
    before: &Product,
    row: &ImportProduct,
    category_id: Option<CategoryId>,
) -> Result<bool, CatalogRefused> {
    let same_price = Money::price(row.price_minor, row.currency)? == before.price;
    Ok(same_price
        && row.name == before.name
        && row
            .barcode
            .as_ref()
            .is_none_or(|barcode| before.barcode.as_ref() == Some(barcode))
        && row
            .tax_class
            .as_ref()
            .is_none_or(|tax_class| *tax_class == before.tax_class)
        && row
            .track_stock
            .is_none_or(|track_stock| track_stock == before.track_stock)
        && row.unit.is_none_or(|unit| unit == before.measure.unit)
        && row
            .quantity_scale
            .is_none_or(|scale| scale == before.measure.scale)
        && category_id.is_none_or(|category| before.category_id == Some(category)))
}
