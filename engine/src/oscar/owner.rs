//! Guests who get their name back when the connection to the host breaks: the owner of a number, and who joins.
//!
//! A host keeps a guest's name for some minutes after its connection broke. Meanwhile we come back with the token that
//! we got; to the engine it is one channel, in which messages wait a little longer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::session::Token;
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::text::ScreenName;
use tokio::sync::watch;

use super::keeper::{Connection, Keeper, PAUSE_MAX, Return, Standing};
use super::{Client, HostSecurity, OscarError, SignOn};
use crate::signaling::{BoxFuture, Incoming, RelayDirectory, RelayInfo, Signaling, SignalingError};
use crate::transport::Route;
use crate::trust::HostTrust;

/// A host gives a number to somebody else, and forgets a name, after this time (G-04).
const KEPT_BY_HOST: Duration = Duration::from_secs(600);
/// First pause before coming back: a transfer may wait for it.
const QUICK: Duration = Duration::from_millis(200);
/// Longest pause for [`HURRY`].
const QUICK_MAX: Duration = Duration::from_secs(2);
/// For so long whoever has lost its lanes waits for us.
const HURRY: Duration = Duration::from_secs(30);

/// A guest with a number that survives broken connections. Signs off when dropped; [`Owner::close`] waits for it.
#[derive(Debug)]
pub struct Owner {
    keeper: Keeper<Client>,
}

impl Owner {
    /// Signs on as in [`Client::connect`] and gets a number that a peer may propose to for the time `expire`.
    ///
    /// # Errors
    /// [`OscarError`] of the first sign-on; later ones are tried again.
    pub async fn connect(
        address: &str,
        trust: &HostTrust,
        expire: Duration,
        limit: Duration,
    ) -> Result<Self, OscarError> {
        Self::connect_by(&Route::default(), address, trust, expire, limit).await
    }

    /// As [`Owner::connect`], by another way than the system's own.
    ///
    /// # Errors
    /// As [`Owner::connect`].
    pub async fn connect_by(
        route: &Route,
        address: &str,
        trust: &HostTrust,
        expire: Duration,
        limit: Duration,
    ) -> Result<Self, OscarError> {
        let first = SignOn::Owner { expire };
        let keeper = keep(route, address, trust, first, limit).await?;
        Ok(Self { keeper })
    }

    /// The connection that we have, or had last: for what is known about the host.
    pub fn client(&self) -> Arc<Client> {
        self.keeper.connection()
    }

    /// How we stand with the host, now and as it changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.keeper.standing()
    }

    /// As [`Client::close`]. The number is given up.
    pub async fn close(&self) {
        self.keeper.close().await;
    }
}

impl Signaling for Owner {
    fn local_name(&self) -> ScreenName {
        self.keeper.name().clone()
    }

    fn send(
        &self,
        to: ScreenName,
        body: Bytes,
        host_ack: bool,
    ) -> BoxFuture<'_, Result<(), SignalingError>> {
        Box::pin(self.keeper.send(to, body, host_ack))
    }

    fn recv(&self) -> BoxFuture<'_, Result<Incoming, SignalingError>> {
        Box::pin(self.keeper.recv())
    }

    fn doubt(&self) {
        self.keeper.doubt();
    }
}

impl RelayDirectory for Owner {
    fn relay(&self) -> BoxFuture<'_, Result<Option<RelayInfo>, SignalingError>> {
        Box::pin(
            self.keeper
                .with(|connection| async move { connection.relay().await }),
        )
    }

    fn relay_for(
        &self,
        cookie: Cookie,
        avoid: Vec<String>,
    ) -> BoxFuture<'_, Result<Option<RelayInfo>, SignalingError>> {
        Box::pin(self.keeper.with(move |connection| {
            let avoid = avoid.clone();
            async move { connection.relay_for(cookie, avoid).await }
        }))
    }
}

/// A guest who goes to somebody's number and survives broken connections, if the host knows how to give a name back; else the channel
/// ends with the connection. Signs off when dropped; [`Joiner::close`] waits for it.
#[derive(Debug)]
pub struct Joiner {
    keeper: Keeper<Client>,
}

impl Joiner {
    /// Signs on as in [`Client::connect_by`].
    ///
    /// # Errors
    /// [`OscarError`] of the first sign-on; later ones are tried again.
    pub async fn connect_by(
        route: &Route,
        address: &str,
        trust: &HostTrust,
        limit: Duration,
    ) -> Result<Self, OscarError> {
        let keeper = keep(route, address, trust, SignOn::Join, limit).await?;
        Ok(Self { keeper })
    }

    /// The connection that we have, or had last: for what is known about the host.
    pub fn client(&self) -> Arc<Client> {
        self.keeper.connection()
    }

    /// How we stand with the host, now and as it changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.keeper.standing()
    }

    /// As [`Client::close`].
    pub async fn close(&self) {
        self.keeper.close().await;
    }
}

impl Signaling for Joiner {
    fn local_name(&self) -> ScreenName {
        self.keeper.name().clone()
    }

    fn send(
        &self,
        to: ScreenName,
        body: Bytes,
        host_ack: bool,
    ) -> BoxFuture<'_, Result<(), SignalingError>> {
        Box::pin(self.keeper.send(to, body, host_ack))
    }

    fn recv(&self) -> BoxFuture<'_, Result<Incoming, SignalingError>> {
        Box::pin(self.keeper.recv())
    }

    fn doubt(&self) {
        self.keeper.doubt();
    }
}

impl RelayDirectory for Joiner {
    fn relay(&self) -> BoxFuture<'_, Result<Option<RelayInfo>, SignalingError>> {
        Box::pin(
            self.keeper
                .with(|connection| async move { connection.relay().await }),
        )
    }

    fn relay_for(
        &self,
        cookie: Cookie,
        avoid: Vec<String>,
    ) -> BoxFuture<'_, Result<Option<RelayInfo>, SignalingError>> {
        Box::pin(self.keeper.with(move |connection| {
            let avoid = avoid.clone();
            async move { connection.relay_for(cookie, avoid).await }
        }))
    }
}

async fn keep(
    route: &Route,
    address: &str,
    trust: &HostTrust,
    first: SignOn,
    limit: Duration,
) -> Result<Keeper<Client>, OscarError> {
    let first = Client::connect_by(route, address, trust, first, limit).await?;
    // The token is for the host that gave it.
    let trust = match (trust, first.host_security()) {
        (HostTrust::AcceptAny, HostSecurity::Tls { key, .. }) => HostTrust::Pinned(*key),
        _ => trust.clone(),
    };
    let (route, address) = (route.clone(), address.to_owned());
    let reclaim = Reclaim {
        number: first.local_name(),
        token: first.token().cloned(),
        dial: Box::new(move |sign_on| {
            let (route, address, trust) = (route.clone(), address.clone(), trust.clone());
            Box::pin(
                async move { Client::connect_by(&route, &address, &trust, sign_on, limit).await },
            )
        }),
    };
    Ok(Keeper::new(first, reclaim))
}

/// What a guest's connection has besides.
trait GuestConnection: Connection {
    fn token(&self) -> Option<Token>;
}

impl GuestConnection for Client {
    fn token(&self) -> Option<Token> {
        self.token().cloned()
    }
}

/// The way to a new connection.
type Dial<C> = dyn Fn(SignOn) -> BoxFuture<'static, Result<C, OscarError>> + Send + Sync;

/// Comes back to the same number, or name.
struct Reclaim<C> {
    number: ScreenName,
    token: Option<Token>,
    dial: Box<Dial<C>>,
}

impl<C: GuestConnection> Return for Reclaim<C> {
    type Connection = C;

    fn dial(&mut self) -> BoxFuture<'_, Result<C, OscarError>> {
        Box::pin(async {
            let token = self.token.clone().ok_or(OscarError::NumberLost)?;
            let number = self.number.clone();
            let connection = (self.dial)(SignOn::Reclaim { number, token }).await?;
            if connection.local_name() != self.number {
                return Err(OscarError::NumberLost);
            }
            self.token = connection.token().or(self.token.take());
            Ok(connection)
        })
    }

    fn is_possible(&self) -> bool {
        self.token.is_some()
    }

    fn is_final(&self, error: &OscarError) -> bool {
        error.is_about_the_host_key()
            || matches!(error, OscarError::Refused { .. } | OscarError::NumberLost)
    }

    fn patience(&self) -> Option<Duration> {
        Some(KEPT_BY_HOST)
    }

    fn first_pause(&self) -> Duration {
        QUICK
    }

    fn longest_pause(&self, away: Duration) -> Duration {
        if away < HURRY { QUICK_MAX } else { PAUSE_MAX }
    }
}

#[cfg(test)]
mod tests;
