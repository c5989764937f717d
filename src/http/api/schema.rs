//! How the values of L0 stand in the API's description. They are texts with a form; the form is told in a word.

use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::primitives::limits::QUANTITY_MAX;
use crate::primitives::{
    Barcode, Currency, Digest, Email, HostName, Id, Kind, Name, Note, Quantity, Sku, Slug, TaxClass, TaxRate, Timestamp,
};

fn text(format: Option<SchemaFormat>, description: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(format)
        .description(Some(description))
        .into()
}

fn integer(description: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .description(Some(description))
        .into()
}

macro_rules! texts {
    ($($name:ident: $format:expr, $description:literal;)*) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                text($format, $description)
            }
        }
        impl ToSchema for $name {}
    )*};
}

texts! {
    Barcode: None, "what the label says to a scanner";
    Currency: None, "ISO 4217, in capitals";
    Digest: None, "SHA-256, 64 hexadecimal digits";
    Email: Some(SchemaFormat::KnownFormat(KnownFormat::Email)), "an e-mail address";
    HostName: None, "a host name, without scheme and port";
    Name: None, "1 to 200 characters";
    Note: None, "1 to 500 characters";
    Sku: None, "the shop's own number of a product, 1 to 64 characters";
    Slug: None, "small letters, digits and inner hyphens";
    TaxClass: None, "a class of goods for tax";
    Timestamp: Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)), "RFC 3339, UTC";
}

impl<K: Kind> PartialSchema for Id<K> {
    fn schema() -> RefOr<Schema> {
        text(Some(SchemaFormat::Custom("uuid".to_owned())), "a UUID")
    }
}
impl<K: Kind> ToSchema for Id<K> {
    fn name() -> std::borrow::Cow<'static, str> {
        std::borrow::Cow::Borrowed("Id")
    }
}

impl PartialSchema for Quantity {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(QUANTITY_MAX as isize))
            .into()
    }
}
impl ToSchema for Quantity {}

impl PartialSchema for TaxRate {
    fn schema() -> RefOr<Schema> {
        integer("parts per million: 19 % is 190000")
    }
}
impl ToSchema for TaxRate {}
