//! The two cords to a running transfer: cancel it, watch it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rdv_proto::wire::bulk::AbortReason;
use tokio::sync::watch;
use tokio::time::Instant;

use super::STALL;
use super::error::TransferError;

/// Slowest accepted transfer, in bytes per second (security rules, section 6.4).
const LEAST_RATE: u64 = 1024;
/// The time over which it is measured.
const RATE_WINDOW: Duration = Duration::from_secs(120);

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

/// How far a transfer is, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// File bytes that were handed to the connection, or written to disk.
    pub bytes: u64,
    /// All bytes; 0 until the list is known.
    pub total_bytes: u64,
    /// Files that stand at the receiver under their final name.
    pub files: u64,
    /// All files; 0 until the list is known.
    pub total_files: u64,
    /// Name in the list of the file that is moving; foreign text on the receiver's side.
    pub current: Option<Arc<str>>,
    /// What is going on.
    pub phase: Phase,
}

/// The counters behind [`Progress`]: cheap to update from any thread.
#[derive(Debug)]
pub(super) struct Meter {
    bytes: AtomicU64,
    /// File bytes on the connection, those of blocks that are not whole yet included: on a slow line a block takes minutes.
    on_the_line: AtomicU64,
    files: AtomicU64,
    total_bytes: AtomicU64,
    total_files: AtomicU64,
    current: Mutex<Option<Arc<str>>>,
    phase: watch::Sender<Phase>,
    /// When bytes began to move: what came before was waiting for a person.
    moving_since: OnceLock<Instant>,
    /// Counts anything that is a sign of life.
    pulse: AtomicU64,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            bytes: AtomicU64::new(0),
            on_the_line: AtomicU64::new(0),
            files: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            total_files: AtomicU64::new(0),
            current: Mutex::new(None),
            phase: watch::Sender::new(Phase::Listing),
            moving_since: OnceLock::new(),
            pulse: AtomicU64::new(0),
        }
    }
}

impl Meter {
    fn read(&self) -> Progress {
        Progress {
            bytes: self.bytes.load(Relaxed),
            total_bytes: self.total_bytes.load(Relaxed),
            files: self.files.load(Relaxed),
            total_files: self.total_files.load(Relaxed),
            current: self
                .current
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            phase: *self.phase.borrow(),
        }
    }

    pub(super) fn totals(&self) -> (u64, u64) {
        (
            self.total_files.load(Relaxed),
            self.total_bytes.load(Relaxed),
        )
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        if phase == Phase::Moving {
            self.moving_since.get_or_init(Instant::now);
        }
        self.phase.send_replace(phase);
        self.touch();
    }

    /// Since bytes began to move.
    pub(super) fn elapsed(&self) -> Duration {
        self.moving_since
            .get()
            .map(Instant::elapsed)
            .unwrap_or_default()
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

    /// Bytes of a block went out or came in.
    pub(super) fn add_on_the_line(&self, bytes: u64) {
        self.on_the_line.fetch_add(bytes, Relaxed);
        self.touch();
    }

    pub(super) fn add_files(&self, files: u64) {
        self.files.fetch_add(files, Relaxed);
        self.touch();
    }

    pub(super) fn touch(&self) {
        self.pulse.fetch_add(1, Relaxed);
    }

    /// Ends when there was no sign of life for [`STALL`], or when what moves moves slower than [`LEAST_RATE`]; never while the user is being
    /// asked, which has a deadline of its own.
    pub(super) async fn stalled(&self) {
        let (mut seen, mut alive) = (self.pulse.load(Relaxed), Instant::now());
        let (mut moved, mut window) = (self.moved(), Instant::now());
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let pulse = self.pulse.load(Relaxed);
            let phase = *self.phase.borrow();
            if pulse != seen || phase == Phase::Asking {
                (seen, alive) = (pulse, Instant::now());
            } else if alive.elapsed() >= STALL {
                return;
            }
            if phase != Phase::Moving {
                (moved, window) = (self.moved(), Instant::now());
            } else if window.elapsed() >= RATE_WINDOW {
                let now = self.moved();
                if now.saturating_sub(moved) < LEAST_RATE * RATE_WINDOW.as_secs() {
                    return;
                }
                (moved, window) = (now, Instant::now());
            }
        }
    }

    /// What moved so far, in bytes. A file counts for some itself: many tiny ones are work, too.
    fn moved(&self) -> u64 {
        const FILE: u64 = 4096;
        let files = self.files.load(Relaxed).saturating_mul(FILE);
        let bytes = self.bytes.load(Relaxed);
        bytes
            .max(self.on_the_line.load(Relaxed))
            .saturating_add(files)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Go,
    ByUs,
    ByPeer,
}

/// The cords to one transfer. Clones hang on the same one; dropping them does not cancel.
#[derive(Debug, Clone)]
pub struct Control {
    stop: watch::Sender<Stop>,
    pub(super) meter: Arc<Meter>,
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

impl Control {
    /// For a transfer that is about to start.
    pub fn new() -> Self {
        Self {
            stop: watch::Sender::new(Stop::Go),
            meter: Arc::default(),
        }
    }

    /// Ends the transfer; the other side is told on the lane.
    pub fn cancel(&self) {
        self.stop_by(Stop::ByUs);
    }

    /// The other side cancelled by another way (signalling): ends the transfer as if it had said so on the lane.
    pub fn cancel_by_peer(&self) {
        self.stop_by(Stop::ByPeer);
    }

    fn stop_by(&self, by: Stop) {
        self.stop.send_if_modified(|stop| {
            let first = *stop == Stop::Go;
            if first {
                *stop = by;
            }
            first
        });
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.meter.read()
    }

    /// To await what the transfer is doing.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.meter.phase.subscribe()
    }

    /// Ends when the transfer is cancelled, and says by whom.
    pub(crate) async fn cancelled(&self) -> TransferError {
        let mut stop = self.stop.subscribe();
        let by = stop
            .wait_for(|stop| *stop != Stop::Go)
            .await
            .map_or(Stop::ByUs, |stop| *stop);
        match by {
            Stop::ByPeer => TransferError::CancelledByPeer {
                reason: AbortReason::USER,
                text: String::new(),
            },
            Stop::ByUs | Stop::Go => TransferError::CancelledLocally,
        }
    }
}
