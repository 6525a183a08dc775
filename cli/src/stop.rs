//! Requests to stop: Ctrl-C and the terminate signal.

use std::future::Future;

use crate::exit::{Exit, Failure};

/// Listens for requests to stop, from when it is made; one that comes while nobody waits for it is kept.
pub(crate) struct Stop {
    #[cfg(unix)]
    signals: Option<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)>,
}

impl Stop {
    /// To be called within the runtime, before anything that takes time.
    pub(crate) fn listen() -> Self {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let interrupt = signal(SignalKind::interrupt()).ok();
            let terminate = signal(SignalKind::terminate()).ok();
            Self {
                signals: interrupt.zip(terminate),
            }
        }
        #[cfg(not(unix))]
        Self {}
    }

    /// Waits for a request; says with what the process is to end.
    pub(crate) async fn asked(&mut self) -> Exit {
        #[cfg(unix)]
        {
            let Some((interrupt, terminate)) = &mut self.signals else {
                return std::future::pending().await;
            };
            tokio::select! {
                _ = interrupt.recv() => Exit::INTERRUPTED,
                _ = terminate.recv() => Exit::TERMINATED,
            }
        }
        #[cfg(not(unix))]
        {
            let _ = tokio::signal::ctrl_c().await;
            Exit::INTERRUPTED
        }
    }

    /// Does `work` unless a request to stop comes first.
    pub(crate) async fn or<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            exit = self.asked() => Err(Failure::new(exit, "interrupted")),
            done = work => done,
        }
    }
}
