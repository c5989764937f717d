//! Limits of connections per address, so that one client cannot use the connections of all others.
//!
//! This machine counts as one address with its own limit: a local reverse proxy carries everybody's
//! requests, so it may have most connections, but not all. A remote proxy is one address as well;
//! for it the operator raises the cap to the number of all connections, and the proxy counts its
//! clients. Connections of the admin socket have no address and are not counted.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use crate::primitives::sync;

/// The number of connections of each address.
#[derive(Clone)]
pub struct ConnectionLimits {
    max_per_address: usize,
    max_local: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// The permit of a connection; dropping it releases the connection.
pub struct ConnectionPermit {
    address: Option<IpAddr>,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl ConnectionLimits {
    /// Allows `max_per_address` connections from one remote address, and `max_local` from this
    /// machine.
    pub fn new(max_per_address: usize, max_local: usize) -> Self {
        Self {
            max_per_address,
            max_local,
            counts: Arc::default(),
        }
    }

    /// Returns a permit for one more connection of the peer, unless it has too many.
    pub fn admit(&self, peer: Option<SocketAddr>) -> Option<ConnectionPermit> {
        let address = peer.map(|peer| counted_address(peer.ip()));
        if let Some(address) = address {
            let limit = if address.is_loopback() {
                self.max_local
            } else {
                self.max_per_address
            };
            let mut counts = sync::lock(&self.counts);
            let count = counts.entry(address).or_default();
            if *count >= limit {
                return None;
            }
            *count += 1;
        }
        Some(ConnectionPermit {
            address,
            counts: self.counts.clone(),
        })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut counts = sync::lock(&self.counts);
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            // Otherwise the map would grow with every address.
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

/// Returns the address to count: for IPv6 the network of 64 bits, because a client usually has all
/// of it; for this machine one address.
fn counted_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        address if address.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits((address.to_bits() >> 64) << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(text.parse().unwrap(), 1))
    }

    #[test]
    fn limits_each_address_and_forgets_it_when_released() {
        let addresses = ConnectionLimits::new(2, 9);
        let first = addresses.admit(at("192.0.2.1")).unwrap();
        let second = addresses.admit(at("::ffff:192.0.2.1")).unwrap();
        assert!(addresses.admit(at("192.0.2.1")).is_none(), "the third");
        let other = addresses.admit(at("192.0.2.2")).unwrap();
        drop(first);
        let third = addresses.admit(at("192.0.2.1")).unwrap();
        assert!(addresses.admit(at("192.0.2.1")).is_none(), "again");
        drop((second, third, other));
        assert!(addresses.counts.lock().unwrap().is_empty());
    }

    #[test]
    fn counts_a_network_of_ipv6_as_one_address() {
        let addresses = ConnectionLimits::new(1, 9);
        let _permit = addresses.admit(at("2001:db8:1:2::1")).unwrap();
        assert!(addresses.admit(at("2001:db8:1:2:ffff::9")).is_none());
        assert!(addresses.admit(at("2001:db8:1:3::1")).is_some());
    }

    #[test]
    fn counts_this_machine_as_one_address_with_its_own_limit() {
        let addresses = ConnectionLimits::new(1, 4);
        let permits: Vec<_> = ["127.0.0.1", "127.0.0.9", "::1", "::ffff:127.0.0.1"]
            .map(|text| addresses.admit(at(text)))
            .into_iter()
            .collect();
        assert!(permits.iter().all(Option::is_some));
        assert!(addresses.admit(at("::1")).is_none(), "the fifth");
        assert!(
            addresses.admit(at("192.0.2.1")).is_some(),
            "another machine"
        );
        assert!(addresses.admit(None).is_some(), "the admin socket");
        drop(permits);
        assert!(addresses.admit(at("127.0.0.1")).is_some());
    }
}
