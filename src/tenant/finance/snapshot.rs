//! Snapshots: what a document said when it was locked, as canonical JSON (RFC 8785) with its SHA-256, so that a later reader can prove it.

use serde::Serialize;

use crate::primitives::id::{OrderId, ProductId};
use crate::primitives::{Currency, Digest, Name, Sku, TaxClass, TaxRate, Timestamp};
use crate::tenant::orders::Order;
use crate::tenant::pricing::{PricedLine, TaxLine};

/// A locked text and its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Canonical JSON.
    pub text: String,
    /// Of the text's bytes.
    pub hash: Digest,
}

/// The canonical form of a document.
///
/// # Panics
/// When it holds a number beyond ±(2⁵³ − 1), which `Money` rules out.
pub fn canonical(document: &impl Serialize) -> Snapshot {
    let text = serde_json_canonicalizer::to_string(document).expect("documents hold texts and exact integers only");
    let hash = Digest::of(text.as_bytes());
    Snapshot { text, hash }
}

/// A line of an order as it stands in a snapshot.
#[derive(Serialize)]
pub struct SnapshotLine<'a> {
    product_id: ProductId,
    sku: &'a Sku,
    name: &'a Name,
    quantity: i64,
    unit_price_minor: i64,
    tax_class: &'a TaxClass,
    tax_name: &'a Name,
    tax_rate_ppm: TaxRate,
    net_minor: i64,
    tax_minor: i64,
    total_minor: i64,
}

/// The money of an order as it stands in a snapshot: what both of its documents say.
#[derive(Serialize)]
pub struct SnapshotMoney<'a> {
    order_number: &'a str,
    currency: Currency,
    prices_include_tax: bool,
    lines: Vec<SnapshotLine<'a>>,
    tax_lines: &'a [TaxLine],
    subtotal_minor: i64,
    discount_minor: i64,
    tax_minor: i64,
    total_minor: i64,
}

impl<'a> SnapshotMoney<'a> {
    /// The money of `order`.
    pub fn of(order: &'a Order) -> Self {
        Self {
            order_number: &order.number,
            currency: order.currency,
            prices_include_tax: order.prices_include_tax,
            lines: order.lines.iter().map(SnapshotLine::of).collect(),
            tax_lines: &order.tax_lines,
            subtotal_minor: order.subtotal.minor(),
            discount_minor: order.discount.minor(),
            tax_minor: order.tax.minor(),
            total_minor: order.total.minor(),
        }
    }
}

impl<'a> SnapshotLine<'a> {
    fn of(line: &'a PricedLine) -> Self {
        Self {
            product_id: line.product_id,
            sku: &line.sku,
            name: &line.name,
            quantity: line.quantity,
            unit_price_minor: line.unit_price.minor(),
            tax_class: &line.tax_class,
            tax_name: &line.tax_name,
            tax_rate_ppm: line.tax_rate,
            net_minor: line.net.minor(),
            tax_minor: line.tax.minor(),
            total_minor: line.total.minor(),
        }
    }
}

/// The financial side of an order as it is locked.
pub(super) fn of_order(order: &Order) -> Snapshot {
    #[derive(Serialize)]
    struct Document<'a> {
        version: u8,
        order_id: OrderId,
        placed_at: Timestamp,
        #[serde(flatten)]
        money: SnapshotMoney<'a>,
    }
    canonical(&Document {
        version: 1,
        order_id: order.id,
        placed_at: order.placed_at,
        money: SnapshotMoney::of(order),
    })
}
