//! The sending side of the native protocol, over one secured stream.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prost::Message as _;
use rdv_proto::transfer::{BulkSend, Manifest, SendEvent};
use rdv_proto::wire::bulk::{
    BulkRole, End, FrameType, MAX_MANIFEST_FRAME, ManifestChunk, message_frame,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use super::blocks::{Blocks, Filled};
use super::control::{Control, Meter, Phase};
use super::error::TransferError;
use super::frames::{FrameReader, FrameWriter, Pool};
use super::session::{end, hello, ping, pong, unsendable};
use super::source::{Listing, Source};
use super::{QUESTION, STALL, Summary};

/// Pause between the pings of a sender that waits: for its walk, for the answer, for the last acks. Relays end a silent pair.
const PING: Duration = Duration::from_secs(10);

/// Offers `source` over `stream`, which stands after BIND and USE, and sends what the other side accepts. Ends well only when the receiver
/// has everything on disk, checked and named.
///
/// # Errors
/// [`TransferError`]; the other side has been told.
pub async fn send<S>(stream: S, source: Source, control: Control) -> Result<Summary, TransferError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (read_half, write_half) = tokio::io::split(stream);
    let mut reader = FrameReader::new(read_half, Pool::new(1, 0), control.meter.clone());
    let mut writer = FrameWriter::new(write_half, control.meter.clone());
    let progress = control.meter.clone();

    let outcome = run(&mut reader, &mut writer, source, &control).await;
    progress.set_phase(Phase::Over);
    match outcome {
        Ok(summary) => {
            let _ = tokio::time::timeout(Duration::from_secs(1), writer.shutdown()).await;
            Ok(Summary {
                elapsed: progress.elapsed(),
                ..summary
            })
        }
        Err(error) => Err(end(&mut reader, &mut writer, error).await),
    }
}

async fn run<R, W>(
    reader: &mut FrameReader<R>,
    writer: &mut FrameWriter<W>,
    source: Source,
    control: &Control,
) -> Result<Summary, TransferError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let progress = &control.meter;
    writer.send(hello(BulkRole::SENDER)?).await?;
    let listing = tokio::select! {
        listing = listing(source, writer) => listing?,
        error = control.cancelled() => return Err(error),
    };
    let manifest = listing.manifest.clone();
    let left_out = listing.skipped.count;
    progress.set_totals(manifest.files(), manifest.bytes());

    let machine = Mutex::new(BulkSend::new(&manifest));
    let (answer_sender, answer) = oneshot::channel();
    let (ping_sender, pings) = mpsc::channel(4);
    let (end_sender, end_receiver) = oneshot::channel();
    let incoming = Incoming {
        reader,
        machine: &machine,
        manifest: &manifest,
        progress,
        pings: ping_sender,
        answer: Some(answer_sender),
    };
    let outgoing = Outgoing {
        writer,
        machine: &machine,
        progress,
        pings,
    };
    tokio::select! {
        // First what a peer that floods us must not keep back: each turn has its budget, and frames can use it up.
        biased;
        error = control.cancelled() => Err(error),
        () = progress.stalled() => Err(TransferError::Stalled),
        finished = incoming.run() => {
            finished?;
            let sent = end_receiver.await.map_err(|_| TransferError::CancelledLocally)?;
            Ok(Summary { hash: sent.hash.map(blake3::Hash::from_bytes), left_out, ..Summary::of(progress) })
        }
        error = outgoing.run(listing, answer, end_sender) => Err(error),
    }
}

/// Waits for the walk; pings, so that the receiver knows that somebody is at work.
async fn listing<W: AsyncWrite + Unpin>(
    source: Source,
    writer: &mut FrameWriter<W>,
) -> Result<Listing, TransferError> {
    let listing = source.listing();
    tokio::pin!(listing);
    loop {
        tokio::select! {
            listing = &mut listing => return Ok(listing?),
            () = tokio::time::sleep(PING) => writer.send(ping(0)?).await?,
        }
    }
}

/// What the sender knows once everything went out.
struct Sent {
    hash: Option<[u8; 32]>,
}

fn lock(machine: &Mutex<BulkSend>) -> MutexGuard<'_, BulkSend> {
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What comes from the receiver.
struct Incoming<'a, R> {
    reader: &'a mut FrameReader<R>,
    machine: &'a Mutex<BulkSend>,
    manifest: &'a Manifest,
    progress: &'a Arc<Meter>,
    pings: mpsc::Sender<u64>,
    answer: Option<oneshot::Sender<Vec<u32>>>,
}

impl<R: AsyncRead + Unpin> Incoming<'_, R> {
    /// Runs until the receiver has everything.
    async fn run(mut self) -> Result<(), TransferError> {
        loop {
            let frame = self.reader.next().await?;
            let event = lock(self.machine).handle(frame.kind, frame.payload())?;
            match event {
                SendEvent::Nothing => {}
                SendEvent::Ping(number) => {
                    // Who pings faster than we write loses the surplus.
                    let _ = self.pings.try_send(number);
                }
                SendEvent::Accepted { skip } => self.accepted(skip),
                SendEvent::Acked { files } => self.progress.add_files(files.len() as u64),
                SendEvent::Declined => return Err(TransferError::Declined),
                SendEvent::Aborted { reason, text } => {
                    return Err(TransferError::aborted(reason, text));
                }
                SendEvent::Done => return Ok(()),
            }
        }
    }

    fn accepted(&mut self, skip: Vec<u32>) {
        let left_out: u64 = skip
            .iter()
            .filter_map(|&file| self.manifest.entries().get(file as usize))
            .map(|entry| entry.size)
            .sum();
        let files = self.manifest.files().saturating_sub(skip.len() as u64);
        self.progress
            .set_totals(files, self.manifest.bytes().saturating_sub(left_out));
        if let Some(answer) = self.answer.take() {
            // The other half may be gone; then this one is about to be dropped too.
            let _ = answer.send(skip);
        }
    }
}

/// What goes to the receiver.
struct Outgoing<'a, W> {
    writer: &'a mut FrameWriter<W>,
    machine: &'a Mutex<BulkSend>,
    progress: &'a Arc<Meter>,
    pings: mpsc::Receiver<u64>,
}

impl<W: AsyncWrite + Unpin> Outgoing<'_, W> {
    /// Runs until something fails; when all went out, it only answers pings.
    async fn run(
        mut self,
        listing: Listing,
        answer: oneshot::Receiver<Vec<u32>>,
        sent: oneshot::Sender<Sent>,
    ) -> TransferError {
        match self.all(listing, answer, sent).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn all(
        &mut self,
        listing: Listing,
        answer: oneshot::Receiver<Vec<u32>>,
        sent: oneshot::Sender<Sent>,
    ) -> Result<std::convert::Infallible, TransferError> {
        self.manifest(&listing.manifest).await?;
        let skip = self.answer(answer).await?;
        self.progress.set_phase(Phase::Moving);
        let mut blocks = Blocks::start(listing, skip, self.progress.clone())?;
        loop {
            let filled = tokio::select! {
                biased;
                Some(number) = self.pings.recv() => {
                    self.writer.send(pong(number)?).await?;
                    continue;
                }
                filled = blocks.next() => filled,
            };
            match filled {
                Some(Filled::Block(block)) => {
                    lock(self.machine).block_sent(&block.completes);
                    let buffer = self.writer.write(block.buffer, block.len).await?;
                    blocks.give_back(buffer);
                    self.progress.add_bytes(block.bytes);
                }
                Some(Filled::End { hash }) => {
                    let _ = sent.send(Sent { hash });
                    break;
                }
                Some(Filled::Failed(error)) => return Err(error),
                None => return Err(TransferError::CancelledLocally),
            }
        }
        let end = {
            let mut machine = lock(self.machine);
            machine.end_sent();
            End {
                blocks: machine.next_block(),
            }
        };
        self.writer
            .send(message_frame(FrameType::END, &end).map_err(unsendable)?)
            .await?;
        self.progress.set_phase(Phase::Finishing);
        loop {
            self.pong_or_ping().await?;
        }
    }

    /// Answers a ping; asks one itself when it is quiet for long.
    async fn pong_or_ping(&mut self) -> Result<(), TransferError> {
        tokio::select! {
            Some(number) = self.pings.recv() => self.writer.send(pong(number)?).await,
            () = tokio::time::sleep(PING) => self.writer.send(ping(0)?).await,
        }
    }

    async fn manifest(&mut self, manifest: &Manifest) -> Result<(), TransferError> {
        let mut chunk = ManifestChunk::default();
        let mut len = 0;
        for entry in manifest.entries() {
            let entry = entry.to_wire();
            // Tag and length of the entry take at most four bytes.
            let entry_len = entry.encoded_len() + 4;
            if len + entry_len > MAX_MANIFEST_FRAME {
                let full = std::mem::take(&mut chunk);
                self.writer
                    .send(message_frame(FrameType::MANIFEST, &full).map_err(unsendable)?)
                    .await?;
                self.progress.touch();
                len = 0;
            }
            len += entry_len;
            chunk.entries.push(entry);
        }
        self.writer
            .send(message_frame(FrameType::MANIFEST, &chunk).map_err(unsendable)?)
            .await?;
        self.writer
            .send(message_frame(FrameType::MANIFEST_END, &manifest.totals()).map_err(unsendable)?)
            .await?;
        Ok(())
    }

    async fn answer(
        &mut self,
        mut answer: oneshot::Receiver<Vec<u32>>,
    ) -> Result<Vec<u32>, TransferError> {
        // Set only now: until here the receiver had to keep taking the list.
        self.progress.set_phase(Phase::Asking);
        let late = tokio::time::sleep(QUESTION + STALL);
        tokio::pin!(late);
        loop {
            tokio::select! {
                Ok(skip) = &mut answer => return Ok(skip),
                waited = self.pong_or_ping() => waited?,
                () = &mut late => return Err(TransferError::Unanswered),
            }
        }
    }
}
