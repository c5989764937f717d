//! Typed ids: one Rust type per kind of thing, UUIDv7 inside (RFC 9562). An order's id cannot be
//! passed to a function that expects a payment's.
//!
//! Generated ids are time-ordered, which keeps the B-trees of the files dense at their right edge.
//! A client's id may be any UUID except the nil and max ones.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use uuid::Uuid;

use super::{Entropy, Timestamp};

/// A kind of thing that has ids.
pub trait Kind: 'static {
    /// The name of the kind in messages.
    const NAME: &'static str;
}

/// The id of an entity of kind `K`.
pub struct Id<K>(Uuid, PhantomData<fn() -> K>);

/// The text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID; write it as 8-4-4-4-12 hexadecimal digits")]
pub struct IdError;

impl<K: Kind> Id<K> {
    /// Generates an id at `now`.
    pub fn new(now: Timestamp, entropy: &dyn Entropy) -> Self {
        let mut random = [0_u8; 10];
        entropy.fill(&mut random);
        let ms = u64::try_from(now.as_millis()).unwrap_or(0);
        Self(
            uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid(),
            PhantomData,
        )
    }

    /// Derives an id from a name; the same name always gives the same id. A UUID of version 8 (RFC
    /// 9562 §5.8) from the name's SHA-256.
    pub fn derived(name: &str) -> Self {
        let hash = super::Digest::of(name.as_bytes());
        let mut bytes = [0_u8; 16];
        bytes.copy_from_slice(&hash.as_bytes()[..16]);
        Self(
            uuid::Builder::from_custom_bytes(bytes).into_uuid(),
            PhantomData,
        )
    }

    /// Wraps stored or received bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes), PhantomData)
    }

    /// The 16 bytes, as stored.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Parses the hyphenated form; rejects the nil and max UUIDs, which identify nothing.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text.len() != 36 {
            return Err(IdError);
        }
        match Uuid::try_parse(text) {
            Ok(uuid) if !uuid.is_nil() && !uuid.is_max() => Ok(Self(uuid, PhantomData)),
            _ => Err(IdError),
        }
    }
}

impl<K: Kind> FromStr for Id<K> {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", K::NAME, self.0)
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<K> serde::Serialize for Id<K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
impl<'de, K: Kind> serde::Deserialize<'de> for Id<K> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $alias:ident),* $(,)?) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub enum $kind {}
            impl Kind for $kind {
                const NAME: &'static str = stringify!($kind);
            }
            $(#[$doc])*
            pub type $alias = Id<$kind>;
        )*
    };
}

kinds! {
    /// A tenant: one shop, one file.
    TenantKind => TenantId,
    /// An API key.
    ApiKeyKind => ApiKeyId,
    /// A product of the catalog.
    ProductKind => ProductId,
    /// A category of the catalog.
    CategoryKind => CategoryId,
    /// A cart.
    CartKind => CartId,
    /// A line of a cart.
    CartItemKind => CartItemId,
    /// An order.
    OrderKind => OrderId,
    /// A line of an order.
    OrderLineKind => OrderLineId,
    /// A payment.
    PaymentKind => PaymentId,
    /// A financial order: the locked money side of an order.
    FinancialOrderKind => FinancialOrderId,
    /// A financial transaction: money that came in or went out for a financial order.
    FinancialTransactionKind => FinancialTransactionId,
    /// An invoice.
    InvoiceKind => InvoiceId,
    /// A ledger entry: one booking of one or more transfers.
    EntryKind => EntryId,
    /// A movement of stock.
    MovementKind => MovementId,
    /// A reservation of stock for an order.
    ReservationKind => ReservationId,
    /// An exchange rate of a shop.
    ExchangeRateKind => ExchangeRateId,
    /// A tax rate.
    TaxRateKind => TaxRateId,
    /// A job of the queue.
    JobKind => JobId,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::SeededEntropy;

    #[test]
    fn generates_version_7_ids_ordered_by_time() {
        let entropy = SeededEntropy::new(1);
        let at = |ms| OrderId::new(Timestamp::from_millis(ms).expect("in range"), &entropy);
        let (early, late) = (at(1_700_000_000_000), at(1_700_000_000_001));
        assert!(early < late);
        assert_eq!(
            uuid::Uuid::from_bytes(*early.as_bytes()).get_version_num(),
            7
        );
        assert_eq!(OrderId::parse(&early.to_string()), Ok(early));
    }

    #[test]
    fn derives_same_id_for_same_name() {
        let id = OrderId::derived("import:1");
        assert_eq!(id, OrderId::derived("import:1"));
        assert_ne!(id, OrderId::derived("import:2"));
        assert_eq!(uuid::Uuid::from_bytes(*id.as_bytes()).get_version_num(), 8);
        assert_eq!(OrderId::parse(&id.to_string()), Ok(id));
    }

    #[test]
    fn rejects_malformed_ids() {
        for text in [
            "",
            "1",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "018f3c9e7b1a7000800000000000000g",
            "{018f3c9e-7b1a-7000-8000-00000000000}",
        ] {
            assert_eq!(OrderId::parse(text), Err(IdError), "{text:?}");
        }
    }
}
