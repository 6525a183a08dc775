//! What the front door asks of the driver, and how it becomes input of the machine.

use std::sync::Arc;
use std::time::Duration;

use rdv_proto::rendezvous::{self, Answer, ConversationId, Input, LegacySecurity};
use rdv_proto::trust::{CodeWords, Randomness, Secret};
use rdv_proto::wire::rendezvous::{CancelReason, Cookie, NakCode};
use rdv_proto::wire::service;
use rdv_proto::wire::text::ScreenName;
use tokio::sync::oneshot;

use super::job::{Begin, Direction, Fallback, JobId, Opened, Preparation};
use super::legacy::LegacyWork;
use super::offers::Offered;
use super::{Driver, files, now};
use crate::error::Error;
use crate::handle::Transfer;
use crate::proposal::LegacyOffer;
use crate::random;
use crate::service::Chosen;
use crate::transfer::{Control, Sink, Source};
use crate::trust::Identity;

/// What the front door asks for.
pub(crate) enum Command {
    Expect {
        words: CodeWords,
        direction: Direction,
        expires: Option<Duration>,
        reply: oneshot::Sender<Result<Transfer, Error>>,
    },
    Fetch {
        peer: ScreenName,
        words: CodeWords,
        sink: Sink,
        reply: oneshot::Sender<Result<Transfer, Error>>,
    },
    Offer {
        peer: ScreenName,
        source: Source,
        service: Chosen,
        batch: bool,
        /// What an old client is held to.
        security: LegacySecurity,
        reply: oneshot::Sender<Result<Transfer, Error>>,
    },
    /// A service of old clients other than the sending of files.
    ProposeWork {
        peer: ScreenName,
        /// What the peer is held to.
        security: LegacySecurity,
        prepare: Prepare,
        reply: oneshot::Sender<Result<Transfer, Error>>,
    },
    /// What is said to a proposal. Nothing happens if it is not open any more.
    Answer {
        to: ProposalId,
        verdict: Verdict,
    },
    Cancel {
        job: JobId,
    },
}

/// Names a proposal. Cookies may come again, proposals do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProposalId {
    pub(crate) conversation: ConversationId,
    pub(crate) serial: u64,
}

/// What is said to a proposal.
pub(crate) enum Verdict {
    Accept {
        how: AcceptAs,
        /// The peer was met before, and must not be plain.
        known: bool,
        /// Dropped if there is nothing to accept any more.
        reply: oneshot::Sender<Result<Transfer, Error>>,
    },
    Decline,
    /// Without a word.
    Ignore,
    /// By a rule of security.
    Refuse,
}

/// What a proposal was accepted as.
pub(crate) enum AcceptAs {
    Native(Sink),
    SendFile(Sink, LegacyOffer),
    /// Another service of old clients.
    Work(LegacyWork),
}

/// Makes a rendezvous ready for a transfer that this is the control of.
pub(crate) type Prepare = Box<dyn FnOnce(Control) -> Preparation + Send>;

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
            Command::Fetch {
                peer,
                words,
                sink,
                reply,
            } => {
                let direction = Direction::Receive(sink);
                let transfer = self.propose(peer, Some(words), direction, None);
                let _ = reply.send(transfer);
            }
            Command::Offer {
                peer,
                source,
                service,
                batch,
                security,
                reply,
            } => {
                let old = Fallback { batch, security };
                let _ = reply.send(match service {
                    Chosen::Native => self.propose(peer, None, Direction::Send(source), None),
                    Chosen::NativeFirst => {
                        self.propose(peer, None, Direction::Send(source), Some(old))
                    }
                    Chosen::SendFile => {
                        let prepare = move |control| files::offer(source, old.batch, control);
                        self.propose_old(peer, old.security, Box::new(prepare))
                    }
                });
            }
            Command::ProposeWork {
                peer,
                security,
                prepare,
                reply,
            } => {
                let _ = reply.send(self.propose_old(peer, security, prepare));
            }
            Command::Answer { to, verdict } => self.answer(to, verdict),
            Command::Cancel { job } => self.cancel(job),
        }
        if self.signaling_lost {
            self.give_up_negotiating();
        }
    }

    fn answer(&mut self, to: ProposalId, verdict: Verdict) {
        let id = to.conversation;
        let open = |offered: &Offered| offered.serial == to.serial;
        if !self.offered.get(&id).is_some_and(open) {
            return;
        }
        match verdict {
            Verdict::Accept { how, known, reply } => {
                self.offered.remove(&id);
                let _ = reply.send(match how {
                    AcceptAs::Native(sink) => self.accept(id, sink),
                    AcceptAs::SendFile(sink, offer) => {
                        let work = files::accept(&id, sink, &offer);
                        self.accept_old(id, work, known)
                    }
                    AcceptAs::Work(work) => self.accept_old(id, work, known),
                });
            }
            Verdict::Decline => self.input(Input::Decline { id }),
            Verdict::Ignore => {
                self.offered.remove(&id);
                self.input(Input::Finished { id });
            }
            Verdict::Refuse => self.input(Input::Refuse {
                id,
                nak: NakCode::SECURITY_MISMATCH,
            }),
        }
    }

    fn expect(
        &mut self,
        words: CodeWords,
        direction: Direction,
        expires: Option<Duration>,
    ) -> Result<Transfer, Error> {
        let identity = self.new_identity()?;
        let begin = Begin {
            identity: Arc::clone(&identity),
            conversation: None,
            initiator: false,
            by_code: true,
            fallback: None,
        };
        let opened = self.jobs.open(direction, begin);
        self.prepare();
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
        fallback: Option<Fallback>,
    ) -> Result<Transfer, Error> {
        let identity = self.new_identity()?;
        let id = ConversationId {
            peer,
            cookie: new_cookie(),
        };
        let begin = Begin {
            identity: Arc::clone(&identity),
            conversation: Some(id.clone()),
            initiator: true,
            by_code: words.is_some(),
            fallback,
        };
        let opened = self.jobs.open(direction, begin);
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
        let begin = Begin {
            identity: Arc::clone(&identity),
            conversation: Some(id.clone()),
            initiator: false,
            by_code: false,
            fallback: None,
        };
        let opened = self.jobs.open(Direction::Receive(sink), begin);
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

    fn propose_old(
        &mut self,
        peer: ScreenName,
        security: LegacySecurity,
        prepare: Prepare,
    ) -> Result<Transfer, Error> {
        let begin = Begin {
            identity: self.new_identity()?,
            conversation: None,
            initiator: true,
            by_code: false,
            fallback: None,
        };
        let opened = self.jobs.open_proposing(peer, security, begin, prepare);
        Ok(self.handle(opened))
    }

    /// The peer does not know our own kind: what was to be sent is proposed in the words of old clients.
    pub(super) fn fall_back(&mut self, job: JobId) {
        self.jobs.fall_back(job, files::offer_listed);
    }

    fn accept_old(
        &mut self,
        id: ConversationId,
        work: LegacyWork,
        known: bool,
    ) -> Result<Transfer, Error> {
        let begin = Begin {
            identity: self.new_identity()?,
            conversation: Some(id.clone()),
            initiator: false,
            by_code: false,
            fallback: None,
        };
        let opened = self.jobs.open_proposed(work, &id, begin);
        let answer = Answer::Legacy {
            security: match known {
                true => LegacySecurity::Required,
                false => self.least_security(&id.peer),
            },
        };
        let relay = self.setup.relay_policy;
        self.input(Input::Accept { id, answer, relay });
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
        self.put_away();
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
            log: opened.log,
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
pub(crate) fn new_cookie() -> Cookie {
    loop {
        let cookie = Cookie(random::bytes());
        if !cookie.is_zero() {
            return cookie;
        }
    }
}
