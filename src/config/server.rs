//! `[server]`: the socket, and what one client may take of it.

use super::error::Faults;
use super::network::Network;
use super::units::{ByteSize, Span};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};

/// The HTTP side.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// The proxies whose word counts for where a request comes from: each must write the header of
    /// [`forwarded_header`](Self::forwarded_header) itself.
    pub trusted_proxies: Vec<Network>,
    /// The header that they write it into; no other is read.
    pub forwarded_header: ForwardedHeader,
    /// The largest request body.
    pub body_limit: ByteSize,
    /// Memory for request bodies that are arriving, over all connections; a body that does not fit
    /// is refused. The first 16 KiB of each are outside of it.
    pub body_memory: ByteSize,
    /// The longest time from the head of a request to its answer.
    pub request_timeout: Span,
    /// The longest time in which the head of a request must arrive.
    pub header_timeout: Span,
    /// How long a kept connection may wait for its next request.
    pub idle_timeout: Span,
    /// Connections served at a time; more of them are turned away.
    pub max_connections: u32,
    /// Connections served at a time from one address other than this machine's; more of them are
    /// turned away.
    pub max_connections_per_address: u32,
    /// Connections served at a time from this machine, a proxy's above all; more of them are
    /// answered `/health` and `/metrics` only.
    pub max_connections_local: u32,
}

/// A header in which proxies say where a request comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, and `Forwarded` where a request has none: right for proxies that write
    /// the former, as nearly all do, because theirs all have one. Where they write the latter
    /// alone, a client could make up the former; then it has to be named.
    #[default]
    Either,
    /// `X-Forwarded-For` alone.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            body_limit: ByteSize::bytes(1 << 20),
            body_memory: ByteSize::bytes(64 << 20),
            request_timeout: Span::secs(30),
            header_timeout: Span::secs(5),
            idle_timeout: Span::secs(75),
            max_connections: 4096,
            max_connections_per_address: 512,
            max_connections_local: 3584,
        }
    }
}

impl Server {
    pub(super) fn check(&self, faults: &mut Faults) {
        let bodies = ByteSize::bytes(1 << 10)..=ByteSize::bytes(64 << 20);
        faults.within("server.body_limit", self.body_limit, bodies);
        let memory = ByteSize::bytes(128 << 10)..=ByteSize::bytes(1 << 40);
        faults.within("server.body_memory", self.body_memory, memory);
        // Half of it is for callers without a key: one of their bodies has to fit.
        if self.body_memory.as_bytes() / 2 < self.body_limit.as_bytes() {
            let problem = format!(
                "{} is less than two bodies of server.body_limit ({}); raise it, or lower that",
                self.body_memory, self.body_limit
            );
            faults.add("server.body_memory", problem);
        }
        let requests = Span::secs(1)..=Span::secs(600);
        faults.within("server.request_timeout", self.request_timeout, requests);
        let heads = Span::millis(100)..=Span::secs(120);
        faults.within("server.header_timeout", self.header_timeout, heads);
        faults.within(
            "server.idle_timeout",
            self.idle_timeout,
            Span::millis(100)..=Span::secs(3_600),
        );
        faults.within("server.max_connections", self.max_connections, 1..=65_536);
        let per_address = self.max_connections_per_address;
        faults.within(
            "server.max_connections_per_address",
            per_address,
            1..=65_536,
        );
        let local = self.max_connections_local;
        faults.within("server.max_connections_local", local, 1..=65_536);
    }
}
