//! The owner of a number, who gets it back when the connection to the host breaks.
//!
//! A host keeps a number for some minutes after its owner's connection broke. Meanwhile we come back with the token that
//! we got; to the engine it is one channel, in which messages wait a little longer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::session::Token;
use rdv_proto::wire::text::ScreenName;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::{Client, OscarError, SignOn};
use crate::signaling::{BoxFuture, Incoming, RelayDirectory, RelayInfo, Signaling, SignalingError};
use crate::transport::tls::HostTlsError;
use crate::trust::HostTrust;

/// First pause before coming back; doubled after each failure.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A host gives a number to somebody else after this time (G-04).
const KEPT_BY_HOST: Duration = Duration::from_secs(600);
/// Messages that wait for [`Signaling::recv`].
const INCOMING: usize = 64;

/// How an [`Owner`] stands with its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// Signed on.
    SignedOn,
    /// The connection broke; we are coming back. The number still is ours.
    ComingBack,
    /// Signed off, or the number is lost.
    Gone,
}

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
        let (address, trust) = (address.to_owned(), trust.clone());
        let first = Client::connect(&address, &trust, SignOn::Owner { expire }, limit).await?;
        let dial = move |sign_on| -> BoxFuture<'static, _> {
            let (address, trust) = (address.clone(), trust.clone());
            Box::pin(async move { Client::connect(&address, &trust, sign_on, limit).await })
        };
        Ok(Self {
            keeper: Keeper::new(first, dial),
        })
    }

    /// The connection that we have, or had last: for what is known about the host.
    pub fn client(&self) -> Arc<Client> {
        self.keeper.latest.borrow().connection.clone()
    }

    /// How we stand with the host, now and as it changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.keeper.standing.clone()
    }

    /// As [`Client::close`]. The number is given up.
    pub async fn close(&self) {
        self.keeper.close().await;
    }
}

impl Signaling for Owner {
    fn local_name(&self) -> ScreenName {
        self.keeper.name.clone()
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
}

impl RelayDirectory for Owner {
    fn relay(&self) -> BoxFuture<'_, Result<Option<RelayInfo>, SignalingError>> {
        Box::pin(async move {
            let connection = self.client();
            connection.relay().await
        })
    }
}

/// What is kept: a client, or its stand-in in tests.
trait Connection: Signaling {
    fn token(&self) -> Option<Token>;
    fn close(&self) -> BoxFuture<'_, ()>;
}

impl Connection for Client {
    fn token(&self) -> Option<Token> {
        self.token().cloned()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.close())
    }
}

/// A connection and how many there were before it.
#[derive(Debug)]
struct Latest<C> {
    connection: Arc<C>,
    number: u64,
}

/// The way to a new connection.
type Dial<C> = dyn Fn(SignOn) -> BoxFuture<'static, Result<C, OscarError>> + Send + Sync;

#[derive(Debug)]
struct Keeper<C> {
    name: ScreenName,
    latest: watch::Receiver<Latest<C>>,
    standing: watch::Receiver<Standing>,
    arrived: tokio::sync::Mutex<mpsc::Receiver<Incoming>>,
    /// Dropped or true: do not come back any more.
    leaving: watch::Sender<bool>,
}

impl<C: Connection> Keeper<C> {
    fn new(
        first: C,
        dial: impl Fn(SignOn) -> BoxFuture<'static, Result<C, OscarError>> + Send + Sync + 'static,
    ) -> Self {
        let name = first.local_name();
        let token = first.token();
        let (latest_out, latest) = watch::channel(Latest {
            connection: Arc::new(first),
            number: 0,
        });
        let (standing_out, standing) = watch::channel(Standing::SignedOn);
        let (incoming, arrived) = mpsc::channel(INCOMING);
        let (leaving, left) = watch::channel(false);
        let task = Task {
            name: name.clone(),
            token,
            dial: Box::new(dial),
            latest: latest_out,
            standing: standing_out,
            incoming,
        };
        tokio::spawn(task.run(left));
        Self {
            name,
            latest,
            standing,
            arrived: tokio::sync::Mutex::new(arrived),
            leaving,
        }
    }

    /// Waits for a connection if there is none; whoever sends into a breaking one is tried again.
    async fn send(
        &self,
        to: ScreenName,
        body: Bytes,
        host_ack: bool,
    ) -> Result<(), SignalingError> {
        let mut latest = self.latest.clone();
        loop {
            let (connection, number) = {
                let latest = latest.borrow_and_update();
                (latest.connection.clone(), latest.number)
            };
            match connection.send(to.clone(), body.clone(), host_ack).await {
                Err(SignalingError::Closed) if !*self.leaving.borrow() => {}
                done => return done,
            }
            let newer = latest.wait_for(|latest| latest.number > number).await;
            newer.map_err(|_| SignalingError::Closed)?;
        }
    }

    async fn recv(&self) -> Result<Incoming, SignalingError> {
        self.arrived
            .lock()
            .await
            .recv()
            .await
            .ok_or(SignalingError::Closed)
    }

    async fn close(&self) {
        self.leaving.send_replace(true);
        let connection = self.latest.borrow().connection.clone();
        connection.close().await;
    }
}

struct Task<C> {
    name: ScreenName,
    token: Option<Token>,
    dial: Box<Dial<C>>,
    latest: watch::Sender<Latest<C>>,
    standing: watch::Sender<Standing>,
    incoming: mpsc::Sender<Incoming>,
}

impl<C: Connection> Task<C> {
    async fn run(mut self, mut leaving: watch::Receiver<bool>) {
        tokio::select! {
            () = self.keep() => {}
            // An error means that the owner was dropped: the same.
            _ = leaving.wait_for(|leaving| *leaving) => {}
        }
        self.standing.send_replace(Standing::Gone);
        // What arrived before a sign-off is still handed out, and the connection closes with its last holder.
    }

    async fn keep(&mut self) {
        loop {
            let connection = self.latest.borrow().connection.clone();
            while let Ok(message) = connection.recv().await {
                if self.incoming.send(message).await.is_err() {
                    return;
                }
            }
            drop(connection);
            self.standing.send_replace(Standing::ComingBack);
            tracing::info!("connection to the host lost, coming back");
            let Some(connection) = self.come_back().await else {
                return;
            };
            tracing::info!("signed on again");
            self.token = connection.token().or(self.token.take());
            let connection = Arc::new(connection);
            self.latest.send_modify(|latest| {
                *latest = Latest {
                    connection,
                    number: latest.number + 1,
                }
            });
            self.standing.send_replace(Standing::SignedOn);
        }
    }

    /// Tries until the number is ours again; `None` if it cannot be any more.
    async fn come_back(&self) -> Option<C> {
        let token = self.token.clone()?;
        let lost = Instant::now();
        let mut pause = PAUSE_MIN;
        while lost.elapsed() < KEPT_BY_HOST {
            sleep(pause).await;
            pause = PAUSE_MAX.min(pause * 2);
            let reclaim = SignOn::Reclaim {
                number: self.name.clone(),
                token: token.clone(),
            };
            match (self.dial)(reclaim).await {
                Ok(connection) if connection.local_name() == self.name => return Some(connection),
                Ok(_) => {
                    tracing::warn!("the host gave another number");
                    return None;
                }
                Err(error) if is_final(&error) => {
                    tracing::warn!(%error, "the number is lost");
                    return None;
                }
                Err(error) => tracing::debug!(%error, "host not back yet"),
            }
        }
        None
    }
}

/// Whether trying again is of no use: the host said no, or has another key.
fn is_final(error: &OscarError) -> bool {
    let other_key = matches!(
        error,
        OscarError::TlsFailed {
            source: HostTlsError::Key(_),
            ..
        }
    );
    other_key || matches!(error, OscarError::Refused { .. })
}

#[cfg(test)]
mod tests;
