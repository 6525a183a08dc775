//! The receiving side of the native protocol, over one secured stream.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rdv_proto::transfer::{BulkReceive, Manifest, ReceiveEvent};
use rdv_proto::wire::bulk::{Accept, Ack, BulkRole, Decline, Done, FrameType, message_frame};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::control::{Control, Meter, Phase};
use super::error::TransferError;
use super::frames::{FrameReader, FrameWriter, Pool};
use super::offer::Offer;
use super::session::{end, hello, pong, unsendable};
use super::sink::{Checked, Sink};
use super::writer::{self, Event, List, Outcome, Work, WriterThread};
use super::{QUESTION, Summary};

/// Buffers for blocks that are being read or wait for the disk: 1 MiB each at most.
const BUFFERS: usize = 8;
/// An ack goes out at the latest after so many blocks.
const ACK_BLOCKS: u64 = 16;
/// Files in one ack.
const ACK_FILES: usize = 1024;
/// How long the list may take in all, pings and trickling notwithstanding (S-29).
const LISTING: Duration = Duration::from_secs(600);
/// How long a failed transfer waits for its unfinished files to be gone.
const CLEAN_UP: Duration = Duration::from_secs(5);
/// Frames that may be here when the answer comes, and are looked at before it counts.
const FRAMES_BEFORE_YES: u32 = 64;
/// How long our no may take to get out.
const LAST_WORD: Duration = Duration::from_secs(1);
/// How long the sender gets to close after the end.
const LINGER: Duration = Duration::from_secs(2);

/// Waits on `stream`, which stands after BIND and USE, for an offer, puts it to `consent`, and receives it into `sink`. Ends well only when
/// everything is checked, on disk and named.
///
/// # Errors
/// [`TransferError`]; the other side has been told, and nothing unfinished is left behind.
pub async fn receive<S, C, F>(
    stream: S,
    sink: Sink,
    consent: C,
    control: Control,
) -> Result<Summary, TransferError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    C: FnOnce(Offer) -> F + Send,
    F: Future<Output = bool> + Send,
{
    let (read_half, write_half) = tokio::io::split(stream);
    let mut reader = FrameReader::new(read_half, Pool::new(BUFFERS, 0), control.meter.clone());
    let mut writer = FrameWriter::new(write_half, control.meter.clone());
    let mut cleaning = None;
    let outcome = run(
        &mut reader,
        &mut writer,
        sink,
        consent,
        &control,
        &mut cleaning,
    )
    .await;
    control.meter.set_phase(Phase::Over);
    match outcome {
        Ok(summary) => {
            let close = async {
                writer.shutdown().await;
                reader.drain().await;
            };
            let _ = timeout(LINGER, close).await;
            Ok(Summary {
                elapsed: control.meter.elapsed(),
                ..summary
            })
        }
        Err(error) => {
            // The other side is told while the disk is still being tidied.
            let cleaned = async {
                if let Some(gone) = cleaning {
                    let _ = timeout(CLEAN_UP, gone).await;
                }
            };
            Err(tokio::join!(end(&mut reader, &mut writer, error), cleaned).0)
        }
    }
}

async fn run<R, W, C, F>(
    reader: &mut FrameReader<R>,
    writer: &mut FrameWriter<W>,
    sink: Sink,
    consent: C,
    control: &Control,
    cleaning: &mut Option<oneshot::Receiver<()>>,
) -> Result<Summary, TransferError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    C: FnOnce(Offer) -> F,
    F: Future<Output = bool>,
{
    let mut machine = BulkReceive::new();
    let before = async {
        writer.send(hello(BulkRole::RECEIVER)?).await?;
        let list = listing(reader, writer, &mut machine, &control.meter);
        let list = timeout(LISTING, list)
            .await
            .map_err(|_| TransferError::Stalled)?;
        let manifest = Arc::new(list?);
        control.meter.set_totals(manifest.files(), manifest.bytes());
        let checked = check(&sink, &manifest).await?;
        let offer = Offer::new(&manifest, checked.skip.len() as u64, checked.free_space);
        control.meter.set_phase(Phase::Asking);
        let answer = ask(reader, writer, &mut machine, consent(offer)).await?;
        Ok::<_, TransferError>((manifest, checked, answer))
    };
    let (manifest, Checked { skip, .. }, accepted) = tokio::select! {
        before = before => before?,
        error = control.cancelled() => return Err(error),
        () = control.meter.stalled() => return Err(TransferError::Stalled),
    };
    if !accepted {
        let no = message_frame(FrameType::DECLINE, &Decline {}).map_err(unsendable)?;
        // Whether the sender takes it or not, it was declined.
        if let Ok(sent) = timeout(LAST_WORD, writer.send(no)).await {
            sent?;
        }
        return Err(TransferError::Declined);
    }
    control.meter.set_phase(Phase::Moving);
    let left_out: u64 = skip
        .iter()
        .filter_map(|&index| manifest.entries().get(index as usize))
        .map(|entry| entry.size)
        .sum();
    control.meter.set_totals(
        manifest.files().saturating_sub(skip.len() as u64),
        manifest.bytes().saturating_sub(left_out),
    );
    machine.accept(&manifest, &skip);

    let folder = sink.path.clone();
    let WriterThread {
        work,
        events,
        stop,
        gone,
    } = writer::start(
        sink,
        List::Whole(manifest.clone()),
        reader.pool().back(),
        BUFFERS,
        control.meter.clone(),
    )?;
    let (ping_sender, pings) = mpsc::channel(4);
    let incoming = incoming(reader, &mut machine, work, ping_sender, &control.meter);
    let outgoing = Outgoing {
        writer,
        pings,
        progress: &control.meter,
        saved: BTreeMap::new(),
    };
    let moved = tokio::select! {
        // First what a peer that floods us must not keep back: each turn has its budget, and frames can use it up.
        biased;
        error = control.cancelled() => Err(error),
        () = control.meter.stalled() => Err(TransferError::Stalled),
        done = outgoing.run(Accept { skip }, events) => done,
        error = incoming => Err(error),
    };
    match moved {
        Ok((outcome, saved)) => Ok(summary(&control.meter, &folder, *outcome, &manifest, saved)),
        Err(error) => {
            stop.store(true, Relaxed);
            *cleaning = Some(gone);
            Err(error)
        }
    }
}

/// Takes the list.
async fn listing<R, W>(
    reader: &mut FrameReader<R>,
    writer: &mut FrameWriter<W>,
    machine: &mut BulkReceive,
    progress: &Meter,
) -> Result<Manifest, TransferError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        let frame = reader.next().await?;
        progress.touch();
        match machine.handle(frame.kind, frame.payload())? {
            ReceiveEvent::Offered(manifest) => return Ok(manifest),
            ReceiveEvent::Ping(number) => writer.send(pong(number)?).await?,
            ReceiveEvent::Aborted { reason, text } => {
                return Err(TransferError::aborted(reason, text));
            }
            ReceiveEvent::Nothing | ReceiveEvent::Block(_) | ReceiveEvent::Ended => {}
        }
    }
}

/// Looks at the output folder without making anything.
async fn check(sink: &Sink, manifest: &Arc<Manifest>) -> Result<Checked, TransferError> {
    let (sink, manifest) = (sink.clone(), manifest.clone());
    let path = sink.path.clone();
    match tokio::task::spawn_blocking(move || sink.check(&manifest)).await {
        Ok(checked) => checked,
        Err(error) => Err(TransferError::Local {
            path,
            error: std::io::Error::other(error),
        }),
    }
}

/// Waits for the user, and meanwhile listens whether the sender is still there.
async fn ask<R, W>(
    reader: &mut FrameReader<R>,
    writer: &mut FrameWriter<W>,
    machine: &mut BulkReceive,
    answer: impl Future<Output = bool>,
) -> Result<bool, TransferError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let late = tokio::time::sleep(QUESTION);
    tokio::pin!(answer, late);
    let mut said = None;
    let mut after = 0;
    loop {
        let frame = tokio::select! {
            // In this order, so that whoever floods us with frames neither keeps the answer back nor the time.
            biased;
            () = &mut late => return Err(TransferError::Unanswered),
            yes = &mut answer, if said.is_none() => {
                said = Some(yes);
                continue;
            }
            // What is here already was sent before our yes, and is judged as that.
            frame = reader.next(), if after < FRAMES_BEFORE_YES => frame?,
            () = std::future::ready(()), if said.is_some() => return Ok(said.unwrap_or(false)),
        };
        after += u32::from(said.is_some());
        match machine.handle(frame.kind, frame.payload())? {
            ReceiveEvent::Ping(number) => tokio::select! {
                sent = writer.send(pong(number)?) => sent?,
                // Who asks and does not listen loses the rest of it until we write the next time.
                yes = &mut answer, if said.is_none() => said = Some(yes),
                () = &mut late => return Err(TransferError::Unanswered),
                () = std::future::ready(()), if said.is_some() => {}
            },
            ReceiveEvent::Aborted { reason, text } => {
                return Err(TransferError::aborted(reason, text));
            }
            _ => {}
        }
    }
}

/// What comes from the sender. Runs until something fails: after the last block it only listens.
async fn incoming<R: AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
    machine: &mut BulkReceive,
    work: mpsc::Sender<Work>,
    pings: mpsc::Sender<u64>,
    progress: &Meter,
) -> TransferError {
    let mut ended = false;
    loop {
        let frame = match reader.next().await {
            Ok(frame) => frame,
            // Everything has come; whether the sender still listens does not matter to what is being finished.
            Err(_) if ended => std::future::pending().await,
            Err(error) => return error,
        };
        let job = match machine.handle(frame.kind, frame.payload()) {
            Ok(ReceiveEvent::Block(steps)) => Work::Block {
                buffer: frame.into_buffer(),
                steps,
            },
            Ok(ReceiveEvent::Ended) => {
                ended = true;
                progress.set_phase(Phase::Finishing);
                Work::End
            }
            Ok(ReceiveEvent::Ping(number)) => {
                // Who pings faster than we write loses the surplus.
                let _ = pings.try_send(number);
                continue;
            }
            Ok(ReceiveEvent::Aborted { reason, text }) => {
                return TransferError::aborted(reason, text);
            }
            Ok(ReceiveEvent::Nothing | ReceiveEvent::Offered(_)) => continue,
            Err(error) => return error.into(),
        };
        if work.send(job).await.is_err() {
            // The thread has failed and says so by an event.
            std::future::pending::<()>().await;
        }
    }
}

type Saved = BTreeMap<u32, String>;

/// What goes to the sender.
struct Outgoing<'a, W> {
    writer: &'a mut FrameWriter<W>,
    pings: mpsc::Receiver<u64>,
    progress: &'a Meter,
    saved: Saved,
}

impl<W: AsyncWrite + Unpin> Outgoing<'_, W> {
    /// Runs until everything is on disk and the sender was told.
    async fn run(
        mut self,
        accept: Accept,
        mut events: mpsc::Receiver<Event>,
    ) -> Result<(Box<Outcome>, Saved), TransferError> {
        self.writer
            .send(message_frame(FrameType::ACCEPT, &accept).map_err(unsendable)?)
            .await?;
        let mut ack = Ack::default();
        let mut told = 0;
        loop {
            let event = tokio::select! {
                biased;
                Some(number) = self.pings.recv() => {
                    self.writer.send(pong(number)?).await?;
                    continue;
                }
                event = events.recv() => event,
            };
            let mut next = event;
            // Whatever else has happened meanwhile goes into the same ack.
            while let Some(event) = next {
                match event {
                    Event::Written => ack.blocks += 1,
                    Event::Final(files) => self.named(files, &mut ack),
                    Event::Failed(error) => return Err(error),
                    // Those answer words that are not said here.
                    Event::Opened(_) | Event::Verified(_) => {}
                    Event::Done(outcome) => {
                        self.ack(&mut ack, &mut told).await?;
                        self.writer
                            .send(message_frame(FrameType::DONE, &Done {}).map_err(unsendable)?)
                            .await?;
                        return Ok((outcome, self.saved));
                    }
                }
                next = if ack.files.len() < ACK_FILES {
                    events.try_recv().ok()
                } else {
                    None
                };
            }
            if !ack.files.is_empty() || ack.blocks - told >= ACK_BLOCKS {
                self.ack(&mut ack, &mut told).await?;
            }
            if events.is_closed() && events.is_empty() {
                return Err(TransferError::Local {
                    path: PathBuf::new(),
                    error: std::io::Error::other("the writing thread ended early"),
                });
            }
        }
    }

    fn named(&mut self, files: Vec<(u32, String)>, ack: &mut Ack) {
        self.progress.add_files(files.len() as u64);
        for (index, name) in files {
            ack.files.push(index);
            self.saved.insert(index, name);
        }
    }

    async fn ack(&mut self, ack: &mut Ack, told: &mut u64) -> Result<(), TransferError> {
        *told = ack.blocks;
        self.writer
            .send(message_frame(FrameType::ACK, ack).map_err(unsendable)?)
            .await?;
        ack.files.clear();
        Ok(())
    }
}

fn summary(
    progress: &Meter,
    folder: &std::path::Path,
    outcome: Outcome,
    manifest: &Manifest,
    saved: Saved,
) -> Summary {
    let files = saved
        .into_iter()
        .filter(|(index, _)| {
            manifest
                .entries()
                .get(*index as usize)
                .is_some_and(|entry| entry.path.parent().is_none())
        })
        .map(|(_, name)| name)
        .filter(|name| !name.is_empty());
    let saved = outcome
        .tops
        .into_iter()
        .chain(files)
        .map(|name| folder.join(name))
        .collect();
    Summary {
        hash: outcome.hash.map(blake3::Hash::from_bytes),
        text: outcome.text,
        saved,
        ..Summary::of(progress)
    }
}
