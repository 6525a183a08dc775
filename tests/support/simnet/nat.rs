//! One router: translation, filtering, and what it does with packets that nobody asked for.
//!
//! Modelled after the connection tracking of Linux, since that is what the laboratory (and most of the field) runs: a
//! flow is one line inside, outside, remote; a packet belongs to a flow or it is unknown.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::packet::{Packet, Segment, Transport};
use crate::road::Dice;

/// How a router chooses the outside port of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// There is no translation: a firewall.
    Untouched,
    /// The inside port, unless that is taken.
    Kept,
    /// One per inside port, but another number.
    Renumbered,
    /// Another random one for each destination.
    PerDestination,
}

/// From whom packets are let in, beside answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// From everybody, once the mapping exists.
    Open,
    /// From each address that was contacted.
    Address,
    /// From nobody else.
    AddressAndPort,
}

/// What happens to packets that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing.
    Drop,
    /// They are refused.
    Reject,
    /// The router takes them for its own: the port is closed, but the flow is noted, and
    /// whoever sits behind the router does not get that outside port for that remote any more.
    Accept,
}

/// What leaves at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// Everything.
    All,
    /// No datagrams, either way.
    NoUdp,
    /// TCP to port 443 alone.
    OnlyTcp443,
}

/// How a router behaves.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Choice of outside ports.
    pub ports: Ports,
    /// Who gets in.
    pub filter: Filter,
    /// What becomes of the others.
    pub reaction: Reaction,
    /// Outside ports that lead to an inside address, whoever comes.
    pub forwarded: Option<(RangeInclusive<u16>, IpAddr)>,
    /// What leaves.
    pub leaves: Leaves,
    /// How long a flow of datagrams lives without a packet.
    pub udp_life: Duration,
}

impl Default for Behaviour {
    /// The usual home router.
    fn default() -> Self {
        Self {
            ports: Ports::Kept,
            filter: Filter::AddressAndPort,
            reaction: Reaction::Drop,
            forwarded: None,
            leaves: Leaves::All,
            udp_life: Duration::from_secs(30),
        }
    }
}

/// How long TCP flows, and the mappings of filters, live.
const LONG: Duration = Duration::from_secs(300);

/// A router with what it remembers.
#[derive(Debug)]
pub struct Router {
    /// How it behaves. May be changed while packets travel.
    pub behaviour: Behaviour,
    /// Its outside address; a firewall has none.
    pub outside: IpAddr,
    flows: Vec<Flow>,
    /// Outside port to inside address, for filters that let others in.
    mapped: BTreeMap<(Transport, u16), (SocketAddr, Duration)>,
    /// Addresses that were contacted from an outside port.
    contacted: BTreeMap<(Transport, u16, IpAddr), Duration>,
}

#[derive(Debug)]
struct Flow {
    transport: Transport,
    /// `None`: the router itself.
    inside: Option<SocketAddr>,
    outside: SocketAddr,
    remote: SocketAddr,
    until: Duration,
    /// A connection that was reset: only one from inside opens it again.
    reset: bool,
}

/// What becomes of a packet from outside.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on inwards.
    Pass(Packet),
    /// It goes no further, and this is answered.
    Refuse(Option<Packet>),
}

impl Router {
    /// A router that has seen nothing yet.
    pub fn new(behaviour: Behaviour, outside: IpAddr) -> Self {
        Self {
            behaviour,
            outside,
            flows: Vec::new(),
            mapped: BTreeMap::new(),
            contacted: BTreeMap::new(),
        }
    }

    /// All bindings are gone: it was restarted.
    pub fn flush(&mut self) {
        self.flows.clear();
        self.mapped.clear();
        self.contacted.clear();
    }

    /// A packet from inside; `None` if it does not leave.
    pub fn outbound(
        &mut self,
        now: Duration,
        mut packet: Packet,
        dice: &mut Dice,
    ) -> Option<Packet> {
        let transport = packet.transport();
        self.forget_old(now);
        let known = self.flows.iter().position(|flow| {
            flow.transport == transport
                && flow.inside == Some(packet.from)
                && flow.remote == packet.to
        });
        match (self.behaviour.leaves, transport) {
            (Leaves::All, _) | (Leaves::NoUdp, Transport::Tcp) => {}
            (Leaves::OnlyTcp443, Transport::Tcp) if packet.to.port() == 443 => {}
            _ => return None,
        }
        let until = now + self.life(transport);
        let outside = if let Some(flow) = known.and_then(|index| self.flows.get_mut(index)) {
            flow.until = until;
            flow.reset = packet.is(Segment::Rst) || (flow.reset && !packet.is(Segment::Syn));
            flow.outside
        } else {
            let outside = self.choose_outside(transport, packet.from, packet.to, dice);
            self.flows.push(Flow {
                transport,
                inside: Some(packet.from),
                outside,
                remote: packet.to,
                until,
                reset: packet.is(Segment::Rst),
            });
            outside
        };
        if self.behaviour.filter != Filter::AddressAndPort {
            let port = outside.port();
            self.mapped
                .insert((transport, port), (packet.from, now + LONG));
            self.contacted
                .insert((transport, port, packet.to.ip()), now + LONG);
        }
        packet.from = outside;
        Some(packet)
    }

    /// A packet from outside.
    pub fn inbound(&mut self, now: Duration, mut packet: Packet) -> Verdict {
        let transport = packet.transport();
        self.forget_old(now);
        if self.behaviour.leaves == Leaves::NoUdp && transport == Transport::Udp {
            return Verdict::Refuse(None);
        }
        let until = now + self.life(transport);
        let flow = self.flows.iter_mut().find(|flow| {
            flow.transport == transport
                && flow.outside == packet.to
                && flow.remote == packet.from
                && !(flow.reset && packet.is(Segment::Syn))
        });
        if let Some(flow) = flow {
            flow.until = until;
            let Some(inside) = flow.inside else {
                return Verdict::Refuse(packet.refusal());
            };
            flow.reset |= packet.is(Segment::Rst);
            packet.to = inside;
            return Verdict::Pass(packet);
        }
        if let Some(inside) = self.let_in(&packet) {
            let stale = |flow: &Flow| {
                flow.transport == transport
                    && flow.outside == packet.to
                    && flow.remote == packet.from
            };
            self.flows.retain(|flow| !stale(flow));
            self.flows.push(Flow {
                transport,
                inside: Some(inside),
                outside: packet.to,
                remote: packet.from,
                until,
                reset: false,
            });
            packet.to = inside;
            return Verdict::Pass(packet);
        }
        match self.behaviour.reaction {
            Reaction::Drop => Verdict::Refuse(None),
            Reaction::Reject => Verdict::Refuse(packet.refusal()),
            Reaction::Accept => {
                // A connection that the router refuses is over at once, and in nobody's way.
                if transport == Transport::Udp {
                    self.flows.push(Flow {
                        transport,
                        inside: None,
                        outside: packet.to,
                        remote: packet.from,
                        until,
                        reset: false,
                    });
                }
                Verdict::Refuse(packet.refusal())
            }
        }
    }

    /// To whom a packet that belongs to no flow goes all the same.
    fn let_in(&self, packet: &Packet) -> Option<SocketAddr> {
        let (transport, port) = (packet.transport(), packet.to.port());
        let mapped = self
            .mapped
            .get(&(transport, port))
            .map(|(inside, _)| *inside);
        let contacted = (transport, port, packet.from.ip());
        match self.behaviour.filter {
            Filter::Open if mapped.is_some() => return mapped,
            Filter::Address if mapped.is_some() && self.contacted.contains_key(&contacted) => {
                return mapped;
            }
            _ => {}
        }
        let (ports, inside) = self.behaviour.forwarded.as_ref()?;
        ports
            .contains(&port)
            .then_some(SocketAddr::new(*inside, port))
    }

    fn choose_outside(
        &self,
        transport: Transport,
        inside: SocketAddr,
        remote: SocketAddr,
        dice: &mut Dice,
    ) -> SocketAddr {
        let wanted = match self.behaviour.ports {
            Ports::Untouched => return inside,
            Ports::Kept => inside.port(),
            Ports::Renumbered => {
                let mixed = u32::from(inside.port()).wrapping_mul(40_503) >> 4;
                30_000 + u16::try_from(mixed % 20_000).unwrap_or(0)
            }
            Ports::PerDestination => random_port(dice),
        };
        let mut port = wanted;
        while self.is_taken(transport, port, remote) {
            port = random_port(dice);
        }
        SocketAddr::new(self.outside, port)
    }

    fn is_taken(&self, transport: Transport, port: u16, remote: SocketAddr) -> bool {
        self.flows.iter().any(|flow| {
            flow.transport == transport
                && flow.outside.port() == port
                && (flow.remote == remote || self.behaviour.ports == Ports::PerDestination)
        })
    }

    fn life(&self, transport: Transport) -> Duration {
        match transport {
            Transport::Udp => self.behaviour.udp_life,
            Transport::Tcp => LONG,
        }
    }

    fn forget_old(&mut self, now: Duration) {
        self.flows.retain(|flow| flow.until > now);
        self.mapped.retain(|_, (_, until)| *until > now);
        self.contacted.retain(|_, until| *until > now);
    }
}

fn random_port(dice: &mut Dice) -> u16 {
    20_000 + u16::try_from(dice.roll() % 40_000).unwrap_or(0)
}
