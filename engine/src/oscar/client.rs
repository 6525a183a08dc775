//! The face of a signed-on connection.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::session::Token;
use rdv_proto::wire::flap::{Channel, Frame};
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::service::NATIVE;
use rdv_proto::wire::signon::{Hello, ServiceRequest};
use rdv_proto::wire::snac::Foodgroup;
use rdv_proto::wire::text::ScreenName;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::admin::AdminError;
use super::error::OscarError;
use super::frames::{FrameReader, FrameWriter};
use super::keeper::Connection;
use super::link::{Demand, HostSecurity, Link, Stream};
use super::presence::Presence;
use super::session::services::ServiceAt;
use super::session::{Command, Ending, Found, Queues, Session};
use super::sign_on::{self, Answers, SignOn, SignedOn};
use super::translate::Outgoing;
use crate::signaling::{BoxFuture, Incoming, RelayDirectory, RelayInfo, Signaling, SignalingError};
use crate::transport::Route;
use crate::transport::gather::is_this_machine;
use crate::transport::network::Trail;
use crate::trust::HostTrust;

/// Messages that wait for the task; senders wait for room.
const COMMANDS: usize = 64;
/// Messages that wait for [`Signaling::recv`]; then the host waits.
const INCOMING: usize = 64;
/// A relay that the host named this long ago is used without asking again; tickets live longer.
const RELAY_FRESH: Duration = Duration::from_secs(60);
/// How long to wait for the host's word on a relay.
const RELAY_ANSWER: Duration = Duration::from_secs(5);
/// How long to wait for the host's word on another of its services.
const SERVICE_ANSWER: Duration = Duration::from_secs(10);
/// How long to wait for the host's word on another user, not counting the turn in its rate class.
const FOUND_ANSWER: Duration = Duration::from_secs(10);

pub(super) type Reader = FrameReader<ReadHalf<Box<dyn Stream>>>;
pub(super) type Writer = FrameWriter<WriteHalf<Box<dyn Stream>>>;

/// The other end.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) address: SocketAddr,
    pub(super) direct: bool,
    pub(super) security: HostSecurity,
    pub(super) trail: Trail,
}

/// The host does not answer a question.
struct Silent;

/// What a host said of its relay.
#[derive(Clone, Debug)]
struct KnownRelay {
    relay: Option<RelayInfo>,
    since: Instant,
    /// Its ticket was used: each is good for one session.
    used: bool,
}

impl KnownRelay {
    fn new(relay: Option<RelayInfo>) -> Self {
        Self {
            relay,
            since: Instant::now(),
            used: false,
        }
    }

    fn is_fresh(&self) -> bool {
        self.since.elapsed() < RELAY_FRESH
    }
}

/// A connection that is signed on to a host. Signs off when dropped; [`Client::close`] waits for it.
#[derive(Debug)]
pub struct Client {
    name: ScreenName,
    token: Option<Token>,
    seen: Option<SocketAddr>,
    host: Host,
    /// What the host said of a relay, for whichever session; none if it was not asked yet.
    relay: Mutex<Option<KnownRelay>>,
    commands: mpsc::Sender<Command>,
    leaving: watch::Sender<bool>,
    arrived: tokio::sync::Mutex<mpsc::Receiver<Incoming>>,
    ending: Arc<OnceLock<Ending>>,
    task: AbortHandle,
}

impl Client {
    /// Connects to the host at `address` (`HOST:PORT`), secures the connection and signs on as a guest, all within `limit`.
    ///
    /// # Errors
    /// [`OscarError`]: which step failed.
    pub async fn connect(
        address: &str,
        trust: &HostTrust,
        sign_on: SignOn,
        limit: Duration,
    ) -> Result<Self, OscarError> {
        Self::connect_by(&Route::default(), address, trust, sign_on, limit).await
    }

    /// As [`Client::connect`], by another way than the system's own.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_by(
        route: &Route,
        address: &str,
        trust: &HostTrust,
        sign_on: SignOn,
        limit: Duration,
    ) -> Result<Self, OscarError> {
        let deadline = Instant::now() + limit;
        timeout_at(deadline, Self::sign_on(route, address, trust, sign_on))
            .await
            .map_err(|_| OscarError::Timeout)?
    }

    async fn sign_on(
        route: &Route,
        address: &str,
        trust: &HostTrust,
        sign_on: SignOn,
    ) -> Result<Self, OscarError> {
        let link = Link::open(route, address, trust, Demand::Secure).await?;
        let (host, mut reader, mut writer) = begin(link);
        writer.queue(Channel::SIGN_ON, Hello::new().encode());
        writer.queue_snac(&sign_on::guest_login(&sign_on));
        for snac in sign_on::burst(&[NATIVE]) {
            writer.queue_snac(&snac);
        }
        let signed_on = exchange(&mut reader, &mut writer, Answers::default()).await?;
        tracing::debug!(host = %address, "signed on");
        Ok(Self::start(
            signed_on,
            host,
            reader,
            writer,
            Arc::new(Presence::new()),
        ))
    }

    /// Hands a connection that is signed on over to a task of its own.
    pub(super) fn start(
        signed_on: SignedOn,
        host: Host,
        reader: Reader,
        writer: Writer,
        presence: Arc<Presence>,
    ) -> Self {
        let SignedOn {
            name,
            token,
            seen,
            relay,
            pace,
            early,
            answers_keep_alives,
        } = signed_on;
        let (commands, to_do) = mpsc::channel(COMMANDS);
        let (incoming, arrived) = mpsc::channel(INCOMING);
        let (leaving, left) = watch::channel(false);
        let ending = Arc::new(OnceLock::new());
        let queues = Queues {
            commands: to_do,
            incoming,
            leaving: left,
            presence,
            ending: ending.clone(),
        };
        let session = Session::new(reader, writer, queues, pace, early);
        let task = tokio::spawn(session.asking_if_silent(!answers_keep_alives).run());
        Self {
            name,
            token,
            seen,
            host,
            relay: Mutex::new(relay.map(KnownRelay::new)),
            commands,
            leaving,
            arrived: tokio::sync::Mutex::new(arrived),
            ending,
            task: task.abort_handle(),
        }
    }

    /// The name that the host assigned, or as it formats the account's: a number for an owner.
    pub fn name(&self) -> &ScreenName {
        &self.name
    }

    /// What takes the name back after the connection broke ([`SignOn::Reclaim`]); guests only, of hosts that know this.
    pub fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Our address and port as the host sees them.
    pub fn seen_address(&self) -> Option<SocketAddr> {
        self.seen
    }

    /// The address that we are connected to: of the host, or of the proxy in front of it. Not a candidate of any peer.
    pub fn host_address(&self) -> SocketAddr {
        self.host.address
    }

    /// Whether the host runs on this very machine; then loopback candidates make sense.
    pub fn host_is_local(&self) -> bool {
        self.host.direct && is_this_machine(self.host.address.ip())
    }

    /// How the connection to the host is protected.
    pub fn host_security(&self) -> &HostSecurity {
        &self.host.security
    }

    /// Signs off: what was handed to [`Signaling::send`] goes out first, unless that takes more than a few seconds.
    pub async fn close(&self) {
        self.leaving.send_replace(true);
        let (done, closed) = oneshot::channel();
        if self.commands.send(Command::Close(done)).await.is_ok() {
            // Dropped, not answered, when it is done.
            let _ = closed.await;
        }
    }

    /// Asks the host about somebody.
    ///
    /// # Errors
    /// [`SignalingError::Closed`] once the connection is gone.
    pub(super) async fn find(&self, name: &ScreenName) -> Result<Found, SignalingError> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Find(name.clone(), answer);
        self.commands
            .send(command)
            .await
            .map_err(|_| SignalingError::Closed)?;
        match timeout(FOUND_ANSWER, answered).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(_)) if self.commands.is_closed() => Err(SignalingError::Closed),
            Ok(Err(_)) | Err(_) => Ok(Found::Untold),
        }
    }

    /// Asks the host where one of its services is.
    ///
    /// # Errors
    /// [`AdminError::NoService`] if it has none, [`AdminError::Nowhere`] if it does not say, [`OscarError::Closed`] once the
    /// connection is gone.
    pub(super) async fn service(&self, foodgroup: Foodgroup) -> Result<ServiceAt, AdminError> {
        let (answer, answered) = oneshot::channel();
        let gone = || AdminError::Host(self.dismissed().unwrap_or(OscarError::Closed(None)));
        self.commands
            .send(Command::Service(foodgroup, answer))
            .await
            .map_err(|_| gone())?;
        match timeout(SERVICE_ANSWER, answered).await {
            Ok(Ok(Ok(at))) => Ok(at),
            Ok(Ok(Err(code))) => Err(AdminError::NoService { code }),
            Ok(Err(_)) if self.commands.is_closed() => Err(gone()),
            Ok(Err(_)) | Err(_) => Err(AdminError::Nowhere),
        }
    }

    /// Asks the host to tell who of these comes and goes.
    ///
    /// # Errors
    /// [`SignalingError::Closed`] once the connection is gone.
    pub(super) async fn watch(&self, names: Vec<ScreenName>) -> Result<(), SignalingError> {
        let watched = self.commands.send(Command::Watch(names)).await;
        watched.map_err(|_| SignalingError::Closed)
    }

    fn relay_known(&self) -> MutexGuard<'_, Option<KnownRelay>> {
        self.relay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the host says now; the error is that it says nothing.
    async fn ask_for_relay(
        &self,
        request: ServiceRequest,
    ) -> Result<Result<Option<RelayInfo>, Silent>, SignalingError> {
        let (answer, answered) = oneshot::channel();
        self.commands
            .send(Command::Relay(request, answer))
            .await
            .map_err(|_| SignalingError::Closed)?;
        match timeout(RELAY_ANSWER, answered).await {
            Ok(Ok(relay)) => Ok(Ok(relay)),
            Ok(Err(_)) if self.commands.is_closed() => Err(SignalingError::Closed),
            Ok(Err(_)) | Err(_) => Ok(Err(Silent)),
        }
    }
}

impl Connection for Client {
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.close())
    }

    fn dismissed(&self) -> Option<OscarError> {
        match self.ending.get()? {
            Ending::SignedOnElsewhere => Some(OscarError::SignedOnElsewhere),
            Ending::AccountDeleted => Some(OscarError::AccountDeleted),
            Ending::Away(_) => None,
        }
    }

    fn return_within(&self) -> Option<Duration> {
        match self.ending.get()? {
            Ending::Away(within) => Some(*within),
            Ending::SignedOnElsewhere | Ending::AccountDeleted => None,
        }
    }

    fn make_sure(&self) {
        if self.host.trail.is_cold() {
            tracing::debug!("the way to the host is gone");
            self.task.abort();
        } else {
            // With a full queue the session has enough to hear an answer to.
            let _ = self.commands.try_send(Command::Prove);
        }
    }
}

impl Signaling for Client {
    fn local_name(&self) -> ScreenName {
        self.name.clone()
    }

    fn send(
        &self,
        to: ScreenName,
        body: Bytes,
        host_ack: bool,
    ) -> BoxFuture<'_, Result<(), SignalingError>> {
        Box::pin(async move {
            let message = Outgoing::new(to, &body, host_ack)?;
            self.commands
                .send(Command::Send(message))
                .await
                .map_err(|_| SignalingError::Closed)
        })
    }

    fn recv(&self) -> BoxFuture<'_, Result<Incoming, SignalingError>> {
        Box::pin(async move {
            self.arrived
                .lock()
                .await
                .recv()
                .await
                .ok_or(SignalingError::Closed)
        })
    }
}

impl RelayDirectory for Client {
    fn relay(&self) -> BoxFuture<'_, Result<Option<RelayInfo>, SignalingError>> {
        Box::pin(async move {
            let known = self.relay_known().clone();
            if let Some(known) = &known
                && known.is_fresh()
            {
                return Ok(known.relay.clone());
            }
            match self
                .ask_for_relay(ServiceRequest::of(Foodgroup::ARS))
                .await?
            {
                Ok(relay) => {
                    *self.relay_known() = Some(KnownRelay::new(relay.clone()));
                    Ok(relay)
                }
                // The old ticket may still do.
                Err(Silent) => Ok(known.and_then(|known| known.relay)),
            }
        })
    }

    /// What the host said at the sign-on will do for the first session; later ones need tickets of their own.
    fn relay_for(
        &self,
        cookie: Cookie,
        avoid: Vec<String>,
    ) -> BoxFuture<'_, Result<Option<RelayInfo>, SignalingError>> {
        Box::pin(async move {
            if let Some(known) = &mut *self.relay_known()
                && avoid.is_empty()
                && known.is_fresh()
                && !(known.used && known.relay.is_some())
            {
                known.used = true;
                return Ok(known.relay.clone());
            }
            let avoid = avoid.iter().map(String::as_str);
            let asked = self.ask_for_relay(ServiceRequest::for_relay(cookie, avoid));
            Ok(asked.await?.unwrap_or(None))
        })
    }
}

/// Both directions of a connection on which nothing was said yet.
pub(super) fn begin(link: Link) -> (Host, Reader, Writer) {
    let (reader, writer) = tokio::io::split(link.stream);
    let host = Host {
        address: link.address,
        direct: link.direct,
        security: link.security,
        trail: link.trail,
    };
    let writer = FrameWriter::new(writer, first_sequence());
    (host, FrameReader::new(reader), writer)
}

/// One step of a conversation: the next frame, or none if something was written. Cancel-safe.
///
/// # Errors
/// [`OscarError::Closed`] or [`OscarError::Protocol`].
pub(super) async fn read_or_write(
    reader: &mut Reader,
    writer: &mut Writer,
) -> Result<Option<Frame>, OscarError> {
    tokio::select! {
        written = writer.step(), if !writer.is_idle() => {
            written.map_err(|error| OscarError::Closed(Some(error)))?;
            Ok(None)
        }
        frame = reader.next() => Ok(Some(frame?)),
    }
}

/// Writes the burst and collects the answers side by side: neither end has to buffer for the other.
pub(super) async fn exchange(
    reader: &mut Reader,
    writer: &mut Writer,
    mut answers: Answers,
) -> Result<SignedOn, OscarError> {
    loop {
        tokio::select! {
            written = writer.step(), if !writer.is_idle() => {
                written.map_err(|error| OscarError::Closed(Some(error)))?;
            }
            frame = reader.next() => {
                answers.take(frame?, Instant::now().into_std())?;
                if let Some(signed_on) = answers.complete() {
                    return Ok(signed_on);
                }
            }
        }
    }
}

/// Random; if the system has no randomness, any other number serves as well.
fn first_sequence() -> u16 {
    getrandom::u32().map_or(1, |random| (random & 0x7FFF) as u16)
}

#[cfg(test)]
mod tests;
