//! What came in on a QUIC socket and is no QUIC.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Datagrams that wait to be fetched. When more come, the oldest go: anybody can send here, and what was said last is worth most.
pub(super) const WAITING: usize = 64;
/// Bytes of the longest one that is kept: what fits into a packet on any network. Longer ones are nobody's.
pub(super) const LONGEST: usize = 1_500;

/// A datagram that looks like STUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Who sent it, or says so.
    pub from: SocketAddr,
    /// All of it.
    pub bytes: Bytes,
}

/// The receiving end.
#[derive(Debug)]
pub struct Datagrams(broadcast::Receiver<Datagram>);

impl Datagrams {
    pub(super) fn new() -> (broadcast::Sender<Datagram>, Self) {
        let (sender, receiver) = broadcast::channel(WAITING);
        (sender, Self(receiver))
    }

    /// The next one; `None` once the socket is closed. May be dropped at any time without loss.
    pub async fn recv(&mut self) -> Option<Datagram> {
        loop {
            match self.0.recv().await {
                Ok(datagram) => return Some(datagram),
                Err(RecvError::Lagged(lost)) => {
                    tracing::debug!(lost, "STUN datagrams came faster than they were read");
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
