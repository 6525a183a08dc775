//! Requests to stop: Ctrl-C, the terminate signal, the end of `--timeout`.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::exit::{Exit, Failure};

/// How long engine, session and host together may take to end.
const GOODBYE_MAX: Duration = Duration::from_secs(6);

/// Listens for requests to stop, from when it is made; one that comes while nobody waits for it is kept.
pub(crate) struct Stop {
    #[cfg(unix)]
    signals: Option<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)>,
    deadline: Option<Instant>,
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
                deadline: None,
            }
        }
        #[cfg(not(unix))]
        Self { deadline: None }
    }

    /// From now on it may take this long.
    pub(crate) fn limit(&mut self, limit: Option<Duration>) {
        // A limit that no clock reaches is none.
        self.deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    }

    /// Waits for a request; says with what the process is to end.
    pub(crate) async fn asked(&mut self) -> Exit {
        let deadline = self.deadline;
        let over = async move {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            exit = self.signalled() => exit,
            () = over => {
                // Said once: what is done about it may take its own time.
                self.deadline = None;
                Exit::TIMEOUT
            }
        }
    }

    async fn signalled(&mut self) -> Exit {
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

    /// Says goodbye, which takes a moment at most; whoever asks again is not kept waiting for it.
    pub(crate) async fn leave(&mut self, farewell: impl Future<Output = ()>) {
        tokio::select! {
            _ = tokio::time::timeout(GOODBYE_MAX, farewell) => {}
            _ = self.asked() => {}
        }
    }

    /// Does `work` unless a request to stop comes first.
    pub(crate) async fn or<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            exit = self.asked() => Err(Failure::new(exit, why(exit))),
            done = work => done,
        }
    }
}

/// In words.
pub(crate) fn why(exit: Exit) -> &'static str {
    if exit == Exit::TIMEOUT {
        "time is up"
    } else {
        "interrupted"
    }
}
