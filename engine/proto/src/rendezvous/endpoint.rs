//! Routes what happens to the conversation that it concerns; opens and forgets conversations.

use std::collections::BTreeMap;
use std::time::Instant;

use uuid::Uuid;

use super::common::{Common, Ending, Gathered, Happening};
use super::conversation::Conversation;
use super::desk::{Context, Desk, Try};
use super::legacy::Legacy;
use super::limits::{EXPECTATIONS_MAX, OUTGOING_MAX};
use super::memory::Memory;
use super::native::Proposed;
use super::{
    AttemptId, Config, ConversationId, EndReason, Event, Input, Output, Proposal, RelayPolicy,
    TriedSource,
};
use crate::trust::{CodeWords, Randomness, Session};
use crate::wire::rendezvous::CancelReason;
use crate::wire::text::ScreenName;

/// All conversations of one signed-on user.
#[derive(Debug)]
pub struct Endpoint {
    pub(super) local: ScreenName,
    pub(super) config: Config,
    pub(super) conversations: BTreeMap<ConversationId, Conversation>,
    pub(super) expectations: BTreeMap<u64, Expectation>,
    pub(super) memory: Memory,
    pub(super) desk: Desk,
}

/// A code that was shown and waits for a proposal.
#[derive(Debug)]
pub(super) struct Expectation {
    pub(super) service: Uuid,
    pub(super) secret: CodeWords,
    pub(super) key_hash: [u8; 32],
    pub(super) random: Randomness,
    pub(super) relay: RelayPolicy,
    pub(super) expires: Option<Instant>,
}

impl Endpoint {
    /// An endpoint without conversations.
    #[must_use]
    pub fn new(local: ScreenName, config: Config) -> Self {
        Self {
            local,
            config,
            conversations: BTreeMap::new(),
            expectations: BTreeMap::new(),
            memory: Memory::default(),
            desk: Desk::default(),
        }
    }

    /// What the endpoint knows of its place. May be changed at any time.
    pub fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    /// A name for a connection that a listener accepted, for [`Input::Incoming`].
    pub fn new_attempt(&mut self) -> AttemptId {
        self.desk.name_attempt()
    }

    /// The next thing to be done. Drain this after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.desk.pop()
    }

    /// When to call with [`Input::Timeout`] if nothing else happens. `None`: no need.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let expectations = self
            .expectations
            .values()
            .filter_map(|expected| expected.expires);
        self.conversations
            .values()
            .filter_map(Conversation::due)
            .chain(expectations)
            .min()
    }

    /// Conversations that have not ended, the established ones included.
    #[must_use]
    pub fn conversations(&self) -> usize {
        self.conversations.len()
    }

    /// The keys of a native conversation, from when they are agreed on to its end.
    #[must_use]
    pub fn session(&self, id: &ConversationId) -> Option<&Session> {
        self.conversations.get(id)?.session()
    }

    /// Attempts that the driver has been told of and that are not over. Of each established
    /// conversation one is the lane in use.
    #[must_use]
    pub fn open_attempts(&self) -> usize {
        self.desk.open_attempts()
    }

    /// Takes note of what happened at `now`, which never runs backwards.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        self.desk.clock(now);
        match input {
            Input::Timeout => self.time(now),
            Input::Signal { from, body } => self.signal(now, from, body),
            Input::NewSession { peer } => {
                self.memory.forget_peer(&peer);
                let of_peer = self.conversations.values_mut();
                for open in of_peer.filter(|open| open.common.id.peer == peer) {
                    open.common.of_earlier_session = true;
                }
            }
            Input::Undelivered { to, cookie, code } => {
                let id = ConversationId { peer: to, cookie };
                self.with(now, &id, |conversation, context| {
                    conversation.undelivered(context, code)
                });
            }
            Input::Expect {
                expectation,
                service,
                secret,
                key_hash,
                random,
                relay,
                expires,
            } => {
                self.time(now);
                if self.expectations.len() < EXPECTATIONS_MAX {
                    let expected = Expectation {
                        service,
                        secret,
                        key_hash,
                        random,
                        relay,
                        expires,
                    };
                    self.expectations.insert(expectation, expected);
                } else {
                    self.desk.event(Event::Expired { expectation });
                }
            }
            Input::Unexpect { expectation } => {
                self.expectations.remove(&expectation);
            }
            Input::Propose {
                id,
                proposal,
                relay,
            } => self.propose(now, id, proposal, relay),
            Input::Accept { id, answer, relay } => {
                self.handle(now, &id, Happening::UserAccepted { answer, relay });
            }
            Input::Decline { id } => self.with(now, &id, Conversation::decline),
            Input::Refuse { id, nak } => self.with(now, &id, |conversation, context| {
                let ending = Ending::refuse(EndReason::Declined, nak, CancelReason::UNKNOWN);
                conversation.end(context, ending);
            }),
            Input::Cancel { id, reason } => self.with(now, &id, |conversation, context| {
                conversation.end(
                    context,
                    Ending::cancel(EndReason::Withdrawn(reason), reason),
                );
            }),
            Input::Finished { id } => self.with(now, &id, Conversation::finish),
            Input::Gathered {
                id,
                generation,
                listen_port,
                candidates,
                network,
                complete,
            } => {
                if self.conversations.contains_key(&id) {
                    let found = Gathered {
                        generation,
                        listen_port,
                        candidates,
                        network,
                        complete,
                    };
                    self.handle(now, &id, Happening::Gathered(found));
                } else if listen_port.is_some() {
                    self.desk.push(Output::StopListening { id });
                }
            }
            Input::Datagram {
                id,
                generation,
                from,
                bytes,
            } => {
                let happening = Happening::Datagram {
                    generation,
                    from,
                    bytes,
                };
                self.handle(now, &id, happening);
            }
            Input::Incoming {
                id,
                attempt,
                from,
                carrier,
            } => {
                if self.conversations.contains_key(&id) {
                    let what = Try::Direct(from, carrier, TriedSource::Accepted);
                    self.desk.adopt(attempt, &id, what);
                    let happening = Happening::Incoming {
                        attempt,
                        from,
                        carrier,
                    };
                    self.handle(now, &id, happening);
                } else {
                    self.desk.hang_up(attempt);
                }
            }
            Input::RelayCreated { attempt, relay } => {
                self.attempt(now, attempt, Happening::RelayCreated { attempt, relay });
            }
            Input::Heard { attempt } => self.attempt(now, attempt, Happening::Heard { attempt }),
            Input::Connected { attempt } => {
                self.attempt(now, attempt, Happening::Connected { attempt })
            }
            Input::Secured {
                attempt,
                round_trip,
            } => {
                let happening = Happening::Secured {
                    attempt,
                    round_trip,
                };
                self.attempt(now, attempt, happening);
            }
            Input::LaneSilent { attempt } => self.lane(now, attempt, Happening::Silent { attempt }),
            Input::LaneHeard { attempt } => {
                self.lane(now, attempt, Happening::Speaking { attempt })
            }
            Input::NetworkChanged => {
                let open: Vec<_> = self.conversations.keys().cloned().collect();
                for id in open {
                    self.handle(now, &id, Happening::NetworkChanged);
                }
            }
            Input::Nominated { attempt, number } => {
                self.attempt(now, attempt, Happening::Nominated { attempt, number })
            }
            Input::Failed { attempt, error } => {
                self.lane(now, attempt, Happening::Failed { attempt, error });
            }
        }
    }

    fn time(&mut self, now: Instant) {
        let expired = self.expectations.extract_if(.., |_, expected| {
            expected.expires.is_some_and(|at| at <= now)
        });
        for (expectation, _) in expired {
            self.desk.event(Event::Expired { expectation });
        }
        let due = self
            .conversations
            .iter()
            .filter(|(_, conversation)| conversation.due().is_some_and(|at| at <= now));
        let due: Vec<_> = due.map(|(id, _)| id.clone()).collect();
        for id in due {
            self.handle(now, &id, Happening::Time);
        }
    }

    /// Something about an attempt. One that is not known any more is dropped again: the report
    /// crossed with our order to hang up.
    fn attempt(&mut self, now: Instant, attempt: AttemptId, happening: Happening) {
        match self.desk.owner(attempt).cloned() {
            Some(id) => self.handle(now, &id, happening),
            None => self.desk.hang_up(attempt),
        }
    }

    /// Something about an attempt that only matters as long as it is known.
    fn lane(&mut self, now: Instant, attempt: AttemptId, happening: Happening) {
        if let Some(id) = self.desk.owner(attempt).cloned() {
            self.handle(now, &id, happening);
        }
    }

    pub(super) fn handle(&mut self, now: Instant, id: &ConversationId, happening: Happening) {
        self.with(now, id, |conversation, context| {
            conversation.handle(context, happening)
        });
    }

    /// Does something to a conversation, if there is one, and forgets it if that was its end.
    pub(super) fn with(
        &mut self,
        now: Instant,
        id: &ConversationId,
        act: impl FnOnce(&mut Conversation, &mut Context<'_>),
    ) {
        let Self {
            local,
            config,
            conversations,
            memory,
            desk,
            ..
        } = self;
        let Some(conversation) = conversations.get_mut(id) else {
            return;
        };
        act(
            conversation,
            &mut Context {
                now,
                config,
                local,
                desk,
            },
        );
        if conversation.is_ended() {
            conversations.remove(id);
            memory.remember(now, id.clone());
        }
    }

    /// Opens a conversation with its first step, which may also be its last.
    pub(super) fn open(
        &mut self,
        now: Instant,
        id: ConversationId,
        begin: impl FnOnce(&mut Context<'_>) -> Conversation,
    ) {
        let Self {
            local,
            config,
            desk,
            ..
        } = self;
        let conversation = begin(&mut Context {
            now,
            config,
            local,
            desk,
        });
        if conversation.is_ended() {
            self.memory.remember(now, id);
        } else {
            self.conversations.insert(id, conversation);
        }
    }

    fn propose(
        &mut self,
        now: Instant,
        id: ConversationId,
        proposal: Proposal,
        relay: RelayPolicy,
    ) {
        if self.conversations.contains_key(&id) {
            return;
        }
        let outgoing = self
            .conversations
            .values()
            .filter(|open| open.common.initiator && !open.is_established());
        let refusal = if id.cookie.is_zero() {
            Some(EndReason::Misused)
        } else if outgoing.count() >= OUTGOING_MAX {
            Some(EndReason::TooManyConversations)
        } else {
            None
        };
        if let Some(reason) = refusal {
            self.desk.event(Event::Ended {
                id,
                reason,
                candidates_exchanged: false,
            });
            return;
        }
        self.open(now, id.clone(), |context| match proposal {
            Proposal::Native {
                service,
                secret,
                key_hash,
                random,
            } => {
                let common = Common {
                    native: true,
                    ..Common::new(id, service, true, relay)
                };
                Conversation::begin(context, common, |common, context| {
                    Proposed::begin(common, context, secret, key_hash, random)
                })
            }
            Proposal::Legacy {
                service,
                service_tags,
                security,
            } => {
                let common = Common::new(id, service, true, relay);
                Conversation::begin(context, common, |common, context| {
                    Legacy::propose(common, context, service_tags, security)
                })
            }
        });
    }
}
