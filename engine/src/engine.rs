//! `Engine`: the front door. A cheap handle to the one task that owns the rendezvous machine.

use std::sync::Arc;
use std::time::Duration;

use rdv_proto::rendezvous::{ConversationId, LegacySecurity};
use rdv_proto::trust::CodeWords;
use rdv_proto::wire::service;
use rdv_proto::wire::text::ScreenName;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::builder::Builder;
use crate::direct_im::{self, DirectIm, DirectIms};
use crate::driver::{
    Command, Direction, Driver, Exits, LegacyWork, Prepare, Prepared, Setup, new_cookie,
};
use crate::error::Error;
use crate::handle::Transfer;
use crate::proposal::{Proposal, Refused};
use crate::security::PlainPolicy;
use crate::service::OfferOptions;
use crate::share::{self, Served, SharedFiles};
use crate::signaling::{Signaling, SignalingError};
use crate::transfer::{Sink, Source};
use crate::trust::KnownPeers;

/// How many commands may wait for the driver.
const COMMANDS_MAX: usize = 64;

/// How many proposals may wait for the application; the machine bounds the open ones (`security.md` 6.2: 16).
const PROPOSALS_MAX: usize = 16;

/// How many refusals may wait to be read; who reads none loses the later ones.
const REFUSED_MAX: usize = 16;
/// The same for looks into a shared folder.
const SERVED_MAX: usize = 64;

/// The rendezvous and transfer engine over one signalling channel.
///
/// Dropping it cancels what is under way.
pub struct Engine {
    commands: mpsc::Sender<Command>,
    proposals: tokio::sync::Mutex<mpsc::Receiver<Proposal>>,
    refused: tokio::sync::Mutex<mpsc::Receiver<Refused>>,
    served: tokio::sync::Mutex<mpsc::Receiver<Served>>,
    signaling: Arc<dyn Signaling>,
    plain: Arc<dyn PlainPolicy>,
    known_peers: Option<KnownPeers>,
    direct_ims: DirectIms,
    task: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Begins with the one thing that an engine cannot be without: the channel that carries its messages.
    pub fn builder(signaling: impl Signaling) -> Builder {
        Builder::new(Arc::new(signaling))
    }

    pub(crate) fn start(setup: Setup) -> Self {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let (proposals_out, proposals) = mpsc::channel(PROPOSALS_MAX);
        let (refused_out, refused) = mpsc::channel(REFUSED_MAX);
        let (served_out, served) = mpsc::channel(SERVED_MAX);
        let exits = Exits {
            proposals: proposals_out,
            refused: refused_out,
            served: served_out,
        };
        let signaling = Arc::clone(&setup.signaling);
        let plain = Arc::clone(&setup.plain);
        let known_peers = setup.known_peers.clone();
        let direct_ims = setup.direct_ims.clone();
        let driver = Driver::new(setup, receiver, commands.downgrade(), exits);
        let task = tokio::spawn(driver.run());
        Self {
            commands,
            proposals: tokio::sync::Mutex::new(proposals),
            refused: tokio::sync::Mutex::new(refused),
            served: tokio::sync::Mutex::new(served),
            signaling,
            plain,
            known_peers,
            direct_ims,
            task: std::sync::Mutex::new(Some(task)),
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
        self.ask(|reply| Command::Fetch {
            peer,
            words,
            sink,
            reply,
        })
        .await
    }

    /// Offers `source` to `peer` without a code, by the service that `options` say. Who the other is, the application must know by
    /// the channel, by the known peers, or by the key that [`crate::TransferEvent::Connected`] tells (first contact,
    /// `security.md` 5.5).
    ///
    /// An old client is asked for TLS; without it the transfer goes on only if the plain policy allows it for this peer, and the
    /// peer was never secure before.
    ///
    /// # Errors
    /// [`Error::PeerUnknown`] if the channel knows that nobody of that name is there, [`Error::Incompatible`] if the peer announces
    /// no service that could take the files.
    pub async fn offer(
        &self,
        peer: ScreenName,
        source: Source,
        options: OfferOptions,
    ) -> Result<Transfer, Error> {
        let capabilities = self.capabilities(&peer).await?;
        let service = options.service.choose(capabilities.as_deref())?;
        let security = self.least_security(&peer).await?;
        self.ask(|reply| Command::Offer {
            peer,
            source,
            service,
            batch: options.batch,
            security,
            reply,
        })
        .await
    }

    /// Opens a direct IM with `peer`: text, typing and images from machine to machine. Ask the user before: it tells the peer our
    /// addresses. Done when there is a connection; dropped before, it is called off. A conversation with the same peer that is
    /// still open ends then.
    ///
    /// TLS and plain connections as with [`Engine::offer`].
    ///
    /// # Errors
    /// As [`Engine::offer`]; [`Error::Crossed`] if the peer proposed the same at once and its proposal counts: it comes by
    /// [`Engine::next_proposal`].
    pub async fn direct_im(&self, peer: ScreenName) -> Result<DirectIm, Error> {
        self.must_know(&peer, service::DIRECT_IM).await?;
        let id = ConversationId {
            peer,
            cookie: new_cookie(),
        };
        let (work, opened) = self.direct_ims.work(id.clone());
        let peer = id.peer.clone();
        let transfer = self.propose_work(id, work).await?;
        direct_im::connected(peer, transfer, opened).await
    }

    /// Asks `peer` for the files that it shares with us. Done when the first listing is there; dropped before, it is called off. It
    /// tells the peer our addresses.
    ///
    /// TLS and plain connections as with [`Engine::offer`].
    ///
    /// # Errors
    /// As [`Engine::offer`]. A peer that shares nothing with us says so as if it did not know the service
    /// ([`Error::Incompatible`]).
    pub async fn get_files(&self, peer: ScreenName) -> Result<SharedFiles, Error> {
        self.must_know(&peer, service::GET_FILE).await?;
        let id = ConversationId {
            peer: peer.clone(),
            cookie: new_cookie(),
        };
        let (work, listed) = share::work(id.clone());
        let transfer = self.propose_work(id, work).await?;
        share::connected(peer, transfer, listed).await
    }

    /// Refuses what a peer does not announce.
    async fn must_know(&self, peer: &ScreenName, service: Uuid) -> Result<(), Error> {
        match self.capabilities(peer).await? {
            Some(known) if !known.contains(&service) => Err(Error::Incompatible {
                what: "the other side does not offer this".into(),
            }),
            _ => Ok(()),
        }
    }

    /// What a peer announces, where the channel can tell.
    async fn capabilities(&self, peer: &ScreenName) -> Result<Option<Vec<Uuid>>, Error> {
        match self.signaling.capabilities(peer).await {
            Ok(capabilities) => Ok(capabilities),
            Err(SignalingError::PeerOffline) => Err(Error::PeerUnknown),
            Err(error) => Err(error.into()),
        }
    }

    async fn propose_work(&self, id: ConversationId, work: LegacyWork) -> Result<Transfer, Error> {
        let ConversationId { peer, cookie } = id;
        let security = self.least_security(&peer).await?;
        let prepared = Prepared {
            cookie,
            work,
            next: None,
        };
        let prepare: Prepare = Box::new(|_| Box::pin(std::future::ready(Ok(prepared))));
        self.ask(|reply| Command::ProposeWork {
            peer,
            security,
            prepare,
            reply,
        })
        .await
    }

    /// What an old client of that name is held to.
    async fn least_security(&self, peer: &ScreenName) -> Result<LegacySecurity, Error> {
        let allowed = self.plain.allows(peer);
        let was_secure = match &self.known_peers {
            Some(known_peers) if allowed => known_peers.was_secure(peer).await?,
            _ => false,
        };
        Ok(match allowed && !was_secure {
            true => LegacySecurity::Opportunistic,
            false => LegacySecurity::Required,
        })
    }

    /// The next proposal that came without a code. `None` when the engine has ended; a channel that is lost brings no more.
    pub async fn next_proposal(&self) -> Option<Proposal> {
        self.proposals.lock().await.recv().await
    }

    /// The next proposal that was refused by a rule, without asking. `None` when the engine has ended.
    pub async fn next_refused(&self) -> Option<Refused> {
        self.refused.lock().await.recv().await
    }

    /// The next time that somebody had a look into what [`Builder::share`] shares, when it is over. `None` when the engine has ended.
    pub async fn next_served(&self) -> Option<Served> {
        self.served.lock().await.recv().await
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
