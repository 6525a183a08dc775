//! The sender's disk side: one thread reads ahead, in buffers that go round, and sums up again what it reads.

use std::sync::Arc;
use std::thread;

use rdv_proto::transfer::Entry;
use rdv_proto::wire::oft::{Checksum, RunningChecksum};
use tokio::sync::mpsc;

use super::super::error::TransferError;
use super::super::reading::{Reading, changed};
use super::super::source::FileOrigin;

/// Bytes of one read, and of one write where the connection takes them.
const PIECE: usize = 256 * 1024;
/// Buffers that may be filled or on their way at once.
const BUFFERS: usize = 8;

/// A file, and what was said of it in its prompt.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) entry: Entry,
    pub(super) origin: FileOrigin,
    pub(super) checksum: Checksum,
}

/// What the thread is to do next.
enum Order {
    /// Sum up the first bytes.
    Check { file: Arc<Due>, len: u64 },
    /// Read from here to the end.
    Body { file: Arc<Due>, from: u64 },
}

/// What the thread hands over.
enum Fed {
    Bytes { buffer: Vec<u8>, len: usize },
    Checked(Checksum),
    End,
    Failed(TransferError),
}

/// The async end; the thread ends when this is dropped.
pub(super) struct Feed {
    orders: mpsc::Sender<Order>,
    fed: mpsc::Receiver<Fed>,
    empty: mpsc::Sender<Vec<u8>>,
}

impl Feed {
    pub(super) fn start() -> Result<Self, TransferError> {
        let (orders, orders_receiver) = mpsc::channel(1);
        let (fed_sender, fed) = mpsc::channel(BUFFERS);
        let (empty, empty_receiver) = mpsc::channel(BUFFERS);
        for _ in 0..BUFFERS {
            empty
                .try_send(Vec::new())
                .expect("invariant: the channel has room for all buffers");
        }
        let feeder = Feeder {
            fed: fed_sender,
            empty: empty_receiver,
            checked: None,
        };
        thread::Builder::new()
            .name("rdv-read".into())
            .spawn(move || feeder.run(orders_receiver))
            .map_err(TransferError::local(""))?;
        Ok(Self { orders, fed, empty })
    }

    /// Checksum of the first `len` bytes of a file.
    pub(super) async fn check(
        &mut self,
        file: &Arc<Due>,
        len: u64,
    ) -> Result<Checksum, TransferError> {
        let file = file.clone();
        self.order(Order::Check { file, len }).await?;
        match self.next().await? {
            Fed::Checked(checksum) => Ok(checksum),
            _ => Err(gone()),
        }
    }

    /// Begins to read a file from this offset on: [`Self::piece`] gives its bytes.
    pub(super) async fn body(&mut self, file: &Arc<Due>, from: u64) -> Result<(), TransferError> {
        let file = file.clone();
        self.order(Order::Body { file, from }).await
    }

    /// The next bytes: a buffer and how many stand in it; none at the end of the file.
    pub(super) async fn piece(&mut self) -> Result<Option<(Vec<u8>, usize)>, TransferError> {
        match self.next().await? {
            Fed::Bytes { buffer, len } => Ok(Some((buffer, len))),
            _ => Ok(None),
        }
    }

    /// A buffer comes back.
    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        // Its thread may have ended.
        let _ = self.empty.try_send(buffer);
    }

    async fn order(&self, order: Order) -> Result<(), TransferError> {
        self.orders.send(order).await.map_err(|_| gone())
    }

    async fn next(&mut self) -> Result<Fed, TransferError> {
        match self.fed.recv().await {
            Some(Fed::Failed(error)) => Err(error),
            Some(fed) => Ok(fed),
            None => Err(gone()),
        }
    }
}

fn gone() -> TransferError {
    TransferError::local("")(std::io::Error::other("the reading thread ended early"))
}

struct Feeder {
    fed: mpsc::Sender<Fed>,
    empty: mpsc::Receiver<Vec<u8>>,
    /// Of the first bytes of the file in turn.
    checked: Option<RunningChecksum>,
}

/// Why reading stopped.
enum Stop {
    /// Nobody wants it any more.
    Gone,
    Failed(TransferError),
}

impl From<TransferError> for Stop {
    fn from(error: TransferError) -> Self {
        Self::Failed(error)
    }
}

impl Feeder {
    fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        while let Some(order) = orders.blocking_recv() {
            let done = match order {
                Order::Check { file, len } => self.check(&file, len),
                Order::Body { file, from } => self.body(&file, from),
            };
            match done {
                Ok(()) => {}
                Err(Stop::Gone) => return,
                Err(Stop::Failed(error)) => {
                    // Nobody may be listening any more.
                    let _ = self.fed.blocking_send(Fed::Failed(error));
                    return;
                }
            }
        }
    }

    fn check(&mut self, file: &Due, len: u64) -> Result<(), Stop> {
        let mut reading = Reading::open(&file.entry, &file.origin)?;
        let mut running = RunningChecksum::new();
        let mut space = vec![0; PIECE];
        while running.len() < len {
            if self.fed.is_closed() {
                return Err(Stop::Gone);
            }
            let piece = piece(&mut space, len - running.len());
            reading.read(piece)?;
            running.update(piece);
        }
        let checksum = running.value();
        self.checked = Some(running);
        self.hand_over(Fed::Checked(checksum))
    }

    fn body(&mut self, file: &Due, from: u64) -> Result<(), Stop> {
        let mut reading = Reading::open(&file.entry, &file.origin)?;
        reading.seek(from)?;
        let checked = self.checked.take();
        let mut running = checked
            .filter(|checked| checked.len() == from)
            .unwrap_or_default();
        let mut left = file.entry.size.saturating_sub(from);
        while left > 0 {
            let mut buffer = self.empty.blocking_recv().ok_or(Stop::Gone)?;
            buffer.resize(PIECE, 0);
            let piece = piece(&mut buffer, left);
            reading.read(piece)?;
            running.update(piece);
            let len = piece.len();
            left -= len as u64;
            self.hand_over(Fed::Bytes { buffer, len })?;
        }
        reading.unchanged()?;
        // Time and size can stay as they are while the bytes change.
        if !running.value().agrees(file.checksum) {
            return Err(changed(&file.origin.path).into());
        }
        self.hand_over(Fed::End)
    }

    fn hand_over(&self, fed: Fed) -> Result<(), Stop> {
        self.fed.blocking_send(fed).map_err(|_| Stop::Gone)
    }
}

fn piece(space: &mut [u8], left: u64) -> &mut [u8] {
    let len = usize::try_from(left).unwrap_or(usize::MAX).min(space.len());
    &mut space[..len]
}
