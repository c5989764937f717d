//! The catalog: products and their categories.
//!
//! Invariants: a SKU and a barcode belong to one product; a product's currency never changes once
//! it exists, nor its unit and scale once a quantity of it is stored; a product is never deleted
//! (orders refer to it), only deactivated, and an inactive one cannot be sold.

mod change_product;
mod create_category;
mod create_product;
mod import_product;
mod model;
mod queries;
mod store;

pub use change_product::{ChangeProduct, change_product, mark_in_use, set_active};
pub use create_category::create_category;
pub use create_product::{CreateProduct, create_product};
pub use import_product::{ImportProduct, Imported, import_product};
pub use model::{CatalogRefused, Category, FIRST_VERSION, Label, Product, Selection};
pub use queries::{
    find_product, find_product_by_label, find_product_by_sku, list_categories, list_products,
};
pub use store::STATEMENTS;
