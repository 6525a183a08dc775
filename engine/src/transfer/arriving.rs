//! The file whose bytes are coming.

use std::io::{self, Seek, SeekFrom, Write};
use std::sync::mpsc;

use rdv_proto::transfer::{Entry, EntryKind, MAX_TEXT, SafeRelPath};
use rdv_proto::wire::oft::{Checksum, RunningChecksum};

use super::digest::{Announced, Digest};
use super::error::TransferError;
use super::finish::{Finishers, Job};
use super::folder;
use super::part::PartFile;
use super::record::Identity;
use super::tree::Tree;

/// Files from this size on get their room on the disk at once.
const RESERVE_FROM: u64 = 8 << 20;
/// A large file is written back each time it has grown by this much.
const WRITE_BACK: u64 = 64 << 20;
/// What an earlier transfer left is read in pieces of this size.
const READ_AGAIN: usize = 1 << 20;

/// A file or text, from its first byte to its last.
pub(super) struct Arriving {
    pub(super) index: u32,
    pub(super) entry: Entry,
    digest: Digest,
    /// Bytes that are here.
    have: u64,
    content: Content,
}

enum Content {
    Text(Vec<u8>),
    File(Box<OnDisk>),
}

struct OnDisk {
    part: PartFile,
    unsynced: u64,
    write_back: Option<WriteBack>,
    /// What a later transfer needs to go on with it; none if that is not wanted.
    resumable: Option<Identity>,
    /// Reads again what an earlier transfer left: agreed on was what its record says.
    read_again: Option<(Checksum, mpsc::Receiver<io::Result<Checksum>>)>,
}

/// A write-back under way.
struct WriteBack {
    done: mpsc::Receiver<io::Result<()>>,
    /// What will be safe then, where that matters.
    held: Option<(u64, Checksum)>,
}

/// What an earlier transfer left of a file.
pub(super) struct Held {
    pub(super) part: PartFile,
    pub(super) bytes: u64,
    pub(super) checksum: Checksum,
}

/// Whole and checked; a file still waits for its name.
pub(super) enum Arrived {
    Text(String),
    File(PartFile),
}

impl Arriving {
    /// Begins a file of the list, or a text if there is no folder for files.
    pub(super) fn open(
        index: u32,
        entry: &Entry,
        tree: Option<&mut Tree>,
        digest: Digest,
    ) -> Result<Self, TransferError> {
        let content = match (tree, entry.kind) {
            (Some(tree), EntryKind::File) => {
                let part =
                    PartFile::create(tree.folder(entry.path.parent())?, entry.path.file_name())?;
                reserve(&part, entry)?;
                Content::File(Box::new(OnDisk::new(part)))
            }
            _ => Content::Text(Vec::new()),
        };
        Ok(Self {
            index,
            entry: entry.clone(),
            digest,
            have: 0,
            content,
        })
    }

    /// Goes on with what an earlier transfer left. Where its bytes begin is said by [`Self::begin`].
    pub(super) fn go_on(index: u32, entry: &Entry, held: Held) -> Self {
        Self {
            index,
            entry: entry.clone(),
            digest: Digest::Oft(RunningChecksum::from_header(held.checksum, held.bytes)),
            have: held.bytes,
            content: Content::File(Box::new(OnDisk::new(held.part))),
        }
    }

    /// From now on, what is here survives a transfer that breaks.
    pub(super) fn survive(&mut self, identity: Identity) {
        if let Content::File(file) = &mut self.content {
            file.resumable = Some(identity);
        }
    }

    /// The bytes will come from this offset on: all that were here are kept, or none.
    pub(super) fn begin(&mut self, at: u64, finishers: &Finishers) -> Result<(), TransferError> {
        let Content::File(file) = &mut self.content else {
            return Ok(());
        };
        let error = place_error(&file.part, &self.entry.path);
        if at != self.have {
            self.have = 0;
            self.digest = Digest::Oft(RunningChecksum::new());
        }
        file.part.file().set_len(self.have).map_err(&error)?;
        file.part
            .file()
            .seek(SeekFrom::Start(self.have))
            .map_err(&error)?;
        if let (Digest::Oft(digest), 1..) = (&self.digest, self.have) {
            let (sender, receiver) = mpsc::sync_channel(1);
            let again = file.part.file().try_clone().map_err(&error)?;
            let len = self.have;
            let job = move || {
                // Nobody listening means that the transfer is over.
                let _ = sender.send(checksum_of(&again, len));
            };
            finishers.give(Job::Aside(Box::new(job)));
            file.read_again = Some((digest.value(), receiver));
        }
        drop(error);
        reserve(&file.part, &self.entry)
    }

    pub(super) fn write(
        &mut self,
        bytes: &[u8],
        finishers: &Finishers,
    ) -> Result<(), TransferError> {
        match &mut self.content {
            Content::Text(text) => {
                debug_assert!(text.len() as u64 <= MAX_TEXT);
                text.extend_from_slice(bytes);
            }
            Content::File(file) => {
                let error = place_error(&file.part, &self.entry.path);
                file.part.file().write_all(bytes).map_err(error)?;
            }
        }
        self.digest.update(bytes);
        self.have += bytes.len() as u64;
        let checksum = self.checksum();
        let have = self.have;
        if let Content::File(file) = &mut self.content {
            file.unsynced += bytes.len() as u64;
            if file.unsynced >= WRITE_BACK {
                file.unsynced = 0;
                file.write_back(checksum.map(|checksum| (have, checksum)), finishers)
                    .map_err(place_error(&file.part, &self.entry.path))?;
            }
        }
        Ok(())
    }

    /// All announced bytes are here: compares them with what the sender says of them (S-23).
    pub(super) fn finish(self, announced: &Announced) -> Result<Arrived, TransferError> {
        let wrong = || TransferError::Verification {
            name: self.entry.path.as_str().to_owned(),
        };
        if self.have != self.entry.size || !self.digest.agrees(announced) {
            return Err(wrong());
        }
        match self.content {
            Content::Text(text) => Ok(Arrived::Text(String::from_utf8(text).map_err(|_| wrong())?)),
            Content::File(mut file) => {
                let written = file.written_back().and_then(|_| file.still_the_same());
                match written.map_err(place_error(&file.part, &self.entry.path))? {
                    true => Ok(Arrived::File(file.part)),
                    false => Err(wrong()),
                }
            }
        }
    }

    /// The transfer broke: keeps what is here for a later one, if that is wanted and there is something; else it is removed.
    pub(super) fn keep(self) {
        let checksum = self.checksum();
        if let (Content::File(file), Some(checksum), 1..) = (self.content, checksum, self.have) {
            file.keep(self.have, checksum);
        }
    }

    /// OFT checksum of what is here, where it is the one that counts.
    pub(super) fn checksum(&self) -> Option<Checksum> {
        match &self.digest {
            Digest::Oft(running) => Some(running.value()),
            Digest::Blake3(_) => None,
        }
    }
}

impl OnDisk {
    fn new(part: PartFile) -> Self {
        Self {
            part,
            unsynced: 0,
            write_back: None,
            resumable: None,
            read_again: None,
        }
    }

    /// Starts to write back what is here so far. One at a time: whoever writes faster than the disk waits here.
    fn write_back(
        &mut self,
        held: Option<(u64, Checksum)>,
        finishers: &Finishers,
    ) -> io::Result<()> {
        if let (Some((bytes, checksum)), Some(identity)) = (self.written_back()?, &self.resumable) {
            self.part.record(&identity.record(bytes, checksum))?;
        }
        let (sender, done) = mpsc::sync_channel(1);
        let file = self.part.file().try_clone()?;
        if finishers.give(Job::Sync(file, sender)) {
            self.write_back = Some(WriteBack { done, held });
        }
        Ok(())
    }

    /// Waits for a write-back that is under way; says what is safe now. If its thread is gone, the fsync at the end will tell.
    fn written_back(&mut self) -> io::Result<Option<(u64, Checksum)>> {
        let Some(running) = self.write_back.take() else {
            return Ok(None);
        };
        running.done.recv().unwrap_or(Ok(()))?;
        Ok(running.held)
    }

    /// Whether what an earlier transfer left is what its record says.
    fn still_the_same(&mut self) -> io::Result<bool> {
        let Some((agreed, found)) = self.read_again.take() else {
            return Ok(true);
        };
        Ok(found.recv().map_err(io::Error::other)??.agrees(agreed))
    }

    fn keep(mut self, bytes: u64, checksum: Checksum) {
        let Some(identity) = self.resumable.take() else {
            return;
        };
        // What cannot be made durable, or is not what was agreed on, is not trusted and removed (F-7).
        let safe = self.written_back().is_ok()
            && matches!(self.still_the_same(), Ok(true))
            && self.part.file().sync_all().is_ok();
        if safe {
            self.part.keep(&identity.record(bytes, checksum));
        }
    }
}

/// Checksum of the first `len` bytes, read at offsets: whoever writes to the file is not disturbed.
fn checksum_of(file: &std::fs::File, len: u64) -> io::Result<Checksum> {
    let mut running = RunningChecksum::new();
    let mut space = vec![0; READ_AGAIN];
    while running.len() < len {
        let left = usize::try_from(len - running.len()).unwrap_or(usize::MAX);
        let space = &mut space[..left.min(READ_AGAIN)];
        folder::read_at(file, space, running.len())?;
        running.update(space);
    }
    Ok(running.value())
}

fn place_error<'a>(
    part: &PartFile,
    path: &'a SafeRelPath,
) -> impl Fn(io::Error) -> TransferError + use<'a> {
    let place = part.place().clone();
    move |error| place.error(path.file_name(), error)
}

fn reserve(part: &PartFile, entry: &Entry) -> Result<(), TransferError> {
    if entry.size < RESERVE_FROM {
        return Ok(());
    }
    folder::reserve(part.file(), entry.size).map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull => TransferError::NoSpace {
            needed: entry.size,
            free: part.place().folder.free_space().unwrap_or(0),
        },
        _ => part.place().error(entry.path.file_name(), error),
    })
}
