//! Use case: Change a product, deactivate it, or activate it again.

use serde_json::json;

use super::model::{CatalogRefused, Product};
use super::store;
use crate::platform::audit;
use crate::primitives::id::{CategoryId, ProductId};
use crate::primitives::{Barcode, Measure, Money, Name, QuantityScale, Sku, TaxClass, Unit};
use crate::storage::{StorageError, TenantWork};
use crate::tenant::tax;

/// A change of a product; a field that is `None` stays unchanged.
#[derive(Clone, Debug, Default)]
pub struct ChangeProduct {
    pub sku: Option<Sku>,
    /// `Some(None)` removes the barcode.
    pub barcode: Option<Option<Barcode>>,
    pub name: Option<Name>,
    /// In minor units of the product's currency.
    pub price_minor: Option<i64>,
    pub tax_class: Option<TaxClass>,
    /// Whether stock is counted from now on.
    pub track_stock: Option<bool>,
    /// `Some(None)` removes the product from its category.
    pub category_id: Option<Option<CategoryId>>,
    /// Only of a product that is not in use, as its scale.
    pub unit: Option<Unit>,
    pub quantity_scale: Option<QuantityScale>,
}

/// Changes a product; without a difference nothing is written. `expected` is the version that the
/// caller has read (`If-Match`), if any.
pub fn change_product(
    work: &mut TenantWork,
    id: ProductId,
    expected: Option<i64>,
    change: &ChangeProduct,
) -> Result<Product, CatalogRefused> {
    let before = load(work, id, expected)?;
    let after = Product {
        sku: change.sku.clone().unwrap_or_else(|| before.sku.clone()),
        barcode: change
            .barcode
            .clone()
            .unwrap_or_else(|| before.barcode.clone()),
        name: change.name.clone().unwrap_or_else(|| before.name.clone()),
        price: change.price_minor.map_or(Ok(before.price), |minor| {
            Money::price(minor, before.price.currency())
        })?,
        tax_class: change
            .tax_class
            .clone()
            .unwrap_or_else(|| before.tax_class.clone()),
        track_stock: change.track_stock.unwrap_or(before.track_stock),
        category_id: change.category_id.unwrap_or(before.category_id),
        measure: Measure {
            unit: change.unit.unwrap_or(before.measure.unit),
            scale: change.quantity_scale.unwrap_or(before.measure.scale),
        },
        ..before.clone()
    };
    if after == before {
        return Ok(before);
    }
    let after = Product {
        version: before.version + 1,
        updated_at: work.now(),
        ..after
    };
    store::require_sku_free(work, &after.sku, Some(id))?;
    after.barcode.as_ref().map_or(Ok(()), |barcode| {
        store::require_barcode_free(work, barcode, Some(id))
    })?;
    after
        .category_id
        .map_or(Ok(()), |category| store::require_category(work, category))?;
    if after.measure != before.measure && before.in_use {
        return Err(CatalogRefused::UnitInUse(before.sku));
    }
    tax::require_class(work, &after.tax_class)?;
    store::update(work, &after)?;
    audit::record(
        work,
        "product.changed",
        &format!("product:{id}"),
        json!({"sku": after.sku, "price_minor": after.price.minor(), "unit": after.measure.unit,
            "quantity_scale": after.measure.scale}),
    )?;
    Ok(after)
}

/// Records that a quantity of a product is stored from now on, which fixes its unit and scale.
pub fn mark_in_use(work: &mut TenantWork, id: ProductId) -> Result<(), StorageError> {
    store::mark_in_use(work, id)
}

/// Activates or deactivates a product; without a difference nothing is written.
pub fn set_active(
    work: &mut TenantWork,
    id: ProductId,
    expected: Option<i64>,
    active: bool,
) -> Result<Product, CatalogRefused> {
    let before = load(work, id, expected)?;
    if before.active == active {
        return Ok(before);
    }
    let after = Product {
        active,
        version: before.version + 1,
        updated_at: work.now(),
        ..before
    };
    store::update(work, &after)?;
    let action = if active {
        "product.activated"
    } else {
        "product.deactivated"
    };
    audit::record(
        work,
        action,
        &format!("product:{id}"),
        json!({"sku": after.sku}),
    )?;
    Ok(after)
}

fn load(
    work: &TenantWork,
    id: ProductId,
    expected: Option<i64>,
) -> Result<Product, CatalogRefused> {
    let product = store::find(work, id)?.ok_or(CatalogRefused::ProductNotFound)?;
    if expected.is_some_and(|version| version != product.version) {
        Err(CatalogRefused::Stale)
    } else {
        Ok(product)
    }
}
