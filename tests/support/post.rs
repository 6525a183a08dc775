//! A mail server for tests that are not asynchronous: a thread of its own runs it.

use std::net::SocketAddr;

use tokio::runtime::Runtime;

use crate::smtp::{Delivered, Manners, SmtpServer};

/// Dropped, it is gone.
#[derive(Debug)]
pub struct Post {
    // Before the runtime that it ends on.
    server: SmtpServer,
    runtime: Runtime,
}

impl Post {
    /// Takes all mail on a port of 127.0.0.1 in the namespace of the caller.
    ///
    /// # Panics
    /// If there is no port.
    #[must_use]
    pub fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let server = runtime.block_on(SmtpServer::start(Manners::default()));
        // The thread that polls was started here, and stands where its caller stood.
        Self { server, runtime }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The next mail.
    ///
    /// # Panics
    /// If none comes.
    pub fn next_mail(&mut self) -> Delivered {
        self.runtime.block_on(self.server.next())
    }

    /// Whether all mail was looked at.
    pub fn is_empty(&mut self) -> bool {
        self.server.is_empty()
    }
}
