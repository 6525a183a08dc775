//! STUN on the port numbers of host and relay: over UDP beside their listeners, over TCP on them (G-08).
//!
//! What is answered, and how often, is for [`Responder`] to say. Where all listeners share one port number a further UDP socket is opened
//! on a free one: two ports are what it takes to tell a client whether its translator treats them alike.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rdv_proto::limits;
use rdv_proto::responder::{Arrival, Responder, ResponderLimits};
use rdv_proto::wire::stun;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::listener::{only_v6, open_udp};
use crate::metrics::{Limit, Metrics};

/// From the first bytes of a TCP connection to its end.
const STREAM: Duration = Duration::from_secs(5);
/// What is received at once, in bytes: as much as a system puts together.
const RECEIVE: usize = 64 * 1024;
/// Pause after the system could not receive, for want of memory mostly.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers STUN. Clones are the same responder.
#[derive(Clone)]
pub(crate) struct Stun {
    sockets: Arc<[Port]>,
    responder: Arc<Mutex<Responder>>,
    metrics: Metrics,
}

struct Port {
    socket: UdpSocket,
    state: UdpSocketState,
}

/// A port number that is not ours over UDP, and why.
pub(crate) type Missing = (SocketAddr, io::Error);

impl Stun {
    /// Opens the UDP sockets beside these listeners. A port that is taken is left out, and said to be.
    pub(crate) fn open<'a>(
        listeners: impl Iterator<Item = &'a TcpListener>,
        public: Option<IpAddr>,
        limits: ResponderLimits,
        metrics: Metrics,
    ) -> (Self, Vec<Missing>) {
        let mut opened = Vec::new();
        let mut missing = Vec::new();
        for listener in listeners {
            let Ok(address) = listener.local_addr() else {
                continue;
            };
            match Port::open(address, only_v6(listener)) {
                Ok(port) => opened.push((address, only_v6(listener), port)),
                Err(error) => missing.push((address, error)),
            }
        }
        let alone: Vec<_> = opened
            .iter()
            .filter(|(address, ..)| {
                let others = opened.iter().map(|(other, ..)| other);
                others.filter(|other| other.ip() == address.ip()).count() == 1
            })
            .map(|(address, only_v6, _)| (SocketAddr::new(address.ip(), 0), *only_v6))
            .collect();
        for (address, only_v6) in alone {
            match Port::open(address, only_v6) {
                Ok(port) => opened.push((address, only_v6, port)),
                Err(error) => debug!(%error, "no second UDP port"),
            }
        }
        let ports: Arc<[Port]> = opened.into_iter().map(|(.., port)| port).collect();
        let sockets = ports.iter().map(|port| port.address(public)).collect();
        let software = concat!("rdv-host ", env!("CARGO_PKG_VERSION")).to_owned();
        let stun = Self {
            sockets: ports,
            responder: Arc::new(Mutex::new(Responder::new(limits, sockets, software))),
            metrics,
        };
        (stun, missing)
    }

    /// The UDP sockets, with the ports that the system picked.
    pub(crate) fn local_addrs(&self) -> Vec<SocketAddr> {
        self.sockets
            .iter()
            .filter_map(|port| port.socket.local_addr().ok())
            .collect()
    }

    /// Answers on all UDP sockets until told to stop.
    pub(crate) async fn serve(self, stop: watch::Receiver<bool>) {
        let mut loops = JoinSet::new();
        for number in 0..self.sockets.len() {
            let (stun, mut stop) = (self.clone(), stop.clone());
            loops.spawn(async move {
                tokio::select! {
                    () = stun.serve_socket(number) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            });
        }
        while loops.join_next().await.is_some() {}
    }

    /// Serves a TCP client whose first bytes are those of a request: one answer, and it is over.
    pub(crate) async fn serve_stream(
        &self,
        stream: &mut TcpStream,
        early: BytesMut,
        from: SocketAddr,
    ) {
        let served = async {
            let request = read_request(stream, early).await?;
            let arrival = Arrival {
                from,
                to: None,
                socket: None,
            };
            if let Some(answer) = self.answer(arrival, &request) {
                stream.write_all(&answer.bytes).await?;
            }
            stream.shutdown().await
        };
        match timeout(STREAM, served).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "a STUN client broke off"),
            Err(_) => debug!("a STUN client took too long"),
        }
    }

    async fn serve_socket(&self, number: usize) {
        let Some(port) = self.sockets.get(number) else {
            return;
        };
        let mut buffer = vec![0; RECEIVE];
        loop {
            match port.receive(&mut buffer).await {
                Ok(meta) => {
                    let datagrams = buffer.get(..meta.len).unwrap_or_default();
                    for datagram in datagrams.chunks(meta.stride.max(1)) {
                        self.serve_datagram(number, &meta, datagram).await;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(error) => {
                    warn!(%error, "no datagram could be received");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn serve_datagram(&self, number: usize, meta: &RecvMeta, datagram: &[u8]) {
        let arrival = Arrival {
            from: SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port()),
            to: meta.dst_ip,
            socket: Some(number),
        };
        let Some(answer) = self.answer(arrival, datagram) else {
            return;
        };
        let Some((port, same)) = answer
            .socket
            .and_then(|socket| Some((self.sockets.get(socket)?, socket == number)))
        else {
            return;
        };
        // On a wildcard the answer leaves from the address that was asked, also on another port of it.
        let from = meta.dst_ip.filter(|_| same || port.is_wildcard());
        if let Err(error) = port.send(meta.addr, from, &answer.bytes).await {
            debug!(%error, "a STUN answer could not be sent");
        }
    }

    fn answer(&self, arrival: Arrival, request: &[u8]) -> Option<rdv_proto::responder::Answer> {
        let unix_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            });
        let mut responder = self
            .responder
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = responder.refused();
        let answer = responder.answer(Instant::now(), unix_ms, arrival, request);
        if responder.refused() > before {
            self.metrics.refused(Limit::StunRequests);
        }
        answer
    }
}

impl Port {
    fn open(address: SocketAddr, only_v6: bool) -> io::Result<Self> {
        let socket = open_udp(address, only_v6)?;
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self { socket, state })
    }

    /// Where clients find it: behind a translator, at the public address.
    fn address(&self, public: Option<IpAddr>) -> SocketAddr {
        let own = self
            .socket
            .local_addr()
            .unwrap_or_else(|_| SocketAddr::new(IpAddr::from([0; 4]), 0));
        let public =
            public.filter(|public| public.is_ipv4() == own.is_ipv4() && !own.ip().is_unspecified());
        SocketAddr::new(public.unwrap_or(own.ip()), own.port())
    }

    fn is_wildcard(&self) -> bool {
        self.socket
            .local_addr()
            .is_ok_and(|own| own.ip().is_unspecified())
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<RecvMeta> {
        let mut meta = RecvMeta::default();
        self.socket
            .async_io(Interest::READABLE, || {
                let mut slices = [IoSliceMut::new(buffer)];
                let metas = std::slice::from_mut(&mut meta);
                self.state.recv((&self.socket).into(), &mut slices, metas)
            })
            .await?;
        Ok(meta)
    }

    async fn send(&self, to: SocketAddr, from: Option<IpAddr>, bytes: &Bytes) -> io::Result<()> {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: bytes,
            segment_size: None,
            src_ip: from,
        };
        self.socket
            .async_io(Interest::WRITABLE, || {
                self.state.try_send((&self.socket).into(), &transmit)
            })
            .await
    }
}

/// The whole request, of which the first bytes are there.
async fn read_request(stream: &mut TcpStream, mut request: BytesMut) -> io::Result<BytesMut> {
    loop {
        let length = request
            .first_chunk()
            .map_or(stun::HEAD, |head| stun::length_of(*head));
        if length > limits::STUN_MESSAGE || request.len() > limits::STUN_MESSAGE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if request.len() >= length && request.len() >= stun::HEAD {
            request.truncate(length);
            return Ok(request);
        }
        if stream.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[cfg(test)]
#[path = "stun_tests.rs"]
mod tests;
