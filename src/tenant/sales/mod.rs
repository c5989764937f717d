//! Sales that have taken place: recorded in one transaction, from a till or from another system's
//! past.
//!
//! Invariants: an id that a client chose identifies one sale for ever, compared by a fingerprint
//! whose form never changes; a present sale reduces the stock, an imported past sale does not.

mod fingerprint;
mod import_sale;
mod model;
mod record_sale;
mod tender;

pub use import_sale::import_sale;
pub use model::{
    ImportLine, ImportSale, ImportSaleRefused, ImportedSale, RecordSale, Recorded, SaleLine,
    SalePayment, SaleRefused,
};
pub use record_sale::record;
