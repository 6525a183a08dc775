//! Our own side: sockets of one generation and where they can be met, the relay session, and the
//! attempts.

use std::time::Instant;

use super::super::common::{Common, Gathered};
use super::super::desk::{Context, Try};
use super::super::limits::{
    CANDIDATES_TOLD_MAX, GATHER_BUDGET, RELAY_CREATE, RELAY_PAUSE_MAX, RELAY_PAUSES, RELAY_TRIES,
};
use super::super::sealed::Whereabouts;
use super::super::{
    AttemptError, AttemptId, LocalCandidate, Network, Output, Protocol, RelayCandidate, RelayPolicy,
};
use super::lanes::{Lane, Lanes, Stage, Way};
use crate::wire::ars::ErrorCode;

/// Our own side, from the first proposal on.
#[derive(Debug)]
pub(in super::super) struct Ground {
    pub(super) lanes: Lanes,
    pub(super) generation: u32,
    candidates: Vec<LocalCandidate>,
    network: Network,
    relay: Option<RelayCandidate>,
    relay_trouble: RelayTrouble,
    /// Until when own addresses are waited for. `None`: they are there, or not wanted.
    gather_until: Option<Instant>,
    /// An earlier generation that is open until the peer knows of the current one.
    outdated: Option<u32>,
}

/// How it went with the relay lately.
#[derive(Debug, Default)]
struct RelayTrouble {
    /// An attempt failed, and nothing was concluded from it yet.
    failed: Option<AttemptError>,
    /// Attempts in a row that came to nothing.
    failures: usize,
    /// When the next one is due.
    again: Option<Instant>,
}

/// Whether another session may come about after that: on another relay, or later.
fn may_work_again(error: AttemptError) -> bool {
    match error {
        AttemptError::Relay(code) => ErrorCode(code).is_of_ours(),
        // The other end of the session is at fault, or we are.
        AttemptError::NotTls | AttemptError::Tls | AttemptError::WrongProof => false,
        AttemptError::NoRelay | AttemptError::Local => false,
        AttemptError::Refused
        | AttemptError::Unreachable
        | AttemptError::TimedOut
        | AttemptError::Closed => true,
    }
}

impl Ground {
    /// Has own addresses found, if they may be told.
    pub(in super::super) fn prepare(common: &mut Common, context: &mut Context<'_>) -> Self {
        let mut ground = Self {
            lanes: Lanes::default(),
            generation: 0,
            candidates: Vec::new(),
            network: Network::default(),
            relay: None,
            relay_trouble: RelayTrouble::default(),
            gather_until: None,
            outdated: None,
        };
        ground.gather(common, context);
        ground
    }

    /// Goes over to fresh sockets.
    pub(super) fn renew(&mut self, common: &mut Common, context: &mut Context<'_>, to: u32) {
        if let Some(outdated) = self.outdated.replace(self.generation) {
            Self::retire(common, context, outdated);
        }
        self.generation = to;
        self.candidates.clear();
        self.network = Network::default();
        self.gather(common, context);
    }

    fn gather(&mut self, common: &mut Common, context: &mut Context<'_>) {
        let direct = common.relay != RelayPolicy::Only;
        if direct {
            common.listen(context, self.generation);
        }
        self.gather_until = direct.then(|| context.now + GATHER_BUDGET);
    }

    /// The peer knows of the current generation: earlier sockets are of no use any more.
    pub(super) fn retire_outdated(&mut self, common: &Common, context: &mut Context<'_>) {
        if let Some(outdated) = self.outdated.take() {
            Self::retire(common, context, outdated);
        }
    }

    fn retire(common: &Common, context: &mut Context<'_>, generation: u32) {
        if common.listening {
            context.desk.push(Output::Retire {
                id: common.id.clone(),
                generation,
            });
        }
    }

    /// Has a relay session created, if one may be used and there is none.
    pub(in super::super) fn create_relay(&mut self, common: &Common, context: &mut Context<'_>) {
        let may = common.relay != RelayPolicy::Never && context.config.relay_known;
        if !may
            || self
                .lanes
                .any(|lane| lane.way == Way::Created && !lane.silent)
        {
            return;
        }
        let attempt = context.desk.new_attempt(&common.id, Try::Relay(None));
        let until = Some(context.now + RELAY_CREATE);
        let lane = Lane::opening(Way::Created, until);
        self.lanes.insert(attempt, lane);
        context.desk.push(Output::RelayCreate {
            id: common.id.clone(),
            attempt,
            cookie: None,
        });
    }

    /// Own addresses were found.
    pub(in super::super) fn gathered(
        &mut self,
        common: &mut Common,
        context: &mut Context<'_>,
        found: Gathered,
    ) {
        if found.generation != self.generation {
            return;
        }
        if found.complete || !found.candidates.is_empty() {
            self.gather_until = None;
        }
        if common.relay == RelayPolicy::Only {
            return;
        }
        let mut candidates: Vec<LocalCandidate> = Vec::new();
        for candidate in found.candidates {
            // Without a listener there is nothing to be dialled.
            let useful = candidate.protocol == Protocol::Udp || found.listen_port.is_some();
            if useful && candidates.len() < CANDIDATES_TOLD_MAX && !candidates.contains(&candidate)
            {
                candidates.push(candidate);
            }
        }
        if found.listen_port.is_none() && candidates.is_empty() && self.generation == 0 {
            common.stop_listening(context);
            return;
        }
        common.listening = true;
        self.candidates = candidates;
        self.network = found.network;
    }

    /// The relay made a session; it now waits for the peer, as long as the negotiation lasts.
    pub(in super::super) fn relay_created(&mut self, attempt: AttemptId, relay: RelayCandidate) {
        if self
            .lanes
            .get(attempt)
            .is_some_and(|lane| lane.way == Way::Created)
        {
            self.lanes.prolong(attempt, None);
            self.relay = Some(relay);
        }
    }

    /// An attempt is over.
    pub(in super::super) fn failed(
        &mut self,
        context: &mut Context<'_>,
        attempt: AttemptId,
        error: AttemptError,
    ) -> Option<Lane> {
        context.desk.failed(attempt, error);
        let lane = self.lanes.failed(attempt, error)?;
        self.forget_relay(&lane);
        // What breaks once both are there may be somebody's work: each attempt fails alone.
        if lane.way == Way::Created && lane.stage == Stage::Opening {
            self.relay_trouble.failed = Some(error);
        }
        Some(lane)
    }

    /// A relay session that could not be made, or that died before anybody joined it, is made anew: at once, then ever more seldom.
    /// `wanted`: there is nothing better.
    pub(super) fn mind_relay(&mut self, common: &Common, context: &mut Context<'_>, wanted: bool) {
        let trouble = &mut self.relay_trouble;
        if let Some(error) = trouble.failed.take() {
            let pause = RELAY_PAUSES.get(trouble.failures);
            trouble.failures = trouble.failures.saturating_add(1);
            let pause = pause.copied().unwrap_or(RELAY_PAUSE_MAX);
            trouble.again = may_work_again(error).then(|| context.now + pause);
        }
        if !wanted {
            trouble.again = None;
        } else if trouble.again.is_some_and(|at| at <= context.now) {
            trouble.again = None;
            self.create_relay(common, context);
        }
    }

    /// A relay session is of use.
    pub(super) fn relay_works(&mut self) {
        self.relay_trouble = RelayTrouble::default();
    }

    /// Whether another relay session is worth waiting for where there is nothing else.
    pub(super) fn expects_relay(&self) -> bool {
        self.relay_trouble.again.is_some() && self.relay_trouble.failures < RELAY_TRIES
    }

    /// Drops an attempt that is not wanted any more.
    pub(super) fn hang_up(&mut self, context: &mut Context<'_>, attempt: AttemptId) {
        context.desk.hang_up(attempt);
        if let Some(lane) = self.lanes.remove(attempt) {
            self.forget_relay(&lane);
        }
    }

    /// A relay session that is gone is not told any more, unless there is another one.
    fn forget_relay(&mut self, gone: &Lane) {
        if gone.way == Way::Created && !self.lanes.any(|lane| lane.way == Way::Created) {
            self.relay = None;
        }
    }

    /// Hangs up what takes too long.
    pub(in super::super) fn give_up_overdue(&mut self, context: &mut Context<'_>) {
        for attempt in self.lanes.overdue(context.now) {
            context.desk.give_up(attempt, AttemptError::TimedOut);
            self.failed(context, attempt, AttemptError::TimedOut);
        }
    }

    pub(in super::super) fn is_gathering(&self, now: Instant) -> bool {
        self.gather_until.is_some_and(|until| now < until)
    }

    pub(in super::super) fn whereabouts(&self) -> Whereabouts {
        Whereabouts {
            candidates: self.candidates.clone(),
            relay: self.relay.clone(),
            generation: self.generation,
            network: self.network,
        }
    }

    pub(super) fn candidates(&self) -> &[LocalCandidate] {
        &self.candidates
    }

    pub(super) fn network(&self) -> Network {
        self.network
    }

    /// Whether a socket for UDP is open.
    pub(super) fn has_udp(&self) -> bool {
        let mut candidates = self.candidates.iter();
        candidates.any(|own| own.protocol == Protocol::Udp)
    }

    /// When something of this is due; addresses only as long as they are waited for.
    pub(in super::super) fn due(&self) -> Option<Instant> {
        let relay = self.relay_trouble.again;
        let times = [self.lanes.due(), self.gather_until, relay];
        times.into_iter().flatten().min()
    }

    /// Addresses are not waited for any longer; late ones are told in a further proposal.
    pub(super) fn stop_waiting(&mut self) {
        self.gather_until = None;
    }
}
