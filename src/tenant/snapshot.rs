//! Snapshots: the content of a document when it was locked, as canonical JSON (RFC 8785) with its
//! SHA-256, so that a later reader can verify it.

use serde::Serialize;

use crate::primitives::id::{ExchangeRateId, OrderId, ProductId};
use crate::primitives::{
    Currency, Digest, ExchangeRate, Money, Name, Note, QuantityScale, Quotation, Sku, TaxClass,
    TaxRate, Timestamp, Unit,
};
use crate::tenant::orders::Order;
use crate::tenant::pricing::{PricedLine, TaxLine};

/// A locked text and its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Canonical JSON.
    pub text: String,
    /// SHA-256 of the text's bytes.
    pub hash: Digest,
}

/// Serializes a document to canonical JSON. The document must keep three rules: members of objects
/// sorted by name, ASCII names, integer numbers. Then plain `serde_json` writes the form of RFC
/// 8785; the tests compare it with an independent library. Sorting and reformatting sorted input
/// took an eighth of a sale's time.
///
/// # Panics
/// Never: documents are plain data.
pub fn canonical(document: &impl Serialize) -> Snapshot {
    let text = serde_json::to_string(document).expect("documents hold texts and integers only");
    let hash = Digest::of(text.as_bytes());
    Snapshot { text, hash }
}

/// A line of an order in a snapshot.
#[derive(Serialize)]
pub struct SnapshotLine<'a> {
    discount_minor: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    discount_reason: Option<&'a Note>,
    name: &'a Name,
    net_minor: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    price_reason: Option<&'a Note>,
    product_id: ProductId,
    quantity: i64,
    quantity_scale: QuantityScale,
    shared_discount_minor: i64,
    sku: &'a Sku,
    tax_class: &'a TaxClass,
    tax_minor: i64,
    tax_name: &'a Name,
    tax_rate_ppm: TaxRate,
    total_minor: i64,
    unit: Unit,
    unit_price_minor: i64,
}

impl<'a> SnapshotLine<'a> {
    pub fn of(order: &'a Order) -> Vec<Self> {
        let line = |line: &'a PricedLine| Self {
            discount_minor: line.discount.minor(),
            discount_reason: line.discount_reason.as_ref(),
            name: &line.name,
            net_minor: line.net.minor(),
            price_reason: line.price_reason.as_ref(),
            product_id: line.product_id,
            quantity: line.quantity,
            quantity_scale: line.measure.scale,
            shared_discount_minor: line.shared_discount.minor(),
            sku: &line.sku,
            tax_class: &line.tax_class,
            tax_minor: line.tax.minor(),
            tax_name: &line.tax_name,
            tax_rate_ppm: line.tax_rate,
            total_minor: line.total.minor(),
            unit: line.measure.unit,
            unit_price_minor: line.unit_price.minor(),
        };
        order.lines.iter().map(line).collect()
    }
}

/// The rate of an order in another currency than the shop's own: one unit of the order's currency
/// is `numerator ÷ denominator` of the shop's.
#[derive(Serialize)]
struct Rate {
    denominator: ExchangeRate,
    id: ExchangeRateId,
    numerator: ExchangeRate,
}

/// The financial record of an order as it is locked; members sorted by name, see [`canonical`].
#[derive(Serialize)]
struct Document<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    base_currency: Option<Currency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_total_minor: Option<i64>,
    currency: Currency,
    discount_minor: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    discount_reason: Option<&'a Note>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exchange_rate: Option<Rate>,
    lines: Vec<SnapshotLine<'a>>,
    order_id: OrderId,
    order_number: &'a str,
    placed_at: Timestamp,
    prices_include_tax: bool,
    subtotal_minor: i64,
    tax_lines: &'a [TaxLine],
    tax_minor: i64,
    total_minor: i64,
    version: u8,
}

/// The snapshot of an order's financial record.
pub fn of_order(order: &Order, in_own: Option<&(ExchangeRateId, (Quotation, Money))>) -> Snapshot {
    canonical(&Document {
        base_currency: in_own.map(|(_, (_, total))| total.currency()),
        base_total_minor: in_own.map(|(_, (_, total))| total.minor()),
        exchange_rate: in_own.map(|(id, (by, _))| Rate {
            denominator: by.denominator,
            id: *id,
            numerator: by.numerator,
        }),
        currency: order.currency,
        discount_minor: order.discount.minor(),
        discount_reason: order.discount_reason.as_ref(),
        lines: SnapshotLine::of(order),
        order_id: order.id,
        order_number: &order.number,
        placed_at: order.placed_at,
        prices_include_tax: order.prices_include_tax,
        subtotal_minor: order.subtotal.minor(),
        tax_lines: &order.tax_lines,
        tax_minor: order.tax.minor(),
        total_minor: order.total.minor(),
        version: 1,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Serialize)]
    struct Any<'a> {
        a: &'a str,
        b: Vec<i64>,
        c: Option<&'a str>,
    }

    /// The sample of RFC 8785 §3.2.2, without its fractions. A literal, so that two equal faults
    /// cannot hide each other.
    #[test]
    fn escapes_text_as_rfc_8785_requires() {
        let sample = Any {
            a: "\u{20ac}$\u{f}\nA'B\"\\\\\"/",
            b: vec![0, -1, 9_007_199_254_740_991],
            c: Some("ö\u{7f}\u{2028}\u{fb33}😂"),
        };
        let expected = "{\"a\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\",\
                        \"b\":[0,-1,9007199254740991],\"c\":\"ö\u{7f}\u{2028}\u{fb33}😂\"}";
        assert_eq!(canonical(&sample).text, expected);
    }

    proptest! {
        #[test]
        fn equals_form_of_independent_library(
            a in any::<String>(),
            b in prop::collection::vec(-9_007_199_254_740_991_i64..=9_007_199_254_740_991, 0..8),
            c in any::<Option<String>>(),
        ) {
            let document = Any { a: &a, b, c: c.as_deref() };
            let canonical = canonical(&document);
            prop_assert_eq!(&canonical.text,
                &serde_json_canonicalizer::to_string(&document).expect("JSON"));
            prop_assert_eq!(canonical.hash, Digest::of(canonical.text.as_bytes()));
        }
    }
}
