//! Sales that have taken place: recorded whole, in one transaction, by a till or from another
//! system's past.
//!
//! Invariants: an id that a client brought stands for one sale for ever, told by a fingerprint
//! whose form never changes; a sale of the present takes its goods from the shelf, an imported one
//! of the past leaves the present shelf alone.

mod fingerprint;
mod import_sale;
mod record_sale;
mod tender;

pub use import_sale::{ImportLine, ImportSale, ImportSaleRefused, ImportedSale, import_sale};
pub use record_sale::{RecordSale, Recorded, SaleLine, SalePayment, SaleRefused, record};
