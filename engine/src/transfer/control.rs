//! The two cords to a running transfer: cancel it, watch it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// What a transfer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// The list is being made or is on its way.
    Listing,
    /// The receiver's user is being asked.
    Asking,
    /// Bytes are moving.
    Moving,
    /// All bytes went out or came in; files are being made durable and named.
    Finishing,
    /// Over, well or not.
    Over,
}

/// How far a transfer is. Cheap to update and to read; readers poll the numbers and may await the [`Phase`].
#[derive(Debug)]
pub struct Progress {
    bytes: AtomicU64,
    files: AtomicU64,
    total_bytes: AtomicU64,
    total_files: AtomicU64,
    current: Mutex<Option<Arc<str>>>,
    phase: watch::Sender<Phase>,
    /// Counts anything that is a sign of life.
    pulse: AtomicU64,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            bytes: AtomicU64::new(0),
            files: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            total_files: AtomicU64::new(0),
            current: Mutex::new(None),
            phase: watch::Sender::new(Phase::Listing),
            pulse: AtomicU64::new(0),
        }
    }
}

impl Progress {
    /// File bytes that were handed to the connection, or written to disk.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Files that stand at the receiver under their final name.
    pub fn files_done(&self) -> u64 {
        self.files.load(Relaxed)
    }

    /// All bytes; 0 until the list is known.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes.load(Relaxed)
    }

    /// All files; 0 until the list is known.
    pub fn total_files(&self) -> u64 {
        self.total_files.load(Relaxed)
    }

    /// Name in the list of the file that is moving; foreign text on the receiver's side.
    pub fn current(&self) -> Option<Arc<str>> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// To read or to await what the transfer is doing.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.send_replace(phase);
        self.touch();
    }

    pub(super) fn set_totals(&self, files: u64, bytes: u64) {
        self.total_files.store(files, Relaxed);
        self.total_bytes.store(bytes, Relaxed);
    }

    pub(super) fn set_current(&self, name: &str) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.into());
    }

    pub(super) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.touch();
    }

    pub(super) fn add_files(&self, files: u64) {
        self.files.fetch_add(files, Relaxed);
        self.touch();
    }

    pub(super) fn touch(&self) {
        self.pulse.fetch_add(1, Relaxed);
    }

    /// Ends when there was no sign of life for `limit`; never while the user is being asked.
    pub(super) async fn stalled(&self, limit: Duration) {
        let mut seen = self.pulse.load(Relaxed);
        let mut since = Instant::now();
        loop {
            tokio::time::sleep(limit / 60).await;
            let now = self.pulse.load(Relaxed);
            if now != seen || *self.phase.borrow() == Phase::Asking {
                seen = now;
                since = Instant::now();
            } else if since.elapsed() >= limit {
                return;
            }
        }
    }
}

/// What a transfer gets: whether it is to stop, and where to tell how far it is.
#[derive(Debug, Clone)]
pub struct Control {
    cancel: watch::Receiver<bool>,
    pub(super) progress: Arc<Progress>,
}

/// What its owner keeps. Dropping it does not cancel.
#[derive(Debug, Clone)]
pub struct ControlHandle {
    cancel: watch::Sender<bool>,
    progress: Arc<Progress>,
}

/// Both ends of the cords to a transfer.
pub fn control() -> (ControlHandle, Control) {
    let progress = Arc::new(Progress::default());
    let (sender, receiver) = watch::channel(false);
    (
        ControlHandle {
            cancel: sender,
            progress: progress.clone(),
        },
        Control {
            cancel: receiver,
            progress,
        },
    )
}

impl ControlHandle {
    /// Ends the transfer; the other side is told.
    pub fn cancel(&self) {
        self.cancel.send_replace(true);
    }

    /// How far it is.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }
}

impl Control {
    /// Ends when the transfer is cancelled.
    pub(super) async fn cancelled(&self) {
        let mut cancel = self.cancel.clone();
        if cancel.wait_for(|cancelled| *cancelled).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
