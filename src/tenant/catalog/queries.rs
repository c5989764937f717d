//! Queries of the catalog.

use super::model::{Category, Label, Product, Selection};
use super::store;
use crate::platform::page::{Page, PageRequest};
use crate::primitives::Sku;
use crate::primitives::id::ProductId;
use crate::storage::{StorageError, TenantView};

pub fn find_product(view: &TenantView, id: ProductId) -> Result<Option<Product>, StorageError> {
    store::find(view, id)
}

pub fn find_product_by_sku(view: &TenantView, sku: &Sku) -> Result<Option<Product>, StorageError> {
    store::find_by_sku(view, sku)
}

/// Finds the product that a label belongs to.
pub fn find_product_by_label(
    view: &TenantView,
    label: &Label,
) -> Result<Option<Product>, StorageError> {
    match label {
        Label::Sku(sku) => store::find_by_sku(view, sku),
        Label::Barcode(barcode) => store::find_by_barcode(view, barcode),
    }
}

/// Lists a page of the products in a filter, the newest first.
pub fn list_products(
    view: &TenantView,
    page: PageRequest,
    of: Selection,
) -> Result<Page<Product>, StorageError> {
    store::page(view, page, of)
}

pub fn list_categories(
    view: &TenantView,
    page: PageRequest,
) -> Result<Page<Category>, StorageError> {
    store::categories(view, page)
}
