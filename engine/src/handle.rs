//! `Transfer`: the handle that the application holds while files go across.

use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot};

use crate::driver::{Command, JobId};
use crate::error::Error;
use crate::report::{Log, TransferReport};
use crate::security::Security;
use crate::transfer::{Control, Offer, Progress, Summary};
use crate::transport::Path;
use rdv_proto::wire::text::ScreenName;

/// How many events may wait for the application. There are five in a transfer, and one for each change of the path; of those
/// that find no room nothing is heard.
pub(crate) const EVENTS_MAX: usize = 16;

/// What happens in a transfer, in this order; `Ended` comes exactly once and last.
#[derive(Debug)]
#[non_exhaustive]
pub enum TransferEvent {
    /// The other side answered; both now look for a path.
    PeerFound {
        /// Its name on the signalling channel.
        peer: ScreenName,
    },
    /// A lane has proven itself. Comes again if a further file to an old client goes another way, or less safely.
    Connected {
        /// How the bytes will travel.
        path: Path,
        /// How safe that is.
        security: Security,
    },
    /// The bytes go another way from now on.
    PathChanged {
        /// Which.
        path: Path,
    },
    /// Receiver only: this is what is offered. Answer with [`Transfer::accept`] or [`Transfer::decline`].
    Offered(Offer),
    /// It is over.
    Ended(Result<Summary, Error>),
}

/// One transfer under way. Dropped, it is cancelled.
pub struct Transfer {
    pub(crate) job: JobId,
    pub(crate) events: mpsc::Receiver<TransferEvent>,
    pub(crate) commands: mpsc::WeakSender<Command>,
    pub(crate) control: Control,
    pub(crate) answer: Arc<Mutex<Option<oneshot::Sender<bool>>>>,
    pub(crate) log: Log,
    pub(crate) over: bool,
}

impl Transfer {
    /// The next event; `None` after `Ended`.
    pub async fn next_event(&mut self) -> Option<TransferEvent> {
        if self.over {
            return None;
        }
        let event = self
            .events
            .recv()
            .await
            .unwrap_or(TransferEvent::Ended(Err(Error::EngineEnded)));
        self.over = matches!(event, TransferEvent::Ended(_));
        Some(event)
    }

    /// Says yes to what was offered.
    pub fn accept(&self) {
        self.answer(true);
    }

    /// Says no to what was offered. The transfer ends with [`Error::Declined`] on both sides.
    pub fn decline(&self) {
        self.answer(false);
    }

    fn answer(&self, answer: bool) {
        let waiting = self
            .answer
            .lock()
            .map(|mut waiting| waiting.take())
            .unwrap_or_default();
        if let Some(waiting) = waiting {
            let _ = waiting.send(answer);
        }
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.control.progress()
    }

    /// What was tried so far and what carried it; also after `Ended`.
    #[must_use]
    pub fn report(&self) -> TransferReport {
        self.log.report()
    }

    /// Calls it off and tells the other side; `Ended` follows.
    pub async fn cancel(&self) {
        if let Some(commands) = self.commands.upgrade() {
            let _ = commands.send(Command::Cancel { job: self.job }).await;
        }
    }

    /// Events are skipped until the end, whose outcome is returned. An offer is accepted if `accept` says so.
    pub async fn finish(mut self, accept: impl Fn(&Offer) -> bool) -> Result<Summary, Error> {
        while let Some(event) = self.next_event().await {
            match event {
                TransferEvent::Offered(offer) if accept(&offer) => self.accept(),
                TransferEvent::Offered(_) => self.decline(),
                TransferEvent::Ended(outcome) => return outcome,
                _ => {}
            }
        }
        Err(Error::EngineEnded)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if !self.over
            && let Some(commands) = self.commands.upgrade()
        {
            let _ = commands.try_send(Command::Cancel { job: self.job });
        }
    }
}
