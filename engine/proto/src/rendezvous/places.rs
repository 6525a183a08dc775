//! Where somebody can be met, and what stands in the way.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::wire::rendezvous::Cookie;

/// The transport protocol that an address is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// A listener.
    Tcp,
    /// The socket on which QUIC runs.
    Udp,
}

/// What a direct connection runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// TLS over TCP: one side listens, the other dials.
    Tcp,
    /// TLS over TCP: both sides dial at once, each from the port of its listener (RFC 9293 3.5).
    TcpOpen,
    /// QUIC.
    Quic,
}

impl Carrier {
    /// What it needs an address for.
    #[must_use]
    pub fn protocol(self) -> Protocol {
        match self {
            Self::Tcp | Self::TcpOpen => Protocol::Tcp,
            Self::Quic => Protocol::Udp,
        }
    }
}

/// One of our own addresses, ready to be dialled by the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalCandidate {
    /// Address and the port behind which our listener or socket is.
    pub address: SocketAddr,
    /// Where it is from.
    pub kind: CandidateKind,
    /// What it is good for.
    pub protocol: Protocol,
}

crate::wire::codec::wire_enum! {
    /// Where an address is from. Travels under the seal.
    pub struct CandidateKind(u8) {
        /// An own interface.
        HOST = 1,
        /// The loopback interface; only of use on one machine.
        LOOPBACK = 2,
        /// A port mapping on the router.
        MAPPED = 3,
        /// Our address as a server outside saw it. Over TCP of use only to those who dial at the
        /// same time as we do.
        REFLEXIVE = 4,
        /// Our address as the host saw it, with our own port: a guess.
        VERIFIED = 5,
        /// A port that the user forwarded.
        FORWARDED = 6,
    }
}

/// How the routers on the way out give ports to one socket of ours. Travels under the seal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mapping {
    /// Not found out.
    #[default]
    Unknown,
    /// The world sees our own address.
    Open,
    /// The same outer port towards everybody (RFC 4787: endpoint-independent).
    Independent,
    /// Another outer port for each destination.
    Dependent,
    /// Nothing comes back.
    Blocked,
}

impl Mapping {
    /// How it travels.
    pub(super) fn to_wire(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Open => 1,
            Self::Independent => 2,
            Self::Dependent => 3,
            Self::Blocked => 4,
        }
    }

    /// Numbers that we do not know say nothing.
    pub(super) fn from_wire(number: u8) -> Self {
        match number {
            1 => Self::Open,
            2 => Self::Independent,
            3 => Self::Dependent,
            4 => Self::Blocked,
            _ => Self::Unknown,
        }
    }
}

/// What stands between the sockets of one generation and the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Of the UDP socket.
    pub udp: Mapping,
    /// Of the listener's port.
    pub tcp: Mapping,
}

/// What a peer needs in order to join a relay session.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayCandidate {
    /// Where the relay listens.
    pub address: RelayAddress,
    /// The port token of CREATED.
    pub token: u16,
    /// The cookie under which the session was created: random in native conversations, the
    /// rendezvous cookie in legacy ones.
    pub cookie: Cookie,
    /// What the host handed out for using the relay; at most 512 bytes.
    pub ticket: Option<Bytes>,
}

impl fmt::Debug for RelayCandidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Token, cookie and ticket together are what lets somebody into the session.
        f.debug_struct("RelayCandidate")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Where a relay listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayAddress {
    /// A literal address.
    Socket(SocketAddr),
    /// A host name of at most 253 bytes, and a port.
    Name {
        /// Resolved by whoever joins.
        host: String,
        /// TCP.
        port: u16,
    },
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}
