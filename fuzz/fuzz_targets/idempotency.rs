//! The header `Idempotency-Key`: bare and quoted it gives the same key, bound to one request, or a
//! refusal.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tillbox::http::fuzzing::idempotency_key;
use tillbox::http::problem::Problem;

const NAME: &str = "idempotency-key";

fn read(value: &[u8], body: &[u8]) -> Option<Result<String, Problem>> {
    let mut headers = HeaderMap::new();
    headers.insert(NAME, HeaderValue::from_bytes(value).ok()?);
    let key = idempotency_key(&headers, "POST", "/v1/sales", body);
    headers.append(NAME, HeaderValue::from_static("another"));
    assert!(
        idempotency_key(&headers, "POST", "/v1/sales", body).is_err(),
        "two keys are refused"
    );
    Some(key.map(|key| format!("{:?}", key.expect("the header is there"))))
}

fuzz_target!(|value: &[u8]| {
    match read(value, b"{}") {
        None => {}
        Some(Err(problem)) => assert_eq!(
            (problem.status().as_u16(), problem.code()),
            (400, "idempotency_key_invalid")
        ),
        Some(Ok(key)) => {
            assert!(value.iter().all(|byte| matches!(byte, b' '..=b'~')));
            let other = read(value, b"{ }").and_then(Result::ok);
            assert!(
                other.is_some_and(|other| other != key),
                "another body is another request"
            );
            if !value.contains(&b'"') {
                let quoted = [b"\"", value, b"\""].concat();
                assert_eq!(
                    read(&quoted, b"{}").and_then(Result::ok),
                    Some(key),
                    "quotes change nothing"
                );
            }
        }
    }
});
