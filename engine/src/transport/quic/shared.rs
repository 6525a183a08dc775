//! The UDP socket below quinn, shared with STUN.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime as _, TokioRuntime, UdpPoller};
use rdv_proto::wire::stun::is_stun;
use socket2::SockRef;
use tokio::sync::broadcast;

use super::config::{PAYLOAD_LOOPBACK, SOCKET_BUFFER};
use super::datagrams::{Datagram, LONGEST};

/// The most that the kernel puts together into one buffer.
const COALESCED: usize = 65_535;

/// A UDP socket that keeps STUN from quinn, and quinn's packets from the hop limits of probes.
pub(super) struct SharedSocket {
    /// As quinn reads and writes it.
    quic: Arc<dyn AsyncUdpSocket>,
    /// The same socket of the kernel.
    plain: UdpSocket,
    /// Hop limits are a property of the socket, not of a datagram: whoever changes one is alone with the socket until it is
    /// back, everybody else shares it.
    hops: RwLock<()>,
    arrivals: broadcast::Sender<Datagram>,
}

impl SharedSocket {
    /// Takes over a bound socket. Within a runtime of tokio only.
    pub(super) fn new(
        socket: UdpSocket,
        arrivals: broadcast::Sender<Datagram>,
    ) -> io::Result<Self> {
        let options = SockRef::from(&socket);
        // The kernel cuts off what is too much; what it refuses altogether only costs speed.
        let _ = options.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = options.set_send_buffer_size(SOCKET_BUFFER);
        let plain = socket.try_clone()?;
        let quic = TokioRuntime.wrap_udp_socket(socket)?;
        Ok(Self::over(quic, plain, arrivals))
    }

    pub(super) fn over(
        quic: Arc<dyn AsyncUdpSocket>,
        plain: UdpSocket,
        arrivals: broadcast::Sender<Datagram>,
    ) -> Self {
        Self {
            quic,
            plain,
            hops: RwLock::new(()),
            arrivals,
        }
    }

    /// A second handle to the same socket of the kernel.
    pub(super) fn duplicate(&self) -> io::Result<UdpSocket> {
        self.plain.try_clone()
    }

    /// Sends one datagram that is no QUIC, at once or not at all; with `ttl`, it dies after so many hops.
    ///
    /// # Errors
    /// As the system says; [`io::ErrorKind::WouldBlock`] if the socket's buffer is full.
    pub(super) fn send(&self, to: SocketAddr, bytes: &[u8], ttl: Option<u8>) -> io::Result<()> {
        let to = match (self.plain.local_addr()?, to) {
            (SocketAddr::V6(_), SocketAddr::V4(v4)) => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
            }
            _ => to,
        };
        let Some(ttl) = ttl else {
            let _with_others = self.hops.read().unwrap_or_else(PoisonError::into_inner);
            return self.plain.send_to(bytes, to).map(drop);
        };
        let _alone = self.hops.write().unwrap_or_else(PoisonError::into_inner);
        let usual = hops(&self.plain, to.ip())?;
        set_hops(&self.plain, to.ip(), ttl.into())?;
        let sent = self.plain.send_to(bytes, to);
        set_hops(&self.plain, to.ip(), usual)?;
        sent.map(drop)
    }
}

/// Hop limit of what leaves for `to`. An IPv6 socket has two, one for mapped IPv4.
fn hops(socket: &UdpSocket, to: IpAddr) -> io::Result<u32> {
    match to.to_canonical() {
        IpAddr::V4(_) => SockRef::from(socket).ttl_v4(),
        IpAddr::V6(_) => SockRef::from(socket).unicast_hops_v6(),
    }
}

fn set_hops(socket: &UdpSocket, to: IpAddr, hops: u32) -> io::Result<()> {
    match to.to_canonical() {
        IpAddr::V4(_) => SockRef::from(socket).set_ttl_v4(hops),
        IpAddr::V6(_) => SockRef::from(socket).set_unicast_hops_v6(hops),
    }
}

impl AsyncUdpSocket for SharedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.quic.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let _with_others = self.hops.read().unwrap_or_else(PoisonError::into_inner);
        self.quic.try_send(transmit)
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.quic.poll_recv(context, buffers, metas))?;
        for (buffer, meta) in buffers.iter_mut().zip(metas.iter_mut()).take(count) {
            let from = canonical(meta.addr);
            take_stun(buffer, meta, |bytes| {
                let bytes = Bytes::copy_from_slice(bytes);
                // Nobody listens any more: a socket that only carries lanes.
                let _ = self.arrivals.send(Datagram { from, bytes });
            });
        }
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.quic.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.quic.max_transmit_segments()
    }

    /// quinn makes its buffers so many payloads long: no more than the kernel ever fills.
    fn max_receive_segments(&self) -> usize {
        let enough = COALESCED.div_ceil(usize::from(PAYLOAD_LOOPBACK));
        self.quic.max_receive_segments().min(enough)
    }

    fn may_fragment(&self) -> bool {
        self.quic.may_fragment()
    }
}

impl fmt::Debug for SharedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSocket")
            .field("plain", &self.plain)
            .finish_non_exhaustive()
    }
}

/// IPv4 that came in on an IPv6 socket is IPv4.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Takes the STUN out of a buffer and leaves the rest, moved together. The kernel coalesces datagrams of one sender, of `stride`
/// bytes each but for a shorter last one, whatever they are: each has to be looked at. QUIC packets have bit 0x40 of the first byte
/// set, which STUN never has (RFC 9443).
pub(super) fn take_stun(buffer: &mut [u8], meta: &mut RecvMeta, mut stun: impl FnMut(&[u8])) {
    let length = meta.len.min(buffer.len());
    let stride = meta.stride.max(1);
    let (mut at, mut kept) = (0, 0);
    while at < length {
        let end = length.min(at.saturating_add(stride));
        if is_stun(&buffer[at..end]) {
            if end - at <= LONGEST {
                stun(&buffer[at..end]);
            }
        } else {
            if kept < at {
                buffer.copy_within(at..end, kept);
            }
            kept += end - at;
        }
        at = end;
    }
    meta.len = kept;
}
