//! The sockets of a conversation: TCP listeners and UDP sockets of both families, all on one port number if it can be had.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that wait to be accepted, per family; strangers may fill it.
const BACKLOG: i32 = 64;
/// Free ports that are looked at until one is free in all families and protocols.
const TRIES: usize = 16;

/// Opened, not yet used.
#[derive(Debug)]
pub(super) struct Sockets {
    /// One per family. They listen already.
    pub(super) listeners: Vec<TcpListener>,
    /// One per family.
    pub(super) udp: Vec<UdpSocket>,
}

/// What is wanted.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Our own address, which is also the family; an unspecified one stands for all of its family.
    pub(super) bind: Option<IpAddr>,
    /// The ports to choose from; `None`: any free one.
    pub(super) ports: Option<RangeInclusive<u16>>,
    pub(super) tcp: bool,
    pub(super) udp: bool,
}

impl Wanted {
    /// Opens them. A family that this machine lacks is left out; so is UDP on the same port, as the last resort, in favour of UDP on
    /// another one, but not if the user said which ports.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] if all ports of the range are taken, else what the system reports.
    pub(super) fn open(&self) -> io::Result<Sockets> {
        match &self.ports {
            Some(ports) => self.in_range(ports),
            None => self.anywhere(),
        }
    }

    fn in_range(&self, ports: &RangeInclusive<u16>) -> io::Result<Sockets> {
        if ports.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (first, last) = (u32::from(*ports.start()), u32::from(*ports.end()));
        let count = last - first + 1;
        // Not always the first one: a router may remember what came from there.
        let start = u32::from_be_bytes(crate::random::bytes()) % count;
        for offset in 0..count {
            let port = u16::try_from(first + (start + offset) % count);
            let Ok(port) = port.map_err(|_| io::ErrorKind::InvalidInput) else {
                break;
            };
            match self.at(port) {
                Err(taken) if is_taken(&taken) => {}
                // Port 0 would be any port.
                _ if port == 0 => {}
                opened => return opened,
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    fn anywhere(&self) -> io::Result<Sockets> {
        for _ in 0..TRIES {
            let port = self.free_port()?;
            match self.at(port) {
                Err(taken) if is_taken(&taken) => {}
                opened => return opened,
            }
        }
        // Another port for UDP is better than none.
        let only = |tcp, udp| Self {
            tcp,
            udp,
            ..self.clone()
        };
        let mut sockets = match self.tcp {
            true => only(true, false).at(only(true, false).free_port()?)?,
            false => only(false, true).at(0)?,
        };
        if self.tcp && self.udp {
            sockets.udp = only(false, true).at(0).map_or(Vec::new(), |own| own.udp);
        }
        Ok(sockets)
    }

    /// A port that was free a moment ago.
    fn free_port(&self) -> io::Result<u16> {
        let mut failed = io::ErrorKind::AddrNotAvailable.into();
        for ip in self.addresses() {
            let address = SocketAddr::new(ip, 0);
            let bound = match self.tcp {
                true => bind_tcp(address).and_then(|socket| port_of(&socket)),
                false => bind_udp(address).and_then(|socket| Ok(socket.local_addr()?.port())),
            };
            match bound {
                Ok(port) => return Ok(port),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// All sockets on `port`, which may be 0 only if UDP alone is wanted.
    fn at(&self, port: u16) -> io::Result<Sockets> {
        let mut sockets = Sockets {
            listeners: Vec::new(),
            udp: Vec::new(),
        };
        let mut failed = None;
        for ip in self.addresses() {
            let address = SocketAddr::new(ip, port);
            let opened = self.of_family(address, &mut sockets);
            match opened {
                Err(taken) if is_taken(&taken) => return Err(taken),
                Err(no_such_family) => failed = Some(no_such_family),
                Ok(()) => {}
            }
        }
        if sockets.listeners.is_empty() && sockets.udp.is_empty() {
            return Err(failed.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()));
        }
        Ok(sockets)
    }

    fn of_family(&self, address: SocketAddr, sockets: &mut Sockets) -> io::Result<()> {
        // UDP first: it is exclusive, so two programs that are told the same ports do not share one.
        let udp = self.udp.then(|| bind_udp(address)).transpose()?;
        let listener = self.tcp.then(|| listen(address)).transpose()?;
        sockets.udp.extend(udp);
        sockets.listeners.extend(listener);
        Ok(())
    }

    /// IPv6 first, since a port that is free there is not always free for IPv4, but the reverse is rare.
    fn addresses(&self) -> Vec<IpAddr> {
        match self.bind {
            Some(own) => vec![own],
            None => vec![Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()],
        }
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
    )
}

fn port_of(socket: &Socket) -> io::Result<u16> {
    let address = socket.local_addr()?.as_socket();
    Ok(address.ok_or(io::ErrorKind::InvalidData)?.port())
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A TCP socket of its own at `address`.
fn bind_tcp(address: SocketAddr) -> io::Result<Socket> {
    let socket = tcp_socket(address)?;
    // Windows means something else by it.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(all(unix, not(target_os = "linux")))]
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bind_tcp(address)?;
    socket.listen(BACKLOG)?;
    // Only now, where the system reads the flag at each later bind: so nobody else shares the listener, but connections
    // from its port are possible ([`bind_beside_listener`]).
    #[cfg(target_os = "linux")]
    socket.set_reuse_port(true)?;
    TcpListener::from_std(socket.into())
}

/// A TCP socket that is to connect from `address`, the port of which a listener of ours has.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] where the system has no SO_REUSEPORT, else what it reports.
pub(super) fn bind_beside_listener(address: SocketAddr) -> io::Result<Socket> {
    #[cfg(unix)]
    {
        let socket = tcp_socket(address)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    }
    #[cfg(not(unix))]
    {
        let _ = address;
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(bind: &str) -> Wanted {
        Wanted {
            bind: Some(bind.parse().unwrap()),
            ports: None,
            tcp: true,
            udp: true,
        }
    }

    fn ports(sockets: &Sockets) -> Vec<u16> {
        let tcp = sockets
            .listeners
            .iter()
            .map(|one| one.local_addr().unwrap());
        let udp = sockets.udp.iter().map(|one| one.local_addr().unwrap());
        tcp.chain(udp).map(|address| address.port()).collect()
    }

    #[tokio::test]
    async fn one_port_number_serves_both_protocols_and_both_families() {
        let both = Wanted {
            bind: None,
            ..wanted("::")
        };
        let sockets = both.open().unwrap();
        let ports = ports(&sockets);
        assert!(ports.len() >= 2, "{ports:?}");
        assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
        assert_eq!(sockets.listeners.len(), sockets.udp.len());
    }

    #[tokio::test]
    async fn an_address_of_our_own_is_the_only_one() {
        let sockets = wanted("127.0.0.1").open().unwrap();
        assert_eq!((sockets.listeners.len(), sockets.udp.len()), (1, 1));
        let at = sockets.listeners[0].local_addr().unwrap();
        assert_eq!(at.ip(), IpAddr::from([127, 0, 0, 1]));
        let no_such = wanted("203.0.113.77").open();
        assert!(no_such.is_err());
    }

    #[tokio::test]
    async fn ports_come_from_the_range_until_it_is_used_up() {
        let first = wanted("127.0.0.1").open().unwrap();
        let port = ports(&first)[0];
        let ranged = |range| Wanted {
            ports: Some(range),
            ..wanted("127.0.0.1")
        };
        let error = ranged(port..=port).open().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        // TCP alone does not share the listener of another program either.
        let tcp_only = Wanted {
            udp: false,
            ..ranged(port..=port)
        };
        assert_eq!(
            tcp_only.open().unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(first);
        assert_eq!(ports(&ranged(port..=port).open().unwrap()), [port, port]);
        #[expect(
            clippy::reversed_empty_ranges,
            reason = "what a careless caller may give"
        )]
        let empty = ranged(2..=1).open();
        assert_eq!(empty.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[tokio::test]
    async fn a_port_whose_udp_is_taken_is_passed_over() {
        let taken = bind_udp("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = taken.local_addr().unwrap().port();
        let only = Wanted {
            ports: Some(port..=port),
            ..wanted("127.0.0.1")
        };
        assert!(only.open().is_err());
    }

    #[tokio::test]
    async fn a_connection_can_leave_from_the_port_of_the_listener() {
        let ours = wanted("127.0.0.1").open().unwrap();
        let own = ours.listeners[0].local_addr().unwrap();
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = bind_beside_listener(own).unwrap();
        let socket = tokio::net::TcpSocket::from_std_stream(socket.into());
        let dialled = socket.connect(other.local_addr().unwrap()).await.unwrap();
        assert_eq!(dialled.local_addr().unwrap(), own);
        assert_eq!(other.accept().await.unwrap().1, own);
    }
}
