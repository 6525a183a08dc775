//! Listening sockets, and the loop that takes connections from them.

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::warn;

use crate::HostError;

const BACKLOG: i32 = 1024;
/// Pause after the system could not give us a connection, for want of file handles mostly.
const PAUSE: Duration = Duration::from_millis(100);

/// Opens all listeners, or none.
pub(crate) fn listen(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, HostError> {
    if addresses.is_empty() {
        return Err(HostError::NoAddress);
    }
    // An IPv6 listener takes IPv4 too, unless there is another one for that.
    let both = !addresses.iter().any(SocketAddr::is_ipv4);
    addresses
        .iter()
        .map(|&address| open(address, both).map_err(|source| HostError::Listen { address, source }))
        .collect()
}

/// Listening sockets that were open before the host was, as systemd hands them over: those who connect while a host ends and the next one
/// begins wait in them.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For clients; used instead of what the settings say.
    pub host: Vec<std::net::TcpListener>,
    /// For the relay; used instead of what the settings say.
    pub relay: Vec<std::net::TcpListener>,
}

/// Takes over sockets that listen already, or opens those that the settings name. They stay open elsewhere if they were.
pub(crate) fn open_or_adopt(
    sockets: Vec<std::net::TcpListener>,
    addresses: &[SocketAddr],
) -> Result<Vec<TcpListener>, HostError> {
    if sockets.is_empty() {
        return listen(addresses);
    }
    let adopt = |socket: std::net::TcpListener| {
        let address = socket.local_addr().map_err(HostError::Socket)?;
        let listener = socket
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(socket));
        listener.map_err(|source| HostError::Listen { address, source })
    };
    sockets.into_iter().map(adopt).collect()
}

/// The addresses that the listeners got.
pub(crate) fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok())
        .collect()
}

/// Takes connections until told to stop, then waits until the last one has ended.
///
/// `serve` makes the task of a connection, or none if it is turned away.
pub(crate) async fn accept<F>(
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
    mut serve: impl FnMut(TcpStream, SocketAddr, Instant) -> Option<F>,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Small frames go out at once; a socket that cannot do that is closed anyway.
                stream.set_nodelay(true).ok();
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                if let Some(task) = serve(stream, peer, Instant::now()) {
                    connections.spawn(task);
                }
            }
            Err(error) => {
                if is_ours(&error) {
                    warn!(%error, "no connection could be taken");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn open(address: SocketAddr, both: bool) -> std::io::Result<TcpListener> {
    let socket = socket(address, !both, Type::STREAM, Protocol::TCP)?;
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// A UDP socket; `only_v6` as the listener of the same address has it.
pub(crate) fn open_udp(address: SocketAddr, only_v6: bool) -> std::io::Result<UdpSocket> {
    let socket = socket(address, only_v6, Type::DGRAM, Protocol::UDP)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Whether the listener leaves IPv4 to another one.
pub(crate) fn only_v6(listener: &TcpListener) -> bool {
    socket2::SockRef::from(listener).only_v6().unwrap_or(false)
}

fn socket(
    address: SocketAddr,
    only_v6: bool,
    kind: Type,
    protocol: Protocol,
) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Not the fault of the one connection that was about to be taken.
fn is_ours(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    !matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}
