//! What the conversations of an endpoint share: outgoing outputs, and the names of attempts with
//! what is to be reported of them.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{
    AttemptError, AttemptId, Carrier, Config, ConversationId, Event, Output, RelayAddress, Tried,
    TriedEnd, TriedSource,
};
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
    attempts: BTreeMap<AttemptId, Open>,
    named: u64,
    /// The time of the input that is being handled.
    now: Option<Instant>,
}

/// What an attempt tries.
#[derive(Clone, Debug)]
pub(super) enum Try {
    Direct(SocketAddr, Carrier, TriedSource),
    /// `None`: our own relay.
    Relay(Option<RelayAddress>),
}

/// An attempt that the driver has been told of.
#[derive(Debug)]
struct Open {
    owner: ConversationId,
    what: Try,
    started: Option<Instant>,
    fate: Fate,
    round_trip: Option<Duration>,
}

/// How far an attempt has come, as far as reports go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Running,
    Proven,
    /// Taken into use, and reported.
    Won,
}

impl Desk {
    /// An input that happened at `now` is being handled.
    pub(super) fn clock(&mut self, now: Instant) {
        self.now = Some(now);
    }

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
    pub(super) fn new_attempt(&mut self, id: &ConversationId, what: Try) -> AttemptId {
        let attempt = self.name_attempt();
        self.adopt(attempt, id, what);
        attempt
    }

    /// An attempt that the driver named.
    pub(super) fn adopt(&mut self, attempt: AttemptId, id: &ConversationId, what: Try) {
        let open = Open {
            owner: id.clone(),
            what,
            started: self.now,
            fate: Fate::Running,
            round_trip: None,
        };
        self.attempts.insert(attempt, open);
    }

    /// The conversation of an open attempt.
    pub(super) fn owner(&self, attempt: AttemptId) -> Option<&ConversationId> {
        self.attempts.get(&attempt).map(|open| &open.owner)
    }

    /// The other end of an attempt has proven itself.
    pub(super) fn proven(&mut self, attempt: AttemptId, round_trip: Option<Duration>) {
        if let Some(open) = self.attempts.get_mut(&attempt) {
            open.fate = Fate::Proven;
            open.round_trip = round_trip;
        }
    }

    /// An attempt has become the lane in use.
    pub(super) fn won(&mut self, attempt: AttemptId) {
        let report = self
            .attempts
            .get(&attempt)
            .and_then(|open| self.report(attempt, open, TriedEnd::Won));
        if let Some(open) = self.attempts.get_mut(&attempt) {
            open.fate = Fate::Won;
        }
        self.outputs.extend(report);
    }

    /// Strikes an attempt that the driver has given up by itself.
    pub(super) fn failed(&mut self, attempt: AttemptId, error: AttemptError) {
        if let Some(open) = self.attempts.remove(&attempt) {
            let report = self.report(attempt, &open, TriedEnd::Failed(error));
            self.outputs.extend(report);
        }
    }

    /// Has the driver drop an attempt.
    pub(super) fn hang_up(&mut self, attempt: AttemptId) {
        if let Some(open) = self.attempts.remove(&attempt) {
            let end = match open.fate {
                Fate::Running => TriedEnd::HungUp,
                Fate::Proven | Fate::Won => TriedEnd::Lost,
            };
            let report = self.report(attempt, &open, end);
            self.outputs.extend(report);
        }
        self.push(Output::HangUp { attempt });
    }

    /// Has the driver drop an attempt that did not get there, for that reason.
    pub(super) fn give_up(&mut self, attempt: AttemptId, error: AttemptError) {
        self.failed(attempt, error);
        self.push(Output::HangUp { attempt });
    }

    /// Has the driver drop every attempt of a conversation but one.
    pub(super) fn hang_up_all(&mut self, id: &ConversationId, except: Option<AttemptId>) {
        let open = self
            .attempts
            .iter()
            .filter(|(attempt, open)| open.owner == *id && Some(**attempt) != except);
        let open: Vec<_> = open.map(|(attempt, _)| *attempt).collect();
        for attempt in open {
            self.hang_up(attempt);
        }
    }

    /// Strikes every attempt of a conversation that is over without an error. Lanes that were in
    /// use are the driver's to close; the others it drops.
    pub(super) fn finish_all(&mut self, id: &ConversationId) {
        self.attempts
            .retain(|_, open| open.owner != *id || open.fate != Fate::Won);
        self.hang_up_all(id, None);
    }

    pub(super) fn open_attempts(&self) -> usize {
        self.attempts.len()
    }

    /// Each attempt is reported once.
    fn report(&self, attempt: AttemptId, open: &Open, end: TriedEnd) -> Option<Output> {
        let ended = self.now.filter(|_| open.fate != Fate::Won)?;
        let (carrier, address, relay, source) = match &open.what {
            Try::Direct(address, carrier, source) => {
                (Some(*carrier), Some(*address), None, *source)
            }
            Try::Relay(relay) => (None, None, relay.clone(), TriedSource::Relay),
        };
        let report = Tried {
            attempt,
            carrier,
            address,
            relay,
            source,
            started: open.started.unwrap_or(ended),
            ended,
            end,
            round_trip: open.round_trip,
        };
        Some(Output::Event(Event::Tried {
            id: open.owner.clone(),
            report,
        }))
    }
}
