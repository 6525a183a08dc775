//! Two endpoints in the simulated network: a driver in virtual time that carries out everything the machine asks for,
//! datagram by datagram where routers decide.
//!
//! Host and relay are one public machine. Messages between the two go through it and are never lost; probes, STUN, QUIC
//! handshakes and the opening of connections are packets of the [simulated network](crate::simnet); what is said on a
//! connection that is up arrives after the delay of its way, later if packets were lost.

mod ground;
mod lanes;
mod outcome;
mod quic;
mod relay;
mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdv_proto::rendezvous::{
    AttemptError, AttemptId, Config, ConversationId, Endpoint, Event, Input, Output, Proposal,
    RelayPolicy, Subnet,
};
use rdv_proto::trust::Secret;
use rdv_proto::wire::service::NATIVE;
use rdv_proto::wire::signal::Signal;
use rdv_proto::wire::stun::is_stun;
use rdv_proto::wire::text::ScreenName;

pub use self::ground::Ground;
use self::lanes::{Lane, Message};
pub use self::quic::STRANGE_QUIC;
use self::relay::Sessions;
use self::site::Gathering;
use crate::pair::{ALICE, BOB, cookie, host_duty, key_hash, randomness, words};
use crate::road::Dice;
use crate::simnet::kinds::Kind;
use crate::simnet::{ConnectionId, HostId, Line, Net, Notice};

/// One end of a lane: whose, and what that side calls it.
pub type End = (usize, AttemptId);

/// Where host, relay and STUN are: the one port that is open from everywhere.
pub const SERVER_PORT: u16 = 443;

/// One endpoint and what it went through.
pub struct NetSide {
    /// The machine under test.
    pub endpoint: Endpoint,
    /// Its user's name.
    pub name: ScreenName,
    /// Its machine.
    pub host: HostId,
    /// Everything its user was told, and when.
    pub events: Vec<(Duration, Event)>,
    /// When it sent messages.
    pub sent: Vec<Duration>,
    relay: RelayPolicy,
    gatherings: BTreeMap<u32, Gathering>,
    lanes: BTreeMap<AttemptId, Lane>,
    connections: BTreeMap<ConnectionId, Use>,
    ephemeral: u16,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug)]
enum Use {
    Attempt(AttemptId),
    /// A question to a STUN server, by generation and server.
    Stun(u32, usize),
}

/// Something on its way to a side.
enum Parcel {
    Input(Box<Input>),
    Signal(Bytes),
    /// On a lane, to that end of it.
    Message(AttemptId, Message),
    /// A side looks after its sockets, its handshakes, its dials.
    Tick(Tick),
}

#[derive(Clone, Copy, Debug)]
enum Tick {
    /// So many questions were asked.
    Stun(u32, u32),
    Report(u32),
    /// That stage of a handshake was sent so often.
    Quic(AttemptId, u8, u32),
    Open(AttemptId),
    TcpReflexive(u32, usize, SocketAddr),
}

/// Two sides and the network between them.
pub struct NetPair {
    /// The network.
    pub net: Net,
    /// The first and the second.
    pub sides: [NetSide; 2],
    /// Whether the relay takes new sessions.
    pub relay_up: bool,
    server: HostId,
    ground: Ground,
    start: Instant,
    parcels: BTreeMap<(Duration, u64), (usize, Parcel)>,
    serial: u64,
    dice: Dice,
    sessions: Sessions,
    /// Ends of lanes that saw the other's proof.
    proofs: BTreeSet<End>,
    /// When both ends of the first lane had.
    both_proven: Option<Duration>,
}

impl NetPair {
    /// Two endpoints on that ground, signed on.
    pub fn new(ground: Ground) -> Self {
        let mut net = Net::new(ground.seed);
        let server = net.add(Kind::Open, Line::default());
        net.set_line(
            net.site(server),
            Line {
                delay: Duration::ZERO,
                ..Line::default()
            },
        );
        net.add_address(server, IpAddr::from([11, 11, 0, 2]));
        net.bind(server, SERVER_PORT);
        net.listen(server, SERVER_PORT);
        let infrastructure: Vec<_> = net
            .addresses(server)
            .iter()
            .map(|ip| SocketAddr::new(*ip, SERVER_PORT))
            .collect();
        let mut hosts = [0; 2];
        for (index, host) in hosts.iter_mut().enumerate() {
            *host = if index == BOB && ground.one_lan {
                let neighbour = IpAddr::from([192, 168, 1, 11]);
                net.add_neighbour(1, neighbour)
            } else {
                net.add(ground.kinds[index], ground.lines[index])
            };
            if ground.ipv6 {
                let number = u16::try_from(index).expect("one of two");
                let address = IpAddr::from([0x2600, 0x12, 0, number + 1, 0, 0, 0, 0x10]);
                net.add_ipv6(*host, address, true);
            }
        }
        let side = |index: usize, name: &str| {
            let name = ScreenName::new(name).expect("a good name");
            let host = hosts[index];
            let interfaces = net.addresses(host).iter().map(|address| Subnet {
                address: *address,
                prefix_bits: if address.is_ipv4() { 24 } else { 64 },
            });
            let config = Config {
                services: [NATIVE].into(),
                interfaces: interfaces.collect(),
                verified: net.seen_at(host),
                relay_known: true,
                infrastructure: infrastructure.clone(),
                ..Config::default()
            };
            NetSide {
                endpoint: Endpoint::new(name.clone(), config),
                name,
                host,
                events: Vec::new(),
                sent: Vec::new(),
                relay: ground.relay[index],
                gatherings: BTreeMap::new(),
                lanes: BTreeMap::new(),
                connections: BTreeMap::new(),
                ephemeral: 33_000,
            }
        };
        let mut pair = Self {
            sides: [side(ALICE, "alice"), side(BOB, "bob")],
            net,
            relay_up: true,
            server,
            dice: Dice::new(ground.seed),
            start: Instant::now(),
            parcels: BTreeMap::new(),
            serial: 0,
            sessions: Sessions::new(),
            proofs: BTreeSet::new(),
            both_proven: None,
            ground,
        };
        if pair.ground.prepared {
            for index in [ALICE, BOB] {
                if pair.sides[index].relay != RelayPolicy::Only {
                    pair.open_sockets(index, 0);
                }
            }
            pair.run_until(Duration::from_secs(2));
        }
        pair
    }

    /// Two that meet on that ground: the second shows a code, the first types it. The second is the controller.
    pub fn meet(ground: Ground) -> Self {
        let mut pair = Self::new(ground);
        pair.introduce();
        pair
    }

    /// The second shows a code, the first types it.
    pub fn introduce(&mut self) {
        let code = ["otter", "lamp", "verse"];
        let random = randomness(&mut self.dice);
        let relay = self.sides[BOB].relay;
        self.input(
            BOB,
            Input::Expect {
                expectation: 7,
                service: NATIVE,
                secret: words(code),
                key_hash: key_hash(BOB),
                random,
                relay,
                expires: None,
            },
        );
        let random = randomness(&mut self.dice);
        let (id, relay) = (self.id(ALICE), self.sides[ALICE].relay);
        let proposal = Proposal::Native {
            service: NATIVE,
            secret: Secret::Code(words(code)),
            key_hash: key_hash(ALICE),
            random,
        };
        self.input(
            ALICE,
            Input::Propose {
                id,
                proposal,
                relay,
            },
        );
    }

    /// The routers of a side forget everything and get another address.
    pub fn renumber(&mut self, side: usize, address: IpAddr) {
        let site = self.net.site(self.sides[side].host);
        if let Some(router) = self.net.routers(site).last_mut() {
            router.flush();
            router.outside = address;
        }
        if let IpAddr::V4(seen) = address {
            self.sides[side].endpoint.config_mut().verified = Some(seen);
        }
    }

    /// The conversation, as a side names it.
    pub fn id(&self, side: usize) -> ConversationId {
        ConversationId {
            peer: self.sides[1 - side].name.clone(),
            cookie: cookie(1),
        }
    }

    /// Virtual time.
    pub fn now(&self) -> Duration {
        self.net.now()
    }

    /// Hands something to a side.
    pub fn input(&mut self, side: usize, input: Input) {
        let now = self.start + self.now();
        self.sides[side].endpoint.handle_input(now, input);
        self.drain(side);
    }

    /// Runs until that time.
    pub fn run_until(&mut self, end: Duration) {
        for _ in 0..1_000_000 {
            if !self.step(end) {
                return;
            }
        }
        panic!("too much happens: {}", self.story());
    }

    /// Runs for so long.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now() + duration);
    }

    /// Runs until both hold a lane, or a side has given up, at most for so long.
    pub fn run_until_met(&mut self, at_most: Duration) {
        let end = self.now() + at_most;
        let settled = |pair: &Self, side| pair.first(side).is_some() || pair.ended(side).is_some();
        while !(settled(self, ALICE) && settled(self, BOB)) {
            if !self.step(end) {
                return;
            }
        }
    }

    /// Does what happens next, if that is not after `end`; false if there is nothing.
    pub fn step(&mut self, end: Duration) -> bool {
        let parcel = self.parcels.keys().next().map(|(at, _)| *at);
        let timers = self
            .sides
            .iter()
            .filter_map(|side| side.endpoint.poll_timeout());
        let timer = timers
            .min()
            .map(|at| at.saturating_duration_since(self.start));
        let packet = self.net.next_at();
        let next = [parcel, timer, packet].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= end) else {
            self.net.advance(end);
            return false;
        };
        if packet == Some(next) {
            for notice in self.net.advance(next) {
                self.notice(notice);
            }
            return true;
        }
        self.net.advance(next);
        if parcel == Some(next) {
            if let Some((_, (side, parcel))) = self.parcels.pop_first() {
                self.deliver(side, parcel);
            }
            return true;
        }
        for side in [ALICE, BOB] {
            self.input(side, Input::Timeout);
            let due = self.sides[side].endpoint.poll_timeout();
            assert!(
                due.is_none_or(|due| due > self.start + next),
                "a timer that is due stays due: {}",
                self.story()
            );
        }
        true
    }

    fn post(&mut self, delay: Duration, side: usize, parcel: Parcel) {
        self.serial += 1;
        let at = self.now() + delay;
        self.parcels.insert((at, self.serial), (side, parcel));
    }

    fn post_input(&mut self, delay: Duration, side: usize, input: Input) {
        self.post(delay, side, Parcel::Input(Box::new(input)));
    }

    /// One way between a side and host, relay, STUN.
    fn to_server(&self, side: usize) -> Duration {
        self.net.delay(self.sides[side].host, self.server)
    }

    fn deliver(&mut self, side: usize, parcel: Parcel) {
        match parcel {
            Parcel::Input(input) => self.input(side, *input),
            Parcel::Signal(body) => {
                let from = self.sides[1 - side].name.clone();
                self.input(side, Input::Signal { from, body });
            }
            Parcel::Message(attempt, message) => self.message(side, attempt, message),
            Parcel::Tick(tick) => self.tick(side, tick),
        }
    }

    fn tick(&mut self, side: usize, tick: Tick) {
        match tick {
            Tick::Stun(generation, asked) => self.ask_stun(side, generation, asked),
            Tick::Report(generation) => self.report(side, generation),
            Tick::Quic(attempt, stage, sent) => self.repeat_quic(side, attempt, stage, sent),
            Tick::Open(attempt) => self.dial_open(side, attempt),
            Tick::TcpReflexive(generation, server, address) => {
                self.learnt_tcp(side, generation, server, address);
            }
        }
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Datagram {
                host,
                to,
                from,
                bytes,
            } if host == self.server => self.answer_stun(to, from, &bytes),
            Notice::Datagram {
                host,
                to,
                from,
                bytes,
            } => {
                let Some(side) = self.side_of(host) else {
                    return;
                };
                let Some(generation) = self.generation_at(side, to.port()) else {
                    return;
                };
                if !is_stun(&bytes) {
                    self.quic_arrives(side, generation, from, &bytes);
                } else if from.port() == SERVER_PORT
                    && self.net.addresses(self.server).contains(&from.ip())
                {
                    self.learnt_udp(side, generation, from, &bytes);
                } else if let Some(id) = self.conversation_of(side, generation) {
                    self.input(
                        side,
                        Input::Datagram {
                            id,
                            generation,
                            from,
                            bytes,
                        },
                    );
                }
            }
            Notice::Connected {
                host,
                connection,
                far,
            } => {
                if let Some(side) = self.side_of(host) {
                    self.connected(side, connection, far);
                }
            }
            Notice::Accepted {
                host,
                connection,
                to,
                from,
                far,
            } => {
                if host == self.server {
                    self.tell_tcp_reflexive(far, from);
                } else if let Some(side) = self.side_of(host) {
                    self.accepted(side, connection, to.port(), from, far);
                }
            }
            Notice::Refused { host, connection } => {
                if let Some(side) = self.side_of(host) {
                    self.refused(side, connection);
                }
            }
        }
    }

    fn side_of(&self, host: HostId) -> Option<usize> {
        self.sides.iter().position(|side| side.host == host)
    }

    fn drain(&mut self, side: usize) {
        while let Some(output) = self.sides[side].endpoint.poll_output() {
            self.carry_out(side, output);
        }
    }

    fn carry_out(&mut self, side: usize, output: Output) {
        match output {
            Output::Send { to, body, .. } => {
                assert_eq!(to, self.sides[1 - side].name);
                self.send(side, body);
            }
            Output::Gather {
                id,
                generation,
                fresh,
                ..
            } => self.gather(side, id, generation, fresh),
            Output::Retire { generation, .. } => self.close_sockets(side, generation),
            Output::StopListening { .. } => {
                let all: Vec<_> = self.sides[side].gatherings.keys().copied().collect();
                for generation in all {
                    self.close_sockets(side, generation);
                }
            }
            Output::Dial {
                attempt,
                generation,
                to,
                carrier,
                ..
            } => self.dial(side, attempt, generation, to, carrier),
            Output::Probe {
                generation,
                to,
                ttl,
                datagram,
                ..
            } => self.send_from(side, generation, to, ttl, datagram),
            Output::RelayCreate {
                attempt, cookie, ..
            } => self.relay_create(side, attempt, cookie),
            Output::RelayJoin { attempt, relay, .. } => self.relay_join(side, attempt, &relay),
            Output::Secure {
                attempt,
                tls_client,
                session,
                ..
            } => self.secure((side, attempt), tls_client, session),
            Output::Nominate {
                attempt, number, ..
            } => self.say((side, attempt), Message::Use(number)),
            Output::HangUp { attempt } => self.hang_up(side, attempt),
            Output::Event(event) => {
                let now = self.now();
                let taken = match &event {
                    Event::Established { attempt, .. } | Event::Moved { attempt, .. } => {
                        Some(*attempt)
                    }
                    _ => None,
                };
                self.sides[side].events.push((now, event));
                if let Some(attempt) = taken {
                    self.taken(side, attempt);
                }
            }
            other => panic!("not known: {other:?}"),
        }
    }

    fn send(&mut self, side: usize, body: Bytes) {
        let now = self.now();
        self.sides[side].sent.push(now);
        let signal = Signal::decode(body).expect("what we send can be read");
        let seen = self.net.seen_at(self.sides[side].host);
        let signal = match seen {
            Some(seen) => host_duty(signal, seen.into()),
            None => signal,
        };
        let delay = self.to_server(side) + self.to_server(1 - side) + self.ground.skew[side];
        let copies = 1 + usize::from(self.dice.percent(self.ground.twice_percent));
        for _ in 0..copies {
            let jitter = self.dice.up_to(self.ground.jitter);
            self.post(delay + jitter, 1 - side, Parcel::Signal(signal.encode()));
        }
    }

    /// A side is told that an attempt failed, if it still knows it.
    fn fail(&mut self, side: usize, attempt: AttemptId, error: AttemptError) {
        if self.forget(side, attempt) {
            self.input(side, Input::Failed { attempt, error });
        }
    }
}
