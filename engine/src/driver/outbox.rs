//! The way out for signalling messages: in order, and without the driver ever waiting for the channel.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::wire::text::ScreenName;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::signaling::Signaling;

/// How many messages may wait for the channel. A rendezvous needs about six.
const OUTBOX_MAX: usize = 256;

struct Letter {
    to: ScreenName,
    body: Bytes,
    host_ack: bool,
}

pub(crate) struct Outbox {
    letters: mpsc::Sender<Letter>,
    task: JoinHandle<()>,
}

impl Outbox {
    pub(crate) fn spawn(signaling: Arc<dyn Signaling>) -> Self {
        let (letters, mut queue) = mpsc::channel::<Letter>(OUTBOX_MAX);
        let task = tokio::spawn(async move {
            while let Some(letter) = queue.recv().await {
                if let Err(error) = signaling
                    .send(letter.to, letter.body, letter.host_ack)
                    .await
                {
                    tracing::debug!(%error, "a message could not be sent");
                }
            }
        });
        Self { letters, task }
    }

    /// Queues a message. One that finds the queue full is lost, as on any channel; the timers of the machine see to it.
    pub(crate) fn push(&self, to: ScreenName, body: Bytes, host_ack: bool) {
        if self
            .letters
            .try_send(Letter { to, body, host_ack })
            .is_err()
        {
            tracing::warn!("the signalling channel is too slow: a message was dropped");
        }
    }

    /// Lets what is queued go out, for at most `timeout`.
    pub(crate) async fn flush(self, timeout: Duration) {
        drop(self.letters);
        let _ = tokio::time::timeout(timeout, self.task).await;
    }
}
