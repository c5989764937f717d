//! The headers `X-Forwarded-For` and `Forwarded`, each behind a byte that selects one. From an
//! untrusted peer they are ignored. The entry that a trusted proxy appended is found, whatever a
//! client wrote before it or in the other header.
#![no_main]

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tillbox::config::{ForwardedHeader, Network};
use tillbox::http::fuzzing::client_address;

const KINDS: [(ForwardedHeader, &str, &str); 3] = [
    (
        ForwardedHeader::XForwardedFor,
        "x-forwarded-for",
        "203.0.113.9",
    ),
    (
        ForwardedHeader::Forwarded,
        "forwarded",
        "for=203.0.113.9;proto=https",
    ),
    (ForwardedHeader::Either, "x-forwarded-for", "203.0.113.9"),
];
const PROXY: [u8; 4] = [10, 0, 0, 1];
const STRANGER: [u8; 4] = [198, 51, 100, 1];
const CLIENT: [u8; 4] = [203, 0, 113, 9];

fuzz_target!(|data: &[u8]| {
    let trusted: [Network; 1] = ["10.0.0.0/8".parse().expect("a network")];
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(8) {
        if let Some((which, value)) = line.split_first()
            && let Ok(value) = HeaderValue::from_bytes(value)
        {
            headers.append(
                HeaderName::from_static(KINDS[usize::from(which % 2)].1),
                value,
            );
        }
    }
    for (kind, name, entry) in KINDS {
        let address_of = |peer: [u8; 4], headers: &HeaderMap| {
            client_address(peer.into(), headers, &trusted, kind)
        };
        assert_eq!(address_of(STRANGER, &headers), IpAddr::from(STRANGER));
        // The address has only its canonical form.
        assert_eq!(
            address_of(PROXY, &headers),
            address_of(PROXY, &headers).to_canonical()
        );

        // The proxy appends to its header, as a new line and on the client's last line, and
        // forwards the other header.
        let mut appended = headers.clone();
        let before = appended.get_all(name).iter().next_back().cloned();
        appended.append(name, HeaderValue::from_static(entry));
        assert_eq!(address_of(PROXY, &appended), IpAddr::from(CLIENT));
        if let Some(before) = before
            && before.to_str().is_ok()
        {
            let joined = [before.as_bytes(), b", ", entry.as_bytes()].concat();
            appended.insert(name, HeaderValue::from_bytes(&joined).expect("two values"));
            assert_eq!(address_of(PROXY, &appended), IpAddr::from(CLIENT));
        }
    }
});
