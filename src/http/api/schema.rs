//! OpenAPI schemas of the primitive types: their format and bounds, so that clients can validate
//! their input, and `tests/schemathesis.sh` can test the description against the server. The
//! patterns are ECMA 262 with the flag `u`, as JSON Schema requires.

use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::platform::queue::{Queue, State};
use crate::primitives::limits::{
    BARCODE_CHARS_MAX, EMAIL_CHARS_MAX, HOST_CHARS_MAX, NAME_CHARS_MAX, NOTE_CHARS_MAX,
    PRICE_MINOR_MAX, QUANTITY_INTEGER_MAX, QUANTITY_SCALE_MAX, SKU_CHARS_MAX, SLUG_CHARS_MAX,
    STOCK_MAX, VAT_ID_CHARS_MAX,
};
use crate::primitives::quantity::{OnHand, QuantityDelta};
use crate::primitives::{
    Address, Barcode, Country, Currency, Day, DayOrInstant, Digest, Email, ExchangeRate, HostName,
    Id, Kind, Name, Note, Quantity, QuantityScale, Sku, Slug, TaxClass, TaxRate, TimeZone,
    Timestamp, Unit, VatId,
};
use crate::tenancy::Scope;
use crate::tenant::currency::{RateOrigin, RateSource};
use crate::tenant::inventory::MovementKind;
use crate::tenant::ledger::AccountCode;
use crate::tenant::orders::{Channel, OrderStatus};
use crate::tenant::payments::Method;

/// At least one non-blank character, and no control characters.
const LINE: &str = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$";
/// Not zero: a non-zero digit before the point, or at one of nine places after it.
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

/// A price or an amount paid at once: minor units, without a type of its own in the code.
pub enum Price {}

described! {
    Barcode: text(None, Some("^[!-~]+$"), BARCODE_CHARS_MAX, "the barcode that a scanner reads");
    Country: text(None, Some("^[A-Z]{2}$"), 2, "ISO 3166-1 alpha-2, upper case; also `XK`");
    Currency: text(None, Some("^[A-Z]{3}$"), 3, "ISO 4217, upper case");
    Day: text(None, Some("^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), 10, "a calendar day");
    ExchangeRate: text(None, Some(RATE), 19, "a decimal above zero, with at most nine digits \
        before and after the point");
    Digest: text(None, Some("^[0-9a-f]{64}$"), 64, "SHA-256, 64 hexadecimal digits");
    Email: text(Some(KnownFormat::Email), None, EMAIL_CHARS_MAX, "an e-mail address");
    HostName: text(None, Some(HOST), HOST_CHARS_MAX, "a host name, without scheme and port");
    Name: text(None, Some(LINE), NAME_CHARS_MAX, "1 to 200 characters");
    Note: text(None, Some(LINE), NOTE_CHARS_MAX, "1 to 500 characters");
    Sku: text(None, Some(r"^[\p{L}\p{N}\-_./+#:]+$"), SKU_CHARS_MAX, "the shop's SKU of a \
        product, 1 to 64 characters");
    Slug: text(None, Some("^[a-z0-9](?:[a-z0-9\\-]*[a-z0-9])?$"), SLUG_CHARS_MAX, "lower-case \
        letters, digits and inner hyphens");
    Address: text(None, None, NOTE_CHARS_MAX, "a postal address in one to six lines");
    TaxClass: text(None, Some("^[a-z0-9_\\-]+$"), SLUG_CHARS_MAX, "a tax class of goods");
    Timestamp: text(Some(KnownFormat::DateTime), None, 64, "RFC 3339; answers are in UTC");
    DayOrInstant: text(
        None,
        None,
        64,
        "An instant (RFC 3339), or a day such as `2026-01-01`, in the shop's time zone",
    );
    TimeZone: text(None, None, 64, "The IANA name of a time zone, such as `Europe/Berlin`");
    VatId: text(None, Some(r"^[A-Za-z]{2}[0-9A-Za-z+* .\-]+$"), VAT_ID_CHARS_MAX, "a VAT id with \
        its country prefix; answers have capitals and no separators");
    OnHand: integer(0, STOCK_MAX, "the stock on hand, an integer of 10^-quantity_scale units");
    Price: integer(0, PRICE_MINOR_MAX, "an amount in the currency's minor unit");
    Quantity: integer(1, QUANTITY_INTEGER_MAX, "an integer of 10^-quantity_scale units of the \
        product; at most 1000000 whole units");
    QuantityDelta: integer(-QUANTITY_INTEGER_MAX, QUANTITY_INTEGER_MAX, "the change, an integer of \
        10^-quantity_scale units, positive or negative; never 0; at most 1000000 whole units");
    QuantityScale: integer(0, QUANTITY_SCALE_MAX, "the decimal places of a quantity");
    Unit: one_of(Unit::ALL.iter().map(|one| one.as_str()), "the unit of measure, a code of UN/ECE \
        Recommendation 20: piece, kilogram, gram, litre, metre, hour, day");
    TaxRate: integer(0, TaxRate::ONE, "parts per million: 19 % is 190000");
    AccountCode: one_of(AccountCode::ALL.iter().map(|one| one.as_str()), "the code of an account");
    Channel: one_of(Channel::ALL.iter().map(|one| one.as_str()), "the way in which an order was \
        created");
    MovementKind: one_of(MovementKind::ALL.iter().map(|one| one.as_str()), "the reason of a \
        movement");
    Method: one_of(Method::ALL.iter().map(|one| one.as_str()), "the payment method; `test` under \
        `--dev` only");
    RateOrigin: one_of(RateOrigin::ALL.iter().map(|one| one.as_str()), "the origin of a rate: the \
        shop, or the European Central Bank");
    RateSource: one_of(RateSource::ALL.iter().map(|one| one.as_str()), "the rates to use: the \
        shop's own before published ones, only its own, only published ones");
    OrderStatus: one_of(OrderStatus::ALL.iter().map(|one| one.as_str()), "the status of an order");
    Queue: one_of(Queue::ALL.iter().map(|one| one.as_str()), "a queue");
    State: one_of(State::ALL.iter().map(|one| one.as_str()), "the state of a job");
    Scope: one_of(Scope::ALL.iter().map(|one| one.as_str()), "a permission of a key; `landlord` is \
        for landlord keys only");
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
