//! The first words on a connection of an old service. They are all the proof of identity that there is.
//!
//! They belong to the attempt, not to what follows: whoever cannot say them fails alone, and the listener goes on (S-12, T-08).

use std::io;
use std::time::Duration;

use bytes::Bytes;

use super::Lane;
use crate::signaling::BoxFuture;

/// From the connection, or from the end of the TLS handshake, to the whole first header (`security.md` 6.4).
pub(crate) const FIRST_HEADER: Duration = Duration::from_secs(15);

/// What a service says first, and what it wants to hear, until both sides know that they mean the same rendezvous.
pub(crate) trait Opening: Send + Sync {
    /// What this side says without being asked, whole in one write (L-18).
    fn first_words(&self, terms: Terms) -> Option<Bytes>;

    /// Reads the first words of the other side, not a byte more, and judges them. They come back as they were.
    fn hear<'a>(
        &'a self,
        lane: &'a mut Lane,
        terms: Terms,
    ) -> BoxFuture<'a, Result<Bytes, OpeningError>>;
}

/// How a connection came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    /// We dialled, or joined at the relay.
    pub(crate) connector: bool,
    /// Whether eight zero bytes count as the cookie in a prompt (L-16).
    pub(crate) zero_cookie_counts: bool,
}

/// Why the first words did not do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpeningError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// They are not those of the service.
    #[error("the other end speaks something else")]
    Foreign,
    /// They name another rendezvous.
    #[error("the other end has another cookie")]
    WrongCookie,
    /// They did not come.
    #[error("the other end said nothing within {} s", FIRST_HEADER.as_secs())]
    TimedOut,
}
