//! How the values of L0 stand in the API's description: their form and their bounds, so that a
//! client can check what it sends, and `tests/schemathesis.sh` can tell whether what is described
//! is what is taken. The patterns are ECMA 262 with its flag `u`, as JSON Schema wants them.

use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::platform::queue::{Queue, State};
use crate::primitives::limits::{
    BARCODE_CHARS_MAX, EMAIL_CHARS_MAX, HOST_CHARS_MAX, NAME_CHARS_MAX, NOTE_CHARS_MAX,
    PRICE_MINOR_MAX, QUANTITY_MAX, SKU_CHARS_MAX, SLUG_CHARS_MAX, STOCK_MAX,
};
use crate::primitives::quantity::{OnHand, QuantityDelta};
use crate::primitives::{
    Barcode, Currency, Day, Digest, Email, ExchangeRate, HostName, Id, Kind, Name, Note, Quantity,
    Sku, Slug, TaxClass, TaxRate, Timestamp,
};
use crate::tenancy::Scope;
use crate::tenant::currency::{RateOrigin, RateSource};
use crate::tenant::orders::OrderStatus;
use crate::tenant::payments::Method;

/// Something that is not blank, and no control character.
const LINE: &str = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$";
/// Not zero: something else than zeros stands before the point, or behind it at one of its nine
/// places.
const RATE: &str = concat!(
    r"^(?:[1-9][0-9]{0,8}(?:\.[0-9]{1,9})?|0\.(?:[1-9][0-9]{0,8}|0[1-9][0-9]{0,7}|00[1-9][0-9]{0,6}|0{3}[1-9][0-9]{0,5}",
    r"|0{4}[1-9][0-9]{0,4}|0{5}[1-9][0-9]{0,3}|0{6}[1-9][0-9]{0,2}|0{7}[1-9][0-9]?|0{8}[1-9]))$"
);
const HOST: &str = r"^[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?)*$";

fn text(
    format: Option<KnownFormat>,
    pattern: Option<&str>,
    chars_max: usize,
    description: &str,
) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(format.map(SchemaFormat::KnownFormat))
        .pattern(pattern)
        .min_length(Some(1))
        .max_length(Some(chars_max))
        .description(Some(description))
        .into()
}

fn integer(least: i64, most: i64, description: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(least))
        .maximum(Some(most))
        .description(Some(description))
        .into()
}

fn one_of(values: impl IntoIterator<Item = &'static str>, description: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(values))
        .description(Some(description))
        .into()
}

macro_rules! described {
    ($($name:ident: $schema:expr;)*) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema
            }
        }
        impl ToSchema for $name {}
    )*};
}

/// What one of something costs, or what is paid at once: a number of minor units that is no type of
/// its own where it is read.
pub enum Price {}

described! {
    Barcode: text(None, Some("^[!-~]+$"), BARCODE_CHARS_MAX, "what the label says to a scanner");
    Currency: text(None, Some("^[A-Z]{3}$"), 3, "ISO 4217, in capitals");
    Day: text(None, Some("^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), 10, "a day of the calendar");
    ExchangeRate: text(None, Some(RATE), 19, "a decimal above zero, with at most nine digits \
        before its point and behind it");
    Digest: text(None, Some("^[0-9a-f]{64}$"), 64, "SHA-256, 64 hexadecimal digits");
    Email: text(Some(KnownFormat::Email), None, EMAIL_CHARS_MAX, "an e-mail address");
    HostName: text(None, Some(HOST), HOST_CHARS_MAX, "a host name, without scheme and port");
    Name: text(None, Some(LINE), NAME_CHARS_MAX, "1 to 200 characters");
    Note: text(None, Some(LINE), NOTE_CHARS_MAX, "1 to 500 characters");
    Sku: text(None, Some(r"^[\p{L}\p{N}\-_./+#:]+$"), SKU_CHARS_MAX, "the shop's own number of a \
        product, 1 to 64 characters");
    Slug: text(None, Some("^[a-z0-9](?:[a-z0-9\\-]*[a-z0-9])?$"), SLUG_CHARS_MAX, "small letters, \
        digits and inner hyphens");
    TaxClass: text(None, Some("^[a-z0-9_\\-]+$"), SLUG_CHARS_MAX, "a class of goods for tax");
    Timestamp: text(Some(KnownFormat::DateTime), None, 64, "RFC 3339; answers are in UTC");
    OnHand: integer(0, STOCK_MAX, "how many lie on the shelf");
    Price: integer(0, PRICE_MINOR_MAX, "an amount in the currency's minor unit");
    Quantity: integer(1, QUANTITY_MAX, "a number of units");
    QuantityDelta: integer(-QUANTITY_MAX, QUANTITY_MAX, "how many more or, below 0, fewer there \
        are; never 0");
    TaxRate: integer(0, TaxRate::ONE, "parts per million: 19 % is 190000");
    Method: one_of(Method::ALL.iter().map(|one| one.as_str()), "how money comes in; `test` under \
        `--dev` only");
    RateOrigin: one_of(RateOrigin::ALL.iter().map(|one| one.as_str()), "who says so: the shop, or \
        the European Central Bank");
    RateSource: one_of(RateSource::ALL.iter().map(|one| one.as_str()), "which rates count: the \
        shop's own before published ones, only its own, only published ones");
    OrderStatus: one_of(OrderStatus::ALL.iter().map(|one| one.as_str()), "where an order stands");
    Queue: one_of(Queue::ALL.iter().map(|one| one.as_str()), "a queue");
    State: one_of(State::ALL.iter().map(|one| one.as_str()), "where a job is in its life");
    Scope: one_of(Scope::ALL.iter().map(|one| one.as_str()), "what a key may be used for; \
        `landlord` is for landlord keys alone");
}

impl<K: Kind> PartialSchema for Id<K> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::Custom("uuid".to_owned())))
            .description(Some("a UUID"))
            .into()
    }
}
impl<K: Kind> ToSchema for Id<K> {
    fn name() -> std::borrow::Cow<'static, str> {
        std::borrow::Cow::Borrowed("Id")
    }
}
