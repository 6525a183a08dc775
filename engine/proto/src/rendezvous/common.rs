//! What the states of a conversation share: its identity, its numbers, how it ends.

use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::conversation::State;
use super::desk::Context;
use super::numbers::{Arrival, Numbers};
use super::{
    Answer, AttemptError, AttemptId, Carrier, ConversationId, EndReason, Event, LocalCandidate,
    Network, Output, Path, RelayCandidate, RelayPolicy, SecurityFault,
};
use crate::wire::rendezvous::{CancelReason, Message, NakCode, SequenceNumber};
use crate::wire::signal::Signal;

/// What a conversation holds in every state.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) id: ConversationId,
    /// We sent the first proposal.
    pub(super) initiator: bool,
    pub(super) service: Uuid,
    pub(super) relay: RelayPolicy,
    /// Which policy rules.
    pub(super) native: bool,
    pub(super) expectation: Option<u64>,
    /// A code was used, and the peer has not shown yet that it knows it.
    pub(super) code_unproven: bool,
    /// The peer has signed on anew since.
    pub(super) of_earlier_session: bool,
    /// The peers have told each other where they are.
    pub(super) exchanged: bool,
    /// A proposal of the peer may still be refused: at most once, and not after our ACCEPT (T-17).
    pub(super) refusable: bool,
    /// A listener was asked for.
    pub(super) listening: bool,
    pub(super) numbers: Numbers,
}

/// The next state, or the end.
pub(super) type Step = Result<State, Ending>;

/// How a conversation ends, and what the peer is told about it.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) reason: EndReason,
    pub(super) nak: Option<NakCode>,
    pub(super) cancel: Option<CancelReason>,
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
    Gathered(Gathered),
    Datagram {
        generation: u32,
        from: SocketAddr,
        bytes: Bytes,
    },
    RelayCreated {
        attempt: AttemptId,
        relay: RelayCandidate,
    },
    Incoming {
        attempt: AttemptId,
        from: SocketAddr,
        carrier: Carrier,
    },
    Heard {
        attempt: AttemptId,
    },
    Connected {
        attempt: AttemptId,
    },
    Secured {
        attempt: AttemptId,
        round_trip: Option<Duration>,
    },
    Silent {
        attempt: AttemptId,
    },
    Speaking {
        attempt: AttemptId,
    },
    NetworkChanged,
    Nominated {
        attempt: AttemptId,
        number: u32,
    },
    Failed {
        attempt: AttemptId,
        error: AttemptError,
    },
}

/// What was found out about the sockets of one generation.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) generation: u32,
    pub(super) listen_port: Option<u16>,
    pub(super) candidates: Vec<LocalCandidate>,
    pub(super) network: Network,
    pub(super) complete: bool,
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
            native: false,
            expectation: None,
            code_unproven: false,
            of_earlier_session: false,
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
    pub(super) fn receive(&mut self, number: SequenceNumber) -> Result<Arrival, Ending> {
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

    /// The end that a message brings which cannot be read. Clients of our own kind send none of
    /// that kind: there, somebody changed it on the way.
    pub(super) fn malformed(&self) -> Ending {
        let reason = if self.native {
            EndReason::Security(SecurityFault::Tampered)
        } else {
            EndReason::Malformed
        };
        Ending::refuse(reason, NakCode::BUSTED_PARAMETERS, CancelReason::UNKNOWN)
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

    /// Has sockets opened and own addresses found. Later generations have fresh sockets.
    pub(super) fn listen(&mut self, context: &mut Context<'_>, generation: u32) {
        self.listening = true;
        context.desk.push(Output::Gather {
            id: self.id.clone(),
            generation,
            listen: true,
            addresses: true,
            fresh: generation > 0,
        });
    }

    pub(super) fn stop_listening(&mut self, context: &mut Context<'_>) {
        if mem::take(&mut self.listening) {
            context.desk.push(Output::StopListening {
                id: self.id.clone(),
            });
        }
    }

    /// Legacy: a lane has won, and everything else is closed.
    pub(super) fn establish(
        &mut self,
        context: &mut Context<'_>,
        attempt: AttemptId,
        path: Path,
    ) -> State {
        context.desk.won(attempt);
        context.desk.hang_up_all(&self.id, Some(attempt));
        self.stop_listening(context);
        context.desk.event(Event::Established {
            id: self.id.clone(),
            attempt,
            path,
            expectation: self.expectation,
        });
        State::Established(attempt)
    }
}
