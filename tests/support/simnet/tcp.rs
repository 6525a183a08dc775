//! How connections of one host open: dialled, accepted, or opened from both ends at once (RFC 9293 §3.5).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::packet::{End, Segment};
use super::{HostId, Notice};

/// Names a connection of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Connected(ConnectionId, End),
    Accepted(ConnectionId, End),
    Refused(ConnectionId),
}

impl News {
    pub(super) fn into_notice(self, host: HostId, to: SocketAddr, from: SocketAddr) -> Notice {
        match self {
            Self::Connected(connection, far) => Notice::Connected {
                host,
                connection,
                far,
            },
            Self::Refused(connection) => Notice::Refused { host, connection },
            Self::Accepted(connection, far) => Notice::Accepted {
                host,
                connection,
                to,
                from,
                far,
            },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    SynSent,
    SynReceived,
    Established,
}

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    state: State,
    dialled: bool,
    /// When the last segment goes out again, and how often it did.
    again: Duration,
    repeats: u32,
}

/// Local and remote address.
type Ends = (SocketAddr, SocketAddr);

/// From where, to where, what, by which connection.
type Sending = (SocketAddr, SocketAddr, Segment, Option<ConnectionId>);

/// The connections of a host.
#[derive(Debug, Default)]
pub(super) struct Connections {
    listening: BTreeSet<u16>,
    open: BTreeMap<Ends, Connection>,
    queue: VecDeque<Sending>,
    last: u64,
}

/// After how many repetitions a connection is given up: 63 s.
const REPEATS: u32 = 5;

impl Connections {
    pub(super) fn listen(&mut self, port: u16) {
        self.listening.insert(port);
    }

    pub(super) fn unlisten(&mut self, port: u16) {
        self.listening.remove(&port);
    }

    pub(super) fn dial(
        &mut self,
        now: Duration,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<ConnectionId> {
        if self.open.contains_key(&(from, to)) {
            return None;
        }
        let id = self.insert(now, (from, to), State::SynSent, true);
        self.queue.push_back((from, to, Segment::Syn, Some(id)));
        Some(id)
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.open.retain(|_, open| open.id != connection);
    }

    pub(super) fn close(&mut self, connection: ConnectionId) {
        let mut open = self.open.iter();
        let ends = open.find_map(|(ends, open)| (open.id == connection).then_some(*ends));
        if let Some((local, remote)) = ends {
            self.open.remove(&(local, remote));
            self.queue
                .push_back((local, remote, Segment::Rst, Some(connection)));
        }
    }

    pub(super) fn poll_send(&mut self) -> Option<Sending> {
        self.queue.pop_front()
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        let waiting = self.open.values();
        waiting
            .filter(|open| open.state != State::Established)
            .map(|open| open.again)
            .min()
    }

    /// Repeats what has had no answer; says what is given up.
    pub(super) fn due(&mut self, now: Duration) -> Vec<ConnectionId> {
        let mut given_up = Vec::new();
        for (&(local, remote), open) in &mut self.open {
            if open.state == State::Established || open.again > now {
                continue;
            }
            if open.repeats >= REPEATS {
                given_up.push((local, remote));
                continue;
            }
            open.repeats += 1;
            open.again = now + Duration::from_secs(1 << open.repeats);
            let segment = match open.state {
                State::SynSent => Segment::Syn,
                _ => Segment::SynAck,
            };
            self.queue
                .push_back((local, remote, segment, Some(open.id)));
        }
        let removed = given_up
            .into_iter()
            .filter_map(|ends| self.open.remove(&ends));
        removed
            .filter(|open| open.dialled)
            .map(|open| open.id)
            .collect()
    }

    /// A segment arrives.
    pub(super) fn segment(
        &mut self,
        now: Duration,
        local: SocketAddr,
        remote: SocketAddr,
        segment: Segment,
        far: Option<End>,
    ) -> Option<News> {
        let ends = (local, remote);
        let Some(open) = self.open.get_mut(&ends) else {
            if segment == Segment::Syn && self.listening.contains(&local.port()) {
                let id = self.insert(now, ends, State::SynReceived, false);
                self.queue
                    .push_back((local, remote, Segment::SynAck, Some(id)));
            } else if segment.is_refused() {
                self.queue.push_back((local, remote, Segment::Rst, None));
            }
            return None;
        };
        let id = Some(open.id);
        match (open.state, segment) {
            (_, Segment::Rst) => {
                let open = self.open.remove(&ends)?;
                let known = open.dialled || open.state == State::Established;
                known.then_some(News::Refused(open.id))
            }
            (State::SynSent | State::SynReceived, Segment::Syn) => {
                open.state = State::SynReceived;
                self.queue.push_back((local, remote, Segment::SynAck, id));
                None
            }
            (State::SynSent, Segment::SynAck) | (State::SynReceived, Segment::SynAck) => {
                open.state = State::Established;
                let news = open.news(far);
                self.queue.push_back((local, remote, Segment::Ack, id));
                news
            }
            (State::SynReceived, Segment::Ack) => {
                open.state = State::Established;
                open.news(far)
            }
            (State::Established, Segment::Syn | Segment::SynAck) => {
                self.queue.push_back((local, remote, Segment::Ack, id));
                None
            }
            (State::SynSent | State::Established, Segment::Ack) => None,
        }
    }

    fn insert(&mut self, now: Duration, ends: Ends, state: State, dialled: bool) -> ConnectionId {
        self.last += 1;
        let id = ConnectionId(self.last);
        self.open.insert(
            ends,
            Connection {
                id,
                state,
                dialled,
                again: now + Duration::from_secs(1),
                repeats: 0,
            },
        );
        id
    }
}

impl Connection {
    fn news(&self, far: Option<End>) -> Option<News> {
        far.map(|far| {
            if self.dialled {
                News::Connected(self.id, far)
            } else {
                News::Accepted(self.id, far)
            }
        })
    }
}
