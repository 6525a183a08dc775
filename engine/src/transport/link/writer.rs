//! The writing half of a lane.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use rdv_proto::link::{LaneId, Outgoing};
use rdv_proto::wire::link::{Frame, FrameType};
use tokio::io::{AsyncWrite, WriteHalf};

use super::Stream;

/// Pieces that one call writes.
const PIECES: usize = 8;

pub(super) struct LaneWriter {
    pub(super) id: LaneId,
    half: WriteHalf<Box<dyn Stream>>,
    queue: VecDeque<Bytes>,
    /// Something was written that was not flushed.
    dirty: bool,
    pub(super) failed: bool,
}

impl LaneWriter {
    pub(super) fn new(id: LaneId, half: WriteHalf<Box<dyn Stream>>) -> Self {
        Self {
            id,
            half,
            queue: VecDeque::new(),
            dirty: false,
            failed: false,
        }
    }

    /// Whether all was written and flushed.
    pub(super) fn is_clean(&self) -> bool {
        self.failed || (self.queue.is_empty() && !self.dirty)
    }

    /// Appends a frame.
    pub(super) fn push(&mut self, frame: Outgoing) {
        match frame {
            Outgoing::Control(control) => {
                let mut bytes = BytesMut::new();
                // Control frames are short.
                if control.to_frame().encode(&mut bytes).is_ok() {
                    self.queue.push_back(bytes.freeze());
                }
            }
            Outgoing::Stream(payload) => {
                if let Ok(head) = Frame::encode_header(FrameType::STREAM, payload.len()) {
                    self.queue.push_back(Bytes::copy_from_slice(&head));
                    self.queue.push_back(payload);
                }
            }
        }
    }

    /// Writes what is there.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.queue.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            for (piece, bytes) in pieces.iter_mut().zip(&self.queue) {
                *piece = IoSlice::new(bytes);
            }
            let count = self.queue.len().min(PIECES);
            let half = Pin::new(&mut self.half);
            let mut written = ready!(half.poll_write_vectored(context, &pieces[..count]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.dirty = true;
            while let Some(first) = self.queue.front_mut() {
                let some = written.min(first.len());
                first.advance(some);
                written -= some;
                if first.is_empty() {
                    self.queue.pop_front();
                } else {
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Passes on what was written.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.dirty {
            ready!(Pin::new(&mut self.half).poll_flush(context))?;
            self.dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Says on the lane itself that nothing more will come, as well as that can be done without waiting.
    pub(super) fn hang_up(&mut self, context: &mut Context<'_>) {
        let _ = Pin::new(&mut self.half).poll_shutdown(context);
    }
}
