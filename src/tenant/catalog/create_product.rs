//! Use case: Add a product to the catalog.

use serde_json::json;

use super::model::{CatalogRefused, FIRST_VERSION, Product};
use super::store;
use crate::platform::audit;
use crate::primitives::id::{CategoryId, ProductKind};
use crate::primitives::{Barcode, Currency, Measure, Money, Name, Sku, TaxClass};
use crate::storage::TenantWork;
use crate::tenant::{settings, tax};

/// The command to create a product.
#[derive(Clone, Debug)]
pub struct CreateProduct {
    pub sku: Sku,
    pub barcode: Option<Barcode>,
    pub name: Name,
    /// Price of one whole unit, in minor units.
    pub price_minor: i64,
    /// Default: the shop's currency.
    pub currency: Option<Currency>,
    /// Default: `standard`.
    pub tax_class: Option<TaxClass>,
    /// Whether stock is counted.
    pub track_stock: bool,
    pub category_id: Option<CategoryId>,
    pub measure: Measure,
}

/// Adds an active product to the catalog.
pub fn create_product(
    work: &mut TenantWork,
    command: &CreateProduct,
) -> Result<Product, CatalogRefused> {
    let currency = match command.currency {
        Some(currency) => currency,
        None => settings::shop(work)?.currency,
    };
    let price = Money::price(command.price_minor, currency)?;
    store::require_sku_free(work, &command.sku, None)?;
    command.barcode.as_ref().map_or(Ok(()), |barcode| {
        store::require_barcode_free(work, barcode, None)
    })?;
    command
        .category_id
        .map_or(Ok(()), |id| store::require_category(work, id))?;
    let tax_class = match &command.tax_class {
        Some(tax_class) => tax_class.clone(),
        None => TaxClass::parse(tax::STANDARD).expect("the standard class has a good name"),
    };
    tax::require_class(work, &tax_class)?;
    let product = Product {
        id: work.new_id::<ProductKind>(),
        sku: command.sku.clone(),
        barcode: command.barcode.clone(),
        name: command.name.clone(),
        price,
        tax_class,
        track_stock: command.track_stock,
        category_id: command.category_id,
        active: true,
        measure: command.measure,
        in_use: false,
        version: FIRST_VERSION,
        updated_at: work.now(),
    };
    store::insert(work, &product)?;
    audit::record(
        work,
        "product.created",
        &format!("product:{}", product.id),
        json!({"sku": product.sku, "price_minor": price.minor()}),
    )?;
    Ok(product)
}
