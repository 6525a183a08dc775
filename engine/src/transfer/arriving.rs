//! The file whose bytes are coming.

use std::io::{self, Write};
use std::sync::mpsc;

use rdv_proto::transfer::{Entry, EntryKind, MAX_TEXT};

use super::error::TransferError;
use super::finish::{Finishers, Job};
use super::folder;
use super::part::PartFile;
use super::tree::Tree;

/// Files from this size on get their room on the disk at once.
const RESERVE_FROM: u64 = 8 << 20;
/// A large file is written back each time it has grown by this much.
const WRITE_BACK: u64 = 64 << 20;

/// A file or text, from its first byte to its last.
pub(super) struct Arriving {
    pub(super) index: u32,
    hasher: blake3::Hasher,
    content: Content,
}

enum Content {
    Text(Vec<u8>),
    File {
        part: PartFile,
        unsynced: u64,
        write_back: Option<mpsc::Receiver<io::Result<()>>>,
    },
}

/// Whole and checked; a file still waits for its name.
pub(super) enum Arrived {
    Text(String),
    File(PartFile),
}

impl Arriving {
    pub(super) fn open(
        index: u32,
        entry: &Entry,
        tree: Option<&mut Tree>,
    ) -> Result<Self, TransferError> {
        let content = match (tree, entry.kind) {
            (Some(tree), EntryKind::File) => {
                let part =
                    PartFile::create(tree.folder(entry.path.parent())?, entry.path.file_name())?;
                if entry.size >= RESERVE_FROM {
                    reserve(&part, entry)?;
                }
                Content::File {
                    part,
                    unsynced: 0,
                    write_back: None,
                }
            }
            _ => Content::Text(Vec::new()),
        };
        Ok(Self {
            index,
            hasher: blake3::Hasher::new(),
            content,
        })
    }

    pub(super) fn write(
        &mut self,
        entry: &Entry,
        bytes: &[u8],
        finishers: &Finishers,
    ) -> Result<(), TransferError> {
        self.hasher.update(bytes);
        match &mut self.content {
            Content::Text(text) => {
                debug_assert!(text.len() as u64 <= MAX_TEXT);
                text.extend_from_slice(bytes);
            }
            Content::File {
                part,
                unsynced,
                write_back,
            } => {
                let error = |error| part.place().error(entry.path.file_name(), error);
                part.file().write_all(bytes).map_err(error)?;
                *unsynced += bytes.len() as u64;
                if *unsynced >= WRITE_BACK {
                    *unsynced = 0;
                    // One at a time: whoever writes faster than the disk waits here.
                    written_back(write_back.take()).map_err(error)?;
                    let (sender, receiver) = mpsc::sync_channel(1);
                    let file = part.file().try_clone().map_err(error)?;
                    if finishers.give(Job::Sync(file, sender)) {
                        *write_back = Some(receiver);
                    }
                }
            }
        }
        Ok(())
    }

    /// All announced bytes are here: compares the hash (S-23).
    pub(super) fn finish(
        self,
        entry: &Entry,
        announced: &[u8; 32],
    ) -> Result<Arrived, TransferError> {
        let wrong = || TransferError::Verification {
            name: entry.path.as_str().to_owned(),
        };
        // blake3's own comparison takes the same time wherever they differ.
        if self.hasher.finalize() != *announced {
            return Err(wrong());
        }
        match self.content {
            Content::Text(text) => Ok(Arrived::Text(String::from_utf8(text).map_err(|_| wrong())?)),
            Content::File {
                part, write_back, ..
            } => {
                written_back(write_back)
                    .map_err(|error| part.place().error(entry.path.file_name(), error))?;
                Ok(Arrived::File(part))
            }
        }
    }
}

fn reserve(part: &PartFile, entry: &Entry) -> Result<(), TransferError> {
    folder::reserve(part.file(), entry.size).map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull => TransferError::NoSpace {
            needed: entry.size,
            free: part.place().folder.free_space().unwrap_or(0),
        },
        _ => part.place().error(entry.path.file_name(), error),
    })
}

/// Waits for a write-back that is under way. If its thread is gone, the fsync at the end will tell.
fn written_back(running: Option<mpsc::Receiver<io::Result<()>>>) -> io::Result<()> {
    running.map_or(Ok(()), |running| running.recv().unwrap_or(Ok(())))
}
