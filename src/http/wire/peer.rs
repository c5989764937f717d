//! The other end of a connection.

use std::net::SocketAddr;

/// Extension of every request: the other end of the connection; `None` on a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub Option<SocketAddr>);

impl Peer {
    /// Whether the peer is on this machine: a proxy, a probe, or the operator on the admin socket.
    pub(super) fn is_local(self) -> bool {
        self.0
            .is_none_or(|address| address.ip().to_canonical().is_loopback())
    }
}
