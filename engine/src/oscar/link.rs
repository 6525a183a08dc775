//! The connection to a host: TLS, or plain TCP to the hosts of others for which the user allowed that.

use std::net::SocketAddr;
use std::time::Duration;

use rdv_proto::trust::Fingerprint;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::error::OscarError;
use crate::transport::connect::{ConnectError, Route};
use crate::transport::network::Trail;
use crate::transport::tls::{self, HostKeyStatus, HostStream, HostTlsError};
use crate::trust::HostTrust;

/// One TCP connect, all addresses of the name together.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// The TLS handshake (`security.md` 6.4).
const TLS_TIME: Duration = Duration::from_secs(10);
/// How often a host is tried that answers in another protocol.
const TLS_TRIES: usize = 3;
/// The TLS handshake with a host that may speak none.
const TLS_GUESS_TIME: Duration = Duration::from_secs(3);

/// How a connection to a host is protected.
#[derive(Debug)]
#[non_exhaustive]
pub enum HostSecurity {
    /// TLS 1.3.
    Tls {
        /// The key of the host.
        key: Fingerprint,
        /// How it was judged.
        status: HostKeyStatus,
    },
    /// Not at all: whoever is on the way reads and changes what is said.
    Plain,
}

/// What is demanded of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// TLS.
    Secure,
    /// TLS if the host can, or ever could; else plain. Only where the user allowed it.
    SecureIfPossible,
    /// Plain, because the connection before this one was.
    Plain,
}

/// Bytes to and from a host.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection on which nothing was said yet.
pub(super) struct Link {
    pub(super) stream: Box<dyn Stream>,
    /// The other end: the host, or the proxy that leads to it.
    pub(super) address: SocketAddr,
    /// Nobody stands between.
    pub(super) direct: bool,
    pub(super) security: HostSecurity,
    pub(super) trail: Trail,
}

impl Link {
    /// Connects to `address`, `HOST:PORT`, by `route`. Ends after [`CONNECT_TIME`] and [`TLS_TIME`] at the latest, a multiple of that if
    /// it tries again.
    ///
    /// # Errors
    /// [`OscarError::Unreachable`], [`OscarError::TlsFailed`] or [`OscarError::Closed`].
    pub(super) async fn open(
        route: &Route,
        address: &str,
        trust: &HostTrust,
        demand: Demand,
    ) -> Result<Self, OscarError> {
        match demand {
            Demand::Plain => Self::open_plain(route, address).await,
            Demand::Secure => Self::open_greeted_late(route, address, trust, TLS_TIME).await,
            Demand::SecureIfPossible => {
                let known = is_known_to_speak_tls(address, trust).await;
                let time = if known { TLS_TIME } else { TLS_GUESS_TIME };
                let opened = match known {
                    true => Self::open_greeted_late(route, address, trust, time).await,
                    false => Self::open_secure(route, address, trust, time).await,
                };
                match opened {
                    Err(OscarError::TlsFailed { source, .. })
                        if !known && may_be_without_tls(&source) =>
                    {
                        tracing::debug!(host = %address, "no TLS: {source}");
                        Self::open_plain(route, address).await
                    }
                    opened => opened,
                }
            }
        }
    }

    /// Whether all that is said on it is encrypted.
    pub(super) fn is_secure(&self) -> bool {
        matches!(self.security, HostSecurity::Tls { .. })
    }

    async fn open_plain(route: &Route, address: &str) -> Result<Self, OscarError> {
        let (stream, peer, trail) = dial(route, address).await?;
        Ok(Self {
            stream: Box::new(stream),
            address: peer,
            direct: route.socks.is_none(),
            security: HostSecurity::Plain,
            trail,
        })
    }

    /// Hosts with one port for all greet who is silent for half a second in FLAP, which an old client waits for (G-06). That may be one of
    /// ours whose first packet was lost: it tries again.
    async fn open_greeted_late(
        route: &Route,
        address: &str,
        trust: &HostTrust,
        time: Duration,
    ) -> Result<Self, OscarError> {
        for _ in 1..TLS_TRIES {
            match Self::open_secure(route, address, trust, time).await {
                Err(OscarError::TlsFailed { source, .. }) if source.is_other_protocol() => {
                    tracing::debug!(host = %address, "greeted without TLS; once more");
                }
                opened => return opened,
            }
        }
        Self::open_secure(route, address, trust, time).await
    }

    async fn open_secure(
        route: &Route,
        address: &str,
        trust: &HostTrust,
        time: Duration,
    ) -> Result<Self, OscarError> {
        let (stream, peer, trail) = dial(route, address).await?;
        let secured = tls::connect_host(stream, address, trust, time).await;
        let HostStream {
            stream,
            key,
            status,
        } = secured.map_err(|source| OscarError::TlsFailed {
            host: address.to_owned(),
            source,
        })?;
        Ok(Self {
            stream: Box::new(stream),
            address: peer,
            direct: route.socks.is_none(),
            security: HostSecurity::Tls { key, status },
            trail,
        })
    }
}

async fn dial(route: &Route, address: &str) -> Result<(TcpStream, SocketAddr, Trail), OscarError> {
    let too_late = |_| ConnectError::Refused(std::io::ErrorKind::TimedOut.into());
    let connected = timeout(CONNECT_TIME, route.connect(address))
        .await
        .map_err(too_late);
    let stream = connected
        .and_then(|connected| connected)
        .map_err(|source| OscarError::Unreachable {
            host: address.to_owned(),
            source,
        })?;
    let broken = |error| OscarError::Closed(Some(error));
    let peer = stream.peer_addr().map_err(broken)?;
    let trail = Trail::of(stream.local_addr().map_err(broken)?);
    Ok((stream, peer, trail))
}

/// A host whose key is named or on file is never spoken to without TLS, whatever was allowed (S-03).
async fn is_known_to_speak_tls(address: &str, trust: &HostTrust) -> bool {
    match trust {
        HostTrust::Pinned(_) => true,
        HostTrust::AcceptAny => false,
        HostTrust::FirstUse(hosts) => {
            let (hosts, address) = (hosts.clone(), address.to_owned());
            let looked_up = tokio::task::spawn_blocking(move || hosts.lookup(&address)).await;
            // A file that cannot be read may hold the key.
            !matches!(looked_up, Ok(Ok(None)))
        }
    }
}

/// Whether that is what a host without TLS looks like: anything but a key or a file that is wrong.
fn may_be_without_tls(error: &HostTlsError) -> bool {
    matches!(
        error,
        HostTlsError::Tls(_) | HostTlsError::Io(_) | HostTlsError::TimedOut
    )
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_host_that_greets_too_early_is_tried_three_times() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let host = tokio::spawn(async move {
            let mut came = 0;
            while came < TLS_TRIES {
                let (mut stream, _) = listener.accept().await.unwrap();
                came += 1;
                stream
                    .write_all(b"\x2A\x01\0\0\0\x04\0\0\0\x01")
                    .await
                    .unwrap();
                // Until the client hangs up.
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
            came
        });
        let route = Route::default();
        let opened = Link::open(&route, &address, &HostTrust::AcceptAny, Demand::Secure).await;
        assert!(matches!(opened, Err(OscarError::TlsFailed { .. })));
        assert_eq!(host.await.unwrap(), TLS_TRIES);
    }
}
