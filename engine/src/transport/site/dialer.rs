//! Ways out of a conversation's sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rdv_proto::trust::Session;
use tokio::net::TcpStream;

use super::open::{self, Crossings};
use crate::transport::quic::{self, QuicConnection, QuicSocket};
use crate::transport::tls::SecureError;
use crate::trust::Identity;

/// Dials from the sockets of one [`Site`](super::Site). Clones are the same. Who listens is dialled by [`Route`](crate::transport::Route)
/// instead, since that needs none of these sockets.
/// It keeps the UDP sockets open, so drop it with the attempt.
#[derive(Debug, Clone)]
pub(crate) struct Dialer(pub(super) Arc<Exits>);

/// What a dialer dials from.
#[derive(Debug)]
pub(super) struct Exits {
    /// Where the TCP listeners are, one per family.
    pub(super) listeners: Vec<SocketAddr>,
    /// One per family.
    pub(super) udp: Vec<QuicSocket>,
    pub(super) crossings: Crossings,
}

impl Dialer {
    /// Connects to a peer that connects to us at the same time, from the port of the listener. A refusal is tried again after
    /// 50 to 150 ms, for 4 s in all. A connection from `to` that the listener accepts meanwhile is taken, too: it is the same
    /// meeting.
    ///
    /// # Errors
    /// What the system says last; [`io::ErrorKind::Unsupported`] if there is no listener in this family, or behind a proxy, or
    /// where the system cannot do it.
    pub(crate) async fn dial_open(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let own = self.0.listeners.iter();
        let own = own
            .copied()
            .find(|own| own.is_ipv4() == to.is_ipv4())
            .ok_or(io::ErrorKind::Unsupported)?;
        open::dial(own, to, &self.0.crossings).await
    }

    /// Connects over QUIC, from the UDP socket that probes and STUN questions leave from, and proves who we are.
    ///
    /// # Errors
    /// [`SecureError`]; [`SecureError::Io`] of [`io::ErrorKind::Unsupported`] if there is no UDP socket of this family.
    pub(crate) async fn dial_quic(
        &self,
        to: SocketAddr,
        session: &Session,
        identity: &Identity,
        deadline: Duration,
    ) -> Result<QuicConnection, SecureError> {
        let socket = self.udp(to.ip()).map_err(SecureError::Io)?;
        quic::dial(socket, to, session, identity, deadline).await
    }

    /// Sends a probe, which dies after `ttl` hops if that is given. Lost like any datagram.
    ///
    /// # Errors
    /// As the system says; [`io::ErrorKind::Unsupported`] if there is no UDP socket of this family.
    pub(crate) fn send_probe(
        &self,
        to: SocketAddr,
        bytes: &[u8],
        ttl: Option<u8>,
    ) -> io::Result<()> {
        self.udp(to.ip())?.send_stun(to, bytes, ttl)
    }

    fn udp(&self, to: IpAddr) -> io::Result<&QuicSocket> {
        let of_family = |socket: &&QuicSocket| {
            socket
                .local_addr()
                .is_ok_and(|own| own.is_ipv4() == to.is_ipv4())
        };
        let found = self.0.udp.iter().find(of_family);
        found.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }
}
