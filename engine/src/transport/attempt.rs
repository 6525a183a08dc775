//! One attempt: a task that carries one try at one candidate from nothing to a proven lane.
//!
//! Dropping the handle hangs up: the task is aborted and its socket closed with it.

pub(crate) mod legacy;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::rendezvous::{
    AttemptError, AttemptId, ConversationId, RelayAddress, RelayCandidate,
};
use rdv_proto::trust::{Role, Session};
use rdv_proto::wire::link::FrameType;
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::text::ScreenName;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use self::legacy::LegacyOrder;
use super::Lane;
use super::ars::{self, ArsError};
use super::connect::Route;
use super::join::{Join, JoinError};
use super::opening::OpeningError;
use super::tls::{self, Deadlines, SecureError};
use crate::signaling::RelayDirectory;
use crate::trust::Identity;

/// The frame that nominates a lane: `[len = 1][type = USE]` (link control 0x01).
pub(crate) const USE_FRAME: [u8; 5] = [0, 0, 0, 1, FrameType::USE.0];

/// Which lane of the session every attempt proves itself for: there is one so far.
const LANE: u32 = 0;

/// One TCP connect may take this long (`security.md` 6.4: candidates are dropped after 5 s).
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Orders that an attempt can get: one, and another one in its place.
const ORDERS_MAX: usize = 2;

/// A connection whose other end has proven itself.
pub(crate) struct Proven {
    /// Positioned behind the proof.
    pub(crate) lane: Lane,
    pub(crate) proof: Proof,
}

/// What proved it.
pub(crate) enum Proof {
    /// Both keys, and BIND (and, where the peer nominated it, USE).
    Native(Session),
    /// The first words of an old service.
    Legacy {
        /// As they came.
        first: Bytes,
        /// Over TLS: SHA-256 of the SubjectPublicKeyInfo that the other end showed.
        key: Option<[u8; 32]>,
    },
}

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
    /// The other end has proven itself. The controller gets the lane at once, so do both with an old client; else the other side
    /// gets it when the lane is nominated.
    Secured {
        attempt: AttemptId,
        lane: Option<Box<Proven>>,
    },
    /// The controller's USE arrived.
    Nominated {
        attempt: AttemptId,
        lane: Box<Proven>,
    },
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
        /// The peer is an old client, which can be told IPv4 alone.
        legacy: bool,
    },
    /// We join the peer's relay session.
    RelayJoin(Join),
}

/// How a connected attempt is to be secured.
pub(crate) enum SecureOrder {
    /// TLS with both keys, then BIND.
    Native {
        session: Session,
        identity: Arc<Identity>,
        tls_client: bool,
    },
    /// As old clients do.
    Legacy(LegacyOrder),
}

/// A running attempt; dropped, it hangs up.
pub(crate) struct Attempt {
    task: JoinHandle<()>,
    orders: mpsc::Sender<SecureOrder>,
    /// Whether we connected (dialled, joined), as opposed to waited.
    pub(crate) connector: bool,
    /// The proven lane, from `Secured` or `Nominated` until the transfer takes it.
    pub(crate) lane: Option<Box<Proven>>,
}

impl Attempt {
    pub(crate) fn spawn(
        attempt: AttemptId,
        origin: Origin,
        reports: mpsc::Sender<Arrival>,
    ) -> Self {
        let (orders, mut received) = mpsc::channel(ORDERS_MAX);
        let connector = matches!(origin, Origin::Dial(_) | Origin::RelayJoin(_));
        let reporter = Reporter { attempt, reports };
        let task = tokio::spawn(async move {
            if let Err(error) = run(&reporter, origin, &mut received).await {
                tracing::debug!(attempt = attempt.0, %error, "attempt failed");
                let error = error.into();
                reporter.say(Report::Failed { attempt, error }).await;
            }
        });
        Self {
            task,
            orders,
            connector,
            lane: None,
        }
    }

    /// Starts the proof. A second order takes the place of the first one if that has not begun to talk.
    pub(crate) fn secure(&mut self, order: SecureOrder) {
        let _ = self.orders.try_send(order);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Tells the driver about one attempt.
struct Reporter {
    attempt: AttemptId,
    reports: mpsc::Sender<Arrival>,
}

impl Reporter {
    /// The driver outlives its attempts; if it is gone, so is this task in a moment.
    async fn say(&self, report: Report) {
        let _ = self.reports.send(Arrival::Report(report)).await;
    }

    async fn heard(&self) {
        let attempt = self.attempt;
        self.say(Report::Heard { attempt }).await;
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
    #[error("{0}")]
    Opening(#[from] OpeningError),
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
            Why::Secure(SecureError::HandshakeTimedOut | SecureError::BindTimedOut)
            | Why::Opening(OpeningError::TimedOut) => Self::TimedOut,
            Why::Secure(SecureError::NotTls) => Self::NotTls,
            Why::Opening(OpeningError::Foreign | OpeningError::WrongCookie) => Self::WrongProof,
            Why::Secure(SecureError::WrongKey | SecureError::Tls(_)) => Self::Tls,
            Why::Secure(SecureError::BindMismatch) => Self::WrongProof,
            Why::Relay(_) | Why::Secure(_) | Why::Opening(_) | Why::NotNominated | Why::Dropped => {
                Self::Closed
            }
        }
    }
}

async fn run(
    reporter: &Reporter,
    origin: Origin,
    orders: &mut mpsc::Receiver<SecureOrder>,
) -> Result<(), Why> {
    let attempt = reporter.attempt;
    let stream = connect(reporter, origin).await?;
    match orders.recv().await.ok_or(Why::Dropped)? {
        SecureOrder::Native {
            session,
            identity,
            tls_client,
        } => {
            if !tls_client {
                // Who only connects and says nothing makes room first (`security.md` 6.2).
                stream.readable().await.map_err(Why::Dial)?;
                reporter.heard().await;
            }
            native(reporter, stream, session, &identity, tls_client).await
        }
        SecureOrder::Legacy(order) => {
            let lane = legacy::prove(stream, order, orders, reporter).await?;
            let lane = Some(Box::new(lane));
            reporter.say(Report::Secured { attempt, lane }).await;
            Ok(())
        }
    }
}

async fn native(
    reporter: &Reporter,
    stream: TcpStream,
    session: Session,
    identity: &Identity,
    tls_client: bool,
) -> Result<(), Why> {
    let attempt = reporter.attempt;
    let deadlines = Deadlines::default();
    let stream = tls::secure(stream, &session, identity, tls_client, LANE, deadlines).await?;
    let mut lane = Lane::Tls(Box::new(stream));
    if session.role() == Role::Answerer {
        // The sender of C2 is the controller: it nominates, so the lane goes to the driver as it is.
        let proof = Proof::Native(session);
        let lane = Some(Box::new(Proven { lane, proof }));
        reporter.say(Report::Secured { attempt, lane }).await;
        return Ok(());
    }
    let not_yet = Report::Secured {
        attempt,
        lane: None,
    };
    reporter.say(not_yet).await;
    let mut frame = [0; USE_FRAME.len()];
    lane.read_exact(&mut frame)
        .await
        .map_err(|_| Why::NotNominated)?;
    if frame != USE_FRAME {
        return Err(Why::NotNominated);
    }
    let proof = Proof::Native(session);
    let lane = Box::new(Proven { lane, proof });
    reporter.say(Report::Nominated { attempt, lane }).await;
    Ok(())
}

/// Brings up the TCP stream that TLS will stand on, and reports it where the machine does not know yet.
async fn connect(reporter: &Reporter, origin: Origin) -> Result<TcpStream, Why> {
    let attempt = reporter.attempt;
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
            legacy,
        } => {
            let info = directory.relay().await.ok().flatten().ok_or(Why::NoRelay)?;
            let address = relay_address(&info.address).ok_or(Why::NoRelay)?;
            let (waiting, created) =
                ars::create(&Route::default(), &info.address, &name, cookie, service, info.ticket.clone()).await?;
            let address = match legacy {
                true => told_to_old(&address, waiting.relay(), created.ip).ok_or(Why::NoRelay)?,
                false => address,
            };
            let relay = RelayCandidate {
                address,
                token: created.token,
                cookie,
                ticket: info.ticket,
            };
            reporter.say(Report::RelayCreated { attempt, relay }).await;
            ars::wait_ready(waiting).await?
        }
        Origin::RelayJoin(join) => join.run().await?,
    };
    let _ = stream.set_nodelay(true);
    reporter.say(Report::Connected { attempt }).await;
    Ok(stream)
}

/// Where an old client is sent: to the address of CREATED (the relay knows best), or where we reached the relay ourselves. The
/// port is said only where our own kind looks (L-25).
fn told_to_old(
    known: &RelayAddress,
    reached: Option<SocketAddr>,
    created: Ipv4Addr,
) -> Option<RelayAddress> {
    let port = match known {
        RelayAddress::Socket(address) => address.port(),
        RelayAddress::Name { port, .. } => *port,
    };
    let reached = reached.map(|relay| relay.ip().to_canonical());
    let ip = match reached {
        _ if !created.is_unspecified() => created,
        Some(IpAddr::V4(reached)) => reached,
        _ => return None,
    };
    Some(RelayAddress::Socket((ip, port).into()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_clients_are_sent_to_the_address_of_created() {
        let told = |known: &str, reached: &str, created: [u8; 4]| {
            let known = relay_address(known).unwrap();
            let told = told_to_old(&known, Some(reached.parse().unwrap()), created.into());
            told.map(|relay| relay.to_string())
        };
        let created = [198, 51, 100, 80];
        assert_eq!(
            told("relay.test:5190", "192.0.2.80:5190", created).unwrap(),
            "198.51.100.80:5190"
        );
        // A relay that does not know its own address: where we reached it.
        assert_eq!(
            told("192.0.2.80:5443", "[::ffff:192.0.2.80]:5443", [0; 4]).unwrap(),
            "192.0.2.80:5443"
        );
        assert_eq!(
            told("[2001:db8::1]:5190", "[2001:db8::1]:5190", [0; 4]),
            None
        );
    }
}
