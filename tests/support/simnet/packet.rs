//! What travels: datagrams, and as much of TCP as opens a connection.

use std::net::SocketAddr;

use bytes::Bytes;

use super::{ConnectionId, HostId};

/// Hops that a packet lives if nobody says otherwise.
pub const TTL: u8 = 64;

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Sender, as it is seen where the packet is.
    pub from: SocketAddr,
    /// Receiver, as it is seen where the packet is.
    pub to: SocketAddr,
    /// Routers that it still passes.
    pub ttl: u8,
    /// What it carries.
    pub load: Load,
}

/// What a packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// A datagram.
    Udp(Bytes),
    /// A segment, and which connection sent it: none if a router or a closed port did. Nothing decides by the latter;
    /// tests find the two ends of a connection by it.
    Tcp(Segment, Option<End>),
}

/// One end of a connection: of which host, and what that calls it.
pub type End = (HostId, ConnectionId);

/// The segments that open a connection, and the one that ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Opens.
    Syn,
    /// Answers an opening.
    SynAck,
    /// Confirms an answer.
    Ack,
    /// Ends at once.
    Rst,
}

/// Transport of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Connections.
    Tcp,
}

impl Packet {
    /// Its transport.
    pub fn transport(&self) -> Transport {
        match self.load {
            Load::Udp(_) => Transport::Udp,
            Load::Tcp(..) => Transport::Tcp,
        }
    }

    /// Whether it is that segment.
    pub fn is(&self, segment: Segment) -> bool {
        matches!(self.load, Load::Tcp(own, _) if own == segment)
    }

    /// What a closed port, or a router that rejects, says to it: for datagrams nothing that matters.
    pub fn refusal(&self) -> Option<Self> {
        let refusable = matches!(self.load, Load::Tcp(segment, _) if segment != Segment::Rst);
        refusable.then_some(Self {
            from: self.to,
            to: self.from,
            ttl: TTL,
            load: Load::Tcp(Segment::Rst, None),
        })
    }
}
