//! L0: value types. Nothing here opens a file or a socket; all other modules use these types.
//!
//! A value that exists is valid: constructors validate, and the rest of the code accepts the types.

pub mod class;
pub mod client_hash;
pub mod clock;
pub mod country;
pub mod day;
pub mod digest;
pub mod entropy;
pub mod exchange;
pub mod id;
pub mod limits;
pub mod measure;
pub mod money;
pub mod number_format;
pub mod origin;
pub mod quantity;
pub mod rate;
pub mod recurrence;
pub mod sync;
pub mod text;
pub mod time_zone;
pub mod timestamp;
pub mod vat_id;

pub(crate) use class::refusals;
pub use class::{Class, Refusal, chain};
pub use client_hash::ClientHash;
pub use clock::{Clock, ManualClock, Stopwatch, SystemClock};
pub use country::{Country, CountryError};
pub use day::Day;
pub use digest::Digest;
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use exchange::{ExchangeRate, Publication, Quotation, Series};
pub use id::{Id, Kind};
pub use measure::{Measure, QuantityScale, QuantityTooLarge, Unit};
pub use money::{Currency, Money, MoneyError, Rounding, allocate};
pub use number_format::NumberFormat;
pub use origin::{Actor, Origin};
pub use quantity::{OnHand, Quantity, QuantityDelta};
pub use rate::TaxRate;
pub use recurrence::{Recurrence, RecurrenceError};
pub use text::{Address, Barcode, Email, HostName, Name, Note, Sku, Slug, TaxClass, TextError};
pub use time_zone::{DayOrInstant, TimeZone};
pub use timestamp::Timestamp;
pub use vat_id::{VatId, VatIdError};
