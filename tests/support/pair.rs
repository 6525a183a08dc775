//! Two endpoints in one process, a simulated road between them, virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdv_proto::rendezvous::{
    Answer, AttemptError, AttemptId, CandidateKind, Carrier, Config, ConversationId, EndReason,
    Endpoint, Event, Input, LegacySecurity, LocalCandidate, Network, Output, Path, Proposal,
    Protocol, RelayAddress, RelayCandidate, RelayPolicy, Security, Tried,
};
use rdv_proto::trust::{BindCarrier, CodeWords, Randomness, Secret};
use rdv_proto::wire::rendezvous::{Cookie, Message, tag};
use rdv_proto::wire::service::{FileSetKind, NATIVE, SEND_FILE, SendFileData};
use rdv_proto::wire::signal::Signal;
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;

use super::road::{Dice, Relay, RelaySession, RelaySessions, Road, Tcp};

/// The side that usually proposes.
pub const ALICE: usize = 0;
/// The other one.
pub const BOB: usize = 1;

/// One end of a connection: whose, and what that side calls it.
pub type End = (usize, AttemptId);

/// What a side does about a proposal that is put before its user.
#[derive(Clone, Copy, Debug)]
pub enum Decision {
    /// Yes, after a while.
    Accept(Duration),
    /// No, after a while.
    Decline(Duration),
    /// Nothing.
    Ignore,
}

/// One endpoint and what it went through.
pub struct Side {
    /// The machine under test.
    pub endpoint: Endpoint,
    /// Its user's name.
    pub name: ScreenName,
    /// Its address, as everybody sees it.
    pub ip: IpAddr,
    /// What its user does about proposals.
    pub decision: Decision,
    /// What legacy peers are held to.
    pub security: LegacySecurity,
    /// Its use of the relay when it accepts.
    pub relay: RelayPolicy,
    /// Whether it can open a listener.
    pub can_listen: bool,
    /// What became of its attempts.
    pub tried: Vec<Tried>,
    /// Everything else its user was told, and when.
    pub events: Vec<(Duration, Event)>,
    /// Everything it sent, and when.
    pub sent: Vec<(Duration, Signal)>,
    /// Everything it dialled, and when.
    pub dialled: Vec<(Duration, SocketAddr)>,
    /// Whether it was ever asked to open a listener.
    pub gathered: bool,
    listening: BTreeMap<(ConversationId, u32), u16>,
    /// Attempts that it has not been told to drop, and has not dropped.
    open: BTreeSet<AttemptId>,
}

/// Two sides and the road between them.
pub struct Pair {
    /// Virtual time since the beginning.
    pub elapsed: Duration,
    /// Alice and Bob.
    pub sides: [Side; 2],
    /// The road. May be changed in between.
    pub road: Road,
    start: Instant,
    parcels: BTreeMap<(Duration, u64), (usize, Parcel)>,
    serial: u64,
    dice: Dice,
    wires: BTreeMap<End, End>,
    securing: BTreeMap<End, (bool, Security)>,
    secured: BTreeMap<End, Duration>,
    sessions: RelaySessions,
    /// What who creates a relay session takes for the relay's address.
    pub relay_named: SocketAddr,
    port: u16,
}

/// Something on its way to a side.
enum Parcel {
    Input(Box<Input>),
    /// A signal from the other side.
    Signal(Bytes),
    /// A connection from there.
    Knock {
        dialler: End,
        to: SocketAddr,
    },
    /// The far end hung up.
    Gone(AttemptId, AttemptError),
}

impl Parcel {
    fn input(input: Input) -> Self {
        Self::Input(Box::new(input))
    }
}

impl Pair {
    /// Alice and Bob on that road. `seed` decides what the road leaves to chance.
    pub fn new(road: Road, seed: u64) -> Self {
        let side = |name: &str, ip: [u8; 4]| {
            let name = ScreenName::new(name).expect("a good name");
            let config = Config {
                services: [SEND_FILE, NATIVE].into(),
                legacy_security: LegacySecurity::Opportunistic,
                verified: Some(Ipv4Addr::from(ip)),
                relay_known: true,
                infrastructure: vec![relay_address()],
                ..Config::default()
            };
            Side {
                endpoint: Endpoint::new(name.clone(), config),
                name,
                ip: IpAddr::from(ip),
                decision: Decision::Accept(Duration::from_secs(1)),
                security: LegacySecurity::Opportunistic,
                relay: RelayPolicy::Auto,
                can_listen: true,
                tried: Vec::new(),
                events: Vec::new(),
                sent: Vec::new(),
                dialled: Vec::new(),
                gathered: false,
                listening: BTreeMap::new(),
                open: BTreeSet::new(),
            }
        };
        Self {
            elapsed: Duration::ZERO,
            sides: [
                side("alice", [198, 51, 100, 1]),
                side("bob", [203, 0, 113, 2]),
            ],
            road,
            start: Instant::now(),
            parcels: BTreeMap::new(),
            serial: 0,
            dice: Dice::new(seed),
            wires: BTreeMap::new(),
            securing: BTreeMap::new(),
            secured: BTreeMap::new(),
            sessions: RelaySessions::new(),
            relay_named: relay_address(),
            port: 40_000,
        }
    }

    /// The conversation with that number, as a side names it.
    pub fn id(&self, side: usize, number: u64) -> ConversationId {
        ConversationId {
            peer: self.sides[1 - side].name.clone(),
            cookie: cookie(number),
        }
    }

    /// Hands something to a side.
    pub fn input(&mut self, side: usize, input: Input) {
        let now = self.now();
        self.sides[side].endpoint.handle_input(now, input);
        self.drain(side);
    }

    /// Lets something happen to a side later.
    pub fn later(&mut self, delay: Duration, side: usize, input: Input) {
        self.post(delay, side, Parcel::input(input));
    }

    /// A side shows a code and waits.
    pub fn expect(&mut self, side: usize, expectation: u64, code: [&str; 3], relay: RelayPolicy) {
        let random = self.randomness();
        self.input(
            side,
            Input::Expect {
                expectation,
                service: NATIVE,
                secret: words(code),
                key_hash: key_hash(side),
                random,
                relay,
                expires: None,
            },
        );
    }

    /// A side types a code in.
    pub fn propose_code(&mut self, side: usize, number: u64, code: [&str; 3], relay: RelayPolicy) {
        self.propose_native(side, number, Secret::Code(words(code)), relay);
    }

    /// A side proposes to the other by name.
    pub fn propose_native(&mut self, side: usize, number: u64, secret: Secret, relay: RelayPolicy) {
        let random = self.randomness();
        let proposal = Proposal::Native {
            service: NATIVE,
            secret,
            key_hash: key_hash(side),
            random,
        };
        let id = self.id(side, number);
        self.input(
            side,
            Input::Propose {
                id,
                proposal,
                relay,
            },
        );
    }

    /// A side offers a file the old way.
    pub fn propose_file(
        &mut self,
        side: usize,
        number: u64,
        security: LegacySecurity,
        relay: RelayPolicy,
    ) {
        let proposal = Proposal::Legacy {
            service: SEND_FILE,
            service_tags: send_file_tags(),
            security,
        };
        let id = self.id(side, number);
        self.input(
            side,
            Input::Propose {
                id,
                proposal,
                relay,
            },
        );
    }

    /// Alice receives with the code that Bob shows.
    pub fn meet_by_code(road: Road, seed: u64, relay: RelayPolicy) -> Self {
        let mut pair = Self::new(road, seed);
        pair.expect(BOB, 7, ["otter", "lamp", "verse"], relay);
        pair.propose_code(ALICE, 1, ["otter", "lamp", "verse"], relay);
        pair
    }

    /// Jumps to whatever happens next; false once nothing ever will.
    pub fn step(&mut self) -> bool {
        let arrival = self.parcels.keys().next().map(|(at, _)| *at);
        let timer = self
            .sides
            .iter()
            .filter_map(|side| side.endpoint.poll_timeout())
            .min();
        let timer = timer.map(|at| at.saturating_duration_since(self.start));
        let Some(next) = [arrival, timer].into_iter().flatten().min() else {
            return false;
        };
        self.elapsed = self.elapsed.max(next);
        if arrival == Some(next) {
            let (_, (side, parcel)) = self.parcels.pop_first().expect("it was looked at");
            self.deliver(side, parcel);
        } else {
            for side in [ALICE, BOB] {
                self.input(side, Input::Timeout);
            }
            let due = self
                .sides
                .iter()
                .filter_map(|side| side.endpoint.poll_timeout())
                .min();
            assert!(
                due.is_none_or(|due| due > self.now()),
                "a timer that is due stays due"
            );
        }
        true
    }

    /// Runs until nothing will happen any more.
    pub fn run(&mut self) {
        for _ in 0..20_000 {
            if !self.step() {
                return;
            }
        }
        panic!("no end in sight after {:?}", self.elapsed);
    }

    /// Runs for so long.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.elapsed + duration;
        self.post(duration, ALICE, Parcel::input(Input::Timeout));
        while self.elapsed < end && self.step() {}
    }

    /// The lane on which a side was established, when, and by which way.
    pub fn established(&self, side: usize) -> Option<(Duration, AttemptId, Path)> {
        let events = self.sides[side].events.iter();
        let mut lanes = events.filter_map(|(at, event)| match event {
            Event::Established { attempt, path, .. } => Some((*at, *attempt, path.clone())),
            _ => None,
        });
        let lane = lanes.next();
        assert!(lanes.next().is_none(), "two links");
        lane
    }

    /// The lane that a side uses in the end, and by which way.
    pub fn lane(&self, side: usize) -> Option<(AttemptId, Path)> {
        let events = self.sides[side].events.iter().rev();
        let mut lanes = events.filter_map(|(_, event)| match event {
            Event::Established { attempt, path, .. } | Event::Moved { attempt, path, .. } => {
                Some((*attempt, path.clone()))
            }
            _ => None,
        });
        lanes.next()
    }

    /// Why the conversation of a side ended.
    pub fn ended(&self, side: usize) -> Option<EndReason> {
        let events = self.sides[side].events.iter();
        let mut ends = events.filter_map(|(_, event)| match event {
            Event::Ended { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        let end = ends.next();
        assert!(ends.next().is_none(), "ended twice");
        end
    }

    /// Whether a side holds a lane at the end.
    pub fn is_connected(&self, side: usize) -> bool {
        self.established(side).is_some() && self.ended(side).is_none()
    }

    /// Asserts what has to be true once nothing happens any more: one and the same outcome,
    /// nothing left open.
    pub fn assert_settled(&self) {
        if let (Some((alice, _)), Some((bob, _))) = (self.lane(ALICE), self.lane(BOB))
            && self.is_connected(ALICE)
            && self.is_connected(BOB)
        {
            assert_eq!(
                self.wires.get(&(ALICE, alice)),
                Some(&(BOB, bob)),
                "different lanes"
            );
        }
        assert_eq!(
            self.is_connected(ALICE),
            self.is_connected(BOB),
            "two outcomes: {:?}",
            self.story()
        );
        for side in &self.sides {
            let lanes = usize::from(self.is_connected(ALICE));
            assert_eq!(
                side.endpoint.open_attempts(),
                lanes,
                "attempts of {:?}",
                side.name
            );
            assert_eq!(side.open.len(), lanes, "connections of {:?}", side.name);
            assert_eq!(
                side.endpoint.conversations(),
                lanes,
                "conversations of {:?}",
                side.name
            );
            assert_eq!(
                side.endpoint.poll_timeout(),
                None,
                "a timer of {:?}",
                side.name
            );
            let open = side.listening.len();
            assert!(open <= lanes, "{open} listeners of {:?}", side.name);
        }
    }

    /// Runs to the end and asserts that both hold the same lane; says when the later one got it,
    /// and by which way the first side goes.
    pub fn assert_connects(&mut self) -> (Duration, Path) {
        self.run();
        self.assert_settled();
        assert!(
            self.is_connected(ALICE),
            "no connection: {:?}",
            self.story()
        );
        let (alice_at, _, path) = self.established(ALICE).expect("is connected");
        let (bob_at, ..) = self.established(BOB).expect("is connected");
        (alice_at.max(bob_at), path)
    }

    /// Runs to the end and asserts that neither holds a lane; says why each side's ended.
    pub fn assert_fails(&mut self) -> [Option<EndReason>; 2] {
        self.run();
        self.assert_settled();
        assert!(
            !self.is_connected(ALICE),
            "a connection: {:?}",
            self.story()
        );
        [self.ended(ALICE), self.ended(BOB)]
    }

    /// When a user was last told something: late repetitions of messages may travel on after it.
    pub fn last_event(&self) -> Duration {
        let told = self.sides.iter().flat_map(|side| &side.events);
        told.map(|(at, _)| *at).max().unwrap_or_default()
    }

    /// Everything that both users were told, for messages of assertions.
    pub fn story(&self) -> Vec<String> {
        let told = |side: &Side| {
            let name = side.name.as_str().to_owned();
            side.events
                .iter()
                .map(move |(at, event)| format!("{at:?} {name}: {event:?}"))
                .collect::<Vec<_>>()
        };
        self.sides.iter().flat_map(told).collect()
    }

    /// The rendezvous messages that a side sent.
    pub fn messages(&self, side: usize) -> Vec<Message> {
        let sent = self.sides[side].sent.iter();
        let messages = sent.filter_map(|(_, signal)| match signal {
            Signal::Rendezvous(message) => Some(message.clone()),
            Signal::ClientError { .. } => None,
        });
        messages.collect()
    }

    /// The lane in use breaks, for both ends at once.
    pub fn break_lane(&mut self) {
        for side in [ALICE, BOB] {
            let (attempt, _) = self.lane(side).expect("a lane is in use");
            let gone = Parcel::Gone(attempt, AttemptError::Closed);
            self.post(Duration::ZERO, side, gone);
        }
    }

    /// A relay session that waits for the other side dies, as soon as its creator knows of it. False if none waits.
    pub fn relay_session_dies(&mut self) -> bool {
        let mut sessions = self.sessions.iter();
        let Some((&token, session)) = sessions.find(|(_, session)| !session.joined) else {
            return false;
        };
        let (side, attempt) = session.creator;
        self.sessions.remove(&token);
        let gone = Parcel::Gone(attempt, AttemptError::Closed);
        self.post(Duration::from_millis(60), side, gone);
        true
    }

    /// A connection that somebody unknown makes to a listener of that side. False if it has none.
    pub fn knock(&mut self, side: usize, from: SocketAddr) -> bool {
        let Some((id, _)) = self.sides[side].listening.keys().next().cloned() else {
            return false;
        };
        let attempt = self.sides[side].endpoint.new_attempt();
        self.sides[side].open.insert(attempt);
        self.input(
            side,
            Input::Incoming {
                id,
                attempt,
                from,
                carrier: Carrier::Tcp,
            },
        );
        true
    }

    fn now(&self) -> Instant {
        self.start + self.elapsed
    }

    fn randomness(&mut self) -> Randomness {
        randomness(&mut self.dice)
    }

    fn post(&mut self, delay: Duration, side: usize, parcel: Parcel) {
        self.serial += 1;
        self.parcels
            .insert((self.elapsed + delay, self.serial), (side, parcel));
    }

    fn deliver(&mut self, side: usize, parcel: Parcel) {
        match parcel {
            Parcel::Input(input) => {
                // What is reported of an attempt that was dropped meanwhile crossed with the order
                // to drop it; a driver would not report it, but the machine must stand it.
                self.input(side, *input);
            }
            Parcel::Signal(body) => {
                let from = self.sides[1 - side].name.clone();
                self.input(side, Input::Signal { from, body });
            }
            Parcel::Knock { dialler, to } => self.answer_door(side, dialler, to),
            Parcel::Gone(attempt, error) => {
                if self.sides[side].open.remove(&attempt) {
                    self.input(side, Input::Failed { attempt, error });
                }
            }
        }
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
            Output::Gather { id, generation, .. } => self.gather(side, id, generation),
            Output::StopListening { id } => {
                self.sides[side].listening.retain(|(of, _), _| *of != id);
            }
            Output::Retire { id, generation } => {
                self.sides[side].listening.remove(&(id, generation));
            }
            Output::Dial { attempt, to, .. } => self.dial(side, attempt, to),
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
            } => self.nominate((side, attempt), number),
            Output::HangUp { attempt } => self.hang_up(side, attempt),
            Output::Event(event) => self.tell(side, event),
            other => panic!("not known: {other:?}"),
        }
    }

    fn send(&mut self, side: usize, body: Bytes) {
        let signal = Signal::decode(body).expect("what we send can be read");
        self.sides[side].sent.push((self.elapsed, signal.clone()));
        let road = self.road.signalling[side];
        if road.undelivered {
            let to = self.sides[1 - side].name.clone();
            let input = Input::Undelivered {
                to,
                cookie: signal.cookie(),
                code: 4,
            };
            self.post(road.delay, side, Parcel::input(input));
            return;
        }
        let delivered = match &mut self.road.meddler {
            Some(meddler) => meddler(side, signal),
            None => vec![(Duration::ZERO, signal)],
        };
        for (extra, signal) in delivered {
            let signal = if road.adds_verified {
                host_duty(signal, self.sides[side].ip)
            } else {
                signal
            };
            let copies = if self.dice.percent(road.loss_percent) {
                0
            } else {
                1 + usize::from(self.dice.percent(road.twice_percent))
            };
            for _ in 0..copies {
                let delay = road.delay + extra + self.dice.up_to(road.jitter);
                self.post(delay, 1 - side, Parcel::Signal(signal.encode()));
            }
        }
    }

    fn gather(&mut self, side: usize, id: ConversationId, generation: u32) {
        self.sides[side].gathered = true;
        let ip = self.sides[side].ip;
        let port = self.sides[side].can_listen.then(|| {
            self.port += 1;
            self.port
        });
        if let Some(port) = port {
            self.sides[side]
                .listening
                .insert((id.clone(), generation), port);
        }
        let candidates = port.map(|port| LocalCandidate {
            address: (ip, port).into(),
            kind: CandidateKind::HOST,
            protocol: Protocol::Tcp,
        });
        let input = Input::Gathered {
            generation,
            id,
            listen_port: port,
            candidates: candidates.into_iter().collect(),
            network: Network::default(),
            complete: true,
        };
        self.post(self.road.gather_delay, side, Parcel::input(input));
    }

    fn dial(&mut self, side: usize, attempt: AttemptId, to: SocketAddr) {
        self.sides[side].dialled.push((self.elapsed, to));
        self.sides[side].open.insert(attempt);
        if self.road.strangers.contains(&to) {
            self.post(
                self.road.tcp_delay,
                side,
                Parcel::input(Input::Connected { attempt }),
            );
            return;
        }
        let refused = Parcel::Gone(attempt, AttemptError::Refused);
        match self.road.tcp[side] {
            Tcp::Dropped => {}
            Tcp::Open if to.ip() == self.sides[1 - side].ip => {
                self.post(
                    self.road.tcp_delay,
                    1 - side,
                    Parcel::Knock {
                        dialler: (side, attempt),
                        to,
                    },
                );
            }
            Tcp::Open | Tcp::Refused => self.post(self.road.tcp_delay, side, refused),
        }
    }

    fn answer_door(&mut self, side: usize, dialler: End, to: SocketAddr) {
        let (other, dialling) = dialler;
        let listener = self.sides[side]
            .listening
            .iter()
            .find(|(_, port)| **port == to.port());
        let Some(id) = listener.map(|((id, _), _)| id.clone()) else {
            return self.post(
                Duration::ZERO,
                other,
                Parcel::Gone(dialling, AttemptError::Refused),
            );
        };
        let attempt = self.sides[side].endpoint.new_attempt();
        self.sides[side].open.insert(attempt);
        self.connect(dialler, (side, attempt));
        let from = SocketAddr::new(self.sides[other].ip, 50_000);
        self.post(
            Duration::ZERO,
            other,
            Parcel::input(Input::Connected { attempt: dialling }),
        );
        self.input(
            side,
            Input::Incoming {
                id,
                attempt,
                from,
                carrier: Carrier::Tcp,
            },
        );
    }

    fn connect(&mut self, one: End, other: End) {
        self.wires.insert(one, other);
        self.wires.insert(other, one);
    }

    fn relay_create(&mut self, side: usize, attempt: AttemptId, cookie: Option<Cookie>) {
        self.sides[side].open.insert(attempt);
        let Some(delay) = self.relay_answers(side, attempt) else {
            return;
        };
        self.serial += 1;
        let token = u16::try_from(self.serial % 60_000).expect("below the limit");
        let cookie = cookie.map_or_else(|| self.dice.roll().to_be_bytes(), |cookie| cookie.0);
        self.sessions.insert(
            token,
            RelaySession {
                creator: (side, attempt),
                cookie,
                joined: false,
            },
        );
        let relay = RelayCandidate {
            address: RelayAddress::Socket(self.relay_named),
            token,
            cookie: Cookie(cookie),
            ticket: None,
        };
        self.post(
            delay,
            side,
            Parcel::input(Input::RelayCreated { attempt, relay }),
        );
    }

    fn relay_join(&mut self, side: usize, attempt: AttemptId, relay: &RelayCandidate) {
        self.sides[side].open.insert(attempt);
        let Some(delay) = self.relay_answers(side, attempt) else {
            return;
        };
        assert_eq!(
            relay.address,
            RelayAddress::Socket(relay_address()),
            "there is but one relay"
        );
        let session = self.sessions.get_mut(&relay.token);
        let Some(session) =
            session.filter(|session| session.cookie == relay.cookie.0 && !session.joined)
        else {
            return self.post(
                delay,
                side,
                Parcel::Gone(attempt, AttemptError::Relay(0x0D)),
            );
        };
        session.joined = true;
        let creator = session.creator;
        self.connect((side, attempt), creator);
        self.post(delay, side, Parcel::input(Input::Connected { attempt }));
        self.post(
            delay,
            creator.0,
            Parcel::input(Input::Connected { attempt: creator.1 }),
        );
    }

    fn relay_answers(&mut self, side: usize, attempt: AttemptId) -> Option<Duration> {
        let delay = Duration::from_millis(50);
        match self.road.relay {
            Relay::Open(delay) => return Some(delay),
            Relay::Silent => {}
            Relay::Unreachable => self.post(
                delay,
                side,
                Parcel::Gone(attempt, AttemptError::Unreachable),
            ),
            Relay::Error(code) => self.post(
                delay,
                side,
                Parcel::Gone(attempt, AttemptError::Relay(code)),
            ),
        }
        None
    }

    /// Stands for TLS and BIND: works if both ends want the same, and each knows what the other
    /// has to prove.
    fn secure(&mut self, end: End, tls_client: bool, session: Security) {
        self.securing.insert(end, (tls_client, session));
        let Some(&far) = self.wires.get(&end) else {
            return;
        };
        let (Some(near_terms), Some(far_terms)) =
            (self.securing.get(&end), self.securing.get(&far))
        else {
            return;
        };
        let fits = proofs_fit(near_terms, far_terms);
        for (index, (side, attempt)) in [end, far].into_iter().enumerate() {
            // One end knows half a round trip before the other.
            let delay = self.road.proof_delay + self.road.tcp_delay / 2 * u32::from(index == 1);
            match fits {
                Ok(()) => {
                    self.secured.insert((side, attempt), self.elapsed + delay);
                    self.post(
                        delay,
                        side,
                        Parcel::input(Input::Secured {
                            attempt,
                            round_trip: None,
                        }),
                    );
                }
                Err(error) => self.post(delay, side, Parcel::Gone(attempt, error)),
            }
        }
    }

    fn nominate(&mut self, end: End, number: u32) {
        let Some(&(far, attempt)) = self.wires.get(&end) else {
            panic!("a lane without another end")
        };
        // USE comes after what proved the lane.
        let proven = self
            .secured
            .get(&(far, attempt))
            .copied()
            .unwrap_or_default();
        let delay = (self.road.tcp_delay / 2)
            .max(proven.saturating_sub(self.elapsed) + Duration::from_micros(1));
        self.post(
            delay,
            far,
            Parcel::input(Input::Nominated { attempt, number }),
        );
    }

    fn hang_up(&mut self, side: usize, attempt: AttemptId) {
        if !self.sides[side].open.remove(&attempt) {
            return;
        }
        self.sessions
            .retain(|_, session| session.creator != (side, attempt) || session.joined);
        if let Some(&(far, attempt)) = self.wires.get(&(side, attempt)) {
            self.post(
                self.road.tcp_delay / 2,
                far,
                Parcel::Gone(attempt, AttemptError::Closed),
            );
        }
    }

    fn tell(&mut self, side: usize, event: Event) {
        if let Event::Proposed { id, offer } = &event {
            let (id, native) = (id.clone(), offer.service == NATIVE);
            let relay = self.sides[side].relay;
            match self.sides[side].decision {
                Decision::Accept(after) => {
                    let answer = if native {
                        Answer::Native {
                            key_hash: key_hash(side),
                            random: self.randomness(),
                        }
                    } else {
                        Answer::Legacy {
                            security: self.sides[side].security,
                        }
                    };
                    self.later(after, side, Input::Accept { id, answer, relay });
                }
                Decision::Decline(after) => self.later(after, side, Input::Decline { id }),
                Decision::Ignore => {}
            }
        }
        match event {
            Event::Tried { report, .. } => self.sides[side].tried.push(report),
            Event::Told { .. } => {}
            event => self.sides[side].events.push((self.elapsed, event)),
        }
    }
}

/// Whether two ends of a connection agree, and what goes wrong if not.
pub(crate) fn proofs_fit(
    near: &(bool, Security),
    far: &(bool, Security),
) -> Result<(), AttemptError> {
    let ((near_client, near), (far_client, far)) = (near, far);
    match (near, far) {
        (Security::Native(near), Security::Native(far)) => {
            let exporter = [9; 32];
            let proven = near.bind_matches(
                BindCarrier::Tcp,
                0,
                &exporter,
                &far.bind_ours(BindCarrier::Tcp, 0, &exporter),
            ) && far.bind_matches(
                BindCarrier::Tcp,
                0,
                &exporter,
                &near.bind_ours(BindCarrier::Tcp, 0, &exporter),
            ) && near.peer_key_hash() == far.own_key_hash()
                && far.peer_key_hash() == near.own_key_hash();
            if !proven {
                return Err(AttemptError::WrongProof);
            }
        }
        (Security::LegacyTls { .. }, Security::LegacyTls { .. }) => {}
        (Security::Plain { .. }, Security::Plain { .. }) => return Ok(()),
        _ => return Err(AttemptError::NotTls),
    }
    if near_client == far_client {
        Err(AttemptError::Tls)
    } else {
        Ok(())
    }
}

/// Randomness as a driver hands it in.
pub(crate) fn randomness(dice: &mut Dice) -> Randomness {
    let mut bytes = [0; 112];
    for byte in &mut bytes {
        *byte = dice.roll().to_le_bytes()[0];
    }
    let (pake, rest) = bytes.split_first_chunk().expect("64 of 112");
    let (ephemeral, rest) = rest.split_first_chunk().expect("32 of 48");
    let (nonce, _) = rest.split_first_chunk().expect("16 of 16");
    Randomness {
        pake: *pake,
        ephemeral: *ephemeral,
        nonce: *nonce,
    }
}

/// What a host does to a proposal: with tag 0x0003 there, the address that it sees goes into it
/// and, once more, into tag 0x0004 at the very end.
pub fn host_duty(signal: Signal, seen: IpAddr) -> Signal {
    let (Signal::Rendezvous(message), IpAddr::V4(seen)) = (&signal, seen) else {
        return signal;
    };
    if message.sequence().is_none() || message.requester_ip().is_none() {
        return signal;
    }
    edited(message, |params| {
        for tlv in params
            .0
            .iter_mut()
            .filter(|tlv| tlv.tag == tag::REQUESTER_IP)
        {
            tlv.value = Bytes::copy_from_slice(&seen.octets());
        }
        params.push(tag::VERIFIED_IP, seen.octets().to_vec());
    })
}

/// A message with other parameters, as only a host can make one.
pub fn edited(message: &Message, edit: impl FnOnce(&mut TlvList)) -> Signal {
    let mut params = message.params().clone();
    edit(&mut params);
    let mut block = bytes::BytesMut::from(&message.encode()[..26]);
    params.encode_rest(&mut block);
    Signal::Rendezvous(Message::decode(block.freeze()).expect("an edited message can be read"))
}

/// Where the relay of the road is.
pub fn relay_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 80], 5190))
}

/// The cookie with that number.
pub fn cookie(number: u64) -> Cookie {
    Cookie(number.to_be_bytes())
}

/// Three words as a code holds them.
pub fn words(words: [&str; 3]) -> CodeWords {
    CodeWords::new(words).expect("three words")
}

/// The tags of an offer of one file of 43 bytes.
pub fn send_file_tags() -> TlvList {
    let data = SendFileData::new(FileSetKind::ONE_FILE, 1, 43, "fox.txt").expect("a good offer");
    TlvList::new()
        .with(tag::SERVICE_DATA, data.encode())
        .with(tag::FILE_NAME_CHARSET, Bytes::from_static(b"utf-8"))
        .with(
            tag::TOTAL_SIZE,
            Bytes::copy_from_slice(&43_u64.to_be_bytes()),
        )
}

pub(crate) fn key_hash(side: usize) -> [u8; 32] {
    [u8::try_from(side).expect("one of two"); 32]
}
