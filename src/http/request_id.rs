//! The id of a request: the caller's, or a fresh one.

use http::HeaderMap;

use crate::primitives::Entropy;
use crate::primitives::limits::REQUEST_ID_CHARS_MAX;

pub const REQUEST_ID: &str = "x-request-id";

/// Returns the caller's request id when it is short and cannot break a log line or a header;
/// otherwise a fresh one.
pub fn request_id(headers: &HeaderMap, entropy: &dyn Entropy) -> String {
    let presented = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let is_safe = |id: &&str| {
        (1..=REQUEST_ID_CHARS_MAX).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
    };
    presented
        .filter(is_safe)
        .map_or_else(|| fresh_request_id(entropy), str::to_owned)
}

/// Creates an id for a request without one.
pub fn fresh_request_id(entropy: &dyn Entropy) -> String {
    let mut bytes = [0_u8; 16];
    entropy.fill(&mut bytes);
    format!("req_{:032x}", u128::from_be_bytes(bytes))
}
