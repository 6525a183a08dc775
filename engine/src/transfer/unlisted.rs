//! The writing thread's work for files that are known one by one, each by its own header: those of old clients. What is there of a file is found out when
//! its header has come: nothing, an unfinished part of an earlier transfer, or all of it.

use rdv_proto::transfer::Entry;
use rdv_proto::wire::oft::{Checksum, RunningChecksum};

use super::arriving::{Arriving, Held};
use super::digest::{Announced, Digest};
use super::error::TransferError;
use super::folder::Kind;
use super::part::{PartFile, Place};
use super::record::Identity;
use super::sink::IfExists;
use super::tree::Tree;
use super::writer::{List, Writer};

/// A transfer without a list.
#[derive(Debug)]
pub(super) struct Unlisted {
    /// The sender's screen name in normal form.
    pub(super) peer: String,
}

impl Unlisted {
    /// Files come one by one: one thread to finish them, and one to read again what was there meanwhile.
    pub(super) const THREADS_FOR: u64 = super::finish::BATCH as u64 + 1;
}

/// The next file, as its header says.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) index: u32,
    pub(super) entry: Entry,
    /// As the sender says, 0 included.
    pub(super) mtime: u32,
    /// Of the whole file.
    pub(super) checksum: Checksum,
    /// Whether offsets in it can be agreed on.
    pub(super) resumable: bool,
}

/// What is here of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// Nothing; it is wanted.
    Whole,
    /// All of it; or it is not wanted.
    Have,
    /// Its first bytes, by the record beside them.
    Held { bytes: u64, checksum: Checksum },
}

impl Writer {
    /// Finds out what is here of the next file, and opens it if it is wanted.
    pub(super) fn open(&mut self, opening: Opening) -> Result<Start, TransferError> {
        let (Some(tree), List::Unlisted(list)) = (&mut self.tree, &self.list) else {
            return Ok(Start::Have);
        };
        let entry = &opening.entry;
        self.progress.set_current(entry.path.as_str());
        let resume = self.sink.options.if_exists == IfExists::Resume;
        // A folder that this transfer brought along is not one that was here before.
        let own = entry.path.parent().is_some() && tree.uses(entry.path.top());
        let looked_at = !own || self.sink.options.if_exists != IfExists::Fail;
        if looked_at && !self.sink.wants(tree.root(), &entry.path, entry.kind)? {
            return Ok(Start::Have);
        }
        let place = tree.folder(entry.path.parent())?;
        if resume && is_here(&place, entry, self.advice.mtime(entry))? {
            return Ok(Start::Have);
        }
        let identity = (resume && opening.resumable).then(|| Identity {
            peer: list.peer.clone(),
            name: entry.path.file_name().to_owned(),
            size: entry.size,
            mtime: opening.mtime,
            checksum: opening.checksum,
        });
        let (mut current, start) = match held(&place, identity.as_ref())? {
            Some(held) => {
                let start = Start::Held {
                    bytes: held.bytes,
                    checksum: held.checksum,
                };
                enough(&place, entry.size.saturating_sub(held.bytes))?;
                (Arriving::go_on(opening.index, entry, held), start)
            }
            None => {
                enough(&place, entry.size)?;
                let digest = Digest::Oft(RunningChecksum::new());
                let current = Arriving::open(opening.index, entry, Some(tree), digest)?;
                (current, Start::Whole)
            }
        };
        if let Some(identity) = identity {
            current.survive(identity);
        }
        self.current = Some(current);
        Ok(start)
    }

    /// It was agreed from where on the bytes come.
    pub(super) fn begin(&mut self, at: u64) -> Result<(), TransferError> {
        match &mut self.current {
            Some(current) => current.begin(at, &self.finishers),
            None => Ok(()),
        }
    }

    /// All bytes of the open file have come: verifies them and has it named at once, its folders first. Returns their checksum.
    pub(super) fn close(&mut self, announced: &Announced) -> Result<Checksum, TransferError> {
        let checksum = self.current.as_ref().and_then(Arriving::checksum);
        self.tree.as_mut().map_or(Ok(()), Tree::sync_new)?;
        self.finish(announced)?;
        self.send_batch();
        Ok(checksum.unwrap_or(Checksum::EMPTY))
    }
}

/// Whether the file is here under its name: of this size, and of this time if the sender told one.
fn is_here(place: &Place, entry: &Entry, mtime: Option<(i64, u32)>) -> Result<bool, TransferError> {
    let name = entry.path.file_name();
    let Some(mtime) = mtime else {
        return Ok(false);
    };
    if place.refuse_link(name)? != Some(Kind::File) {
        return Ok(false);
    }
    let found = place
        .folder
        .size_and_mtime(name)
        .map_err(|error| place.error(name, error))?;
    Ok(found == (entry.size, mtime.0))
}

fn held(place: &Place, identity: Option<&Identity>) -> Result<Option<Held>, TransferError> {
    let Some(identity) = identity else {
        return Ok(None);
    };
    let found = PartFile::go_on(place.clone(), &identity.name, identity)?;
    Ok(found.map(|(part, bytes, checksum)| Held {
        part,
        bytes,
        checksum,
    }))
}

/// Room for what is still to come (F-6).
fn enough(place: &Place, needed: u64) -> Result<(), TransferError> {
    let free = place
        .folder
        .free_space()
        .map_err(TransferError::local(&*place.path))?;
    if free < needed {
        return Err(TransferError::NoSpace { needed, free });
    }
    Ok(())
}
