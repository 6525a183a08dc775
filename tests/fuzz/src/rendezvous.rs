//! The rendezvous machine, fed with a list of inputs and time steps that the bytes spell out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rdv_proto::rendezvous::{
    Answer, AttemptError, AttemptId, CandidateKind, Carrier, Config, ConversationId, Endpoint,
    Event, Input, LegacySecurity, LocalCandidate, Mapping, Network, Output, Proposal, Protocol,
    RelayAddress, RelayCandidate, RelayPolicy,
};
use rdv_proto::trust::{CodeWords, Context, Proposing, Randomness, Secret};
use rdv_proto::wire::rendezvous::{CancelReason, Cookie, Message, NakCode, SequenceNumber};
use rdv_proto::wire::service::{DIRECT_IM, FileSetKind, NATIVE, SEND_FILE, SendFileData};
use rdv_proto::wire::signal::Signal;
use rdv_proto::wire::text::ScreenName;

/// Inputs of one run that are looked at; the rest of the bytes is left.
const INPUTS_MAX: usize = 200;

/// Any inputs in any order. Each attempt and each conversation ends at most once, no timer stays
/// due, nothing grows without limit, and in the end, with nobody saying anything, all is over.
pub fn rendezvous_endpoint(data: &[u8]) {
    let mut run = Run::new(data);
    for _ in 0..INPUTS_MAX {
        let Some(op) = run.bytes.next() else { break };
        run.step(op);
    }
    run.finish();
}

struct Run<'a> {
    bytes: std::iter::Copied<std::slice::Iter<'a, u8>>,
    endpoint: Endpoint,
    now: Instant,
    named: u64,
    open: BTreeSet<AttemptId>,
    lanes: BTreeMap<ConversationId, AttemptId>,
}

impl<'a> Run<'a> {
    fn new(data: &'a [u8]) -> Self {
        let config = Config {
            services: [NATIVE, SEND_FILE, DIRECT_IM].into(),
            legacy_security: LegacySecurity::Opportunistic,
            relay_known: data.len().is_multiple_of(2),
            ..Config::default()
        };
        Self {
            bytes: data.iter().copied(),
            endpoint: Endpoint::new(name("bob"), config),
            now: Instant::now(),
            named: 0,
            open: BTreeSet::new(),
            lanes: BTreeMap::new(),
        }
    }

    fn byte(&mut self) -> u8 {
        self.bytes.next().unwrap_or_default()
    }

    fn id(&mut self) -> ConversationId {
        let byte = self.byte();
        ConversationId {
            peer: name(["alice", "mallory"][usize::from(byte >> 7)]),
            cookie: Cookie([byte % 8; 8]),
        }
    }

    fn attempt(&mut self) -> AttemptId {
        AttemptId(u64::from(self.byte()) % (self.named + 2))
    }

    fn policy(&mut self) -> RelayPolicy {
        [RelayPolicy::Auto, RelayPolicy::Only, RelayPolicy::Never][usize::from(self.byte() % 3)]
    }

    fn security(&mut self) -> LegacySecurity {
        let all = [
            LegacySecurity::Required,
            LegacySecurity::Opportunistic,
            LegacySecurity::Plain,
        ];
        all[usize::from(self.byte() % 3)]
    }

    fn random(&mut self) -> Randomness {
        let byte = self.byte();
        Randomness {
            pake: [byte; 64],
            ephemeral: [byte; 32],
            nonce: [byte; 16],
        }
    }

    fn protocol(&mut self) -> Protocol {
        match self.byte() % 2 {
            0 => Protocol::Tcp,
            _ => Protocol::Udp,
        }
    }

    fn mapping(&mut self) -> Mapping {
        match self.byte() % 5 {
            0 => Mapping::Unknown,
            1 => Mapping::Open,
            2 => Mapping::Independent,
            3 => Mapping::Dependent,
            _ => Mapping::Blocked,
        }
    }

    fn carrier(&mut self) -> Carrier {
        match self.byte() % 2 {
            0 => Carrier::Tcp,
            _ => Carrier::Quic,
        }
    }

    fn step(&mut self, op: u8) {
        let input = match op % 26 {
            0 => {
                let steps = u64::from(self.byte());
                self.now += Duration::from_millis(steps * steps);
                Input::Timeout
            }
            1 => {
                let id = self.id();
                let length = usize::from(self.byte());
                let body: Vec<u8> = self.bytes.by_ref().take(length).collect();
                Input::Signal {
                    from: id.peer,
                    body: body.into(),
                }
            }
            2..=4 => self.proposal(),
            5 => self.other_message(),
            6 => {
                let id = self.id();
                let code = u16::from(self.byte());
                Input::Undelivered {
                    to: id.peer,
                    cookie: id.cookie,
                    code,
                }
            }
            7 => Input::Expect {
                expectation: u64::from(self.byte() % 4),
                service: NATIVE,
                secret: words(),
                key_hash: [1; 32],
                random: self.random(),
                relay: self.policy(),
                expires: None,
            },
            8 => Input::Unexpect {
                expectation: u64::from(self.byte() % 4),
            },
            9 => Input::Propose {
                id: self.id(),
                proposal: self.own_proposal(),
                relay: self.policy(),
            },
            10 => Input::Accept {
                id: self.id(),
                answer: if self.byte().is_multiple_of(2) {
                    Answer::Native {
                        key_hash: [1; 32],
                        random: self.random(),
                    }
                } else {
                    Answer::Legacy {
                        security: self.security(),
                    }
                },
                relay: self.policy(),
            },
            11 => Input::Decline { id: self.id() },
            12 => Input::Cancel {
                id: self.id(),
                reason: CancelReason(self.byte().into()),
            },
            13 => Input::Finished { id: self.id() },
            14 => Input::Gathered {
                id: self.id(),
                generation: u32::from(self.byte() % 4),
                listen_port: (!self.byte().is_multiple_of(4)).then_some(4443),
                candidates: vec![LocalCandidate {
                    address: SocketAddr::from(([198, 51, 100, self.byte()], 4443)),
                    kind: CandidateKind(self.byte() % 8),
                    protocol: self.protocol(),
                }],
                network: Network {
                    udp: self.mapping(),
                    tcp: self.mapping(),
                },
                complete: self.byte().is_multiple_of(2),
            },
            15 => Input::RelayCreated {
                attempt: self.attempt(),
                relay: RelayCandidate {
                    address: RelayAddress::Socket(SocketAddr::from(([192, 0, 2, 80], 5190))),
                    token: u16::from(self.byte()),
                    cookie: Cookie([1; 8]),
                    ticket: None,
                },
            },
            16 => {
                let (id, attempt) = (self.id(), self.endpoint.new_attempt());
                self.named = self.named.max(attempt.0);
                self.open.insert(attempt);
                let from = SocketAddr::from(([192, 0, 2, self.byte()], 50_000));
                Input::Incoming {
                    id,
                    attempt,
                    from,
                    carrier: self.carrier(),
                }
            }
            17 => Input::Heard {
                attempt: self.attempt(),
            },
            18 => Input::Connected {
                attempt: self.attempt(),
            },
            19 => Input::Secured {
                attempt: self.attempt(),
                round_trip: Some(Duration::from_millis(self.byte().into())),
            },
            20 => Input::Nominated {
                attempt: self.attempt(),
                number: self.byte().into(),
            },
            21 => Input::LaneSilent {
                attempt: self.attempt(),
            },
            22 => Input::LaneHeard {
                attempt: self.attempt(),
            },
            23 => Input::NetworkChanged,
            24 => Input::Datagram {
                id: self.id(),
                generation: u32::from(self.byte() % 4),
                from: SocketAddr::from(([192, 0, 2, self.byte()], 50_000)),
                bytes: vec![self.byte(); 32].into(),
            },
            _ => {
                let attempt = self.attempt();
                self.open.remove(&attempt);
                Input::Failed {
                    attempt,
                    error: AttemptError::Closed,
                }
            }
        };
        if let Input::Finished { id } = &input
            && let Some(lane) = self.lanes.remove(id)
        {
            self.open.remove(&lane);
        }
        self.hand_in(input);
    }

    fn own_proposal(&mut self) -> Proposal {
        match self.byte() % 3 {
            0 => Proposal::Legacy {
                service: [SEND_FILE, DIRECT_IM][usize::from(self.byte() % 2)],
                service_tags: rdv_proto::wire::tlv::TlvList::new(),
                security: self.security(),
            },
            kind => Proposal::Native {
                service: NATIVE,
                secret: if kind == 1 {
                    Secret::None
                } else {
                    Secret::Code(words())
                },
                key_hash: [1; 32],
                random: self.random(),
            },
        }
    }

    /// A proposal as a peer could make it, and some that none would.
    fn proposal(&mut self) -> Input {
        let id = self.id();
        let service = [SEND_FILE, DIRECT_IM, NATIVE][usize::from(self.byte() % 3)];
        let number =
            SequenceNumber::new(u16::from(self.byte() % 70)).unwrap_or(SequenceNumber::FIRST);
        let shape = self.byte();
        let ip = Ipv4Addr::new(192, 0, 2, self.byte());
        let mut message = Message::propose(id.cookie, service, number);
        message = match shape & 3 {
            0 => message.with_direct(ip, ip, 5000),
            1 => message.with_relay(ip, 7),
            2 => message.with_no_address(),
            _ => message.with_addr_list(&[SocketAddr::new(ip.into(), 5000)]),
        };
        if service == SEND_FILE
            && shape & 4 == 0
            && let Ok(file) = SendFileData::new(FileSetKind::ONE_FILE, 1, 43, "fox.txt")
        {
            message = message.with_send_file(&file, 43);
        }
        if shape & 8 == 0 {
            message = message.with_request_secure();
        }
        if service == NATIVE && shape & 16 == 0 {
            let context = Context {
                proposer: id.peer.clone(),
                answerer: name("bob"),
                cookie: id.cookie,
                service,
            };
            let secret = if shape & 32 == 0 {
                Secret::None
            } else {
                Secret::Code(words())
            };
            let (_, block) = Proposing::start(context, secret, [2; 32], self.random());
            message = message.with_security(&block);
        }
        Input::Signal {
            from: id.peer,
            body: Signal::Rendezvous(message).encode(),
        }
    }

    fn other_message(&mut self) -> Input {
        let id = self.id();
        let service = [SEND_FILE, DIRECT_IM, NATIVE][usize::from(self.byte() % 3)];
        let signal = match self.byte() % 4 {
            0 => Signal::Rendezvous(Message::cancel(id.cookie, service, CancelReason::USER)),
            1 => Signal::Rendezvous(Message::accept(id.cookie, service)),
            2 => Signal::Rendezvous(Message::accept(id.cookie, service).with_request_secure()),
            _ => Signal::client_error(id.cookie, NakCode(self.byte().into())),
        };
        Input::Signal {
            from: id.peer,
            body: signal.encode(),
        }
    }

    fn hand_in(&mut self, input: Input) {
        let timeout = matches!(input, Input::Timeout);
        self.endpoint.handle_input(self.now, input);
        while let Some(output) = self.endpoint.poll_output() {
            self.note(output);
        }
        if timeout {
            let due = self.endpoint.poll_timeout();
            assert!(due.is_none_or(|due| due > self.now), "a timer stays due");
        }
        assert!(
            self.endpoint.conversations() <= 16 + 16,
            "too many conversations"
        );
        assert!(
            self.endpoint.open_attempts() <= 32 * 32,
            "too many attempts"
        );
    }

    fn note(&mut self, output: Output) {
        match output {
            Output::Dial { attempt, .. }
            | Output::RelayCreate { attempt, .. }
            | Output::RelayJoin { attempt, .. } => {
                assert!(attempt.0 > self.named, "a name was used twice");
                self.named = attempt.0;
                self.open.insert(attempt);
            }
            Output::Secure { attempt, .. } | Output::Nominate { attempt, .. } => {
                assert!(self.open.contains(&attempt), "nothing to secure");
            }
            Output::HangUp { attempt } => {
                self.open.remove(&attempt);
            }
            Output::Event(Event::Established { id, attempt, .. }) => {
                assert!(self.lanes.insert(id, attempt).is_none(), "two lanes");
            }
            Output::Event(Event::Ended { id, .. }) => {
                self.lanes.remove(&id);
            }
            _ => {}
        }
    }

    /// Nobody says anything any more.
    fn finish(mut self) {
        for _ in 0..10_000 {
            let Some(at) = self.endpoint.poll_timeout() else {
                assert_eq!(
                    self.endpoint.conversations(),
                    self.lanes.len(),
                    "a wait without an end"
                );
                assert_eq!(
                    self.endpoint.open_attempts(),
                    self.lanes.len(),
                    "an attempt is left"
                );
                return;
            };
            self.now = self.now.max(at);
            self.hand_in(Input::Timeout);
        }
        panic!("timers without an end");
    }
}

fn name(name: &str) -> ScreenName {
    ScreenName::new(name).expect("a good name")
}

fn words() -> CodeWords {
    CodeWords::new(["otter", "lamp", "verse"]).expect("three words")
}
