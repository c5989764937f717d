//! SQL and row mapping of the catalog.

use super::model::{CatalogRefused, Category, Product, Selection};
use crate::platform::page::{Page, PageRequest, with_seq};
use crate::primitives::id::{CategoryId, ProductId};
use crate::primitives::{Barcode, Name, Sku};
use crate::storage::{
    Row, Rows, StorageError, TenantView, TenantWork, measure, money, named_params, params,
    statements,
};

/// Columns that [`product`] reads.
macro_rules! columns {
    () => {
        "id, sku, barcode, name, price_minor, currency, tax_class, track_stock, category_id, \
         active, version, unit, quantity_scale, in_use, updated_at"
    };
}

statements! {
    INSERT = "INSERT INTO product (id, sku, barcode, name, price_minor, currency, tax_class, \
        track_stock, category_id, active, version, created_at, updated_at, unit, quantity_scale, \
        in_use)
              VALUES (:id, :sku, :barcode, :name, :price_minor, :currency, :tax_class, \
              :track_stock, :category_id, 1, 1, :now, :now, :unit, :quantity_scale, 0)";
    UPDATE = "UPDATE product SET sku = :sku, barcode = :barcode, name = :name, price_minor = \
        :price_minor, tax_class = :tax_class,
              track_stock = :track_stock, category_id = :category_id, active = :active, version = \
              version + 1, updated_at = :now, unit = :unit, quantity_scale = :quantity_scale \
              WHERE id = :id";
    MARK_IN_USE = "UPDATE product SET in_use = 1 WHERE id = ?1 AND in_use = 0";
    FIND = concat!("SELECT ", columns!(), " FROM product WHERE id = ?1");
    FIND_BY_SKU = concat!("SELECT ", columns!(), " FROM product WHERE sku = ?1");
    FIND_BY_BARCODE = concat!("SELECT ", columns!(), " FROM product WHERE barcode = ?1");
    PAGE = concat!("SELECT ", columns!(), ", seq FROM product WHERE seq < ?1 ORDER BY seq DESC \
        LIMIT ?2");
    PAGE_OF_ACTIVE = concat!("SELECT ", columns!(), ", seq FROM product WHERE active = ?3 AND seq \
        < ?1 ORDER BY seq DESC LIMIT ?2");
    PAGE_OF_CATEGORY = concat!("SELECT ", columns!(), ", seq FROM product WHERE category_id = ?3 \
        AND seq < ?1 ORDER BY seq DESC LIMIT ?2");
    PAGE_OF_CATEGORY_AND_ACTIVE = concat!("SELECT ", columns!(), ", seq FROM product
            WHERE category_id = ?3 AND active = ?4 AND seq < ?1 ORDER BY seq DESC LIMIT ?2");
    SKU_OWNER = "SELECT id FROM product WHERE sku = ?1";
    BARCODE_OWNER = "SELECT id FROM product WHERE barcode = ?1";
    CATEGORY_EXISTS = "SELECT 1 FROM category WHERE id = ?1";
    CATEGORY_BY_NAME = "SELECT id FROM category WHERE name = ?1";
    INSERT_CATEGORY = "INSERT INTO category (id, name, created_at) VALUES (?1, ?2, ?3)";
    CATEGORIES = "SELECT id, name, seq FROM category WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2";
}

fn product(row: &Row<'_>) -> rusqlite::Result<Product> {
    Ok(Product {
        id: row.get("id")?,
        sku: row.get("sku")?,
        barcode: row.get("barcode")?,
        name: row.get("name")?,
        price: money(row, "price_minor", row.get("currency")?)?,
        tax_class: row.get("tax_class")?,
        track_stock: row.get("track_stock")?,
        category_id: row.get("category_id")?,
        active: row.get("active")?,
        version: row.get("version")?,
        updated_at: row.get("updated_at")?,
        measure: measure(row)?,
        in_use: row.get("in_use")?,
    })
}

pub(super) fn insert(work: &mut TenantWork, product: &Product) -> Result<(), StorageError> {
    let now = work.now();
    let row = named_params! {
        ":id": product.id, ":sku": product.sku, ":barcode": product.barcode, ":name": product.name,
        ":price_minor": product.price.minor(), ":currency": product.price.currency(),
            ":tax_class": product.tax_class,
        ":track_stock": product.track_stock, ":category_id": product.category_id, ":now": now,
        ":unit": product.measure.unit, ":quantity_scale": product.measure.scale,
    };
    work.insert(&INSERT, row)
}

pub(super) fn update(work: &mut TenantWork, product: &Product) -> Result<(), StorageError> {
    let now = work.now();
    let row = named_params! {
        ":id": product.id, ":sku": product.sku, ":barcode": product.barcode, ":name": product.name,
        ":price_minor": product.price.minor(), ":tax_class": product.tax_class,
            ":track_stock": product.track_stock,
        ":category_id": product.category_id, ":active": product.active, ":now": now,
        ":unit": product.measure.unit, ":quantity_scale": product.measure.scale,
    };
    work.change(&UPDATE, row, Rows::Exactly(1)).map(drop)
}

/// Records that a quantity of a product is stored from now on.
pub(super) fn mark_in_use(work: &mut TenantWork, id: ProductId) -> Result<(), StorageError> {
    work.change(&MARK_IN_USE, params![id], Rows::AtMostOne)
        .map(drop)
}

pub(super) fn find(view: &TenantView, id: ProductId) -> Result<Option<Product>, StorageError> {
    view.find(&FIND, params![id], product)
}

pub(super) fn find_by_sku(view: &TenantView, sku: &Sku) -> Result<Option<Product>, StorageError> {
    view.find(&FIND_BY_SKU, params![sku], product)
}

pub(super) fn find_by_barcode(
    view: &TenantView,
    barcode: &Barcode,
) -> Result<Option<Product>, StorageError> {
    view.find(&FIND_BY_BARCODE, params![barcode], product)
}

pub(super) fn page(
    view: &TenantView,
    page: PageRequest,
    of: Selection,
) -> Result<Page<Product>, StorageError> {
    let map = with_seq(product);
    let (before, fetch) = (page.before, page.fetch());
    let rows = match (of.category, of.active) {
        (None, None) => view.all(&PAGE, params![before, fetch], map)?,
        (None, Some(active)) => view.all(&PAGE_OF_ACTIVE, params![before, fetch, active], map)?,
        (Some(category), None) => {
            view.all(&PAGE_OF_CATEGORY, params![before, fetch, category], map)?
        }
        (Some(category), Some(active)) => view.all(
            &PAGE_OF_CATEGORY_AND_ACTIVE,
            params![before, fetch, category, active],
            map,
        )?,
    };
    Ok(Page::cut(rows, page))
}

pub(super) fn require_sku_free(
    view: &TenantView,
    sku: &Sku,
    owner: Option<ProductId>,
) -> Result<(), CatalogRefused> {
    match view.find(&SKU_OWNER, params![sku], |row| row.get::<_, ProductId>(0))? {
        Some(id) if Some(id) != owner => Err(CatalogRefused::SkuTaken(sku.clone())),
        _ => Ok(()),
    }
}

pub(super) fn require_barcode_free(
    view: &TenantView,
    barcode: &Barcode,
    owner: Option<ProductId>,
) -> Result<(), CatalogRefused> {
    match view.find(&BARCODE_OWNER, params![barcode], |row| {
        row.get::<_, ProductId>(0)
    })? {
        Some(id) if Some(id) != owner => Err(CatalogRefused::BarcodeTaken(barcode.clone())),
        _ => Ok(()),
    }
}

pub(super) fn require_category(view: &TenantView, id: CategoryId) -> Result<(), CatalogRefused> {
    view.find(&CATEGORY_EXISTS, params![id], |_| Ok(()))?
        .ok_or(CatalogRefused::CategoryNotFound)
}

pub(super) fn find_category(
    view: &TenantView,
    name: &Name,
) -> Result<Option<CategoryId>, StorageError> {
    view.find(&CATEGORY_BY_NAME, params![name], |row| row.get(0))
}

pub(super) fn categories(
    view: &TenantView,
    page: PageRequest,
) -> Result<Page<Category>, StorageError> {
    page.read(view, &CATEGORIES, |row| {
        Ok(Category {
            id: row.get("id")?,
            name: row.get("name")?,
        })
    })
}

pub(super) fn insert_category(
    work: &mut TenantWork,
    category: &Category,
) -> Result<(), StorageError> {
    let now = work.now();
    work.insert(&INSERT_CATEGORY, params![category.id, category.name, now])
}
