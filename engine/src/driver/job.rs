//! One transfer from the driver's side: what it will run on, how it begins, what is told of it.

use std::sync::Arc;

use rdv_proto::rendezvous::{ConversationId, LegacySecurity};
use rdv_proto::wire::rendezvous::{CancelReason, Cookie};
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::legacy::LegacyWork;
use super::pace::Pace;
use super::run::{Fault, Told, Waiting};
use super::walk::Walk;
use crate::error::By;
use crate::handle::TransferEvent;
use crate::report::Log;
use crate::signaling::BoxFuture;
use crate::transfer::{Control, Sink, Source, Summary, TransferError};
use crate::trust::Identity;

/// Names a transfer within one engine; for a code it is the machine's expectation, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobId(pub(crate) u64);

/// Which way the files of a native transfer go.
pub(crate) enum Direction {
    Send(Source),
    Receive(Sink),
}

/// What a transfer will run on, until it starts.
pub(super) enum Payload {
    Send(Walk),
    Receive(Sink),
    Legacy(LegacyWork),
    /// What is proposed next to an old client is being made ready; dropped, that ends.
    Preparing(#[expect(dead_code, reason = "it is there to be dropped")] Task),
}

/// A task that ends when nobody wants it any more.
pub(super) struct Task(pub(super) JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A rendezvous of our own with an old client, ready to be proposed.
pub(crate) struct Prepared {
    pub(crate) cookie: Cookie,
    pub(crate) work: LegacyWork,
    /// The one after it: each file may have one of its own.
    pub(crate) next: Option<Preparation>,
}

/// Makes a rendezvous ready. Nothing is done before it is awaited.
pub(crate) type Preparation = BoxFuture<'static, Result<Prepared, TransferError>>;

/// A rendezvous was made ready, or cannot be.
pub(crate) struct Ready {
    pub(super) job: JobId,
    pub(super) outcome: Result<Prepared, TransferError>,
}

/// What is to be proposed to an old client.
pub(crate) struct Proposing {
    pub(crate) id: ConversationId,
    pub(crate) service: Uuid,
    pub(crate) tags: TlvList,
    pub(crate) security: LegacySecurity,
}

/// A transfer task has come to its end, or a source turned out to be none.
pub(crate) struct TransferEnded {
    pub(crate) job: JobId,
    pub(crate) outcome: Result<Summary, Fault>,
}

/// How a transfer is tried again if the peer does not know our own kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fallback {
    pub(crate) batch: bool,
    pub(crate) security: LegacySecurity,
}

/// What a job for an old client needs beside the rest.
pub(super) struct Old {
    pub(super) peer: ScreenName,
    pub(super) security: LegacySecurity,
    pub(super) next: Option<Preparation>,
    /// What was transferred so far.
    pub(super) done: Option<Summary>,
    pub(super) pace: Pace,
}

/// How a transfer begins.
pub(crate) struct Begin {
    pub(crate) identity: Arc<Identity>,
    pub(crate) conversation: Option<ConversationId>,
    /// We propose.
    pub(crate) initiator: bool,
    /// A code proves who the peer is.
    pub(crate) by_code: bool,
    pub(crate) fallback: Option<Fallback>,
}

pub(super) struct Job {
    /// Taken when the transfer starts.
    pub(super) payload: Option<Payload>,
    pub(super) receives: bool,
    pub(super) begin: Begin,
    pub(super) old: Option<Old>,
    pub(super) found: bool,
    pub(super) events: mpsc::Sender<TransferEvent>,
    pub(super) control: Control,
    pub(super) answer: Waiting,
    pub(super) told: Told,
    pub(super) log: Log,
    /// Why it was called off while it ran; whatever its task says, that was the reason.
    pub(super) called_off: Option<By>,
}

impl Job {
    /// The channel holds more events than a transfer has, so that a handle that nobody reads blocks nothing.
    pub(super) fn tell(&self, event: TransferEvent) {
        let _ = self.events.try_send(event);
    }

    pub(super) fn running(&self) -> bool {
        self.payload.is_none()
    }

    /// Adds what one rendezvous brought.
    pub(super) fn add(&mut self, summary: Summary) -> Summary {
        let Some(done) = self.old.as_mut().and_then(|old| old.done.take()) else {
            return summary;
        };
        Summary {
            files: done.files + summary.files,
            bytes: done.bytes.saturating_add(summary.bytes),
            // All of them run on one clock.
            elapsed: done.elapsed.max(summary.elapsed),
            hash: None,
            left_out: done.left_out.max(summary.left_out),
            ..summary
        }
    }
}

/// What the handle of a new transfer needs.
pub(crate) struct Opened {
    pub(crate) job: JobId,
    pub(crate) events: mpsc::Receiver<TransferEvent>,
    pub(crate) control: Control,
    pub(crate) answer: Waiting,
    pub(crate) log: Log,
}

/// What the machine is to be told when a transfer is over.
pub(crate) enum Over {
    /// The conversation has served.
    Finished(ConversationId),
    /// The other side is to hear that it failed here.
    Cancel(ConversationId, CancelReason),
    /// Nobody came for the code.
    Unexpect,
}
