//! Address restrictions of outbound calls. Without them, anybody who may configure a URL could make
//! this machine call its neighbours: a router's page, a cloud's metadata service, another program's
//! socket (SSRF).
//!
//! The check applies to the address, never to the name: a name may resolve to another address a
//! moment later.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses that a call may connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Public,
    /// Any address, private ones included: the operator has allowed it.
    Anywhere,
}

impl Reach {
    #[must_use]
    pub fn allows(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Anywhere, _) => true,
            (Self::Public, IpAddr::V4(address)) => is_public_v4(address),
            (Self::Public, IpAddr::V6(address)) => is_public_v6(address),
        }
    }
}

/// Whether the address is outside IANA's special-purpose blocks (RFC 6890) and multicast.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let is_special = match address.octets() {
        // this network, private, loopback, multicast and reserved
        [0 | 10 | 127 | 224..=255, ..] => true,
        [100, 64..=127, ..] => true, // carrier-grade NAT (RFC 6598)
        [169, 254, ..] => true,      // link-local, metadata services of clouds
        [172, 16..=31, ..] => true,
        [192, 0, 0, _] => true,
        [192, 88, 99, _] => true, // 6to4 relays, deprecated
        [192, 168, ..] => true,
        [198, 18 | 19, ..] => true, // benchmarks
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => true, // documentation
        _ => false,
    };
    !is_special
}

/// Whether the address is global unicast outside the special blocks; an embedded IPv4 address
/// decides.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let octets = address.octets();
    let embedded =
        |at: usize| Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3]);
    match address.segments() {
        // mapped; NAT64
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_public_v4(embedded(12)),
        [0x2002, ..] => is_public_v4(embedded(2)), // 6to4
        // Teredo and other protocols; documentation
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false, // documentation
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_reach_rejects_special_addresses() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            let address: IpAddr = text.parse().expect(text);
            assert!(!Reach::Public.allows(address), "{text}");
            assert!(Reach::Anywhere.allows(address), "{text}");
        }
    }

    #[test]
    fn public_reach_allows_public_addresses() {
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:4860:4860::8888",
            "64:ff9b::8.8.8.8",
            "::ffff:8.8.8.8",
            "2002:808:808::",
        ] {
            let address: IpAddr = text.parse().expect(text);
            assert!(Reach::Public.allows(address), "{text}");
        }
    }
}
