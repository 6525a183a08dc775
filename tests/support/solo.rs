//! One endpoint and a scripted peer: every message by hand, virtual time.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdv_proto::rendezvous::{
    Answer, AttemptId, CandidateKind, Carrier, Config, ConversationId, EndReason, Endpoint, Event,
    Input, LegacySecurity, LocalCandidate, Network, Output, Proposal, Protocol, RelayAddress,
    RelayCandidate, RelayPolicy, Security,
};
use rdv_proto::wire::rendezvous::{Cookie, Message, MessageKind, NakCode, SequenceNumber};
use rdv_proto::wire::service::{NATIVE, SEND_FILE};
use rdv_proto::wire::signal::Signal;
use rdv_proto::wire::text::ScreenName;

use super::pair::{relay_address, send_file_tags};

/// The port of our listener, whenever there is one.
pub const OUR_PORT: u16 = 4443;
/// The peer's cookie.
pub const COOKIE: Cookie = Cookie(*b"TRYST01\0");

/// An endpoint, and all that it wanted done.
pub struct Solo {
    /// The machine under test.
    pub endpoint: Endpoint,
    /// The scripted peer's name.
    pub peer: ScreenName,
    /// Virtual time since the beginning.
    pub elapsed: Duration,
    /// Whether a wish to gather is answered at once.
    pub gathers: bool,
    /// What it sent, and when.
    pub sent: Vec<(Duration, Signal)>,
    /// What it dialled, and when.
    pub dialled: Vec<(Duration, AttemptId, SocketAddr)>,
    /// What it secured: whether as TLS client, and how.
    pub secured: Vec<(AttemptId, bool, Security)>,
    /// Relay sessions that it had created.
    pub created: Vec<AttemptId>,
    /// Relay sessions that it joined.
    pub joined: Vec<(AttemptId, RelayCandidate)>,
    /// Attempts that it hung up.
    pub hung_up: Vec<AttemptId>,
    /// How often it opened a listener, and closed one.
    pub listened: (u32, u32),
    /// What its user was told.
    pub events: Vec<Event>,
    start: Instant,
}

impl Default for Solo {
    fn default() -> Self {
        Self::new(Config {
            services: [SEND_FILE, NATIVE].into(),
            legacy_security: LegacySecurity::Opportunistic,
            relay_known: true,
            infrastructure: vec![relay_address()],
            ..Config::default()
        })
    }
}

impl Solo {
    /// An endpoint of "bob", with a scripted "alice".
    pub fn new(config: Config) -> Self {
        let name = |name: &str| ScreenName::new(name).expect("a good name");
        Self {
            endpoint: Endpoint::new(name("bob"), config),
            peer: name("alice"),
            elapsed: Duration::ZERO,
            gathers: true,
            sent: Vec::new(),
            dialled: Vec::new(),
            secured: Vec::new(),
            created: Vec::new(),
            joined: Vec::new(),
            hung_up: Vec::new(),
            listened: (0, 0),
            events: Vec::new(),
            start: Instant::now(),
        }
    }

    /// The conversation with the peer.
    pub fn id(&self) -> ConversationId {
        ConversationId {
            peer: self.peer.clone(),
            cookie: COOKIE,
        }
    }

    /// Hands something in.
    pub fn input(&mut self, input: Input) {
        self.endpoint.handle_input(self.start + self.elapsed, input);
        while let Some(output) = self.endpoint.poll_output() {
            self.note(output);
        }
    }

    /// Lets time pass, with all timers that are due in between.
    pub fn wait(&mut self, duration: Duration) {
        let end = self.elapsed + duration;
        while let Some(at) = self.endpoint.poll_timeout() {
            let at = at.saturating_duration_since(self.start);
            if at > end {
                break;
            }
            self.elapsed = self.elapsed.max(at);
            self.input(Input::Timeout);
        }
        self.elapsed = end;
    }

    /// The peer says something.
    pub fn hear(&mut self, message: Message) {
        self.hear_signal(&Signal::Rendezvous(message));
    }

    /// The peer says something.
    pub fn hear_signal(&mut self, signal: &Signal) {
        self.input(Input::Signal {
            from: self.peer.clone(),
            body: signal.encode(),
        });
    }

    /// The peer refuses.
    pub fn hear_nak(&mut self, cookie: Cookie, nak: NakCode) {
        self.hear_signal(&Signal::client_error(cookie, nak));
    }

    /// The user says yes.
    pub fn accept(&mut self, security: LegacySecurity, relay: RelayPolicy) {
        let id = self.id();
        self.input(Input::Accept {
            id,
            answer: Answer::Legacy { security },
            relay,
        });
    }

    /// We offer a file.
    pub fn offer(&mut self, security: LegacySecurity, relay: RelayPolicy) {
        let proposal = Proposal::Legacy {
            service: SEND_FILE,
            service_tags: send_file_tags(),
            security,
        };
        let id = self.id();
        self.input(Input::Propose {
            id,
            proposal,
            relay,
        });
    }

    /// Somebody connects to our listener.
    pub fn knock(&mut self, from: [u8; 4]) -> AttemptId {
        let attempt = self.endpoint.new_attempt();
        let id = self.id();
        self.input(Input::Incoming {
            id,
            attempt,
            from: SocketAddr::from((from, 50_000)),
            carrier: Carrier::Tcp,
        });
        attempt
    }

    /// The relay made the session that was asked for last.
    pub fn relay_made(&mut self, address: &str) {
        let attempt = *self.created.last().expect("a session was asked for");
        let relay = RelayCandidate {
            address: RelayAddress::Socket(address.parse().expect("an address")),
            token: 0x2337,
            cookie: COOKIE,
            ticket: None,
        };
        self.input(Input::RelayCreated { attempt, relay });
    }

    /// The attempt to dial that address.
    pub fn attempt_to(&self, address: &str) -> AttemptId {
        let address: SocketAddr = address.parse().expect("an address");
        let found = self.dialled.iter().find(|(_, _, to)| *to == address);
        found
            .unwrap_or_else(|| panic!("{address} was not dialled: {:?}", self.dialled))
            .1
    }

    /// All addresses that were dialled, in order.
    pub fn dials(&self) -> Vec<String> {
        self.dialled
            .iter()
            .map(|(_, _, to)| to.to_string())
            .collect()
    }

    /// What was said, in short: `P1`, `A`, `C2` for cancels with their reason, `N4` for NAKs.
    pub fn said(&self) -> Vec<String> {
        let short = |signal: &Signal| match signal {
            Signal::ClientError { .. } => {
                format!("N{}", signal.nak().map_or(-1, |nak| i32::from(nak.0)))
            }
            Signal::Rendezvous(message) => match message.kind {
                MessageKind::PROPOSE => {
                    format!("P{}", message.sequence().map_or(0, SequenceNumber::get))
                }
                MessageKind::CANCEL => format!("C{}", message.cancel_reason().0),
                MessageKind::ACCEPT => "A".to_owned(),
                other => format!("{other:?}"),
            },
        };
        self.sent.iter().map(|(_, signal)| short(signal)).collect()
    }

    /// The last message that was sent.
    pub fn last_message(&self) -> &Message {
        let mut messages = self
            .sent
            .iter()
            .rev()
            .filter_map(|(_, signal)| match signal {
                Signal::Rendezvous(message) => Some(message),
                Signal::ClientError { .. } => None,
            });
        messages.next().expect("something was sent")
    }

    /// Why the conversation ended.
    pub fn ended(&self) -> Option<&EndReason> {
        self.events.iter().find_map(|event| match event {
            Event::Ended { reason, .. } => Some(reason),
            _ => None,
        })
    }

    /// The lane that won.
    pub fn established(&self) -> Option<AttemptId> {
        self.events.iter().find_map(|event| match event {
            Event::Established { attempt, .. } => Some(*attempt),
            _ => None,
        })
    }

    /// How often the user was asked.
    pub fn questions(&self) -> usize {
        self.events
            .iter()
            .filter(|event| matches!(event, Event::Proposed { .. }))
            .count()
    }

    fn note(&mut self, output: Output) {
        match output {
            Output::Send { body, .. } => {
                let signal = Signal::decode(body).expect("what we send can be read");
                self.sent.push((self.elapsed, signal));
            }
            Output::Gather { id, generation, .. } => {
                self.listened.0 += 1;
                if self.gathers {
                    let address = SocketAddr::from(([198, 51, 100, 9], OUR_PORT));
                    let candidates = vec![LocalCandidate {
                        address,
                        kind: CandidateKind::HOST,
                        protocol: Protocol::Tcp,
                    }];
                    let found = Input::Gathered {
                        generation,
                        id,
                        listen_port: Some(OUR_PORT),
                        candidates,
                        network: Network::default(),
                        complete: true,
                    };
                    self.endpoint.handle_input(self.start + self.elapsed, found);
                }
            }
            Output::StopListening { .. } => self.listened.1 += 1,
            Output::Dial { attempt, to, .. } => self.dialled.push((self.elapsed, attempt, to)),
            Output::RelayCreate { attempt, .. } => self.created.push(attempt),
            Output::RelayJoin { attempt, relay, .. } => self.joined.push((attempt, relay)),
            Output::Secure {
                attempt,
                tls_client,
                session,
                ..
            } => self.secured.push((attempt, tls_client, session)),
            Output::HangUp { attempt } => self.hung_up.push(attempt),
            Output::Event(event) => self.events.push(event),
            Output::Nominate { .. } => {}
            other => panic!("not known: {other:?}"),
        }
    }
}

/// A proposal of the peer with that number and nothing else.
pub fn proposal(number: u16) -> Message {
    Message::propose(
        COOKIE,
        SEND_FILE,
        SequenceNumber::new(number).expect("not 0"),
    )
}

/// The peer's offer of one file, direct.
pub fn first() -> Message {
    let ip = Ipv4Addr::new(192, 0, 2, 10);
    with_file(proposal(1).with_direct(ip, ip, 5000))
}

/// With the tags of an offered file.
pub fn with_file(message: Message) -> Message {
    send_file_tags()
        .0
        .into_iter()
        .fold(message, |message, tlv| {
            message
                .with_param(tlv.tag, Bytes::clone(&tlv.value))
                .expect("a tag of the service")
        })
}
