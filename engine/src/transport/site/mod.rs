//! The place where a conversation meets its peer: its sockets, and all that is known of how to reach them from outside.
//!
//! A [`Site`] opens its sockets at once and gathers in a task of its own: interfaces, what host and relay see (STUN), port mappings.
//! Nothing goes to anybody else (S-11), and nothing is told to a peer here: what is found goes up in [`SiteEvent::Found`]. One site
//! is one generation of candidates.

mod accept;
mod dialer;
mod found;
mod gatherer;
mod open;
mod sockets;
mod stun;
mod stun_tcp;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use rdv_proto::rendezvous::{LocalCandidate, Network};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use self::accept::AcceptLoops;
pub(crate) use self::accept::Doors;
pub(crate) use self::dialer::Dialer;
use self::dialer::Exits;
use self::gatherer::{Gatherer, Stage};
use self::open::Crossings;
use self::sockets::Wanted;
use super::network::GatherReport;
use super::proxy::SocksProxy;
use super::quic::{Datagram, Datagrams, QuicIncoming, QuicSocket};

/// Datagrams that wait to be fetched; more are dropped, as in any socket's buffer.
const DATAGRAMS_WAITING: usize = 64;
/// Connections that wait to be fetched; more wait in the system's queue.
const CONNECTIONS_WAITING: usize = 8;

/// How the user wants to be reached, and who may be asked.
#[derive(Debug, Clone)]
pub(crate) struct SiteOptions {
    /// Our own address, and with it the family (`--bind`).
    pub(crate) bind: Option<IpAddr>,
    /// The ports to listen on, UDP and TCP alike (`--port`). They count as forwarded.
    pub(crate) ports: Option<RangeInclusive<u16>>,
    /// Where the world reaches us (`--external`); without a port it is our own one.
    pub(crate) external: Option<(IpAddr, Option<u16>)>,
    /// Whether peers on this machine are told loopback addresses.
    pub(crate) loopback: bool,
    /// Whether addresses are gathered at all; otherwise we only listen.
    pub(crate) addresses: bool,
    /// Where host and relay answer STUN, over UDP and TCP.
    pub(crate) stun: Vec<SocketAddr>,
    /// Our address as the host sees it.
    pub(crate) verified: Option<IpAddr>,
    /// Whether the gateway is asked for mappings.
    pub(crate) port_mapping: bool,
    /// Whether UDP is used at all.
    pub(crate) udp: bool,
    /// The proxy that everything goes through. Then there are neither listeners nor UDP.
    pub(crate) socks: Option<SocksProxy>,
}

impl Default for SiteOptions {
    fn default() -> Self {
        Self {
            bind: None,
            ports: None,
            external: None,
            loopback: false,
            addresses: true,
            stun: Vec::new(),
            verified: None,
            port_mapping: true,
            udp: true,
            socks: None,
        }
    }
}

/// What happens at a site.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "handed on once, and few wait at a time"
)]
pub(crate) enum SiteEvent {
    /// More is known of how to reach us, or something else.
    Found(Found),
    /// Something that looks like STUN came to the UDP socket and is no answer of a server.
    Datagram(Datagram),
    /// The listener accepted a connection.
    Tcp {
        /// As it came.
        stream: TcpStream,
        /// The other end.
        from: SocketAddr,
    },
    /// Somebody wants to connect over QUIC.
    Quic(QuicIncoming),
}

/// All that was found so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The port of the listener.
    pub(crate) listen_port: Option<u16>,
    /// Own candidates, best first.
    pub(crate) candidates: Vec<LocalCandidate>,
    /// What is between us and the world.
    pub(crate) network: Network,
    /// Whether everybody who was asked has answered or was given up. Something may change later all the same.
    pub(crate) complete: bool,
}

/// The sockets of one generation of a conversation. Dropped, all is closed, and mappings are released in the background; lanes that
/// stand on its sockets stay up. [`close`](Self::close) waits for the release.
#[derive(Debug)]
pub(crate) struct Site {
    dialer: Dialer,
    found: watch::Receiver<Option<Found>>,
    datagrams: mpsc::Receiver<Datagram>,
    connections: mpsc::Receiver<SiteEvent>,
    report: Arc<Mutex<GatherReport>>,
    stage: watch::Sender<Stage>,
    accepting: AcceptLoops,
    task: JoinHandle<()>,
}

impl Site {
    /// Opens the sockets and begins to gather. Within a runtime of tokio only.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] if all ports that the user allowed are taken, else what the system reports if there is not one
    /// socket to be had.
    pub(crate) fn open(options: SiteOptions) -> io::Result<Self> {
        let mut listeners = Vec::new();
        let mut udp = Vec::new();
        let mut arriving: Vec<Datagrams> = Vec::new();
        if options.socks.is_none() {
            let wanted = Wanted {
                bind: options.bind,
                ports: options.ports.clone(),
                tcp: true,
                udp: options.udp,
            };
            let sockets = wanted.open()?;
            listeners = sockets.listeners;
            for socket in sockets.udp {
                let (socket, datagrams) = QuicSocket::new(socket)?;
                udp.push(socket);
                arriving.push(datagrams);
            }
        }
        let crossings = Crossings::default();
        let addresses: io::Result<Vec<SocketAddr>> =
            listeners.iter().map(|one| one.local_addr()).collect();
        let exits = Arc::new(Exits {
            listeners: addresses?,
            udp,
            crossings: crossings.clone(),
        });
        let (connected, connections) = mpsc::channel(CONNECTIONS_WAITING);
        let accepting = AcceptLoops::start(listeners, &exits.udp, &crossings, &connected);
        let (datagram, datagrams) = mpsc::channel(DATAGRAMS_WAITING);
        let (tell, found) = watch::channel(None);
        let (stage, heard) = watch::channel(Stage::Gathering);
        let report = Arc::default();
        let gatherer = Gatherer::new(options, Arc::clone(&exits), tell, Arc::clone(&report));
        Ok(Self {
            dialer: Dialer(exits),
            found,
            datagrams,
            connections,
            report,
            stage,
            accepting,
            task: tokio::spawn(gatherer.run(arriving, datagram, heard)),
        })
    }

    /// The next thing that happens. Cancel-safe; never ends.
    pub(crate) async fn next(&mut self) -> SiteEvent {
        tokio::select! {
            biased;
            Ok(()) = self.found.changed() => {
                let found = self.found.borrow_and_update().clone();
                SiteEvent::Found(found.unwrap_or_default())
            }
            Some(datagram) = self.datagrams.recv() => SiteEvent::Datagram(datagram),
            Some(event) = self.connections.recv() => event,
            // Retired: all that could say something has ended.
            else => std::future::pending().await,
        }
    }

    /// The ways in.
    pub(crate) fn doors(&self) -> Doors {
        self.accepting.doors()
    }

    /// The ways out.
    pub(crate) fn dialer(&self) -> Dialer {
        self.dialer.clone()
    }

    /// How the gathering went so far.
    pub(crate) fn report(&self) -> GatherReport {
        let report = self.report.lock();
        report.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes the listeners and asks nobody any more, while the mappings, which lanes may stand on, are kept until the site is closed
    /// or dropped.
    pub(crate) fn retire(&mut self) {
        self.accepting.stop();
        for socket in &self.dialer.0.udp {
            socket.stop_listening();
        }
        self.connections.close();
        self.stage.send_replace(Stage::Retired);
    }

    /// Closes everything and waits until the mappings are released, which takes 3 s at the most.
    pub(crate) async fn close(self) {
        let Self { stage, task, .. } = self;
        drop(stage);
        let _ = task.await;
    }
}

#[cfg(test)]
mod tests;
