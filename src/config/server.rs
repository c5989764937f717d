//! `[server]`: the HTTP socket and the limits of one client.

use super::error::Faults;
use super::network::Network;
use super::units::{ByteSize, Span};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};

/// The HTTP server.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// The proxies that are trusted to report a client's address: each must set
    /// [`forwarded_header`](Self::forwarded_header) itself.
    pub trusted_proxies: Vec<Network>,
    /// The header with the client's address; other headers are ignored.
    pub forwarded_header: ForwardedHeader,
    /// The largest request body.
    pub body_limit: ByteSize,
    /// Memory for arriving request bodies over all connections; a body that does not fit is
    /// rejected. The first 16 KiB of each body do not count.
    pub body_memory: ByteSize,
    /// The longest time from the head of a request to its answer.
    pub request_timeout: Span,
    /// The longest time in which the head of a request must arrive.
    pub header_timeout: Span,
    /// The longest time that a kept connection may wait for its next request.
    pub idle_timeout: Span,
    /// Connections served at a time; further ones are rejected.
    pub max_connections: u32,
    /// Connections served at a time from one remote address; further ones are rejected.
    pub max_connections_per_address: u32,
    /// Connections served at a time from this machine, which are mostly a proxy's; further ones get
    /// answers from `/health` and `/metrics` only.
    pub max_connections_local: u32,
}

/// The header in which proxies report a client's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, or `Forwarded` if the former is missing. Right for proxies that always
    /// set `X-Forwarded-For`, as nearly all do. Behind a proxy that sets `Forwarded` alone, a
    /// client could forge `X-Forwarded-For`; configure [`Forwarded`](Self::Forwarded) then.
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
        // Half of the memory is for callers without a key: one of their bodies must fit.
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
