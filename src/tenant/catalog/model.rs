//! What a product is, and why a change of the catalog is refused.

use crate::primitives::id::{CategoryId, ProductId};
use crate::primitives::{
    Barcode, Class, Currency, Money, MoneyError, Name, Refusal, Sku, TaxClass,
};
use crate::storage::StorageError;
use crate::tenant::tax::TaxRefused;

/// A thing that is sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    pub id: ProductId,
    /// The shop's own number of it.
    pub sku: Sku,
    /// What its label says to a scanner.
    pub barcode: Option<Barcode>,
    pub name: Name,
    /// What one costs; with or without tax as the shop's settings say.
    pub price: Money,
    /// Its class for tax.
    pub tax_class: TaxClass,
    /// Whether stock is counted, so that what is not there cannot be sold.
    pub track_stock: bool,
    /// Where it is filed.
    pub category_id: Option<CategoryId>,
    /// Whether it can be sold.
    pub active: bool,
    /// Counts the changes; the `ETag`.
    pub version: i64,
}

/// The version of a product that was just made.
pub const FIRST_VERSION: i64 = 1;

/// What a label says of a product: each belongs to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// The shop's own number.
    Sku(Sku),
    /// What a scanner reads.
    Barcode(Barcode),
}

/// Which part of the catalog is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only products of this category.
    pub category: Option<CategoryId>,
    /// Only those that can be sold, or only those that cannot.
    pub active: Option<bool>,
}

impl Selection {
    /// Whether a product belongs to it.
    pub fn holds(&self, product: &Product) -> bool {
        self.category
            .is_none_or(|category| product.category_id == Some(category))
            && self.active.is_none_or(|active| product.active == active)
    }
}

/// A drawer of the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    pub id: CategoryId,
    /// Its name, unique in the shop.
    pub name: Name,
}

/// Why a change of the catalog is refused; the first that applies wins, in this order.
#[derive(Debug, thiserror::Error)]
pub enum CatalogRefused {
    #[error("there is no such product in this store")]
    ProductNotFound,
    /// The caller's copy is out of date.
    #[error("the product was changed meanwhile; read it again, then repeat the change")]
    Stale,
    /// The SKU is in use.
    #[error("the SKU `{0}` belongs to another product; choose another one, or change that product")]
    SkuTaken(Sku),
    /// The barcode is in use.
    #[error("the barcode `{0}` belongs to another product")]
    BarcodeTaken(Barcode),
    /// There is no such category.
    #[error("there is no such category in this store")]
    CategoryNotFound,
    /// The category's name is in use.
    #[error("there is a category `{0}` already")]
    CategoryTaken(Name),
    /// The product has a price in another currency.
    #[error(
        "the product is priced in {0}, and a product's currency never changes; give the one in {1} \
         a SKU of its own"
    )]
    CurrencyFixed(Currency, Currency),
    /// The tax class has no rate.
    #[error(transparent)]
    Tax(#[from] TaxRefused),
    /// The price cannot be.
    #[error(transparent)]
    Price(#[from] MoneyError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Refusal for CatalogRefused {
    fn class(&self) -> Class {
        match self {
            Self::ProductNotFound => Class::NotFound,
            Self::Stale => Class::Stale,
            Self::SkuTaken(_) | Self::BarcodeTaken(_) | Self::CategoryTaken(_) => Class::Conflict,
            Self::CategoryNotFound | Self::CurrencyFixed(..) | Self::Price(_) => Class::Invalid,
            Self::Tax(refused) => refused.class(),
            Self::Storage(error) => error.class(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::ProductNotFound => "product_not_found",
            Self::Stale => "stale_version",
            Self::SkuTaken(_) => "sku_taken",
            Self::BarcodeTaken(_) => "barcode_taken",
            Self::CategoryNotFound => "category_not_found",
            Self::CategoryTaken(_) => "category_taken",
            Self::CurrencyFixed(..) => "currency_fixed",
            Self::Tax(refused) => refused.code(),
            Self::Price(_) => "price_invalid",
            Self::Storage(error) => error.code(),
        }
    }
}
