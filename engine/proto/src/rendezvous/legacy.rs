//! Legacy policy: addresses in plain tags, one way at a time. Whoever makes the current proposal
//! waits, the other side dials or joins and sends ACCEPT when it is through.

use std::net::IpAddr;
use std::time::Instant;

use super::common::{Common, Ending, Gathered, Happening, Step};
use super::conversation::State;
use super::desk::Context;
use super::limits::{
    FIRST_ANSWER, LEGACY_NEGOTIATION, LISTENER_OPEN, LISTENER_WAIT, RELAY_READY, RELAY_READY_FIRST,
};
use super::methods::{Method, Methods, Wish};
use super::proposal::{self, LegacyWay, legacy_addresses};
use super::race::Race;
use super::{
    AttemptError, AttemptId, CandidateKind, EndReason, LegacySecurity, LocalCandidate, Output,
    Protocol, RelayAddress, RelayCandidate, Wait,
};
use crate::wire::rendezvous::{CancelReason, Message, SequenceNumber};
use crate::wire::tlv::TlvList;

/// A conversation with a legacy peer, from our first proposal or our user's yes on.
#[derive(Debug)]
pub(super) struct Legacy {
    pub(super) security: LegacySecurity,
    /// Whether the current proposal asks for TLS.
    pub(super) secure: bool,
    service_tags: TlvList,
    pub(super) methods: Methods,
    pub(super) race: Race,
    pub(super) own: Vec<LocalCandidate>,
    /// Addresses that the peer has announced; a connection from one of them may be the peer.
    pub(super) announced: Vec<IpAddr>,
    pub(super) turn: Turn,
    /// End of the whole negotiation; begins with the first answer.
    pub(super) deadline: Option<Instant>,
}

/// Whose proposal is current, and what is being done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Our own next one is being prepared: a listener is opened.
    OpeningListener {
        /// When that takes too long.
        until: Instant,
    },
    /// Our own next one is being prepared: a relay session is created.
    CreatingRelay,
    /// Ours is out, and we wait.
    Waiting {
        method: Method,
        first: bool,
        until: Instant,
        accepted: bool,
    },
    /// Theirs; we dial or join. ACCEPT goes out once.
    Acting { accepted: bool },
}

impl Legacy {
    /// We propose first.
    pub(super) fn propose(
        common: &mut Common,
        context: &mut Context<'_>,
        service_tags: TlvList,
        security: LegacySecurity,
    ) -> Step {
        let legacy = Self::new(security, security != LegacySecurity::Plain, service_tags);
        Box::new(legacy).next_method(common, context, Wish::Any)
    }

    /// Our user said yes to the peer's proposal.
    pub(super) fn answer(
        common: &mut Common,
        context: &mut Context<'_>,
        latest: &Message,
        security: LegacySecurity,
    ) -> Step {
        let mut legacy = Self::new(security, latest.request_secure(), TlvList::new());
        legacy.deadline = Some(context.now + LEGACY_NEGOTIATION);
        Box::new(legacy).act_on(common, context, latest)
    }

    fn new(security: LegacySecurity, secure: bool, service_tags: TlvList) -> Self {
        Self {
            security,
            secure,
            service_tags,
            methods: Methods::default(),
            race: Race::default(),
            own: Vec::new(),
            announced: Vec::new(),
            turn: Turn::CreatingRelay,
            deadline: None,
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let until = match self.turn {
            // While somebody is proving itself, the wait goes on.
            Turn::Waiting { until, .. } if !self.race.is_proving() => Some(until),
            Turn::OpeningListener { until } => Some(until),
            _ => None,
        };
        self.race
            .due()
            .into_iter()
            .chain(until)
            .chain(self.deadline)
            .chain(self.dials_end())
            .min()
    }

    fn dials_end(&self) -> Option<Instant> {
        self.race
            .dials_end()
            .filter(|_| matches!(self.turn, Turn::Acting { .. }) && !self.race.is_proving())
    }

    pub(super) fn handle(
        mut self: Box<Self>,
        common: &mut Common,
        context: &mut Context<'_>,
        happening: Happening,
    ) -> Step {
        match happening {
            Happening::Time => return self.time(common, context),
            Happening::Proposal(message, number) => {
                return self.proposal(common, context, &message, number);
            }
            Happening::Accepted(message) => return self.accepted(common, context, &message),
            Happening::Gathered(found) => return self.gathered(common, context, found),
            Happening::RelayCreated { attempt, relay } => {
                return self.relay_created(common, context, attempt, &relay);
            }
            Happening::Incoming { attempt, from, .. } => {
                self.incoming(common, context, attempt, from)
            }
            Happening::Heard { attempt } => self.race.heard(attempt),
            Happening::Connected { attempt } => {
                if let Some(way) = self.race.connected(context.now, attempt) {
                    self.up(common, context, attempt, &way);
                }
            }
            Happening::Secured {
                attempt,
                round_trip,
            } if self.race.proven(attempt) => {
                context.desk.proven(attempt, round_trip);
                let lane = self
                    .race
                    .lane(attempt)
                    .expect("a proven lane is one of the race");
                return Ok(common.establish(context, attempt, lane.way.clone().path()));
            }
            Happening::Failed { attempt, error } => {
                return self.failed(common, context, attempt, error);
            }
            // No lane is ever nominated with a legacy peer.
            _ => {}
        }
        Ok(State::Legacy(self))
    }

    fn time(mut self: Box<Self>, common: &mut Common, context: &mut Context<'_>) -> Step {
        for attempt in self.race.overdue(context.now) {
            context.desk.give_up(attempt, AttemptError::TimedOut);
            self.race.failed(attempt, AttemptError::TimedOut);
        }
        if self
            .deadline
            .is_some_and(|deadline| deadline <= context.now)
        {
            return Err(common.out_of_ways(self.no_path()));
        }
        self.go_on(common, context)
    }

    /// Goes on after attempts have come to an end: the next dial, the next method, or the end.
    pub(super) fn go_on(
        mut self: Box<Self>,
        common: &mut Common,
        context: &mut Context<'_>,
    ) -> Step {
        if let Some((attempt, way)) = self.race.unpark(context.now) {
            self.up(common, context, attempt, &way);
        }
        self.race.close_dials(context.now);
        match self.turn {
            Turn::Acting { .. } => {
                self.race.start_due(context.now, &common.id, context.desk);
                if self.race.is_idle() && self.race.dials_end().is_none_or(|end| end <= context.now)
                {
                    return self.next_method(common, context, Wish::Any);
                }
                Ok(State::Legacy(self))
            }
            Turn::OpeningListener { until } if until <= context.now => {
                self.next_method(common, context, Wish::Any)
            }
            Turn::CreatingRelay if self.race.is_idle() => {
                self.next_method(common, context, Wish::Any)
            }
            Turn::Waiting {
                method: Method::Relay,
                first,
                accepted,
                ..
            } if self.race.is_idle() => {
                // L-32: nothing further before the first proposal was answered.
                if first || accepted {
                    return Err(common.out_of_ways(self.no_path()));
                }
                self.next_method(common, context, Wish::Any)
            }
            Turn::Waiting {
                first,
                until,
                accepted,
                ..
            } if until <= context.now && !self.race.is_proving() => {
                if first && !accepted {
                    let reason = EndReason::TimedOut(Wait::Answer);
                    return Err(Ending::cancel(reason, CancelReason::TIMEOUT));
                }
                self.next_method(common, context, Wish::Any)
            }
            _ => Ok(State::Legacy(self)),
        }
    }

    /// Makes our next proposal, with the next method that is left.
    pub(super) fn next_method(
        mut self: Box<Self>,
        common: &mut Common,
        context: &mut Context<'_>,
        wish: Wish,
    ) -> Step {
        self.leave_current(common, context);
        let first = common.nothing_sent_or_received();
        match self
            .methods
            .next(wish, common.relay, context.config.relay_known, first)
        {
            Some(Method::Listen) => {
                common.listen(context, 0);
                self.turn = Turn::OpeningListener {
                    until: context.now + LISTENER_OPEN,
                };
            }
            Some(Method::Relay) => {
                self.create_relay(common, context);
                self.turn = Turn::CreatingRelay;
            }
            Some(Method::Ask) => self.send(common, context, Method::Ask, LegacyWay::Nothing)?,
            None => return Err(common.out_of_ways(self.no_path())),
        }
        Ok(State::Legacy(self))
    }

    fn gathered(
        mut self: Box<Self>,
        common: &mut Common,
        context: &mut Context<'_>,
        found: Gathered,
    ) -> Step {
        if !matches!(self.turn, Turn::OpeningListener { .. }) {
            if !common.listening && found.listen_port.is_some() {
                context.desk.push(Output::StopListening {
                    id: common.id.clone(),
                });
            }
            return Ok(State::Legacy(self));
        }
        // Old clients dial: ways that need more than that are nothing to them.
        self.own = found.candidates;
        self.own
            .retain(|own| own.protocol == Protocol::Tcp && own.kind != CandidateKind::REFLEXIVE);
        self.own.truncate(super::limits::ADDRESSES_TOLD_MAX);
        if found.listen_port.is_none() || legacy_addresses(&self.own).is_none() {
            return self.next_method(common, context, Wish::Any);
        }
        let own = self.own.clone();
        self.send(common, context, Method::Listen, LegacyWay::Direct(&own))?;
        Ok(State::Legacy(self))
    }

    fn relay_created(
        mut self: Box<Self>,
        common: &mut Common,
        context: &mut Context<'_>,
        attempt: AttemptId,
        relay: &RelayCandidate,
    ) -> Step {
        if self.turn != Turn::CreatingRelay || self.race.lane(attempt).is_none() {
            context.desk.hang_up(attempt);
            return Ok(State::Legacy(self));
        }
        // The tags have room for IPv4 alone.
        let RelayAddress::Socket(std::net::SocketAddr::V4(address)) = relay.address else {
            return self.next_method(common, context, Wish::Any);
        };
        self.send(
            common,
            context,
            Method::Relay,
            LegacyWay::Relay(address, relay.token),
        )?;
        if let Turn::Waiting { until, .. } = self.turn {
            self.race.prolong(attempt, Some(until));
        }
        Ok(State::Legacy(self))
    }

    /// Sends our proposal and waits.
    fn send(
        &mut self,
        common: &mut Common,
        context: &mut Context<'_>,
        method: Method,
        way: LegacyWay<'_>,
    ) -> Result<(), Ending> {
        let number = common.next_number()?;
        let message = proposal::legacy(common, number, way, self.secure, &self.service_tags);
        common.send_message(context, message);
        let first = number == SequenceNumber::FIRST;
        let wait = match (method, first) {
            (Method::Relay, true) => RELAY_READY_FIRST,
            (_, true) => FIRST_ANSWER,
            (Method::Relay, false) => RELAY_READY,
            (_, false) => LISTENER_WAIT,
        };
        self.turn = Turn::Waiting {
            method,
            first,
            until: context.now + wait,
            accepted: false,
        };
        Ok(())
    }

    pub(super) fn no_path(&self) -> EndReason {
        EndReason::NoPath {
            last: self.race.last_error(),
        }
    }

    /// Closes the listener, the relay session and the attempts of the proposal that was current.
    pub(super) fn leave_current(&mut self, common: &mut Common, context: &mut Context<'_>) {
        common.stop_listening(context);
        context.desk.hang_up_all(&common.id, None);
        self.race = self.race.renewed();
    }
}
