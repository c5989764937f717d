//! `POST /v1/admin/sales/import`: a batch of past sales.

use axum::Json;
use serde::Deserialize;

use super::import::{BatchRow, Taken, Tally, check_size, take_rows};
use crate::http::extract::permission::Pos;
use crate::http::extract::{Body, FromBody, Shop};
use crate::http::faults::Faults;
use crate::http::problem::Problem;
use crate::primitives::limits::LINES_MAX;
use crate::primitives::{Note, Quantity, Sku, Timestamp};
use crate::tenant::sales::{ImportLine, ImportSale, ImportedSale, import_sale};

/// A batch of sales.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SalesBatchBody {
    sales: Vec<SaleBody>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaleBody {
    line: u64,
    number: String,
    sold_at: String,
    total_minor: i64,
    lines: Vec<LineBody>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineBody {
    sku: String,
    quantity: i64,
    unit_price_minor: i64,
}

/// The sales, the unreadable ones among them.
pub struct SalesBatch(pub(in crate::http) Vec<BatchRow<ImportSale>>);

impl FromBody for SalesBatch {
    type Wire = SalesBatchBody;

    fn from_wire(wire: SalesBatchBody, faults: &mut Faults) -> Option<Self> {
        check_size(faults, "/sales", wire.sales.len());
        Some(Self(wire.sales.into_iter().map(row).collect()))
    }
}

fn row(wire: SaleBody) -> BatchRow<ImportSale> {
    let mut faults = Faults::default();
    let number = faults.take("invoice_number", Note::parse(&wire.number));
    let sold_at = faults.take("sold_at", Timestamp::parse(&wire.sold_at));
    if wire.lines.is_empty() || wire.lines.len() > LINES_MAX {
        faults.note(
            "lines",
            "invalid",
            format!("must be 1 to {LINES_MAX}, and are {}", wire.lines.len()),
        );
    }
    let lines: Vec<Option<ImportLine>> = wire
        .lines
        .iter()
        .map(|wire| line(wire, &mut faults))
        .collect();
    let command = || {
        Some(ImportSale {
            number: number?.to_string(),
            sold_at: sold_at?,
            total_minor: wire.total_minor,
            lines: lines.into_iter().collect::<Option<_>>()?,
        })
    };
    let command = command();
    BatchRow {
        line: wire.line,
        command: faults.finish_in_a_line(command),
    }
}

fn line(wire: &LineBody, faults: &mut Faults) -> Option<ImportLine> {
    let sku = faults.take("sku", Sku::parse(&wire.sku));
    let quantity = faults.take("quantity", Quantity::new(wire.quantity));
    Some(ImportLine {
        sku: sku?,
        quantity: quantity?,
        unit_price_minor: wire.unit_price_minor,
    })
}

/// Takes a batch of sales: each is recorded or found recorded, or refused with its reason while the
/// others are taken.
pub async fn import(
    shop: Shop<Pos>,
    Body(SalesBatch(sales)): Body<SalesBatch>,
) -> Result<Json<Tally>, Problem> {
    let policy = shop.selling_policy().await?;
    let tally = shop.write(move |work| {
        take_rows(work, &sales, |work, sale| {
            Ok(match import_sale(work, &policy, sale)? {
                ImportedSale::Recorded => Taken::Created,
                ImportedSale::Known => Taken::Unchanged,
            })
        })
    });
    Ok(Json(tally.await?))
}
