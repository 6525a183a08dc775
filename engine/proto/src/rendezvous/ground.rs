//! Native policy: where we can be met, and the attempts to meet.

use std::time::Instant;

use super::common::{Common, Gathered};
use super::desk::Context;
use super::limits::{ADDRESSES_TOLD_MAX, GATHER_BUDGET, RELAY_CREATE};
use super::race::{Pace, Race, Way};
use super::sealed::Whereabouts;
use super::{AttemptError, AttemptId, LocalCandidate, Output, RelayCandidate, RelayPolicy};

/// Where we can be met, and the attempts to meet: what all native states share.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) race: Race,
    candidates: Vec<LocalCandidate>,
    relay: Option<RelayCandidate>,
    /// Until when own addresses are waited for. `None`: they are there, or not wanted.
    gather_until: Option<Instant>,
}

impl Ground {
    /// Has own addresses found, if they may be told.
    pub(super) fn prepare(common: &mut Common, context: &mut Context<'_>) -> Self {
        let direct = common.relay != RelayPolicy::Only;
        if direct {
            common.listen(context, 0);
        }
        Self {
            race: Race::new(Pace::Native),
            candidates: Vec::new(),
            relay: None,
            gather_until: direct.then(|| context.now + GATHER_BUDGET),
        }
    }

    /// Has a relay session created, if one may be used.
    pub(super) fn create_relay(&mut self, common: &Common, context: &mut Context<'_>) {
        if common.relay == RelayPolicy::Never || !context.config.relay_known {
            return;
        }
        let attempt = context.desk.new_attempt(&common.id);
        self.race
            .open(attempt, Way::Created, Some(context.now + RELAY_CREATE));
        context.desk.push(Output::RelayCreate {
            id: common.id.clone(),
            attempt,
            cookie: None,
        });
    }

    /// Own addresses were found.
    pub(super) fn gathered(
        &mut self,
        common: &mut Common,
        context: &mut Context<'_>,
        found: Gathered,
    ) {
        self.gather_until = None;
        if common.relay == RelayPolicy::Only {
            return;
        }
        if found.listen_port.is_none() {
            // Without a listener there is nothing to be dialled.
            common.stop_listening(context);
            return;
        }
        common.listening = true;
        for candidate in found.candidates {
            if self.candidates.len() < ADDRESSES_TOLD_MAX && !self.candidates.contains(&candidate) {
                self.candidates.push(candidate);
            }
        }
    }

    /// The relay made a session; it now waits for the peer, as long as the negotiation lasts.
    pub(super) fn relay_created(&mut self, attempt: AttemptId, relay: RelayCandidate) {
        if self
            .race
            .lane(attempt)
            .is_some_and(|lane| lane.way == Way::Created)
        {
            self.race.prolong(attempt, None);
            self.relay = Some(relay);
        }
    }

    /// An attempt is over. A relay session that is gone is not told any more.
    pub(super) fn failed(
        &mut self,
        context: &mut Context<'_>,
        attempt: AttemptId,
        error: AttemptError,
    ) {
        context.desk.forget(attempt);
        if let Some(lane) = self.race.failed(attempt, error)
            && lane.way == Way::Created
        {
            self.relay = None;
        }
    }

    /// Hangs up what takes too long.
    pub(super) fn give_up_overdue(&mut self, context: &mut Context<'_>) {
        for attempt in self.race.overdue(context.now) {
            context.desk.hang_up(attempt);
            self.failed(context, attempt, AttemptError::TimedOut);
        }
    }

    pub(super) fn is_gathering(&self, now: Instant) -> bool {
        self.gather_until.is_some_and(|until| now < until)
    }

    pub(super) fn whereabouts(&self) -> Whereabouts {
        Whereabouts {
            candidates: self.candidates.clone(),
            relay: self.relay.clone(),
            ..Whereabouts::default()
        }
    }

    pub(super) fn candidates(&self) -> &[LocalCandidate] {
        &self.candidates
    }

    /// When something of this is due; addresses only as long as they are waited for.
    pub(super) fn due(&self) -> Option<Instant> {
        self.race.due().into_iter().chain(self.gather_until).min()
    }

    /// Addresses are not waited for any longer; late ones are told in a further proposal.
    pub(super) fn stop_waiting(&mut self) {
        self.gather_until = None;
    }
}
