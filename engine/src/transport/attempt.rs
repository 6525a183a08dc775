//! One attempt: a task that carries one try at one candidate from nothing to a proven lane.
//!
//! Dropping the handle hangs up: the task is aborted and its socket closed with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rdv_proto::rendezvous::{
    AttemptError, AttemptId, ConversationId, RelayAddress, RelayCandidate,
};
use rdv_proto::trust::{Role, Session};
use rdv_proto::wire::link::FrameType;
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::text::ScreenName;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::ars::{self, ArsError};
use super::join::{Join, JoinError};
use super::tls::{self, Deadlines, SecureError};
use crate::signaling::RelayDirectory;
use crate::trust::Identity;

/// One authenticated connection of a session, positioned behind BIND (and, where it was nominated by the peer, behind USE).
pub(crate) type Lane = tokio_rustls::TlsStream<TcpStream>;

/// The frame that nominates a lane: `[len = 1][type = USE]` (link control 0x01).
pub(crate) const USE_FRAME: [u8; 5] = [0, 0, 0, 1, FrameType::USE.0];

/// Which lane of the session every attempt proves itself for: there is one so far.
const LANE: u32 = 0;

/// One TCP connect may take this long (`security.md` 6.4: candidates are dropped after 5 s).
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// What an attempt tells the driver, in this order, ending with `Failed` if it does.
pub(crate) enum Report {
    /// The relay gave a token; the attempt waits for the peer there.
    RelayCreated {
        attempt: AttemptId,
        relay: RelayCandidate,
    },
    /// TCP is up, or the relay said READY.
    Connected { attempt: AttemptId },
    /// The other end of an accepted connection has sent its first byte.
    Heard { attempt: AttemptId },
    /// TLS and BIND are done. The controller gets the lane at once; the other side when the lane is nominated.
    Secured {
        attempt: AttemptId,
        lane: Option<Box<Lane>>,
    },
    /// The controller's USE arrived.
    Nominated { attempt: AttemptId, lane: Box<Lane> },
    /// It came to nothing.
    Failed {
        attempt: AttemptId,
        error: AttemptError,
    },
}

/// What comes up to the driver from the sockets.
pub(crate) enum Arrival {
    /// News of an attempt.
    Report(Report),
    /// The listener of a conversation accepted a connection.
    Incoming {
        id: ConversationId,
        stream: TcpStream,
        from: SocketAddr,
    },
}

/// Where an attempt begins.
pub(crate) enum Origin {
    /// We dial a direct candidate.
    Dial(SocketAddr),
    /// Our listener accepted it.
    Accepted(TcpStream),
    /// We make a relay session and wait there.
    RelayCreate {
        directory: Arc<dyn RelayDirectory>,
        name: ScreenName,
        cookie: Cookie,
        service: Uuid,
    },
    /// We join the peer's relay session.
    RelayJoin(Join),
}

/// The order to put TLS and BIND on a connected attempt.
pub(crate) struct SecureOrder {
    pub(crate) session: Session,
    pub(crate) identity: Arc<Identity>,
    pub(crate) tls_client: bool,
}

/// A running attempt; dropped, it hangs up.
pub(crate) struct Attempt {
    task: JoinHandle<()>,
    secure: Option<oneshot::Sender<SecureOrder>>,
    /// The proven lane, from `Secured` or `Nominated` until the transfer takes it.
    pub(crate) lane: Option<Box<Lane>>,
    /// What secures it, from the order on.
    pub(crate) session: Option<Session>,
}

impl Attempt {
    pub(crate) fn spawn(
        attempt: AttemptId,
        origin: Origin,
        reports: mpsc::Sender<Arrival>,
    ) -> Self {
        let (secure, order) = oneshot::channel();
        let task = tokio::spawn(async move {
            if let Err(error) = run(attempt, origin, order, &reports).await {
                tracing::debug!(attempt = attempt.0, %error, "attempt failed");
                report(
                    &reports,
                    Report::Failed {
                        attempt,
                        error: error.into(),
                    },
                )
                .await;
            }
        });
        Self {
            task,
            secure: Some(secure),
            lane: None,
            session: None,
        }
    }

    /// Starts TLS and BIND. A second order is ignored.
    pub(crate) fn secure(&mut self, order: SecureOrder) {
        if let Some(secure) = self.secure.take() {
            self.session = Some(order.session.clone());
            let _ = secure.send(order);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why an attempt ended, told in our own log; the machine gets the class of it, the peer nothing (S-10, S-30).
#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("could not connect: {0}")]
    Dial(std::io::Error),
    #[error("no answer to the connect within {} s", DIAL_TIMEOUT.as_secs())]
    DialTimeout,
    #[error("no relay is known")]
    NoRelay,
    #[error("relay: {0}")]
    Relay(#[from] ArsError),
    #[error("{0}")]
    Join(JoinError),
    #[error("{0}")]
    Secure(#[from] SecureError),
    #[error("the lane closed before it was nominated")]
    NotNominated,
    #[error("given up")]
    Dropped,
}

impl From<JoinError> for Why {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Relay(error) => Self::Relay(error),
            other => Self::Join(other),
        }
    }
}

impl From<Why> for AttemptError {
    fn from(why: Why) -> Self {
        use std::io::ErrorKind;
        match why {
            Why::Dial(error) => match error.kind() {
                ErrorKind::ConnectionRefused => Self::Refused,
                ErrorKind::TimedOut => Self::TimedOut,
                _ => Self::Unreachable,
            },
            Why::DialTimeout | Why::Relay(ArsError::Timeout(_)) => Self::TimedOut,
            Why::Relay(ArsError::Refused(code)) => Self::Relay(code.0),
            Why::NoRelay | Why::Join(_) | Why::Relay(ArsError::Unreachable(_)) => Self::Unreachable,
            Why::Secure(SecureError::HandshakeTimedOut | SecureError::BindTimedOut) => {
                Self::TimedOut
            }
            Why::Secure(SecureError::WrongKey | SecureError::Tls(_)) => Self::Tls,
            Why::Secure(SecureError::BindMismatch) => Self::WrongProof,
            Why::Relay(_) | Why::Secure(_) | Why::NotNominated | Why::Dropped => Self::Closed,
        }
    }
}

async fn run(
    attempt: AttemptId,
    origin: Origin,
    order: oneshot::Receiver<SecureOrder>,
    reports: &mpsc::Sender<Arrival>,
) -> Result<(), Why> {
    let stream = connect(attempt, origin, reports).await?;
    let order = order.await.map_err(|_| Why::Dropped)?;
    if !order.tls_client {
        // Who only connects and says nothing makes room first (`security.md` 6.2).
        stream.readable().await.map_err(Why::Dial)?;
        report(reports, Report::Heard { attempt }).await;
    }
    let mut lane = tls::secure(
        stream,
        &order.session,
        &order.identity,
        order.tls_client,
        LANE,
        Deadlines::default(),
    )
    .await?;
    if order.session.role() == Role::Answerer {
        // The sender of C2 is the controller: it nominates, so the lane goes to the driver as it is.
        report(
            reports,
            Report::Secured {
                attempt,
                lane: Some(Box::new(lane)),
            },
        )
        .await;
        return Ok(());
    }
    report(
        reports,
        Report::Secured {
            attempt,
            lane: None,
        },
    )
    .await;
    let mut frame = [0; USE_FRAME.len()];
    lane.read_exact(&mut frame)
        .await
        .map_err(|_| Why::NotNominated)?;
    if frame != USE_FRAME {
        return Err(Why::NotNominated);
    }
    report(
        reports,
        Report::Nominated {
            attempt,
            lane: Box::new(lane),
        },
    )
    .await;
    Ok(())
}

/// Brings up the TCP stream that TLS will stand on, and reports it where the machine does not know yet.
async fn connect(
    attempt: AttemptId,
    origin: Origin,
    reports: &mpsc::Sender<Arrival>,
) -> Result<TcpStream, Why> {
    let stream = match origin {
        Origin::Accepted(stream) => {
            let _ = stream.set_nodelay(true);
            return Ok(stream);
        }
        Origin::Dial(address) => tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(address))
            .await
            .map_err(|_| Why::DialTimeout)?
            .map_err(Why::Dial)?,
        Origin::RelayCreate {
            directory,
            name,
            cookie,
            service,
        } => {
            let info = directory.relay().await.ok().flatten().ok_or(Why::NoRelay)?;
            let address = relay_address(&info.address).ok_or(Why::NoRelay)?;
            let (waiting, created) =
                ars::create(&info.address, &name, cookie, service, info.ticket.clone()).await?;
            let relay = RelayCandidate {
                address,
                token: created.token,
                cookie,
                ticket: info.ticket,
            };
            report(reports, Report::RelayCreated { attempt, relay }).await;
            ars::wait_ready(waiting).await?
        }
        Origin::RelayJoin(join) => join.run().await?,
    };
    let _ = stream.set_nodelay(true);
    report(reports, Report::Connected { attempt }).await;
    Ok(stream)
}

/// `HOST:PORT` as a directory gives it.
fn relay_address(text: &str) -> Option<RelayAddress> {
    if let Ok(address) = text.parse() {
        return Some(RelayAddress::Socket(address));
    }
    let (host, port) = text.rsplit_once(':')?;
    Some(RelayAddress::Name {
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

async fn report(reports: &mpsc::Sender<Arrival>, report: Report) {
    // The driver outlives its attempts; if it is gone, so is this task in a moment.
    let _ = reports.send(Arrival::Report(report)).await;
}
