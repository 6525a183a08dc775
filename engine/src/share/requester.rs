//! The side that wants files: looks through the listings of a peer, and fetches one file.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::rendezvous::ConversationId;
use rdv_proto::transfer::oft::{
    ListRequester, OftFault, ReceiveTerms, RequesterEvent, cookie_fits,
};
use rdv_proto::wire::oft::{Header, Kind, ListEntry, Listing};
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::service;
use rdv_proto::wire::text::ScreenName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::owner::opening_error;
use super::{LISTING, header};
use crate::driver::{LegacyWork, Opened};
use crate::error::Error;
use crate::handle::{Transfer, TransferEvent};
use crate::security::Security;
use crate::signaling::BoxFuture;
use crate::transfer::oft;
use crate::transfer::{Control, Sink, Summary, TransferError};
use crate::transport::opening::{Opening, OpeningError, Terms};
use crate::transport::{Lane, Path};

/// How long the owner may take for the prompt of a file: it reads all of it first, for its checksum.
const PROMPT: Duration = Duration::from_secs(120);

/// A file or folder that somebody shares. All of it is the peer's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedEntry {
    /// The parts of its path as the owner knows it.
    parts: Vec<String>,
    /// Bytes; 0 for a folder.
    pub size: u32,
    /// Last change, seconds since 1970; 0 if it is not told.
    pub mtime: u32,
    /// A folder, not a file.
    pub folder: bool,
}

impl SharedEntry {
    /// The name: the last part of its path. Foreign text: shown only through [`crate::show()`].
    #[must_use]
    pub fn name(&self) -> &str {
        self.parts.last().map_or("", String::as_str)
    }

    /// Reads an entry of the listing of a folder. Some owners tell paths from the shared folder on, some from the listed one.
    fn read(entry: &ListEntry, within: &[String]) -> Option<Self> {
        let told = entry.path().ok().filter(|parts| !parts.is_empty())?;
        let whole = told.len() > within.len() && told.starts_with(within);
        let parts = match whole {
            true => told,
            false => within.iter().cloned().chain(told).collect(),
        };
        Some(Self {
            parts,
            size: entry.size(),
            mtime: entry.mtime(),
            folder: entry.is_folder(),
        })
    }
}

/// What the holder of [`SharedFiles`] asks for.
enum Ask {
    List {
        parts: Vec<String>,
        reply: oneshot::Sender<Vec<SharedEntry>>,
    },
    Fetch {
        file: SharedEntry,
        sink: Sink,
    },
}

/// What comes out of the driver's task once the first listing is there.
pub(crate) struct Browsing {
    entries: Vec<SharedEntry>,
    asks: mpsc::Sender<Ask>,
}

/// The shared files of a peer, over a connection that is open. Dropped, it is closed.
pub struct SharedFiles {
    peer: ScreenName,
    path: Path,
    security: Security,
    browsing: Browsing,
    transfer: Transfer,
}

impl fmt::Debug for SharedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedFiles")
            .field("peer", &self.peer)
            .field("entries", &self.browsing.entries.len())
            .finish_non_exhaustive()
    }
}

impl SharedFiles {
    /// Whose files they are.
    #[must_use]
    pub fn peer(&self) -> &ScreenName {
        &self.peer
    }

    /// How the bytes travel.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How safe that is. Tell the user, each time if it is [`Security::Plain`].
    #[must_use]
    pub fn security(&self) -> Security {
        self.security
    }

    /// What is in the folder that was listed last; in the beginning, the shared folder itself.
    #[must_use]
    pub fn entries(&self) -> &[SharedEntry] {
        &self.browsing.entries
    }

    /// Lists a folder; `None`: the shared folder itself.
    ///
    /// # Errors
    /// The owner refused, or the connection broke; it is over then.
    pub async fn list(&mut self, folder: Option<&SharedEntry>) -> Result<&[SharedEntry], Error> {
        let parts = folder.map_or_else(Vec::new, |folder| folder.parts.clone());
        let (reply, answer) = oneshot::channel();
        let asked = self.browsing.asks.send(Ask::List { parts, reply }).await;
        match (asked, answer.await) {
            (Ok(()), Ok(entries)) => {
                self.browsing.entries = entries;
                Ok(&self.browsing.entries)
            }
            _ => Err(ended(&mut self.transfer).await),
        }
    }

    /// Fetches a file into `sink`, under its name there. The connection ends with it; of the events of the transfer only the end is
    /// left to come.
    ///
    /// # Errors
    /// As [`SharedFiles::list`].
    pub async fn fetch(mut self, file: &SharedEntry, sink: Sink) -> Result<Transfer, Error> {
        let file = file.clone();
        match self.browsing.asks.send(Ask::Fetch { file, sink }).await {
            Ok(()) => Ok(self.transfer),
            Err(_) => Err(ended(&mut self.transfer).await),
        }
    }
}

/// Why it is over.
async fn ended(transfer: &mut Transfer) -> Error {
    while let Some(event) = transfer.next_event().await {
        if let TransferEvent::Ended(Err(error)) = event {
            return error;
        }
    }
    Error::EngineEnded
}

/// Waits until the first listing is there. Dropped before, it is called off.
pub(crate) async fn connected(
    peer: ScreenName,
    mut transfer: Transfer,
    listed: oneshot::Receiver<Browsing>,
) -> Result<SharedFiles, Error> {
    let (path, security) = loop {
        match transfer.next_event().await {
            Some(TransferEvent::Connected { path, security }) => break (path, security),
            Some(TransferEvent::Ended(Err(error))) => return Err(error),
            Some(TransferEvent::Ended(Ok(_))) | None => return Err(Error::EngineEnded),
            Some(_) => {}
        }
    };
    match listed.await {
        Ok(browsing) => Ok(SharedFiles {
            peer,
            path,
            security,
            browsing,
            transfer,
        }),
        Err(_) => Err(ended(&mut transfer).await),
    }
}

/// The request for the files of a peer as work for the driver, and where the first listing will come out.
pub(crate) fn work(id: ConversationId) -> (LegacyWork, oneshot::Receiver<Browsing>) {
    let (out, listed) = oneshot::channel();
    let ConversationId { peer, cookie } = id;
    let run = move |opened: Opened, control: Control| -> BoxFuture<'static, _> {
        Box::pin(async move {
            let asking = Asking::begin(opened, cookie);
            let picked = async {
                let (asking, entries) = asking.await?;
                asking.browse(entries, out).await
            };
            tokio::select! {
                error = control.cancelled() => Err(error),
                picked = picked => match picked? {
                    None => Ok(Summary::default()),
                    Some(picked) => picked.receive(&peer, cookie, &control).await,
                },
            }
        })
    };
    let work = LegacyWork {
        service: service::GET_FILE,
        tags: service::get_file_tags(),
        opening: Arc::new(Announced { cookie }),
        run: Box::new(run),
    };
    (work, listed)
}

/// The connection to an owner.
struct Asking {
    lane: Lane,
    machine: ListRequester,
    /// Whether the owner leaves the cookie out, as judged when the connection proved itself.
    zero_cookie_counts: bool,
}

impl Asking {
    async fn begin(
        Opened { lane, first }: Opened,
        cookie: Cookie,
    ) -> Result<(Self, Vec<SharedEntry>), TransferError> {
        let prompt = header(&first)?;
        let zero_cookie_counts = prompt.cookie.is_zero();
        let mut asking = Self {
            lane,
            machine: ListRequester::new(cookie, zero_cookie_counts),
            zero_cookie_counts,
        };
        let entries = asking.listing(&prompt, &[]).await?;
        Ok((asking, entries))
    }

    /// Does what the holder asks for. None if there is no holder any more.
    async fn browse(
        mut self,
        entries: Vec<SharedEntry>,
        out: oneshot::Sender<Browsing>,
    ) -> Result<Option<Picked>, TransferError> {
        let (asks, mut asked) = mpsc::channel(1);
        // If nobody wants it any more nothing is asked.
        let _ = out.send(Browsing { entries, asks });
        loop {
            let Some(ask) = asked.recv().await else {
                return Ok(None);
            };
            let (request, within) = match &ask {
                Ask::List { parts, .. } => {
                    let parts = parts.iter().map(String::as_str);
                    (self.machine.want_folder(parts), LISTING)
                }
                Ask::Fetch { file, .. } => {
                    let parts = file.parts.iter().map(String::as_str);
                    (self.machine.want_file(parts), PROMPT)
                }
            };
            let request = request.map_err(OftFault::from)?;
            oft::write_header(&mut self.lane, &request).await?;
            let prompt = timeout(within, oft::read_header(&mut self.lane)).await;
            let prompt = prompt.map_err(|_| TransferError::Stalled)??;
            match ask {
                Ask::List { parts, reply } => {
                    let _ = reply.send(self.listing(&prompt, &parts).await?);
                }
                Ask::Fetch { file, sink } => {
                    return Ok(Some(Picked {
                        lane: self.lane,
                        zero_cookie_counts: self.zero_cookie_counts,
                        prompt,
                        file,
                        sink,
                    }));
                }
            }
        }
    }

    /// Reads the listing that a prompt announces.
    async fn listing(
        &mut self,
        prompt: &Header,
        within: &[String],
    ) -> Result<Vec<SharedEntry>, TransferError> {
        let RequesterEvent::ReceiveListing { reply, len } = self.machine.handle(prompt)?;
        oft::write_header(&mut self.lane, &reply).await?;
        let read = timeout(LISTING, read(&mut self.lane, len)).await;
        let bytes = read.map_err(|_| TransferError::Stalled)??;
        match self.machine.received(&bytes) {
            Ok((reply, Listing(entries))) => {
                oft::write_header(&mut self.lane, &reply).await?;
                let entries = entries.iter();
                Ok(entries
                    .filter_map(|entry| SharedEntry::read(entry, within))
                    .collect())
            }
            Err(fault) => {
                // It ends either way.
                let _ = oft::write_header(&mut self.lane, &self.machine.corrupt()).await;
                let _ = self.lane.shutdown().await;
                Err(fault.into())
            }
        }
    }
}

/// Reads so many bytes; what is reserved follows what arrives.
async fn read(lane: &mut Lane, len: usize) -> Result<Bytes, TransferError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(len).unwrap_or(u64::MAX);
    let read = (&mut *lane).take(limit).read_to_end(&mut bytes).await;
    match read.map_err(TransferError::LinkLost)? == len {
        true => Ok(bytes.into()),
        false => Err(TransferError::LinkLost(
            std::io::ErrorKind::UnexpectedEof.into(),
        )),
    }
}

/// A file whose prompt is here.
struct Picked {
    lane: Lane,
    zero_cookie_counts: bool,
    prompt: Header,
    file: SharedEntry,
    sink: Sink,
}

impl Picked {
    /// From here on it is a file like any other from an old client.
    async fn receive(
        self,
        peer: &ScreenName,
        cookie: Cookie,
        control: &Control,
    ) -> Result<Summary, TransferError> {
        let terms = ReceiveTerms {
            cookie,
            zero_cookie_counts: self.zero_cookie_counts,
            files: 1,
            bytes: self.file.size.into(),
            name: self.file.name().to_owned(),
            folder: false,
        };
        oft::receive(self.lane, self.prompt, self.sink, peer, terms, control).await
    }
}

/// The owner announces its listing; the cookie may be missing there where that is allowed (L-16).
struct Announced {
    cookie: Cookie,
}

impl Opening for Announced {
    fn first_words(&self, _terms: Terms) -> Option<Bytes> {
        None
    }

    fn hear<'a>(
        &'a self,
        lane: &'a mut Lane,
        terms: Terms,
    ) -> BoxFuture<'a, Result<Bytes, OpeningError>> {
        Box::pin(async move {
            let prompt = oft::read_header(lane).await.map_err(opening_error)?;
            if prompt.kind != Kind::LIST_PROMPT {
                return Err(OpeningError::Foreign);
            }
            if !cookie_fits(&prompt, self.cookie, terms.zero_cookie_counts) {
                return Err(OpeningError::WrongCookie);
            }
            Ok(prompt.encode())
        })
    }
}
