//! The client address of a request that came through proxies: `X-Forwarded-For` and `Forwarded`
//! (RFC 7239), as far as their writers are trusted.
//!
//! Each proxy appends the address it received the request from. The lists are read from the right
//! while the writer of an entry is a trusted proxy. The first other address is the client; anybody
//! could have written the entries to its left. Entries are split at commas without regard to
//! quotes: the entry of a trusted proxy stands after the last comma, however many quotes a client
//! left open.
//!
//! A proxy that writes one of the two headers may pass on the other as the client sent it. So only
//! one is read: the one that the operator configured (`server.forwarded_header`), or else
//! `X-Forwarded-For` when it is present. The other header has no effect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::{ForwardedHeader, Network};
use crate::primitives::limits::PROXY_HOPS_MAX;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Returns the client's address. `peer` is the other end of the connection, `header` the one that
/// trusted proxies write.
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
        // An entry without an address (`unknown`, an obfuscated name) ends the walk at the last
        // known address.
        let Some(next) = entry.and_then(read) else {
            break;
        };
        address = next;
    }
    address
}

/// Returns the entries of a list from the right, lazily; `None` for a value that is not text.
fn entries<'a>(
    values: impl Iterator<Item = &'a HeaderValue>,
) -> impl Iterator<Item = Option<&'a str>> {
    values.flat_map(|value| {
        let text = value.to_str().ok();
        let parts = text.unwrap_or_default().rsplit(',').map(str::trim);
        // Empty entries are ignored (RFC 9110 §5.6.1), up to a bound.
        let parts = parts
            .take(2 * PROXY_HOPS_MAX)
            .filter(|part| !part.is_empty())
            .map(Some);
        parts.chain(text.is_none().then_some(None))
    })
}

/// Parses an entry of `X-Forwarded-For`: an address, optionally with a port.
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
        // RFC 7239 also allows obfuscated ports, such as `_p1`.
        (port.starts_with('_') || port.parse::<u16>().is_ok())
            .then_some(address)?
            .parse::<Ipv4Addr>()
            .ok()?
            .into()
    };
    Some(address.to_canonical())
}

/// Parses the `for` pair of an element of `Forwarded`.
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

/// Returns the address of a peer; for a Unix socket, the unspecified address.
pub fn peer_address(peer: Option<SocketAddr>) -> IpAddr {
    peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXIES: [&str; 2] = ["10.0.0.0/8", "2001:db8:aaaa::/48"];

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> String {
        client_by(ForwardedHeader::Either, peer, headers)
    }

    fn client_by(header: ForwardedHeader, peer: &str, headers: &[(&'static str, &str)]) -> String {
        let trusted = PROXIES.map(|text| text.parse().unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        client_address(peer.parse().unwrap(), &map, &trusted, header).to_string()
    }

    #[test]
    fn ignores_headers_when_peer_is_not_trusted() {
        let forged = [
            ("x-forwarded-for", "203.0.113.9"),
            ("forwarded", "for=203.0.113.9"),
        ];
        assert_eq!(client("198.51.100.1", &forged), "198.51.100.1");
        assert_eq!(client("127.0.0.1", &forged), "127.0.0.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn finds_first_untrusted_address_from_the_right() {
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
    fn parses_forwarded_elements_by_rfc_7239() {
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
            // An open quote does not hide the proxy's entry.
            ("for=\"1.1.1.1, for=203.0.113.9", "203.0.113.9"),
        ] {
            let found = client_by(
                ForwardedHeader::Forwarded,
                "10.0.0.1",
                &[("forwarded", value)],
            );
            assert_eq!(found, expected, "{value}");
        }
    }

    /// The value of the other header has no effect.
    #[test]
    fn ignores_header_that_proxies_do_not_write() {
        for made_up in ["for=1.1.1.1", "for=203.0.113.9", "nonsense"] {
            let both = [("x-forwarded-for", "203.0.113.9"), ("forwarded", made_up)];
            assert_eq!(client("10.0.0.1", &both), "203.0.113.9", "{made_up}");
            let configured = |headers: &[(&'static str, &str)]| {
                client_by(ForwardedHeader::XForwardedFor, "10.0.0.1", headers)
            };
            assert_eq!(configured(&both), "203.0.113.9", "{made_up}");
            assert_eq!(
                configured(&[("forwarded", made_up)]),
                "10.0.0.1",
                "{made_up}"
            );
        }
        assert_eq!(
            client("10.0.0.1", &[("forwarded", "for=203.0.113.9")]),
            "203.0.113.9",
            "no other header"
        );
        let forwarded = |headers: &[(&'static str, &str)]| {
            client_by(ForwardedHeader::Forwarded, "10.0.0.1", headers)
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
    fn reads_few_entries_of_long_list() {
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
        let mut read_count = 0;
        let value = HeaderValue::from_str(&long).unwrap();
        let _ = entries([&value].into_iter())
            .inspect(|_| read_count += 1)
            .take(PROXY_HOPS_MAX)
            .count();
        assert_eq!(read_count, PROXY_HOPS_MAX);
    }
}
