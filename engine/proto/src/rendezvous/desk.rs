//! What the conversations of an endpoint share: outgoing outputs and the names of attempts.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::{AttemptId, Config, ConversationId, Event, Output};
use crate::wire::text::ScreenName;

/// What a conversation is handed with every input.
pub(super) struct Context<'a> {
    pub(super) now: Instant,
    pub(super) config: &'a Config,
    pub(super) local: &'a ScreenName,
    pub(super) desk: &'a mut Desk,
}

/// Outputs on their way out, and which attempt belongs to which conversation.
#[derive(Debug, Default)]
pub(super) struct Desk {
    outputs: VecDeque<Output>,
    attempts: BTreeMap<AttemptId, ConversationId>,
    named: u64,
}

impl Desk {
    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn event(&mut self, event: Event) {
        self.push(Output::Event(event));
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// A name that no attempt has had.
    pub(super) fn name_attempt(&mut self) -> AttemptId {
        self.named += 1;
        AttemptId(self.named)
    }

    /// A new attempt of that conversation.
    pub(super) fn new_attempt(&mut self, id: &ConversationId) -> AttemptId {
        let attempt = self.name_attempt();
        self.attempts.insert(attempt, id.clone());
        attempt
    }

    /// An attempt that the driver named.
    pub(super) fn adopt(&mut self, attempt: AttemptId, id: &ConversationId) {
        self.attempts.insert(attempt, id.clone());
    }

    /// The conversation of an open attempt.
    pub(super) fn owner(&self, attempt: AttemptId) -> Option<&ConversationId> {
        self.attempts.get(&attempt)
    }

    /// Strikes an attempt that the driver has given up by itself.
    pub(super) fn forget(&mut self, attempt: AttemptId) {
        self.attempts.remove(&attempt);
    }

    /// Has the driver drop an attempt.
    pub(super) fn hang_up(&mut self, attempt: AttemptId) {
        self.attempts.remove(&attempt);
        self.push(Output::HangUp { attempt });
    }

    /// Has the driver drop every attempt of a conversation but one.
    pub(super) fn hang_up_all(&mut self, id: &ConversationId, except: Option<AttemptId>) {
        let open = self
            .attempts
            .iter()
            .filter(|(attempt, owner)| *owner == id && Some(**attempt) != except);
        let open: Vec<_> = open.map(|(attempt, _)| *attempt).collect();
        for attempt in open {
            self.hang_up(attempt);
        }
    }

    /// Strikes every attempt of a conversation without a word to the driver.
    pub(super) fn forget_all(&mut self, id: &ConversationId) {
        self.attempts.retain(|_, owner| owner != id);
    }

    pub(super) fn open_attempts(&self) -> usize {
        self.attempts.len()
    }
}
