//! Native policy, second half: both sides hold the key, tell each other where they are, try every
//! way at once, use the first lane that is proven, and go on looking for a better one, or for
//! another one if it breaks, until the conversation is over.
//!
//! Whoever answered P1 is the controller: it told its addresses first (C2), creates the relay
//! session, dials over QUIC and chooses the lane. The other side opens its routers when it learns
//! where the controller is.
//!
//! | file | concern |
//! |---|---|
//! | `telling.rs` | candidates told and heard |
//! | `pairs.rs`, `outlook.rs` | which addresses are tried, in which order; what can be hoped for |
//! | `round.rs` | when each is tried |
//! | `trying.rs` | dials, probes, connections that come in |
//! | `lanes.rs` | the attempts and how far they are |
//! | `choosing.rs` | the lane in use, and better ones |
//! | `rounds.rs` | further rounds: fresh ports, repair, changes of the network |
//! | `ground.rs` | our own side: sockets, addresses, the relay session |

mod choosing;
mod ground;
mod lanes;
mod outlook;
mod pairs;
mod round;
mod rounds;
mod telling;
#[cfg(test)]
mod tests;
mod trying;

use std::time::{Duration, Instant};

pub(super) use self::ground::Ground;
use self::round::Round;
use super::common::{Common, Ending, Happening, Step};
use super::conversation::State;
use super::desk::Context;
use super::fault::fault;
use super::limits::{AWAY, NATIVE_NEGOTIATION, REPAIR};
use super::sealed::Whereabouts;
use super::{AttemptError, AttemptId, EndReason, RelayCandidate, RelayPolicy, SecurityFault, Wait};
use crate::trust::Session;

/// Keys are agreed on; lanes are tried and used.
#[derive(Debug)]
pub(super) struct Connector {
    session: Session,
    controller: bool,
    ground: Ground,
    round: Round,
    /// When the current round began, and when the next one is to begin.
    round_began: Instant,
    next_round: Option<Instant>,
    /// What the peer knows of our current generation.
    told: Option<Whereabouts>,
    /// What we know of the peer's latest generation.
    theirs: Whereabouts,
    first_told: Option<Instant>,
    /// Direct dials so far.
    dials: usize,
    first_heard: Option<Instant>,
    /// Round trip through the host, the shortest seen.
    signalling: Option<Duration>,
    relay_joined: Option<RelayCandidate>,
    accepted: bool,
    /// For the first lane.
    deadline: Instant,
    lane: InUse,
}

/// The lane in use, and how it came to that.
#[derive(Debug, Default)]
struct InUse {
    current: Option<AttemptId>,
    /// How often the controller has nominated: what we said last, or heard.
    nominations: u32,
    /// There was one.
    established: bool,
    /// Since when it is a relayed one.
    relayed_since: Option<Instant>,
    /// Until when other proven lanes are kept beside a direct one.
    judging_until: Option<Instant>,
    /// The last change between direct lanes that was not needed.
    moved: Option<Instant>,
    /// Since when there is none any more, and why.
    lost: Option<(Instant, AttemptError)>,
}

impl Connector {
    pub(super) fn begin(
        context: &Context<'_>,
        session: Session,
        controller: bool,
        ground: Ground,
    ) -> Self {
        Self {
            session,
            controller,
            round: Round::new(ground.generation, None),
            ground,
            round_began: context.now,
            next_round: None,
            told: None,
            theirs: Whereabouts::default(),
            first_told: None,
            dials: 0,
            first_heard: None,
            signalling: None,
            relay_joined: None,
            accepted: false,
            deadline: context.now + NATIVE_NEGOTIATION,
            lane: InUse::default(),
        }
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn is_established(&self) -> bool {
        self.lane.established
    }

    /// Why the last lane broke, if there is none now and the other side has had time to come back to the host.
    pub(super) fn lost_for_good(&self, now: Instant) -> Option<AttemptError> {
        let (since, error) = self.lane.lost?;
        (now >= since + AWAY).then_some(error)
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let InUse {
            established,
            judging_until,
            lost,
            ..
        } = self.lane;
        let deadline = (!established).then_some(self.deadline);
        let repair = lost.map(|(since, _)| since + REPAIR);
        let round = self.round.due(self.open());
        let round_end = self.round.end().filter(|_| !self.round.over);
        let times = [
            self.ground.due(),
            deadline,
            repair,
            round,
            round_end,
            judging_until,
            self.next_round,
            self.choice_due(),
        ];
        times.into_iter().flatten().min()
    }

    pub(super) fn handle(
        mut self: Box<Self>,
        common: &mut Common,
        context: &mut Context<'_>,
        happening: Happening,
    ) -> Step {
        match happening {
            Happening::Time => {
                self.give_up_overdue(context);
                self.tell_if_ready(common, context)?;
            }
            Happening::Proposal(message, number) => {
                let read = self.proposal(common, context, &message, number);
                // Once a lane is up, what cannot be read does not matter.
                if !self.lane.established {
                    read?;
                }
            }
            Happening::Accepted(message) => {
                // Only the side that answered P1 accepts, and it always agrees to TLS (T-10).
                let downgrade = !self.controller && !message.request_secure();
                if downgrade && !self.lane.established {
                    common.refusable = true;
                    return Err(fault(SecurityFault::NotSecure));
                }
            }
            Happening::Gathered(found) => {
                self.ground.gathered(common, context, found);
                self.prepare_probing(common, context);
                self.offer_pairs(common, context);
                self.tell_if_ready(common, context)?;
            }
            Happening::Datagram {
                generation,
                from,
                bytes,
            } => self.datagram(common, context, generation, from, &bytes),
            Happening::RelayCreated { attempt, relay } => {
                self.ground.relay_created(attempt, relay);
                self.tell_if_ready(common, context)?;
            }
            Happening::Incoming {
                attempt,
                from,
                carrier,
            } => self.incoming(common, context, attempt, from, carrier),
            Happening::Heard { attempt } => self.ground.lanes.heard(attempt),
            Happening::Connected { attempt } => self.connected(common, context, attempt),
            Happening::Secured {
                attempt,
                round_trip,
            } => {
                if self.ground.lanes.proven(attempt, round_trip) {
                    context.desk.proven(attempt, round_trip);
                    self.proven(common, context);
                }
            }
            Happening::Nominated { attempt, number } => {
                self.nominated(common, context, attempt, number);
            }
            Happening::Failed { attempt, error } => self.failed(common, context, attempt, error),
            Happening::Silent { attempt } => self.silent(common, context, attempt),
            Happening::Speaking { attempt } => {
                self.ground.lanes.set_silent(attempt, false);
            }
            Happening::NetworkChanged => self.look_anew(context),
            Happening::UserAccepted { .. } => {}
        }
        self.go_on(common, context)
    }

    /// Chooses if there is a choice, ends if the time is over, begins what is due.
    fn go_on(mut self: Box<Self>, common: &mut Common, context: &mut Context<'_>) -> Step {
        self.choose(common, context);
        let wanted = self.controller && !self.is_well() && !self.has_relay();
        self.ground.mind_relay(common, context, wanted);
        if !self.lane.established && (context.now >= self.deadline || self.is_idle(common)) {
            let reason = if common.exchanged {
                EndReason::NoPath {
                    last: self.ground.lanes.last_error(),
                }
            } else {
                EndReason::TimedOut(Wait::Connection)
            };
            return Err(common.out_of_ways(reason));
        }
        if let Some((since, error)) = self.lane.lost
            && context.now >= since + REPAIR
        {
            return Err(Ending::silent(EndReason::LinkLost(error)));
        }
        self.keep_time(common, context)?;
        self.start_due(common, context);
        Ok(State::Connecting(self))
    }

    /// Whether nothing is under way and nothing can come. Says nothing about addresses that we
    /// were asked to dial: how and when those fail is not for the peer to know (S-10).
    fn is_idle(&self, common: &Common) -> bool {
        let told_nothing = self
            .told
            .as_ref()
            .is_some_and(|told| told.candidates.is_empty() && told.relay.is_none());
        let relay_may_come = !self.controller && common.relay != RelayPolicy::Never;
        self.first_heard.is_some()
            && told_nothing
            && !relay_may_come
            && !self.ground.expects_relay()
            && !self.round.has_pairs()
            && self.ground.lanes.is_empty()
    }

    /// The lane in use is there, and speaks.
    fn is_well(&self) -> bool {
        self.current().is_some_and(|lane| !lane.silent)
    }

    /// The lane in use is there, speaks, and has no relay on it.
    fn is_well_and_direct(&self) -> bool {
        self.current()
            .is_some_and(|lane| !lane.silent && !lane.is_relayed())
    }

    fn current(&self) -> Option<&lanes::Lane> {
        self.ground.lanes.get(self.lane.current?)
    }
}
