//! What is reported of ways: those that were tried, and those that are used.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{AttemptError, AttemptId, CandidateKind, Carrier, RelayAddress};

/// Which way a lane takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// Straight to, or from, this address.
    Direct {
        /// Of the other end, as it is seen from here.
        address: SocketAddr,
        /// What it runs over.
        carrier: Carrier,
        /// Whether routers had to be opened from the inside for it.
        punched: bool,
    },
    /// Through a relay. `None`: the address of our own relay, known to whoever created the
    /// session.
    Relay(Option<RelayAddress>),
}

impl Path {
    /// Whether no relay is on it.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        matches!(self, Self::Direct { .. })
    }
}

/// Why a conversation went over to another lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MoveReason {
    /// It is the better one.
    Better,
    /// The one before it fell silent, broke, or its network changed.
    Repair,
}

/// One attempt, from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Its name.
    pub attempt: AttemptId,
    /// What it ran over. `None`: a relay.
    pub carrier: Option<Carrier>,
    /// Of the other end. `None`: a relay.
    pub address: Option<SocketAddr>,
    /// The relay, if it is known: to who joins.
    pub relay: Option<RelayAddress>,
    /// How we came by the address.
    pub source: TriedSource,
    /// When it began.
    pub started: Instant,
    /// When it ended, or was taken into use.
    pub ended: Instant,
    /// How.
    pub end: TriedEnd,
    /// What a round trip took, if that was measured.
    pub round_trip: Option<Duration>,
}

/// How we came by the address of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TriedSource {
    /// The peer named it under the seal.
    Candidate(CandidateKind),
    /// An old client named it.
    Announced,
    /// A signed datagram came from it.
    PeerReflexive,
    /// The other side dialled.
    Accepted,
    /// A relay session, ours or the peer's.
    Relay,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TriedEnd {
    /// It was taken into use.
    Won,
    /// It was proven, and another one was better.
    Lost,
    /// It was not needed any more.
    HungUp,
    /// It came to nothing.
    Failed(AttemptError),
}
