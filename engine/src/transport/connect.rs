//! TCP to a server by name: host or relay. Peers are never dialled here; their candidates are literal addresses.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::proxy::{self, SocksProxy, Target};

/// Head start of one address before the next one is tried beside it (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
/// A connection that carries nothing is asked after this time whether its other end still lives.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Why there is no connection to a server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name has no address, or is not of the form `HOST:PORT`.
    #[error("name cannot be resolved")]
    Unresolved(#[source] io::Error),
    /// No address of it took the connection; the error of the last one.
    #[error("no address takes the connection")]
    Refused(#[source] io::Error),
}

/// The way that our TCP connections take out of this machine. The default is the system's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// Our own address, which is also the family; `None`: the system chooses.
    pub bind: Option<IpAddr>,
    /// The proxy that everything goes through. [`bind`](Self::bind) then is the address towards the proxy.
    pub socks: Option<SocksProxy>,
}

impl Route {
    /// The same route from the address `bind`.
    #[must_use]
    pub fn with_bind(mut self, bind: Option<IpAddr>) -> Self {
        self.bind = bind;
        self
    }

    /// The same route through the proxy `socks`.
    #[must_use]
    pub fn with_socks(mut self, socks: Option<SocksProxy>) -> Self {
        self.socks = socks;
        self
    }

    /// Connects to `address`, `HOST:PORT` with an IPv6 address in brackets. All addresses of the name are tried, IPv6 and IPv4
    /// in turn, each with a head start of 250 ms before the next; a proxy gets the name as it is. Never ends by itself: the
    /// caller sets the deadline.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(&self, address: &str) -> Result<TcpStream, ConnectError> {
        let Some(socks) = &self.socks else {
            return direct(address, self.bind).await;
        };
        let target = Target::parse(address).map_err(ConnectError::Unresolved)?;
        self.through(socks, &target).await
    }

    /// Connects to a literal address. Never ends by itself: the caller sets the deadline.
    pub(crate) async fn connect_to(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let Some(socks) = &self.socks else {
            let stream = dial(address, self.bind).await?;
            prepare(&stream)?;
            return Ok(stream);
        };
        let target = Target::Address(address);
        self.through(socks, &target)
            .await
            .map_err(|error| match error {
                ConnectError::Unresolved(error) | ConnectError::Refused(error) => error,
            })
    }

    async fn through(
        &self,
        socks: &SocksProxy,
        target: &Target,
    ) -> Result<TcpStream, ConnectError> {
        let stream = direct(&socks.address, self.bind).await?;
        proxy::through(stream, socks, target)
            .await
            .map_err(ConnectError::Refused)
    }
}

/// As [`Route::connect`] by the system's own route.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(address: &str) -> Result<TcpStream, ConnectError> {
    Route::default().connect(address).await
}

async fn direct(address: &str, bind: Option<IpAddr>) -> Result<TcpStream, ConnectError> {
    let resolved = tokio::net::lookup_host(address)
        .await
        .map_err(ConnectError::Unresolved)?;
    let family = |address: &SocketAddr| bind.is_none_or(|own| own.is_ipv4() == address.is_ipv4());
    let addresses = in_turn(resolved.filter(family));
    if addresses.is_empty() {
        return Err(ConnectError::Unresolved(
            io::ErrorKind::AddrNotAvailable.into(),
        ));
    }
    race(addresses, bind).await.map_err(ConnectError::Refused)
}

/// The families in turn, IPv6 first, each in the resolver's order.
fn in_turn(resolved: impl Iterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
    let (mut v6, mut v4): (VecDeque<_>, VecDeque<_>) = resolved.partition(SocketAddr::is_ipv6);
    let mut addresses = VecDeque::new();
    while addresses.len() < ADDRESSES_MAX && !(v6.is_empty() && v4.is_empty()) {
        addresses.extend(v6.pop_front());
        addresses.extend(v4.pop_front());
    }
    addresses.truncate(ADDRESSES_MAX);
    addresses
}

/// One connect, from `bind` if there is one.
async fn dial(to: SocketAddr, bind: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(own) = bind else {
        return TcpStream::connect(to).await;
    };
    let socket = match own {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind((own, 0).into())?;
    socket.connect(to).await
}

async fn race(mut waiting: VecDeque<SocketAddr>, bind: Option<IpAddr>) -> io::Result<TcpStream> {
    // Dropped with the attempts that are still open.
    let mut open = JoinSet::new();
    let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut next_start = Instant::now();
    loop {
        if open.is_empty() {
            match waiting.pop_front() {
                Some(address) => open.spawn(dial(address, bind)),
                None => return Err(last_error),
            };
            next_start = Instant::now() + HEAD_START;
        }
        tokio::select! {
            ended = open.join_next() => match ended {
                Some(Ok(Ok(stream))) => {
                    prepare(&stream)?;
                    return Ok(stream);
                }
                Some(Ok(Err(error))) => {
                    last_error = error;
                    next_start = Instant::now();
                }
                Some(Err(_)) | None => {}
            },
            () = sleep_until(next_start), if !waiting.is_empty() => {
                if let Some(address) = waiting.pop_front() {
                    open.spawn(dial(address, bind));
                }
                next_start = Instant::now() + HEAD_START;
            }
        }
    }
}

/// Small writes go out at once, and a connection that is idle is found out when its other end is gone.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn families_take_turns() {
        let all = ["192.0.2.1:1", "192.0.2.2:1", "[2001:db8::1]:1"].map(|one| one.parse().unwrap());
        let order: Vec<String> = in_turn(all.into_iter())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(order, ["[2001:db8::1]:1", "192.0.2.1:1", "192.0.2.2:1"]);
        let many = (0..20).map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        assert_eq!(in_turn(many).len(), ADDRESSES_MAX);
    }

    #[tokio::test]
    async fn a_dead_address_does_not_hide_a_living_one() {
        let closed = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let living = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = living.local_addr().unwrap();
        let stream = race([closed, address].into(), None).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
    }

    #[tokio::test]
    async fn a_bound_route_leaves_from_its_address_and_has_one_family() {
        let v4 = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = v4.local_addr().unwrap().port();
        let own: IpAddr = [127, 0, 0, 5].into();
        let route = Route::default().with_bind(Some(own));
        let stream = route.connect(&format!("127.0.0.1:{port}")).await.unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), own);
        let other_family = route.connect(&format!("[::1]:{port}")).await;
        assert!(
            matches!(other_family, Err(ConnectError::Unresolved(_))),
            "{other_family:?}"
        );
    }

    #[tokio::test]
    async fn names_that_lead_nowhere_are_told_apart() {
        let closed = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let refused = connect(&closed.to_string()).await;
        assert!(
            matches!(refused, Err(ConnectError::Refused(_))),
            "{refused:?}"
        );
        for bad in ["", "no-port", "[::1]", "host.invalid:1"] {
            let unresolved = connect(bad).await;
            assert!(
                matches!(unresolved, Err(ConnectError::Unresolved(_))),
                "{bad}: {unresolved:?}"
            );
        }
    }
}
