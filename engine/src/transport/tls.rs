//! The TLS step: from a connected stream to one whose other end is known.
//!
//! Between peers ([`secure`]) it is TLS 1.3 with both keys compared, then BIND: 32 bytes each way
//! that prove that both ends hold the same [`Session`] and that this very TLS connection is the one
//! they mean. Nothing else is sent or believed before. To a host ([`connect_host`]) it is TLS 1.3
//! with the host's key judged by [`HostTrust`].

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use rdv_proto::trust::{BIND_LEN, BindCarrier, EXPORTER_LABEL, Fingerprint, Session};
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    task::spawn_blocking,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream, client};

use crate::trust::{
    HostKeyError, HostTrust, Identity, KnownHosts, KnownHostsError,
    host::HostKeyVerifier,
    key_hash,
    known_hosts::KnownHost,
    peer::{self, WRONG_KEY},
    tls_error,
};

/// Bytes that rustls may hold back for one connection and direction before a write has to wait. One
/// write of the bulk layer fits, so that a whole block becomes records in one go.
const BUFFER_LIMIT: usize = 256 * 1024;

/// How long the steps may take (`security.md` 6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// The TLS handshake.
    pub handshake: Duration,
    /// Both BINDs, after the handshake.
    pub bind: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            bind: Duration::from_secs(5),
        }
    }
}

/// Why a connection did not become a lane.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SecureError {
    /// The handshake took too long.
    #[error("the TLS handshake took too long")]
    HandshakeTimedOut,
    /// The other side did not prove itself in time.
    #[error("the other side did not prove in time who it is")]
    BindTimedOut,
    /// The other side has another key than the one that it announced: a stranger, or somebody in
    /// the middle.
    #[error("the other side has another key than the one announced")]
    WrongKey,
    /// The other side speaks TLS, but does not know the terms and the secret of this session.
    #[error("the other side could not prove who it is")]
    BindMismatch,
    /// No TLS 1.3, no certificate, another protocol, garbage, or the other side refused us.
    #[error("TLS failed")]
    Tls(#[source] rustls::Error),
    /// The other side does not speak TLS at all.
    #[error("the other side does not speak TLS")]
    NotTls,
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[source] io::Error),
}

impl From<io::Error> for SecureError {
    fn from(error: io::Error) -> Self {
        match tls_error(&error) {
            Some(wrong) if *wrong == WRONG_KEY => Self::WrongKey,
            Some(other) => Self::Tls(other.clone()),
            None => Self::Io(error),
        }
    }
}

/// Secures a connected stream for `session`: TLS with both keys compared, then BIND.
///
/// `tls_client`: whether we dialled, or joined at the relay. `lane`: which connection of the session
/// this is, alike on both ends. The stream that comes back stands right behind the BINDs.
///
/// # Errors
/// [`SecureError`]; the stream is closed then.
pub async fn secure<S>(
    stream: S,
    session: &Session,
    identity: &Identity,
    tls_client: bool,
    lane: u32,
    deadlines: Deadlines,
) -> Result<TlsStream<S>, SecureError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let secured = secure_timed(stream, session, identity, tls_client, lane, deadlines);
    secured.await.map(|(stream, _)| stream)
}

/// As [`secure`], and about how long a round trip to the other side takes: to the client the exchange of BIND is one, to the server,
/// whose BIND crosses the client's, the handshake.
pub(crate) async fn secure_timed<S>(
    stream: S,
    session: &Session,
    identity: &Identity,
    tls_client: bool,
    lane: u32,
    deadlines: Deadlines,
) -> Result<(TlsStream<S>, Duration), SecureError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let began = Instant::now();
    let handshake = handshake(stream, session, identity, tls_client);
    let (mut stream, exporter) = timeout(deadlines.handshake, handshake)
        .await
        .map_err(|_| SecureError::HandshakeTimedOut)??;
    let shaken = Instant::now();
    timeout(deadlines.bind, bind(&mut stream, session, lane, &exporter))
        .await
        .map_err(|_| SecureError::BindTimedOut)??;
    let round_trip = match tls_client {
        true => shaken.elapsed(),
        false => shaken - began,
    };
    Ok((stream, round_trip))
}

/// Secures a connected stream to an old client: TLS 1.3, any certificate, and the SHA-256 of its SubjectPublicKeyInfo. Who it
/// is remains to be shown by what it says next.
///
/// # Errors
/// [`SecureError`]; the stream is closed then. [`SecureError::NotTls`] if the other end speaks something else.
pub async fn secure_legacy<S>(
    stream: S,
    identity: &Identity,
    tls_client: bool,
    deadline: Duration,
) -> Result<(TlsStream<S>, [u8; 32]), SecureError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = async {
        let mut stream: TlsStream<S> = if tls_client {
            let config = peer::legacy_client_config(identity).map_err(SecureError::Tls)?;
            let connector = TlsConnector::from(Arc::new(config));
            connector.connect(unnamed(), stream).await?.into()
        } else {
            let config = peer::legacy_server_config(identity).map_err(SecureError::Tls)?;
            TlsAcceptor::from(Arc::new(config))
                .accept(stream)
                .await?
                .into()
        };
        match &mut stream {
            TlsStream::Client(stream) => stream.get_mut().1.set_buffer_limit(Some(BUFFER_LIMIT)),
            TlsStream::Server(stream) => stream.get_mut().1.set_buffer_limit(Some(BUFFER_LIMIT)),
        }
        Ok(stream)
    };
    let stream = timeout(deadline, handshake)
        .await
        .map_err(|_| SecureError::HandshakeTimedOut)?
        .map_err(|error| match error {
            SecureError::Tls(rustls::Error::InvalidMessage(_)) => SecureError::NotTls,
            other => other,
        })?;
    let certificates = stream.get_ref().1.peer_certificates();
    let key = certificates
        .and_then(<[_]>::first)
        .and_then(|certificate| key_hash(certificate).ok())
        .ok_or(SecureError::Tls(rustls::Error::NoCertificatesPresented))?;
    Ok((stream, key))
}

/// The handshake, and the exporter value that BIND needs.
async fn handshake<S>(
    stream: S,
    session: &Session,
    identity: &Identity,
    tls_client: bool,
) -> Result<(TlsStream<S>, [u8; 32]), SecureError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (key, alpn) = (session.peer_key_hash(), BindCarrier::Tcp.alpn());
    let (stream, exporter): (TlsStream<S>, _) = if tls_client {
        let config = peer::client_config(identity, key, alpn).map_err(SecureError::Tls)?;
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(unnamed(), stream).await?;
        let tls = stream.get_mut().1;
        tls.set_buffer_limit(Some(BUFFER_LIMIT));
        let exporter = tls.export_keying_material([0; 32], EXPORTER_LABEL, Some(session.th0()));
        (stream.into(), exporter)
    } else {
        let config = peer::server_config(identity, key, alpn).map_err(SecureError::Tls)?;
        let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
        let tls = stream.get_mut().1;
        tls.set_buffer_limit(Some(BUFFER_LIMIT));
        let exporter = tls.export_keying_material([0; 32], EXPORTER_LABEL, Some(session.th0()));
        (stream.into(), exporter)
    };
    // A side that offers no ALPN at all gets through rustls.
    if stream.get_ref().1.alpn_protocol() != Some(alpn.as_bytes()) {
        return Err(SecureError::Tls(rustls::Error::NoApplicationProtocol));
    }
    Ok((stream, exporter.map_err(SecureError::Tls)?))
}

async fn bind<S>(
    stream: &mut TlsStream<S>,
    session: &Session,
    lane: u32,
    exporter: &[u8; 32],
) -> Result<(), SecureError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ours = session.bind_ours(BindCarrier::Tcp, lane, exporter);
    stream.write_all(&ours).await?;
    stream.flush().await?;
    let mut theirs = [0; BIND_LEN];
    stream.read_exact(&mut theirs).await?;
    if session.bind_matches(BindCarrier::Tcp, lane, exporter, &theirs) {
        Ok(())
    } else {
        Err(SecureError::BindMismatch)
    }
}

/// The name that rustls wants although none is sent.
fn unnamed() -> ServerName<'static> {
    ServerName::try_from("rdv.invalid").expect("a valid DNS name")
}

/// Why there is no secure connection to a host.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HostTlsError {
    /// The wrong key (S-07).
    #[error(transparent)]
    Key(#[from] HostKeyError),
    /// The file of known hosts cannot be read.
    #[error(transparent)]
    KnownHosts(#[from] KnownHostsError),
    /// The handshake took too long.
    #[error("the TLS handshake with the host took too long")]
    TimedOut,
    /// No TLS 1.3, or no TLS at all.
    #[error("TLS with the host failed")]
    Tls(#[source] rustls::Error),
    /// The connection broke.
    #[error("the connection to the host broke")]
    Io(#[source] io::Error),
}

impl HostTlsError {
    /// Whether something that is not TLS came back.
    pub(crate) fn is_other_protocol(&self) -> bool {
        use rustls::{Error, InvalidMessage};
        matches!(
            self,
            Self::Tls(Error::InvalidMessage(InvalidMessage::InvalidContentType))
        )
    }
}

/// How a host's key was judged.
#[derive(Debug)]
#[non_exhaustive]
pub enum HostKeyStatus {
    /// It is the one pinned or on file.
    Known,
    /// First visit; the key is on file now.
    FirstUse,
    /// First visit; the key could not be put on file.
    NotKept(KnownHostsError),
    /// Any key would have done.
    Unchecked,
}

/// A secured connection to a host.
#[derive(Debug)]
pub struct HostStream<S> {
    /// The stream, positioned at its first byte.
    pub stream: client::TlsStream<S>,
    /// The key of the host.
    pub key: Fingerprint,
    /// How it was judged.
    pub status: HostKeyStatus,
}

/// Secures a connected stream to the host at `address` (`HOST:PORT`, the name under which its key is
/// kept).
///
/// # Errors
/// [`HostTlsError`]; the stream is closed then.
pub async fn connect_host<S>(
    stream: S,
    address: &str,
    trust: &HostTrust,
    deadline: Duration,
) -> Result<HostStream<S>, HostTlsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let known = match trust {
        HostTrust::FirstUse(hosts) => on_file(hosts, address).await?,
        _ => None,
    };
    let expected = match trust {
        HostTrust::Pinned(fingerprint) => Some(*fingerprint),
        _ => known.map(|known| known.fingerprint),
    };
    let verifier = HostKeyVerifier::new(expected);
    let config = verifier.client_config().map_err(HostTlsError::Tls)?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = timeout(deadline, connector.connect(name_of(address), stream))
        .await
        .map_err(|_| HostTlsError::TimedOut)?;
    let presented = verifier.presented();
    let (stream, key) = match (stream, presented) {
        (Ok(stream), Some(key)) => (stream, key),
        (Ok(_), None) => {
            return Err(HostTlsError::Tls(rustls::Error::NoCertificatesPresented));
        }
        (Err(error), presented) => return Err(failure(error, presented, address, trust, known)),
    };
    let status = match trust {
        HostTrust::AcceptAny => HostKeyStatus::Unchecked,
        HostTrust::FirstUse(hosts) if known.is_none() => first_visit(hosts, address, key).await?,
        _ => HostKeyStatus::Known,
    };
    Ok(HostStream {
        stream,
        key,
        status,
    })
}

fn failure(
    error: io::Error,
    presented: Option<Fingerprint>,
    address: &str,
    trust: &HostTrust,
    known: Option<KnownHost>,
) -> HostTlsError {
    match (tls_error(&error), presented) {
        (Some(wrong), Some(presented)) if *wrong == WRONG_KEY => match (trust, known) {
            (HostTrust::Pinned(pinned), _) => HostKeyError::NotPinned {
                address: address.to_owned(),
                pinned: *pinned,
                presented,
            }
            .into(),
            (HostTrust::FirstUse(hosts), Some(known)) => {
                changed(hosts, address, known, presented).into()
            }
            _ => HostTlsError::Tls(WRONG_KEY),
        },
        (Some(other), _) => HostTlsError::Tls(other.clone()),
        (None, _) => HostTlsError::Io(error),
    }
}

fn changed(
    hosts: &KnownHosts,
    address: &str,
    known: KnownHost,
    presented: Fingerprint,
) -> HostKeyError {
    HostKeyError::Changed {
        address: address.to_owned(),
        known: known.fingerprint,
        presented,
        file: hosts.path().to_owned(),
        line: known.line,
    }
}

/// Only now, after the handshake, has the host proved that it holds the key.
async fn first_visit(
    hosts: &KnownHosts,
    address: &str,
    key: Fingerprint,
) -> Result<HostKeyStatus, HostTlsError> {
    let kept = {
        let (hosts, address) = (hosts.clone(), address.to_owned());
        blocking(move || hosts.remember(&address, key)).await
    };
    match kept {
        Ok(kept) if kept.fingerprint == key => Ok(HostKeyStatus::FirstUse),
        Ok(other) => Err(changed(hosts, address, other, key).into()),
        Err(error) => Ok(HostKeyStatus::NotKept(error)),
    }
}

async fn on_file(hosts: &KnownHosts, address: &str) -> Result<Option<KnownHost>, KnownHostsError> {
    let (hosts, address) = (hosts.clone(), address.to_owned());
    blocking(move || hosts.lookup(&address)).await
}

/// File work off the runtime's threads. A panic in it goes on here.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Cancelled: the runtime shuts down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// What goes into SNI: the host's name, or nothing if it is an address.
fn name_of(address: &str) -> ServerName<'static> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).unwrap_or_else(|_| unnamed())
}

#[cfg(test)]
mod host_tests;
#[cfg(test)]
pub(super) mod tests;
