//! Networks in the configuration file: `10.0.0.0/8`, `2001:db8::/32`, or one address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An IP network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// Reasons why a text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Neither a network nor an address.
    #[error(
        "{0:?} is not a network; write an address or a network, such as 10.0.0.7, 10.0.0.0/8 or \
         2001:db8::/32"
    )]
    Form(String),
    /// An address with host bits in place of a network: the operator may have meant the address
    /// only.
    #[error(
        "{0} has bits beyond its prefix; write {1} for the whole network, or the address alone"
    )]
    HostBits(String, IpNet),
    /// The network of all addresses.
    #[error(
        "{0} is every address; write the addresses of the proxies only, because a trusted client \
         can forge its address"
    )]
    Everybody(String),
    /// An IPv4 network in IPv6 notation.
    #[error("{0} is an IPv4 network; write it in IPv4 notation, such as 10.0.0.0/8")]
    Mapped(String),
}

impl Network {
    /// Whether the network contains an address. IPv4-mapped IPv6 addresses count as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let owned = || text.to_owned();
        let net = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address.to_canonical()),
            Err(_) => text
                .parse::<IpNet>()
                .map_err(|_| NetworkError::Form(owned()))?,
        };
        if net.prefix_len() == 0 {
            return Err(NetworkError::Everybody(owned()));
        }
        if matches!(net.addr(), IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
            return Err(NetworkError::Mapped(owned()));
        }
        if net != net.trunc() {
            return Err(NetworkError::HostBits(owned(), net.trunc()));
        }
        Ok(Self(net))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_addresses_in_both_notations() {
        let network: Network = "10.0.0.0/8".parse().unwrap();
        assert!(network.contains("10.255.0.1".parse().unwrap()));
        assert!(network.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!network.contains("11.0.0.1".parse().unwrap()));
        let one: Network = "::ffff:192.0.2.7".parse().unwrap();
        assert_eq!(one.to_string(), "192.0.2.7/32");
        let network: Network = "2001:db8::/32".parse().unwrap();
        assert!(network.contains("2001:db8:ffff::1".parse().unwrap()));
        assert!(!network.contains("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn rejects_invalid_and_ambiguous_networks() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "proxy",
            "10.0.0.1/8",
            "0.0.0.0/0",
            "::/0",
            "::ffff:10.0.0.0/104",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        let message = "10.0.0.1/8".parse::<Network>().unwrap_err().to_string();
        assert!(message.contains("10.0.0.0/8"), "{message}");
    }
}
