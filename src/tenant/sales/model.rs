//! Types of sales that have taken place, and the reasons to refuse one.

use serde_json::{Map, Value, json};

use crate::primitives::id::{OrderId, OrderLineId, PaymentId, ProductId};
use crate::primitives::{Class, Email, Quantity, Refusal, Sku, Timestamp};
use crate::storage::StorageError;
use crate::tenant::checkout::SellRefused;
use crate::tenant::finance::{SettleRefused, Settlement};
use crate::tenant::party::Party;
use crate::tenant::payments::{Method, Payment};

/// A sale that has taken place.
#[derive(Clone, Debug)]
pub struct RecordSale {
    /// The id that the client chose, if any.
    pub id: Option<OrderId>,
    /// Default: now.
    pub sold_at: Option<Timestamp>,
    pub lines: Vec<SaleLine>,
    pub payments: Vec<SalePayment>,
    /// The address for the confirmation, if any.
    pub email: Option<Email>,
    /// The buyer for the invoice, if any.
    pub buyer: Option<Party>,
}

/// A line of a sale.
#[derive(Clone, Debug)]
pub struct SaleLine {
    /// The id that the client chose, if any.
    pub id: Option<OrderLineId>,
    pub product_id: ProductId,
    pub quantity: Quantity,
    /// Unit price, if different from the catalog's.
    pub unit_price_minor: Option<i64>,
}

/// A payment of a sale.
#[derive(Clone, Debug)]
pub struct SalePayment {
    /// The id that the client chose, if any.
    pub id: Option<PaymentId>,
    pub method: Method,
    /// The amount handed over, in minor units.
    pub amount_minor: i64,
}

/// A recorded sale.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub payments: Vec<Payment>,
    /// Order, financial order and invoice.
    pub settlement: Settlement,
}

/// Reasons to refuse a sale; the first that applies wins, in this order.
#[derive(Debug, thiserror::Error)]
pub enum SaleRefused {
    /// The id was used before with other content.
    #[error("the id {0} belongs to another sale, line or payment; use a new id")]
    IdConflict(String),
    #[error("sold_at lies in the future; set the till's clock")]
    SoldInFuture,
    /// Older than the period for which books are kept.
    #[error(
        "sold_at lies more than ten years back; set the till's clock, or import old sales with \
         `tillbox sales import`"
    )]
    SoldTooLongAgo,
    /// The products cannot be sold as requested.
    #[error(transparent)]
    Sell(#[from] SellRefused),
    /// An imported sale whose lines do not add up to its total.
    #[error("the lines add up to {priced} with tax, but the total is {stated} (minor units)")]
    TotalMismatch { priced: i64, stated: i64 },
    /// A step of the books was refused.
    #[error(transparent)]
    Settle(#[from] SettleRefused),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Refusal for SaleRefused {
    fn class(&self) -> Class {
        match self {
            Self::IdConflict(_) => Class::Conflict,
            Self::SoldInFuture | Self::SoldTooLongAgo | Self::TotalMismatch { .. } => {
                Class::Invalid
            }
            Self::Sell(refused) => refused.class(),
            Self::Settle(refused) => refused.class(),
            Self::Storage(error) => error.class(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::IdConflict(_) => "id_conflict",
            Self::SoldInFuture => "sold_at_in_future",
            Self::SoldTooLongAgo => "sold_at_too_old",
            Self::TotalMismatch { .. } => "total_mismatch",
            Self::Sell(refused) => refused.code(),
            Self::Settle(refused) => refused.code(),
            Self::Storage(error) => error.code(),
        }
    }

    fn facts(&self) -> Map<String, Value> {
        match self {
            Self::IdConflict(id) => Map::from_iter([("id".to_owned(), json!(id))]),
            Self::Sell(refused) => refused.facts(),
            Self::Settle(refused) => refused.facts(),
            _ => Map::new(),
        }
    }
}

/// A sale as the other system has it.
#[derive(Clone, Debug)]
pub struct ImportSale {
    /// Its number in the other system.
    pub number: String,
    pub sold_at: Timestamp,
    /// The amount paid, in minor units.
    pub total_minor: i64,
    pub lines: Vec<ImportLine>,
}

/// A line of the sale.
#[derive(Clone, Debug)]
pub struct ImportLine {
    pub sku: Sku,
    pub quantity: Quantity,
    /// The unit price at the time of the sale.
    pub unit_price_minor: i64,
}

/// The outcome of importing a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportedSale {
    Recorded,
    /// The sale was recorded before.
    Known,
}

/// Reasons to refuse a sale; the first that applies wins, in this order.
#[derive(Debug, thiserror::Error)]
pub enum ImportSaleRefused {
    /// A product is not in the catalog.
    #[error("there is no product with the SKU `{0}`; import the catalog first")]
    UnknownSku(Sku),
    #[error(transparent)]
    Sale(#[from] SaleRefused),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Refusal for ImportSaleRefused {
    fn class(&self) -> Class {
        match self {
            Self::UnknownSku(_) => Class::Invalid,
            Self::Sale(refused) => refused.class(),
            Self::Storage(error) => error.class(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::UnknownSku(_) => "unknown_sku",
            Self::Sale(refused) => refused.code(),
            Self::Storage(error) => error.code(),
        }
    }
}
