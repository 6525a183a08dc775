//! One attempt: a task that carries one try at one candidate from nothing to a proven lane.
//!
//! Dropping the handle hangs up: the task is aborted and its socket closed with it.

mod connect;
pub(crate) mod legacy;
mod native;
mod why;

use std::time::Duration;

use bytes::Bytes;
use rdv_proto::rendezvous::{AttemptError, AttemptId, ConversationId, RelayCandidate};
use rdv_proto::trust::Session;
use rdv_proto::wire::link::FrameType;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(crate) use self::connect::Origin;
use self::connect::{Connection, connect};
use self::legacy::LegacyOrder;
pub(crate) use self::native::NativeOrder;
use self::why::Why;
use super::Lane;
use super::site::SiteEvent;

/// The head of the frame that nominates a lane: `[len = 5][type = USE]` (link control 0x01); its number follows.
pub(crate) const USE_HEAD: [u8; 5] = [0, 0, 0, 5, FrameType::USE.0];

/// Orders that an attempt can get: one, and another one in its place.
const ORDERS_MAX: usize = 2;

/// A connection whose other end has proven itself.
pub(crate) struct Proven {
    /// Positioned behind the proof.
    pub(crate) lane: Lane,
    pub(crate) proof: Proof,
}

/// What proved it.
pub(crate) enum Proof {
    /// Both keys, and BIND (and, where the peer nominated it, USE).
    Native(Session),
    /// The first words of an old service.
    Legacy {
        /// As they came.
        first: Bytes,
        /// Over TLS: SHA-256 of the SubjectPublicKeyInfo that the other end showed.
        key: Option<[u8; 32]>,
    },
}

/// What an attempt tells the driver, in this order, ending with `Failed` if it does.
pub(crate) enum Report {
    /// The relay gave a token; the attempt waits for the peer there.
    RelayCreated {
        attempt: AttemptId,
        relay: RelayCandidate,
        /// What the relay is called where it was asked for, `HOST:PORT`.
        known: String,
    },
    /// TCP is up, or the relay said READY.
    Connected { attempt: AttemptId },
    /// The other end of an accepted connection has sent its first byte.
    Heard { attempt: AttemptId },
    /// The other end has proven itself. The controller gets the lane at once, so do both with an old client; else the other side
    /// gets it when the lane is nominated.
    Secured {
        attempt: AttemptId,
        lane: Option<Box<Proven>>,
        /// What a round trip took, where that was measured.
        round_trip: Option<Duration>,
    },
    /// The controller's USE arrived.
    Nominated {
        attempt: AttemptId,
        number: u32,
        lane: Box<Proven>,
    },
    /// It came to nothing.
    Failed {
        attempt: AttemptId,
        error: AttemptError,
    },
}

/// What comes up to the driver from the sockets.
pub(crate) enum Arrival {
    /// News of an attempt.
    Report(Report),
    /// News of the sockets of one generation of a conversation.
    Site {
        id: ConversationId,
        generation: u32,
        event: SiteEvent,
    },
}

/// How a connected attempt is to be secured.
pub(crate) enum SecureOrder {
    /// Both keys compared, then BIND.
    Native(NativeOrder),
    /// As old clients do.
    Legacy(LegacyOrder),
}

/// A running attempt; dropped, it hangs up.
pub(crate) struct Attempt {
    task: JoinHandle<()>,
    orders: mpsc::Sender<SecureOrder>,
    /// Whether we connected (dialled, joined), as opposed to waited.
    pub(crate) connector: bool,
    /// The proven lane, from `Secured` or `Nominated` until the transfer takes it.
    pub(crate) lane: Option<Box<Proven>>,
}

impl Attempt {
    pub(crate) fn spawn(
        attempt: AttemptId,
        origin: Origin,
        reports: mpsc::Sender<Arrival>,
    ) -> Self {
        let (orders, mut received) = mpsc::channel(ORDERS_MAX);
        let connector = origin.is_ours();
        let reporter = Reporter { attempt, reports };
        let task = tokio::spawn(async move {
            if let Err(error) = run(&reporter, origin, &mut received).await {
                tracing::debug!(attempt = attempt.0, %error, "attempt failed");
                let error = error.into();
                reporter.say(Report::Failed { attempt, error }).await;
            }
        });
        Self {
            task,
            orders,
            connector,
            lane: None,
        }
    }

    /// Starts the proof. A second order takes the place of the first one if that has not begun to talk.
    pub(crate) fn secure(&mut self, order: SecureOrder) {
        let _ = self.orders.try_send(order);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Tells the driver about one attempt.
struct Reporter {
    attempt: AttemptId,
    reports: mpsc::Sender<Arrival>,
}

impl Reporter {
    /// The driver outlives its attempts; if it is gone, so is this task in a moment.
    async fn say(&self, report: Report) {
        let _ = self.reports.send(Arrival::Report(report)).await;
    }

    async fn heard(&self) {
        let attempt = self.attempt;
        self.say(Report::Heard { attempt }).await;
    }
}

async fn run(
    reporter: &Reporter,
    origin: Origin,
    orders: &mut mpsc::Receiver<SecureOrder>,
) -> Result<(), Why> {
    let attempt = reporter.attempt;
    let connection = connect(reporter, origin).await?;
    match (orders.recv().await.ok_or(Why::Dropped)?, connection) {
        (SecureOrder::Native(order), connection) => {
            native::prove(reporter, connection, order).await
        }
        (SecureOrder::Legacy(order), Connection::Tcp { stream, .. }) => {
            let lane = legacy::prove(stream, order, orders, reporter).await?;
            let secured = Report::Secured {
                attempt,
                lane: Some(Box::new(lane)),
                round_trip: None,
            };
            reporter.say(secured).await;
            Ok(())
        }
        // Old clients know no QUIC, and none is tried with them.
        (SecureOrder::Legacy(_), _) => Err(Why::Dropped),
    }
}
