//! What the configuration and the house decide about selling: handed to commands, so that rules
//! read no configuration and no other file.

use super::currency::Published;
use crate::primitives::NumberFormat;

/// The rules that an operator sets for all shops, and what the house knows.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How invoice numbers are written; with a year in it, each year counts from one.
    pub invoice_number: NumberFormat,
    /// Whether the payment method `test` exists: under `--dev` only.
    pub test_payments: bool,
    /// The published exchange rates that the shop may need: of this call, and none where a shop
    /// sells in its own currency alone.
    pub published: Published,
}
