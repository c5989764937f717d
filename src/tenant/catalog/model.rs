//! Products, categories, and the reasons to refuse a change of the catalog.

use crate::primitives::id::{CategoryId, ProductId};
use crate::primitives::{
    Barcode, Currency, Measure, Money, MoneyError, Name, Sku, TaxClass, Timestamp, refusals,
};
use crate::storage::StorageError;
use crate::tenant::tax::TaxRefused;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    pub id: ProductId,
    pub sku: Sku,
    pub barcode: Option<Barcode>,
    pub name: Name,
    /// Price of one whole unit; the shop's settings say whether it includes tax.
    pub price: Money,
    pub tax_class: TaxClass,
    /// Whether stock is counted: then no more can be sold than is available.
    pub track_stock: bool,
    pub category_id: Option<CategoryId>,
    /// Whether the product can be sold.
    pub active: bool,
    /// Unit and scale of its quantities; fixed once the product is in use.
    pub measure: Measure,
    /// Whether a quantity of the product was stored: in a cart, on a line, in a movement.
    pub in_use: bool,
    /// Incremented with each change; sent as the `ETag`.
    pub version: i64,
    /// The instant of the last change.
    pub updated_at: Timestamp,
}

/// The version of a new product.
pub const FIRST_VERSION: i64 = 1;

/// A label that identifies one product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    Sku(Sku),
    Barcode(Barcode),
}

/// A filter over products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only products of this category.
    pub category: Option<CategoryId>,
    /// Only active products, or only inactive ones.
    pub active: Option<bool>,
}

impl Selection {
    /// Whether the filter includes a product.
    pub fn holds(&self, product: &Product) -> bool {
        self.category
            .is_none_or(|category| product.category_id == Some(category))
            && self.active.is_none_or(|active| product.active == active)
    }
}

/// A category of the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    pub id: CategoryId,
    /// Unique in the shop.
    pub name: Name,
}

refusals! {
    /// Reasons to refuse a change of the catalog; the first that applies wins, in this order.
    pub enum CatalogRefused {
        ProductNotFound: NotFound "product_not_found",
            "no such product in this shop; check the product id";
        /// The caller has read an older version.
        Stale: Stale "stale_version",
            "the product has changed since it was read; read it again, then repeat the change";
        SkuTaken(Sku): Conflict "sku_taken",
            "the SKU `{0}` belongs to another product; choose another one, or change that \
             product";
        BarcodeTaken(Barcode): Conflict "barcode_taken",
            "the barcode `{0}` belongs to another product; use another barcode, or change that \
             product";
        CategoryNotFound: Invalid "category_not_found",
            "no such category in this shop; create the category first";
        CategoryTaken(Name): Conflict "category_taken",
            "the category `{0}` exists already; use it, or choose another name";
        /// The price is in another currency than the product.
        CurrencyFixed(Currency, Currency): Invalid "currency_fixed",
            "the product is priced in {0}, and a product's currency never changes; give the one \
             in {1} a SKU of its own";
        /// The change would give stored quantities another meaning.
        UnitInUse(Sku): Conflict "unit_in_use",
            "the unit and quantity_scale of `{0}` are fixed, because the product was in a cart, \
             was sold, or its stock moved; make a new product with its own SKU";
        /// The price is out of range.
        Price(#[from] MoneyError): Invalid "price_invalid", "{0}";
    }
    inherits { Tax(TaxRefused), Storage(StorageError) }
}
