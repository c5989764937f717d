//! Queries of stock.

use super::model::{Movement, Stock};
use super::store;
use crate::platform::page::{Page, PageRequest};
use crate::primitives::id::ProductId;
use crate::storage::{StorageError, TenantView};

/// The stock of a product: zero before the first movement, `None` when there is no such product.
pub fn find_stock(view: &TenantView, product_id: ProductId) -> Result<Option<Stock>, StorageError> {
    store::stock(view, product_id)
}

/// Lists a page of movements, the newest first; only those of `product_id` if given.
pub fn list_movements(
    view: &TenantView,
    page: PageRequest,
    product_id: Option<ProductId>,
) -> Result<Page<Movement>, StorageError> {
    store::movements(view, page, product_id)
}
