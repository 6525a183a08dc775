//! The receiving side of OFT2.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rdv_proto::transfer::oft::{Incoming, OftFault, OftReceive, ReceiveTerms, ReceivedEvent};
use rdv_proto::transfer::{Entry, EntryKind};
use rdv_proto::wire::oft::{Checksum, Header};
use rdv_proto::wire::text::ScreenName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::Summary;
use super::super::control::{Control, Meter, Phase};
use super::super::digest::Announced;
use super::super::error::TransferError;
use super::super::frames::Pool;
use super::super::sink::{IfExists, Sink};
use super::super::unlisted::{Opening, Start, Unlisted};
use super::super::writer::{self, Event, List, Outcome, Work, WriterThread};
use super::header::{lost, read_header, some, write_header};

/// Bytes of one write to the disk, where they come fast enough.
const PIECE: usize = 512 * 1024;
/// Buffers that are being filled or wait for the disk.
const BUFFERS: usize = 8;
/// What has come waits this long for more before it goes to the disk.
const GATHER: Duration = Duration::from_millis(100);
/// How long a failed transfer waits for its unfinished files to be gone, or to be kept safely.
const CLEAN_UP: Duration = Duration::from_secs(5);
/// How long closing may take.
const CLOSE: Duration = Duration::from_secs(1);

/// Receives over `stream`, of which `first`, the prompt of the first file, was read, what the user has accepted: `terms`, offered by `peer`. Ends well only
/// when every file is checked, on disk and named; each is before its DONE goes out. Closes the stream after the last DONE, without waiting for the
/// other side.
///
/// # Errors
/// [`TransferError`]. Nothing unfinished is left behind; with [`IfExists::Resume`], what a later transfer can go on with.
pub(crate) async fn receive<S>(
    stream: S,
    first: Header,
    sink: Sink,
    peer: &ScreenName,
    terms: ReceiveTerms,
    control: &Control,
) -> Result<Summary, TransferError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let meter = control.meter.clone();
    meter.set_totals(terms.files.into(), terms.bytes);
    meter.set_phase(Phase::Moving);
    let folder = sink.path.clone();
    let (reader, writer) = tokio::io::split(stream);
    let outcome = async {
        room(&sink, terms.bytes).await?;
        let pool = Pool::new(BUFFERS, 0);
        let list = List::Unlisted(Unlisted {
            peer: peer.normalized().to_owned(),
        });
        let thread = writer::start(sink, list, pool.back(), BUFFERS, meter.clone())?;
        let WriterThread {
            work,
            events,
            stop,
            gone,
        } = thread;
        // Held on to until the thread is told whether what is unfinished is of use.
        let held = work.clone();
        let receiver = Receiver {
            reader,
            writer,
            pool,
            work,
            events,
            machine: OftReceive::new(terms),
            meter: &meter,
            read_on: true,
            saved: Vec::new(),
            summary: Summary::default(),
        };
        let received = tokio::select! {
            biased;
            error = control.cancelled() => Err(error),
            () = meter.stalled() => Err(TransferError::Stalled),
            done = receiver.run(first) => done,
        };
        match received {
            // All is said and done: neither time nor a cancel counts any more.
            Ok(receiver) => receiver.summary(&folder).await,
            Err(error) => {
                stop.store(!breaks_off(&error), Relaxed);
                drop(held);
                let _ = timeout(CLEAN_UP, gone).await;
                Err(error)
            }
        }
    }
    .await;
    meter.set_phase(Phase::Over);
    outcome.map(|summary| Summary {
        elapsed: meter.elapsed(),
        ..summary
    })
}

/// A failure after which what came so far is good: a later transfer may go on with it.
fn breaks_off(error: &TransferError) -> bool {
    !matches!(
        error,
        TransferError::OldProtocol(_) | TransferError::Verification { .. }
    )
}

/// Room for all of it, where all of it is to be written (F-6).
async fn room(sink: &Sink, bytes: u64) -> Result<(), TransferError> {
    if matches!(sink.options.if_exists, IfExists::Skip | IfExists::Resume) {
        return Ok(());
    }
    let sink = sink.clone();
    let path = sink.path.clone();
    let free = tokio::task::spawn_blocking(move || sink.free_space()).await;
    let free = free.map_err(|error| TransferError::local(path)(io::Error::other(error)))??;
    if free < bytes {
        return Err(TransferError::NoSpace {
            needed: bytes,
            free,
        });
    }
    Ok(())
}

struct Receiver<'a, S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    pool: Pool,
    work: mpsc::Sender<Work>,
    events: mpsc::Receiver<Event>,
    machine: OftReceive,
    meter: &'a Meter,
    /// The stream has not ended.
    read_on: bool,
    /// Top-level files, by their names here.
    saved: Vec<String>,
    summary: Summary,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Receiver<'_, S> {
    /// Runs until the last DONE is out.
    async fn run(mut self, first: Header) -> Result<Self, TransferError> {
        let mut prompt = first;
        loop {
            self.file(&prompt).await?;
            if self.machine.is_over() {
                self.machine.complete()?;
                return Ok(self);
            }
            prompt = read_header(&mut self.reader).await?;
            self.meter.touch();
        }
    }

    /// Closes, and lets the thread end.
    async fn summary(mut self, folder: &Path) -> Result<Summary, TransferError> {
        let _ = timeout(CLOSE, self.writer.shutdown()).await;
        self.order(Work::End).await?;
        let outcome = loop {
            if let Event::Done(outcome) = happened(self.events.recv().await)? {
                break outcome;
            }
        };
        Ok(Summary {
            saved: saved(folder, *outcome, self.saved),
            ..self.summary
        })
    }

    /// One file, from its prompt to its DONE.
    async fn file(&mut self, prompt: &Header) -> Result<(), TransferError> {
        let incoming = match self.machine.handle(prompt)? {
            ReceivedEvent::Offered(incoming) => incoming,
            ReceivedEvent::ReceiveBody { .. } => {
                return Err(OftFault::Unexpected(prompt.kind).into());
            }
        };
        let (size, top_level) = (incoming.size, incoming.path.parent().is_none());
        let announced = Announced::Oft(incoming.checksum);
        self.order(Work::Open(Box::new(opening(incoming, prompt.mtime))))
            .await?;
        let len = match self.opened().await? {
            Start::Have => {
                self.left_out(1, size);
                let done = self.machine.have_it();
                return self.done(&done).await;
            }
            Start::Whole => {
                let ack = self.machine.accept();
                write_header(&mut self.writer, &ack).await?;
                size
            }
            Start::Held { bytes, checksum } => self.resume(bytes, checksum).await?,
        };
        self.meter.touch();
        self.body(len).await?;
        self.summary.bytes += len;
        self.meter.set_phase(Phase::Finishing);
        self.order(Work::Close(announced)).await?;
        let (checksum, name) = self.named().await?;
        let done = self.machine.received(checksum, 0)?;
        self.summary.files += 1;
        self.meter.add_files(1);
        if top_level {
            self.saved.push(name);
        }
        self.done(&done).await?;
        self.meter.set_phase(Phase::Moving);
        Ok(())
    }

    /// Says that the file is here. Whether the sender of the last one still hears it does not matter: it is here.
    async fn done(&mut self, done: &Header) -> Result<(), TransferError> {
        let said = write_header(&mut self.writer, done).await;
        if self.machine.is_over() { Ok(()) } else { said }
    }

    /// Asks the sender to go on behind what is here; it may also start again. Returns how many bytes come.
    async fn resume(&mut self, bytes: u64, checksum: Checksum) -> Result<u64, TransferError> {
        let asked = self.machine.resume(bytes, checksum);
        write_header(&mut self.writer, &asked).await?;
        let answer = read_header(&mut self.reader).await?;
        let ReceivedEvent::ReceiveBody { reply, from, len } = self.machine.handle(&answer)? else {
            return Err(OftFault::Unexpected(answer.kind).into());
        };
        self.left_out(0, from);
        self.order(Work::Begin(from)).await?;
        write_header(&mut self.writer, &reply).await?;
        Ok(len)
    }

    /// What is here already, or is not wanted.
    fn left_out(&self, files: u64, bytes: u64) {
        let (all_files, all_bytes) = self.meter.totals();
        self.meter.set_totals(
            all_files.saturating_sub(files),
            all_bytes.saturating_sub(bytes),
        );
    }

    /// Reads exactly so many bytes, and hands them to the thread.
    async fn body(&mut self, len: u64) -> Result<(), TransferError> {
        let Self {
            reader,
            pool,
            work,
            events,
            ..
        } = self;
        let failed = async {
            loop {
                if let Err(error) = happened(events.recv().await) {
                    return error;
                }
            }
        };
        let moved = async {
            let mut left = len;
            while left > 0 {
                let mut buffer = pool.take().await;
                buffer.resize(PIECE, 0);
                let space = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE);
                let (len, read) = gather(reader, &mut buffer[..space]).await;
                left -= len as u64;
                if len > 0 && work.send(Work::Bytes { buffer, len }).await.is_err() {
                    // The thread has failed, and says so by an event.
                    std::future::pending::<()>().await;
                }
                read.map_err(lost)?;
            }
            Ok(())
        };
        tokio::select! {
            biased;
            error = failed => Err(error),
            moved = moved => moved,
        }
    }

    async fn opened(&mut self) -> Result<Start, TransferError> {
        loop {
            if let Event::Opened(start) = self.event().await? {
                return Ok(start);
            }
        }
    }

    /// Waits until the file that was closed is verified and has its name.
    async fn named(&mut self) -> Result<(Checksum, String), TransferError> {
        let (mut checksum, mut name) = (None, None);
        loop {
            match self.event().await? {
                Event::Verified(found) => checksum = Some(found),
                Event::Final(files) => name = files.into_iter().next().map(|(_, name)| name),
                _ => {}
            }
            if let (Some(checksum), Some(name)) = (checksum, &name) {
                return Ok((checksum, name.clone()));
            }
        }
    }

    /// What the thread says next. Until then the sender has nothing to say: a byte of it is one too many.
    async fn event(&mut self) -> Result<Event, TransferError> {
        let mut early = [0; 1];
        loop {
            tokio::select! {
                biased;
                read = self.reader.read(&mut early), if self.read_on => match read {
                    Ok(1..) => return Err(OftFault::EarlyBytes.into()),
                    // It may have gone: what is here is finished all the same.
                    Ok(0) | Err(_) => self.read_on = false,
                },
                event = self.events.recv() => return happened(event),
            }
        }
    }

    async fn order(&mut self, work: Work) -> Result<(), TransferError> {
        if self.work.send(work).await.is_err() {
            loop {
                happened(self.events.recv().await)?;
            }
        }
        Ok(())
    }
}

/// Reads what comes until `space` is full, or until nothing came for a moment. Says how much that is, also if the stream is at its end.
async fn gather<R: AsyncRead + Unpin>(reader: &mut R, space: &mut [u8]) -> (usize, io::Result<()>) {
    let mut have = match reader.read(space).await.and_then(some) {
        Ok(read) => read,
        Err(error) => return (0, Err(error)),
    };
    let late = Instant::now() + GATHER;
    while have < space.len() {
        match timeout_at(late, reader.read(&mut space[have..])).await {
            Ok(read) => match read.and_then(some) {
                Ok(read) => have += read,
                Err(error) => return (have, Err(error)),
            },
            Err(_) => break,
        }
    }
    (have, Ok(()))
}

fn happened(event: Option<Event>) -> Result<Event, TransferError> {
    match event {
        Some(Event::Failed(error)) => Err(error),
        Some(event) => Ok(event),
        None => Err(TransferError::local("")(io::Error::other(
            "the writing thread ended early",
        ))),
    }
}

fn opening(incoming: Incoming, mtime: u32) -> Opening {
    let resumable = incoming.resumable() && incoming.size > 0;
    Opening {
        index: incoming.index,
        entry: Entry {
            kind: EntryKind::File,
            path: incoming.path,
            size: incoming.size,
            mtime: incoming.mtime.map(|seconds| (i64::from(seconds), 0)),
            mode: 6,
        },
        mtime,
        checksum: incoming.checksum,
        resumable,
    }
}

fn saved(folder: &Path, outcome: Outcome, files: Vec<String>) -> Vec<PathBuf> {
    let names = outcome.tops.into_iter().chain(files);
    names.map(|name| folder.join(name)).collect()
}
