//! Attempts of a native conversation side by side: how far each has come, and how long it may take.
//!
//! The first to *connect* has no advantage, only the first to *prove* who it is. Each attempt fails
//! alone (S-12).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::super::limits::{ACCEPTED_MAX, ACCEPTED_PROOF, ACCEPTED_PROVEN_MAX, PROOF};
use super::super::{AttemptError, AttemptId, Carrier, Path, RelayAddress};

/// How a connection comes about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Way {
    Dialled(SocketAddr, Carrier),
    Accepted(SocketAddr, Carrier),
    /// A relay session that we created.
    Created,
    /// A relay session of the peer.
    Joined(RelayAddress),
}

/// How far an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Stage {
    /// TCP, QUIC or relay is being connected.
    Opening,
    /// Handshake and proof are under way.
    Proving,
    /// The other end has proven itself.
    Proven,
}

/// Whether the controller has chosen a lane at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Chosen {
    Never,
    /// We went on with a better one: words on different lanes may overtake each other.
    PassedOver,
    Used,
}

/// One attempt.
#[derive(Clone, Debug)]
pub(in super::super) struct Lane {
    pub(in super::super) way: Way,
    pub(in super::super) stage: Stage,
    /// In a network of ours, or on this machine.
    pub(in super::super) near: bool,
    /// Routers have to be opened from the inside for it.
    pub(in super::super) punched: bool,
    until: Option<Instant>,
    heard: bool,
    pub(in super::super) silent: bool,
    pub(in super::super) chosen: Chosen,
    pub(in super::super) round_trip: Option<Duration>,
}

impl Lane {
    /// One that is being opened.
    pub(in super::super) fn opening(way: Way, until: Option<Instant>) -> Self {
        Self {
            way,
            stage: Stage::Opening,
            near: false,
            punched: false,
            until,
            heard: false,
            silent: false,
            chosen: Chosen::Never,
            round_trip: None,
        }
    }

    /// The same: in a network of ours or not, through routers that we open from the inside or not.
    pub(in super::super) fn over(self, near: bool, punched: bool) -> Self {
        Self {
            near,
            punched,
            ..self
        }
    }

    pub(in super::super) fn is_relayed(&self) -> bool {
        self.carrier().is_none()
    }

    pub(in super::super) fn is_proven(&self) -> bool {
        self.stage == Stage::Proven
    }

    /// `None`: a relay.
    pub(in super::super) fn carrier(&self) -> Option<Carrier> {
        match self.way {
            Way::Dialled(_, carrier) | Way::Accepted(_, carrier) => Some(carrier),
            Way::Created | Way::Joined(_) => None,
        }
    }

    /// Where the other end is, if no relay is between.
    pub(in super::super) fn address(&self) -> Option<SocketAddr> {
        match self.way {
            Way::Dialled(address, _) | Way::Accepted(address, _) => Some(address),
            Way::Created | Way::Joined(_) => None,
        }
    }

    pub(in super::super) fn path(&self) -> Path {
        match &self.way {
            Way::Dialled(address, carrier) | Way::Accepted(address, carrier) => Path::Direct {
                address: *address,
                carrier: *carrier,
                punched: self.punched,
            },
            Way::Created => Path::Relay(None),
            Way::Joined(relay) => Path::Relay(Some(relay.clone())),
        }
    }

    /// Whether this is a dial of ours that is not proven yet.
    pub(in super::super) fn is_open_dial(&self, wanted: Carrier) -> bool {
        matches!(self.way, Way::Dialled(_, carrier) if carrier == wanted) && !self.is_proven()
    }
}

/// What becomes of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Admission {
    Admitted,
    /// Admitted in place of the oldest silent one, which is to be hung up.
    InPlaceOf(AttemptId),
    /// Too many are talking already.
    Refused,
}

/// The attempts of one conversation.
#[derive(Debug, Default)]
pub(in super::super) struct Lanes {
    lanes: BTreeMap<AttemptId, Lane>,
    last_error: Option<AttemptError>,
}

impl Lanes {
    pub(in super::super) fn insert(&mut self, attempt: AttemptId, lane: Lane) {
        self.lanes.insert(attempt, lane);
    }

    pub(in super::super) fn get(&self, attempt: AttemptId) -> Option<&Lane> {
        self.lanes.get(&attempt)
    }

    pub(in super::super) fn iter(&self) -> impl Iterator<Item = (AttemptId, &Lane)> {
        self.lanes.iter().map(|(attempt, lane)| (*attempt, lane))
    }

    /// Those that the condition fits.
    pub(in super::super) fn which(
        &self,
        fits: impl Fn(AttemptId, &Lane) -> bool,
    ) -> Vec<AttemptId> {
        let fitting = self.iter().filter(|(attempt, lane)| fits(*attempt, lane));
        fitting.map(|(attempt, _)| attempt).collect()
    }

    pub(in super::super) fn any(&self, fits: impl Fn(&Lane) -> bool) -> bool {
        self.lanes.values().any(fits)
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Gives an attempt that is being opened until then.
    pub(in super::super) fn prolong(&mut self, attempt: AttemptId, until: Option<Instant>) {
        if let Some(lane) = self.lanes.get_mut(&attempt) {
            lane.until = until;
        }
    }

    /// A connection came in. It is proving itself from the start.
    pub(in super::super) fn accept(
        &mut self,
        now: Instant,
        attempt: AttemptId,
        lane: Lane,
    ) -> Admission {
        let accepted = |stage: Stage| {
            self.lanes.iter().filter(move |(_, lane)| {
                matches!(lane.way, Way::Accepted(..)) && lane.stage == stage
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
            stage: Stage::Proving,
            until: Some(now + ACCEPTED_PROOF),
            ..lane
        };
        self.lanes.insert(attempt, lane);
        admission
    }

    /// The other end of an accepted connection sent something.
    pub(in super::super) fn heard(&mut self, attempt: AttemptId) {
        if let Some(lane) = self.lanes.get_mut(&attempt) {
            lane.heard = true;
        }
    }

    /// A lane fell silent, or speaks again. False if there is no such lane.
    pub(in super::super) fn set_silent(&mut self, attempt: AttemptId, silent: bool) -> bool {
        let lane = self.lanes.get_mut(&attempt);
        lane.map(|lane| lane.silent = silent).is_some()
    }

    /// The controller has chosen a lane.
    pub(in super::super) fn set_chosen(&mut self, attempt: AttemptId, chosen: Chosen) {
        if let Some(lane) = self.lanes.get_mut(&attempt) {
            lane.chosen = chosen;
        }
    }

    /// An attempt is up. Says how it came about if it is to prove itself now.
    pub(in super::super) fn connected(&mut self, now: Instant, attempt: AttemptId) -> Option<Way> {
        let lane = self
            .lanes
            .get_mut(&attempt)
            .filter(|lane| lane.stage == Stage::Opening)?;
        lane.stage = Stage::Proving;
        lane.until = Some(now + PROOF);
        Some(lane.way.clone())
    }

    /// An attempt has proven itself. False if it was not at that point.
    pub(in super::super) fn proven(
        &mut self,
        attempt: AttemptId,
        round_trip: Option<Duration>,
    ) -> bool {
        match self.lanes.get_mut(&attempt) {
            Some(lane) if lane.stage == Stage::Proving => {
                lane.stage = Stage::Proven;
                lane.until = None;
                lane.round_trip = round_trip;
                true
            }
            _ => false,
        }
    }

    /// Strikes an attempt that is not wanted any more.
    pub(in super::super) fn remove(&mut self, attempt: AttemptId) -> Option<Lane> {
        self.lanes.remove(&attempt)
    }

    /// Strikes an attempt that is over.
    pub(in super::super) fn failed(
        &mut self,
        attempt: AttemptId,
        error: AttemptError,
    ) -> Option<Lane> {
        let lane = self.lanes.remove(&attempt)?;
        if !matches!(lane.way, Way::Accepted(..)) {
            self.last_error = Some(error);
        }
        Some(lane)
    }

    /// Attempts whose time is over.
    pub(in super::super) fn overdue(&self, now: Instant) -> Vec<AttemptId> {
        self.which(|_, lane| lane.until.is_some_and(|until| until <= now))
    }

    /// When the next attempt's time is over.
    pub(in super::super) fn due(&self) -> Option<Instant> {
        self.lanes.values().filter_map(|lane| lane.until).min()
    }

    /// How the last attempt of ours failed.
    pub(in super::super) fn last_error(&self) -> Option<AttemptError> {
        self.last_error
    }
}
