//! What the configuration decides about selling: handed to commands by the composition root, so that rules read no configuration.

use crate::primitives::NumberFormat;

/// The rules that an operator sets for all shops.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How invoice numbers are written; with a year in it, each year counts from one.
    pub invoice_number: NumberFormat,
    /// Whether the payment method `test` exists: under `--dev` only.
    pub test_payments: bool,
}
