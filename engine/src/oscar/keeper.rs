//! One channel over connections that follow each other: when one breaks, the next is dialled, and messages wait meanwhile.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::wire::text::ScreenName;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::OscarError;
use crate::random;
use crate::signaling::{BoxFuture, Incoming, Signaling, SignalingError};
use crate::transport::network::{self, Watch};

/// First pause before coming back, if nothing else is said.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest pause.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A connection that lasted this long was a good one: after it, pauses begin anew.
const LASTED: Duration = Duration::from_secs(60);
/// However long a host says that it is away, we look after this time.
const AWAY_MAX: Duration = Duration::from_secs(300);
/// Messages that wait for [`Signaling::recv`].
const INCOMING: usize = 64;

/// How we stand with a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// Signed on.
    SignedOn,
    /// The connection broke; we are coming back. The name still is ours.
    ComingBack,
    /// Signed off, or the name is lost.
    Gone,
}

/// What is kept: a client, or its stand-in in tests.
pub(super) trait Connection: Signaling {
    /// Signs off.
    fn close(&self) -> BoxFuture<'_, ()>;
    /// Why the host ended it, if it did and that forbids coming back.
    fn dismissed(&self) -> Option<OscarError>;
    /// Within which time the host wants to see us again, if it said so when it went.
    fn return_within(&self) -> Option<Duration> {
        None
    }
    /// The network has changed, or is in doubt: a connection whose way is gone ends at once, and any other makes sure that the host
    /// still answers.
    fn make_sure(&self);
}

/// The way back to a host.
pub(super) trait Return: Send + 'static {
    /// What it leads to.
    type Connection: Connection;
    /// Tries once. An error for which [`Return::is_final`] holds is the last one.
    fn dial(&mut self) -> BoxFuture<'_, Result<Self::Connection, OscarError>>;
    /// Whether the host lets us come back at all.
    fn is_possible(&self) -> bool {
        true
    }
    /// Whether trying again is of no use.
    fn is_final(&self, error: &OscarError) -> bool;
    /// After this time without a connection it is over; none: never.
    fn patience(&self) -> Option<Duration>;
    /// The first pause; doubled after each failure.
    fn first_pause(&self) -> Duration {
        PAUSE_MIN
    }
    /// The longest pause for one who has been away for so long.
    fn longest_pause(&self, _away: Duration) -> Duration {
        PAUSE_MAX
    }
    /// Over which time those who lost the same host at the same moment spread at first, if it did not say so itself.
    fn spread(&self) -> Option<Duration> {
        None
    }
    /// Where chance comes from.
    fn random(&self) -> u16 {
        u16::from_be_bytes(random::bytes())
    }
}

/// Somewhere between half of the plain pause and all of it: those who lost the same host at the same moment spread.
fn pause(plain: Duration, random: u16) -> Duration {
    let half = plain / 2;
    half + part(half, random)
}

/// A part of the time, any as likely as any other.
fn part(time: Duration, random: u16) -> Duration {
    time.mul_f64(f64::from(random) / 65536.0)
}

/// A connection and how many there were before it.
#[derive(Debug)]
struct Latest<C> {
    connection: Arc<C>,
    number: u64,
}

#[derive(Debug)]
pub(super) struct Keeper<C> {
    name: ScreenName,
    may_return: bool,
    latest: watch::Receiver<Latest<C>>,
    standing: watch::Receiver<Standing>,
    /// Why it is over, if not because we closed it.
    end: watch::Receiver<Option<Arc<OscarError>>>,
    arrived: tokio::sync::Mutex<mpsc::Receiver<Incoming>>,
    /// Dropped or true: do not come back any more.
    leaving: watch::Sender<bool>,
}

impl<C: Connection> Keeper<C> {
    pub(super) fn new(first: C, back: impl Return<Connection = C>) -> Self {
        let (name, may_return) = (first.local_name(), back.is_possible());
        let (latest_out, latest) = watch::channel(Latest {
            connection: Arc::new(first),
            number: 0,
        });
        let (standing_out, standing) = watch::channel(Standing::SignedOn);
        let (end_out, end) = watch::channel(None);
        let (incoming, arrived) = mpsc::channel(INCOMING);
        let (leaving, left) = watch::channel(false);
        let task = Task {
            back,
            latest: latest_out,
            standing: standing_out,
            end: end_out,
            incoming,
        };
        tokio::spawn(task.run(left));
        Self {
            name,
            may_return,
            latest,
            standing,
            end,
            arrived: tokio::sync::Mutex::new(arrived),
            leaving,
        }
    }

    pub(super) fn name(&self) -> &ScreenName {
        &self.name
    }

    /// The connection that we have, or had last.
    pub(super) fn connection(&self) -> Arc<C> {
        self.latest.borrow().connection.clone()
    }

    pub(super) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Why it is over; none while it is not, or if we closed it ourselves.
    pub(super) fn end(&self) -> Option<Arc<OscarError>> {
        self.end.borrow().clone()
    }

    /// Does something with a connection, the present one or, if that is broken, the next.
    pub(super) async fn with<T, F>(
        &self,
        mut act: impl FnMut(Arc<C>) -> F,
    ) -> Result<T, SignalingError>
    where
        F: Future<Output = Result<T, SignalingError>>,
    {
        let mut latest = self.latest.clone();
        loop {
            let (connection, number) = {
                let latest = latest.borrow_and_update();
                (latest.connection.clone(), latest.number)
            };
            match act(connection).await {
                Err(SignalingError::Closed) if !*self.leaving.borrow() => {}
                done => return done,
            }
            let newer = latest.wait_for(|latest| latest.number > number).await;
            newer.map_err(|_| SignalingError::Closed)?;
        }
    }

    /// See [`Connection::make_sure`]. A connection that could not be had anew is left as it is: it may recover.
    pub(super) fn doubt(&self) {
        if self.may_return {
            self.connection().make_sure();
        }
    }

    /// Waits for a connection if there is none; whoever sends into a breaking one is tried again.
    pub(super) async fn send(
        &self,
        to: ScreenName,
        body: Bytes,
        host_ack: bool,
    ) -> Result<(), SignalingError> {
        self.with(|connection| {
            let (to, body) = (to.clone(), body.clone());
            async move { connection.send(to, body, host_ack).await }
        })
        .await
    }

    pub(super) async fn recv(&self) -> Result<Incoming, SignalingError> {
        self.arrived
            .lock()
            .await
            .recv()
            .await
            .ok_or(SignalingError::Closed)
    }

    pub(super) async fn close(&self) {
        self.leaving.send_replace(true);
        let connection = self.connection();
        connection.close().await;
    }
}

struct Task<R: Return> {
    back: R,
    latest: watch::Sender<Latest<R::Connection>>,
    standing: watch::Sender<Standing>,
    end: watch::Sender<Option<Arc<OscarError>>>,
    incoming: mpsc::Sender<Incoming>,
}

impl<R: Return> Task<R> {
    async fn run(mut self, mut leaving: watch::Receiver<bool>) {
        let end = tokio::select! {
            end = self.keep() => end,
            // An error means that the owner was dropped: the same.
            _ = leaving.wait_for(|leaving| *leaving) => None,
        };
        if let Some(error) = &end {
            tracing::warn!(%error, "not coming back");
        }
        self.end.send_replace(end.map(Arc::new));
        self.standing.send_replace(Standing::Gone);
        // What arrived before a sign-off is still handed out, and the connection closes with its last holder.
    }

    async fn keep(&mut self) -> Option<OscarError> {
        let mut network = network::watch();
        let mut pause = self.back.first_pause();
        loop {
            let began = Instant::now();
            let connection = self.latest.borrow().connection.clone();
            loop {
                let message = tokio::select! {
                    message = connection.recv() => message,
                    () = network.changed() => {
                        if self.back.is_possible() {
                            connection.make_sure();
                        }
                        continue;
                    }
                };
                let Ok(message) = message else { break };
                if self.incoming.send(message).await.is_err() {
                    return None;
                }
            }
            if let Some(reason) = connection.dismissed() {
                return Some(reason);
            }
            let within = connection.return_within();
            drop(connection);
            self.standing.send_replace(Standing::ComingBack);
            tracing::info!("connection to the host lost, coming back");
            if began.elapsed() >= LASTED {
                pause = self.back.first_pause();
            }
            let connection = match self.come_back(&mut pause, within, &mut network).await {
                Ok(connection) => connection,
                Err(end) => return Some(end),
            };
            tracing::info!("signed on again");
            let connection = Arc::new(connection);
            self.latest.send_modify(|latest| {
                *latest = Latest {
                    connection,
                    number: latest.number + 1,
                }
            });
            self.standing.send_replace(Standing::SignedOn);
            if self.incoming.send(Incoming::Restored).await.is_err() {
                return None;
            }
        }
    }

    /// Tries until the name is ours again; an error if it cannot be any more. A network that changes is tried at once.
    async fn come_back(
        &mut self,
        plain: &mut Duration,
        within: Option<Duration>,
        network: &mut Watch,
    ) -> Result<R::Connection, OscarError> {
        let lost = Instant::now();
        let within = within.map(|within| within.min(AWAY_MAX));
        let mut within = within.or(self.back.spread());
        loop {
            let random = self.back.random();
            let next = match within.take() {
                Some(within) => part(within, random),
                None => {
                    let next = pause(*plain, random);
                    let longest = self.back.longest_pause(lost.elapsed());
                    *plain = longest.min(*plain * 2);
                    next
                }
            };
            let back = &mut self.back;
            let tried = async {
                sleep(next).await;
                back.dial().await
            };
            let tried = tokio::select! {
                tried = tried => tried,
                () = network.changed() => {
                    *plain = self.back.first_pause();
                    continue;
                }
            };
            let error = match tried {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            let too_late = self
                .back
                .patience()
                .is_some_and(|patience| lost.elapsed() >= patience);
            if too_late || self.back.is_final(&error) {
                return Err(error);
            }
            tracing::debug!(%error, "host not back yet");
        }
    }
}

#[cfg(test)]
mod tests;
