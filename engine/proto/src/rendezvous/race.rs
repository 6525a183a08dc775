//! Legacy policy: attempts side by side: when the next dial starts, how long each may take, which
//! are still open.
//!
//! All dials are over 5 s after the first. A peer serves the first connection that it accepts: of
//! several that we dialled only one talks at a time. Each attempt fails alone (S-12).

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use super::desk::{Desk, Try};
use super::limits::{
    ACCEPTED_MAX, ACCEPTED_PROVEN_MAX, ADDRESSES_TRIED_MAX, DIAL_LIFE, DIAL_PACE, PROOF,
};
use super::{
    AttemptError, AttemptId, Carrier, ConversationId, Output, Path, RelayAddress, TriedSource,
};

/// How a connection comes about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Dialled(SocketAddr),
    Accepted(SocketAddr),
    /// A relay session that we created.
    Created,
    /// A relay session of the peer.
    Joined(RelayAddress),
}

impl Way {
    /// Who dials or joins is the TLS client (T-09).
    pub(super) fn is_ours(&self) -> bool {
        matches!(self, Self::Dialled(_) | Self::Joined(_))
    }

    pub(super) fn path(self) -> Path {
        match self {
            Self::Dialled(address) | Self::Accepted(address) => Path::Direct {
                address,
                carrier: Carrier::Tcp,
                punched: false,
            },
            Self::Created => Path::Relay(None),
            Self::Joined(relay) => Path::Relay(Some(relay)),
        }
    }
}

/// How far an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// TCP or relay is being connected.
    Opening,
    /// Up, but another one talks first.
    Parked,
    /// TLS and proof are under way.
    Proving,
    /// The other end has proven itself.
    Proven,
}

/// One attempt.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub(super) way: Way,
    stage: Stage,
    until: Option<Instant>,
    heard: bool,
}

/// What becomes of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Admitted,
    /// Admitted in place of the oldest silent one, which is to be hung up.
    InPlaceOf(AttemptId),
    /// Too many are talking already.
    Refused,
}

/// The attempts of one conversation.
#[derive(Debug, Default)]
pub(super) struct Race {
    waiting: VecDeque<SocketAddr>,
    named: Vec<SocketAddr>,
    /// When the next dial may start; `None`: at once.
    next_dial: Option<Instant>,
    dials_end: Option<Instant>,
    lanes: BTreeMap<AttemptId, Lane>,
    last_error: Option<AttemptError>,
}

impl Race {
    /// A fresh race for another proposal; remembers only how the last attempt failed.
    pub(super) fn renewed(&self) -> Self {
        Self {
            last_error: self.last_error,
            ..Self::default()
        }
    }

    /// Queues addresses, best first. Each is tried once, eight in all.
    pub(super) fn offer(&mut self, now: Instant, addresses: Vec<SocketAddr>) {
        for address in addresses {
            if self.named.len() < ADDRESSES_TRIED_MAX && !self.named.contains(&address) {
                self.named.push(address);
                self.waiting.push_back(address);
            }
        }
        self.dials_end.get_or_insert(now + DIAL_LIFE);
    }

    /// Starts the dials whose time has come.
    pub(super) fn start_due(&mut self, now: Instant, id: &ConversationId, desk: &mut Desk) {
        while self.may_dial() && self.next_dial.is_none_or(|at| at <= now) {
            let Some(to) = self.waiting.pop_front() else {
                break;
            };
            let what = Try::Direct(to, Carrier::Tcp, TriedSource::Announced);
            let attempt = desk.new_attempt(id, what);
            let until = self.dials_end.unwrap_or(now + DIAL_LIFE);
            self.open(attempt, Way::Dialled(to), Some(until));
            self.next_dial = Some(now + DIAL_PACE);
            desk.push(Output::Dial {
                id: id.clone(),
                attempt,
                generation: 0,
                to,
                carrier: Carrier::Tcp,
            });
        }
    }

    fn may_dial(&self) -> bool {
        let talks = |lane: &Lane| {
            let up = matches!(lane.stage, Stage::Proving | Stage::Proven);
            matches!(lane.way, Way::Dialled(_)) && up
        };
        !self.waiting.is_empty() && !self.lanes.values().any(talks)
    }

    /// Notes an attempt that is being opened.
    pub(super) fn open(&mut self, attempt: AttemptId, way: Way, until: Option<Instant>) {
        self.lanes.insert(
            attempt,
            Lane {
                way,
                stage: Stage::Opening,
                until,
                heard: false,
            },
        );
    }

    /// Gives an attempt that is being opened until then.
    pub(super) fn prolong(&mut self, attempt: AttemptId, until: Option<Instant>) {
        if let Some(lane) = self.lanes.get_mut(&attempt) {
            lane.until = until;
        }
    }

    /// A connection came in at our listener. It is proving itself from the start.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        attempt: AttemptId,
        from: SocketAddr,
    ) -> Admission {
        let accepted = |stage: Stage| {
            self.lanes.iter().filter(move |(_, lane)| {
                matches!(lane.way, Way::Accepted(_)) && lane.stage == stage
            })
        };
        if accepted(Stage::Proven).count() >= ACCEPTED_PROVEN_MAX {
            return Admission::Refused;
        }
        let unproven: Vec<_> = accepted(Stage::Proving)
            .map(|(attempt, lane)| (*attempt, lane.heard))
            .collect();
        let mut admission = Admission::Admitted;
        if unproven.len() >= ACCEPTED_MAX {
            let Some((oldest_silent, _)) = unproven.into_iter().find(|(_, heard)| !heard) else {
                return Admission::Refused;
            };
            self.lanes.remove(&oldest_silent);
            admission = Admission::InPlaceOf(oldest_silent);
        }
        let lane = Lane {
            way: Way::Accepted(from),
            stage: Stage::Proving,
            until: Some(now + PROOF),
            heard: false,
        };
        self.lanes.insert(attempt, lane);
        admission
    }

    /// The other end of an accepted connection sent something.
    pub(super) fn heard(&mut self, attempt: AttemptId) {
        if let Some(lane) = self.lanes.get_mut(&attempt) {
            lane.heard = true;
        }
    }

    /// An attempt is up. Says how it came about if it is to prove itself now.
    pub(super) fn connected(&mut self, now: Instant, attempt: AttemptId) -> Option<Way> {
        let mut lanes = self.lanes.values();
        let one_talks = lanes.any(|lane| lane.way.is_ours() && lane.stage == Stage::Proving);
        let lane = self
            .lanes
            .get_mut(&attempt)
            .filter(|lane| lane.stage == Stage::Opening)?;
        if one_talks && lane.way.is_ours() {
            lane.stage = Stage::Parked;
            lane.until = None;
            return None;
        }
        lane.stage = Stage::Proving;
        lane.until = Some(now + PROOF);
        Some(lane.way.clone())
    }

    /// The next parked attempt whose turn it is to prove itself.
    pub(super) fn unpark(&mut self, now: Instant) -> Option<(AttemptId, Way)> {
        if self
            .lanes
            .values()
            .any(|lane| lane.way.is_ours() && lane.stage == Stage::Proving)
        {
            return None;
        }
        let (attempt, lane) = self
            .lanes
            .iter_mut()
            .find(|(_, lane)| lane.stage == Stage::Parked)?;
        lane.stage = Stage::Proving;
        lane.until = Some(now + PROOF);
        Some((*attempt, lane.way.clone()))
    }

    /// An attempt has proven itself. False if it was not at that point.
    pub(super) fn proven(&mut self, attempt: AttemptId) -> bool {
        match self.lanes.get_mut(&attempt) {
            Some(lane) if lane.stage == Stage::Proving => {
                lane.stage = Stage::Proven;
                lane.until = None;
                true
            }
            _ => false,
        }
    }

    /// Strikes an attempt that is over. The next dial need not wait for its turn.
    pub(super) fn failed(&mut self, attempt: AttemptId, error: AttemptError) -> Option<Lane> {
        let lane = self.lanes.remove(&attempt)?;
        if matches!(lane.way, Way::Dialled(_)) {
            self.next_dial = None;
        }
        if lane.way.is_ours() || lane.way == Way::Created {
            self.last_error = Some(error);
        }
        Some(lane)
    }

    /// Attempts whose time is over.
    pub(super) fn overdue(&self, now: Instant) -> Vec<AttemptId> {
        let overdue = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.until.is_some_and(|until| until <= now));
        overdue.map(|(attempt, _)| *attempt).collect()
    }

    /// The time for all dials is over, the ones that have not begun included.
    pub(super) fn close_dials(&mut self, now: Instant) {
        if self.dials_end.is_some_and(|end| end <= now) {
            self.waiting.clear();
        }
    }

    /// When the time for all dials is over.
    pub(super) fn dials_end(&self) -> Option<Instant> {
        self.dials_end
    }

    /// Whether an attempt is proving itself.
    pub(super) fn is_proving(&self) -> bool {
        self.lanes.values().any(|lane| lane.stage == Stage::Proving)
    }

    /// When something of this is due next.
    pub(super) fn due(&self) -> Option<Instant> {
        let lanes = self.lanes.values().filter_map(|lane| lane.until);
        let next_dial = self.next_dial.filter(|_| self.may_dial());
        let dials_end = self.dials_end.filter(|_| !self.waiting.is_empty());
        lanes.chain(next_dial).chain(dials_end).min()
    }

    pub(super) fn lane(&self, attempt: AttemptId) -> Option<&Lane> {
        self.lanes.get(&attempt)
    }

    /// Attempts that are proving themselves on connections that the peer made to us.
    pub(super) fn proving_to_us(&self) -> Vec<AttemptId> {
        let lanes = self
            .lanes
            .iter()
            .filter(|(_, lane)| !lane.way.is_ours() && lane.stage == Stage::Proving);
        lanes.map(|(attempt, _)| *attempt).collect()
    }

    /// Whether nothing is left to wait for.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.lanes.is_empty()
    }

    /// How the last attempt of ours failed.
    pub(super) fn last_error(&self) -> Option<AttemptError> {
        self.last_error
    }
}

#[cfg(test)]
mod tests;
