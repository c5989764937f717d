//! The caller that a request is charged to.

use std::net::{IpAddr, Ipv6Addr};

use crate::primitives::id::{ApiKeyId, TenantId};

/// The owner of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Caller {
    Key(ApiKeyId),
    /// An address; in IPv6 its network of 64 bits, because a client usually owns all of it.
    Address(IpAddr),
    /// All callers of one tenant together.
    Tenant(TenantId),
}

impl Caller {
    /// The caller at an address.
    #[must_use]
    pub fn of_address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits((address.to_bits() >> 64) << 64).into(),
        })
    }
}
