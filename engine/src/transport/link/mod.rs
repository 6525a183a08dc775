//! What a transfer runs on: one ordered byte stream each way, over the lanes of one session.
//!
//! The numbers are kept by [`rdv_proto::link`]; here are the lanes. Who waits for bytes reads them from the lane itself, so that they
//! are copied once, by TLS. What is written is copied once too, and kept until the other side has it. A task ([`task`]) does the
//! writing, keeps the time, and reads what concerns the link alone while the transfer reads nothing.

mod reader;
mod shared;
mod task;
#[cfg(test)]
mod tests;
mod writer;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rdv_proto::rendezvous::{AttemptError, AttemptId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use self::reader::{Into, Read};
use self::shared::{Shared, State};
use self::task::Task;
use super::Lane;

/// What happens to the lanes of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEvent {
    /// Nothing was heard on the lane for max(1.5 s, 4 round trips), although it is being read.
    Silent(AttemptId),
    /// Something was heard on it again.
    Heard(AttemptId),
    /// It is gone: closed without an end, broken, silent for 15 s, or its other end said what must not be said.
    Lost(AttemptId, AttemptError),
    /// Nothing depends on it any more: both directions have moved away and everything that went over it is acknowledged. It stays
    /// as a way back until it is closed.
    Idle(AttemptId),
}

/// What went over one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneStats {
    /// The lane.
    pub attempt: AttemptId,
    /// When it was added.
    pub since: Instant,
    /// Bytes of the stream that were taken for it, repeated ones included.
    pub sent: u64,
    /// Bytes of the stream that were read from it, repeated ones included.
    pub received: u64,
    /// Its round trip, once it was measured.
    pub round_trip: Option<Duration>,
}

/// Whatever a lane is made of.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The stream of a session, for the transfer. Its lanes are the business of the [`LinkHandle`].
///
/// The loss of a lane is no error here: reading and writing wait for another one, until the handle gives up or is dropped. Only then
/// they fail. Both halves are to be polled by one task. To shut down waits until the other side has everything.
pub struct Link {
    shared: Arc<Shared>,
    /// What the lanes wake.
    waker: Waker,
}

/// The lanes of a link, for the driver. Dropped, no further lane will come.
pub struct LinkHandle {
    shared: Arc<Shared>,
}

impl Link {
    /// A link with its first lane, which stands behind BIND (and, where the peer nominates, behind its USE). `nominate`: we are the
    /// controller and write USE with this number first.
    pub fn new(attempt: AttemptId, first: Lane, nominate: Option<u32>) -> (Self, LinkHandle) {
        Self::over(attempt, first, nominate)
    }

    /// The same over any stream.
    pub(crate) fn over(
        attempt: AttemptId,
        first: impl Stream + 'static,
        nominate: Option<u32>,
    ) -> (Self, LinkHandle) {
        let shared = Shared::new();
        shared.lock().add(attempt, Box::new(first), nominate);
        tokio::spawn(Task::new(Arc::clone(&shared)));
        let link = Self {
            waker: Waker::from(Arc::clone(&shared)),
            shared: Arc::clone(&shared),
        };
        (link, LinkHandle { shared })
    }
}

impl LinkHandle {
    /// A further lane, behind BIND and, where the peer nominated it, behind its USE. Sending moves to it at once. `nominate`: we
    /// write USE with this number first.
    pub fn add(&self, attempt: AttemptId, lane: Lane, nominate: Option<u32>) {
        self.add_stream(attempt, lane, nominate);
    }

    pub(crate) fn add_stream(
        &self,
        attempt: AttemptId,
        lane: impl Stream + 'static,
        nominate: Option<u32>,
    ) {
        self.shared.lock().add(attempt, Box::new(lane), nominate);
    }

    /// Sending moves to a lane that is there, as back to one that was silent and is heard again.
    pub fn prefer(&self, attempt: AttemptId) {
        self.change(|state| state.machine.prefer(rdv_proto::link::LaneId(attempt.0)));
    }

    /// A lane is not wanted any more. It is closed as soon as nothing depends on it; its loss is not reported.
    pub fn close(&self, attempt: AttemptId) {
        self.change(|state| state.machine.close(rdv_proto::link::LaneId(attempt.0)));
    }

    /// No lane will come any more: once those that are there are lost, the transfer fails.
    pub fn give_up(&self, error: AttemptError) {
        self.change(|state| {
            state.gave_up.get_or_insert(error);
        });
    }

    /// The lanes that are there, oldest first.
    #[must_use]
    pub fn lane_ids(&self) -> Vec<AttemptId> {
        self.shared.lock().lane_ids()
    }

    /// What went over each lane that is or was there, oldest first; the last 64.
    #[must_use]
    pub fn stats(&self) -> Vec<LaneStats> {
        self.shared.lock().stats()
    }

    /// The next event; none once the link is over. Cancel-safe; what nobody asks for is not heaped up.
    pub async fn next_event(&mut self) -> Option<LinkEvent> {
        poll_fn(|context| {
            let mut state = self.shared.lock();
            match state.event() {
                Some(event) => Poll::Ready(Some(event)),
                None if state.over => Poll::Ready(None),
                None => {
                    state.wakers.events = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.shared.lock();
        change(&mut state);
        state.wake_all();
    }
}

impl Drop for LinkHandle {
    fn drop(&mut self) {
        self.give_up(AttemptError::Closed);
    }
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        {
            let mut state = this.shared.lock();
            state.wakers.read = Some(context.waker().clone());
            state.machine.set_taking(Instant::now().into_std(), true);
        }
        let mut delivered = false;
        let mut lanes = Context::from_waker(&this.waker);
        for reader in this.shared.readers().iter_mut() {
            let mut into = Into::Buffer(buffer);
            let read = reader.poll(&mut lanes, &this.shared, &mut into);
            if matches!(read, Poll::Ready(Read::Delivered)) {
                delivered = true;
                break;
            }
        }
        let mut state = this.shared.lock();
        let ended = if delivered {
            Some(Ok(()))
        } else if state.machine.is_whole()
            && (state.is_told() || state.failed() || state.machine.is_bare())
        {
            Some(Ok(()))
        } else if state.failed() {
            Some(Err(state.broke.into()))
        } else {
            None
        };
        let Some(ended) = ended else {
            return Poll::Pending;
        };
        state.wakers.read = None;
        state.machine.set_taking(Instant::now().into_std(), false);
        Poll::Ready(ended)
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.shared.lock();
        if state.failed() {
            return Poll::Ready(Err(state.broke.into()));
        }
        if state.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let taken = state.machine.write(bytes);
        // The task writes; if it does not get on, it may be for what only it can read.
        let task = state.wakers.task.take();
        let result = if taken > 0 || bytes.is_empty() {
            Poll::Ready(Ok(taken))
        } else {
            state.wakers.write = Some(context.waker().clone());
            Poll::Pending
        };
        drop(state);
        task.into_iter().for_each(Waker::wake);
        result
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        let sent = state.machine.sent();
        if sent.written <= state.flushed.max(sent.acknowledged) {
            return Poll::Ready(Ok(()));
        }
        if state.failed() {
            return Poll::Ready(Err(state.broke.into()));
        }
        state.wakers.flush = Some(context.waker().clone());
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        let first = !std::mem::replace(&mut state.finished, true);
        state.machine.finish();
        if state.is_parted() {
            return Poll::Ready(Ok(()));
        }
        if state.failed() {
            return Poll::Ready(Err(state.broke.into()));
        }
        state.wakers.flush = Some(context.waker().clone());
        let task = state.wakers.task.take_if(|_| first);
        drop(state);
        task.into_iter().for_each(Waker::wake);
        Poll::Pending
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.link_gone = true;
        state.wakers.read = None;
        state.wake_all();
    }
}
