//! The client of a storefront call without a key, as a file remembers it: a short hash of its
//! network, so that its carts and unpaid orders can be counted.

use std::fmt;
use std::net::IpAddr;

use super::Digest;

/// The first 8 bytes of the SHA-256 of a tenant's id and a client's network (an IPv4 address, or 64
/// bits of an IPv6 one). It keeps addresses out of the file and differs from tenant to tenant; it
/// is no secret from a holder of the file, who can try all addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientHash([u8; 8]);

impl ClientHash {
    /// Hashes a network for a tenant.
    pub fn of(tenant: &[u8; 16], network: IpAddr) -> Self {
        let digest = Digest::of_parts(&[b"client", tenant, network.to_string().as_bytes()]);
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest.as_bytes()[..8]);
        Self(bytes)
    }

    /// From stored bytes.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Debug for ClientHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientHash({:016x})", u64::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differs_by_tenant_and_by_network() {
        let hash = |tenant: u8, network: &str| {
            ClientHash::of(&[tenant; 16], network.parse().expect("an address"))
        };
        assert_eq!(hash(1, "203.0.113.9"), hash(1, "203.0.113.9"));
        assert_ne!(hash(1, "203.0.113.9"), hash(2, "203.0.113.9"));
        assert_ne!(hash(1, "203.0.113.9"), hash(1, "203.0.113.10"));
    }
}
