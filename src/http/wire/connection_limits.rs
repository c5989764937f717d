//! How many connections come from each address, so that one client cannot take the places of all
//! others.
//!
//! This machine counts as one address with a limit of its own: a reverse proxy on it brings
//! everybody's requests, so it may have most of the places, and not all. A proxy on another machine
//! is one address as well; there the cap is raised to the number of all connections, and the proxy
//! counts its clients. Connections of the admin socket have no address and are not counted.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

/// The addresses that have connections, each with their number.
#[derive(Clone)]
pub struct ConnectionLimits {
    most: usize,
    most_local: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// The place of a connection; it is free again when this is dropped.
pub struct Place {
    address: Option<IpAddr>,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl ConnectionLimits {
    /// At most `most` connections from one address, and `most_local` from this machine.
    pub fn new(most: usize, most_local: usize) -> Self {
        Self {
            most,
            most_local,
            counts: Arc::default(),
        }
    }

    /// A place for one more connection from there, unless there are too many.
    pub fn admit(&self, peer: Option<SocketAddr>) -> Option<Place> {
        let address = peer.map(|peer| counted(peer.ip()));
        if let Some(address) = address {
            let most = if address.is_loopback() {
                self.most_local
            } else {
                self.most
            };
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(address).or_default();
            if *count >= most {
                return None;
            }
            *count += 1;
        }
        Some(Place {
            address,
            counts: self.counts.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            // Else the map would grow with everybody who ever came.
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

/// What counts as one address: in IPv6 the network of 64 bits, because whoever has one has all of
/// it; all of this machine's as one.
fn counted(address: IpAddr) -> IpAddr {
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
    fn each_address_has_so_many_places_and_leaves_nothing_behind() {
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
        let _place = addresses.admit(at("2001:db8:1:2::1")).unwrap();
        assert!(addresses.admit(at("2001:db8:1:2:ffff::9")).is_none());
        assert!(addresses.admit(at("2001:db8:1:3::1")).is_some());
    }

    #[test]
    fn counts_this_machine_as_one_address_with_its_own_limit() {
        let addresses = ConnectionLimits::new(1, 4);
        let places: Vec<_> = ["127.0.0.1", "127.0.0.9", "::1", "::ffff:127.0.0.1"]
            .map(|text| addresses.admit(at(text)))
            .into_iter()
            .collect();
        assert!(places.iter().all(Option::is_some));
        assert!(addresses.admit(at("::1")).is_none(), "the fifth");
        assert!(
            addresses.admit(at("192.0.2.1")).is_some(),
            "another machine"
        );
        assert!(addresses.admit(None).is_some(), "the admin socket");
        drop(places);
        assert!(addresses.admit(at("127.0.0.1")).is_some());
    }
}
