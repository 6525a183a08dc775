//! What a transfer runs on: one ordered byte stream each way, over the lanes of one session.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rdv_proto::rendezvous::{AttemptError, AttemptId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Lane;
use super::attempt::USE_FRAME;

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
    /// Bytes of the stream that were written to it, repeated ones included.
    pub sent: u64,
    /// Bytes of the stream that were read from it, repeated ones included.
    pub received: u64,
    /// Its round trip, once it was measured.
    pub round_trip: Option<std::time::Duration>,
}

/// The stream of a session, for the transfer. Its lanes are the business of the [`LinkHandle`].
pub struct Link {
    lane: Lane,
    /// What of USE is still to be written.
    nominate: &'static [u8],
    shared: Arc<()>,
}

/// The lanes of a link, for the driver. Without it no further lane will come.
pub struct LinkHandle {
    events: mpsc::Receiver<LinkEvent>,
    _events: mpsc::Sender<LinkEvent>,
    attempt: AttemptId,
    _shared: Arc<()>,
}

impl Link {
    /// A link with its first lane, which stands behind BIND (and, where the peer nominates, behind its USE). `nominate`: we are the
    /// controller and write USE first.
    pub fn new(attempt: AttemptId, first: Lane, nominate: bool) -> (Self, LinkHandle) {
        let (sender, events) = mpsc::channel(1);
        let shared = Arc::new(());
        let link = Self {
            lane: first,
            nominate: if nominate { &USE_FRAME } else { &[] },
            shared: Arc::clone(&shared),
        };
        let handle = LinkHandle {
            events,
            _events: sender,
            attempt,
            _shared: shared,
        };
        (link, handle)
    }

    fn poll_nominate(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = &self.shared;
        while !self.nominate.is_empty() {
            match Pin::new(&mut self.lane).poll_write(context, self.nominate) {
                Poll::Ready(Ok(n)) => self.nominate = &self.nominate[n..],
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl LinkHandle {
    /// A further lane, behind BIND and, where the peer nominated it, behind its USE. Sending moves to it at once. `nominate`: we
    /// write USE first.
    pub fn add(&self, attempt: AttemptId, lane: Lane, nominate: bool) {
        let _ = (attempt, nominate);
        drop(lane);
    }

    /// A lane is not wanted any more. It is closed as soon as nothing depends on it.
    pub fn close(&self, attempt: AttemptId) {
        let _ = attempt;
    }

    /// The lanes that are there.
    pub fn lane_ids(&self) -> Vec<AttemptId> {
        vec![self.attempt]
    }

    /// The next event; none once the link is over. Cancel-safe.
    pub async fn next_event(&mut self) -> Option<LinkEvent> {
        poll_fn(|context| self.events.poll_recv(context)).await
    }

    /// No lane will come any more: once those that are there are lost, the transfer fails.
    pub fn give_up(&self, error: AttemptError) {
        let _ = error;
    }

    /// What went over each lane that is or was there, oldest first; at most 64.
    pub fn stats(&self) -> Vec<LaneStats> {
        Vec::new()
    }
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let _ = this.poll_nominate(context)?;
        Pin::new(&mut this.lane).poll_read(context, buffer)
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        std::task::ready!(this.poll_nominate(context))?;
        Pin::new(&mut this.lane).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        std::task::ready!(this.poll_nominate(context))?;
        Pin::new(&mut this.lane).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().lane).poll_shutdown(context)
    }
}
