//! Use case: a product comes into the catalog.

use serde_json::json;

use super::model::{CatalogRefused, FIRST_VERSION, Product};
use super::store;
use crate::primitives::id::{CategoryId, ProductKind};
use crate::primitives::{Barcode, Currency, Money, Name, Sku, TaxClass};
use crate::storage::TenantWork;
use crate::tenant::{audit, settings, tax};

/// A product that is to be.
#[derive(Clone, Debug)]
pub struct CreateProduct {
    /// The shop's own number.
    pub sku: Sku,
    /// What its label says to a scanner.
    pub barcode: Option<Barcode>,
    pub name: Name,
    /// What one costs, in minor units.
    pub price_minor: i64,
    /// In which currency; the shop's own, when it is not said.
    pub currency: Option<Currency>,
    /// Its class for tax; `standard`, when it is not said.
    pub tax_class: Option<TaxClass>,
    /// Whether stock is counted.
    pub track_stock: bool,
    /// Where it is filed.
    pub category_id: Option<CategoryId>,
}

/// Takes a product into the catalog; it can be sold at once.
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
        version: FIRST_VERSION,
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
