//! Further rounds: with fresh ports, because a mapping that a router has spoiled stays so; after a
//! lane has broken; after the network has changed.

use std::time::Instant;

use super::super::common::{Common, Ending};
use super::super::desk::Context;
use super::super::limits::{
    RELAY_LASTS, ROUND_PATIENCE, ROUND_PAUSE, ROUNDS_OFTEN, ROUNDS_OFTEN_FOR, ROUNDS_SELDOM,
    SEQUENCE_ROUNDS_MAX, SEQUENCE_TOLD_MAX,
};
use super::super::{AttemptError, AttemptId, Event, RelayPolicy};
use super::Connector;
use super::lanes::{Lane, Stage, Way};
use super::outlook::is_hopeless;
use super::round::Round;

impl Connector {
    /// Ends what is over and begins what is due.
    pub(super) fn keep_time(
        &mut self,
        common: &mut Common,
        context: &mut Context<'_>,
    ) -> Result<(), Ending> {
        if self.lane.judging_until.is_some_and(|at| at <= context.now) {
            self.lane.judging_until = None;
            self.round.finish();
        }
        if !self.round.over && self.round.end().is_some_and(|end| end <= context.now) {
            self.end_round(context);
            self.plan_next(common, context);
        }
        if self.is_well_and_direct() && self.lane.judging_until.is_none() && self.round.over {
            self.drop_surplus(context);
        }
        if self.next_round.is_some_and(|at| at <= context.now) {
            self.next_round = None;
            if common.numbers.highest() >= SEQUENCE_TOLD_MAX {
                return Ok(());
            }
            let next = self.round.generation.saturating_add(1);
            self.begin_round(common, context, next);
            self.tell_if_ready(common, context)?;
        }
        Ok(())
    }

    /// Nothing new is begun in this round, and what has not connected is given up.
    fn end_round(&mut self, context: &mut Context<'_>) {
        self.round.finish();
        let opening =
            |_, lane: &Lane| matches!(lane.way, Way::Dialled(..)) && lane.stage == Stage::Opening;
        for attempt in self.ground.lanes.which(opening) {
            self.ground.hang_up(context, attempt);
        }
    }

    /// Goes over to fresh sockets, of our own accord or because the peer did.
    pub(super) fn begin_round(
        &mut self,
        common: &mut Common,
        context: &mut Context<'_>,
        generation: u32,
    ) {
        self.end_round(context);
        self.round = Round::new(generation, self.signalling);
        self.round_began = context.now;
        self.next_round = None;
        self.lane.judging_until = None;
        self.told = None;
        self.ground.renew(common, context, generation);
        // Who looks anew may have lost more than one way.
        if self.controller && self.lane.established {
            self.ground.create_relay(common, context);
        }
    }

    /// When the next round is to begin, if one is.
    pub(super) fn plan_next(&mut self, common: &Common, context: &Context<'_>) {
        self.next_round = None;
        if !self.wants_more(common) {
            return;
        }
        let mut at = self.next_by_pace(context.now);
        // The other side acts first than did in the round before: who begins alternates.
        let controller_begins = self.round.generation % 2 == 1;
        let hurry = self.lane.established && !self.is_well();
        if controller_begins != self.controller && !hurry {
            at += ROUND_PATIENCE + self.signalling.unwrap_or_default();
        }
        self.next_round = Some(at.max(self.round_began + ROUND_PAUSE));
    }

    fn next_by_pace(&self, now: Instant) -> Instant {
        match self.lane.relayed_since.filter(|_| self.is_well()) {
            // Fresh ports at once, then from time to time.
            Some(since) if self.round.generation > 0 => {
                let often = now < since + ROUNDS_OFTEN_FOR;
                let pace = if often { ROUNDS_OFTEN } else { ROUNDS_SELDOM };
                now.max(self.round_began + pace)
            }
            _ => now,
        }
    }

    /// Whether another round may bring something.
    fn wants_more(&self, common: &Common) -> bool {
        if common.relay == RelayPolicy::Only || self.is_well_and_direct() {
            return false;
        }
        let numbers = common.numbers.highest();
        if self.lane.established && !self.is_well() {
            return numbers < SEQUENCE_TOLD_MAX;
        }
        let near = self.ground.lanes.any(|lane| lane.near);
        let hopeless = is_hopeless(&self.ground.whereabouts(), &self.theirs, near);
        let nobody = self.theirs.candidates.is_empty();
        numbers < SEQUENCE_ROUNDS_MAX && !hopeless && !nobody
    }

    /// Something has changed: a new round as soon as the last one is not too fresh.
    pub(super) fn look_anew(&mut self, context: &Context<'_>) {
        let soonest = context.now.max(self.round_began + ROUND_PAUSE);
        self.next_round = self.next_round.into_iter().chain([soonest]).min();
    }

    /// Nothing is heard on a lane.
    pub(super) fn silent(
        &mut self,
        common: &Common,
        context: &mut Context<'_>,
        attempt: AttemptId,
    ) {
        let known = self.ground.lanes.set_silent(attempt, true);
        let current = known && self.lane.current == Some(attempt);
        if current && !self.fall_back(common, context) {
            self.repair(common, context);
        }
    }

    /// The lane in use has broken.
    pub(super) fn lane_lost(
        &mut self,
        common: &Common,
        context: &mut Context<'_>,
        error: AttemptError,
    ) {
        self.lane.current = None;
        self.lane.judging_until = None;
        let relayed_since = self.lane.relayed_since.take();
        let lasted = relayed_since.is_some_and(|since| context.now >= since + RELAY_LASTS);
        if common.relay == RelayPolicy::Only && lasted {
            // There will be no other round to tell of another relay session in.
            self.round.tellings = 0;
        }
        self.lane.lost = Some((context.now, error));
        if self.fall_back(common, context) {
            return;
        }
        // Also if there are others that work: one that the peer has not chosen may be as dead as the peer is.
        context.desk.event(Event::LaneLost {
            id: common.id.clone(),
        });
        self.repair(common, context);
    }

    fn repair(&mut self, common: &Common, context: &mut Context<'_>) {
        if self.controller && !self.has_relay() {
            self.ground.create_relay(common, context);
        }
        if common.relay != RelayPolicy::Only {
            self.look_anew(context);
        }
    }
}
