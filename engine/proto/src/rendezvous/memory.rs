//! Conversations that have ended, so that stragglers do not begin them anew (T-05).

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::ConversationId;
use super::limits::{REMEMBERED_FOR, REMEMBERED_MAX};
use crate::wire::text::ScreenName;

/// The last conversations that ended. Bounded in number and time.
#[derive(Debug, Default)]
pub(super) struct Memory {
    ended: BTreeMap<ConversationId, Instant>,
    order: VecDeque<(Instant, ConversationId)>,
}

impl Memory {
    /// Notes the end of a conversation.
    pub(super) fn remember(&mut self, now: Instant, id: ConversationId) {
        self.forget_old(now);
        if self.order.len() >= REMEMBERED_MAX
            && let Some((at, oldest)) = self.order.pop_front()
        {
            self.forget(at, &oldest);
        }
        self.ended.insert(id.clone(), now);
        self.order.push_back((now, id));
    }

    /// Whether that conversation ended a short while ago.
    pub(super) fn knows(&mut self, now: Instant, id: &ConversationId) -> bool {
        self.forget_old(now);
        self.ended.contains_key(id)
    }

    /// Forgets all conversations with a peer.
    pub(super) fn forget_peer(&mut self, peer: &ScreenName) {
        self.ended.retain(|id, _| id.peer != *peer);
        self.order.retain(|(_, id)| id.peer != *peer);
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((at, _)) = self.order.front()
            && now.saturating_duration_since(*at) >= REMEMBERED_FOR
            && let Some((at, id)) = self.order.pop_front()
        {
            self.forget(at, &id);
        }
    }

    /// Removes an entry unless the conversation ended a second time since.
    fn forget(&mut self, at: Instant, id: &ConversationId) {
        if self.ended.get(id) == Some(&at) {
            self.ended.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::rendezvous::Cookie;

    fn id(number: u64) -> ConversationId {
        ConversationId {
            peer: ScreenName::new("bob").expect("a good name"),
            cookie: Cookie(number.to_be_bytes()),
        }
    }

    #[allow(clippy::disallowed_methods)]
    fn any_instant() -> Instant {
        Instant::now()
    }

    #[test]
    fn t_05_an_end_is_remembered_for_five_minutes() {
        let start = any_instant();
        let mut memory = Memory::default();
        memory.remember(start, id(1));
        assert!(memory.knows(start + Duration::from_secs(299), &id(1)));
        assert!(!memory.knows(start + Duration::from_secs(300), &id(1)));
    }

    #[test]
    fn what_ended_with_one_peer_is_forgotten_alone() {
        let start = any_instant();
        let mut memory = Memory::default();
        let other = ConversationId {
            peer: ScreenName::new("eve").expect("a good name"),
            ..id(1)
        };
        memory.remember(start, id(1));
        memory.remember(start, other.clone());
        memory.forget_peer(&id(1).peer);
        assert!(!memory.knows(start, &id(1)));
        assert!(memory.knows(start, &other));
        assert_eq!(memory.order.len(), 1);
    }

    #[test]
    fn at_most_1024_ends_are_remembered() {
        let start = any_instant();
        let mut memory = Memory::default();
        for number in 0..=REMEMBERED_MAX as u64 {
            memory.remember(start, id(number));
        }
        assert!(!memory.knows(start, &id(0)));
        assert!(memory.knows(start, &id(1)));
        assert_eq!(memory.order.len(), REMEMBERED_MAX);
    }
}
