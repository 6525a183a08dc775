//! From an address, or a knock, to a connection whose other end is known.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use quinn::crypto::rustls::HandshakeData;
use quinn::{ConnectError, ConnectionError, ReadExactError, WriteError};
use rdv_proto::trust::{BIND_LEN, BindCarrier, EXPORTER_LABEL, Session};
use rdv_proto::wire::security::ALPN_QUIC;
use rustls::AlertDescription;
use tokio::time::timeout;

use super::config;
use super::lane::{self, QuicLane};
use super::shared::canonical;
use super::socket::{QuicIncoming, QuicSocket};
use crate::transport::tls::SecureError;
use crate::trust::{Identity, peer};

/// Name that TLS wants although none is sent.
const UNNAMED: &str = "rdv.invalid";
/// Where QUIC's error codes for TLS alerts begin (RFC 9001 4.8).
const CRYPTO_ERROR: u64 = 0x100;

/// A connection with the right key at its other end, on which nothing has been said. Dropped, it is closed.
#[derive(Debug)]
pub struct QuicConnection {
    pub(super) connection: quinn::Connection,
    exporter: [u8; 32],
}

impl QuicConnection {
    /// The other end.
    pub fn remote(&self) -> SocketAddr {
        canonical(self.connection.remote_address())
    }

    /// quinn's estimate, from the handshake so far.
    pub fn round_trip(&self) -> Duration {
        self.connection.rtt()
    }
}

/// Dials `to` and proves who we are. That the peer believes it shows in [`bind`] only: TLS lets the client finish first.
///
/// # Errors
/// [`SecureError`]; nothing of the attempt is left then.
pub async fn dial(
    socket: &QuicSocket,
    to: SocketAddr,
    session: &Session,
    identity: &Identity,
    deadline: Duration,
) -> Result<QuicConnection, SecureError> {
    let tls = peer::client_config(identity, session.peer_key_hash(), ALPN_QUIC);
    let config = config::client(tls.map_err(SecureError::Tls)?, to).map_err(unusable)?;
    let connecting = socket.endpoint().connect_with(config, to, UNNAMED);
    handshake(connecting.map_err(undialable)?, session, deadline).await
}

/// Lets in who has the right key.
///
/// # Errors
/// [`SecureError`]; nothing of the attempt is left then.
pub async fn accept(
    incoming: QuicIncoming,
    session: &Session,
    identity: &Identity,
    deadline: Duration,
) -> Result<QuicConnection, SecureError> {
    let tls = peer::server_config(identity, session.peer_key_hash(), ALPN_QUIC);
    let remote = Some(incoming.remote());
    let config = config::server(tls.map_err(SecureError::Tls)?, remote).map_err(unusable)?;
    let QuicIncoming { incoming, place } = incoming;
    let connecting = incoming.accept_with(config.into()).map_err(failure)?;
    let connection = handshake(connecting, session, deadline).await;
    drop(place);
    connection
}

async fn handshake(
    connecting: quinn::Connecting,
    session: &Session,
    deadline: Duration,
) -> Result<QuicConnection, SecureError> {
    let connection = timeout(deadline, connecting)
        .await
        .map_err(|_| SecureError::HandshakeTimedOut)?
        .map_err(failure)?;
    let agreed = connection
        .handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok())
        .and_then(|data| data.protocol);
    if agreed.as_deref() != Some(ALPN_QUIC.as_bytes()) {
        return Err(SecureError::Tls(rustls::Error::NoApplicationProtocol));
    }
    let mut exporter = [0; 32];
    connection
        .export_keying_material(&mut exporter, EXPORTER_LABEL, session.th0())
        .map_err(|_| SecureError::Tls(rustls::Error::General("no exporter".to_owned())))?;
    Ok(QuicConnection {
        connection,
        exporter,
    })
}

/// Proves the session on the client's first stream, which becomes the lane. `quic_client`: whether we dialled.
///
/// # Errors
/// [`SecureError`]; the connection is closed then. The client gets [`SecureError::WrongKey`] or [`SecureError::Tls`] here if the
/// server did not believe it.
pub async fn bind(
    connection: QuicConnection,
    session: &Session,
    lane: u32,
    quic_client: bool,
    deadline: Duration,
) -> Result<QuicLane, SecureError> {
    let QuicConnection {
        connection,
        exporter,
    } = connection;
    let exchange = async {
        let (mut send, mut receive) = match quic_client {
            true => connection.open_bi().await.map_err(failure)?,
            false => connection.accept_bi().await.map_err(failure)?,
        };
        let ours = session.bind_ours(BindCarrier::Quic, lane, &exporter);
        send.write_all(&ours).await.map_err(unwritten)?;
        let mut theirs = [0; BIND_LEN];
        receive.read_exact(&mut theirs).await.map_err(unread)?;
        match session.bind_matches(BindCarrier::Quic, lane, &exporter, &theirs) {
            true => Ok((send, receive)),
            false => Err(SecureError::BindMismatch),
        }
    };
    let (send, receive) = timeout(deadline, exchange)
        .await
        .map_err(|_| SecureError::BindTimedOut)??;
    Ok(QuicLane::new(connection, send, receive))
}

/// Why a connection did not come up.
fn failure(error: ConnectionError) -> SecureError {
    let alert = |code: u64| {
        let alert = code.checked_sub(CRYPTO_ERROR)?;
        u8::try_from(alert).ok().map(AlertDescription::from)
    };
    match error {
        // What we found out ourselves, and told the other side.
        ConnectionError::TransportError(ours) => match alert(ours.code.into()) {
            // Sent for nothing but another key.
            Some(AlertDescription::AccessDenied) => SecureError::WrongKey,
            Some(_) => SecureError::Tls(rustls::Error::General(ours.to_string())),
            None => SecureError::Io(io::Error::new(io::ErrorKind::InvalidData, ours)),
        },
        ConnectionError::ConnectionClosed(ref theirs) => match alert(theirs.error_code.into()) {
            Some(alert) => SecureError::Tls(rustls::Error::AlertReceived(alert)),
            None => SecureError::Io(lane::broken(error)),
        },
        ConnectionError::TimedOut => SecureError::HandshakeTimedOut,
        other => SecureError::Io(lane::broken(other)),
    }
}

fn unwritten(error: WriteError) -> SecureError {
    match error {
        WriteError::ConnectionLost(lost) => failure(lost),
        other => SecureError::Io(other.into()),
    }
}

fn unread(error: ReadExactError) -> SecureError {
    match error {
        ReadExactError::ReadError(quinn::ReadError::ConnectionLost(lost)) => failure(lost),
        ReadExactError::ReadError(other) => SecureError::Io(other.into()),
        ReadExactError::FinishedEarly(_) => SecureError::Io(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn undialable(error: ConnectError) -> SecureError {
    SecureError::Io(io::Error::new(io::ErrorKind::InvalidInput, error))
}

fn unusable(error: quinn::crypto::rustls::NoInitialCipherSuite) -> SecureError {
    SecureError::Tls(rustls::Error::General(error.to_string()))
}
