//! The receiver's disk side: one thread verifies and writes what comes, in order, and hands complete files to the finishers.
//!
//! Two vocabularies lead into it: blocks of a list that is known as a whole (native protocol), and files that are known one by one, each by its own
//! header (`unlisted`, old clients). Opening, writing, verifying and naming is the same code for both.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use rdv_proto::transfer::{EntryKind, ListHash, Manifest, Step};
use rdv_proto::wire::oft::Checksum;
use tokio::sync::{mpsc, oneshot};

use super::arriving::{Arrived, Arriving};
use super::control::Meter;
use super::digest::{Announced, Digest};
use super::error::TransferError;
use super::finish::{BATCH, Complete, Finishers, Job};
use super::metadata::Advice;
use super::sink::Sink;
use super::tree::Tree;
use super::unlisted::{Opening, Start, Unlisted};

/// A batch with this many bytes does not wait for more files.
const BATCH_BYTES: u64 = 4 << 20;

/// What the thread gets.
pub(super) enum Work {
    /// A checked block: its payload's buffer and what to do with it.
    Block { buffer: Vec<u8>, steps: Vec<Step> },
    /// The next file, by its own header. Answered by [`Event::Opened`].
    Open(Box<Opening>),
    /// The bytes of the open file will come from this offset on.
    Begin(u64),
    /// The next bytes of the open file.
    Bytes { buffer: Vec<u8>, len: usize },
    /// The open file is complete. Answered by [`Event::Verified`], then by [`Event::Final`].
    Close(Announced),
    /// Everything has come.
    End,
}

/// What comes back.
#[derive(Debug)]
pub(super) enum Event {
    /// One more block is written.
    Written,
    /// What is here of the file that was to be opened.
    Opened(Start),
    /// The bytes of the file that was closed are what was announced, and have this OFT checksum.
    Verified(Checksum),
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

/// What is known of the files before they come.
pub(super) enum List {
    /// All of it.
    Whole(Arc<Manifest>),
    /// Nothing: each is told by itself.
    Unlisted(Unlisted),
}

/// The async end.
pub(super) struct WriterThread {
    pub(super) work: mpsc::Sender<Work>,
    pub(super) events: mpsc::Receiver<Event>,
    /// Set: what is unfinished is of no use to anybody.
    pub(super) stop: Arc<AtomicBool>,
    /// Ends when everything that was unfinished has been removed, or kept where that is wanted.
    pub(super) gone: oneshot::Receiver<()>,
}

/// Starts the thread; it ends, and cleans up, when `work` is dropped before [`Work::End`]. Buffers go back to `buffers`; `queue` blocks may wait.
pub(super) fn start(
    sink: Sink,
    list: List,
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
        let ended = Writer::start(sink, list, &road, progress).and_then(|writer| writer.run(road));
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

pub(super) struct Writer {
    pub(super) sink: Sink,
    pub(super) list: List,
    /// None for a text.
    pub(super) tree: Option<Tree>,
    pub(super) finishers: Finishers,
    batch: Vec<Complete>,
    batch_bytes: u64,
    pub(super) current: Option<Arriving>,
    hash: ListHash,
    text: Option<String>,
    pub(super) advice: Advice,
    pub(super) progress: Arc<Meter>,
}

impl Writer {
    fn start(
        sink: Sink,
        list: List,
        road: &Road,
        progress: Arc<Meter>,
    ) -> Result<Self, TransferError> {
        let (text, threads_for) = match &list {
            List::Whole(manifest) => (manifest.is_text(), manifest.files()),
            List::Unlisted(_) => (false, Unlisted::THREADS_FOR),
        };
        Ok(Self {
            tree: if text { None } else { Some(Tree::open(&sink)?) },
            finishers: Finishers::start(
                threads_for,
                sink.options.if_exists,
                &road.events,
                &road.stop,
            )?,
            advice: Advice::new(sink.options.keep_exec),
            sink,
            list,
            batch: Vec::new(),
            batch_bytes: 0,
            current: None,
            hash: ListHash::default(),
            text: None,
            progress,
        })
    }

    /// Works to the end; `None` if it was stopped, or if a finisher failed, which has said so itself. Then nothing unfinished is left but what is
    /// to be gone on with.
    fn run(mut self, mut road: Road) -> Result<Option<Box<Outcome>>, TransferError> {
        let result = self.folders().and_then(|()| self.work(&mut road));
        if !matches!(result, Ok(true)) {
            if let Some(current) = self.current.take()
                && !road.stop.load(Relaxed)
            {
                current.keep();
            }
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
        let (Some(tree), List::Whole(manifest)) = (&mut self.tree, &self.list) else {
            return Ok(());
        };
        let mut folders = manifest
            .entries()
            .iter()
            .filter(|entry| entry.kind == EntryKind::Folder);
        folders.try_for_each(|entry| tree.folder(Some(entry.path.as_str())).map(|_| ()))
    }

    /// Works until the end (true), or until nobody wants it any more (false).
    fn work(&mut self, road: &mut Road) -> Result<bool, TransferError> {
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
            let answer = match next {
                Some(Work::Block { buffer, steps }) => {
                    for step in &steps {
                        self.step(step, &buffer, &road.events)?;
                    }
                    // The pool may be gone together with the transfer.
                    let _ = road.buffers.try_send(buffer);
                    Some(Event::Written)
                }
                Some(Work::Open(opening)) => Some(Event::Opened(self.open(*opening)?)),
                Some(Work::Begin(at)) => {
                    self.begin(at)?;
                    None
                }
                Some(Work::Bytes { buffer, len }) => {
                    self.write(&buffer[..len])?;
                    let _ = road.buffers.try_send(buffer);
                    None
                }
                Some(Work::Close(announced)) => Some(Event::Verified(self.close(&announced)?)),
                Some(Work::End) => {
                    self.send_batch();
                    return Ok(true);
                }
                None => return Ok(false),
            };
            if let Some(answer) = answer
                && road.events.blocking_send(answer).is_err()
            {
                return Ok(false);
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
        if self
            .current
            .as_ref()
            .is_none_or(|current| current.index != *index)
        {
            self.next_of_list(*index)?;
        }
        match step {
            Step::Write { range, .. } => self.write(&payload[range.clone()]),
            Step::Finish { hash, .. } => {
                if let Some(current) = &self.current {
                    self.hash.add(&current.entry, hash);
                }
                if let Some(text) = self.finish(&Announced::Blake3(*hash))? {
                    self.text = Some(text);
                    // No name: there is no file. The sender wants to know all the same.
                    let _ = events.blocking_send(Event::Final(vec![(*index, String::new())]));
                }
                Ok(())
            }
        }
    }

    fn next_of_list(&mut self, index: u32) -> Result<(), TransferError> {
        let List::Whole(manifest) = &self.list else {
            return Ok(());
        };
        let entry = &manifest.entries()[index as usize];
        self.progress.set_current(entry.path.as_str());
        self.current = Some(Arriving::open(
            index,
            entry,
            self.tree.as_mut(),
            Digest::blake3(),
        )?);
        Ok(())
    }

    /// Writes the next bytes of the open file.
    fn write(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        if let Some(current) = &mut self.current {
            current.write(bytes, &self.finishers)?;
            self.progress.add_bytes(bytes.len() as u64);
        }
        Ok(())
    }

    /// Verifies the open file and sees to it that it gets its name; a text is returned.
    pub(super) fn finish(
        &mut self,
        announced: &Announced,
    ) -> Result<Option<String>, TransferError> {
        let Some(current) = self.current.take() else {
            return Ok(None);
        };
        let (index, entry) = (current.index, current.entry.clone());
        let part = match current.finish(announced)? {
            Arrived::Text(text) => return Ok(Some(text)),
            Arrived::File(part) => part,
        };
        self.batch.push(Complete {
            index,
            part,
            target: entry.path.file_name().to_owned(),
            mode: self.advice.mode(&entry),
            mtime: self.advice.mtime(&entry),
        });
        self.batch_bytes = self.batch_bytes.saturating_add(entry.size);
        if self.batch.len() >= BATCH || self.batch_bytes >= BATCH_BYTES {
            self.send_batch();
        }
        Ok(None)
    }

    pub(super) fn send_batch(&mut self) {
        if !self.batch.is_empty() {
            self.batch_bytes = 0;
            self.finishers
                .give(Job::Files(std::mem::take(&mut self.batch)));
        }
    }
}
