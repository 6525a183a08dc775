//! The ARS relay: connections come in, two of them are joined, bytes pass. It never dials (S-36).
//!
//! [`Pairing`](rdv_proto::relay::Pairing) decides; the desk is the one task that owns it; each connection has a task of
//! its own, and of a pair the creator's task copies.

mod desk;
mod key;
mod meeting;
mod pipe;
mod roster;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rdv_proto::pace::{Origin, Pace};
use rdv_proto::relay::{Access, TicketKey};
use rdv_proto::wire::text::ScreenName;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::info;

pub(crate) use desk::Desk;
pub use key::{RelayKeyError, keep_relay_key, read_relay_key};
pub(crate) use meeting::Meeting;
pub(crate) use roster::Roster;

use crate::config::RelayConfig;
use crate::error::HostError;
use crate::gate::{Gate, GateLimits};
use crate::listener::{accept, addresses, open_or_adopt};
use crate::metrics::Metrics;
use crate::stun::{Missing, Stun};

/// New connections per address.
const CONNECTIONS: Pace = Pace::new(60, Duration::from_secs(3));
/// How long the pairs may go on after the end was asked for.
const FAREWELL: Duration = Duration::from_secs(2);

/// Those who use the host that a relay belongs to. Old clients have no tickets; they are known by name and address (S-37).
pub(crate) trait Residents: Send + Sync {
    /// Whether an account of that name is signed on from there, as [`source`] tells it. Guests are no residents.
    fn is_signed_on(&self, name: &ScreenName, from: Origin) -> bool;
}

/// Where a connection of `peer` to `local` comes from, as far as one client's connections must agree. Of this machine itself it
/// does not matter which of its addresses a client uses.
pub(crate) fn source(peer: SocketAddr, local: SocketAddr) -> Origin {
    let (peer, local) = (peer.ip().to_canonical(), local.ip().to_canonical());
    Origin::of(if peer == local {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    } else {
        peer
    })
}

/// A relay without a host, that listens but does not answer yet.
pub struct Relay {
    metrics: Metrics,
    listeners: Vec<TcpListener>,
    meeting: Meeting,
    desk: Desk,
    stun: Stun,
    stun_missing: Vec<Missing>,
    /// The sockets are somebody else's, and stay open when the relay ends.
    sockets_stay: bool,
}

impl Relay {
    /// Opens the listeners.
    ///
    /// # Errors
    /// [`HostError`]; a relay that is neither open nor has a key to check tickets with is one.
    pub async fn bind(config: RelayConfig) -> Result<Self, HostError> {
        Self::bind_to(config, Vec::new()).await
    }

    /// As [`Relay::bind`], with sockets that listen already where there are some.
    ///
    /// # Errors
    /// As [`Relay::bind`].
    pub async fn bind_to(
        config: RelayConfig,
        sockets: Vec<std::net::TcpListener>,
    ) -> Result<Self, HostError> {
        let sockets_stay = !sockets.is_empty();
        let access = match (config.open, config.ticket_key) {
            (true, _) => Access::Open,
            (false, Some(key)) => Access::Tickets(TicketKey::new(key)),
            (false, None) => return Err(HostError::NoTicketKey),
        };
        let listeners = open_or_adopt(sockets, &config.listen)?;
        let public = config.public_address.map(IpAddr::V4);
        let metrics = Metrics::new();
        let counted = metrics.clone();
        let (stun, stun_missing) =
            Stun::open(listeners.iter(), public, config.stun_limits, counted);
        let (meeting, desk) = Meeting::new(
            access,
            config.limits,
            config.public_address,
            None,
            stun.clone(),
            metrics.clone(),
        );
        Ok(Self {
            metrics,
            listeners,
            meeting,
            desk,
            stun,
            stun_missing,
            sockets_stay,
        })
    }

    /// Where clients connect to, with the ports that the system picked.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        addresses(&self.listeners)
    }

    /// What is counted.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// As [`Host::stun_addrs`](crate::Host::stun_addrs).
    pub fn stun_addrs(&self) -> Vec<SocketAddr> {
        self.stun.local_addrs()
    }

    /// As [`Host::stun_missing`](crate::Host::stun_missing).
    pub fn stun_missing(&self) -> &[(SocketAddr, std::io::Error)] {
        &self.stun_missing
    }

    /// Serves until `shutdown` resolves; pairs get two seconds to end.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        self.run_draining(shutdown, std::future::pending(), Duration::ZERO)
            .await;
    }

    /// Serves until `drain` resolves; then nothing new is begun, and pairs go on until they end or `relay_time` is up. When `end`
    /// resolves, it ends at once.
    pub async fn run_draining(
        self,
        drain: impl Future<Output = ()>,
        end: impl Future<Output = ()>,
        relay_time: Duration,
    ) {
        let (stop, stopped) = watch::channel(false);
        let (close, closed) = watch::channel(false);
        let mut loops = JoinSet::new();
        loops.spawn(self.desk.run(stopped.clone()));
        loops.spawn(self.stun.serve(stopped.clone()));
        for listener in self.listeners {
            loops.spawn(serve(listener, self.meeting.clone(), closed.clone()));
        }
        info!("relay is up");
        let down = async {
            drain.await;
            self.metrics.draining();
            if self.sockets_stay {
                close.send_replace(true);
            }
            self.meeting.drain().await;
            info!("relay begins nothing new");
            timeout(relay_time, self.meeting.idle()).await.ok();
        };
        tokio::select! {
            () = down => {}
            () = end => {}
        }
        close.send_replace(true);
        stop.send_replace(true);
        timeout(FAREWELL, async {
            while loops.join_next().await.is_some() {}
        })
        .await
        .ok();
        info!("relay is down");
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay")
            .field("local_addrs", &self.local_addrs())
            .finish_non_exhaustive()
    }
}

/// Takes connections of one listener.
pub(crate) async fn serve(listener: TcpListener, meeting: Meeting, stop: watch::Receiver<bool>) {
    // How many wait for their first command is for the pairing to count.
    let gate = Gate::new(GateLimits {
        connections: CONNECTIONS,
        per_address: usize::MAX,
        in_all: usize::MAX,
    });
    accept(listener, stop, |stream, peer, arrived| {
        let paced = gate.enter(arrived, peer.ip());
        if paced.is_err() {
            meeting.refuse_connection();
            return None;
        }
        let local = stream.local_addr().ok()?;
        let meeting = meeting.clone();
        Some(async move { meeting.serve(stream, peer, local).await })
    })
    .await;
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "these are the clients")]
mod tests {
    use std::sync::Arc;

    use bytes::BytesMut;
    use rdv_proto::relay::RelayLimits;
    use rdv_proto::responder::ResponderLimits;
    use rdv_proto::wire::ars::{Command, ErrorCode, Frame};
    use rdv_proto::wire::rendezvous::Cookie;
    use rdv_proto::wire::tlv::TlvList;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpSocket, TcpStream};

    use super::*;

    /// Alice is signed on from this machine, and nobody else.
    struct AliceIsHere;

    impl Residents for AliceIsHere {
        fn is_signed_on(&self, name: &ScreenName, from: Origin) -> bool {
            let here = Origin::of(Ipv4Addr::LOCALHOST.into());
            name.normalized() == "alice" && from == here
        }
    }

    /// Says this from that address; the connection and the answer.
    async fn ask(relay: SocketAddr, from: &str, command: Command) -> (TcpStream, Command) {
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind(SocketAddr::new(from.parse().unwrap(), 0))
            .unwrap();
        let mut stream = socket.connect(relay).await.unwrap();
        let frame = Frame::new(command).encode();
        stream.write_all(&frame).await.unwrap();
        let answer = answer(&mut stream).await;
        (stream, answer)
    }

    async fn answer(stream: &mut TcpStream) -> Command {
        let mut read = BytesMut::new();
        loop {
            if let Some(frame) = Frame::decode(&mut read).unwrap() {
                return frame.command;
            }
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
        }
    }

    fn create(name: &str) -> Command {
        Command::Create {
            name: ScreenName::new(name).unwrap(),
            cookie: Cookie(*b"1234567\0"),
            tlvs: TlvList::new(),
        }
    }

    #[tokio::test]
    async fn s_37_an_old_client_is_known_by_its_name_and_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let (meeting, desk) = Meeting::new(
            Access::Tickets(TicketKey::new([7; 32])),
            RelayLimits::default(),
            None,
            Some(Arc::new(AliceIsHere)),
            Stun::open(
                std::iter::once(&listener),
                None,
                ResponderLimits::default(),
                Metrics::new(),
            )
            .0,
            Metrics::new(),
        );
        tokio::spawn(desk.run(stopped.clone()));
        tokio::spawn(serve(listener, meeting, stopped));
        for (name, from) in [("bob", "127.0.0.1"), ("alice", "127.0.0.2")] {
            let (_stream, refused) = ask(address, from, create(name)).await;
            assert_eq!(refused, Command::Error(ErrorCode::BAD_REQUEST), "{name}");
        }
        let (_stream, created) = ask(address, "127.0.0.1", create("Ali Ce")).await;
        let here = Ipv4Addr::LOCALHOST;
        assert!(
            matches!(created, Command::Created { ip, .. } if ip == here),
            "{created:?}"
        );
        drop(stop);
    }

    #[test]
    fn a_client_of_this_machine_may_use_any_of_its_addresses() {
        let source = |peer: &str, local: &str| {
            source(
                SocketAddr::new(peer.parse().unwrap(), 4000),
                SocketAddr::new(local.parse().unwrap(), 5190),
            )
        };
        let here = source("127.0.0.1", "127.0.0.1");
        for (peer, local) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::1", "::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(source(peer, local), here, "{peer}");
        }
        for (peer, local) in [("192.0.2.9", "192.0.2.1"), ("127.0.0.2", "127.0.0.1")] {
            assert_ne!(source(peer, local), here, "{peer}");
        }
        let peer = "::ffff:192.0.2.9";
        assert_eq!(
            source(peer, "::ffff:192.0.2.1"),
            source("192.0.2.9", "198.51.100.1")
        );
    }
}
