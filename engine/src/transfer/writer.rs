//! The receiver's disk side: one thread hashes and writes what the blocks bring, in order, and hands complete files to the finishers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use rdv_proto::transfer::{EntryKind, ListHash, Manifest, Step};
use tokio::sync::{mpsc, oneshot};

use super::arriving::{Arrived, Arriving};
use super::control::Meter;
use super::error::TransferError;
use super::finish::{BATCH, Complete, Finishers, Job};
use super::metadata::Advice;
use super::sink::Sink;
use super::tree::Tree;

/// A batch with this many bytes does not wait for more files.
const BATCH_BYTES: u64 = 4 << 20;

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
    /// Top folders that were made or used, by their names here.
    pub(super) tops: Vec<String>,
}

/// The async end.
pub(super) struct WriterThread {
    pub(super) work: mpsc::Sender<Work>,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) stop: Arc<AtomicBool>,
    /// Ends when everything that was unfinished has been removed.
    pub(super) gone: oneshot::Receiver<()>,
}

/// Starts the thread; it ends, and cleans up, when `work` is dropped before [`Work::End`]. Buffers go back to `buffers`; `queue` blocks may wait.
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
    let road = Road {
        work: work_receiver,
        buffers,
        events: events_sender.clone(),
        stop: stop.clone(),
    };
    let body = move || {
        let ended =
            Writer::start(&sink, manifest, &road, progress).and_then(|writer| writer.run(road));
        let last = match ended {
            Ok(Some(outcome)) => Some(Event::Done(outcome)),
            Ok(None) => None,
            Err(error) => Some(Event::Failed(error)),
        };
        if let Some(last) = last {
            // Nobody listening means that the transfer was ended; what has its name stays, it is whole.
            let _ = events_sender.blocking_send(last);
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

/// What leads into the thread and out of it.
struct Road {
    work: mpsc::Receiver<Work>,
    buffers: mpsc::Sender<Vec<u8>>,
    events: mpsc::Sender<Event>,
    stop: Arc<AtomicBool>,
}

struct Writer {
    manifest: Arc<Manifest>,
    /// None for a text.
    tree: Option<Tree>,
    finishers: Finishers,
    batch: Vec<Complete>,
    batch_bytes: u64,
    current: Option<Arriving>,
    hash: ListHash,
    text: Option<String>,
    advice: Advice,
    progress: Arc<Meter>,
}

impl Writer {
    fn start(
        sink: &Sink,
        manifest: Arc<Manifest>,
        road: &Road,
        progress: Arc<Meter>,
    ) -> Result<Self, TransferError> {
        Ok(Self {
            tree: if manifest.is_text() {
                None
            } else {
                Some(Tree::open(sink)?)
            },
            finishers: Finishers::start(
                manifest.files(),
                sink.options.if_exists,
                &road.events,
                &road.stop,
            )?,
            advice: Advice::new(sink.options.keep_exec),
            manifest,
            batch: Vec::new(),
            batch_bytes: 0,
            current: None,
            hash: ListHash::default(),
            text: None,
            progress,
        })
    }

    /// Works to the end; `None` if it was stopped, or if a finisher failed, which has said so itself. Then nothing unfinished is left.
    fn run(mut self, mut road: Road) -> Result<Option<Box<Outcome>>, TransferError> {
        let result = self.folders().and_then(|()| self.blocks(&mut road));
        if !matches!(result, Ok(true)) {
            road.stop.store(true, Relaxed);
        }
        self.current = None;
        self.batch.clear();
        self.finishers.join();
        if road.stop.load(Relaxed) {
            if let Some(tree) = &mut self.tree {
                tree.remove_empty();
            }
            return result.map(|_| None);
        }
        if let Some(tree) = &mut self.tree {
            tree.sync()?;
        }
        let tops = self.tree.as_ref().map_or_else(Vec::new, Tree::top_names);
        Ok(Some(Box::new(Outcome {
            hash: self.hash.finish(),
            text: self.text,
            tops,
        })))
    }

    /// Makes all folders of the list, empty ones included.
    fn folders(&mut self) -> Result<(), TransferError> {
        let Some(tree) = &mut self.tree else {
            return Ok(());
        };
        let mut folders = self
            .manifest
            .entries()
            .iter()
            .filter(|entry| entry.kind == EntryKind::Folder);
        folders.try_for_each(|entry| tree.folder(Some(entry.path.as_str())).map(|_| ()))
    }

    /// Works until the end (true), or until nobody wants it any more (false).
    fn blocks(&mut self, road: &mut Road) -> Result<bool, TransferError> {
        loop {
            let next = match road.work.try_recv() {
                Ok(next) => Some(next),
                Err(_) => {
                    // Nothing waits: the files so far need not wait either.
                    self.send_batch();
                    road.work.blocking_recv()
                }
            };
            if road.stop.load(Relaxed) {
                return Ok(false);
            }
            match next {
                Some(Work::Block { buffer, steps }) => {
                    for step in &steps {
                        self.step(step, &buffer, &road.events)?;
                    }
                    // The pool may be gone together with the transfer.
                    let _ = road.buffers.try_send(buffer);
                    if road.events.blocking_send(Event::Written).is_err() {
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

    fn step(
        &mut self,
        step: &Step,
        payload: &[u8],
        events: &mpsc::Sender<Event>,
    ) -> Result<(), TransferError> {
        let (Step::Write { file: index, .. } | Step::Finish { file: index, .. }) = step;
        let manifest = self.manifest.clone();
        let entry = &manifest.entries()[*index as usize];
        let mut current = match self
            .current
            .take()
            .filter(|current| current.index == *index)
        {
            Some(current) => current,
            None => {
                self.progress.set_current(entry.path.as_str());
                Arriving::open(*index, entry, self.tree.as_mut())?
            }
        };
        match step {
            Step::Write { range, .. } => {
                let bytes = &payload[range.clone()];
                current.write(entry, bytes, &self.finishers)?;
                self.progress.add_bytes(bytes.len() as u64);
                self.current = Some(current);
            }
            Step::Finish { hash, .. } => {
                let arrived = current.finish(entry, hash)?;
                self.hash.add(entry, hash);
                match arrived {
                    Arrived::Text(text) => {
                        self.text = Some(text);
                        // No name: there is no file. The sender wants to know all the same.
                        let _ = events.blocking_send(Event::Final(vec![(*index, String::new())]));
                    }
                    Arrived::File(part) => {
                        let target = entry.path.file_name().to_owned();
                        let (mode, mtime) = (self.advice.mode(entry), self.advice.mtime(entry));
                        self.batch.push(Complete {
                            index: *index,
                            part,
                            target,
                            mode,
                            mtime,
                        });
                        self.batch_bytes = self.batch_bytes.saturating_add(entry.size);
                        if self.batch.len() >= BATCH || self.batch_bytes >= BATCH_BYTES {
                            self.send_batch();
                        }
                    }
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
}
