//! Where a request comes from, when proxies stand between: `X-Forwarded-For` and `Forwarded` (RFC
//! 7239), as far as those who wrote them are trusted.
//!
//! Each proxy adds on the right whom it got the request from. So the lists are read from the right,
//! for as long as the one who wrote an entry is a trusted proxy; the first address that is none is
//! the client. What stands left of it anybody could have written. Entries are cut at commas without
//! regard to quotes: what a trusted proxy appends stands behind the last comma, however many quotes
//! a client left open before it.
//!
//! A proxy that writes one of the two headers may pass on the other as the client made it up. So
//! only one is read: that of which the operator says that the proxies write it
//! (`server.forwarded_header`), or else `X-Forwarded-For` wherever there is one. Whoever sends the
//! other changes nothing for anybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::{ForwardedHeader, Network};
use crate::primitives::limits::PROXY_HOPS_MAX;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address; `peer` is the other end of the connection, `header` the one that trusted
/// proxies write.
pub fn client_address(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[Network],
    header: ForwardedHeader,
) -> IpAddr {
    let mut address = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let is_forwarded = match header {
        ForwardedHeader::Either => !headers.contains_key(X_FORWARDED_FOR),
        ForwardedHeader::XForwardedFor => false,
        ForwardedHeader::Forwarded => true,
    };
    let (name, read): (HeaderName, fn(&str) -> Option<IpAddr>) = match is_forwarded {
        false => (X_FORWARDED_FOR, forwarded_for),
        true => (FORWARDED, forwarded),
    };
    for entry in entries(headers.get_all(name).iter().rev()).take(PROXY_HOPS_MAX) {
        if !is_trusted(address) {
            break;
        }
        // What says nothing (`unknown`, a name made up to hide one) ends the walk at the last one
        // who is known.
        let Some(next) = entry.and_then(read) else {
            break;
        };
        address = next;
    }
    address
}

/// The entries of a list's values from the right; `None` for a value that is no text. Nothing is
/// read that nobody asks for.
fn entries<'a>(
    values: impl Iterator<Item = &'a HeaderValue>,
) -> impl Iterator<Item = Option<&'a str>> {
    values.flat_map(|value| {
        let text = value.to_str().ok();
        let parts = text.unwrap_or_default().rsplit(',').map(str::trim);
        // An empty entry is none (RFC 9110 §5.6.1); empty ones are not looked through without end.
        let parts = parts
            .take(2 * PROXY_HOPS_MAX)
            .filter(|part| !part.is_empty())
            .map(Some);
        parts.chain(text.is_none().then_some(None))
    })
}

/// An entry of `X-Forwarded-For`: an address, perhaps with a port.
fn forwarded_for(entry: &str) -> Option<IpAddr> {
    let address = if let Some(rest) = entry.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let is_port = |port: &str| {
            port.strip_prefix(':')
                .is_some_and(|port| port.parse::<u16>().is_ok())
        };
        (port.is_empty() || is_port(port))
            .then_some(address)?
            .parse::<Ipv6Addr>()
            .ok()?
            .into()
    } else if let Ok(address) = entry.parse::<IpAddr>() {
        address
    } else {
        let (address, port) = entry.split_once(':')?;
        // RFC 7239 knows ports that are made up as well, such as `_p1`; here they tell nothing
        // either way.
        (port.starts_with('_') || port.parse::<u16>().is_ok())
            .then_some(address)?
            .parse::<Ipv4Addr>()
            .ok()?
            .into()
    };
    Some(address.to_canonical())
}

/// An element of `Forwarded`: of its pairs the one `for`.
fn forwarded(element: &str) -> Option<IpAddr> {
    let mut nodes = element.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("for")
            .then_some(value.trim())
    });
    let (Some(node), None) = (nodes.next(), nodes.next()) else {
        return None;
    };
    let node = match node.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => node,
    };
    forwarded_for(node)
}

/// The address of a peer; of one that has none, the one that nobody has.
pub fn peer_address(peer: Option<SocketAddr>) -> IpAddr {
    peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXIES: [&str; 2] = ["10.0.0.0/8", "2001:db8:aaaa::/48"];

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> String {
        told(ForwardedHeader::Either, peer, headers)
    }

    fn told(header: ForwardedHeader, peer: &str, headers: &[(&'static str, &str)]) -> String {
        let trusted = PROXIES.map(|text| text.parse().unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        client_address(peer.parse().unwrap(), &map, &trusted, header).to_string()
    }

    #[test]
    fn what_a_stranger_says_is_nothing() {
        let forged = [
            ("x-forwarded-for", "203.0.113.9"),
            ("forwarded", "for=203.0.113.9"),
        ];
        assert_eq!(client("198.51.100.1", &forged), "198.51.100.1");
        assert_eq!(client("127.0.0.1", &forged), "127.0.0.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn the_first_from_the_right_who_is_no_proxy_is_the_client() {
        for (value, expected) in [
            ("203.0.113.9", "203.0.113.9"),
            ("1.1.1.1, 203.0.113.9", "203.0.113.9"),
            ("1.1.1.1,203.0.113.9,10.9.9.9", "203.0.113.9"),
            ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
            ("1.1.1.1, nonsense", "10.0.0.1"),
            ("1.1.1.1, unknown, 10.2.2.2", "10.2.2.2"),
            ("203.0.113.9:4711", "203.0.113.9"),
            ("203.0.113.9:471100", "10.0.0.1"),
            ("[2001:db8::5]:443", "2001:db8::5"),
            ("[2001:db8::5]", "2001:db8::5"),
            ("[2001:db8::5", "10.0.0.1"),
            ("2001:db8::5", "2001:db8::5"),
            ("203.0.113.9, 2001:db8:aaaa::1", "203.0.113.9"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("203.0.113.9, ,,", "203.0.113.9"),
            ("", "10.0.0.1"),
            ("ü", "10.0.0.1"),
        ] {
            assert_eq!(
                client("10.0.0.1", &[("x-forwarded-for", value)]),
                expected,
                "{value}"
            );
            assert_eq!(
                client("::ffff:10.0.0.1", &[("x-forwarded-for", value)]),
                expected,
                "{value}"
            );
        }
        let two = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "203.0.113.9"),
        ];
        assert_eq!(
            client("10.0.0.1", &two),
            "203.0.113.9",
            "the last one was written last"
        );
    }

    #[test]
    fn elements_of_forwarded_are_read_as_rfc_7239_has_them() {
        for (value, expected) in [
            ("for=203.0.113.9", "203.0.113.9"),
            (
                "For=\"203.0.113.9:47\"; proto=https;by=10.0.0.1",
                "203.0.113.9",
            ),
            (
                "for=1.1.1.1, for=\"[2001:db8::5]:443\";proto=http",
                "2001:db8::5",
            ),
            ("for=203.0.113.9, for=10.4.4.4", "203.0.113.9"),
            ("for=_hidden, for=10.4.4.4", "10.4.4.4"),
            ("for=203.0.113.9;for=1.1.1.1", "10.0.0.1"),
            ("for=\"203.0.113.9", "10.0.0.1"),
            ("proto=https", "10.0.0.1"),
            // A client that leaves a quote open hides nothing of what the proxy appends.
            ("for=\"1.1.1.1, for=203.0.113.9", "203.0.113.9"),
        ] {
            let found = told(
                ForwardedHeader::Forwarded,
                "10.0.0.1",
                &[("forwarded", value)],
            );
            assert_eq!(found, expected, "{value}");
        }
    }

    /// Whatever a client writes into the other header: it is heard as little as if it were not
    /// there.
    #[test]
    fn the_header_that_the_proxies_do_not_write_is_not_read() {
        for made_up in ["for=1.1.1.1", "for=203.0.113.9", "nonsense"] {
            let both = [("x-forwarded-for", "203.0.113.9"), ("forwarded", made_up)];
            assert_eq!(client("10.0.0.1", &both), "203.0.113.9", "{made_up}");
            let named = |headers: &[(&'static str, &str)]| {
                told(ForwardedHeader::XForwardedFor, "10.0.0.1", headers)
            };
            assert_eq!(named(&both), "203.0.113.9", "{made_up}");
            assert_eq!(named(&[("forwarded", made_up)]), "10.0.0.1", "{made_up}");
        }
        assert_eq!(
            client("10.0.0.1", &[("forwarded", "for=203.0.113.9")]),
            "203.0.113.9",
            "where there is no other"
        );
        let forwarded = |headers: &[(&'static str, &str)]| {
            told(ForwardedHeader::Forwarded, "10.0.0.1", headers)
        };
        assert_eq!(
            forwarded(&[
                ("forwarded", "for=203.0.113.9"),
                ("x-forwarded-for", "1.1.1.1")
            ]),
            "203.0.113.9"
        );
        assert_eq!(forwarded(&[("x-forwarded-for", "1.1.1.1")]), "10.0.0.1");
    }

    #[test]
    fn ten_thousand_entries_are_a_walk_of_a_few() {
        let long = vec!["10.1.1.1"; 10_000].join(",");
        assert_eq!(
            client(
                "10.0.0.1",
                &[("x-forwarded-for", &format!("203.0.113.9,{long}"))]
            ),
            "10.1.1.1"
        );
        let long = format!("{}, 203.0.113.9", vec!["1.1.1.1"; 10_000].join(","));
        assert_eq!(
            client("10.0.0.1", &[("x-forwarded-for", &long)]),
            "203.0.113.9"
        );
        assert_eq!(
            client("10.0.0.1", &[("x-forwarded-for", &",".repeat(10_000))]),
            "10.0.0.1"
        );
        let mut looked_at = 0;
        let value = HeaderValue::from_str(&long).unwrap();
        let _ = entries([&value].into_iter())
            .inspect(|_| looked_at += 1)
            .take(PROXY_HOPS_MAX)
            .count();
        assert_eq!(looked_at, PROXY_HOPS_MAX);
    }
}
