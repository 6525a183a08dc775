//! A direct IM over a connection: reads and writes beside each other until one side closes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rdv_proto::direct_im::{DirectIm as Machine, Event, Fault, Stage};
use rdv_proto::limits;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

use super::DirectImError;
use crate::error::By;

/// From the first byte of a header to its last, and from the connection to the first header (`security.md` 6.4).
pub(super) const HEADER_TIME: Duration = Duration::from_secs(15);
/// Within a message: without a byte.
pub(super) const STALL: Duration = Duration::from_secs(60);
/// Within a message: what has to come in [`SLOWEST_WINDOW`], in bytes. 1 KiB/s.
pub(super) const SLOWEST_BYTES: u32 = 120 * 1024;
/// See [`SLOWEST_BYTES`].
pub(super) const SLOWEST_WINDOW: Duration = Duration::from_secs(120);
/// How long a closing side waits for the other to have read all of it.
const GOODBYE: Duration = Duration::from_secs(2);
/// Messages that arrived and that nobody has taken: how many, and their payloads in KiB together. More are left in the network.
pub(super) const WAITING_MAX: usize = 64;
const WAITING_KIB: usize = 64 * 1024;
/// Read at once, and written at once between two looks at the clock.
const CHUNK: usize = 64 * 1024;

/// Something to be written.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// A frame, in pieces.
    Frame(Vec<Bytes>),
    /// The end, after all that was written before.
    Close,
}

/// Something that arrived, and the room that it takes until it is taken.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) event: Event,
    _room: Option<OwnedSemaphorePermit>,
}

/// What the application has in its hands, from the inside.
pub(super) struct Inner {
    pub(super) outgoing: mpsc::Receiver<Outgoing>,
    pub(super) arrived: mpsc::Sender<Arrived>,
}

/// Runs until one side closes. `first`: what was read of the connection so far. The connector's greeting is out; the listener's
/// goes out here, in answer to the first frame with the right cookie.
pub(super) async fn run<S: AsyncRead + AsyncWrite>(
    lane: S,
    mut machine: Machine,
    first: Bytes,
    inner: Inner,
    connector: bool,
) -> Result<By, DirectImError> {
    let Inner {
        mut outgoing,
        arrived,
    } = inner;
    let (mut input, mut output) = split(lane);
    let mut buffer = BytesMut::from(first);
    let answer = if connector {
        Bytes::new()
    } else {
        let greeting = timeout(HEADER_TIME, greeted(&mut input, &mut machine, &mut buffer));
        greeting.await.map_err(|_| DirectImError::TooSlow)??
    };
    let reading = Reading {
        input,
        machine,
        buffer,
        room: Arc::new(Semaphore::new(WAITING_KIB)),
        pace: Pace::default(),
        arrived: &arrived,
    };
    let reading = reading.run();
    let writing = write(&mut output, answer, &mut outgoing);
    tokio::pin!(reading, writing);
    tokio::select! {
        end = &mut reading => end.map(|()| By::Peer),
        end = &mut writing => match end {
            Ok(()) => {
                // What was written is lost if we hang up while something of theirs is unread.
                let _ = timeout(GOODBYE, reading).await;
                Ok(By::Us)
            }
            // What they said before they went away is still to be heard.
            Err(error) => match timeout(GOODBYE, reading).await {
                Ok(Ok(())) => Ok(By::Peer),
                _ => Err(error),
            },
        },
        () = arrived.closed() => Ok(By::Us),
    }
}

/// Reads up to the first header with the right cookie; the answer to it.
async fn greeted<S: AsyncRead>(
    input: &mut ReadHalf<S>,
    machine: &mut Machine,
    buffer: &mut BytesMut,
) -> Result<Bytes, DirectImError> {
    loop {
        match machine.handle(buffer)? {
            Some(Event::Confirmed(answer)) => return Ok(answer),
            // A machine that is not confirmed tells nothing else.
            Some(_) => return Err(Fault::WrongCookie.into()),
            None => {}
        }
        buffer.reserve(limits::AHEAD_OF_ARRIVAL);
        if input.read_buf(buffer).await.map_err(DirectImError::Lost)? == 0 {
            return Err(DirectImError::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// Since when the present header or payload is waited for.
#[derive(Debug, Default)]
struct Pace {
    /// Which header it is, and whether its payload.
    which: (u64, bool),
    begun: Option<Instant>,
    /// Bytes that were left when this window of time began.
    left: u32,
}

impl Pace {
    /// When the peer has been too slow, unless more comes.
    fn until(&mut self, machine: &Machine, now: Instant) -> Result<Option<Instant>, DirectImError> {
        let (payload, left) = match machine.stage() {
            Stage::Between => return Ok(None),
            Stage::Header => (false, 0),
            Stage::Payload { left, .. } => (true, left),
        };
        let which = (machine.headers(), payload);
        if self.which != which {
            *self = Self {
                which,
                begun: None,
                left,
            };
        }
        let begun = *self.begun.get_or_insert(now);
        if !payload {
            return Ok(Some(begun + HEADER_TIME));
        }
        if now < begun + SLOWEST_WINDOW {
            return Ok(Some((begun + SLOWEST_WINDOW).min(now + STALL)));
        }
        if self.left - left < SLOWEST_BYTES {
            return Err(DirectImError::TooSlow);
        }
        self.begun = Some(now);
        self.left = left;
        Ok(Some(now + STALL))
    }
}

struct Reading<'a, S> {
    input: ReadHalf<S>,
    machine: Machine,
    buffer: BytesMut,
    room: Arc<Semaphore>,
    pace: Pace,
    arrived: &'a mpsc::Sender<Arrived>,
}

impl<S: AsyncRead> Reading<'_, S> {
    /// Until the other side closes.
    async fn run(mut self) -> Result<(), DirectImError> {
        // Room for the message that is arriving.
        let mut room = None;
        loop {
            while let Some(event) = self.machine.handle(&mut self.buffer)? {
                let room = match event {
                    Event::Message(_) => room.take(),
                    _ => None,
                };
                let arrived = Arrived { event, _room: room };
                if self.arrived.send(arrived).await.is_err() {
                    return Ok(());
                }
            }
            match self.machine.stage() {
                Stage::Payload { length, .. } if room.is_none() => {
                    // Until enough of the earlier messages were taken.
                    let all = Arc::clone(&self.room);
                    room = all.acquire_many_owned(length.div_ceil(1024)).await.ok();
                    // The wait was ours.
                    self.pace = Pace::default();
                }
                Stage::Payload { .. } => {}
                _ => room = None,
            }
            if !self.read().await? {
                return match self.machine.stage() {
                    Stage::Between => Ok(()),
                    _ => Err(DirectImError::BrokenOff),
                };
            }
        }
    }

    /// Reads what there is. `false`: the other side has closed.
    async fn read(&mut self) -> Result<bool, DirectImError> {
        loop {
            let now = Instant::now();
            let until = self.pace.until(&self.machine, now)?;
            self.buffer.reserve(CHUNK);
            let reading = self.input.read_buf(&mut self.buffer);
            let read = match until {
                None => reading.await,
                Some(until) => match timeout_at(until, reading).await {
                    Ok(read) => read,
                    // The end of a window is not yet the end.
                    Err(_) if self.is_payload() && until < now + STALL => continue,
                    Err(_) => return Err(DirectImError::TooSlow),
                },
            };
            return match read {
                Ok(count) => Ok(count > 0),
                // TLS without its own farewell, or a reset: between two messages both are ways to close.
                Err(error) if is_close(&error) && self.machine.stage() == Stage::Between => {
                    Ok(false)
                }
                Err(error) => Err(DirectImError::Lost(error)),
            };
        }
    }

    fn is_payload(&self) -> bool {
        matches!(self.machine.stage(), Stage::Payload { .. })
    }
}

fn is_close(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
    )
}

/// Writes until the application closes; `first` in front of everything.
async fn write<S: AsyncWrite>(
    output: &mut WriteHalf<S>,
    first: Bytes,
    outgoing: &mut mpsc::Receiver<Outgoing>,
) -> Result<(), DirectImError> {
    write_frame(output, &[first]).await?;
    while let Some(Outgoing::Frame(pieces)) = outgoing.recv().await {
        write_frame(output, &pieces).await?;
    }
    let shut = timeout(STALL, output.shutdown()).await;
    shut.map_err(|_| DirectImError::TooSlow)?
        .map_err(DirectImError::Lost)
}

async fn write_frame<S: AsyncWrite>(
    output: &mut WriteHalf<S>,
    pieces: &[Bytes],
) -> Result<(), DirectImError> {
    for piece in pieces {
        for chunk in piece.chunks(CHUNK) {
            in_time(output.write_all(chunk)).await?;
        }
    }
    in_time(output.flush()).await
}

async fn in_time(writing: impl Future<Output = io::Result<()>>) -> Result<(), DirectImError> {
    let written = timeout(STALL, writing).await;
    written
        .map_err(|_| DirectImError::TooSlow)?
        .map_err(DirectImError::Lost)
}
