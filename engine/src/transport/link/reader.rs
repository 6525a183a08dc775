//! The reading half of a lane.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rdv_proto::limits;
use rdv_proto::link::{Incoming, LaneId, LinkError};
use rdv_proto::wire::error::DecodeError;
use rdv_proto::wire::link::{Control, Frame, FrameType, HEADER_LEN};
use tokio::io::{AsyncRead, ReadBuf, ReadHalf};
use tokio::time::Instant;

use super::Stream;
use super::shared::Shared;

/// Bytes that are thrown away at once.
const WASTE: usize = 16 * 1024;

pub(super) struct LaneReader {
    pub(super) id: LaneId,
    half: ReadHalf<Box<dyn Stream>>,
    head: [u8; HEADER_LEN],
    /// Bytes of the head that are there.
    have: usize,
    /// The control frame that is being read, and how much of it is there.
    control: Option<(FrameType, Vec<u8>, usize)>,
}

/// What reading came to.
pub(super) enum Read {
    /// Bytes of the stream are in the buffer.
    Delivered,
    /// What comes next is not for now: nobody takes it, or it comes too early.
    Held,
    /// The lane is gone, and reported.
    Gone,
}

/// What to do with bytes of the stream.
pub(super) enum Into<'a, 'b> {
    /// They go here.
    Buffer(&'a mut ReadBuf<'b>),
    /// They stay where they are.
    Nowhere,
    /// They are thrown away: nobody wants them any more.
    Waste,
}

impl LaneReader {
    pub(super) fn new(id: LaneId, half: ReadHalf<Box<dyn Stream>>) -> Self {
        Self {
            id,
            half,
            head: [0; HEADER_LEN],
            have: 0,
            control: None,
        }
    }

    /// Reads frames until bytes of the stream come, or nothing more.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        shared: &Shared,
        into: &mut Into<'_, '_>,
    ) -> Poll<Read> {
        loop {
            let what = shared.lock().machine.incoming(self.id);
            let step = match (what, &mut *into) {
                (Incoming::Hold, _) | (Incoming::Deliver(_), Into::Nowhere) => {
                    return Poll::Ready(Read::Held);
                }
                (Incoming::Deliver(most), Into::Buffer(buffer)) => {
                    match ready!(self.deliver(context, shared, buffer, most)) {
                        Ok(()) => return Poll::Ready(Read::Delivered),
                        Err(error) => Err(error),
                    }
                }
                (Incoming::Deliver(most) | Incoming::Discard(most), _) => {
                    ready!(self.discard(context, shared, most))
                }
                (Incoming::Frame, _) => ready!(self.frame(context, shared)),
            };
            if let Err(error) = step {
                shared.lock().lost(self.id, error.kind());
                return Poll::Ready(Read::Gone);
            }
        }
    }

    fn deliver(
        &mut self,
        context: &mut Context<'_>,
        shared: &Shared,
        buffer: &mut ReadBuf<'_>,
        most: u64,
    ) -> Poll<io::Result<()>> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        // What a transfer hands over is initialized, so that this writes nothing.
        let space = buffer.initialize_unfilled_to(most.min(buffer.remaining()));
        let bytes = ready!(self.read(context, space))?;
        buffer.advance(bytes);
        self.took(shared, bytes);
        Poll::Ready(Ok(()))
    }

    fn discard(
        &mut self,
        context: &mut Context<'_>,
        shared: &Shared,
        most: u64,
    ) -> Poll<io::Result<()>> {
        let mut waste = [0; WASTE];
        let most = usize::try_from(most).unwrap_or(WASTE).min(WASTE);
        let bytes = ready!(self.read(context, &mut waste[..most]))?;
        self.took(shared, bytes);
        Poll::Ready(Ok(()))
    }

    fn took(&self, shared: &Shared, bytes: usize) {
        let now = Instant::now().into_std();
        let mut state = shared.lock();
        state.machine.took(now, self.id, bytes as u64);
        state.count_received(self.id, bytes as u64);
        let ack = state.machine.ack_at(now);
        let early = state
            .alarm
            .is_none_or(|alarm| ack.is_some_and(|ack| ack < alarm));
        let task = state.wakers.task.take_if(|_| early);
        drop(state);
        task.into_iter().for_each(std::task::Waker::wake);
    }

    /// A frame without bytes of the stream, or the head of one with them.
    fn frame(&mut self, context: &mut Context<'_>, shared: &Shared) -> Poll<io::Result<()>> {
        if self.control.is_none() {
            while self.have < HEADER_LEN {
                let mut head = self.head;
                let some = ready!(self.read(context, &mut head[self.have..]))?;
                self.head = head;
                self.have += some;
            }
            self.have = 0;
            let now = Instant::now().into_std();
            let (kind, len) = match Frame::decode_header(self.head) {
                Ok(head) => head,
                Err(error) => return Poll::Ready(self.refuse(&error.into())),
            };
            if kind == FrameType::STREAM {
                let heard = shared.lock().machine.stream(now, self.id, len);
                return Poll::Ready(heard.or_else(|why| self.refuse(&why)));
            }
            let bad = match len {
                _ if !kind.is_control() => Some(LinkError::Foreign(kind.0)),
                0..=limits::LINK_CONTROL => None,
                _ => Some(LinkError::LongControl(len)),
            };
            if let Some(why) = bad {
                return Poll::Ready(self.refuse(&why));
            }
            self.control = Some((kind, vec![0; len], 0));
        }
        while let Some((kind, mut payload, mut filled)) = self.control.take() {
            if filled == payload.len() {
                return Poll::Ready(self.control(shared, kind, payload));
            }
            match self.read(context, &mut payload[filled..]) {
                Poll::Ready(Ok(some)) => filled += some,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.control = Some((kind, payload, filled));
                    return Poll::Pending;
                }
            }
            self.control = Some((kind, payload, filled));
        }
        Poll::Ready(Ok(()))
    }

    fn control(&self, shared: &Shared, kind: FrameType, payload: Vec<u8>) -> io::Result<()> {
        let now = Instant::now().into_std();
        let payload = payload.into();
        let said: Result<Option<Control>, DecodeError> = Control::decode(&Frame { kind, payload });
        let mut state = shared.lock();
        let heard = match said {
            Ok(Some(said)) => state.machine.control(now, self.id, &said),
            Ok(None) => state.machine.unknown(now, self.id),
            Err(error) => Err(error.into()),
        };
        // There may be an answer to write, room, or news.
        let wakers = &mut state.wakers;
        let woken = [
            wakers.task.take(),
            wakers.write.take(),
            wakers.flush.take(),
            wakers.events.take(),
        ];
        drop(state);
        woken.into_iter().flatten().for_each(std::task::Waker::wake);
        heard.or_else(|why| self.refuse(&why))
    }

    /// The other side says what must not be said: the lane ends.
    fn refuse(&self, why: &LinkError) -> io::Result<()> {
        tracing::debug!(lane = self.id.0, %why, "a lane is closed");
        Err(io::ErrorKind::InvalidData.into())
    }

    /// Some bytes; the end is an error.
    fn read(&mut self, context: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(space);
        ready!(Pin::new(&mut self.half).poll_read(context, &mut buffer))?;
        match buffer.filled().len() {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            some => Poll::Ready(Ok(some)),
        }
    }
}
