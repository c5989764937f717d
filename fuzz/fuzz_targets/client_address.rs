//! The headers `X-Forwarded-For` and `Forwarded`, each behind a byte that says which: from a stranger they are nothing; what a trusted proxy
//! appended is found whatever a client wrote before it.
#![no_main]

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tillbox::config::Network;
use tillbox::http::fuzzing::client_address;

const NAMES: [&str; 2] = ["x-forwarded-for", "forwarded"];
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
            headers.append(HeaderName::from_static(NAMES[usize::from(which % 2)]), value);
        }
    }
    assert_eq!(client_address(STRANGER.into(), &headers, &trusted), IpAddr::from(STRANGER));
    // Whoever it is, it is nobody in two forms.
    let told = client_address(PROXY.into(), &headers, &trusted);
    assert_eq!(told, told.to_canonical());

    // The proxy appends to the one header that it knows, in a line of its own and on the client's last line, and takes the other one out.
    for (name, entry) in NAMES.into_iter().zip(["203.0.113.9", "for=203.0.113.9;proto=https"]) {
        let mut alone = headers.clone();
        for other in NAMES.into_iter().filter(|other| *other != name) {
            alone.remove(other);
        }
        let before = alone.get_all(name).iter().next_back().cloned();
        alone.append(name, HeaderValue::from_static(entry));
        assert_eq!(client_address(PROXY.into(), &alone, &trusted), IpAddr::from(CLIENT));
        if let Some(before) = before
            && before.to_str().is_ok()
        {
            let joined = [before.as_bytes(), b", ", entry.as_bytes()].concat();
            alone.insert(name, HeaderValue::from_bytes(&joined).expect("two values"));
            assert_eq!(client_address(PROXY.into(), &alone, &trusted), IpAddr::from(CLIENT));
        }
    }
});
