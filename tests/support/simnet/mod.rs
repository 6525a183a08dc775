//! A small Internet in virtual time: hosts, the routers before them, datagrams and the opening of connections.
//!
//! It models what decides whether two hosts reach each other, and nothing else: translation and filtering, what routers do
//! with packets that nobody asked for, hops, delay, loss, reordering. That it is like the laboratory
//! (`netlab`) is tested: it reproduces the table measured there.
//!
//! The way from a host to another: its routers, its access network, the core, the other's access network, its routers.
//! Enough hops that a packet of four leaves one's own routers and does not reach the other's.

pub mod kinds;
pub mod nat;
pub mod packet;
mod route;
mod tcp;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use self::kinds::Kind;
use self::nat::{Behaviour, Router};
use self::packet::{End, Load, Packet, Segment, TTL};
use self::tcp::Connections;
use crate::road::Dice;

pub use self::tcp::ConnectionId;

/// Names a host.
pub type HostId = usize;
/// Names a place: hosts behind the same routers.
pub type SiteId = usize;

/// Access network, core, access network.
const HOPS_BETWEEN: u8 = 3;
/// One way inside one network.
const LAN_DELAY: Duration = Duration::from_micros(200);

/// How good the line of a site is.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// One way, from the host to the core.
    pub delay: Duration,
    /// Up to this much is added at random: packets overtake each other.
    pub jitter: Duration,
    /// Of 100 packets so many are lost, in each direction.
    pub loss_percent: u32,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(20),
            jitter: Duration::ZERO,
            loss_percent: 0,
        }
    }
}

/// Hosts behind the same routers.
#[derive(Debug)]
struct Site {
    line: Line,
    /// For IPv4, the hosts' first.
    routers: Vec<Router>,
    /// For IPv6: a firewall, or nothing.
    firewall: Option<Router>,
    down: bool,
}

/// A machine.
#[derive(Debug)]
struct Host {
    site: SiteId,
    addresses: Vec<IpAddr>,
    /// Ports at which datagrams are taken.
    bound: BTreeSet<u16>,
    connections: Connections,
}

/// What a host notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A datagram came in.
    Datagram {
        /// To which host.
        host: HostId,
        /// To which address of it.
        to: SocketAddr,
        /// From where, as the host sees it.
        from: SocketAddr,
        /// What it says.
        bytes: Bytes,
    },
    /// A connection that the host dialled is up.
    Connected {
        /// Which host.
        host: HostId,
        /// What it calls it.
        connection: ConnectionId,
        /// The other end.
        far: End,
    },
    /// A connection came in at a listener, and is up.
    Accepted {
        /// Which host.
        host: HostId,
        /// What it calls it.
        connection: ConnectionId,
        /// At which address of it.
        to: SocketAddr,
        /// From where, as the host sees it.
        from: SocketAddr,
        /// The other end.
        far: End,
    },
    /// A connection was refused, or reset.
    Refused {
        /// Which host.
        host: HostId,
        /// What it calls it.
        connection: ConnectionId,
    },
}

/// A packet that a host sent, for those who watch.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When.
    pub at: Duration,
    /// By which host.
    pub host: HostId,
    /// What it was when it left the host.
    pub packet: Packet,
}

/// The network.
#[derive(Debug)]
pub struct Net {
    now: Duration,
    sites: Vec<Site>,
    hosts: Vec<Host>,
    /// In the core, with the site that they came from; or inside a site.
    travelling: BTreeMap<(Duration, u64), Travelling>,
    serial: u64,
    dice: Dice,
    /// Every packet that any host sent.
    pub sent: Vec<Sent>,
}

#[derive(Debug)]
enum Travelling {
    /// It arrives at the outermost router of that site.
    Core(SiteId, Packet),
    /// It arrives at a host of that site.
    Inside(SiteId, Packet),
    /// A host looks at its connections.
    Timer(HostId),
}

impl Net {
    /// An empty network. `seed` decides what is left to chance.
    pub fn new(seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            sites: Vec::new(),
            hosts: Vec::new(),
            travelling: BTreeMap::new(),
            serial: 0,
            dice: Dice::new(seed ^ 0x51E7),
            sent: Vec::new(),
        }
    }

    /// A site of that kind with one host. Sites are numbered from 0; site `n` is seen at 11.11.n.1.
    pub fn add(&mut self, kind: Kind, line: Line) -> HostId {
        let number = u8::try_from(self.sites.len()).expect("a small Internet");
        let outside = IpAddr::from([11, 11, number, 1]);
        let host = if kind == Kind::InBlocked {
            IpAddr::from([11, 12, number, 10])
        } else if kind.is_public() {
            outside
        } else {
            IpAddr::from([192, 168, number, 10])
        };
        let routers = kind.routers(host);
        let carrier = routers.len() > 1;
        let last = routers.len().saturating_sub(1);
        let between = IpAddr::from([100, 64, number, 2]);
        let routers = routers.into_iter().enumerate().map(|(index, behaviour)| {
            let own = if carrier && index < last {
                between
            } else {
                outside
            };
            Router::new(behaviour, own)
        });
        self.sites.push(Site {
            line,
            routers: routers.collect(),
            firewall: None,
            down: false,
        });
        self.add_host(self.sites.len() - 1, host)
    }

    /// Another host in the network of that one.
    pub fn add_neighbour(&mut self, of: HostId, address: IpAddr) -> HostId {
        let site = self.hosts[of].site;
        self.add_host(site, address)
    }

    /// Gives a host another address of its own.
    pub fn add_address(&mut self, host: HostId, address: IpAddr) {
        self.hosts[host].addresses.push(address);
    }

    /// Gives a host an IPv6 address, behind a stateful firewall or not.
    pub fn add_ipv6(&mut self, host: HostId, address: IpAddr, firewall: bool) {
        let site = self.hosts[host].site;
        self.hosts[host].addresses.push(address);
        self.sites[site].firewall = firewall.then(|| {
            let behaviour = Behaviour {
                ports: nat::Ports::Untouched,
                ..Behaviour::default()
            };
            Router::new(behaviour, address)
        });
    }

    fn add_host(&mut self, site: SiteId, address: IpAddr) -> HostId {
        self.hosts.push(Host {
            site,
            addresses: vec![address],
            bound: BTreeSet::new(),
            connections: Connections::default(),
        });
        self.hosts.len() - 1
    }

    /// Where a host is.
    pub fn site(&self, host: HostId) -> SiteId {
        self.hosts[host].site
    }

    /// Its own addresses.
    pub fn addresses(&self, host: HostId) -> &[IpAddr] {
        &self.hosts[host].addresses
    }

    /// The IPv4 address at which the world sees a site.
    pub fn seen_at(&self, host: HostId) -> Option<Ipv4Addr> {
        let site = &self.sites[self.hosts[host].site];
        let router = site.routers.last();
        let routed = router.filter(|router| router.behaviour.ports != nat::Ports::Untouched);
        let own = || {
            self.hosts[host]
                .addresses
                .iter()
                .copied()
                .find(IpAddr::is_ipv4)
        };
        match routed.map(|router| router.outside).or_else(own) {
            Some(IpAddr::V4(seen)) => Some(seen),
            _ => None,
        }
    }

    /// The routers of a site, the hosts' first: to change or restart them.
    pub fn routers(&mut self, site: SiteId) -> &mut [Router] {
        &mut self.sites[site].routers
    }

    /// Takes a site from the net, silently, or puts it back.
    pub fn set_down(&mut self, site: SiteId, down: bool) {
        self.sites[site].down = down;
    }

    /// Gives a site another line.
    pub fn set_line(&mut self, site: SiteId, line: Line) {
        self.sites[site].line = line;
    }

    /// One way between two hosts, without jitter.
    pub fn delay(&self, a: HostId, b: HostId) -> Duration {
        let (a, b) = (self.hosts[a].site, self.hosts[b].site);
        if a == b {
            LAN_DELAY
        } else {
            self.sites[a].line.delay + self.sites[b].line.delay
        }
    }

    /// Virtual time.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// A host takes datagrams at that port from now on.
    pub fn bind(&mut self, host: HostId, port: u16) {
        self.hosts[host].bound.insert(port);
    }

    /// And no longer.
    pub fn unbind(&mut self, host: HostId, port: u16) {
        self.hosts[host].bound.remove(&port);
    }

    /// A host takes connections at that port from now on.
    pub fn listen(&mut self, host: HostId, port: u16) {
        self.hosts[host].connections.listen(port);
    }

    /// And no longer.
    pub fn unlisten(&mut self, host: HostId, port: u16) {
        self.hosts[host].connections.unlisten(port);
    }

    /// Sends a datagram. Nothing happens if the host has no address of that family.
    pub fn send(&mut self, host: HostId, port: u16, to: SocketAddr, ttl: Option<u8>, bytes: Bytes) {
        if let Some(from) = self.own_address(host, to, port) {
            let packet = Packet {
                from,
                to,
                ttl: ttl.unwrap_or(TTL),
                load: Load::Udp(bytes),
            };
            self.leave_host(host, packet);
        }
    }

    /// Opens a connection. `None`: there is no address of that family, or one from there to there is open already.
    pub fn dial(&mut self, host: HostId, port: u16, to: SocketAddr) -> Option<ConnectionId> {
        let from = self.own_address(host, to, port)?;
        let now = self.now;
        let connection = self.hosts[host].connections.dial(now, from, to)?;
        self.after_tcp(host);
        Some(connection)
    }

    /// Ends a connection; the other end gets a reset.
    pub fn close(&mut self, host: HostId, connection: ConnectionId) {
        self.hosts[host].connections.close(connection);
        self.after_tcp(host);
    }

    /// Drops a connection without a word.
    pub fn forget(&mut self, host: HostId, connection: ConnectionId) {
        self.hosts[host].connections.forget(connection);
    }

    /// Sends a datagram from one of several addresses of a host.
    pub fn send_as(&mut self, host: HostId, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        let packet = Packet {
            from,
            to,
            ttl: TTL,
            load: Load::Udp(bytes),
        };
        self.leave_host(host, packet);
    }

    /// When something happens next.
    pub fn next_at(&self) -> Option<Duration> {
        self.travelling.keys().next().map(|(at, _)| *at)
    }

    /// Moves on to that time, at most to what happens next; says what hosts notice.
    pub fn advance(&mut self, to: Duration) -> Vec<Notice> {
        let Some((at, _)) = self
            .travelling
            .keys()
            .next()
            .copied()
            .filter(|(at, _)| *at <= to)
        else {
            self.now = self.now.max(to);
            return Vec::new();
        };
        self.now = self.now.max(at);
        let Some((_, travelling)) = self.travelling.pop_first() else {
            return Vec::new();
        };
        match travelling {
            Travelling::Core(site, packet) => self.enter_site(site, packet),
            Travelling::Inside(site, packet) => return self.reach(site, packet),
            Travelling::Timer(host) => {
                let now = self.now;
                let refused = self.hosts[host].connections.due(now);
                self.after_tcp(host);
                let notice = |connection| Notice::Refused { host, connection };
                return refused.into_iter().map(notice).collect();
            }
        }
        Vec::new()
    }

    fn own_address(&self, host: HostId, to: SocketAddr, port: u16) -> Option<SocketAddr> {
        let mut own = self.hosts[host].addresses.iter();
        let ip = own.find(|own| own.is_ipv4() == to.is_ipv4())?;
        Some(SocketAddr::new(*ip, port))
    }

    /// Sends what the connections of a host want to send, and sets their timer.
    fn after_tcp(&mut self, host: HostId) {
        while let Some((from, to, segment, by)) = self.hosts[host].connections.poll_send() {
            let packet = Packet {
                from,
                to,
                ttl: TTL,
                load: Load::Tcp(segment, by.map(|by| (host, by))),
            };
            self.leave_host(host, packet);
        }
        if let Some(due) = self.hosts[host].connections.next_due() {
            let delay = due.saturating_sub(self.now);
            self.post(delay, Travelling::Timer(host));
        }
    }

    fn post(&mut self, delay: Duration, travelling: Travelling) {
        self.serial += 1;
        self.travelling
            .insert((self.now + delay, self.serial), travelling);
    }
}

impl Segment {
    /// Whether it asks for something, so that a closed port answers.
    fn is_refused(self) -> bool {
        matches!(self, Self::Syn | Self::SynAck)
    }
}
