//! Messages of peers: to which conversation they belong, and whether they count (S-13).

use std::time::Instant;

use bytes::Bytes;
use uuid::Uuid;

use super::common::{Ending, Happening};
use super::conversation::Conversation;
use super::endpoint::Endpoint;
use super::{ConversationId, EndReason};
use crate::wire::rendezvous::{Cookie, Message, MessageKind, NakCode, SequenceNumber};
use crate::wire::signal::Signal;
use crate::wire::text::ScreenName;

impl Endpoint {
    /// A signal arrived.
    pub(super) fn signal(&mut self, now: Instant, from: ScreenName, body: Bytes) {
        if self.config.ignored.contains(&from) {
            return;
        }
        let Ok(signal) = Signal::decode(body.clone()) else {
            self.unreadable(now, from, &body);
            return;
        };
        let nak = signal.nak();
        match signal {
            Signal::Rendezvous(message) => self.message(now, from, message),
            Signal::ClientError { cookie, .. } => {
                let id = if cookie.is_zero() {
                    self.only_one_awaiting(&from)
                } else {
                    Some(ConversationId { peer: from, cookie })
                };
                if let Some(id) = id {
                    self.with(now, &id, |conversation, context| {
                        conversation.refused(context, nak)
                    });
                }
            }
        }
    }

    /// AIM for Windows leaves the cookie of a client error empty: it can only mean the one
    /// conversation that awaits an answer (L-12).
    fn only_one_awaiting(&self, peer: &ScreenName) -> Option<ConversationId> {
        let awaiting = |(id, open): &(&ConversationId, &Conversation)| {
            id.peer == *peer && open.awaits_answer()
        };
        let mut all = self.conversations.iter().filter(awaiting);
        let only = all.next()?.0.clone();
        all.next().is_none().then_some(only)
    }

    fn message(&mut self, now: Instant, from: ScreenName, message: Message) {
        let id = ConversationId {
            peer: from,
            cookie: message.cookie,
        };
        self.make_way(now, &id, &message);
        if let Some(open) = self.conversations.get(&id) {
            if open.common.service == message.service {
                self.message_of(now, &id, message);
            }
        } else if message.kind == MessageKind::PROPOSE
            && !message.cookie.is_zero()
            && !self.memory.knows(now, &id)
        {
            self.arrived(now, id, message);
        }
    }

    /// A first proposal of a new session takes the place of one that the same peer made in an earlier one and nobody has
    /// answered.
    fn make_way(&mut self, now: Instant, id: &ConversationId, message: &Message) {
        let first = message.kind == MessageKind::PROPOSE
            && message.sequence() == Some(SequenceNumber::FIRST);
        let waits = |open: &Conversation| open.common.of_earlier_session && open.is_offered();
        if first && self.conversations.get(id).is_some_and(waits) {
            self.with(now, id, |conversation, context| {
                conversation.end(context, Ending::silent(EndReason::Superseded));
            });
            self.memory.forget_peer(&id.peer);
        }
    }

    /// A message of a conversation that is open.
    fn message_of(&mut self, now: Instant, id: &ConversationId, message: Message) {
        match message.kind {
            MessageKind::PROPOSE => {
                let number = message.sequence();
                match (message.check(), number) {
                    (Ok(()), Some(number)) => {
                        self.handle(now, id, Happening::Proposal(message, number))
                    }
                    _ => self.with(now, id, |conversation, context| {
                        conversation.malformed(context)
                    }),
                }
            }
            MessageKind::CANCEL => self.with(now, id, |conversation, context| {
                let reason = EndReason::Cancelled(message.cancel_reason());
                conversation.end(context, Ending::silent(reason));
            }),
            MessageKind::ACCEPT => self.handle(now, id, Happening::Accepted(message)),
            _ => {}
        }
    }

    /// A first proposal of which cookie and service can be read, but not the rest, is refused.
    fn unreadable(&mut self, now: Instant, from: ScreenName, body: &Bytes) {
        // A signal of kind "rendezvous", a block of type "propose", cookie and service.
        let Some([6, 0, 0, head @ ..]) = body.get(..27) else {
            return;
        };
        let (Some(cookie), Some(service)) = (head.first_chunk::<8>(), head.last_chunk::<16>())
        else {
            return;
        };
        let (cookie, service) = (Cookie(*cookie), Uuid::from_bytes(*service));
        let id = ConversationId { peer: from, cookie };
        if !cookie.is_zero()
            && !self.config.only_outgoing
            && !self.conversations.contains_key(&id)
            && !self.memory.knows(now, &id)
        {
            self.refuse(now, id, service, NakCode::BUSTED_PARAMETERS);
        }
    }
}
