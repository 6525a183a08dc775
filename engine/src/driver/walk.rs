//! A source that is being listed while its owner still waits for somebody, so that what cannot be sent is found early.

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::JobId;
use super::job::TransferEnded;
use super::run::Fault;
use crate::transfer::{Source, TransferError};

pub(super) struct Walk {
    /// Ends the waiting: whatever state the list is in, the transfer takes over.
    start: oneshot::Sender<()>,
    /// `None`: it cannot be sent, which was reported.
    source: JoinHandle<Option<Source>>,
}

impl Walk {
    pub(super) fn begin(
        mut source: Source,
        job: JobId,
        ended: mpsc::Sender<TransferEnded>,
    ) -> Self {
        let (start, started) = oneshot::channel();
        let source = tokio::spawn(async move {
            tokio::pin!(started);
            tokio::select! {
                _ = &mut started => return Some(source),
                ready = source.ready() => if let Err(error) = ready {
                    let outcome = Err(Fault::Transfer(TransferError::Source(error)));
                    let _ = ended.send(TransferEnded { job, outcome }).await;
                    return None;
                },
            }
            // Dropped unstarted, the source goes with it.
            started.await.ok().map(|()| source)
        });
        Self { start, source }
    }

    pub(super) async fn source(self) -> Option<Source> {
        let _ = self.start.send(());
        self.source.await.ok().flatten()
    }
}
