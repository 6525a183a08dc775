//! Native policy, first half: the key exchange. P1 and its answer C2 carry it; addresses are found
//! meanwhile, and leave only under the seal.

use std::time::Instant;

use super::conversation::{Common, Ending, Happening, State, Step};
use super::desk::Context;
use super::limits::{CODE_ANSWER, EARLY_MAX, FIRST_ANSWER, GATHER_BUDGET, RELAY_CREATE};
use super::meeting::Meeting;
use super::numbers::Arrival;
use super::proposal::{self, KeptTerms};
use super::race::{Pace, Race, Way};
use super::sealed::Whereabouts;
use super::{
    AttemptError, AttemptId, EndReason, LocalCandidate, Output, RelayCandidate, RelayPolicy,
    SecurityFault, Wait, WrongCodeSeenBy, limits,
};
use crate::trust::{self, HandshakeError, Proposing, Randomness, SEALED_PLAINTEXT_MAX, Secret};
use crate::wire::rendezvous::{CancelReason, Message, NakCode, SequenceNumber};
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
            Happening::Gathered {
                listen_port,
                candidates,
            } => {
                self.ground
                    .gathered(common, context, listen_port, candidates);
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
        let mut meeting = Meeting::begin(context, session, false, self.ground);
        meeting.heard(common, context, theirs.unwrap_or_default())?;
        meeting.tell_if_ready(common, context)?;
        self.early.sort_by_key(|(_, number)| *number);
        for (message, number) in self.early {
            meeting.proposal(common, context, &message, number)?;
        }
        Ok(State::Meeting(Box::new(meeting)))
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
            Happening::Gathered {
                listen_port,
                candidates,
            } => {
                self.ground
                    .gathered(common, context, listen_port, candidates);
            }
            Happening::RelayCreated { attempt, relay } => self.ground.relay_created(attempt, relay),
            Happening::Failed { attempt, error } => self.ground.failed(context, attempt, error),
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
        let mut meeting = Meeting::begin(context, session, true, self.ground);
        meeting.has_told(context, whereabouts);
        Ok(State::Meeting(Box::new(meeting)))
    }
}

/// Where we can be met, and the attempts to meet: what all native states share.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) race: Race,
    candidates: Vec<LocalCandidate>,
    relay: Option<RelayCandidate>,
    /// Until when own addresses are waited for. `None`: they are there, or not wanted.
    gather_until: Option<Instant>,
}

impl Ground {
    fn prepare(common: &mut Common, context: &mut Context<'_>) -> Self {
        let direct = common.relay != RelayPolicy::Only;
        if direct {
            common.listen(context);
        }
        Self {
            race: Race::new(Pace::Native),
            candidates: Vec::new(),
            relay: None,
            gather_until: direct.then(|| context.now + GATHER_BUDGET),
        }
    }

    fn create_relay(&mut self, common: &Common, context: &mut Context<'_>) {
        if common.relay == RelayPolicy::Never || !context.config.relay_known {
            return;
        }
        let attempt = context.desk.new_attempt(&common.id);
        self.race
            .open(attempt, Way::Created, Some(context.now + RELAY_CREATE));
        context.desk.push(Output::RelayCreate {
            id: common.id.clone(),
            attempt,
        });
    }

    /// Own addresses were found.
    pub(super) fn gathered(
        &mut self,
        common: &mut Common,
        context: &mut Context<'_>,
        listen_port: Option<u16>,
        candidates: Vec<LocalCandidate>,
    ) {
        self.gather_until = None;
        if common.relay == RelayPolicy::Only {
            return;
        }
        if listen_port.is_none() {
            // Without a listener there is nothing to be dialled.
            common.stop_listening(context);
            return;
        }
        for candidate in candidates {
            if self.candidates.len() < limits::ADDRESSES_TOLD_MAX
                && !self.candidates.contains(&candidate)
            {
                self.candidates.push(candidate);
            }
        }
    }

    /// The relay made a session; it now waits for the peer, as long as the negotiation lasts.
    pub(super) fn relay_created(&mut self, attempt: AttemptId, relay: RelayCandidate) {
        if self
            .race
            .lane(attempt)
            .is_some_and(|lane| lane.way == Way::Created)
        {
            self.race.prolong(attempt, None);
            self.relay = Some(relay);
        }
    }

    /// An attempt is over. A relay session that is gone is not told any more.
    pub(super) fn failed(
        &mut self,
        context: &mut Context<'_>,
        attempt: AttemptId,
        error: AttemptError,
    ) {
        context.desk.forget(attempt);
        if let Some(lane) = self.race.failed(attempt, error)
            && lane.way == Way::Created
        {
            self.relay = None;
        }
    }

    /// Hangs up what takes too long.
    pub(super) fn give_up_overdue(&mut self, context: &mut Context<'_>) {
        for attempt in self.race.overdue(context.now) {
            context.desk.hang_up(attempt);
            self.failed(context, attempt, AttemptError::TimedOut);
        }
    }

    pub(super) fn is_gathering(&self, now: Instant) -> bool {
        self.gather_until.is_some_and(|until| now < until)
    }

    pub(super) fn whereabouts(&self) -> Whereabouts {
        Whereabouts {
            candidates: self.candidates.clone(),
            relay: self.relay.clone(),
        }
    }

    pub(super) fn candidates(&self) -> &[LocalCandidate] {
        &self.candidates
    }

    /// When something of this is due; addresses only as long as they are waited for.
    pub(super) fn due(&self) -> Option<Instant> {
        self.race.due().into_iter().chain(self.gather_until).min()
    }

    /// Addresses are not waited for any longer; late ones are told in a further proposal.
    pub(super) fn stop_waiting(&mut self) {
        self.gather_until = None;
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

/// What was sealed into a message, or why the conversation cannot go on.
pub(super) fn sealed_whereabouts(
    message: &Message,
    open: impl FnOnce(&[u8]) -> Result<Vec<u8>, HandshakeError>,
) -> Result<Option<Whereabouts>, Ending> {
    if !message.request_secure() {
        return Err(fault(SecurityFault::NotSecure));
    }
    let Some(block) = message.security_block() else {
        return Err(fault(SecurityFault::NoBlock));
    };
    let block = block.map_err(|error| ending_for(&error.into()))?;
    let Some(sealed) = block.sealed() else {
        return Ok(None);
    };
    let opened = open(&sealed).map_err(|error| ending_for(&error))?;
    // The peer itself sealed it: what cannot be read is its doing, not the host's.
    let read = Whereabouts::decode(&opened);
    read.map(Some).map_err(|_| {
        Ending::refuse(
            EndReason::Malformed,
            NakCode::BUSTED_PARAMETERS,
            CancelReason::UNKNOWN,
        )
    })
}

fn check_versions(message: &Message) -> Result<(), Ending> {
    if message.versions_overlap(NATIVE_VERSION, NATIVE_VERSION) {
        return Ok(());
    }
    Err(Ending::refuse(
        EndReason::VersionMismatch,
        NakCode::VERSION_MISMATCH,
        CancelReason::UNKNOWN,
    ))
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

/// The end that follows from a failed key exchange. With a code, a proof that does not fit means
/// a wrong code; without one, that somebody changed the messages.
fn security_ending(common: &Common, error: &HandshakeError) -> Ending {
    if *error == HandshakeError::WrongConfirmation && common.code_unproven {
        let reason = EndReason::WrongCode(WrongCodeSeenBy::Us);
        return Ending::refuse(reason, error.nak(), CancelReason::UNKNOWN);
    }
    ending_for(error)
}

pub(super) fn fault(fault: SecurityFault) -> Ending {
    Ending::refuse(
        EndReason::Security(fault),
        NakCode::SECURITY_MISMATCH,
        CancelReason::UNKNOWN,
    )
}

fn ending_for(error: &HandshakeError) -> Ending {
    let fault = match error {
        HandshakeError::NoBlock => SecurityFault::NoBlock,
        HandshakeError::NotSecure => SecurityFault::NotSecure,
        HandshakeError::UnsupportedVersion(_) | HandshakeError::UnsupportedPake(_) => {
            SecurityFault::BlockVersion
        }
        HandshakeError::NoCommonAlpn => SecurityFault::NoCommonProtocol,
        HandshakeError::BadSeal => SecurityFault::BrokenSeal,
        HandshakeError::Malformed(_) | HandshakeError::MissingItem(_) => SecurityFault::BadBlock,
        _ => SecurityFault::Tampered,
    };
    Ending::refuse(
        EndReason::Security(fault),
        error.nak(),
        CancelReason::UNKNOWN,
    )
}
