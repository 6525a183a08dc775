//! A proposal that waits for our user.

use std::time::Instant;

use super::common::{Common, Ending, Happening, Step};
use super::conversation::State;
use super::desk::Context;
use super::legacy::Legacy;
use super::limits::USER_DECISION;
use super::native::Answering;
use super::numbers::Arrival;
use super::{Answer, EndReason, Event, Offer, Wait};
use crate::trust::Secret;
use crate::wire::rendezvous::{CancelReason, Message, NakCode};

/// A proposal that waits for our user. Later ones of the peer take its place without a second
/// question (L-08); what the user was shown stays.
#[derive(Debug)]
pub(super) struct Offered {
    latest: Message,
    until: Instant,
}

impl Offered {
    pub(super) fn begin(
        common: &mut Common,
        context: &mut Context<'_>,
        first: Message,
        offer: Offer,
    ) -> State {
        context.desk.event(Event::Proposed {
            id: common.id.clone(),
            offer,
        });
        State::Offered(Box::new(Self {
            latest: first,
            until: context.now + USER_DECISION,
        }))
    }

    pub(super) fn due(&self) -> Instant {
        self.until
    }

    pub(super) fn handle(
        mut self: Box<Self>,
        common: &mut Common,
        context: &mut Context<'_>,
        happening: Happening,
    ) -> Step {
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
                if counts && !common.native {
                    self.latest = message;
                }
            }
            Happening::UserAccepted { answer, relay } => {
                common.relay = relay;
                return match (answer, common.native) {
                    (Answer::Native { key_hash, random }, true) => {
                        let secret = Secret::None;
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
