//! `Builder`: what an engine is to be like.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use rdv_proto::rendezvous::RelayPolicy;

use crate::driver::Setup;
use crate::engine::Engine;
use crate::security::PlainPolicy;
use crate::service::Services;
use crate::share::Share;
use crate::signaling::{RelayDirectory, Signaling};
use crate::transport::SocksProxy;
use crate::trust::{Identity, KnownPeers};

/// Collects what an [`Engine`] needs; made by [`Engine::builder`].
pub struct Builder {
    setup: Setup,
}

impl Builder {
    pub(crate) fn new(signaling: Arc<dyn Signaling>) -> Self {
        Self {
            setup: Setup::new(signaling),
        }
    }

    /// Where relays are to be had. Without it there is no relay.
    #[must_use]
    pub fn relays(mut self, relays: impl RelayDirectory) -> Self {
        self.setup.relays = Some(Arc::new(relays));
        self
    }

    /// Whether the relay may, must or must not be used.
    #[must_use]
    pub fn relay_policy(mut self, policy: RelayPolicy) -> Self {
        self.setup.relay_policy = policy;
        self
    }

    /// The key to show to peers. Without it each transfer makes one of its own, so that transfers cannot be linked
    /// (`security.md` 5.1).
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.setup.identity = Some(Arc::new(identity));
        self
    }

    /// Says that the signalling connection ends on this very machine. Only then are loopback candidates offered and dialled
    /// (`security.md` 6.3, filter 3).
    #[must_use]
    pub fn host_on_this_machine(mut self, yes: bool) -> Self {
        self.setup.host_on_this_machine = yes;
        self
    }

    /// Our IPv4 address as the host sees it. A peer with the same one is behind the same router, so that its inner addresses
    /// may be dialled (`security.md` 6.3, filter 4).
    #[must_use]
    pub fn seen_as(mut self, address: Option<std::net::Ipv4Addr>) -> Self {
        self.setup.seen_as = address;
        self
    }

    /// Addresses at which the host and its relay listen; they are never dialled as candidates (`security.md` 6.3, filter 2).
    #[must_use]
    pub fn never_dial(mut self, addresses: impl IntoIterator<Item = std::net::SocketAddr>) -> Self {
        self.setup.never_dial.extend(addresses);
        self
    }

    /// The own address that connections to peers leave from and come in at, instead of all there are. Nothing else of this
    /// machine is told to a peer.
    #[must_use]
    pub fn bind(mut self, address: IpAddr) -> Self {
        self.setup.roads.bind = Some(address);
        self
    }

    /// The ports at which connections of peers come in, UDP and TCP alike; for routers that forward some. Without it any free one.
    #[must_use]
    pub fn ports(mut self, ports: RangeInclusive<u16>) -> Self {
        self.setup.roads.ports = Some(ports);
        self
    }

    /// Where this machine is reached from outside, because somebody forwarded a port by hand. Without a port: the one in use here.
    #[must_use]
    pub fn external(mut self, address: IpAddr, port: Option<u16>) -> Self {
        self.setup.roads.external = Some((address, port));
        self
    }

    /// Whether the router is asked for a port (PCP, NAT-PMP, UPnP). Without it: yes.
    #[must_use]
    pub fn port_mapping(mut self, yes: bool) -> Self {
        self.setup.roads.port_mapping = yes;
        self
    }

    /// Whether UDP is used, and with it QUIC and the opening of ways through NATs. Without it: yes.
    #[must_use]
    pub fn udp(mut self, yes: bool) -> Self {
        self.setup.roads.udp = yes;
        self
    }

    /// Whether peers are connected over TCP: dialled, or let in. Without it: yes. Relays are always reached over TCP, and so are
    /// clients of the old kind, who know nothing else.
    #[must_use]
    pub fn tcp(mut self, yes: bool) -> Self {
        self.setup.roads.tcp = yes;
        self
    }

    /// Connections to peers and relays go through this proxy. Then there are TCP connections that leave, and nothing else: no
    /// listener, no UDP, no own address told.
    #[must_use]
    pub fn socks(mut self, proxy: SocksProxy) -> Self {
        self.setup.roads.socks = Some(proxy);
        self
    }

    /// Whom to ask for our address as seen from outside (STUN, over UDP and TCP). Without it the addresses of
    /// [`Builder::never_dial`], which are those of host and relay: no third party learns that something is transferred.
    #[must_use]
    pub fn stun(mut self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.setup.roads.stun = Some(servers.into_iter().collect());
        self
    }

    /// Nobody is welcome without a code: proposals of others are refused, and one that comes while a code waits uses it up.
    /// For the guests of a host, which binds the number of a code to whoever speaks to it first: nobody else would come.
    #[must_use]
    pub fn codes_only(mut self) -> Self {
        self.setup.codes_only = true;
        self
    }

    /// Which incoming proposals are welcome. Without it: our own kind alone.
    #[must_use]
    pub fn services(mut self, services: Services) -> Self {
        self.setup.services = services;
        self
    }

    /// First proposals of others get no answer of any kind: another session of the same account listens, and answers them.
    #[must_use]
    pub fn only_outgoing(mut self) -> Self {
        self.setup.only_outgoing = true;
        self
    }

    /// Shares a folder with the contacts that the share names, and makes the get-file service one of [`Builder::services`]. Without
    /// it nothing is shared. Connections as with any other old service: TLS, or plain where that is allowed.
    #[must_use]
    pub fn share(mut self, share: Share) -> Self {
        self.setup.share = Some(share);
        self
    }

    /// For whom a transfer with an old client may be neither encrypted nor verified. Without it: nobody (S-01).
    #[must_use]
    pub fn plain(mut self, policy: impl PlainPolicy) -> Self {
        self.setup.plain = Arc::new(policy);
        self
    }

    /// The peers met before, to be checked (S-03, S-07) and added to. Only of use with an identity that lasts, and where names
    /// last, too; transfers with a code do without.
    #[must_use]
    pub fn known_peers(mut self, peers: KnownPeers) -> Self {
        self.setup.known_peers = Some(peers);
        self
    }

    /// Starts the engine on the current tokio runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn build(self) -> Engine {
        Engine::start(self.setup)
    }
}
