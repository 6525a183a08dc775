//! The face of a signed-on connection.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::session::Token;
use rdv_proto::trust::Fingerprint;
use rdv_proto::wire::flap::Channel;
use rdv_proto::wire::signon::Hello;
use rdv_proto::wire::text::ScreenName;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::client::TlsStream;

use super::error::OscarError;
use super::frames::{FrameReader, FrameWriter};
use super::session::{Command, Queues, Session};
use super::sign_on::{self, Answers, SignOn, SignedOn};
use super::translate::Outgoing;
use crate::signaling::{BoxFuture, Incoming, RelayDirectory, RelayInfo, Signaling, SignalingError};
use crate::transport::connect::{ConnectError, connect};
use crate::transport::gather::is_this_machine;
use crate::transport::tls::{self, HostKeyStatus, HostStream};
use crate::trust::HostTrust;

/// One TCP connect, all addresses of the name together.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// The TLS handshake (`security.md` 6.4).
const TLS_TIME: Duration = Duration::from_secs(10);
/// Messages that wait for the task; senders wait for room.
const COMMANDS: usize = 64;
/// Messages that wait for [`Signaling::recv`]; then the host waits.
const INCOMING: usize = 64;
/// A relay that the host named this long ago is used without asking again; tickets live longer.
const RELAY_FRESH: Duration = Duration::from_secs(60);
/// How long to wait for the host's word on a relay.
const RELAY_ANSWER: Duration = Duration::from_secs(5);

type Tls = TlsStream<TcpStream>;

/// The other end.
#[derive(Debug)]
struct Host {
    address: SocketAddr,
    ends_here: bool,
    key: Fingerprint,
    status: HostKeyStatus,
}

/// A guest that is signed on to a host. Signs off when dropped; [`Client::close`] waits for it.
#[derive(Debug)]
pub struct Client {
    name: ScreenName,
    token: Option<Token>,
    seen: Option<SocketAddr>,
    host: Host,
    relay: Mutex<(Option<RelayInfo>, Instant)>,
    commands: mpsc::Sender<Command>,
    leaving: watch::Sender<bool>,
    arrived: tokio::sync::Mutex<mpsc::Receiver<Incoming>>,
}

impl Client {
    /// Connects to the host at `address` (`HOST:PORT`), secures the connection and signs on, all within `limit`.
    ///
    /// # Errors
    /// [`OscarError`]: which step failed.
    pub async fn connect(
        address: &str,
        trust: &HostTrust,
        sign_on: SignOn,
        limit: Duration,
    ) -> Result<Self, OscarError> {
        let deadline = Instant::now() + limit;
        timeout_at(deadline, Self::sign_on(address, trust, sign_on))
            .await
            .map_err(|_| OscarError::Timeout)?
    }

    async fn sign_on(
        address: &str,
        trust: &HostTrust,
        sign_on: SignOn,
    ) -> Result<Self, OscarError> {
        let unreachable = |source| OscarError::Unreachable {
            host: address.to_owned(),
            source,
        };
        let too_late = |_| ConnectError::Refused(std::io::ErrorKind::TimedOut.into());
        let connected = timeout(CONNECT_TIME, connect(address))
            .await
            .map_err(too_late);
        let stream = connected
            .and_then(|connected| connected)
            .map_err(unreachable)?;
        let host = stream
            .peer_addr()
            .map_err(|error| OscarError::Closed(Some(error)))?;

        let tls_failed = |source| OscarError::TlsFailed {
            host: address.to_owned(),
            source,
        };
        let secured = tls::connect_host(stream, address, trust, TLS_TIME)
            .await
            .map_err(tls_failed)?;
        let HostStream {
            stream,
            key,
            status,
        } = secured;
        let (reader, writer) = tokio::io::split(stream);
        let mut reader = FrameReader::new(reader);
        let mut writer = FrameWriter::new(writer, first_sequence());
        writer.queue(Channel::SIGN_ON, Hello::new().encode());
        for snac in sign_on::burst(&sign_on) {
            writer.queue_snac(&snac);
        }
        let signed_on = exchange(&mut reader, &mut writer).await?;
        tracing::debug!(host = %address, "signed on");
        let host = Host {
            address: host,
            ends_here: is_this_machine(host.ip()),
            key,
            status,
        };
        Ok(Self::start(signed_on, host, reader, writer))
    }

    fn start(
        signed_on: SignedOn,
        host: Host,
        reader: FrameReader<ReadHalf<Tls>>,
        writer: FrameWriter<WriteHalf<Tls>>,
    ) -> Self {
        let SignedOn {
            name,
            token,
            seen,
            relay,
            pace,
            early,
        } = signed_on;
        let (commands, to_do) = mpsc::channel(COMMANDS);
        let (incoming, arrived) = mpsc::channel(INCOMING);
        let (leaving, left) = watch::channel(false);
        let queues = Queues {
            commands: to_do,
            incoming,
            leaving: left,
        };
        tokio::spawn(Session::new(reader, writer, queues, pace, early).run());
        Self {
            name,
            token,
            seen,
            host,
            relay: Mutex::new((relay, Instant::now())),
            commands,
            leaving,
            arrived: tokio::sync::Mutex::new(arrived),
        }
    }

    /// The name that the host assigned: a number for an owner.
    pub fn name(&self) -> &ScreenName {
        &self.name
    }

    /// What reclaims the number after the connection broke ([`SignOn::Reclaim`]); owners only.
    pub fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Our address and port as the host sees them.
    pub fn seen_address(&self) -> Option<SocketAddr> {
        self.seen
    }

    /// The address of the host that we are connected to. Not a candidate of any peer.
    pub fn host_address(&self) -> SocketAddr {
        self.host.address
    }

    /// Whether the host runs on this very machine; then loopback candidates make sense.
    pub fn host_is_local(&self) -> bool {
        self.host.ends_here
    }

    /// The key of the host.
    pub fn host_key(&self) -> Fingerprint {
        self.host.key
    }

    /// How the key of the host was judged.
    pub fn host_key_status(&self) -> &HostKeyStatus {
        &self.host.status
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

    fn relay_known(&self) -> (Option<RelayInfo>, Instant) {
        self.relay
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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
            let (known, since) = self.relay_known();
            if since.elapsed() < RELAY_FRESH {
                return Ok(known);
            }
            let (answer, answered) = oneshot::channel();
            self.commands
                .send(Command::Relay(answer))
                .await
                .map_err(|_| SignalingError::Closed)?;
            match timeout(RELAY_ANSWER, answered).await {
                Ok(Ok(relay)) => {
                    let mut current = self.relay.lock().unwrap_or_else(PoisonError::into_inner);
                    *current = (relay.clone(), Instant::now());
                    Ok(relay)
                }
                Ok(Err(_)) if self.commands.is_closed() => Err(SignalingError::Closed),
                // The host does not say; the old ticket may still do.
                Ok(Err(_)) | Err(_) => Ok(known),
            }
        })
    }
}

/// Writes the burst and collects the answers side by side: neither end has to buffer for the other.
async fn exchange(
    reader: &mut FrameReader<ReadHalf<Tls>>,
    writer: &mut FrameWriter<WriteHalf<Tls>>,
) -> Result<SignedOn, OscarError> {
    let mut answers = Answers::default();
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
