//! What the front door asks of the driver, and how it becomes input of the machine.

use std::sync::Arc;
use std::time::Duration;

use rdv_proto::rendezvous::{self, Answer, ConversationId, Input};
use rdv_proto::trust::{CodeWords, Randomness, Secret};
use rdv_proto::wire::rendezvous::{CancelReason, Cookie};
use rdv_proto::wire::service;
use rdv_proto::wire::text::ScreenName;
use tokio::sync::oneshot;

use super::jobs::{Direction, JobId, Opened};
use super::{Driver, now};
use crate::error::Error;
use crate::handle::Transfer;
use crate::random;
use crate::transfer::Sink;
use crate::trust::Identity;

/// What the front door asks for.
pub(crate) enum Command {
    Expect {
        words: CodeWords,
        direction: Direction,
        expires: Option<Duration>,
        reply: oneshot::Sender<Result<Transfer, Error>>,
    },
    Propose {
        peer: ScreenName,
        words: Option<CodeWords>,
        direction: Direction,
        reply: oneshot::Sender<Result<Transfer, Error>>,
    },
    Accept {
        id: ConversationId,
        sink: Sink,
        reply: oneshot::Sender<Result<Transfer, Error>>,
    },
    Decline {
        id: ConversationId,
    },
    Cancel {
        job: JobId,
    },
}

impl Driver {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Expect {
                words,
                direction,
                expires,
                reply,
            } => {
                let transfer = self.expect(words, direction, expires);
                let _ = reply.send(transfer);
            }
            Command::Propose {
                peer,
                words,
                direction,
                reply,
            } => {
                let transfer = self.propose(peer, words, direction);
                let _ = reply.send(transfer);
            }
            Command::Accept { id, sink, reply } => {
                let transfer = self.accept(id, sink);
                let _ = reply.send(transfer);
            }
            Command::Decline { id } => self.input(Input::Decline { id }),
            Command::Cancel { job } => self.cancel(job),
        }
        if self.signaling_lost {
            self.give_up_negotiating();
        }
    }

    fn expect(
        &mut self,
        words: CodeWords,
        direction: Direction,
        expires: Option<Duration>,
    ) -> Result<Transfer, Error> {
        let identity = self.new_identity()?;
        let opened = self.jobs.open(direction, Arc::clone(&identity), None, true);
        self.input(Input::Expect {
            expectation: opened.job.0,
            service: service::NATIVE,
            secret: words,
            key_hash: identity.key_hash,
            random: randomness(),
            relay: self.setup.relay_policy,
            // A time that no clock reaches is none.
            expires: expires.and_then(|expires| now().checked_add(expires)),
        });
        Ok(self.handle(opened))
    }

    fn propose(
        &mut self,
        peer: ScreenName,
        words: Option<CodeWords>,
        direction: Direction,
    ) -> Result<Transfer, Error> {
        let identity = self.new_identity()?;
        let id = ConversationId {
            peer,
            cookie: new_cookie(),
        };
        let opened = self.jobs.open(
            direction,
            Arc::clone(&identity),
            Some(id.clone()),
            words.is_some(),
        );
        let secret = words.map_or(Secret::None, Secret::Code);
        let proposal = rendezvous::Proposal::Native {
            service: service::NATIVE,
            secret,
            key_hash: identity.key_hash,
            random: randomness(),
        };
        self.input(Input::Propose {
            id,
            proposal,
            relay: self.setup.relay_policy,
        });
        Ok(self.handle(opened))
    }

    fn accept(&mut self, id: ConversationId, sink: Sink) -> Result<Transfer, Error> {
        let identity = self.new_identity()?;
        let opened = self.jobs.open(
            Direction::Receive(sink),
            Arc::clone(&identity),
            Some(id.clone()),
            false,
        );
        let answer = Answer::Native {
            key_hash: identity.key_hash,
            random: randomness(),
        };
        self.input(Input::Accept {
            id,
            answer,
            relay: self.setup.relay_policy,
        });
        Ok(self.handle(opened))
    }

    pub(super) fn cancel(&mut self, job: JobId) {
        let conversation = self.jobs.cancel(job);
        match conversation {
            Some(id) => self.input(Input::Cancel {
                id,
                reason: CancelReason::USER,
            }),
            None => self.forget(job, None),
        }
    }

    pub(super) fn forget(&mut self, job: JobId, conversation: Option<ConversationId>) {
        match conversation {
            Some(id) => self.input(Input::Finished { id }),
            None => self.input(Input::Unexpect { expectation: job.0 }),
        }
    }

    fn new_identity(&self) -> Result<Arc<Identity>, Error> {
        match &self.setup.identity {
            Some(identity) => Ok(Arc::clone(identity)),
            None => Ok(Arc::new(Identity::generate()?)),
        }
    }

    fn handle(&self, opened: Opened) -> Transfer {
        Transfer {
            job: opened.job,
            events: opened.events,
            commands: self.weak_commands.clone(),
            control: opened.control,
            answer: opened.answer,
            over: false,
        }
    }
}

fn randomness() -> Randomness {
    Randomness {
        pake: random::bytes(),
        ephemeral: random::bytes(),
        nonce: random::bytes(),
    }
}

/// A cookie from the system's generator, never all zero (T-01).
fn new_cookie() -> Cookie {
    loop {
        let cookie = Cookie(random::bytes());
        if !cookie.is_zero() {
            return cookie;
        }
    }
}
