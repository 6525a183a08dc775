//! The last steps of each file: mode, time, fsync, name, fsync of the folder. Several threads take them in batches, because each fsync waits for the disk and
//! many together cost hardly more than one.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc::Sender;

use super::error::TransferError;
use super::folder;
use super::part::{PartFile, Place};
use super::sink::IfExists;
use super::writer::Event;

const THREADS: usize = 4;
/// Files of one batch. Each is an open handle, and so are those of the batches that wait: about a hundred in all.
pub(super) const BATCH: usize = 16;

/// A file whose bytes are all there and checked.
#[derive(Debug)]
pub(super) struct Complete {
    pub(super) index: u32,
    pub(super) part: PartFile,
    pub(super) target: String,
    /// The owner's bits.
    pub(super) mode: u32,
    pub(super) mtime: Option<(i64, u32)>,
}

pub(super) enum Job {
    Files(Vec<Complete>),
    /// Write back what a large file has so far, so that its last fsync is short.
    Sync(std::fs::File, mpsc::SyncSender<io::Result<()>>),
    /// Anything else that must not hold up the writing.
    Aside(Box<dyn FnOnce() + Send>),
}

/// The threads.
pub(super) struct Finishers {
    jobs: Option<mpsc::SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

struct Finisher {
    jobs: Arc<Mutex<mpsc::Receiver<Job>>>,
    events: Sender<Event>,
    if_exists: IfExists,
    stop: Arc<AtomicBool>,
}

impl Finishers {
    /// As many threads as `files` keep busy. `stop`: once set, what waits is dropped instead of finished.
    pub(super) fn start(
        files: u64,
        if_exists: IfExists,
        events: &Sender<Event>,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self, TransferError> {
        let (jobs, receiver) = mpsc::sync_channel(2);
        let receiver = Arc::new(Mutex::new(receiver));
        let count = usize::try_from(files)
            .unwrap_or(usize::MAX)
            .div_ceil(BATCH)
            .clamp(1, THREADS);
        let mut finishers = Self {
            jobs: Some(jobs),
            threads: Vec::with_capacity(count),
        };
        for _ in 0..count {
            let finisher = Finisher {
                jobs: receiver.clone(),
                events: events.clone(),
                if_exists,
                stop: stop.clone(),
            };
            let thread = thread::Builder::new()
                .name("rdv-finish".into())
                .spawn(move || finisher.run())
                .map_err(TransferError::local(""))?;
            finishers.threads.push(thread);
        }
        Ok(finishers)
    }

    /// Hands over a job; waits while all threads are busy. False if they are gone.
    pub(super) fn give(&self, job: Job) -> bool {
        self.jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(job).is_ok())
    }

    /// Waits until all jobs are done.
    pub(super) fn join(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has dropped its files, which removes them; the missing events make the transfer fail.
            let _ = thread.join();
        }
    }
}

impl Drop for Finishers {
    fn drop(&mut self) {
        self.join();
    }
}

impl Finisher {
    fn run(self) {
        loop {
            let job = self
                .jobs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .recv();
            match job {
                Ok(Job::Files(files)) => {
                    if let Err(error) = self.files(files) {
                        self.stop.store(true, Relaxed);
                        // Nobody listening means that the transfer has failed already.
                        let _ = self.events.blocking_send(Event::Failed(error));
                    }
                }
                Ok(Job::Sync(file, answer)) => {
                    let _ = answer.send(file.sync_data());
                }
                Ok(Job::Aside(job)) => job(),
                Err(mpsc::RecvError) => return,
            }
        }
    }

    fn files(&self, files: Vec<Complete>) -> Result<(), TransferError> {
        let mut places: Vec<Place> = Vec::new();
        let mut named = Vec::with_capacity(files.len());
        for file in files {
            if self.stop.load(Relaxed) {
                return Ok(());
            }
            let place = file.part.place().clone();
            let error = |error| place.error(&file.target, error);
            if let Some(mtime) = file.mtime {
                folder::set_mtime(file.part.file(), mtime).map_err(error)?;
            }
            folder::set_mode(file.part.file(), file.mode).map_err(error)?;
            file.part.file().sync_all().map_err(error)?;
            let name = file.part.finish(&file.target, self.if_exists)?;
            named.push((file.index, name));
            if !places
                .iter()
                .any(|known| Arc::ptr_eq(&known.folder, &place.folder))
            {
                places.push(place);
            }
        }
        for place in places {
            place
                .folder
                .sync()
                .map_err(TransferError::local(&*place.path))?;
        }
        // Nobody listening means that the transfer was ended.
        let _ = self.events.blocking_send(Event::Final(named));
        Ok(())
    }
}
