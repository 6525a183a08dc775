//! What goes to an old client in one rendezvous: one file, or several with their folders.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;

use rdv_proto::transfer::oft::{FileFacts, OfferError, OftSend, OftTotals};
use rdv_proto::transfer::{Entry, EntryKind};
use rdv_proto::wire::oft::{Header, NameField};
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::service::SendFileOffer;

use super::super::control::Control;
use super::super::error::{SourceError, TransferError};
use super::super::source::{FileOrigin, Listing, Origin, Source};
use super::feed::Due;
use super::sums::{self, Sum, Wanted};

/// What several files without one common folder are offered as.
const SEVERAL: &str = "files";

/// What one rendezvous carries. Its checksums are being computed already.
#[derive(Debug)]
pub(crate) struct Outgoing {
    offer: SendFileOffer,
    totals: OftTotals,
    files: VecDeque<Item>,
    left_out: u64,
    last: bool,
}

/// One whose first prompt is known.
#[derive(Debug)]
pub(crate) struct Prompted {
    /// The prompt of the first file: to be written to each connection that may be the receiver's.
    pub(crate) header: Header,
    pub(super) machine: OftSend,
    pub(super) first: Due,
    pub(super) rest: VecDeque<Item>,
    pub(super) left_out: u64,
    /// Nothing of the source comes after it.
    pub(super) last: bool,
}

/// A file and the parts of its name, folders first.
#[derive(Debug)]
pub(super) struct Item {
    entry: Entry,
    origin: FileOrigin,
    parts: Vec<String>,
    sum: Sum,
}

impl Outgoing {
    /// Waits for the list, refuses what OFT2 cannot carry, and begins to compute checksums. One rendezvous per file, which every old client takes, or with
    /// `batch` one for all, folders included. Sets the totals of the transfer's progress.
    ///
    /// # Errors
    /// [`TransferError::Source`], [`TransferError::CancelledLocally`].
    pub(crate) async fn prepare(
        source: Source,
        batch: bool,
        control: &Control,
    ) -> Result<VecDeque<Self>, TransferError> {
        let listing = tokio::select! {
            listing = source.listing() => listing?,
            error = control.cancelled() => return Err(error),
        };
        let found = Found::of(&listing)?;
        let files = found.files.len() as u64;
        let bytes = found.files.iter().map(|file| file.entry.size).sum();
        let mut outgoing = if batch {
            VecDeque::from([found.all_in_one()?])
        } else {
            found.one_by_one()?
        };
        if let Some(first) = outgoing.front_mut() {
            first.0.left_out = listing.skipped.count + found.empty_folders;
        }
        if let Some(last) = outgoing.back_mut() {
            last.0.last = true;
        }
        let (outgoing, wanted): (VecDeque<_>, Vec<_>) = outgoing.into_iter().unzip();
        sums::start(wanted.into_iter().flatten().collect())?;
        control.meter.set_totals(files, bytes);
        Ok(outgoing)
    }

    /// What the proposal says of it.
    pub(crate) fn offer(&self) -> &SendFileOffer {
        &self.offer
    }

    /// Waits for the first file's checksum; best done before anything is proposed, because who has connected waits 15 s at most.
    ///
    /// # Errors
    /// [`TransferError::SourceChanged`], [`TransferError::Local`].
    pub(crate) async fn prompt(mut self, cookie: Cookie) -> Result<Prompted, TransferError> {
        let mut machine = OftSend::new(cookie, self.totals);
        let first = self.files.pop_front().ok_or(SourceError::Nothing)?;
        let (header, first) = first.prompt(&mut machine).await?;
        Ok(Prompted {
            header,
            machine,
            first,
            rest: self.files,
            left_out: self.left_out,
            last: self.last,
        })
    }
}

impl Item {
    /// The file's prompt, as soon as its checksum is known.
    pub(super) async fn prompt(
        self,
        machine: &mut OftSend,
    ) -> Result<(Header, Due), TransferError> {
        let checksum = self.sum.await.unwrap_or_else(|_| {
            let ended = std::io::Error::other("the summing thread ended early");
            Err(TransferError::local(&self.origin.path)(ended))
        })?;
        let parts: Vec<&str> = self.parts.iter().map(String::as_str).collect();
        let (name, folders) = parts.split_last().ok_or(SourceError::Nothing)?;
        let facts = FileFacts {
            name,
            folders,
            size: self.entry.size,
            mtime: mtime(&self.entry),
            checksum,
        };
        let header = machine.prompt(&facts)?;
        let due = Due {
            entry: self.entry,
            origin: self.origin,
            checksum,
        };
        Ok((header, due))
    }
}

/// The files of a list.
struct Found<'a> {
    files: Vec<File<'a>>,
    empty_folders: u64,
}

#[derive(Clone, Copy)]
struct File<'a> {
    entry: &'a Entry,
    origin: &'a FileOrigin,
}

/// What goes in one rendezvous, and the checksums that it needs.
type WithSums = (Outgoing, Vec<Wanted>);

impl<'a> Found<'a> {
    fn of(listing: &'a Listing) -> Result<Self, SourceError> {
        if listing.manifest.is_text() {
            return Err(SourceError::TextForOldClient);
        }
        let entries = listing.manifest.entries();
        let files: Vec<_> = entries
            .iter()
            .zip(&listing.origins)
            .filter_map(|(entry, origin)| match origin {
                Origin::File(origin) => Some(File { entry, origin }),
                Origin::Text(_) | Origin::Folder => None,
            })
            .collect();
        let mut full = BTreeSet::new();
        for file in &files {
            let mut path = file.entry.path.parent();
            while let Some(folder) = path.filter(|&folder| full.insert(folder)) {
                path = folder.rsplit_once('/').map(|(above, _)| above);
            }
        }
        let empty = entries
            .iter()
            .filter(|entry| entry.kind == EntryKind::Folder && !full.contains(entry.path.as_str()));
        Ok(Self {
            empty_folders: empty.count() as u64,
            files,
        })
    }

    fn one_by_one(&self) -> Result<VecDeque<WithSums>, SourceError> {
        if self.files.is_empty() {
            return Err(refused(None, OfferError::Nothing));
        }
        self.files.iter().map(|&file| single(file)).collect()
    }

    fn all_in_one(&self) -> Result<WithSums, SourceError> {
        if let [file] = self.files[..]
            && file.entry.path.parent().is_none()
        {
            return single(file);
        }
        let sizes = self.files.iter().map(|file| file.entry.size);
        let totals = OftTotals::of(sizes, false).map_err(|why| refused(None, why))?;
        let tops: BTreeSet<_> = self
            .files
            .iter()
            .map(|file| file.entry.path.top())
            .collect();
        let mut tops = tops.into_iter();
        let folder = match (tops.next(), tops.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        };
        let (mut items, mut wanted) = (VecDeque::new(), Vec::new());
        for &file in &self.files {
            let above = folder.is_none().then_some(SEVERAL);
            let parts = above.into_iter().chain(file.entry.path.parts());
            let (item, sum) = item(file, parts)?;
            items.push_back(item);
            wanted.push(sum);
        }
        let name = folder.unwrap_or(SEVERAL);
        Ok((outgoing(name, true, totals, items), wanted))
    }
}

fn single(file: File<'_>) -> Result<WithSums, SourceError> {
    let name = file.entry.path.file_name();
    let totals = OftTotals::of([file.entry.size], false)
        .map_err(|why| refused(Some(file.origin.path.clone()), why))?;
    let (item, wanted) = item(file, [name])?;
    let outgoing = outgoing(name, false, totals, VecDeque::from([item]));
    Ok((outgoing, vec![wanted]))
}

fn item<'p>(
    file: File<'_>,
    parts: impl IntoIterator<Item = &'p str>,
) -> Result<(Item, Wanted), SourceError> {
    let parts: Vec<String> = parts.into_iter().map(str::to_owned).collect();
    NameField::encode(parts.iter().map(String::as_str))
        .map_err(|why| refused(Some(file.origin.path.clone()), why.into()))?;
    let (wanted, sum) = Wanted::new(file.entry, file.origin);
    let item = Item {
        entry: file.entry.clone(),
        origin: file.origin.clone(),
        parts,
        sum,
    };
    Ok((item, wanted))
}

fn outgoing(name: &str, folder: bool, totals: OftTotals, files: VecDeque<Item>) -> Outgoing {
    Outgoing {
        offer: SendFileOffer {
            folder,
            files: totals.files(),
            bytes: totals.bytes(),
            name: name.to_owned(),
        },
        totals,
        files,
        left_out: 0,
        last: false,
    }
}

fn refused(path: Option<PathBuf>, why: OfferError) -> SourceError {
    SourceError::OldClient { path, why }
}

/// Seconds since 1970; 0, which means that nothing is told, where the field cannot say it.
fn mtime(entry: &Entry) -> u32 {
    entry
        .mtime
        .and_then(|(seconds, _)| u32::try_from(seconds).ok())
        .unwrap_or(0)
}
