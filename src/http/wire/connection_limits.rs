//! How many connections come from each address, so that one client cannot take the places of all
//! others.
//!
//! Who is on this machine is not counted: a reverse proxy, which brings everybody's requests, and
//! the commands of whoever runs it. A proxy on another machine is one address as well; there the
//! cap is raised to the number of all connections, and the proxy counts its clients.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

/// The addresses that have connections, each with their number.
#[derive(Clone)]
pub struct ConnectionLimits {
    most: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// The place of a connection; it is free again when this is dropped.
pub struct Place {
    address: Option<IpAddr>,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl ConnectionLimits {
    /// At most so many connections from one address.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            counts: Arc::default(),
        }
    }

    /// A place for one more connection from there, unless there are too many.
    pub fn admit(&self, peer: Option<SocketAddr>) -> Option<Place> {
        let address = peer.and_then(|peer| counted(peer.ip()));
        if let Some(address) = address {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(address).or_default();
            if *count >= self.most {
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
/// it. `None` for this machine.
fn counted(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    if address.is_loopback() {
        return None;
    }
    Some(match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits((address.to_bits() >> 64) << 64).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(text.parse().unwrap(), 1))
    }

    #[test]
    fn each_address_has_so_many_places_and_leaves_nothing_behind() {
        let addresses = ConnectionLimits::new(2);
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
    fn a_network_of_ipv6_is_one_address_and_this_machine_is_none() {
        let addresses = ConnectionLimits::new(1);
        let _place = addresses.admit(at("2001:db8:1:2::1")).unwrap();
        assert!(addresses.admit(at("2001:db8:1:2:ffff::9")).is_none());
        assert!(addresses.admit(at("2001:db8:1:3::1")).is_some());
        let on_this_machine: Vec<_> = ["127.0.0.1", "127.0.0.1", "::1", "::1", "::ffff:127.0.0.1"]
            .map(|text| addresses.admit(at(text)))
            .into_iter()
            .chain([addresses.admit(None), addresses.admit(None)])
            .collect();
        assert!(on_this_machine.iter().all(Option::is_some));
    }
}
