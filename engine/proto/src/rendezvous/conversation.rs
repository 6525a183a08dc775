//! The states of one rendezvous, and what all of them share.

use std::mem;
use std::net::SocketAddr;
use std::time::Instant;

use uuid::Uuid;

use super::desk::Context;
use super::legacy::Legacy;
use super::limits::USER_DECISION;
use super::meeting::Meeting;
use super::native::{Answering, Proposed};
use super::numbers::Numbers;
use super::race::Way;
use super::{
    Answer, AttemptError, AttemptId, ConversationId, EndReason, Event, LocalCandidate, Offer,
    Output, RelayCandidate, RelayPolicy, Wait, WrongCodeSeenBy,
};
use crate::wire::rendezvous::{CancelReason, Message, NakCode, SequenceNumber};
use crate::wire::signal::Signal;

/// One rendezvous.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) common: Common,
    state: State,
}

/// What a conversation holds in every state.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) id: ConversationId,
    /// We sent the first proposal.
    pub(super) initiator: bool,
    pub(super) service: Uuid,
    pub(super) relay: RelayPolicy,
    pub(super) expectation: Option<u64>,
    /// A code was used, and the peer has not shown yet that it knows it.
    pub(super) code_unproven: bool,
    /// The peers have told each other where they are.
    pub(super) exchanged: bool,
    /// A proposal of the peer may still be refused: at most once, and not after our ACCEPT (T-17).
    pub(super) refusable: bool,
    /// A listener was asked for.
    pub(super) listening: bool,
    numbers: Numbers,
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
    /// Native: keys are agreed on, lanes are tried.
    Meeting(Box<Meeting>),
    /// Legacy: proposals, and attempts to act on them.
    Legacy(Box<Legacy>),
    /// A lane carries the conversation.
    Established(AttemptId),
    /// Over. The endpoint removes it.
    Ended,
}

/// The next state, or the end.
pub(super) type Step = Result<State, Ending>;

/// How a conversation ends, and what the peer is told about it.
#[derive(Debug)]
pub(super) struct Ending {
    reason: EndReason,
    nak: Option<NakCode>,
    cancel: Option<CancelReason>,
}

impl Ending {
    /// Without a word.
    pub(super) fn silent(reason: EndReason) -> Self {
        Self {
            reason,
            nak: None,
            cancel: None,
        }
    }

    /// With a CANCEL.
    pub(super) fn cancel(reason: EndReason, cancel: CancelReason) -> Self {
        Self {
            reason,
            nak: None,
            cancel: Some(cancel),
        }
    }

    /// With a NAK in front of the CANCEL (L-11), if there is a proposal to refuse.
    pub(super) fn refuse(reason: EndReason, nak: NakCode, cancel: CancelReason) -> Self {
        Self {
            reason,
            nak: Some(nak),
            cancel: Some(cancel),
        }
    }
}

/// What can happen to one conversation.
#[derive(Debug)]
pub(super) enum Happening {
    Time,
    Proposal(Message, SequenceNumber),
    Accepted(Message),
    UserAccepted {
        answer: Answer,
        relay: RelayPolicy,
    },
    Gathered {
        listen_port: Option<u16>,
        candidates: Vec<LocalCandidate>,
    },
    RelayCreated {
        attempt: AttemptId,
        relay: RelayCandidate,
    },
    Incoming {
        attempt: AttemptId,
        from: SocketAddr,
    },
    Heard {
        attempt: AttemptId,
    },
    Connected {
        attempt: AttemptId,
    },
    Secured {
        attempt: AttemptId,
    },
    Nominated {
        attempt: AttemptId,
    },
    Failed {
        attempt: AttemptId,
        error: AttemptError,
    },
}

impl Common {
    pub(super) fn new(
        id: ConversationId,
        service: Uuid,
        initiator: bool,
        relay: RelayPolicy,
    ) -> Self {
        Self {
            id,
            initiator,
            service,
            relay,
            expectation: None,
            code_unproven: false,
            exchanged: false,
            refusable: false,
            listening: false,
            numbers: Numbers::default(),
        }
    }

    pub(super) fn send(&self, context: &mut Context<'_>, signal: &Signal, host_ack: bool) {
        context.desk.push(Output::Send {
            to: self.id.peer.clone(),
            body: signal.encode(),
            host_ack,
        });
    }

    /// Sends a proposal or an ACCEPT. After an ACCEPT nothing is refused any more.
    pub(super) fn send_message(&mut self, context: &mut Context<'_>, message: Message) {
        let proposal = message.sequence().is_some();
        if !proposal {
            self.refusable = false;
        }
        self.send(context, &Signal::Rendezvous(message), proposal);
    }

    /// The number of our next proposal.
    pub(super) fn next_number(&mut self) -> Result<SequenceNumber, Ending> {
        let next = self.numbers.next().and_then(SequenceNumber::new);
        next.ok_or_else(Self::too_many)
    }

    /// Judges the number of a proposal of the peer; if it counts, it may be refused.
    pub(super) fn receive(
        &mut self,
        number: SequenceNumber,
    ) -> Result<super::numbers::Arrival, Ending> {
        use super::numbers::Arrival;
        let arrival = self.numbers.receive(number.get());
        match arrival {
            Arrival::TooMany => return Err(Self::too_many()),
            Arrival::Stale => {}
            Arrival::Newer | Arrival::Glare | Arrival::Crossed => self.refusable = true,
        }
        Ok(arrival)
    }

    pub(super) fn nothing_sent_or_received(&self) -> bool {
        self.numbers.none_yet()
    }

    fn too_many() -> Ending {
        Ending::cancel(EndReason::TooManyProposals, CancelReason::UNKNOWN)
    }

    /// The end when nothing is left to try, or the time is over: NAK 0x04 only if the last
    /// proposal was the peer's.
    pub(super) fn out_of_ways(&self, reason: EndReason) -> Ending {
        if self.numbers.last_is_theirs() {
            Ending::refuse(reason, NakCode::TIMED_OUT, CancelReason::TIMEOUT)
        } else {
            Ending::cancel(reason, CancelReason::TIMEOUT)
        }
    }

    pub(super) fn listen(&mut self, context: &mut Context<'_>) {
        self.listening = true;
        context.desk.push(Output::Gather {
            id: self.id.clone(),
            listen: true,
            addresses: true,
        });
    }

    pub(super) fn stop_listening(&mut self, context: &mut Context<'_>) {
        if mem::take(&mut self.listening) {
            context.desk.push(Output::StopListening {
                id: self.id.clone(),
            });
        }
    }

    /// A lane has won: everything else is closed.
    pub(super) fn establish(
        &mut self,
        context: &mut Context<'_>,
        attempt: AttemptId,
        way: Way,
    ) -> State {
        context.desk.hang_up_all(&self.id, Some(attempt));
        self.stop_listening(context);
        context.desk.event(Event::Established {
            id: self.id.clone(),
            attempt,
            path: way.path(),
            expectation: self.expectation,
        });
        State::Established(attempt)
    }
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
            State::Meeting(state) => state.handle(common, context, happening),
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
        if let Some(reason) = ending.cancel {
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
            nak => EndReason::Refused(nak),
        };
        self.end(context, Ending::silent(reason));
    }

    /// The host could not deliver a message of ours. A lane that is up does not need the host.
    pub(super) fn undelivered(&mut self, context: &mut Context<'_>, code: u16) {
        if !self.is_established() {
            self.end(context, Ending::silent(EndReason::Undeliverable { code }));
        }
    }

    /// A proposal that cannot be read. Once a lane is up, proposals do not matter.
    pub(super) fn malformed(&mut self, context: &mut Context<'_>) {
        if !self.is_established() {
            self.common.refusable = true;
            self.end(context, Self::malformed_ending());
        }
    }

    pub(super) fn malformed_ending() -> Ending {
        Ending::refuse(
            EndReason::Malformed,
            NakCode::BUSTED_PARAMETERS,
            CancelReason::UNKNOWN,
        )
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
        context.desk.forget_all(&self.common.id);
        self.common.stop_listening(context);
        self.state = State::Ended;
    }

    /// When something of this is due next.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Offered(state) => Some(state.until),
            State::Proposed(state) => Some(state.due()),
            State::Answering(state) => state.due(),
            State::Meeting(state) => Some(state.due()),
            State::Legacy(state) => state.due(),
            State::Established(_) | State::Ended => None,
        }
    }

    pub(super) fn is_offered(&self) -> bool {
        matches!(self.state, State::Offered(_))
    }

    pub(super) fn is_established(&self) -> bool {
        matches!(self.state, State::Established(_))
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

/// A proposal that waits for our user. Later ones of the peer take its place without a second
/// question (L-08); what the user was shown stays.
#[derive(Debug)]
pub(super) struct Offered {
    native: bool,
    latest: Message,
    until: Instant,
}

impl Offered {
    pub(super) fn begin(
        common: &mut Common,
        context: &mut Context<'_>,
        native: bool,
        first: Message,
        offer: Offer,
    ) -> State {
        context.desk.event(Event::Proposed {
            id: common.id.clone(),
            offer,
        });
        State::Offered(Box::new(Self {
            native,
            latest: first,
            until: context.now + USER_DECISION,
        }))
    }

    fn handle(
        mut self: Box<Self>,
        common: &mut Common,
        context: &mut Context<'_>,
        happening: Happening,
    ) -> Step {
        use super::numbers::Arrival;
        match happening {
            Happening::Time if context.now >= self.until => {
                let reason = EndReason::TimedOut(Wait::Decision);
                return Err(Ending::refuse(
                    reason,
                    NakCode::TIMED_OUT,
                    CancelReason::TIMEOUT,
                ));
            }
            Happening::Proposal(message, number) => {
                let counts = common.receive(number)? != Arrival::Stale;
                if counts && !self.native {
                    self.latest = message;
                }
            }
            Happening::UserAccepted { answer, relay } => {
                common.relay = relay;
                return match (answer, self.native) {
                    (Answer::Native { key_hash, random }, true) => {
                        let secret = crate::trust::Secret::None;
                        Answering::begin(common, context, &self.latest, secret, key_hash, random)
                    }
                    (Answer::Legacy { security }, false) => {
                        Legacy::answer(common, context, &self.latest, security)
                    }
                    _ => {
                        let (nak, cancel) =
                            (NakCode::INSUFFICIENT_RESOURCES, CancelReason::UNKNOWN);
                        Err(Ending::refuse(EndReason::Misused, nak, cancel))
                    }
                };
            }
            _ => {}
        }
        Ok(State::Offered(self))
    }
}

/// A lane is in use: only its loss matters, and late comers are turned away.
fn established(lane: AttemptId, context: &mut Context<'_>, happening: Happening) -> Step {
    match happening {
        Happening::Failed { attempt, error } if attempt == lane => {
            context.desk.forget(attempt);
            return Err(Ending::silent(EndReason::LinkLost(error)));
        }
        Happening::Incoming { attempt, .. } => context.desk.hang_up(attempt),
        _ => {}
    }
    Ok(State::Established(lane))
}
