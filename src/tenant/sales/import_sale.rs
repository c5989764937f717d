//! Use case: Import a past sale from another system. Its number there determines its id, so the
//! same sale can be imported again.

use super::fingerprint;
use super::record_sale::{RecordSale, SaleLine, SalePayment, SaleRefused, Source, record_as};
use crate::primitives::id::{OrderId, OrderLineId, PaymentId};
use crate::primitives::{Class, Quantity, Refusal, Sku, Timestamp};
use crate::storage::{StorageError, TenantWork};
use crate::tenant::payments::Method;
use crate::tenant::{Policy, catalog, orders};

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

/// Records a past sale at its own date, paid in cash: its lines, priced by the shop's settings and
/// the rates of that day, must add up to its total. Stock is unchanged, because today's counts do
/// not include these goods. A sale that was imported before is compared with the other system's
/// data, not with the present products.
pub fn import_sale(
    work: &mut TenantWork,
    policy: &Policy,
    sale: &ImportSale,
) -> Result<ImportedSale, ImportSaleRefused> {
    let name = format!("import:{}", sale.number);
    let id = OrderId::derived(&name);
    let hash = fingerprint::of_import(sale);
    match orders::request_hash(work, id)? {
        Some(known) if known == Some(hash) => return Ok(ImportedSale::Known),
        Some(_) => return Err(SaleRefused::IdConflict(sale.number.clone()).into()),
        None => {}
    }
    let mut sale_lines = Vec::with_capacity(sale.lines.len());
    for (index, line) in sale.lines.iter().enumerate() {
        let product = catalog::find_product_by_sku(work, &line.sku)?;
        sale_lines.push(SaleLine {
            id: Some(OrderLineId::derived(&format!("{name}:line:{index}"))),
            product_id: product
                .ok_or_else(|| ImportSaleRefused::UnknownSku(line.sku.clone()))?
                .id,
            quantity: line.quantity,
            unit_price_minor: Some(line.unit_price_minor),
            price_reason: None,
            discount_minor: None,
            discount_reason: None,
        });
    }
    let command = RecordSale {
        id: Some(id),
        sold_at: Some(sale.sold_at),
        lines: sale_lines,
        discount_minor: None,
        discount_reason: None,
        payments: vec![SalePayment {
            id: Some(PaymentId::derived(&format!("{name}:payment"))),
            method: Method::Cash,
            amount_minor: sale.total_minor,
        }],
        email: None,
    };
    let total_minor = sale.total_minor;
    record_as(
        work,
        policy,
        &command,
        Some(hash),
        Source::Import { total_minor },
    )?;
    Ok(ImportedSale::Recorded)
}
