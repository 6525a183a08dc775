//! The way out through a SOCKS5 proxy (RFC 1928, RFC 1929): TCP only.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use fast_socks5::client::{Config, Socks5Stream};
use fast_socks5::util::target_addr::TargetAddr;
use fast_socks5::{AuthenticationMethod, ReplyError, Socks5Command, SocksError};
use tokio::net::TcpStream;

/// Bytes of a user name, a password or a host name: they travel behind one length byte (RFC 1928 §5, RFC 1929 §2).
const FIELD_MAX: usize = 255;

/// A SOCKS5 proxy that every connection goes through: to host and relay, and to peers. There are no listeners and no UDP
/// behind it, so a peer is reached only if it can be dialled, else through the relay.
#[derive(Clone, PartialEq, Eq)]
pub struct SocksProxy {
    /// `HOST:PORT`, an IPv6 address in brackets.
    pub address: String,
    /// Name and password, if the proxy asks for them; each at most 255 bytes.
    pub user: Option<(String, String)>,
}

impl SocksProxy {
    /// The proxy at `address` (`HOST:PORT`), which asks for nothing.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            user: None,
        }
    }

    /// The same with a name and a password.
    #[must_use]
    pub fn with_user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.user = Some((name.into(), password.into()));
        self
    }
}

/// The password is left out.
impl fmt::Debug for SocksProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocksProxy")
            .field("address", &self.address)
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .finish()
    }
}

/// Where a connection is to lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A literal address.
    Address(SocketAddr),
    /// A name, which the proxy looks up: our own resolver may be as walled in as we are.
    Name(String, u16),
}

impl Target {
    /// `HOST:PORT`, an IPv6 address in brackets.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if it is not of that form.
    pub(crate) fn parse(text: &str) -> io::Result<Self> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let bad = || io::Error::from(io::ErrorKind::InvalidInput);
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().map_err(|_| bad())?;
        if host.is_empty() || host.len() > FIELD_MAX || host.contains([':', '[', ']']) {
            return Err(bad());
        }
        Ok(Self::Name(host.to_owned(), port))
    }
}

/// Asks the proxy at the other end of `stream` to connect to `target`; what follows in the stream is the target's.
///
/// # Errors
/// What the proxy said, in the words of a plain connect: refused, unreachable, timed out; `PermissionDenied` if it wants
/// another name or password, `InvalidData` if it is no SOCKS5 proxy. Never ends by itself: the caller sets the deadline.
pub(crate) async fn through(
    stream: TcpStream,
    proxy: &SocksProxy,
    target: &Target,
) -> io::Result<TcpStream> {
    let user = match &proxy.user {
        None => None,
        Some((username, password)) => {
            if username.len() > FIELD_MAX || password.len() > FIELD_MAX {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            Some(AuthenticationMethod::Password {
                username: username.clone(),
                password: password.clone(),
            })
        }
    };
    let target = match target {
        Target::Address(address) => TargetAddr::Ip(*address),
        Target::Name(name, port) => TargetAddr::Domain(name.clone(), *port),
    };
    let mut socks = Socks5Stream::use_stream(stream, user, Config::default())
        .await
        .map_err(as_io)?;
    socks
        .request(Socks5Command::TCPConnect, target)
        .await
        .map_err(as_io)?;
    Ok(socks.get_socket())
}

fn as_io(error: SocksError) -> io::Error {
    use io::ErrorKind;
    let kind = match &error {
        SocksError::ReplyError(reply) => match reply {
            ReplyError::ConnectionRefused => ErrorKind::ConnectionRefused,
            ReplyError::ConnectionTimeout | ReplyError::TtlExpired => ErrorKind::TimedOut,
            ReplyError::HostUnreachable => ErrorKind::HostUnreachable,
            ReplyError::NetworkUnreachable => ErrorKind::NetworkUnreachable,
            ReplyError::ConnectionNotAllowed => ErrorKind::PermissionDenied,
            _ => ErrorKind::Other,
        },
        SocksError::AuthenticationRejected(_) | SocksError::AuthMethodUnacceptable(_) => {
            ErrorKind::PermissionDenied
        }
        SocksError::UnsupportedSocksVersion(_) => ErrorKind::InvalidData,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
