//! Types of sales that have taken place, and the reasons to refuse one.

use crate::primitives::id::{OrderId, OrderLineId, PaymentId, ProductId};
use crate::primitives::{Email, Note, Quantity, Sku, Timestamp, refusals};
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
    /// The discount of the whole sale, after those of the lines, in the terms of the prices.
    pub discount_minor: Option<i64>,
    pub discount_reason: Option<Note>,
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
    /// Price of one whole unit, if different from the catalog's.
    pub unit_price_minor: Option<i64>,
    pub price_reason: Option<Note>,
    /// The discount of the line, in the terms of its price.
    pub discount_minor: Option<i64>,
    pub discount_reason: Option<Note>,
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

refusals! {
    /// Reasons to refuse a sale; the first that applies wins, in this order.
    pub enum SaleRefused {
        /// The id was used before with other content.
        IdConflict(String): Conflict "id_conflict",
            "the id {0} belongs to another sale, line or payment; use a new id";
        SoldInFuture: Invalid "sold_at_in_future",
            "sold_at lies in the future; set the till's clock";
        /// Older than the period for which books are kept.
        SoldTooLongAgo: Invalid "sold_at_too_old",
            "sold_at lies more than ten years back; set the till's clock, or import old sales \
             with `tillbox sales import`";
        /// An imported sale whose lines do not add up to its total.
        TotalMismatch { priced: i64, stated: i64 }: Invalid "total_mismatch",
            "the lines add up to {priced} with tax, but the total is {stated} (minor units)";
    }
    inherits { Sell(SellRefused), Settle(SettleRefused), Storage(StorageError) }
    facts {
        Self::IdConflict(id) => { id: id },
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

refusals! {
    /// Reasons to refuse a sale; the first that applies wins, in this order.
    pub enum ImportSaleRefused {
        /// A product is not in the catalog.
        UnknownSku(Sku): Invalid "unknown_sku",
            "there is no product with the SKU `{0}`; import the catalog first";
    }
    inherits { Sale(SaleRefused), Storage(StorageError) }
}
