//! The states of one rendezvous, and the road from its beginning to its end.

use std::mem;
use std::time::Instant;

use super::common::{Common, Ending, Happening, Step};
use super::connector::Connector;
use super::desk::Context;
use super::legacy::Legacy;
use super::native::{Answering, Proposed};
use super::offered::Offered;
use super::{AttemptId, EndReason, Event, WrongCodeSeenBy};
use crate::trust::Session;
use crate::wire::rendezvous::{CancelReason, Message, NakCode};
use crate::wire::signal::Signal;

/// One rendezvous.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) common: Common,
    state: State,
}

/// Where a conversation is, with what that place needs.
#[derive(Debug)]
pub(super) enum State {
    /// A peer's proposal waits for our user.
    Offered(Box<Offered>),
    /// Native: our first proposal waits for its answer.
    Proposed(Box<Proposed>),
    /// Native: a first proposal came; our addresses are being found for the answer.
    Answering(Box<Answering>),
    /// Native: keys are agreed on, lanes are tried and used.
    Connecting(Box<Connector>),
    /// Legacy: proposals, and attempts to act on them.
    Legacy(Box<Legacy>),
    /// Legacy: a lane carries the conversation.
    Established(AttemptId),
    /// Over. The endpoint removes it.
    Ended,
}

impl Conversation {
    /// A conversation with its first state, or what was left of one that ended on its first step.
    pub(super) fn begin(
        context: &mut Context<'_>,
        mut common: Common,
        first: impl FnOnce(&mut Common, &mut Context<'_>) -> Step,
    ) -> Self {
        let step = first(&mut common, context);
        let mut conversation = Self {
            common,
            state: State::Ended,
        };
        conversation.settle(context, step);
        conversation
    }

    /// Something happened.
    pub(super) fn handle(&mut self, context: &mut Context<'_>, happening: Happening) {
        let common = &mut self.common;
        let step = match mem::replace(&mut self.state, State::Ended) {
            State::Offered(state) => state.handle(common, context, happening),
            State::Proposed(state) => state.handle(common, context, happening),
            State::Answering(state) => state.handle(common, context, happening),
            State::Connecting(state) => state.handle(common, context, happening),
            State::Legacy(state) => state.handle(common, context, happening),
            State::Established(lane) => established(lane, context, happening),
            State::Ended => Ok(State::Ended),
        };
        self.settle(context, step);
    }

    fn settle(&mut self, context: &mut Context<'_>, step: Step) {
        match step {
            Ok(state) => self.state = state,
            Err(ending) => self.end(context, ending),
        }
    }

    /// Ends the conversation: says so to the peer, closes everything, says so to the user.
    pub(super) fn end(&mut self, context: &mut Context<'_>, ending: Ending) {
        let common = &mut self.common;
        if let Some(nak) = ending.nak.filter(|_| mem::take(&mut common.refusable)) {
            common.send(context, &Signal::client_error(common.id.cookie, nak), false);
        }
        // Of what was never proposed the peer knows nothing.
        let unheard = common.initiator && common.nothing_sent_or_received();
        if let Some(reason) = ending.cancel.filter(|_| !unheard) {
            let cancel = Message::cancel(common.id.cookie, common.service, reason);
            common.send(context, &Signal::Rendezvous(cancel), true);
        }
        context.desk.hang_up_all(&common.id, None);
        common.stop_listening(context);
        context.desk.event(Event::Ended {
            id: common.id.clone(),
            reason: ending.reason,
            candidates_exchanged: common.exchanged,
        });
        self.state = State::Ended;
    }

    /// The peer refused with a client error. Nothing is answered to that.
    pub(super) fn refused(&mut self, context: &mut Context<'_>, nak: Option<NakCode>) {
        let reason = match nak {
            Some(NakCode::SECURITY_MISMATCH)
                if self.common.code_unproven && !self.common.initiator =>
            {
                EndReason::WrongCode(WrongCodeSeenBy::Peer)
            }
            Some(NakCode::SECURITY_MISMATCH) => EndReason::SecurityRefusedByPeer,
            // What we sent was well-formed: it was changed on the way.
            Some(NakCode::BUSTED_PARAMETERS) if self.common.native => {
                EndReason::SecurityRefusedByPeer
            }
            nak => EndReason::Refused(nak),
        };
        self.end(context, Ending::silent(reason));
    }

    /// The host could not deliver a message of ours. A lane that is up does not need the host.
    pub(super) fn undelivered(&mut self, context: &mut Context<'_>, code: u16) {
        let lost = match &self.state {
            State::Connecting(state) => state.lost_for_good(context.now),
            _ => None,
        };
        if let Some(error) = lost {
            self.end(context, Ending::silent(EndReason::LinkLost(error)));
        } else if !self.is_established() {
            self.end(context, Ending::silent(EndReason::Undeliverable { code }));
        }
    }

    /// The keys of a native conversation, once they are agreed on.
    pub(super) fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Connecting(state) => Some(state.session()),
            _ => None,
        }
    }

    /// A proposal that cannot be read. Once a lane is up, proposals do not matter.
    pub(super) fn malformed(&mut self, context: &mut Context<'_>) {
        if !self.is_established() {
            self.common.refusable = true;
            let ending = self.common.malformed();
            self.end(context, ending);
        }
    }

    /// The user said no (L-11).
    pub(super) fn decline(&mut self, context: &mut Context<'_>) {
        self.end(
            context,
            Ending::refuse(EndReason::Declined, NakCode::DENIED, CancelReason::USER),
        );
    }

    /// The transfer is over: no word to anyone.
    pub(super) fn finish(&mut self, context: &mut Context<'_>) {
        context.desk.finish_all(&self.common.id);
        self.common.stop_listening(context);
        self.state = State::Ended;
    }

    /// When something of this is due next.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Offered(state) => Some(state.due()),
            State::Proposed(state) => Some(state.due()),
            State::Answering(state) => state.due(),
            State::Connecting(state) => state.due(),
            State::Legacy(state) => state.due(),
            State::Established(_) | State::Ended => None,
        }
    }

    pub(super) fn is_offered(&self) -> bool {
        matches!(self.state, State::Offered(_))
    }

    pub(super) fn is_established(&self) -> bool {
        match &self.state {
            State::Connecting(state) => state.is_established(),
            State::Established(_) => true,
            _ => false,
        }
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Whether the first proposal is ours and unanswered.
    pub(super) fn awaits_first_answer(&self) -> bool {
        self.common.initiator && self.common.numbers.nothing_received() && !self.is_established()
    }

    /// Whether the last word about a way is ours.
    pub(super) fn awaits_answer(&self) -> bool {
        !self.common.numbers.last_is_theirs() && !self.is_established()
    }
}

/// A lane is in use: only its loss matters, and late comers are turned away.
fn established(lane: AttemptId, context: &mut Context<'_>, happening: Happening) -> Step {
    match happening {
        Happening::Failed { attempt, error } if attempt == lane => {
            context.desk.failed(attempt, error);
            return Err(Ending::silent(EndReason::LinkLost(error)));
        }
        Happening::Incoming { attempt, .. } => context.desk.hang_up(attempt),
        _ => {}
    }
    Ok(State::Established(lane))
}
