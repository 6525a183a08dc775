//! How long the machine takes to bring two sides together: two endpoints in one process, a road with delays between them, virtual
//! time. What is measured is computing alone, both sides together, with all messages encoded and decoded; with a code
//! nearly all of it is the arithmetic of the key exchange, without one it is the machine.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rdv_benches::cadence::nanoseconds;
use rdv_benches::report::headline;
use rdv_benches::{Failure, quick};
use rdv_proto::rendezvous::{
    Answer, AttemptId, CandidateKind, Carrier, Config, ConversationId, Endpoint, Event, Input,
    LegacySecurity, LocalCandidate, Network, Output, Proposal, Protocol, RelayAddress,
    RelayCandidate, RelayPolicy, Subnet,
};
use rdv_proto::trust::{CodeWords, Randomness, Secret};
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::service::{FileSetKind, NATIVE, SEND_FILE, SendFileData};
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::{Tlv, TlvList};

/// One way through the host, and one way between the two machines.
const DELAY: Duration = Duration::from_millis(20);
/// More steps than any of these conversations has.
const STEPS_MAX: usize = 1_000;

fn main() -> Result<(), Failure> {
    headline("Rendezvous of two endpoints, both sides together");
    println!(
        "{:<36} {:>12} {:>12} {:>22} {:>14}",
        "", "µs", "a second", "a second, all cores", "virtual ms"
    );
    row("code, direct", Kind::Code, RelayPolicy::Never)?;
    row("code, relay only", Kind::Code, RelayPolicy::Only)?;
    row("code, both at once", Kind::Code, RelayPolicy::Auto)?;
    row("no code, direct", Kind::NoCode, RelayPolicy::Never)?;
    row(
        "old client, plain, direct",
        Kind::Legacy,
        RelayPolicy::Never,
    )
}

/// Who meets whom, and with what proof.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    NoCode,
    Legacy,
}

fn row(name: &str, kind: Kind, relay: RelayPolicy) -> Result<(), Failure> {
    let took = meet(kind, relay)?;
    let us = nanoseconds(|| meet(kind, relay).is_ok()) / 1e3;
    let all = on_all_cores(kind, relay);
    println!(
        "{name:<36} {us:>12.0} {:>12.0} {all:>22.0} {:>14}",
        1e6 / us,
        took.as_millis()
    );
    Ok(())
}

/// Rendezvous a second when every core does nothing else.
fn on_all_cores(kind: Kind, relay: RelayPolicy) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let long = Duration::from_millis(if quick() { 20 } else { 1_000 });
    let start = Instant::now();
    let count = move || {
        let mut met = 0_u32;
        while start.elapsed() < long {
            met += u32::from(meet(kind, relay).is_ok());
        }
        met
    };
    let workers: Vec<_> = (0..cores).map(|_| std::thread::spawn(count)).collect();
    let met: u32 = workers
        .into_iter()
        .filter_map(|worker| worker.join().ok())
        .sum();
    f64::from(met) / start.elapsed().as_secs_f64()
}

/// Brings two new endpoints together and returns how long that took in virtual time.
fn meet(kind: Kind, relay: RelayPolicy) -> Result<Duration, Failure> {
    let mut world = World::new(relay)?;
    let cookie = Cookie(*b"meetings");
    let [waiting, proposing] = [0, 1];
    let id = world.id(proposing, cookie);
    let native = |secret| Proposal::Native {
        service: NATIVE,
        secret,
        key_hash: [1; 32],
        random: random(3),
    };
    let proposal = match kind {
        Kind::Code => {
            let expect = Input::Expect {
                expectation: 1,
                service: NATIVE,
                secret: words()?,
                key_hash: [2; 32],
                random: random(7),
                relay,
                expires: None,
            };
            world.input(waiting, expect);
            native(Secret::Code(words()?))
        }
        Kind::NoCode => native(Secret::None),
        Kind::Legacy => Proposal::Legacy {
            service: SEND_FILE,
            service_tags: TlvList(vec![Tlv::new(
                0x2711,
                SendFileData::new(FileSetKind::ONE_FILE, 1, 9, "a.txt")?.encode(),
            )]),
            security: LegacySecurity::Plain,
        },
    };
    world.input(
        proposing,
        Input::Propose {
            id,
            proposal,
            relay,
        },
    );
    for _ in 0..STEPS_MAX {
        if world.established == [true, true] {
            return Ok(world.now - world.start);
        }
        if !world.step() {
            break;
        }
    }
    Err("the two sides did not meet".into())
}

/// Two endpoints, the host, a relay and the network between them.
struct World {
    start: Instant,
    now: Instant,
    relay: RelayPolicy,
    sides: [Endpoint; 2],
    names: [ScreenName; 2],
    road: BTreeMap<(Instant, u64), (usize, Input)>,
    parcels: u64,
    /// The two ends of each connection.
    ends: BTreeMap<(usize, AttemptId), (usize, AttemptId)>,
    /// Ends of which TLS and proof were begun.
    securing: Vec<(usize, AttemptId)>,
    /// Who waits at the relay.
    at_relay: Option<(usize, AttemptId)>,
    established: [bool; 2],
}

impl World {
    fn new(relay: RelayPolicy) -> Result<Self, Failure> {
        let names = [
            ScreenName::new("4711")?,
            ScreenName::new("guestabcdefgh23")?,
        ];
        let endpoint = |side: usize| {
            let config = Config {
                services: [NATIVE, SEND_FILE].into(),
                legacy_security: LegacySecurity::Plain,
                interfaces: vec![Subnet {
                    address: address(side).ip(),
                    prefix_bits: 24,
                }],
                relay_known: relay != RelayPolicy::Never,
                ..Config::default()
            };
            Endpoint::new(names[side].clone(), config)
        };
        let sides = [endpoint(0), endpoint(1)];
        let start = Instant::now();
        Ok(Self {
            start,
            now: start,
            relay,
            sides,
            names,
            road: BTreeMap::new(),
            parcels: 0,
            ends: BTreeMap::new(),
            securing: Vec::new(),
            at_relay: None,
            established: [false; 2],
        })
    }

    /// The conversation as `side` names it.
    fn id(&self, side: usize, cookie: Cookie) -> ConversationId {
        ConversationId {
            peer: self.names[1 - side].clone(),
            cookie,
        }
    }

    /// Jumps to whatever happens next; false once nothing ever will.
    fn step(&mut self) -> bool {
        let arrival = self.road.first_key_value().map(|((at, _), _)| *at);
        let timer = |side: usize| self.sides[side].poll_timeout().map(|at| (at, side));
        let timer = [timer(0), timer(1)].into_iter().flatten().min();
        match (arrival, timer) {
            (Some(at), timer) if timer.is_none_or(|(due, _)| at <= due) => {
                self.now = self.now.max(at);
                if let Some((_, (side, input))) = self.road.pop_first() {
                    self.input(side, input);
                }
            }
            (_, Some((due, side))) => {
                self.now = self.now.max(due);
                self.input(side, Input::Timeout);
            }
            _ => return false,
        }
        true
    }

    fn input(&mut self, side: usize, input: Input) {
        self.sides[side].handle_input(self.now, input);
        while let Some(output) = self.sides[side].poll_output() {
            self.carry_out(side, output);
        }
    }

    fn later(&mut self, side: usize, input: Input) {
        self.parcels += 1;
        let at = self.now + DELAY;
        self.road.insert((at, self.parcels), (side, input));
    }

    fn carry_out(&mut self, side: usize, output: Output) {
        let other = 1 - side;
        match output {
            Output::Send { body, .. } => {
                let from = self.names[side].clone();
                self.later(other, Input::Signal { from, body });
            }
            Output::Gather { id, generation, .. } => {
                let own = LocalCandidate {
                    address: address(side),
                    kind: CandidateKind::HOST,
                    protocol: Protocol::Tcp,
                };
                let gathered = Input::Gathered {
                    id,
                    generation,
                    listen_port: Some(own.address.port()),
                    candidates: vec![own],
                    network: Network::default(),
                    complete: true,
                };
                self.sides[side].handle_input(self.now, gathered);
            }
            Output::Dial {
                id, attempt, to, ..
            } if to == address(other) => {
                let accepted = self.sides[other].new_attempt();
                self.join((side, attempt), (other, accepted));
                let id = self.id(other, id.cookie);
                self.later(
                    other,
                    Input::Incoming {
                        id,
                        attempt: accepted,
                        from: address(side),
                        carrier: Carrier::Tcp,
                    },
                );
                self.later(side, Input::Connected { attempt });
            }
            Output::RelayCreate { attempt, .. } => {
                let relay = RelayCandidate {
                    address: RelayAddress::Name {
                        host: "relay.example".into(),
                        port: 5190,
                    },
                    token: 7,
                    cookie: Cookie(*b"relaying"),
                    ticket: None,
                };
                self.at_relay = Some((side, attempt));
                self.later(side, Input::RelayCreated { attempt, relay });
            }
            Output::RelayJoin { attempt, .. } => {
                if let Some(waiting) = self.at_relay.take() {
                    self.join((side, attempt), waiting);
                    self.later(waiting.0, Input::Connected { attempt: waiting.1 });
                    self.later(side, Input::Connected { attempt });
                }
            }
            Output::Secure { attempt, .. } => {
                self.securing.push((side, attempt));
                if let Some(&peer) = self
                    .ends
                    .get(&(side, attempt))
                    .filter(|peer| self.securing.contains(peer))
                {
                    self.later(
                        side,
                        Input::Secured {
                            attempt,
                            round_trip: None,
                        },
                    );
                    self.later(
                        peer.0,
                        Input::Secured {
                            attempt: peer.1,
                            round_trip: None,
                        },
                    );
                }
            }
            Output::Nominate {
                attempt, number, ..
            } => {
                if let Some(&(peer, attempt)) = self.ends.get(&(side, attempt)) {
                    self.later(peer, Input::Nominated { attempt, number });
                }
            }
            Output::Event(Event::Proposed { id, offer }) => {
                let answer = if offer.service == NATIVE {
                    Answer::Native {
                        key_hash: [2; 32],
                        random: random(7),
                    }
                } else {
                    Answer::Legacy {
                        security: LegacySecurity::Plain,
                    }
                };
                self.sides[side].handle_input(
                    self.now,
                    Input::Accept {
                        id,
                        answer,
                        relay: self.relay,
                    },
                );
            }
            Output::Event(Event::Established { .. }) => self.established[side] = true,
            _ => {}
        }
    }

    fn join(&mut self, one: (usize, AttemptId), other: (usize, AttemptId)) {
        self.ends.insert(one, other);
        self.ends.insert(other, one);
    }
}

/// Where a side listens: both are in one network.
fn address(side: usize) -> SocketAddr {
    match side {
        0 => SocketAddr::from(([192, 168, 1, 10], 4000)),
        _ => SocketAddr::from(([192, 168, 1, 11], 4001)),
    }
}

fn words() -> Result<CodeWords, Failure> {
    Ok(CodeWords::new(["otter", "cake", "verse"])?)
}

/// Randomness that is always the same: what is measured must not vary.
fn random(seed: u8) -> Randomness {
    Randomness {
        pake: [seed; 64],
        ephemeral: [seed + 1; 32],
        nonce: [seed + 2; 16],
    }
}
