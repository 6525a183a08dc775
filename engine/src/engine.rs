//! `Engine`: the front door. A cheap handle to the one task that owns the rendezvous machine.

use std::sync::Arc;
use std::time::Duration;

use rdv_proto::rendezvous::{ConversationId, RelayPolicy};
use rdv_proto::trust::CodeWords;
use rdv_proto::wire::text::ScreenName;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::driver::{Command, Direction, Driver, Setup};
use crate::error::Error;
use crate::handle::Transfer;
use crate::signaling::{RelayDirectory, Signaling};
use crate::transfer::{Sink, Source};
use crate::trust::Identity;

/// How many commands may wait for the driver.
const COMMANDS_MAX: usize = 64;

/// How many proposals may wait for the application; the machine bounds the open ones (`security.md` 6.2: 16).
const PROPOSALS_MAX: usize = 16;

/// Collects what an [`Engine`] needs; made by [`Engine::builder`].
pub struct Builder {
    setup: Setup,
}

impl Builder {
    /// Where relays are to be had. Without it there is no relay.
    #[must_use]
    pub fn relays(mut self, relays: impl RelayDirectory) -> Self {
        self.setup.relays = Some(Arc::new(relays));
        self
    }

    /// Whether the relay may, must or must not be used.
    #[must_use]
    pub fn relay_policy(mut self, policy: RelayPolicy) -> Self {
        self.setup.relay_policy = policy;
        self
    }

    /// The key to show to peers. Without it each transfer makes one of its own, so that transfers cannot be linked
    /// (`security.md` 5.1).
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.setup.identity = Some(Arc::new(identity));
        self
    }

    /// Says that the signalling connection ends on this very machine. Only then are loopback candidates offered and dialled
    /// (`security.md` 6.3, filter 3).
    #[must_use]
    pub fn host_on_this_machine(mut self, yes: bool) -> Self {
        self.setup.host_on_this_machine = yes;
        self
    }

    /// Our IPv4 address as the host sees it. A peer with the same one is behind the same router, so that its inner addresses
    /// may be dialled (`security.md` 6.3, filter 4).
    #[must_use]
    pub fn seen_as(mut self, address: Option<std::net::Ipv4Addr>) -> Self {
        self.setup.seen_as = address;
        self
    }

    /// Addresses at which the host and its relay listen; they are never dialled as candidates (`security.md` 6.3, filter 2).
    #[must_use]
    pub fn never_dial(mut self, addresses: impl IntoIterator<Item = std::net::SocketAddr>) -> Self {
        self.setup.never_dial.extend(addresses);
        self
    }

    /// Nobody is welcome without a code: proposals of others are refused, and one that comes while a code waits uses it up.
    /// For the guests of a host, which binds the number of a code to whoever speaks to it first: nobody else would come.
    #[must_use]
    pub fn codes_only(mut self) -> Self {
        self.setup.codes_only = true;
        self
    }

    /// Starts the engine on the current tokio runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn build(self) -> Engine {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let (proposals_out, proposals) = mpsc::channel(PROPOSALS_MAX);
        let task = tokio::spawn(
            Driver::new(self.setup, receiver, commands.downgrade(), proposals_out).run(),
        );
        Engine {
            commands,
            proposals: tokio::sync::Mutex::new(proposals),
            task: std::sync::Mutex::new(Some(task)),
        }
    }
}

/// The rendezvous and transfer engine over one signalling channel.
///
/// Dropping it cancels what is under way.
pub struct Engine {
    commands: mpsc::Sender<Command>,
    proposals: tokio::sync::Mutex<mpsc::Receiver<Proposal>>,
    task: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Begins with the one thing that an engine cannot be without: the channel that carries its messages.
    pub fn builder(signaling: impl Signaling) -> Builder {
        Builder {
            setup: Setup::new(Arc::new(signaling)),
        }
    }

    /// Waits for somebody who knows the words, and sends `source` to whoever does. One guess is allowed: after the first key
    /// exchange the words are used up (S-06). `expires` bounds the waiting.
    pub async fn offer_with_code(
        &self,
        words: CodeWords,
        source: Source,
        expires: Option<Duration>,
    ) -> Result<Transfer, Error> {
        self.ask(|reply| Command::Expect {
            words,
            direction: Direction::Send(source),
            expires,
            reply,
        })
        .await
    }

    /// Goes to `peer`, who waits with the same words, and receives into `sink`. The answer to the question comes by
    /// [`Transfer::accept`].
    pub async fn fetch_with_code(
        &self,
        peer: ScreenName,
        words: CodeWords,
        sink: Sink,
    ) -> Result<Transfer, Error> {
        self.ask(|reply| Command::Propose {
            peer,
            words: Some(words),
            direction: Direction::Receive(sink),
            reply,
        })
        .await
    }

    /// Offers `source` to `peer` without a code. Both sides are encrypted to fresh keys; *who* the other is, the application
    /// must know by the channel or by the key that [`crate::TransferEvent::Connected`] tells (first contact, `security.md` 5.5).
    pub async fn offer(&self, peer: ScreenName, source: Source) -> Result<Transfer, Error> {
        self.ask(|reply| Command::Propose {
            peer,
            words: None,
            direction: Direction::Send(source),
            reply,
        })
        .await
    }

    /// The next proposal that came without a code. `None` when the engine has ended; a channel that is lost brings no more.
    pub async fn next_proposal(&self) -> Option<Proposal> {
        self.proposals.lock().await.recv().await
    }

    /// Cancels what is under way, lets the last messages go out and ends the driver.
    pub async fn close(self) {
        let task = self
            .task
            .lock()
            .map(|mut task| task.take())
            .unwrap_or_default();
        drop(self.commands);
        if let Some(task) = task {
            let _ = task.await;
        }
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<Transfer, Error>>) -> Command,
    ) -> Result<Transfer, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| Error::EngineEnded)?;
        answer.await.map_err(|_| Error::EngineEnded)?
    }
}

/// Somebody's proposal that waits for our user. Dropped unanswered, it is declined.
pub struct Proposal {
    pub(crate) id: ConversationId,
    pub(crate) commands: mpsc::WeakSender<Command>,
    pub(crate) answered: bool,
}

impl Proposal {
    /// Who proposes, as the channel says. In secure mode that is a hint, not a proof.
    #[must_use]
    pub fn peer(&self) -> &ScreenName {
        &self.id.peer
    }

    /// Agrees to connect. What is offered is told and asked in the channel ([`crate::TransferEvent::Offered`]).
    pub async fn accept(mut self, sink: Sink) -> Result<Transfer, Error> {
        self.answered = true;
        let (reply, answer) = oneshot::channel();
        let commands = self.commands.upgrade().ok_or(Error::EngineEnded)?;
        let command = Command::Accept {
            id: self.id.clone(),
            sink,
            reply,
        };
        commands
            .send(command)
            .await
            .map_err(|_| Error::EngineEnded)?;
        answer.await.map_err(|_| Error::EngineEnded)?
    }

    /// Says no.
    pub fn decline(self) {
        drop(self);
    }
}

impl Drop for Proposal {
    fn drop(&mut self) {
        if !self.answered
            && let Some(commands) = self.commands.upgrade()
        {
            let _ = commands.try_send(Command::Decline {
                id: self.id.clone(),
            });
        }
    }
}
