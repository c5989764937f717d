//! Use case: Import a past sale from another system. Its number there determines its id, so the
//! same sale can be imported again.

use super::fingerprint;
use super::model::{
    ImportSale, ImportSaleRefused, ImportedSale, RecordSale, SaleLine, SalePayment, SaleRefused,
};
use super::record_sale::{Source, record_as};
use crate::primitives::id::{OrderId, OrderLineId, PaymentId};
use crate::storage::TenantWork;
use crate::tenant::currency::Published;
use crate::tenant::payments::Method;
use crate::tenant::{Policy, catalog, orders};

/// Records a past sale at its own date, paid in cash: its lines, priced by the shop's settings and
/// the rates of that day, must add up to its total. Stock is unchanged, because today's counts do
/// not include these goods. A sale that was imported before is compared with the other system's
/// data, not with the present products.
pub fn import_sale(
    work: &mut TenantWork,
    policy: &Policy,
    published: &Published,
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
        buyer: None,
    };
    let total_minor = sale.total_minor;
    record_as(
        work,
        policy,
        published,
        &command,
        Some(hash),
        Source::Import { total_minor },
    )?;
    Ok(ImportedSale::Recorded)
}
