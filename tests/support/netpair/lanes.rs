//! Dials, handshakes, the relay: how an attempt becomes a lane.
//!
//! A handshake has four messages: hello of the client; flight of the server; end of the handshake and the client's BIND;
//! the server's BIND. On a connection they arrive for certain; over QUIC they are datagrams that are repeated.

use std::net::SocketAddr;
use std::time::Duration;

use rdv_proto::rendezvous::{AttemptError, AttemptId, Carrier, Input, Security};

use super::{End, NetPair, Parcel, Tick, Use};
use crate::pair::{ALICE, BOB, proofs_fit};
use crate::simnet::ConnectionId;
use crate::simnet::packet::End as WireEnd;

/// How long an opening from both ends goes on.
const OPEN_LIFE: Duration = Duration::from_secs(4);
/// What is said on a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// That stage of the handshake.
    Handshake(u8),
    /// The controller's choice.
    Use(u32),
    /// The other end hung up, or failed.
    Gone(AttemptError),
}

/// One attempt.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) way: Way,
    pub(super) far: Option<End>,
    pub(super) secure: Option<(bool, Security)>,
    /// The last stage of the handshake that came in, and that went out.
    pub(super) heard: u8,
    pub(super) said: u8,
    connected: bool,
    secured: bool,
    used_early: Option<u32>,
    /// Nothing arrives on it any more, and nobody says so.
    dead: bool,
    /// Said before it was known to whom.
    pending: Vec<Message>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    Tcp {
        connection: Option<ConnectionId>,
    },
    Open {
        connection: Option<ConnectionId>,
        to: SocketAddr,
        port: u16,
        until: Duration,
    },
    Quic {
        remote: SocketAddr,
        generation: u32,
        client: bool,
    },
    Relay,
}

impl Lane {
    pub(super) fn new(way: Way) -> Self {
        Self {
            way,
            far: None,
            secure: None,
            heard: 0,
            said: 0,
            connected: false,
            secured: false,
            used_early: None,
            dead: false,
            pending: Vec::new(),
        }
    }

    pub(super) fn far(&self) -> Option<End> {
        self.far
    }

    pub(super) fn uses_socket(&self, of: u32) -> bool {
        matches!(self.way, Way::Quic { generation, .. } if generation == of)
    }
}

impl NetPair {
    pub(super) fn lane(&mut self, end: End) -> Option<&mut Lane> {
        self.sides[end.0].lanes.get_mut(&end.1)
    }

    pub(super) fn dial(
        &mut self,
        side: usize,
        attempt: AttemptId,
        generation: u32,
        to: SocketAddr,
        carrier: Carrier,
    ) {
        let host = self.sides[side].host;
        let way = match carrier {
            Carrier::Tcp => {
                self.sides[side].ephemeral += 1;
                let port = self.sides[side].ephemeral;
                let connection = self.net.dial(host, port, to);
                if let Some(connection) = connection {
                    let by = Use::Attempt(attempt);
                    self.sides[side].connections.insert(connection, by);
                }
                Way::Tcp { connection }
            }
            Carrier::TcpOpen => Way::Open {
                connection: None,
                to,
                port: self.port_of(side, generation).unwrap_or(0),
                until: self.now() + OPEN_LIFE,
            },
            Carrier::Quic => Way::Quic {
                remote: to,
                generation,
                client: true,
            },
        };
        let replaced = self.sides[side].lanes.insert(attempt, Lane::new(way));
        assert!(replaced.is_none(), "an attempt is used twice");
        match carrier {
            Carrier::Tcp => {}
            Carrier::TcpOpen => self.dial_open(side, attempt),
            Carrier::Quic => self.handshake((side, attempt), 1),
        }
    }

    /// Opens from the port of the listener, again and again.
    pub(super) fn dial_open(&mut self, side: usize, attempt: AttemptId) {
        let (now, host) = (self.now(), self.sides[side].host);
        let Some(lane) = self.sides[side].lanes.get_mut(&attempt) else {
            return;
        };
        let Way::Open {
            connection,
            to,
            port,
            until,
        } = &mut lane.way
        else {
            return;
        };
        if connection.is_some() {
            return;
        }
        if now >= *until {
            return self.fail(side, attempt, AttemptError::TimedOut);
        }
        let dialled = self.net.dial(host, *port, *to);
        *connection = dialled;
        if let Some(connection) = dialled {
            let by = Use::Attempt(attempt);
            self.sides[side].connections.insert(connection, by);
        } else {
            self.again(side, attempt);
        }
    }

    fn again(&mut self, side: usize, attempt: AttemptId) {
        let pause = Duration::from_millis(50) + self.dice.up_to(Duration::from_millis(100));
        self.post(pause, side, Parcel::Tick(Tick::Open(attempt)));
    }

    pub(super) fn connected(&mut self, side: usize, connection: ConnectionId, far: WireEnd) {
        let Some(Use::Attempt(attempt)) = self.sides[side].connections.get(&connection).copied()
        else {
            return;
        };
        self.tie((side, attempt), far);
        if let Some(lane) = self.lane((side, attempt)) {
            lane.connected = true;
            self.input(side, Input::Connected { attempt });
        }
    }

    pub(super) fn accepted(
        &mut self,
        side: usize,
        connection: ConnectionId,
        port: u16,
        from: SocketAddr,
        far: WireEnd,
    ) {
        let generation = self.generation_at(side, port);
        let conversation = generation.and_then(|open| self.conversation_of(side, open));
        let Some(id) = conversation else {
            let host = self.sides[side].host;
            return self.net.close(host, connection);
        };
        if let Some(attempt) = self.opening_to(side, port, from) {
            return self.opened(side, attempt, connection, far);
        }
        let attempt = self.sides[side].endpoint.new_attempt();
        let way = Way::Tcp {
            connection: Some(connection),
        };
        self.sides[side].lanes.insert(attempt, Lane::new(way));
        let by = Use::Attempt(attempt);
        self.sides[side].connections.insert(connection, by);
        self.tie((side, attempt), far);
        let carrier = Carrier::Tcp;
        self.input(
            side,
            Input::Incoming {
                id,
                attempt,
                from,
                carrier,
            },
        );
    }

    /// An attempt from that port to there that is between two tries: what comes in from there is its connection.
    fn opening_to(&self, side: usize, at: u16, from: SocketAddr) -> Option<AttemptId> {
        let mut lanes = self.sides[side].lanes.iter();
        lanes.find_map(|(attempt, lane)| match lane.way {
            Way::Open {
                connection: None,
                to,
                port,
                ..
            } if to == from && port == at => Some(*attempt),
            _ => None,
        })
    }

    fn opened(&mut self, side: usize, attempt: AttemptId, connection: ConnectionId, far: WireEnd) {
        let by = Use::Attempt(attempt);
        self.sides[side].connections.insert(connection, by);
        if let Some(Lane {
            way: Way::Open {
                connection: open, ..
            },
            ..
        }) = self.lane((side, attempt))
        {
            *open = Some(connection);
        }
        self.connected(side, connection, far);
    }

    /// Notes which two attempts are the ends of one connection.
    fn tie(&mut self, end: End, (host, connection): WireEnd) {
        let Some(side) = self.side_of(host) else {
            return;
        };
        if let Some(Use::Attempt(attempt)) = self.sides[side].connections.get(&connection).copied()
        {
            let far = (side, attempt);
            if let Some(lane) = self.lane(end) {
                lane.far = Some(far);
            }
            let mut pending = Vec::new();
            if let Some(lane) = self.lane(far) {
                lane.far = Some(end);
                pending = std::mem::take(&mut lane.pending);
            }
            // It came with the packet that completed the connection.
            for message in pending {
                self.post(Duration::ZERO, end.0, Parcel::Message(end.1, message));
            }
        }
    }

    pub(super) fn refused(&mut self, side: usize, connection: ConnectionId) {
        let Some(Use::Attempt(attempt)) = self.sides[side].connections.remove(&connection) else {
            return;
        };
        let Some(lane) = self.sides[side].lanes.get_mut(&attempt) else {
            return;
        };
        let connected = lane.connected;
        match &mut lane.way {
            Way::Open { connection, .. } if !connected => {
                *connection = None;
                self.again(side, attempt);
            }
            _ if connected => self.fail(side, attempt, AttemptError::Closed),
            _ => self.fail(side, attempt, AttemptError::Refused),
        }
    }

    pub(super) fn secure(&mut self, end: End, client: bool, session: Security) {
        let Some(lane) = self.lane(end) else {
            panic!("an unknown attempt is to be secured")
        };
        lane.secure = Some((client, session));
        let heard = lane.heard;
        let quic = matches!(lane.way, Way::Quic { .. });
        if client && !quic {
            self.handshake(end, 1);
        } else if heard > 0 {
            self.handshake(end, heard + 1);
        }
    }

    /// Says a stage of the handshake.
    fn handshake(&mut self, end: End, stage: u8) {
        let Some(lane) = self.lane(end) else { return };
        lane.said = lane.said.max(stage);
        if matches!(lane.way, Way::Quic { .. }) {
            self.send_quic(end, stage, 0);
        } else {
            self.say(end, Message::Handshake(stage));
        }
    }

    /// A stage of the handshake comes in.
    pub(super) fn stage_arrives(&mut self, end: End, stage: u8) {
        let Some(lane) = self.lane(end) else { return };
        if stage <= lane.heard {
            // It was repeated: what we said was lost.
            let (said, repeatable) = (lane.said, lane.said == stage + 1);
            if repeatable && matches!(lane.way, Way::Quic { .. }) {
                self.handshake(end, said);
            }
            return;
        }
        lane.heard = stage;
        let quic_client = matches!(lane.way, Way::Quic { client: true, .. });
        let secure = lane.secure.clone();
        let far = lane.far;
        match stage {
            1 => {
                if secure.is_some() {
                    self.handshake(end, 2);
                }
            }
            2 if quic_client && secure.is_none() => {
                // The server's attempt is the one that answered first.
                let server = self.server_of(end);
                if let Some(lane) = self.lane(end) {
                    lane.connected = true;
                    lane.far = server;
                }
                let attempt = end.1;
                self.input(end.0, Input::Connected { attempt });
            }
            2 => self.handshake(end, 3),
            _ => {
                let theirs = far.and_then(|far| self.lane(far)?.secure.clone());
                let (Some(ours), Some(theirs)) = (secure, theirs) else {
                    return;
                };
                match proofs_fit(&ours, &theirs) {
                    Ok(()) => {
                        if stage == 3 {
                            self.handshake(end, 4);
                        }
                        self.proven(end);
                    }
                    Err(error) => {
                        self.say(end, Message::Gone(error));
                        self.fail(end.0, end.1, error);
                    }
                }
            }
        }
    }

    fn proven(&mut self, end: End) {
        let round_trip = self.way_there(end) * 2;
        let Some(lane) = self.lane(end) else { return };
        lane.secured = true;
        let far = lane.far;
        let used = lane.used_early.take();
        let attempt = end.1;
        let now = self.now();
        self.proofs.insert(end);
        if far.is_some_and(|far| self.proofs.contains(&far)) {
            self.both_proven.get_or_insert(now);
        }
        self.input(
            end.0,
            Input::Secured {
                attempt,
                round_trip: Some(round_trip),
            },
        );
        if let Some(number) = used {
            self.input(end.0, Input::Nominated { attempt, number });
        }
    }

    /// One way on a lane.
    fn way_there(&mut self, end: End) -> Duration {
        let Some(lane) = self.lane(end) else {
            return Duration::ZERO;
        };
        if matches!(lane.way, Way::Relay) {
            self.to_server(0) + self.to_server(1)
        } else {
            self.net.delay(self.sides[0].host, self.sides[1].host)
        }
    }

    /// Says something on a lane. It arrives for certain, if late.
    pub(super) fn say(&mut self, end: End, message: Message) {
        let mut delay = self.way_there(end);
        let Some(lane) = self.lane(end) else {
            assert!(!matches!(message, Message::Use(_)), "a lane that is gone");
            return;
        };
        if lane.dead {
            return;
        }
        let Some((far, attempt)) = lane.far else {
            return lane.pending.push(message);
        };
        let lines = [self.ground.lines[0], self.ground.lines[1]];
        let mut repeat = Duration::from_millis(200);
        while lines
            .iter()
            .any(|line| self.dice.percent(line.loss_percent))
        {
            delay += repeat;
            repeat *= 2;
        }
        self.post(delay, far, Parcel::Message(attempt, message));
    }

    pub(super) fn message(&mut self, side: usize, attempt: AttemptId, message: Message) {
        let end = (side, attempt);
        match message {
            Message::Handshake(stage) => self.stage_arrives(end, stage),
            Message::Gone(error) => self.fail(side, attempt, error),
            Message::Use(number) => {
                let Some(lane) = self.lane(end) else { return };
                if lane.secured {
                    self.input(side, Input::Nominated { attempt, number });
                } else {
                    lane.used_early = Some(number);
                }
            }
        }
    }

    /// Nothing arrives any more on any lane that is up now. What is only being opened goes on.
    pub fn cut_lanes(&mut self) {
        for side in [ALICE, BOB] {
            for lane in self.sides[side].lanes.values_mut() {
                lane.dead |= lane.secured;
            }
            if let Some((_, attempt, _)) = self.in_use(side) {
                self.taken(side, attempt);
            }
        }
    }

    /// A lane is in use: whoever uses a dead one notices its silence, and gives it up in the end.
    pub(super) fn taken(&mut self, side: usize, attempt: AttemptId) {
        if self.lane((side, attempt)).is_some_and(|lane| lane.dead) {
            let silence = Input::LaneSilent { attempt };
            self.post_input(Duration::from_millis(1_500), side, silence);
            let gone = Message::Gone(AttemptError::TimedOut);
            self.post(
                Duration::from_secs(15),
                side,
                Parcel::Message(attempt, gone),
            );
        }
    }

    /// The lane that carries the conversation breaks, for both.
    pub fn break_lane(&mut self) {
        for side in [ALICE, BOB] {
            if let Some((_, attempt, _)) = self.in_use(side) {
                self.fail(side, attempt, AttemptError::Closed);
            }
        }
    }

    pub(super) fn hang_up(&mut self, side: usize, attempt: AttemptId) {
        self.say_gone(side, attempt);
        self.forget(side, attempt);
    }

    fn say_gone(&mut self, side: usize, attempt: AttemptId) {
        let end = (side, attempt);
        let connected = self.lane(end).is_some_and(|lane| lane.far.is_some());
        if connected {
            self.say(end, Message::Gone(AttemptError::Closed));
        }
    }

    /// Drops what is known of an attempt; false if nothing is.
    pub(super) fn forget(&mut self, side: usize, attempt: AttemptId) -> bool {
        let Some(lane) = self.sides[side].lanes.remove(&attempt) else {
            return false;
        };
        self.sessions
            .retain(|_, session| session.creator != (side, attempt) || session.joined);
        if let Way::Tcp {
            connection: Some(connection),
        }
        | Way::Open {
            connection: Some(connection),
            ..
        } = lane.way
        {
            self.sides[side].connections.remove(&connection);
            let host = self.sides[side].host;
            self.net.forget(host, connection);
        }
        true
    }
}
