//! The socket as the rest of the engine knows it.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use quinn::{Endpoint, TokioRuntime};
use tokio::sync::broadcast;

use super::config;
use super::datagrams::{Datagram, Datagrams};
use super::shared::{SharedSocket, canonical};
use crate::trust::peer;

/// A UDP socket that speaks QUIC both ways and STUN beside it. Clones are the same socket.
///
/// When the last clone is gone nobody gets in any more; connections that are up stay up, and the socket is closed with the last
/// of them.
#[derive(Clone)]
pub struct QuicSocket(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    /// What the endpoint stands on now.
    socket: RwLock<Arc<SharedSocket>>,
    arrivals: broadcast::Sender<Datagram>,
    unvalidated: Arc<AtomicUsize>,
}

impl QuicSocket {
    /// Takes over a bound socket. Within a runtime of tokio only.
    ///
    /// # Errors
    /// If the system refuses the options that QUIC needs.
    pub fn new(socket: UdpSocket) -> io::Result<(Self, Datagrams)> {
        let (arrivals, datagrams) = Datagrams::new();
        let socket = Arc::new(SharedSocket::new(socket, arrivals.clone())?);
        let server = peer::closed_server_config().map_err(io::Error::other)?;
        let server = config::server(server, None).map_err(io::Error::other)?;
        let endpoint = Endpoint::new_with_abstract_socket(
            config::endpoint(),
            Some(server),
            socket.clone(),
            Arc::new(TokioRuntime),
        )?;
        let inner = Inner {
            endpoint,
            socket: RwLock::new(socket),
            arrivals,
            unvalidated: Arc::default(),
        };
        Ok((Self(Arc::new(inner)), datagrams))
    }

    /// Address and port that the socket is bound to.
    ///
    /// # Errors
    /// As the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.endpoint.local_addr()
    }

    /// Sends a datagram that is no QUIC: a probe, or a question to a STUN server. With `ttl` it dies after so many hops; no QUIC
    /// packet ever leaves with that limit.
    ///
    /// # Errors
    /// As the system says; [`io::ErrorKind::WouldBlock`] if the socket's buffer is full. What is lost is sent again by whoever
    /// asked, as with any datagram.
    pub fn send_stun(&self, to: SocketAddr, bytes: &[u8], ttl: Option<u8>) -> io::Result<()> {
        self.shared().send(to, bytes, ttl)
    }

    /// Moves to another UDP socket, connections and all. The peer finds us at the new address if we dialled it; a client drops
    /// what comes from a new address of its server, so those connections are lost (QUIC knows only clients that move).
    ///
    /// # Errors
    /// If the new socket cannot be used; the old one stays then.
    pub fn rebind(&self, socket: UdpSocket) -> io::Result<()> {
        let socket = Arc::new(SharedSocket::new(socket, self.0.arrivals.clone())?);
        self.0.endpoint.rebind_abstract(socket.clone())?;
        let mut current = self
            .0
            .socket
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = socket;
        Ok(())
    }

    /// The machine has another address or route while the socket, which is bound to none, stays as it is: peers that we dialled
    /// are told at once, not with the next keep-alive.
    ///
    /// # Errors
    /// As [`Self::rebind`].
    pub fn network_changed(&self) -> io::Result<()> {
        self.rebind(self.shared().duplicate()?)
    }

    /// The next peer, or stranger, that wants to connect; `None` once the socket is closed. May be dropped at any time without
    /// loss.
    ///
    /// Above 128 handshakes with addresses that may be forged, only those get in that answer a Retry (S-41).
    pub async fn incoming(&self) -> Option<QuicIncoming> {
        loop {
            let incoming = self.0.endpoint.accept().await?;
            let place = match incoming.remote_address_validated() {
                true => None,
                false => Place::take(&self.0.unvalidated),
            };
            if place.is_some() || incoming.remote_address_validated() {
                return Some(QuicIncoming { incoming, place });
            }
            // Always allowed: the address is not validated.
            let _ = incoming.retry();
        }
    }

    /// Lets nobody in any more. Connections that are up, or that we dial, are not touched.
    pub fn stop_listening(&self) {
        self.0.endpoint.set_server_config(None);
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    fn shared(&self) -> Arc<SharedSocket> {
        let socket = self.0.socket.read();
        socket.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for QuicSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QuicSocket")
            .field(&self.local_addr().ok())
            .finish()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.endpoint.set_server_config(None);
    }
}

/// Somebody who wants to connect. Dropped, it is refused.
#[derive(Debug)]
pub struct QuicIncoming {
    pub(super) incoming: quinn::Incoming,
    /// Held until the handshake is over.
    pub(super) place: Option<Place>,
}

impl QuicIncoming {
    /// Where it comes from, or says so.
    pub fn remote(&self) -> SocketAddr {
        canonical(self.incoming.remote_address())
    }

    /// Turns it away without a word.
    pub fn ignore(self) {
        self.incoming.ignore();
    }
}

/// One of the places for handshakes with addresses that are not validated.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>) -> Option<Self> {
        let free = |taken| (taken < config::UNVALIDATED).then_some(taken + 1);
        let order = Ordering::Relaxed;
        taken.fetch_update(order, order, free).ok()?;
        Some(Self(taken.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
