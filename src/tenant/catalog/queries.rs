//! Reading the catalog.

use super::model::{Category, Product};
use super::store;
use crate::platform::page::{Page, PageRequest};
use crate::primitives::Sku;
use crate::primitives::id::{CategoryId, ProductId};
use crate::storage::{StorageError, TenantView};

/// A product by its id.
///
/// # Errors
/// [`StorageError`].
pub fn find_product(view: &TenantView, id: ProductId) -> Result<Option<Product>, StorageError> {
    store::find(view, id)
}

/// A product by its SKU.
///
/// # Errors
/// [`StorageError`].
pub fn find_product_by_sku(view: &TenantView, sku: &Sku) -> Result<Option<Product>, StorageError> {
    store::find_by_sku(view, sku)
}

/// A page of products, the newest first; of one category, when it is named.
///
/// # Errors
/// [`StorageError`].
pub fn list_products(view: &TenantView, page: PageRequest, category: Option<CategoryId>) -> Result<Page<Product>, StorageError> {
    store::page(view, page, category)
}

/// A page of categories.
///
/// # Errors
/// [`StorageError`].
pub fn list_categories(view: &TenantView, page: PageRequest) -> Result<Page<Category>, StorageError> {
    store::categories(view, page)
}
