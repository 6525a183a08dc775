//! The receiver's disk side: one thread hashes and writes what the blocks bring, in order, and hands complete files to the finishers.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use rdv_proto::transfer::{EntryKind, ListHash, MAX_TEXT, Manifest, Step};
use tokio::sync::{mpsc, oneshot};

use super::control::Meter;
use super::error::TransferError;
use super::finish::{BATCH, Complete, Finishers, Job};
use super::folder;
use super::part::PartFile;
use super::sink::Sink;
use super::tree::Tree;

/// Files from this size on get their room on the disk at once.
const RESERVE_FROM: u64 = 8 << 20;
/// A large file is written back each time it has grown by this much.
const WRITE_BACK: u64 = 64 << 20;
/// A batch with this many bytes does not wait for more files.
const BATCH_BYTES: u64 = 4 << 20;
/// 1980-01-01: before it, some file systems have no dates (S-20).
const EARLIEST: i64 = 315_532_800;
const DAY: i64 = 86_400;

/// What the thread gets.
pub(super) enum Work {
    /// A checked block: its payload's buffer and what to do with it.
    Block { buffer: Vec<u8>, steps: Vec<Step> },
    /// All blocks have come.
    End,
}

/// What comes back.
#[derive(Debug)]
pub(super) enum Event {
    /// One more block is written.
    Written,
    /// These files have their final names.
    Final(Vec<(u32, String)>),
    /// All is done.
    Done(Box<Outcome>),
    /// Something failed; nothing more will be finished.
    Failed(TransferError),
}

#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) hash: Option<[u8; 32]>,
    pub(super) text: Option<String>,
    /// Top folders that were made or used, by their names in the list and here.
    pub(super) tops: Vec<(String, String)>,
}

/// The async end.
pub(super) struct WriterThread {
    pub(super) work: mpsc::Sender<Work>,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) stop: Arc<AtomicBool>,
    /// Ends when everything that was unfinished has been removed.
    pub(super) gone: oneshot::Receiver<()>,
}

/// Starts the thread; it ends, and cleans up, when `work` is dropped before [`Work::End`].
pub(super) fn start(
    sink: Sink,
    manifest: Arc<Manifest>,
    buffers: mpsc::Sender<Vec<u8>>,
    queue: usize,
    progress: Arc<Meter>,
) -> Result<WriterThread, TransferError> {
    let (work, work_receiver) = mpsc::channel(queue);
    let (events_sender, events) = mpsc::channel(64);
    let (gone_sender, gone) = oneshot::channel();
    let stop = Arc::new(AtomicBool::new(false));
    let thread_stop = stop.clone();
    let body = move || {
        let failed = run(
            sink,
            manifest,
            work_receiver,
            buffers,
            events_sender.clone(),
            thread_stop,
            progress,
        );
        if let Err(error) = failed {
            // Nobody listening means that the transfer was ended.
            let _ = events_sender.blocking_send(Event::Failed(error));
        }
        let _ = gone_sender.send(());
    };
    thread::Builder::new()
        .name("rdv-write".into())
        .spawn(body)
        .map_err(TransferError::local(""))?;
    Ok(WriterThread {
        work,
        events,
        stop,
        gone,
    })
}

fn run(
    sink: Sink,
    manifest: Arc<Manifest>,
    mut work: mpsc::Receiver<Work>,
    buffers: mpsc::Sender<Vec<u8>>,
    events: mpsc::Sender<Event>,
    stop: Arc<AtomicBool>,
    progress: Arc<Meter>,
) -> Result<(), TransferError> {
    let tree = if manifest.is_text() {
        None
    } else {
        Some(Tree::open(&sink)?)
    };
    let finishers = Finishers::start(manifest.files(), sink.options.if_exists, &events, &stop)?;
    let allowed = !folder::umask_owner_bits() & if sink.options.keep_exec { 7 } else { 6 };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        });
    let latest = now.saturating_add(DAY);
    let batch = Vec::new();
    let mut writer = Writer {
        manifest,
        tree,
        finishers,
        batch,
        batch_bytes: 0,
        current: None,
        hash: ListHash::default(),
        text: None,
        allowed,
        latest,
        progress,
        stop,
        events: events.clone(),
    };
    let result = writer
        .folders()
        .and_then(|()| writer.blocks(&mut work, &buffers, &events));
    let ended = matches!(result, Ok(true));
    if !ended {
        writer.stop.store(true, Relaxed);
    }
    writer.current = None;
    writer.batch.clear();
    writer.finishers.join();
    // A finisher that failed has said so itself.
    let ended = ended && !writer.stop.load(Relaxed);
    match (&mut writer.tree, ended) {
        (Some(tree), true) => tree.sync()?,
        (Some(tree), false) => tree.remove_empty(),
        (None, _) => {}
    }
    if ended {
        let outcome = Box::new(writer.outcome());
        // Nobody listening means that the transfer was ended; the files stay, they are whole.
        let _ = events.blocking_send(Event::Done(outcome));
    }
    result.map(|_| ())
}

struct Writer {
    manifest: Arc<Manifest>,
    tree: Option<Tree>,
    finishers: Finishers,
    batch: Vec<Complete>,
    batch_bytes: u64,
    current: Option<Current>,
    hash: ListHash,
    text: Option<String>,
    allowed: u32,
    latest: i64,
    progress: Arc<Meter>,
    stop: Arc<AtomicBool>,
    events: mpsc::Sender<Event>,
}

/// The file whose bytes are coming.
struct Current {
    index: u32,
    hasher: blake3::Hasher,
    content: Content,
}

enum Content {
    Text(Vec<u8>),
    File {
        part: PartFile,
        unsynced: u64,
        write_back: Option<std_mpsc::Receiver<std::io::Result<()>>>,
    },
}

impl Writer {
    /// Makes all folders of the list, empty ones included.
    fn folders(&mut self) -> Result<(), TransferError> {
        let manifest = self.manifest.clone();
        let Some(tree) = &mut self.tree else {
            return Ok(());
        };
        manifest
            .entries()
            .iter()
            .filter(|entry| entry.kind == EntryKind::Folder)
            .try_for_each(|entry| tree.folder(Some(entry.path.as_str())).map(|_| ()))
    }

    /// Works until the end (true), or until nobody wants it any more (false).
    fn blocks(
        &mut self,
        work: &mut mpsc::Receiver<Work>,
        buffers: &mpsc::Sender<Vec<u8>>,
        events: &mpsc::Sender<Event>,
    ) -> Result<bool, TransferError> {
        loop {
            let next = match work.try_recv() {
                Ok(next) => Some(next),
                Err(_) => {
                    // Nothing waits: the files so far need not wait either.
                    self.send_batch();
                    work.blocking_recv()
                }
            };
            if self.stop.load(Relaxed) {
                return Ok(false);
            }
            match next {
                Some(Work::Block { buffer, steps }) => {
                    for step in &steps {
                        self.step(step, &buffer)?;
                    }
                    // The pool may be gone together with the transfer.
                    let _ = buffers.try_send(buffer);
                    if events.blocking_send(Event::Written).is_err() {
                        return Ok(false);
                    }
                }
                Some(Work::End) => {
                    self.send_batch();
                    return Ok(true);
                }
                None => return Ok(false),
            }
        }
    }

    fn step(&mut self, step: &Step, payload: &[u8]) -> Result<(), TransferError> {
        match step {
            Step::Write { file, range, .. } => {
                self.open(*file)?;
                self.write(&payload[range.clone()])
            }
            Step::Finish { file, hash } => {
                self.open(*file)?;
                self.finish(hash)
            }
        }
    }

    fn open(&mut self, index: u32) -> Result<(), TransferError> {
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.index == index)
        {
            return Ok(());
        }
        let manifest = self.manifest.clone();
        let entry = &manifest.entries()[index as usize];
        self.progress.set_current(entry.path.as_str());
        let content = match (&mut self.tree, entry.kind) {
            (Some(tree), EntryKind::File) => {
                let place = tree.folder(entry.path.parent())?;
                let part = PartFile::create(place.clone(), entry.path.file_name())?;
                if entry.size >= RESERVE_FROM {
                    folder::reserve(part.file(), entry.size).map_err(|error| {
                        match error.kind() {
                            std::io::ErrorKind::StorageFull => TransferError::NoSpace {
                                needed: entry.size,
                                free: place.folder.free_space().unwrap_or(0),
                            },
                            _ => place.error(entry.path.file_name(), error),
                        }
                    })?;
                }
                Content::File {
                    part,
                    unsynced: 0,
                    write_back: None,
                }
            }
            _ => Content::Text(Vec::new()),
        };
        self.current = Some(Current {
            index,
            hasher: blake3::Hasher::new(),
            content,
        });
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        current.hasher.update(bytes);
        match &mut current.content {
            Content::Text(text) => {
                debug_assert!(text.len() as u64 <= MAX_TEXT);
                text.extend_from_slice(bytes);
            }
            Content::File {
                part,
                unsynced,
                write_back,
            } => {
                let place = part.place().clone();
                let name = self.manifest.entries()[current.index as usize]
                    .path
                    .file_name();
                let error = |error| place.error(name, error);
                part.file().write_all(bytes).map_err(error)?;
                *unsynced += bytes.len() as u64;
                if *unsynced >= WRITE_BACK {
                    *unsynced = 0;
                    // One at a time: whoever writes faster than the disk waits here.
                    if let Some(running) = write_back.take() {
                        running.recv().unwrap_or(Ok(())).map_err(error)?;
                    }
                    let (sender, receiver) = std_mpsc::sync_channel(1);
                    let file = part.file().try_clone().map_err(error)?;
                    if self.finishers.give(Job::Sync(file, sender)) {
                        *write_back = Some(receiver);
                    }
                }
            }
        }
        self.progress.add_bytes(bytes.len() as u64);
        Ok(())
    }

    fn finish(&mut self, announced: &[u8; 32]) -> Result<(), TransferError> {
        let Some(current) = self.current.take() else {
            return Ok(());
        };
        let index = current.index;
        let manifest = self.manifest.clone();
        let entry = &manifest.entries()[index as usize];
        let name = || entry.path.as_str().to_owned();
        // blake3's own comparison takes the same time wherever they differ.
        if current.hasher.finalize() != *announced {
            return Err(TransferError::Verification { name: name() });
        }
        self.hash.add(entry, announced);
        match current.content {
            Content::Text(text) => {
                self.text = Some(
                    String::from_utf8(text)
                        .map_err(|_| TransferError::Verification { name: name() })?,
                );
                // No name: there is no file. The sender wants to know all the same.
                let _ = self
                    .events
                    .blocking_send(Event::Final(vec![(index, String::new())]));
            }
            Content::File {
                part, write_back, ..
            } => {
                if let Some(running) = write_back {
                    running
                        .recv()
                        .unwrap_or(Ok(()))
                        .map_err(|error| part.place().error(entry.path.file_name(), error))?;
                }
                let mode = u32::from(entry.mode) & self.allowed;
                let mtime = entry.mtime.map(|(seconds, nanos)| {
                    if seconds < EARLIEST {
                        (EARLIEST, 0)
                    } else if seconds >= self.latest {
                        (self.latest, 0)
                    } else {
                        (seconds, nanos)
                    }
                });
                let size = entry.size;
                let target = entry.path.file_name().to_owned();
                self.batch.push(Complete {
                    index,
                    part,
                    target,
                    mode,
                    mtime,
                });
                self.batch_bytes = self.batch_bytes.saturating_add(size);
                if self.batch.len() >= BATCH || self.batch_bytes >= BATCH_BYTES {
                    self.send_batch();
                }
            }
        }
        Ok(())
    }

    fn send_batch(&mut self) {
        if !self.batch.is_empty() {
            self.batch_bytes = 0;
            self.finishers
                .give(Job::Files(std::mem::take(&mut self.batch)));
        }
    }

    fn outcome(&mut self) -> Outcome {
        let tops = self.tree.as_ref().map(|tree| {
            let tops = self
                .manifest
                .entries()
                .iter()
                .filter(|entry| entry.path.parent().is_some() || entry.kind == EntryKind::Folder)
                .map(|entry| entry.path.top());
            let mut tops: Vec<_> = tops
                .filter_map(|top| Some((top.to_owned(), tree.top_name(top)?.to_owned())))
                .collect();
            tops.dedup();
            tops
        });
        Outcome {
            hash: self.hash.finish(),
            text: self.text.take(),
            tops: tops.unwrap_or_default(),
        }
    }
}
