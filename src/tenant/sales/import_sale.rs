//! Use case: a past sale comes from elsewhere, under the number it had there. The number makes its
//! id, so the same sale may come again.

use super::fingerprint;
use super::record_sale::{RecordSale, SaleLine, SalePayment, SaleRefused, Source, record_as};
use crate::primitives::id::{OrderId, OrderLineId, PaymentId};
use crate::primitives::{Class, Quantity, Refusal, Sku, Timestamp};
use crate::storage::{StorageError, TenantWork};
use crate::tenant::payments::Method;
use crate::tenant::{Policy, catalog, orders};

/// A sale as it stands elsewhere.
#[derive(Clone, Debug)]
pub struct ImportSale {
    /// Its number there.
    pub number: String,
    /// When it took place.
    pub sold_at: Timestamp,
    /// What was paid for it, in minor units.
    pub total_minor: i64,
    /// What was sold.
    pub lines: Vec<ImportLine>,
}

/// A line of it.
#[derive(Clone, Debug)]
pub struct ImportLine {
    /// The shop's own number of the product.
    pub sku: Sku,
    pub quantity: Quantity,
    /// What one cost then.
    pub unit_price_minor: i64,
}

/// What became of a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportedSale {
    /// It is in the books now.
    Recorded,
    /// It was in the books already.
    Known,
}

/// Why a sale is not taken; the first that applies wins, in this order.
#[derive(Debug, thiserror::Error)]
pub enum ImportSaleRefused {
    /// A product is not in the catalog.
    #[error("there is no product with the SKU `{0}`; import the catalog first")]
    UnknownSku(Sku),
    /// The sale itself is refused.
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

/// Takes a past sale into the books at its own date, paid in cash: its lines, priced by the shop's
/// settings and the rates of that day, come to its total. The present shelf is left alone: what was
/// sold then is in no count of today's. A sale that is known by its number is told by what the
/// other system said of it, whatever has become of the products here.
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
        });
    }
    let command = RecordSale {
        id: Some(id),
        sold_at: Some(sale.sold_at),
        lines: sale_lines,
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
        Source::Elsewhere { total_minor },
    )?;
    Ok(ImportedSale::Recorded)
}
