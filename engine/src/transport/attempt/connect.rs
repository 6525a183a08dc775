//! The first step of an attempt: from an address, a knock or a relay session to a connection that is up.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdv_proto::rendezvous::{RelayAddress, RelayCandidate};
use rdv_proto::trust::Session;
use rdv_proto::wire::ars::ErrorCode;
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::text::ScreenName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

use super::why::Why;
use super::{Report, Reporter};
use crate::signaling::RelayDirectory;
use crate::transport::ars::ArsError;
use crate::transport::connect::Route;
use crate::transport::failing::FailingRelays;
use crate::transport::join::Join;
use crate::transport::quic::{QuicConnection, QuicIncoming};
use crate::transport::site::Dialer;
use crate::transport::tls::Deadlines;
use crate::transport::{ars, gather};
use crate::trust::Identity;

/// One TCP connect may take this long (`security.md` 6.4: candidates are dropped after 5 s).
pub(super) const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// A round trip within this machine: what is measured beyond that is computing, and no road.
const WITHIN_MACHINE: Duration = Duration::from_micros(100);

/// What a round trip to `remote` takes, if it was measured as `measured`.
pub(super) fn round_trip(remote: SocketAddr, measured: Duration) -> Duration {
    match gather::is_this_machine(remote.ip()) {
        true => measured.min(WITHIN_MACHINE),
        false => measured,
    }
}

/// Where an attempt begins.
pub(crate) enum Origin {
    /// We dial a direct candidate.
    Tcp { route: Route, to: SocketAddr },
    /// We dial it while it dials us, from the port of our listener.
    TcpOpen { dialer: Dialer, to: SocketAddr },
    /// We dial it over QUIC. The keys are compared in the handshake, so that it needs to know them now.
    Quic {
        dialer: Dialer,
        to: SocketAddr,
        session: Box<Session>,
        identity: Arc<Identity>,
    },
    /// Our listener accepted it.
    Accepted(TcpStream),
    /// Somebody knocked at our UDP socket.
    AcceptedQuic(Box<QuicIncoming>),
    /// We make a relay session and wait there.
    RelayCreate {
        route: Route,
        directory: Arc<dyn RelayDirectory>,
        failing: FailingRelays,
        name: ScreenName,
        cookie: Cookie,
        service: Uuid,
        /// The peer is an old client, which can be told IPv4 alone.
        legacy: bool,
    },
    /// We join the peer's relay session.
    RelayJoin(Join),
}

impl Origin {
    /// Whether we go to the other side, as opposed to wait for it.
    pub(super) fn is_ours(&self) -> bool {
        !matches!(
            self,
            Self::Accepted(_) | Self::AcceptedQuic(_) | Self::RelayCreate { .. }
        )
    }
}

/// A connection that is up and not yet proven.
pub(super) enum Connection {
    Tcp {
        stream: TcpStream,
        /// What connecting took, if that says something of the road to the peer.
        round_trip: Option<Duration>,
    },
    /// We dialled it; the other end has the right key.
    Quic(QuicConnection),
    /// Nothing was answered yet.
    Knocking(Box<QuicIncoming>),
}

impl Connection {
    fn accepted(stream: TcpStream) -> Self {
        let _ = stream.set_nodelay(true);
        let from = stream.peer_addr().ok();
        let round_trip = from.filter(|from| gather::is_this_machine(from.ip()));
        Self::Tcp {
            stream,
            round_trip: round_trip.map(|_| WITHIN_MACHINE),
        }
    }

    fn tcp(stream: TcpStream) -> Self {
        let _ = stream.set_nodelay(true);
        let round_trip = None;
        Self::Tcp { stream, round_trip }
    }
}

/// Brings it up, and reports it where the machine does not know yet.
pub(super) async fn connect(reporter: &Reporter, origin: Origin) -> Result<Connection, Why> {
    let attempt = reporter.attempt;
    let connection = match origin {
        Origin::Accepted(stream) => return Ok(Connection::accepted(stream)),
        Origin::AcceptedQuic(incoming) => return Ok(Connection::Knocking(incoming)),
        Origin::Tcp { route, to } => {
            let began = Instant::now();
            let stream = timeout(DIAL_TIMEOUT, route.connect_to(to))
                .await
                .map_err(|_| Why::DialTimeout)?
                .map_err(Why::Dial)?;
            let round_trip = Some(began.elapsed());
            Connection::Tcp { stream, round_trip }
        }
        Origin::TcpOpen { dialer, to } => {
            Connection::tcp(dialer.dial_open(to).await.map_err(Why::Dial)?)
        }
        Origin::Quic {
            dialer,
            to,
            session,
            identity,
        } => {
            let deadline = Deadlines::default().handshake;
            let connection = dialer.dial_quic(to, &session, &identity, deadline);
            Connection::Quic(connection.await?)
        }
        Origin::RelayCreate {
            route,
            directory,
            failing,
            name,
            cookie,
            service,
            legacy,
        } => {
            let info = directory.relay_for(cookie, failing.lately()).await;
            let info = info.ok().flatten().ok_or(Why::NoRelay)?;
            let address = relay_address(&info.address).ok_or(Why::NoRelay)?;
            let ticket = info.ticket.clone();
            let (waiting, created) =
                ars::create(&route, &info.address, &name, cookie, service, ticket)
                    .await
                    .inspect_err(|_| failing.failed(&info.address))?;
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
            let known = info.address;
            let created = Report::RelayCreated {
                attempt,
                relay,
                known: known.clone(),
            };
            reporter.say(created).await;
            let ready = ars::wait_ready(waiting).await;
            Connection::tcp(ready.inspect_err(|error| {
                // That nobody came is not the relay's fault.
                let nobody = matches!(
                    error,
                    ArsError::Timeout(_) | ArsError::Refused(ErrorCode::PEER_DID_NOT_JOIN)
                );
                if !nobody {
                    failing.failed(&known);
                }
            })?)
        }
        Origin::RelayJoin(join) => Connection::tcp(join.run().await?),
    };
    reporter.say(Report::Connected { attempt }).await;
    Ok(connection)
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
