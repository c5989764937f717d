//! HTTP/1.1 on the wire, below the router: accepting connections, guarding request heads, deadlines
//! and connection limits.

pub(in crate::http) mod bad_request;
pub(in crate::http) mod chunks;
pub(in crate::http) mod connection_limits;
pub(in crate::http) mod date;
pub(in crate::http) mod deadlines;
pub(in crate::http) mod head_guard;
pub mod peer;
pub mod server;
pub(in crate::http) mod unread_body;
