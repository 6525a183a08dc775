//! Native policy, first half: the key exchange. P1 and its answer C2 carry it; addresses are found
//! meanwhile, and leave only under the seal.

use std::time::Instant;

use super::common::{Common, Ending, Happening, Step};
use super::connector::{Connector, Ground};
use super::conversation::State;
use super::desk::Context;
use super::fault::{check_versions, sealed_whereabouts, security_ending};
use super::limits::{CODE_ANSWER, EARLY_MAX, FIRST_ANSWER};
use super::numbers::Arrival;
use super::proposal::{self, KeptTerms};
use super::{EndReason, Wait};
use crate::trust::{self, Proposing, Randomness, SEALED_PLAINTEXT_MAX, Secret};
use crate::wire::rendezvous::{CancelReason, Message, SequenceNumber};
use crate::wire::service::NATIVE_VERSION;

/// Our first proposal is out.
#[derive(Debug)]
pub(super) struct Proposed {
    proposing: Proposing,
    p1: KeptTerms,
    ground: Ground,
    /// Proposals that overtook the answer which they build upon.
    early: Vec<(Message, SequenceNumber)>,
    until: Instant,
}

impl Proposed {
    /// Sends P1 and has our own addresses found.
    pub(super) fn begin(
        common: &mut Common,
        context: &mut Context<'_>,
        secret: Secret,
        key_hash: [u8; 32],
        random: Randomness,
    ) -> Step {
        let code = matches!(secret, Secret::Code(_));
        common.code_unproven = code;
        let (proposing, block) =
            Proposing::start(handshake_context(common, context), secret, key_hash, random);
        let number = common.next_number()?;
        let message = proposal::native_handshake(common, number, &block);
        let p1 = KeptTerms::of(&message);
        common.send_message(context, message);
        let ground = Ground::prepare(common, context);
        let until = context.now + if code { CODE_ANSWER } else { FIRST_ANSWER };
        Ok(State::Proposed(Box::new(Self {
            proposing,
            p1,
            ground,
            early: Vec::new(),
            until,
        })))
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
                return Err(Ending::cancel(
                    EndReason::TimedOut(Wait::Answer),
                    CancelReason::TIMEOUT,
                ));
            }
            Happening::Gathered(found) => {
                self.ground.gathered(common, context, found);
            }
            // Nobody has been told where we listen.
            Happening::Incoming { attempt, .. } => context.desk.hang_up(attempt),
            Happening::Proposal(message, number) if is_early(&message) => {
                let known = self.early.iter().any(|(_, early)| *early == number);
                if !known && self.early.len() < EARLY_MAX {
                    self.early.push((message, number));
                }
            }
            Happening::Proposal(message, number) => {
                let counts = common.receive(number)? != Arrival::Stale;
                if counts {
                    return self.answered(common, context, &message, number);
                }
            }
            _ => {}
        }
        Ok(State::Proposed(self))
    }

    /// C2 came.
    fn answered(
        mut self: Box<Self>,
        common: &mut Common,
        context: &mut Context<'_>,
        c2: &Message,
        number: SequenceNumber,
    ) -> Step {
        check_versions(c2)?;
        let terms = KeptTerms::of(c2);
        let session = self.proposing.finish(self.p1.terms(), terms.terms());
        let session = session.map_err(|error| security_ending(common, &error))?;
        common.code_unproven = false;
        let theirs = sealed_whereabouts(c2, |sealed| session.open(number, sealed))?;
        let mut connector = Connector::begin(context, session, false, self.ground);
        connector.heard(common, context, theirs.unwrap_or_default())?;
        connector.tell_if_ready(common, context)?;
        self.early.sort_by_key(|(_, number)| *number);
        for (message, number) in self.early {
            connector.proposal(common, context, &message, number)?;
        }
        Ok(State::Connecting(Box::new(connector)))
    }
}

/// P1 came and is good so far; C2 leaves as soon as our addresses are found, or without them.
#[derive(Debug)]
pub(super) struct Answering {
    answering: trust::Answering,
    p1: KeptTerms,
    ground: Ground,
}

impl Answering {
    /// Takes P1. From here on a code is used up.
    pub(super) fn begin(
        common: &mut Common,
        context: &mut Context<'_>,
        p1: &Message,
        secret: Secret,
        key_hash: [u8; 32],
        random: Randomness,
    ) -> Step {
        check_versions(p1)?;
        common.code_unproven = matches!(secret, Secret::Code(_));
        let terms = KeptTerms::of(p1);
        let place = handshake_context(common, context);
        let answering = trust::Answering::start(place, secret, key_hash, random, terms.terms());
        let answering = answering.map_err(|error| security_ending(common, &error))?;
        let mut ground = Ground::prepare(common, context);
        ground.create_relay(common, context);
        Box::new(Self {
            answering,
            p1: terms,
            ground,
        })
        .answer_if_ready(common, context)
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.ground.due()
    }

    pub(super) fn handle(
        mut self: Box<Self>,
        common: &mut Common,
        context: &mut Context<'_>,
        happening: Happening,
    ) -> Step {
        match happening {
            Happening::Time => self.ground.give_up_overdue(context),
            Happening::Gathered(found) => {
                self.ground.gathered(common, context, found);
            }
            Happening::RelayCreated { attempt, relay } => self.ground.relay_created(attempt, relay),
            Happening::Failed { attempt, error } => {
                self.ground.failed(context, attempt, error);
            }
            Happening::Incoming { attempt, .. } => context.desk.hang_up(attempt),
            Happening::Proposal(_, number) => {
                common.receive(number)?;
            }
            _ => {}
        }
        self.answer_if_ready(common, context)
    }

    fn answer_if_ready(self: Box<Self>, common: &mut Common, context: &mut Context<'_>) -> Step {
        if self.ground.is_gathering(context.now) {
            return Ok(State::Answering(self));
        }
        let number = common.next_number()?;
        let whereabouts = self.ground.whereabouts();
        let sealed = self
            .answering
            .seal(number, &whereabouts.encode(SEALED_PLAINTEXT_MAX));
        let version = Some(NATIVE_VERSION);
        let (block, session) =
            self.answering
                .finish(self.p1.terms(), version, version, Some(sealed));
        let message = proposal::native_handshake(common, number, &block);
        common.send_message(context, message);
        let mut connector = Connector::begin(context, session, true, self.ground);
        connector.has_told(common, context, whereabouts);
        Ok(State::Connecting(Box::new(connector)))
    }
}

/// Whether a message builds upon a key exchange that it does not hold itself.
fn is_early(message: &Message) -> bool {
    let Some(Ok(block)) = message.security_block() else {
        return false;
    };
    let exchange = [
        block.pake_msg().is_some(),
        block.ephemeral().is_some(),
        block.confirm().is_some(),
        block.key().is_some(),
    ];
    message.request_secure() && block.sealed().is_some() && !exchange.contains(&true)
}

fn handshake_context(common: &Common, context: &Context<'_>) -> trust::Context {
    let (us, peer) = (context.local.clone(), common.id.peer.clone());
    let (proposer, answerer) = if common.initiator {
        (us, peer)
    } else {
        (peer, us)
    };
    trust::Context {
        proposer,
        answerer,
        cookie: common.id.cookie,
        service: common.service,
    }
}
