//! Sockets of a side, and how it learns its own addresses.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::rendezvous::{
    CandidateKind, ConversationId, Input, LocalCandidate, Mapping, Network, Protocol,
};
use rdv_proto::wire::stun::{Class, Stun};

use super::{NetPair, Parcel, SERVER_PORT, Tick, Use};
use crate::simnet::kinds::Kind;
use crate::simnet::packet::End;

/// What is found out within this goes into the first message.
const BUDGET: Duration = Duration::from_millis(300);
/// When a STUN server is given up.
const STUN_LIFE: Duration = Duration::from_millis(1_500);
/// When a question to a STUN server is repeated.
const STUN_REPEATS: [u64; 3] = [100, 200, 400];

/// The sockets of one generation.
#[derive(Debug)]
pub(super) struct Gathering {
    pub(super) port: u16,
    id: Option<ConversationId>,
    since: Duration,
    udp: [Option<SocketAddr>; 2],
    tcp: [Option<SocketAddr>; 2],
    reported: bool,
    closed: bool,
}

impl Gathering {
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    fn is_complete(&self, now: Duration) -> bool {
        let all = self.udp.iter().chain(&self.tcp).all(Option::is_some);
        all || now >= self.since + STUN_LIFE
    }
}

impl NetPair {
    /// Opens sockets and begins to look for addresses.
    pub(super) fn open_sockets(&mut self, side: usize, generation: u32) {
        let forwarded = self.ground.kinds[side] == Kind::PortFwd;
        let base = if forwarded { 50_010 } else { 40_000 };
        let number = u16::try_from(generation % 40).expect("below 40");
        let port = base + 2 * number + u16::try_from(side).expect("one of two");
        let host = self.sides[side].host;
        self.net.bind(host, port);
        self.net.listen(host, port);
        let gathering = Gathering {
            port,
            id: None,
            since: self.now(),
            udp: [None; 2],
            tcp: [None; 2],
            reported: false,
            closed: false,
        };
        self.sides[side].gatherings.insert(generation, gathering);
        self.ask_stun(side, generation, 0);
        for server in [0, 1] {
            let to = SocketAddr::new(self.net.addresses(self.server)[server], SERVER_PORT);
            if let Some(connection) = self.net.dial(host, port, to) {
                let stun = Use::Stun(generation, server);
                self.sides[side].connections.insert(connection, stun);
            }
        }
        self.post(STUN_LIFE, side, Parcel::Tick(Tick::Report(generation)));
    }

    pub(super) fn gather(&mut self, side: usize, id: ConversationId, generation: u32, fresh: bool) {
        let prepared = self.sides[side].gatherings.contains_key(&generation);
        assert!(!(prepared && fresh), "fresh sockets under an old name");
        if !prepared {
            self.open_sockets(side, generation);
        }
        let now = self.now();
        let Some(gathering) = self.sides[side].gatherings.get_mut(&generation) else {
            return;
        };
        assert!(!gathering.closed, "retired sockets are asked for");
        gathering.id = Some(id);
        let wait = if gathering.is_complete(now) {
            Duration::from_micros(100)
        } else {
            (gathering.since + BUDGET).saturating_sub(now)
        };
        self.post(wait, side, Parcel::Tick(Tick::Report(generation)));
    }

    pub(super) fn close_sockets(&mut self, side: usize, generation: u32) {
        let host = self.sides[side].host;
        if let Some(gathering) = self.sides[side].gatherings.get_mut(&generation) {
            gathering.closed = true;
            let port = gathering.port;
            self.net.unlisten(host, port);
            let used = self.sides[side]
                .lanes
                .values()
                .any(|lane| lane.uses_socket(generation));
            if !used {
                self.net.unbind(host, port);
            }
        }
    }

    pub(super) fn generation_at(&self, side: usize, port: u16) -> Option<u32> {
        let mut gatherings = self.sides[side].gatherings.iter();
        gatherings.find_map(|(generation, open)| (open.port == port).then_some(*generation))
    }

    pub(super) fn conversation_of(&self, side: usize, generation: u32) -> Option<ConversationId> {
        let gathering = self.sides[side].gatherings.get(&generation)?;
        gathering.id.clone().filter(|_| !gathering.closed)
    }

    pub(super) fn port_of(&self, side: usize, generation: u32) -> Option<u16> {
        let gathering = self.sides[side].gatherings.get(&generation)?;
        Some(gathering.port)
    }

    /// Sends from the UDP socket of a generation.
    pub(super) fn send_from(
        &mut self,
        side: usize,
        generation: u32,
        to: SocketAddr,
        ttl: Option<u8>,
        bytes: Bytes,
    ) {
        if let Some(port) = self.port_of(side, generation) {
            self.net.send(self.sides[side].host, port, to, ttl, bytes);
        }
    }

    pub(super) fn ask_stun(&mut self, side: usize, generation: u32, asked: u32) {
        for server in [0, 1] {
            let gathering = &self.sides[side].gatherings[&generation];
            if gathering.closed || gathering.udp[server].is_some() {
                continue;
            }
            let to = SocketAddr::new(self.net.addresses(self.server)[server], SERVER_PORT);
            let ask = Stun::request([u8::try_from(server).unwrap_or(0); 12]).encode();
            self.send_from(side, generation, to, None, ask);
        }
        let pause = usize::try_from(asked).ok();
        if let Some(pause) = pause.and_then(|asked| STUN_REPEATS.get(asked)) {
            let again = Tick::Stun(generation, asked + 1);
            self.post(Duration::from_millis(*pause), side, Parcel::Tick(again));
        }
    }

    pub(super) fn answer_stun(&mut self, to: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        let Ok(request) = Stun::decode(bytes) else {
            return;
        };
        let answer = Stun::new(Class::Success, request.transaction)
            .with_xor_mapped(from)
            .encode();
        self.net.send_as(self.server, to, from, answer);
    }

    pub(super) fn learnt_udp(
        &mut self,
        side: usize,
        generation: u32,
        from: SocketAddr,
        bytes: &[u8],
    ) {
        let Ok(answer) = Stun::decode(bytes) else {
            return;
        };
        let server = self
            .net
            .addresses(self.server)
            .iter()
            .position(|ip| *ip == from.ip());
        let Some(server) = server else { return };
        let Some(gathering) = self.sides[side].gatherings.get_mut(&generation) else {
            return;
        };
        gathering.udp[server] = answer.xor_mapped();
        self.learnt(side, generation);
    }

    /// The server says over TCP how it sees who connected.
    pub(super) fn tell_tcp_reflexive(&mut self, far: End, seen: SocketAddr) {
        let (host, connection) = far;
        let Some(side) = self.side_of(host) else {
            return;
        };
        if let Some(Use::Stun(generation, server)) =
            self.sides[side].connections.get(&connection).copied()
        {
            let tick = Tick::TcpReflexive(generation, server, seen);
            self.post(self.to_server(side), side, Parcel::Tick(tick));
        }
    }

    pub(super) fn learnt_tcp(
        &mut self,
        side: usize,
        generation: u32,
        server: usize,
        seen: SocketAddr,
    ) {
        if let Some(gathering) = self.sides[side].gatherings.get_mut(&generation) {
            gathering.tcp[server] = Some(seen);
            self.learnt(side, generation);
        }
    }

    fn learnt(&mut self, side: usize, generation: u32) {
        let now = self.now();
        let gathering = &self.sides[side].gatherings[&generation];
        let late = gathering.id.is_some() && gathering.reported;
        if late || (gathering.id.is_some() && gathering.is_complete(now)) {
            self.report(side, generation);
        }
    }

    pub(super) fn report(&mut self, side: usize, generation: u32) {
        let now = self.now();
        let Some(gathering) = self.sides[side].gatherings.get_mut(&generation) else {
            return;
        };
        let Some(id) = gathering.id.clone().filter(|_| !gathering.closed) else {
            return;
        };
        gathering.reported = true;
        let complete = gathering.is_complete(now);
        let (port, udp, tcp) = (gathering.port, gathering.udp, gathering.tcp);
        let host = self.sides[side].host;
        let mut candidates = Vec::new();
        let mut add = |address: SocketAddr, kind: CandidateKind, protocol: Protocol| {
            let known =
                |known: &LocalCandidate| known.address == address && known.protocol == protocol;
            if !candidates.iter().any(known) {
                candidates.push(LocalCandidate {
                    address,
                    kind,
                    protocol,
                });
            }
        };
        let both = [Protocol::Udp, Protocol::Tcp];
        for protocol in both {
            for ip in self.net.addresses(host) {
                add((*ip, port).into(), CandidateKind::HOST, protocol);
            }
        }
        let seen = self.net.seen_at(host);
        let forwarded = self.ground.kinds[side] == Kind::PortFwd;
        if let Some(seen) = seen.filter(|_| forwarded) {
            for protocol in both {
                add((seen, port).into(), CandidateKind::FORWARDED, protocol);
            }
        }
        for (protocol, found) in [(Protocol::Udp, udp), (Protocol::Tcp, tcp)] {
            for found in found.into_iter().flatten() {
                add(found, CandidateKind::REFLEXIVE, protocol);
            }
        }
        for protocol in both {
            if let Some(seen) = seen {
                add((seen, port).into(), CandidateKind::VERIFIED, protocol);
            }
        }
        for address in &self.ground.named[side] {
            for protocol in both {
                candidates.push(LocalCandidate {
                    address: *address,
                    kind: CandidateKind::HOST,
                    protocol,
                });
            }
        }
        let own = self.net.addresses(host).to_vec();
        let mapping = |seen: [Option<SocketAddr>; 2]| match seen {
            [Some(first), Some(_)] if own.contains(&first.ip()) => Mapping::Open,
            [Some(first), Some(second)] if first == second => Mapping::Independent,
            [Some(_), Some(_)] => Mapping::Dependent,
            [None, None] if complete => Mapping::Blocked,
            _ => Mapping::Unknown,
        };
        let network = Network {
            udp: mapping(udp),
            tcp: mapping(tcp),
        };
        self.input(
            side,
            Input::Gathered {
                id,
                generation,
                listen_port: Some(port),
                candidates,
                network,
                complete,
            },
        );
    }
}
