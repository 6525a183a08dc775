//! Somebody's proposal, as the application sees it.

use rdv_proto::rendezvous::{self, ConversationId};
use rdv_proto::transfer::oft::proposed_name;
use rdv_proto::transfer::{Entry, EntryKind, Mark};
use rdv_proto::wire::service::{self, SendFileOffer};
use rdv_proto::wire::text::ScreenName;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::Fingerprint;
use crate::direct_im::{self, DirectIm, DirectIms};
use crate::driver::{AcceptAs, Command, LegacyWork, ProposalId, Verdict};
use crate::error::{By, Error};
use crate::handle::Transfer;
use crate::transfer::Sink;
use crate::trust::KnownPeers;

/// What somebody proposes. All of it is the peer's word.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProposalKind {
    /// A transfer of our own kind. What is offered is told and asked in the channel ([`crate::TransferEvent::Offered`]).
    Native {
        /// The key that the peer will prove, if it said one.
        key: Option<Fingerprint>,
    },
    /// Files from an old client. There is no second question: [`Proposal::accept`] is the consent to receive them.
    SendFile(LegacyOffer),
    /// Somebody asks for the files that are shared. The engine answers by itself, as its [`crate::Share`] says.
    GetFile,
    /// Somebody wants to talk from machine to machine. Answer with [`Proposal::accept_direct_im`].
    DirectIm {
        /// Whether TLS is asked for.
        secure: bool,
    },
}

/// What an old client offers. Foreign text, names that are safe as paths included: shown only through [`crate::show()`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LegacyOffer {
    /// Name of the file or, with `folder`, of the folder, cleaned so that it can stand in our output folder.
    pub name: String,
    /// How many files.
    pub files: u32,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Several files or a folder.
    pub folder: bool,
    /// Whether TLS is asked for; without it the transfer would be plain.
    pub secure: bool,
    /// Words to the user.
    pub invitation: Option<String>,
    /// Why the name deserves a look (S-25).
    pub mark: Option<Mark>,
}

/// A proposal that was refused by a rule, without asking.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// Who proposed, as the channel says.
    pub peer: ScreenName,
    /// Why.
    pub why: RefusedWhy,
}

/// Why a proposal was refused without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedWhy {
    /// It would have been neither encrypted nor verified, and that is not allowed for this peer.
    Plain,
    /// Its service is not welcome here.
    Service,
    /// It could not be read, or too many waited.
    Other,
}

/// What is proposed, read from the offer of the machine. `None`: a service that is not ours.
pub(crate) fn kind(offer: &rendezvous::Offer) -> Option<ProposalKind> {
    match offer.service {
        service::NATIVE => Some(ProposalKind::Native {
            key: offer.key_hash.as_ref().map(Fingerprint::of),
        }),
        service::SEND_FILE => legacy_offer(offer).map(ProposalKind::SendFile),
        service::GET_FILE => Some(ProposalKind::GetFile),
        service::DIRECT_IM => Some(ProposalKind::DirectIm {
            secure: offer.secure,
        }),
        _ => None,
    }
}

fn legacy_offer(offer: &rendezvous::Offer) -> Option<LegacyOffer> {
    let told = SendFileOffer::from_tags(&offer.service_tags)?.ok()?;
    let entry = Entry {
        kind: match told.folder {
            true => EntryKind::Folder,
            false => EntryKind::File,
        },
        path: proposed_name(&told.name, told.folder),
        size: told.bytes,
        mtime: None,
        mode: 0,
    };
    Some(LegacyOffer {
        mark: entry.mark(),
        name: entry.path.as_str().to_owned(),
        files: told.files.into(),
        bytes: told.bytes,
        folder: told.folder,
        secure: offer.secure,
        invitation: offer
            .invitation
            .clone()
            .filter(|words| says_something(words)),
    })
}

/// Old clients fill the invitation with markup that is for no one.
fn says_something(words: &str) -> bool {
    let words = words.trim();
    !words.is_empty()
        && !words.eq_ignore_ascii_case("<HTML>")
        && !words.starts_with("<ICQ_COOL_FT>")
}

/// Somebody's proposal that waits for our user. Dropped unanswered, it is declined.
pub struct Proposal {
    id: ProposalId,
    kind: ProposalKind,
    secure: bool,
    commands: mpsc::WeakSender<Command>,
    known_peers: Option<KnownPeers>,
    /// Told when it is not open any more; `None` once that was told.
    gone: Option<oneshot::Receiver<Error>>,
    direct_ims: DirectIms,
    answered: bool,
}

impl Proposal {
    pub(crate) fn new(
        id: ProposalId,
        kind: ProposalKind,
        secure: bool,
        commands: mpsc::WeakSender<Command>,
        known_peers: Option<KnownPeers>,
        gone: oneshot::Receiver<Error>,
        direct_ims: DirectIms,
    ) -> Self {
        Self {
            id,
            kind,
            secure,
            commands,
            known_peers,
            gone: Some(gone),
            direct_ims,
            answered: false,
        }
    }

    /// Who proposes, as the channel says. In secure mode that is a hint, not a proof.
    #[must_use]
    pub fn peer(&self) -> &ScreenName {
        &self.id.conversation.peer
    }

    pub(crate) fn id(&self) -> &ConversationId {
        &self.id.conversation
    }

    /// What is proposed.
    #[must_use]
    pub fn kind(&self) -> &ProposalKind {
        &self.kind
    }

    /// The service by which it came.
    #[must_use]
    pub fn service(&self) -> Uuid {
        match self.kind {
            ProposalKind::Native { .. } => service::NATIVE,
            ProposalKind::SendFile(_) => service::SEND_FILE,
            ProposalKind::GetFile => service::GET_FILE,
            ProposalKind::DirectIm { .. } => service::DIRECT_IM,
        }
    }

    /// Waits until there is nothing to answer any more, and says why: the other side has withdrawn it, or nobody answered in time.
    /// Cancel-safe.
    pub async fn gone(&mut self) -> Error {
        let Some(gone) = &mut self.gone else {
            return Error::Cancelled { by: By::Peer };
        };
        let why = gone.await;
        self.gone = None;
        self.answered = true;
        why.unwrap_or(Error::EngineEnded)
    }

    /// Agrees to connect and to receive into `sink`. From our own kind what is offered is told and asked in the channel
    /// ([`crate::TransferEvent::Offered`]); an old client's files are thereby accepted.
    ///
    /// # Errors
    /// [`Error::PeerKeyChanged`] and [`Error::Security`] if the known peers say that this is another, or was never plain
    /// (S-03, S-07): the peer is refused. [`Error::Incompatible`] for a proposal that brings no files. If it is not open any more,
    /// what [`Proposal::gone`] says.
    pub async fn accept(self, sink: Sink) -> Result<Transfer, Error> {
        let how = match &self.kind {
            ProposalKind::Native { .. } => AcceptAs::Native(sink),
            ProposalKind::SendFile(offer) => AcceptAs::SendFile(sink, offer.clone()),
            ProposalKind::GetFile | ProposalKind::DirectIm { .. } => {
                return Err(Error::Incompatible {
                    what: "the proposal brings no files".into(),
                });
            }
        };
        self.accept_as(how).await
    }

    /// Agrees to talk to who proposed a direct IM, which tells that side our addresses. Done when there is a connection; dropped
    /// before, it is called off. A conversation with the same peer that is still open ends then.
    ///
    /// # Errors
    /// As [`Proposal::accept`]; and every way in which no connection comes about.
    pub async fn accept_direct_im(self) -> Result<DirectIm, Error> {
        if !matches!(self.kind, ProposalKind::DirectIm { .. }) {
            return Err(Error::Incompatible {
                what: "the proposal is none of a direct IM".into(),
            });
        }
        let (work, opened) = self.direct_ims.work(self.id.conversation.clone());
        let peer = self.id.conversation.peer.clone();
        let transfer = self.accept_work(work).await?;
        direct_im::connected(peer, transfer, opened).await
    }

    /// Agrees to connect for a service of old clients.
    pub(crate) async fn accept_work(self, work: LegacyWork) -> Result<Transfer, Error> {
        self.accept_as(AcceptAs::Work(work)).await
    }

    async fn accept_as(mut self, how: AcceptAs) -> Result<Transfer, Error> {
        let known = self.judge().await?;
        self.answered = true;
        let (reply, answer) = oneshot::channel();
        let verdict = Verdict::Accept { how, known, reply };
        self.say(verdict).await?;
        match answer.await {
            Ok(transfer) => transfer,
            Err(_not_open) => Err(self.gone().await),
        }
    }

    /// Says no.
    pub fn decline(self) {
        drop(self);
    }

    /// Says nothing, as if nobody had seen it.
    pub fn ignore(mut self) {
        self.answered = true;
        self.try_say(Verdict::Ignore);
    }

    /// Refuses by the rules for known peers before anything is agreed to. Says whether this is one.
    async fn judge(&mut self) -> Result<bool, Error> {
        let Some(known_peers) = &self.known_peers else {
            return Ok(false);
        };
        let key = match &self.kind {
            ProposalKind::Native { key } => *key,
            _ => None,
        };
        let judged = known_peers
            .admits(&self.id.conversation.peer, self.secure, key)
            .await;
        if judged.is_err() {
            self.answered = true;
            self.say(Verdict::Refuse).await?;
        }
        judged
    }

    async fn say(&self, verdict: Verdict) -> Result<(), Error> {
        let commands = self.commands.upgrade().ok_or(Error::EngineEnded)?;
        let to = self.id.clone();
        let said = commands.send(Command::Answer { to, verdict }).await;
        said.map_err(|_| Error::EngineEnded)
    }

    fn try_say(&self, verdict: Verdict) {
        if let Some(commands) = self.commands.upgrade() {
            let to = self.id.clone();
            let _ = commands.try_send(Command::Answer { to, verdict });
        }
    }
}

impl Drop for Proposal {
    fn drop(&mut self) {
        if !self.answered {
            self.try_say(Verdict::Decline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(folder: bool, name: &str, invitation: Option<&str>) -> LegacyOffer {
        let told = SendFileOffer {
            folder,
            files: 3,
            bytes: 43,
            name: name.into(),
        };
        let offer = rendezvous::Offer {
            service: service::SEND_FILE,
            secure: false,
            key_hash: None,
            service_tags: told.to_tags().unwrap(),
            invitation: invitation.map(str::to_owned),
        };
        match kind(&offer) {
            Some(ProposalKind::SendFile(offer)) => offer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_offer_of_an_old_client_is_read_from_its_service_data() {
        let offer = offered(false, "fox.txt", Some("for you"));
        assert_eq!(
            (offer.name.as_str(), offer.files, offer.bytes, offer.folder),
            ("fox.txt", 3, 43, false)
        );
        assert_eq!(offer.invitation.as_deref(), Some("for you"));
        assert_eq!(offered(true, "pets", None).name, "pets");
    }

    #[test]
    fn markup_without_words_is_no_invitation() {
        for empty in ["", " ", "<HTML>", "<html>", "<ICQ_COOL_FT><FS>x"] {
            assert_eq!(offered(false, "a", Some(empty)).invitation, None, "{empty}");
        }
    }
}
