//! Our side in the place of one party: the machine of the rendezvous and those of OFT in virtual time. The recording answers: what it
//! has no answer to stays unanswered.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rdv_proto::rendezvous::{
    Answer, AttemptError, AttemptId, CandidateKind, Carrier, Config, ConversationId, Endpoint,
    Event, Input, LegacySecurity, LocalCandidate, Network, Offer, Output, Proposal, Protocol,
    RelayAddress, RelayCandidate, Security, Subnet,
};
use rdv_proto::transfer::oft::OftTotals;
use rdv_proto::wire::ars;
use rdv_proto::wire::oft::Checksum;
use rdv_proto::wire::rendezvous::{CancelReason, MessageKind};
use rdv_proto::wire::service::{SEND_FILE, SendFileOffer};
use rdv_proto::wire::signal::Signal;
use rdv_proto::wire::tlv::{Tlv, TlvList};

use super::files::{Files, Over, Side, Wish, pattern_checksum};
use super::script::{Arrival, Created, File, HOST, Item, RELAY, Said, Script, Seat, Tried, What};
use super::setting::{Cancels, Outcome, Setting, Way, Wishes};

/// A network's answer, and the way of a message through the host.
const ROAD: Duration = Duration::from_millis(1);
/// First byte after a connection is up (flows, section 5).
const FIRST_BYTE: Duration = Duration::from_secs(15);

/// What our side did.
pub(super) struct Played {
    pub(super) outcome: Outcome,
    pub(super) said: Vec<Said>,
    pub(super) wrote: Vec<Item>,
    pub(super) relay_frames: Vec<ars::Frame>,
    /// How often the user was asked.
    pub(super) questions: usize,
    pub(super) names: Vec<String>,
}

struct Player<'a> {
    script: &'a Script,
    setting: Setting,
    seat: Seat,
    endpoint: Endpoint,
    id: ConversationId,
    start: Instant,
    elapsed: Duration,
    /// What will happen, by time and order.
    due: BTreeMap<(Duration, u64), Input>,
    serial: u64,
    arrivals: VecDeque<Arrival>,
    /// When the last arrival came, by our clock and by that of the recording.
    last_arrival: (Duration, u64),
    said: Vec<Said>,
    connections: BTreeMap<AttemptId, (u64, Way)>,
    created: Option<AttemptId>,
    files: BTreeMap<AttemptId, Files>,
    offer: Option<Offer>,
    questions: usize,
    relay_frames: Vec<ars::Frame>,
    outcome: Option<Outcome>,
    wrote: Vec<Item>,
    names: Vec<String>,
}

/// Plays one recording from one seat.
pub(super) fn play(script: &Script, seat: Seat, setting: Setting) -> Played {
    let Some(cookie) = script.cookie else {
        // Nothing was ever proposed to the one, and the other comes here with a cookie of its own.
        return Player::new(script, seat, setting, *b"3855154\0").run();
    };
    Player::new(script, seat, setting, cookie.0).run()
}

impl<'a> Player<'a> {
    fn new(script: &'a Script, seat: Seat, setting: Setting, cookie: [u8; 8]) -> Self {
        let config = Config {
            services: [SEND_FILE].into(),
            legacy_security: LegacySecurity::Opportunistic,
            interfaces: vec![Subnet {
                address: script.ip.into(),
                prefix_bits: 24,
            }],
            verified: Some(script.ip),
            relay_known: true,
            infrastructure: vec![HOST, RELAY],
            ..Config::default()
        };
        Self {
            endpoint: Endpoint::new(script.name.clone(), config),
            id: ConversationId {
                peer: script.peer.clone(),
                cookie: rdv_proto::wire::rendezvous::Cookie(cookie),
            },
            start: Instant::now(),
            elapsed: Duration::ZERO,
            due: BTreeMap::new(),
            serial: 0,
            arrivals: script.arrivals.iter().cloned().collect(),
            last_arrival: (
                Duration::ZERO,
                script.arrivals.first().map_or(0, |arrival| arrival.at_ms),
            ),
            said: Vec::new(),
            connections: BTreeMap::new(),
            created: None,
            files: BTreeMap::new(),
            offer: None,
            questions: 0,
            relay_frames: Vec::new(),
            outcome: None,
            wrote: Vec::new(),
            names: Vec::new(),
            script,
            setting,
            seat,
        }
    }

    fn run(mut self) -> Played {
        if self.seat == Seat::Alice && !self.propose() {
            self.outcome = Some(Outcome::NotOffered);
        }
        while self.outcome.is_none() && self.step() {}
        // What the machine says while it ends comes before the word of it.
        while let Some(output) = self.endpoint.poll_output() {
            self.carry_out(output);
        }
        Played {
            outcome: self.outcome.unwrap_or(Outcome::Nothing),
            said: self.said,
            wrote: self.wrote,
            relay_frames: self.relay_frames,
            questions: self.questions,
            names: self.names,
        }
    }

    /// The next thing that happens; whether there is one.
    fn step(&mut self) -> bool {
        let timer = self.endpoint.poll_timeout();
        let timer = timer.map(|at| at.saturating_duration_since(self.start));
        let planned = self.due.keys().next().map(|key| key.0);
        let arrival = self.next_arrival();
        let Some(next) = [timer, planned, arrival].into_iter().flatten().min() else {
            return false;
        };
        self.elapsed = self.elapsed.max(next);
        if planned == Some(next) {
            let (_, input) = self.due.pop_first().expect("something is due");
            self.input(input);
        } else if arrival == Some(next) {
            self.last_arrival = (self.elapsed, self.arrivals[0].at_ms);
            let arrival = self.arrivals.pop_front().expect("something arrives");
            self.arrive(arrival.what);
        } else {
            self.input(Input::Timeout);
        }
        true
    }

    /// When the next thing of the recording comes: as long after the last one as there, and not before we said what came before it.
    fn next_arrival(&self) -> Option<Duration> {
        let next = self.arrivals.front()?;
        let gap = Duration::from_millis(next.at_ms - self.last_arrival.1);
        let listening = !matches!(next.what, What::Ready(_)) || self.created.is_some();
        (proposals(&self.said) >= next.after && listening)
            .then(|| (self.last_arrival.0 + gap).max(self.elapsed + ROAD))
    }

    fn arrive(&mut self, what: What) {
        match what {
            What::Signal(signal) => self.input(Input::Signal {
                from: self.script.peer.clone(),
                body: signal.encode(),
            }),
            What::Undelivered(code) => self.input(Input::Undelivered {
                to: self.script.peer.clone(),
                cookie: self.id.cookie,
                code,
            }),
            What::Knock(conn, from) => {
                let attempt = self.endpoint.new_attempt();
                self.connections.insert(attempt, (conn, Way::Direct));
                let id = self.id.clone();
                self.input(Input::Incoming {
                    id,
                    attempt,
                    from,
                    carrier: Carrier::Tcp,
                });
            }
            What::Ready(conn) => {
                let attempt = self.created.expect("a session was created");
                self.connections.insert(attempt, (conn, Way::Relay));
                self.input(Input::Connected { attempt });
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.endpoint.handle_input(self.start + self.elapsed, input);
        while self.outcome.is_none()
            && let Some(output) = self.endpoint.poll_output()
        {
            self.carry_out(output);
        }
    }

    fn later(&mut self, after: Duration, input: Input) {
        self.serial += 1;
        self.due.insert((self.elapsed + after, self.serial), input);
    }

    /// Offers the files, if an old client can take them.
    fn propose(&mut self) -> bool {
        let sizes: Vec<u64> = self.files_to_send().iter().map(|file| file.size).collect();
        let Ok(totals) = OftTotals::of(sizes, false) else {
            return false;
        };
        let offer = SendFileOffer {
            folder: self.setting.folder,
            files: totals.files(),
            bytes: totals.bytes(),
            name: if self.setting.folder {
                "stuff".into()
            } else {
                self.script.file.name.clone()
            },
        };
        let proposal = Proposal::Legacy {
            service: SEND_FILE,
            service_tags: offer.to_tags().expect("a good offer"),
            security: LegacySecurity::Opportunistic,
        };
        if let Some(Cancels::After(wait)) = self.setting.cancels {
            self.later(
                wait,
                Input::Cancel {
                    id: self.id.clone(),
                    reason: CancelReason::USER,
                },
            );
        }
        let (id, relay) = (self.id.clone(), self.setting.relay);
        self.input(Input::Propose {
            id,
            proposal,
            relay,
        });
        true
    }

    fn files_to_send(&self) -> VecDeque<File> {
        let mut files = VecDeque::from([self.script.file.clone()]);
        if self.setting.folder {
            files.push_back(File {
                name: "b-4000.bin".into(),
                size: 4_000,
                checksum: pattern_checksum(4_000),
            });
        }
        files
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send { body, host_ack, .. } => {
                let signal = Signal::decode(body).expect("what we send can be read");
                let host_ack = Some(host_ack);
                self.said.push(Said { signal, host_ack });
            }
            Output::Gather { id, .. } => self.gather(id),
            Output::Dial { attempt, to, .. } => self.dial(attempt, to),
            Output::RelayCreate {
                attempt, cookie, ..
            } => {
                assert_eq!(cookie, Some(self.id.cookie));
                self.create_session(attempt);
            }
            Output::RelayJoin { attempt, relay, .. } => self.join_session(attempt, &relay),
            Output::Secure {
                attempt,
                tls_client,
                session,
                ..
            } => self.secure(attempt, tls_client, &session),
            Output::Event(event) => self.tell(event),
            Output::StopListening { .. } | Output::HangUp { .. } | Output::Nominate { .. } => {}
            other => panic!("not known: {other:?}"),
        }
    }

    /// At the address and port that the recorded party named.
    fn gather(&mut self, id: ConversationId) {
        let recorded = self.script.said.iter().find_map(|said| match &said.signal {
            Signal::Rendezvous(message) if !message.use_ars() => {
                message.rendezvous_ip().zip(message.port())
            }
            _ => None,
        });
        let (ip, port) = recorded.unwrap_or((self.script.ip, 5190));
        let candidate = LocalCandidate {
            address: SocketAddr::from((ip, port)),
            kind: CandidateKind::HOST,
            protocol: Protocol::Tcp,
        };
        let candidates = vec![candidate];
        self.later(
            Duration::ZERO,
            Input::Gathered {
                generation: 0,
                id,
                listen_port: Some(port),
                candidates,
                network: Network::default(),
                complete: true,
            },
        );
    }

    fn dial(&mut self, attempt: AttemptId, to: SocketAddr) {
        let answers = self
            .setting
            .answers
            .iter()
            .any(|answer| answer.parse() == Ok(to));
        match self.script.dials.get(&to) {
            Some(&Tried::Open(conn)) => {
                self.connections.insert(attempt, (conn, Way::Direct));
                self.later(ROAD, Input::Connected { attempt });
            }
            Some(Tried::Refused) => self.later(
                ROAD,
                Input::Failed {
                    attempt,
                    error: AttemptError::Refused,
                },
            ),
            None if answers => {
                let conn = self
                    .script
                    .incoming
                    .keys()
                    .next()
                    .copied()
                    .unwrap_or(u64::MAX);
                self.connections.insert(attempt, (conn, Way::Direct));
                self.later(ROAD, Input::Connected { attempt });
            }
            Some(Tried::Unanswered) | None => {}
        }
    }

    fn create_session(&mut self, attempt: AttemptId) {
        if let Some(Created::Session { .. } | Created::Error(_)) = self.script.created {
            self.relay_frame(ars::Command::Create {
                name: self.script.name.clone(),
                cookie: self.id.cookie,
                tlvs: service_tlv(),
            });
        }
        let failed = |error| Input::Failed { attempt, error };
        match self.script.created {
            Some(Created::Session { token, ip, .. }) => {
                self.created = Some(attempt);
                let relay = RelayCandidate {
                    address: RelayAddress::Socket((ip, 5190).into()),
                    token,
                    cookie: self.id.cookie,
                    ticket: None,
                };
                self.later(ROAD, Input::RelayCreated { attempt, relay });
            }
            Some(Created::Error(code)) => self.later(ROAD, failed(AttemptError::Relay(code))),
            Some(Created::Unreachable) => self.later(ROAD, failed(AttemptError::Unreachable)),
            None if self.setting.relay_down => self.later(ROAD, failed(AttemptError::Unreachable)),
            None => {}
        }
    }

    fn join_session(&mut self, attempt: AttemptId, relay: &RelayCandidate) {
        assert_eq!(relay.address, RelayAddress::Socket(RELAY), "L-25");
        self.relay_frame(ars::Command::Join {
            name: self.script.name.clone(),
            token: relay.token,
            cookie: relay.cookie,
            tlvs: service_tlv(),
        });
        if let Some(conn) = self.script.joined {
            self.connections.insert(attempt, (conn, Way::Relay));
            self.later(ROAD, Input::Connected { attempt });
        }
    }

    fn relay_frame(&mut self, command: ars::Command) {
        self.relay_frames.push(ars::Frame::new(command));
    }

    /// No old client of the recordings speaks TLS: one that has the file speaks at once, the other one waits for the prompt.
    fn secure(&mut self, attempt: AttemptId, tls_client: bool, session: &Security) {
        let zero_cookie_counts = match session {
            Security::Plain { zero_cookie_counts } => *zero_cookie_counts,
            _ => {
                let wait = if self.seat == Seat::Bob && tls_client {
                    ROAD
                } else {
                    FIRST_BYTE
                };
                self.later(
                    wait,
                    Input::Failed {
                        attempt,
                        error: AttemptError::NotTls,
                    },
                );
                return;
            }
        };
        let side = match self.seat {
            Seat::Alice => {
                let files = self.files_to_send();
                let totals =
                    OftTotals::of(files.iter().map(|file| file.size), false).expect("was offered");
                let folder = self.setting.folder.then(|| "stuff".to_owned());
                Side::Sender {
                    files,
                    totals,
                    folder,
                }
            }
            Seat::Bob => {
                let tags = &self
                    .offer
                    .as_ref()
                    .expect("an offer was accepted")
                    .service_tags;
                let offer = SendFileOffer::from_tags(tags)
                    .expect("an offer")
                    .expect("a good one");
                let wish = match self.setting.wish {
                    Wishes::Take => Wish::Take,
                    Wishes::HaveIt => Wish::HaveIt,
                    Wishes::Resume(have) => Wish::Resume(have, pattern_checksum(have)),
                    Wishes::ResumeWrong(have, sum) => Wish::Resume(have, Checksum(sum)),
                };
                Side::Receiver { offer, wish }
            }
        };
        let conn = self.connections[&attempt].0;
        let recorded = self.script.incoming.get(&conn).cloned();
        let incoming = self.setting.borrow.map_or_else(
            || recorded.unwrap_or_default(),
            |other| {
                Script::of(other, self.seat, 0)
                    .incoming
                    .into_values()
                    .next()
                    .expect("a connection")
            },
        );
        let mut files = Files::new(self.id.cookie, zero_cookie_counts, side, incoming);
        match files.open(zero_cookie_counts) {
            Some(true) => self.later(
                ROAD,
                Input::Secured {
                    attempt,
                    round_trip: None,
                },
            ),
            Some(false) => self.later(
                ROAD,
                Input::Failed {
                    attempt,
                    error: AttemptError::WrongProof,
                },
            ),
            None => self.later(
                FIRST_BYTE,
                Input::Failed {
                    attempt,
                    error: AttemptError::TimedOut,
                },
            ),
        }
        self.wrote.extend(files.wrote.iter().cloned());
        self.files.insert(attempt, files);
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Proposed { id, offer } => {
                self.questions += 1;
                self.offer = Some(offer);
                let answer = Answer::Legacy {
                    security: LegacySecurity::Opportunistic,
                };
                let relay = self.setting.relay;
                let input = match self.setting.yes {
                    true => Input::Accept { id, answer, relay },
                    false => Input::Decline { id },
                };
                self.later(self.setting.thinks, input);
            }
            Event::Established { attempt, .. } => self.transfer(attempt),
            Event::Ended { reason, .. } => self.outcome = Some(Outcome::Ended(reason)),
            Event::Tried { .. } => {}
            other => panic!("not known: {other:?}"),
        }
    }

    fn transfer(&mut self, attempt: AttemptId) {
        let way = self.connections[&attempt].1;
        let mut files = self
            .files
            .remove(&attempt)
            .expect("its first headers passed");
        let before = files.wrote.len();
        let over = files.run();
        self.wrote.extend(files.wrote.drain(before..));
        self.names = files.names;
        let bytes_pass = matches!(self.setting.cancels, Some(Cancels::WhileBytesPass));
        match over {
            Over::Waiting if bytes_pass => {
                self.later(
                    ROAD,
                    Input::Cancel {
                        id: self.id.clone(),
                        reason: CancelReason::USER,
                    },
                );
            }
            // A CANCEL of the peer may be on its way.
            Over::Waiting if !self.arrivals.is_empty() => {}
            over => self.outcome = Some(Outcome::Passed(over, way)),
        }
    }
}

/// How many of these are proposals: only those make the other side do something.
pub(super) fn proposals(said: &[Said]) -> usize {
    let is_proposal = |said: &&Said| matches!(&said.signal, Signal::Rendezvous(message) if message.kind == MessageKind::PROPOSE);
    said.iter().filter(is_proposal).count()
}

fn service_tlv() -> TlvList {
    let value = bytes::Bytes::copy_from_slice(SEND_FILE.as_bytes());
    TlvList(vec![Tlv {
        tag: ars::TLV_SERVICE,
        value,
    }])
}
