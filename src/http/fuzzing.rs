//! The door for `fuzz/`: what reads the bytes of a request, without the request. Nothing else uses
//! it, and nothing is decided here.

use std::net::IpAddr;

use http::HeaderMap;

use super::admin::catalog::CatalogBatch;
use super::admin::import::BatchRow;
use super::admin::sales::SalesBatch;
use super::client_address;
use super::extract::{FromBody, key_of, parse_body};
use super::problem::Problem;
use crate::config::{ForwardedHeader, Network};
use crate::platform::idempotency::IdempotencyKey;

/// A row of a batch by its line in the file, and what is wrong with it.
pub type ReadRow = (u64, Option<String>);

/// A body as a command.
///
/// # Errors
/// All that is wrong with it.
pub fn command<C: FromBody>(body: &[u8]) -> Result<C, Problem> {
    parse_body(body)
}

/// The key of a request.
///
/// # Errors
/// What is wrong with its header.
pub fn idempotency_key(
    headers: &HeaderMap,
    method: &str,
    path: &str,
    body: &[u8],
) -> Result<Option<IdempotencyKey>, Problem> {
    key_of(headers, method, path, body)
}

/// Where a request comes from, when `peer` has sent it.
pub fn client_address(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[Network],
    header: ForwardedHeader,
) -> IpAddr {
    client_address::client_address(peer, headers, trusted, header)
}

/// A batch of a product list.
///
/// # Errors
/// What is wrong with it as a whole.
pub fn catalog_batch(body: &[u8]) -> Result<Vec<ReadRow>, Problem> {
    parse_body::<CatalogBatch>(body).map(|batch| rows(batch.0))
}

/// A batch of past sales.
///
/// # Errors
/// What is wrong with it as a whole.
pub fn sales_batch(body: &[u8]) -> Result<Vec<ReadRow>, Problem> {
    parse_body::<SalesBatch>(body).map(|batch| rows(batch.0))
}

fn rows<C>(rows: Vec<BatchRow<C>>) -> Vec<ReadRow> {
    rows.into_iter()
        .map(|row| (row.line, row.command.err()))
        .collect()
}
