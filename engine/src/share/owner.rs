//! The side that has the files: lists what is asked for, and sends one file.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::rendezvous::ConversationId;
use rdv_proto::transfer::SafeRelPath;
use rdv_proto::transfer::oft::{ListOwner, OwnerEvent};
use rdv_proto::wire::oft::{Header, Kind};
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::service;
use rdv_proto::wire::tlv::TlvList;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{LISTING, Served, Share, header};
use crate::driver::{LegacyWork, Opened};
use crate::error::{By, Error};
use crate::handle::TransferEvent;
use crate::proposal::Proposal;
use crate::security::Security;
use crate::signaling::BoxFuture;
use crate::transfer::oft::{self, Outgoing};
use crate::transfer::{Control, SourceError, Summary, TransferError};
use crate::transport::opening::{FIRST_HEADER, Opening, OpeningError, Terms};
use crate::transport::{Lane, Path};

/// How long a requester may look at a listing before it asks for something.
const BROWSING: Duration = Duration::from_secs(600);

/// The path of the file that was asked for, once that is known.
type Picked = Arc<OnceLock<String>>;

impl Share {
    /// Answers somebody who asks for files, and tells `told`; nobody is asked.
    pub(crate) async fn serve(self, proposal: Proposal, told: mpsc::Sender<Served>) {
        // Without room the proposal is dropped, which declines it.
        let Ok(_room) = Arc::clone(&self.guests).try_acquire_owned() else {
            return;
        };
        let peer = proposal.peer().clone();
        let picked = Picked::default();
        let mut connected = None;
        let outcome = self.answer(proposal, &picked, &mut connected).await;
        let file = picked.get().cloned();
        let outcome = match outcome {
            // Who has seen enough hangs up, and some say so.
            Err(Error::Cancelled { by: By::Peer }) if file.is_none() && connected.is_some() => {
                Ok(Summary::default())
            }
            outcome => outcome,
        };
        // Told or not, it was served; whoever does not listen holds nobody up.
        let _ = told.try_send(Served {
            peer,
            file,
            connected,
            outcome,
        });
    }

    async fn answer(
        &self,
        proposal: Proposal,
        picked: &Picked,
        connected: &mut Option<(Path, Security)>,
    ) -> Result<Summary, Error> {
        let work = self.work(proposal.id(), Arc::clone(picked)).await?;
        let mut transfer = proposal.accept_work(work).await?;
        loop {
            match transfer.next_event().await {
                Some(TransferEvent::Connected { path, security }) => {
                    *connected = Some((path, security));
                }
                Some(TransferEvent::Ended(outcome)) => return outcome,
                Some(_) => {}
                None => return Err(Error::EngineEnded),
            }
        }
    }

    async fn work(&self, id: &ConversationId, picked: Picked) -> Result<LegacyWork, TransferError> {
        let cookie = id.cookie;
        let mut machine = ListOwner::new(cookie);
        let prompt = machine.list(&self.folder.listing(None).await?)?;
        let opening = Arc::new(Listed {
            cookie,
            prompt: prompt.encode(),
        });
        let share = self.clone();
        let run = move |opened: Opened, control: Control| -> BoxFuture<'static, _> {
            Box::pin(async move {
                tokio::select! {
                    error = control.cancelled() => Err(error),
                    asked = share.browse(opened, machine) => match asked? {
                        None => Ok(Summary::default()),
                        Some((lane, path)) => {
                            let _ = picked.set(path.as_str().to_owned());
                            share.send(lane, cookie, &path, &control).await
                        }
                    },
                }
            })
        };
        Ok(LegacyWork {
            service: service::GET_FILE,
            tags: TlvList::new(),
            opening,
            run: Box::new(run),
        })
    }

    /// Lists until a file is picked, or the requester has seen enough.
    async fn browse(
        &self,
        Opened { mut lane, first }: Opened,
        mut machine: ListOwner,
    ) -> Result<Option<(Lane, SafeRelPath)>, TransferError> {
        let mut said = header(&first)?;
        loop {
            let within = match machine.handle(&said)? {
                OwnerEvent::SendListing(bytes) => {
                    let sent = timeout(LISTING, send_listing(&mut lane, &bytes)).await;
                    sent.map_err(|_| TransferError::Stalled)??;
                    LISTING
                }
                OwnerEvent::Listed => BROWSING,
                OwnerEvent::Folder(path) => {
                    let listing = self.folder.listing(path).await?;
                    oft::write_header(&mut lane, &machine.list(&listing)?).await?;
                    LISTING
                }
                OwnerEvent::File(path) => return Ok(Some((lane, path))),
            };
            said = match timeout(within, oft::read_header(&mut lane)).await {
                Ok(Ok(said)) => said,
                Ok(Err(TransferError::LinkLost(_))) if within == BROWSING => return Ok(None),
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(TransferError::Stalled),
            };
        }
    }

    async fn send(
        &self,
        mut lane: Lane,
        cookie: Cookie,
        path: &SafeRelPath,
        control: &Control,
    ) -> Result<Summary, TransferError> {
        let source = self.folder.file(path).await?;
        let mut outgoing = Outgoing::prepare(source, false, control).await?;
        let outgoing = outgoing.pop_front().ok_or(SourceError::Nothing)?;
        let prompted = outgoing.prompt(cookie).await?;
        oft::write_header(&mut lane, &prompted.header).await?;
        let answer = timeout(FIRST_HEADER, oft::read_header(&mut lane)).await;
        let answer = answer.map_err(|_| TransferError::Stalled)??;
        oft::send(lane, answer, prompted, control).await
    }
}

async fn send_listing(lane: &mut Lane, bytes: &Bytes) -> Result<(), TransferError> {
    let written = async {
        lane.write_all(bytes).await?;
        lane.flush().await
    };
    written.await.map_err(TransferError::LinkLost)
}

/// Our listing is announced; an answer with the right cookie proves the requester.
struct Listed {
    cookie: Cookie,
    prompt: Bytes,
}

impl Opening for Listed {
    fn first_words(&self, _terms: Terms) -> Option<Bytes> {
        Some(self.prompt.clone())
    }

    fn hear<'a>(
        &'a self,
        lane: &'a mut Lane,
        _terms: Terms,
    ) -> BoxFuture<'a, Result<Bytes, OpeningError>> {
        Box::pin(async move {
            let answer: Header = oft::read_header(lane).await.map_err(opening_error)?;
            match answer.kind {
                Kind::LIST_ACK if answer.cookie == self.cookie => Ok(answer.encode()),
                Kind::LIST_ACK => Err(OpeningError::WrongCookie),
                _ => Err(OpeningError::Foreign),
            }
        })
    }
}

/// What a first header that could not be read means to an attempt.
pub(super) fn opening_error(error: TransferError) -> OpeningError {
    match error {
        TransferError::LinkLost(error) => OpeningError::Io(error),
        TransferError::Stalled => OpeningError::TimedOut,
        _ => OpeningError::Foreign,
    }
}
