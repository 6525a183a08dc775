//! Native policy, second half: both sides hold the key, tell each other where they are, and try
//! lanes. Whoever answered P1 is the controller: it creates the relay session and chooses the lane.

use std::time::Instant;

use super::candidate::{Judge, Named};
use super::common::{Common, Ending, Happening, Step};
use super::conversation::State;
use super::desk::Context;
use super::fault::{fault, sealed_whereabouts};
use super::ground::Ground;
use super::limits::{NATIVE_NEGOTIATION, RELAY_GRACE, RELAY_GRACE_MAX, RELAY_READY};
use super::numbers::Arrival;
use super::proposal;
use super::race::{Admission, Way};
use super::sealed::Whereabouts;
use super::{
    AttemptId, EndReason, Event, Output, RelayCandidate, RelayPolicy, Security, SecurityFault, Wait,
};
use crate::trust::{SEALED_PLAINTEXT_MAX, Session};
use crate::wire::rendezvous::{Message, SequenceNumber};

/// Keys are agreed on; lanes are tried.
#[derive(Debug)]
pub(super) struct Meeting {
    session: Session,
    controller: bool,
    ground: Ground,
    /// What the peer knows of us, and since when.
    told: Option<(Instant, Whereabouts)>,
    /// When the peer first told us where it is.
    heard_at: Option<Instant>,
    relay_joined: bool,
    accepted: bool,
    deadline: Instant,
}

impl Meeting {
    pub(super) fn begin(
        context: &Context<'_>,
        session: Session,
        controller: bool,
        ground: Ground,
    ) -> Self {
        Self {
            session,
            controller,
            ground,
            told: None,
            heard_at: None,
            relay_joined: false,
            accepted: false,
            deadline: context.now + NATIVE_NEGOTIATION,
        }
    }

    pub(super) fn due(&self) -> Instant {
        let grace = self.grace_end().filter(|_| self.waits_for_grace());
        self.ground
            .due()
            .into_iter()
            .chain(grace)
            .fold(self.deadline, Instant::min)
    }

    pub(super) fn handle(
        mut self: Box<Self>,
        common: &mut Common,
        context: &mut Context<'_>,
        happening: Happening,
    ) -> Step {
        match happening {
            Happening::Time => {
                self.ground.give_up_overdue(context);
                self.tell_if_ready(common, context)?;
            }
            Happening::Proposal(message, number) => {
                self.proposal(common, context, &message, number)?
            }
            Happening::Accepted(message) => {
                // Only the side that answered P1 accepts, and it always agrees to TLS (T-10).
                if !self.controller && !message.request_secure() {
                    common.refusable = true;
                    return Err(fault(SecurityFault::NotSecure));
                }
            }
            Happening::Gathered(found) => {
                self.ground.gathered(common, context, found);
                self.tell_if_ready(common, context)?;
            }
            Happening::RelayCreated { attempt, relay } => {
                self.ground.relay_created(attempt, relay);
                self.tell_if_ready(common, context)?;
            }
            Happening::Incoming { attempt, from, .. } => {
                match self.ground.race.accept(context.now, attempt, from) {
                    Admission::Admitted => self.secure(common, context, attempt, false),
                    Admission::InPlaceOf(silent) => {
                        context.desk.hang_up(silent);
                        self.secure(common, context, attempt, false);
                    }
                    Admission::Refused => context.desk.hang_up(attempt),
                }
            }
            Happening::Heard { attempt } => self.ground.race.heard(attempt),
            Happening::Connected { attempt } => {
                if let Some(way) = self.ground.race.connected(context.now, attempt) {
                    self.secure(common, context, attempt, way.is_ours());
                }
            }
            Happening::Secured { attempt, .. } => {
                if self.ground.race.proven(attempt) {
                    self.proven(common, context);
                }
            }
            Happening::Nominated { attempt } => {
                if !self.controller && self.ground.race.is_proven(attempt) {
                    return Ok(self.take(common, context, attempt));
                }
                context.desk.hang_up(attempt);
                self.ground
                    .race
                    .failed(attempt, super::AttemptError::WrongProof);
            }
            Happening::Failed { attempt, error } => self.ground.failed(context, attempt, error),
            _ => {}
        }
        self.go_on(common, context)
    }

    /// Starts what is due, chooses if there is a choice, ends if the time is over.
    fn go_on(mut self: Box<Self>, common: &mut Common, context: &mut Context<'_>) -> Step {
        if let Some(attempt) = self.choice(context.now) {
            context.desk.push(Output::Nominate {
                id: common.id.clone(),
                attempt,
            });
            return Ok(self.take(common, context, attempt));
        }
        if context.now >= self.deadline || self.is_hopeless(common) {
            let reason = if common.exchanged {
                EndReason::NoPath {
                    last: self.ground.race.last_error(),
                }
            } else {
                EndReason::TimedOut(Wait::Connection)
            };
            return Err(common.out_of_ways(reason));
        }
        self.ground
            .race
            .start_due(context.now, &common.id, context.desk);
        Ok(State::Meeting(self))
    }

    fn take(&self, common: &mut Common, context: &mut Context<'_>, attempt: AttemptId) -> State {
        let lane = self
            .ground
            .race
            .lane(attempt)
            .expect("a chosen lane is one of the race");
        common.establish(context, attempt, lane.way.clone())
    }

    /// A further proposal of the peer.
    pub(super) fn proposal(
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
    pub(super) fn heard(
        &mut self,
        common: &mut Common,
        context: &mut Context<'_>,
        theirs: Whereabouts,
    ) -> Result<(), Ending> {
        common.exchanged = true;
        if self.heard_at.is_none() {
            self.heard_at = Some(context.now);
            common.code_unproven = false;
            context.desk.event(Event::Keyed {
                id: common.id.clone(),
            });
        }
        if common.relay != RelayPolicy::Only {
            let own = self.ground.candidates();
            let judge = Judge {
                config: context.config,
                peer_verified: None,
                own,
            };
            let named = theirs.candidates.iter().map(|c| Named {
                address: c.address,
                kind: Some(c.kind),
            });
            let chosen = judge.choose(named);
            self.ground.race.offer(context.now, chosen);
            self.ground
                .race
                .start_due(context.now, &common.id, context.desk);
        }
        if let Some(relay) = theirs.relay {
            self.join(common, context, relay);
        }
        Ok(())
    }

    /// Joins the controller's relay session, once.
    fn join(&mut self, common: &Common, context: &mut Context<'_>, mut relay: RelayCandidate) {
        if self.controller || self.relay_joined || common.relay == RelayPolicy::Never {
            return;
        }
        if let super::RelayAddress::Socket(address) = &mut relay.address {
            match context.config.relay_reached_at(*address) {
                Some(reached) => *address = reached,
                None => return,
            }
        }
        self.relay_joined = true;
        let attempt = context.desk.new_attempt(&common.id);
        let way = Way::Joined(relay.address.clone());
        self.ground
            .race
            .open(attempt, way, Some(context.now + RELAY_READY));
        context.desk.push(Output::RelayJoin {
            id: common.id.clone(),
            attempt,
            relay,
        });
    }

    /// Tells the peer where we are, if it is known and the peer does not know it yet.
    pub(super) fn tell_if_ready(
        &mut self,
        common: &mut Common,
        context: &mut Context<'_>,
    ) -> Result<(), Ending> {
        if self.ground.is_gathering(context.now) {
            return Ok(());
        }
        self.ground.stop_waiting();
        let whereabouts = self.ground.whereabouts();
        if self
            .told
            .as_ref()
            .is_some_and(|(_, told)| *told == whereabouts)
        {
            return Ok(());
        }
        let number = common.next_number()?;
        let sealed = self
            .session
            .seal(number, &whereabouts.encode(SEALED_PLAINTEXT_MAX));
        let message = proposal::native_further(common, number, sealed);
        common.send_message(context, message);
        self.has_told(context, whereabouts);
        Ok(())
    }

    pub(super) fn has_told(&mut self, context: &Context<'_>, whereabouts: Whereabouts) {
        let since = self.told.as_ref().map_or(context.now, |(since, _)| *since);
        self.ground.stop_waiting();
        self.told = Some((since, whereabouts));
    }

    fn secure(
        &self,
        common: &Common,
        context: &mut Context<'_>,
        attempt: AttemptId,
        tls_client: bool,
    ) {
        context.desk.push(Output::Secure {
            id: common.id.clone(),
            attempt,
            tls_client,
            session: Security::Native(self.session.clone()),
        });
    }

    /// A lane is proven: whoever answered P1 says so, once.
    fn proven(&mut self, common: &mut Common, context: &mut Context<'_>) {
        common.exchanged = true;
        common.code_unproven = false;
        if self.controller && !self.accepted {
            self.accepted = true;
            let accept = proposal::native_accept(common, self.session.own_key_hash());
            common.send_message(context, accept);
        }
    }

    /// Controller: the lane to use, once there is one worth it. A relayed one gives direct ones a
    /// short time to catch up.
    fn choice(&self, now: Instant) -> Option<AttemptId> {
        if !self.controller {
            return None;
        }
        let (attempt, way) = self.ground.race.best_proven()?;
        let may_go = !way.is_relayed()
            || !self.waits_for_grace()
            || self.grace_end().is_none_or(|end| end <= now)
            || now >= self.deadline;
        may_go.then_some(attempt)
    }

    /// Whether a relayed lane is proven while a direct one may still come.
    fn waits_for_grace(&self) -> bool {
        let relayed = self
            .ground
            .race
            .best_proven()
            .is_some_and(|(_, way)| way.is_relayed());
        let direct_possible =
            self.ground.race.direct_pending() || !self.ground.candidates().is_empty();
        self.controller && relayed && direct_possible
    }

    /// 300 ms and one round trip after the peer could begin to dial, at most one second.
    fn grace_end(&self) -> Option<Instant> {
        let (told_at, _) = self.told.as_ref()?;
        let Some(heard_at) = self.heard_at else {
            return Some(*told_at + RELAY_GRACE_MAX);
        };
        let round_trip = heard_at.saturating_duration_since(*told_at);
        Some(heard_at + (RELAY_GRACE + round_trip).min(RELAY_GRACE_MAX))
    }

    /// Whether nothing is under way and nothing can come. Says nothing about addresses that we
    /// were asked to dial: how and when those fail is not for the peer to know (S-10).
    fn is_hopeless(&self, common: &Common) -> bool {
        let told_nothing = self
            .told
            .as_ref()
            .is_some_and(|(_, told)| *told == Whereabouts::default());
        let relay_may_come = !self.controller && common.relay != RelayPolicy::Never;
        let heard = self.heard_at.is_some();
        heard
            && told_nothing
            && !relay_may_come
            && !self.ground.race.has_dialled()
            && self.ground.race.is_idle()
    }
}
