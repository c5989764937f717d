//! `[invoicing]`: invoice numbers.

use super::error::Faults;
use crate::primitives::number_format::NumberFormat;
use serde::{Deserialize, Serialize};

/// The format of invoice numbers.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Invoicing {
    /// A [`NumberFormat`], kept as text so that its fault is reported together with all others.
    pub number_format: String,
}

impl Default for Invoicing {
    fn default() -> Self {
        Self {
            number_format: "INV-{year}-{seq:06}".to_owned(),
        }
    }
}

impl Invoicing {
    pub(super) fn check(&self, faults: &mut Faults) {
        if let Err(error) = NumberFormat::parse(&self.number_format) {
            faults.add("invoicing.number_format", error);
        }
    }
}
