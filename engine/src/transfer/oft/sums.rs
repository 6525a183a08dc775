//! Checksums of whole files, which stand in the prompt and so must be known before: one thread reads the files once, in the order in which they will be sent.

use std::thread;

use rdv_proto::transfer::Entry;
use rdv_proto::wire::oft::{Checksum, RunningChecksum};
use tokio::sync::oneshot;

use super::super::error::TransferError;
use super::super::reading::Reading;
use super::super::source::FileOrigin;

/// Bytes of one read.
const PIECE: usize = 1 << 20;

/// What becomes of a file's checksum.
pub(super) type Sum = oneshot::Receiver<Result<Checksum, TransferError>>;

/// A file to be summed up, and where the result goes.
pub(super) struct Wanted {
    entry: Entry,
    origin: FileOrigin,
    answer: oneshot::Sender<Result<Checksum, TransferError>>,
}

impl Wanted {
    pub(super) fn new(entry: &Entry, origin: &FileOrigin) -> (Self, Sum) {
        let (answer, sum) = oneshot::channel();
        let wanted = Self {
            entry: entry.clone(),
            origin: origin.clone(),
            answer,
        };
        (wanted, sum)
    }
}

/// Starts the thread. Files whose receiver is gone are left out, also half way.
pub(super) fn start(files: Vec<Wanted>) -> Result<(), TransferError> {
    let work = move || {
        let mut space = vec![0; PIECE];
        for mut file in files {
            if let Some(sum) = sum_up(&mut file, &mut space) {
                // Nobody may be waiting any more.
                let _ = file.answer.send(sum);
            }
        }
    };
    thread::Builder::new()
        .name("rdv-sum".into())
        .spawn(work)
        .map(|_| ())
        .map_err(TransferError::local(""))
}

/// None if nobody wants it any more.
fn sum_up(file: &mut Wanted, space: &mut [u8]) -> Option<Result<Checksum, TransferError>> {
    let mut reading = match Reading::open(&file.entry, &file.origin) {
        Ok(reading) => reading,
        Err(error) => return Some(Err(error)),
    };
    let mut running = RunningChecksum::new();
    while running.len() < file.entry.size {
        if file.answer.is_closed() {
            return None;
        }
        let left = usize::try_from(file.entry.size - running.len()).unwrap_or(usize::MAX);
        let piece = &mut space[..left.min(PIECE)];
        if let Err(error) = reading.read(piece) {
            return Some(Err(error));
        }
        running.update(piece);
    }
    Some(reading.unchanged().map(|()| running.value()))
}
