//! Entry points for `fuzz/`: the parsers of request data, without a request. Nothing else uses
//! them.

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

/// The line of a batch row, and its fault if it has one.
pub type ReadRow = (u64, Option<String>);

/// Parses a body into a command.
pub fn command<C: FromBody>(body: &[u8]) -> Result<C, Problem> {
    parse_body(body)
}

/// Parses the `Idempotency-Key` of a request.
pub fn idempotency_key(
    headers: &HeaderMap,
    method: &str,
    path: &str,
    body: &[u8],
) -> Result<Option<IdempotencyKey>, Problem> {
    key_of(headers, method, path, body)
}

/// Returns the client address of a request that `peer` sent.
pub fn client_address(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[Network],
    header: ForwardedHeader,
) -> IpAddr {
    client_address::client_address(peer, headers, trusted, header)
}

/// Parses a batch of products.
pub fn catalog_batch(body: &[u8]) -> Result<Vec<ReadRow>, Problem> {
    parse_body::<CatalogBatch>(body).map(|batch| rows(batch.0))
}

/// Parses a batch of past sales.
pub fn sales_batch(body: &[u8]) -> Result<Vec<ReadRow>, Problem> {
    parse_body::<SalesBatch>(body).map(|batch| rows(batch.0))
}

fn rows<C>(rows: Vec<BatchRow<C>>) -> Vec<ReadRow> {
    rows.into_iter()
        .map(|row| (row.line, row.command.err()))
        .collect()
}
