//! How rendezvous messages leave and arrive: the one thing that an embedder must bring.
//!
//! A channel delivers opaque bytes (one [`rdv_proto::wire::signal::Signal`] each) to a peer by name and yields what
//! arrived from whom. A chat client implements [`Signaling`] over its own OSCAR session; [`crate::oscar::Client`] is
//! ours; [`memory`] joins two engines of one process.

pub mod memory;

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::text::ScreenName;
use uuid::Uuid;

/// A boxed future, so that [`Signaling`] can be used as `dyn Signaling`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A channel for the short messages of a rendezvous.
///
/// The sender's name of an incoming message must come from the channel (the host knows who is signed on), never from
/// the message: the engine takes it as the peer's name (S-34).
pub trait Signaling: Send + Sync + 'static {
    /// The name under which others reach us.
    fn local_name(&self) -> ScreenName;

    /// Hands `body` over for delivery to `to`. `host_ack` asks the host to confirm that it took the message.
    ///
    /// Done when the channel has taken the message, not when it arrived; it waits while the channel is congested.
    /// That the peer cannot be reached is not an error here: it comes as [`Incoming::Undelivered`].
    ///
    /// # Errors
    /// [`SignalingError::Closed`] once the channel is gone; [`SignalingError::TooLong`] for a body that it cannot carry.
    fn send(
        &self,
        to: ScreenName,
        body: Bytes,
        host_ack: bool,
    ) -> BoxFuture<'_, Result<(), SignalingError>>;

    /// The next thing that arrived. Cancel-safe: a dropped future loses nothing. Messages of one peer keep their order.
    ///
    /// # Errors
    /// [`SignalingError::Closed`] once the channel is gone and all that arrived before was yielded.
    fn recv(&self) -> BoxFuture<'_, Result<Incoming, SignalingError>>;

    /// The network has changed, or a lane has fallen silent: whoever has a connection behind the channel makes sure that it still
    /// stands, and has a new one soon if not. Returns at once. Nothing to do for channels that see to it themselves.
    fn doubt(&self) {}

    /// The services that `peer` announces; `None` if this channel cannot tell.
    ///
    /// # Errors
    /// [`SignalingError::PeerOffline`] if the channel knows that nobody of that name is there.
    fn capabilities(
        &self,
        _peer: &ScreenName,
    ) -> BoxFuture<'_, Result<Option<Vec<Uuid>>, SignalingError>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

impl<T: Signaling + ?Sized> Signaling for std::sync::Arc<T> {
    fn local_name(&self) -> ScreenName {
        (**self).local_name()
    }

    fn send(
        &self,
        to: ScreenName,
        body: Bytes,
        host_ack: bool,
    ) -> BoxFuture<'_, Result<(), SignalingError>> {
        (**self).send(to, body, host_ack)
    }

    fn recv(&self) -> BoxFuture<'_, Result<Incoming, SignalingError>> {
        (**self).recv()
    }

    fn doubt(&self) {
        (**self).doubt();
    }

    fn capabilities(
        &self,
        peer: &ScreenName,
    ) -> BoxFuture<'_, Result<Option<Vec<Uuid>>, SignalingError>> {
        (**self).capabilities(peer)
    }
}

/// What a channel yields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incoming {
    /// A message.
    Message {
        /// Who sent it, as the channel knows it.
        from: ScreenName,
        /// The bytes of a `Signal`.
        body: Bytes,
    },
    /// A peer has signed on anew; comes before the first message of the new session. Old clients choose the same cookies again
    /// after a restart: where a channel does not say this, a proposal with the cookie of one that ended within five minutes is
    /// taken for a straggler. For channels that know sign-on times.
    NewSession {
        /// Who.
        peer: ScreenName,
    },
    /// The connection behind the channel broke and was made anew under the same name: what was sent just before may be lost.
    Restored,
    /// A message of ours did not reach its peer.
    Undelivered {
        /// To whom it was addressed.
        to: ScreenName,
        /// The rendezvous cookie that it carried.
        cookie: Cookie,
        /// General SNAC error code; 4: not signed on, unknown, or does not want us (deliberately the same).
        code: u16,
    },
}

/// Why a channel failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignalingError {
    /// The connection behind the channel is gone.
    #[error("the signalling channel is closed")]
    Closed,
    /// Nobody of that name is there.
    #[error("the other side is not signed on")]
    PeerOffline,
    /// The message is longer than the channel carries.
    #[error("message of {length} bytes, the channel carries {limit}")]
    TooLong {
        /// Bytes of the message.
        length: usize,
        /// Bytes that the channel takes.
        limit: usize,
    },
    /// The bytes are no rendezvous signal that this channel could translate.
    #[error("not a rendezvous signal")]
    NotASignal(#[from] rdv_proto::wire::error::DecodeError),
    /// Whatever an embedder's own channel reports.
    #[error("signalling failed")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Who knows a relay that we may use: usually the host that we are signed on to.
pub trait RelayDirectory: Send + Sync + 'static {
    /// The relay to use now; `None` if there is none.
    ///
    /// # Errors
    /// [`SignalingError::Closed`] once the channel to the host is gone.
    fn relay(&self) -> BoxFuture<'_, Result<Option<RelayInfo>, SignalingError>>;

    /// The relay for the one session of this cookie, with a ticket that nobody else uses; if possible none of those in `avoid`
    /// (each `HOST:PORT`, as it was given), which have just failed. Directories whose tickets are good for any number of sessions
    /// need not care.
    ///
    /// # Errors
    /// As [`relay`](Self::relay).
    fn relay_for(
        &self,
        _cookie: Cookie,
        _avoid: Vec<String>,
    ) -> BoxFuture<'_, Result<Option<RelayInfo>, SignalingError>> {
        self.relay()
    }
}

impl<T: RelayDirectory + ?Sized> RelayDirectory for std::sync::Arc<T> {
    fn relay(&self) -> BoxFuture<'_, Result<Option<RelayInfo>, SignalingError>> {
        (**self).relay()
    }

    fn relay_for(
        &self,
        cookie: Cookie,
        avoid: Vec<String>,
    ) -> BoxFuture<'_, Result<Option<RelayInfo>, SignalingError>> {
        (**self).relay_for(cookie, avoid)
    }
}

/// One relay that is always the same: one of the user's own, where the host has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedRelay(pub RelayInfo);

impl RelayDirectory for FixedRelay {
    fn relay(&self) -> BoxFuture<'_, Result<Option<RelayInfo>, SignalingError>> {
        Box::pin(std::future::ready(Ok(Some(self.0.clone()))))
    }
}

/// A relay and the right to use it.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayInfo {
    /// `HOST:PORT`; an IPv6 address stands in brackets.
    pub address: String,
    /// What the relay wants to see in CREATE and JOIN (G-07), at most 512 bytes. A secret: never shown, never logged.
    pub ticket: Option<Bytes>,
}

impl std::fmt::Debug for RelayInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayInfo")
            .field("address", &self.address)
            .field("ticket", &self.ticket.as_ref().map(|_| "***"))
            .finish()
    }
}
