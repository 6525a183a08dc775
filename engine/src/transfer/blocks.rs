//! The sender's disk side: one thread reads, hashes and packs files into blocks, in buffers that go round.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use rdv_proto::transfer::{Entry, ListHash, Manifest};
use rdv_proto::wire::bulk::{
    BLOCK_NUMBER, BYTES_RECORD_HEAD, BlockWriter, FRAME_HEAD, HASH_RECORD,
};
use tokio::sync::mpsc;

use super::control::Meter;
use super::error::TransferError;
use super::reading::{Reading, read_all};
use super::source::{FileOrigin, Listing, Origin};

/// Bytes of one file in one block: large enough for wide hashing and few calls, small enough to stay in the cache; whole pages.
const PIECE: usize = 256 * 1024;
/// Size of a block's frame: one piece and a hash.
const BLOCK: usize = FRAME_HEAD + BLOCK_NUMBER + BYTES_RECORD_HEAD + PIECE + HASH_RECORD;
/// Blocks that may be filled or on their way at once.
const BLOCKS: usize = 6;
/// A block with less room than this goes out rather than to take the beginning of a further piece.
const LEAST_PIECE: usize = 4096;

/// One DATA frame, ready to go.
pub(super) struct Block {
    pub(super) buffer: Vec<u8>,
    pub(super) len: usize,
    /// File bytes in it.
    pub(super) bytes: u64,
    /// Files that are complete with it.
    pub(super) completes: Vec<u32>,
}

/// What the thread hands over; after an error or `End` nothing more comes.
pub(super) enum Filled {
    Block(Block),
    End { hash: Option<[u8; 32]> },
    Failed(TransferError),
}

/// The async end.
pub(super) struct Blocks {
    filled: mpsc::Receiver<Filled>,
    empty: mpsc::Sender<Vec<u8>>,
}

impl Blocks {
    /// Starts the thread; it ends when this is dropped.
    pub(super) fn start(
        listing: Listing,
        skip: Vec<u32>,
        progress: Arc<Meter>,
    ) -> Result<Self, TransferError> {
        let (filled_sender, filled) = mpsc::channel(BLOCKS);
        let (empty, empty_receiver) = mpsc::channel(BLOCKS);
        for _ in 0..BLOCKS {
            empty
                .try_send(vec![0; BLOCK])
                .expect("invariant: the channel has room for all buffers");
        }
        let packer = Packer {
            filled: filled_sender,
            empty: empty_receiver,
            block: None,
            next: 0,
            bytes: 0,
            completes: Vec::new(),
            progress,
        };
        let work = move || packer.run(&listing, &skip);
        thread::Builder::new()
            .name("rdv-read".into())
            .spawn(work)
            .map_err(TransferError::local(""))?;
        Ok(Self { filled, empty })
    }

    /// The next block. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Filled> {
        self.filled.recv().await
    }

    /// A buffer comes back.
    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        // Its thread may have ended.
        let _ = self.empty.try_send(buffer);
    }
}

struct Packer {
    filled: mpsc::Sender<Filled>,
    empty: mpsc::Receiver<Vec<u8>>,
    block: Option<BlockWriter>,
    next: u64,
    bytes: u64,
    completes: Vec<u32>,
    progress: Arc<Meter>,
}

/// Why packing stopped.
enum Stop {
    /// Nobody wants the blocks any more.
    Gone,
    Failed(TransferError),
}

impl From<TransferError> for Stop {
    fn from(error: TransferError) -> Self {
        Self::Failed(error)
    }
}

impl Packer {
    fn run(mut self, listing: &Listing, skip: &[u32]) {
        let last = match self.pack_all(&listing.manifest, &listing.origins, skip) {
            Ok(hash) => Filled::End { hash },
            Err(Stop::Failed(error)) => Filled::Failed(error),
            Err(Stop::Gone) => return,
        };
        // Nobody may be listening any more.
        let _ = self.filled.blocking_send(last);
    }

    fn pack_all(
        &mut self,
        manifest: &Manifest,
        origins: &[Origin],
        skip: &[u32],
    ) -> Result<Option<[u8; 32]>, Stop> {
        let mut list_hash = ListHash::default();
        for (index, (entry, origin)) in manifest.entries().iter().zip(origins).enumerate() {
            let index =
                u32::try_from(index).expect("invariant: a list has at most 100,000 entries");
            if skip.binary_search(&index).is_ok() {
                continue;
            }
            let hash = match origin {
                Origin::Folder => continue,
                Origin::Text(text) => {
                    let mut text = text.as_bytes();
                    self.pack(index, entry, |space| {
                        read_all(&mut text, space, Path::new("text"))
                    })?
                }
                Origin::File(file) => {
                    self.progress.set_current(entry.path.as_str());
                    self.pack_file(index, entry, file)?
                }
            };
            list_hash.add(entry, &hash);
        }
        self.flush()?;
        Ok(list_hash.finish())
    }

    fn pack_file(
        &mut self,
        index: u32,
        entry: &Entry,
        from: &FileOrigin,
    ) -> Result<[u8; 32], Stop> {
        let mut file = Reading::open(entry, from)?;
        let hash = self.pack(index, entry, |space| file.read(space))?;
        file.unchanged()?;
        Ok(hash)
    }

    fn pack(
        &mut self,
        index: u32,
        entry: &Entry,
        mut read: impl FnMut(&mut [u8]) -> Result<(), TransferError>,
    ) -> Result<[u8; 32], Stop> {
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        while offset < entry.size {
            let left = usize::try_from(entry.size - offset).unwrap_or(usize::MAX);
            let block = self.block_with_room(left.min(LEAST_PIECE))?;
            let room = block.room();
            let space = &mut block.bytes(index, offset)[..left.min(room).min(PIECE)];
            read(space)?;
            hasher.update(space);
            let len = space.len();
            block.commit(len);
            self.bytes += len as u64;
            offset += len as u64;
        }
        let hash = *hasher.finalize().as_bytes();
        if self
            .block
            .as_ref()
            .is_some_and(|block| !block.has_room_for_hash())
        {
            self.flush()?;
        }
        self.block_with_room(0)?.hash(index, &hash);
        self.completes.push(index);
        Ok(hash)
    }

    /// The open block if it can take a piece of `least` bytes, else a new one.
    fn block_with_room(&mut self, least: usize) -> Result<&mut BlockWriter, Stop> {
        if self
            .block
            .as_ref()
            .is_some_and(|block| block.room() < least)
        {
            self.flush()?;
        }
        if self.block.is_none() {
            let buffer = self.empty.blocking_recv().ok_or(Stop::Gone)?;
            self.block = Some(BlockWriter::new(buffer, self.next));
            self.next += 1;
        }
        Ok(self.block.as_mut().expect("invariant: set above"))
    }

    fn flush(&mut self) -> Result<(), Stop> {
        let Some(block) = self.block.take() else {
            return Ok(());
        };
        let (buffer, len) = block.finish();
        let block = Block {
            buffer,
            len,
            bytes: std::mem::take(&mut self.bytes),
            completes: std::mem::take(&mut self.completes),
        };
        self.filled
            .blocking_send(Filled::Block(block))
            .map_err(|_| Stop::Gone)
    }
}
