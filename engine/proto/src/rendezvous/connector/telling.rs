//! Candidates told and heard.

use super::super::common::{Common, Ending};
use super::super::desk::{Context, Try};
use super::super::fault::{fault, sealed_whereabouts};
use super::super::limits::{RELAY_READY, SEQUENCE_MAX, SEQUENCE_TOLD_MAX, TELLINGS_MAX};
use super::super::numbers::Arrival;
use super::super::proposal;
use super::super::sealed::Whereabouts;
use super::super::{Event, Output, RelayAddress, RelayCandidate, RelayPolicy, SecurityFault};
use super::Connector;
use super::lanes::{Lane, Way};
use crate::trust::SEALED_PLAINTEXT_MAX;
use crate::wire::rendezvous::{Message, SequenceNumber};

impl Connector {
    /// A further proposal of the peer.
    pub(in super::super) fn proposal(
        &mut self,
        common: &mut Common,
        context: &mut Context<'_>,
        message: &Message,
        number: SequenceNumber,
    ) -> Result<(), Ending> {
        if common.receive(number)? == Arrival::Stale {
            return Ok(());
        }
        // The refusal of a proposal is its last word, whatever was accepted before it.
        let theirs = sealed_whereabouts(message, |sealed| self.session.open(number, sealed))?;
        let theirs = theirs.ok_or_else(|| fault(SecurityFault::BrokenSeal))?;
        if self.accepted {
            common.refusable = false;
        }
        self.heard(common, context, theirs)
    }

    /// The peer says where it is.
    pub(in super::super) fn heard(
        &mut self,
        common: &mut Common,
        context: &mut Context<'_>,
        theirs: Whereabouts,
    ) -> Result<(), Ending> {
        common.exchanged = true;
        if self.first_heard.is_none() {
            self.first_heard = Some(context.now);
            common.code_unproven = false;
            context.desk.event(Event::Keyed {
                id: common.id.clone(),
            });
        }
        let generation = theirs.generation;
        // As many generations as there are numbers of proposals.
        if generation < self.theirs.generation || generation > SEQUENCE_MAX.into() {
            return Ok(());
        }
        if generation > self.round.generation {
            self.begin_round(common, context, generation);
        }
        if let Some(relay) = &theirs.relay {
            self.join(common, context, relay.clone());
        }
        if generation == self.round.generation {
            self.theirs = theirs;
            self.round.has_heard(context.now);
            self.measure_signalling();
            self.prepare_probing(common, context);
            self.offer_pairs(common, context);
            if self.round.over && self.next_round.is_none() {
                self.plan_next(common, context);
            }
        }
        self.tell_if_ready(common, context)
    }

    fn measure_signalling(&mut self) {
        let measured = self.round.answered_after();
        self.signalling = self.signalling.into_iter().chain(measured).min();
    }

    /// Joins each relay session of the controller once.
    fn join(&mut self, common: &Common, context: &mut Context<'_>, mut relay: RelayCandidate) {
        let known = self.relay_joined.as_ref() == Some(&relay);
        if self.controller || known || common.relay == RelayPolicy::Never {
            return;
        }
        let named = relay.clone();
        if let RelayAddress::Socket(address) = &mut relay.address {
            match context.config.relay_reached_at(*address) {
                Some(reached) => *address = reached,
                None => return,
            }
        }
        self.relay_joined = Some(named);
        let what = Try::Relay(Some(relay.address.clone()));
        let attempt = context.desk.new_attempt(&common.id, what);
        let way = Way::Joined(relay.address.clone());
        let until = Some(context.now + RELAY_READY);
        let lane = Lane::opening(way, until);
        self.ground.lanes.insert(attempt, lane);
        context.desk.push(Output::RelayJoin {
            id: common.id.clone(),
            attempt,
            relay,
        });
    }

    /// Tells the peer where we are, if it is known and the peer does not know it yet.
    pub(in super::super) fn tell_if_ready(
        &mut self,
        common: &mut Common,
        context: &mut Context<'_>,
    ) -> Result<(), Ending> {
        if self.ground.is_gathering(context.now) {
            return Ok(());
        }
        self.ground.stop_waiting();
        let whereabouts = self.ground.whereabouts();
        let spent = self.round.tellings >= TELLINGS_MAX
            || (self.lane.established && common.numbers.highest() >= SEQUENCE_TOLD_MAX);
        if spent || self.told.as_ref() == Some(&whereabouts) {
            return Ok(());
        }
        let number = common.next_number()?;
        let sealed = self
            .session
            .seal(number, &whereabouts.encode(SEALED_PLAINTEXT_MAX));
        let message = proposal::native_further(common, number, sealed);
        common.send_message(context, message);
        self.has_told(common, context, whereabouts);
        Ok(())
    }

    /// The peer is being told this.
    pub(in super::super) fn has_told(
        &mut self,
        common: &Common,
        context: &mut Context<'_>,
        whereabouts: Whereabouts,
    ) {
        if self.first_told.is_none() {
            self.first_told = Some(context.now);
            context.desk.event(Event::Told {
                id: common.id.clone(),
            });
        }
        self.ground.stop_waiting();
        self.ground.retire_outdated(common, context);
        self.told = Some(whereabouts);
        self.round.has_told(context.now);
        self.prepare_probing(common, context);
    }
}
