//! `POST /v1/admin/catalog/import`: imports a batch of products.

use axum::Json;
use serde::Deserialize;

use super::import::{BatchRow, RowOutcome, Tally, check_size, import_rows};
use crate::http::extract::permission::CatalogWrite;
use crate::http::extract::{Body, FromBody, Shop};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::primitives::{Barcode, Currency, Name, QuantityScale, Sku, TaxClass, Unit};
use crate::tenant::catalog::{self, ImportProduct, Imported};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogBatchBody {
    rows: Vec<RowBody>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RowBody {
    line: u64,
    sku: String,
    name: String,
    category: Option<String>,
    price_minor: i64,
    currency: String,
    barcode: Option<String>,
    tax_class: Option<String>,
    track_stock: Option<bool>,
    unit: Option<String>,
    quantity_scale: Option<i64>,
}

/// The rows of a batch, including the invalid ones.
pub struct CatalogBatch(pub(in crate::http) Vec<BatchRow<ImportProduct>>);

impl FromBody for CatalogBatch {
    type Wire = CatalogBatchBody;

    fn from_wire(wire: CatalogBatchBody, faults: &mut RequestFaults) -> Option<Self> {
        check_size(faults, "/rows", wire.rows.len());
        Some(Self(wire.rows.into_iter().map(parse_row).collect()))
    }
}

fn parse_row(wire: RowBody) -> BatchRow<ImportProduct> {
    let mut faults = RequestFaults::default();
    let sku = faults.check("sku", Sku::parse(&wire.sku));
    let name = faults.check("name", Name::parse(&wire.name));
    let category = faults.optional("category", wire.category.as_deref().map(Name::parse));
    let currency = faults.check("currency", Currency::parse(&wire.currency));
    let barcode = faults.optional("barcode", wire.barcode.as_deref().map(Barcode::parse));
    let tax_class = faults.optional("tax_class", wire.tax_class.as_deref().map(TaxClass::parse));
    let unit = faults.optional("unit", wire.unit.as_deref().map(Unit::parse));
    let scale = wire.quantity_scale.map(QuantityScale::new);
    let scale = faults.optional("quantity_scale", scale);
    let command = || {
        Some(ImportProduct {
            sku: sku?,
            name: name?,
            category: category?,
            price_minor: wire.price_minor,
            currency: currency?,
            barcode: barcode?,
            tax_class: tax_class?,
            track_stock: wire.track_stock,
            unit: unit?,
            quantity_scale: scale?,
        })
    };
    BatchRow {
        line: wire.line,
        command: faults.finish_as_line(command()),
    }
}

/// Imports a batch of products. Each row is created, updated or unchanged, or refused with its
/// reason; a refused row does not stop the others.
pub async fn import(
    shop: Shop<CatalogWrite>,
    Body(CatalogBatch(rows)): Body<CatalogBatch>,
) -> Result<Json<Tally>, Problem> {
    let tally = shop.write(move |work| {
        import_rows(work, &rows, |work, row| {
            Ok(match catalog::import_product(work, row)? {
                Imported::Created => RowOutcome::Created,
                Imported::Updated => RowOutcome::Updated,
                Imported::Unchanged => RowOutcome::Unchanged,
            })
        })
    });
    Ok(Json(tally.await?))
}
