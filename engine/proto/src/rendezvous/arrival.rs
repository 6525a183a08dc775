//! First proposals of peers: who may begin a conversation with us.

use std::time::Instant;

use uuid::Uuid;

use super::common::{Common, Ending};
use super::conversation::Conversation;
use super::endpoint::Endpoint;
use super::fault::fault;
use super::limits::{UNANSWERED_MAX, UNANSWERED_PER_PEER_MAX};
use super::native::Answering;
use super::offered::Offered;
use super::proposal::{first_makes_sense, offer};
use super::{ConversationId, EndReason, Event, LegacySecurity, Output, RelayPolicy, SecurityFault};
use crate::trust::Secret;
use crate::wire::rendezvous::{CancelReason, Message, NakCode, SequenceNumber};
use crate::wire::security::SecurityBlock;
use crate::wire::service::{DIRECT_IM, NATIVE_VERSION};
use crate::wire::signal::Signal;

impl Endpoint {
    /// A proposal of a conversation that we do not know.
    pub(super) fn arrived(&mut self, now: Instant, id: ConversationId, message: Message) {
        let begins = begins(&message);
        if !begins && !self.config.first_word_decides {
            return;
        }
        let service = message.service;
        let native = self.config.native_services.contains(&service);
        let block = message.security_block().and_then(Result::ok);
        if let Some(expectation) = self.expected(now, &message, block.as_ref()) {
            self.match_expectation(now, id, &message, expectation);
            return;
        }
        if !begins || self.config.only_outgoing {
            return;
        }
        if message.check().is_err() {
            return self.refuse(now, id, service, NakCode::BUSTED_PARAMETERS);
        }
        if native
            && block
                .as_ref()
                .is_some_and(|block| block.pake_id().is_some())
        {
            // Made with a code, and no code is waited for. No answer: who only tries codes
            // learns nothing.
            self.memory.remember(now, id);
            return;
        }
        if !self.config.services.contains(&service) {
            return self.refuse(now, id, service, NakCode::UNSUPPORTED);
        }
        let refusal = if native {
            native_fault(&message, block.as_ref())
        } else {
            self.legacy_fault(&message)
        };
        if let Some(nak) = refusal {
            return self.refuse(now, id, service, nak);
        }
        if service == DIRECT_IM && !self.wins_direct_im_glare(now, &id) {
            return self.send_cancel(now, id, service);
        }
        if !self.make_room(now, &id) {
            return self.refuse(now, id, service, NakCode::RATE_LIMITED);
        }
        self.offer(now, id, message, native);
    }

    fn offer(&mut self, now: Instant, id: ConversationId, message: Message, native: bool) {
        self.open(now, id.clone(), |context| {
            let common = Common {
                native,
                ..Common::new(id, message.service, false, RelayPolicy::Auto)
            };
            Conversation::begin(context, common, |common, context| {
                common.receive(SequenceNumber::FIRST)?;
                let offer = offer(&message);
                Ok(Offered::begin(common, context, message, offer))
            })
        });
    }

    /// The expectation that a first proposal decides: whatever is wrong with it, unless it says
    /// by its form that it was made without a code.
    fn expected(
        &self,
        now: Instant,
        message: &Message,
        block: Option<&SecurityBlock>,
    ) -> Option<u64> {
        let any = self.config.first_word_decides;
        let made_without =
            block.is_some_and(|block| block.ephemeral().is_some() && block.pake_id().is_none());
        if made_without && !any {
            return None;
        }
        let fits = |expected: &super::endpoint::Expectation| {
            (any || expected.service == message.service)
                && expected.expires.is_none_or(|at| now < at)
        };
        let mut open = self
            .expectations
            .iter()
            .filter(|(_, expected)| fits(expected));
        open.next().map(|(number, _)| *number)
    }

    /// Answers a proposal with the code that it was made for. The code is used up (S-06).
    fn match_expectation(
        &mut self,
        now: Instant,
        id: ConversationId,
        message: &Message,
        number: u64,
    ) {
        let Some(expected) = self.expectations.remove(&number) else {
            return;
        };
        self.desk.event(Event::Matched {
            expectation: number,
            id: id.clone(),
        });
        self.open(now, id.clone(), |context| {
            let common = Common {
                native: true,
                expectation: Some(number),
                ..Common::new(id, message.service, false, expected.relay)
            };
            Conversation::begin(context, common, |common, context| {
                // Numbered or not: it is the first.
                common.receive(SequenceNumber::FIRST)?;
                if message.service != expected.service {
                    return Err(fault(SecurityFault::NoBlock));
                }
                if !begins(message) || message.check().is_err() {
                    return Err(common.malformed());
                }
                let secret = Secret::Code(expected.secret);
                Answering::begin(
                    common,
                    context,
                    message,
                    secret,
                    expected.key_hash,
                    expected.random,
                )
            })
        });
    }

    fn legacy_fault(&self, message: &Message) -> Option<NakCode> {
        if !first_makes_sense(message) {
            return Some(NakCode::BUSTED_PARAMETERS);
        }
        let fits = match self.config.legacy_security {
            LegacySecurity::Required => message.request_secure(),
            LegacySecurity::Opportunistic => true,
            LegacySecurity::Plain => !message.request_secure(),
        };
        (!fits).then_some(NakCode::SECURITY_MISMATCH)
    }

    /// Both users want a direct IM at once: the smaller cookie is kept. False if it is ours; if
    /// it is theirs, ours ends.
    fn wins_direct_im_glare(&mut self, now: Instant, theirs: &ConversationId) -> bool {
        let ours = self.conversations.iter().find(|(id, open)| {
            id.peer == theirs.peer && open.common.service == DIRECT_IM && open.awaits_first_answer()
        });
        let Some((ours, _)) = ours else { return true };
        if ours.cookie < theirs.cookie {
            return false;
        }
        let ours = ours.clone();
        self.with(now, &ours, |conversation, context| {
            conversation.end(
                context,
                Ending::cancel(EndReason::Superseded, CancelReason::UNKNOWN),
            );
        });
        true
    }

    /// Whether another proposal may wait for the user. When too many do, the oldest of somebody
    /// whom the user does not know goes.
    fn make_room(&mut self, now: Instant, id: &ConversationId) -> bool {
        let waiting: Vec<_> = self
            .conversations
            .values()
            .filter(|open| open.is_offered())
            .collect();
        let of_peer = waiting.iter().filter(|open| open.common.id.peer == id.peer);
        if of_peer.count() >= UNANSWERED_PER_PEER_MAX {
            return false;
        }
        if waiting.len() < UNANSWERED_MAX {
            return true;
        }
        let strangers = waiting
            .into_iter()
            .filter(|open| !self.config.contacts.contains(&open.common.id.peer));
        let Some(oldest) = strangers.min_by_key(|open| open.due()) else {
            return false;
        };
        let oldest = oldest.common.id.clone();
        self.with(now, &oldest, |conversation, context| {
            let (nak, cancel) = (NakCode::RATE_LIMITED, CancelReason::UNKNOWN);
            conversation.end(
                context,
                Ending::refuse(EndReason::TooManyConversations, nak, cancel),
            );
        });
        true
    }

    /// Refuses a first proposal without asking anyone: NAK, then CANCEL (L-11).
    pub(super) fn refuse(&mut self, now: Instant, id: ConversationId, service: Uuid, nak: NakCode) {
        self.send(&id, &Signal::client_error(id.cookie, nak), false);
        self.send_cancel(now, id.clone(), service);
        self.desk.event(Event::Refused { id, service, nak });
    }

    fn send_cancel(&mut self, now: Instant, id: ConversationId, service: Uuid) {
        let cancel = Message::cancel(id.cookie, service, CancelReason::UNKNOWN);
        self.send(&id, &Signal::Rendezvous(cancel), true);
        self.memory.remember(now, id);
    }

    fn send(&mut self, id: &ConversationId, signal: &Signal, host_ack: bool) {
        self.desk.push(Output::Send {
            to: id.peer.clone(),
            body: signal.encode(),
            host_ack,
        });
    }
}

/// Whether a proposal may be the first of a conversation. One that cannot be read may.
fn begins(message: &Message) -> bool {
    message.check().is_err() || message.sequence() == Some(SequenceNumber::FIRST)
}

/// What is wrong with a native proposal made without a code (S-03).
fn native_fault(message: &Message, block: Option<&SecurityBlock>) -> Option<NakCode> {
    if !message.request_secure() || message.security_bytes().is_none() {
        return Some(NakCode::SECURITY_MISMATCH);
    }
    if !message.versions_overlap(NATIVE_VERSION, NATIVE_VERSION) {
        return Some(NakCode::VERSION_MISMATCH);
    }
    if let Some(Err(error)) = message.security_block() {
        return Some(crate::trust::HandshakeError::from(error).nak());
    }
    block
        .is_none_or(|block| block.ephemeral().is_none())
        .then_some(NakCode::SECURITY_MISMATCH)
}
