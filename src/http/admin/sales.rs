//! `POST /v1/admin/sales/import`: imports a batch of past sales.

use axum::Json;
use serde::Deserialize;

use super::import::{BatchRow, RowOutcome, Tally, check_size, import_rows};
use crate::http::extract::permission::Pos;
use crate::http::extract::{Body, FromBody, Shop};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::primitives::limits::LINES_MAX;
use crate::primitives::{Note, Quantity, Sku, Timestamp};
use crate::tenant::sales::{ImportLine, ImportSale, ImportedSale, import_sale};

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

/// The sales of a batch, including the invalid ones.
pub struct SalesBatch(pub(in crate::http) Vec<BatchRow<ImportSale>>);

impl FromBody for SalesBatch {
    type Wire = SalesBatchBody;

    fn from_wire(wire: SalesBatchBody, faults: &mut RequestFaults) -> Option<Self> {
        check_size(faults, "/sales", wire.sales.len());
        Some(Self(wire.sales.into_iter().map(parse_sale).collect()))
    }
}

fn parse_sale(wire: SaleBody) -> BatchRow<ImportSale> {
    let mut faults = RequestFaults::default();
    let number = faults.check("invoice_number", Note::parse(&wire.number));
    let sold_at = faults.check("sold_at", Timestamp::parse(&wire.sold_at));
    if wire.lines.is_empty() || wire.lines.len() > LINES_MAX {
        faults.add(
            "lines",
            "invalid",
            format!(
                "a sale has 1 to {LINES_MAX} lines; this one has {}",
                wire.lines.len()
            ),
        );
    }
    let lines: Vec<Option<ImportLine>> = wire
        .lines
        .iter()
        .map(|wire| parse_line(wire, &mut faults))
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
        command: faults.finish_as_line(command),
    }
}

fn parse_line(wire: &LineBody, faults: &mut RequestFaults) -> Option<ImportLine> {
    let sku = faults.check("sku", Sku::parse(&wire.sku));
    let quantity = faults.check("quantity", Quantity::new(wire.quantity));
    Some(ImportLine {
        sku: sku?,
        quantity: quantity?,
        unit_price_minor: wire.unit_price_minor,
    })
}

/// Imports a batch of sales. Each sale is recorded or already known, or refused with its reason; a
/// refused sale does not stop the others.
pub async fn import(
    shop: Shop<Pos>,
    Body(SalesBatch(sales)): Body<SalesBatch>,
) -> Result<Json<Tally>, Problem> {
    let (policy, published) = (shop.policy(), shop.published_for_sale().await?);
    let tally = shop.write(move |work| {
        import_rows(work, &sales, |work, sale| {
            Ok(match import_sale(work, &policy, &published, sale)? {
                ImportedSale::Recorded => RowOutcome::Created,
                ImportedSale::Known => RowOutcome::Unchanged,
            })
        })
    });
    Ok(Json(tally.await?))
}
