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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;
    use crate::transport::Route;
    use crate::transport::connect::ConnectError;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// What a proxy does.
    #[derive(Debug, Clone, Copy)]
    enum Manner {
        /// Lets everybody in and connects to nowhere, but says that it did; then it echoes.
        Open,
        /// Wants the name `alice` with the password `secret`.
        Locked,
        /// Says this code (RFC 1928 §6).
        Says(u8),
        /// Is another kind of server.
        Other,
    }

    /// A proxy for one connection; it gives back the target that it was told, as it travelled.
    async fn proxy(manner: Manner) -> (SocksProxy, JoinHandle<Option<Vec<u8>>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.ok()?;
            serve(stream, manner).await
        });
        (SocksProxy::new(address), task)
    }

    async fn serve(mut stream: TcpStream, manner: Manner) -> Option<Vec<u8>> {
        if let Manner::Other = manner {
            stream.write_all(b"HTTP/1.1 400\r\n\r\n").await.ok()?;
            return None;
        }
        let [5, count] = read(&mut stream).await? else {
            return None;
        };
        let mut methods = vec![0; count.into()];
        stream.read_exact(&mut methods).await.ok()?;
        if let Manner::Locked = manner {
            let offered = methods.contains(&2);
            stream
                .write_all(&[5, if offered { 2 } else { 255 }])
                .await
                .ok()?;
            let [1, length] = read(&mut stream).await? else {
                return None;
            };
            let mut name = vec![0; length.into()];
            stream.read_exact(&mut name).await.ok()?;
            let [length] = read(&mut stream).await?;
            let mut password = vec![0; length.into()];
            stream.read_exact(&mut password).await.ok()?;
            let right = name == b"alice" && password == b"secret";
            stream.write_all(&[1, u8::from(!right)]).await.ok()?;
        } else {
            stream.write_all(&[5, 0]).await.ok()?;
        }
        let [5, 1, 0, kind] = read(&mut stream).await? else {
            return None;
        };
        let mut target = vec![kind];
        let length = match kind {
            1 => 4,
            3 => {
                let [length] = read(&mut stream).await?;
                target.push(length);
                length.into()
            }
            _ => 16,
        };
        let mut rest = vec![0; length + 2];
        stream.read_exact(&mut rest).await.ok()?;
        target.extend(rest);
        let code = match manner {
            Manner::Says(code) => code,
            _ => 0,
        };
        let reply = [5, code, 0, 1, 0, 0, 0, 0, 0, 0];
        stream.write_all(&reply).await.ok()?;
        let [byte] = read(&mut stream).await.unwrap_or([0]);
        let _ = stream.write_all(&[byte]).await;
        Some(target)
    }

    async fn read<const N: usize>(stream: &mut TcpStream) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        stream.read_exact(&mut bytes).await.ok()?;
        Some(bytes)
    }

    async fn connect(proxy: &SocksProxy, to: &str) -> Result<TcpStream, ConnectError> {
        let route = Route::default().with_socks(Some(proxy.clone()));
        timeout(PATIENCE, route.connect(to)).await.unwrap()
    }

    fn kind(result: Result<TcpStream, ConnectError>) -> io::ErrorKind {
        match result.unwrap_err() {
            ConnectError::Refused(error) | ConnectError::Unresolved(error) => error.kind(),
        }
    }

    #[tokio::test]
    async fn addresses_and_names_go_to_the_proxy_as_they_are() {
        let targets: [(&str, &[u8]); 3] = [
            ("192.0.2.7:443", &[1, 192, 0, 2, 7, 1, 187]),
            ("host.invalid:5190", b"\x03\x0chost.invalid\x14\x46"),
            (
                "[2001:db8::1]:80",
                &[
                    4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 80,
                ],
            ),
        ];
        for (target, travelled) in targets {
            let (there, told) = proxy(Manner::Open).await;
            let mut stream = connect(&there, target).await.unwrap();
            stream.write_all(b"x").await.unwrap();
            assert_eq!(read(&mut stream).await, Some(*b"x"), "{target}");
            assert_eq!(told.await.unwrap().unwrap(), travelled, "{target}");
        }
    }

    #[tokio::test]
    async fn a_proxy_that_asks_who_we_are_is_told() {
        let (there, told) = proxy(Manner::Locked).await;
        let known = there.with_user("alice", "secret");
        connect(&known, "192.0.2.7:443").await.unwrap();
        assert!(told.await.unwrap().is_some());
        for user in [None, Some("wrong")] {
            let (mut there, _told) = proxy(Manner::Locked).await;
            if let Some(password) = user {
                there = there.with_user("alice", password);
            }
            let refused = kind(connect(&there, "192.0.2.7:443").await);
            assert_eq!(refused, io::ErrorKind::PermissionDenied, "{user:?}");
        }
    }

    #[tokio::test]
    async fn what_the_proxy_cannot_do_is_told_as_if_we_had_tried() {
        use io::ErrorKind;
        let codes = [
            (2, ErrorKind::PermissionDenied),
            (3, ErrorKind::NetworkUnreachable),
            (4, ErrorKind::HostUnreachable),
            (5, ErrorKind::ConnectionRefused),
            (6, ErrorKind::TimedOut),
            (1, ErrorKind::Other),
        ];
        for (code, expected) in codes {
            let (there, _told) = proxy(Manner::Says(code)).await;
            assert_eq!(kind(connect(&there, "192.0.2.7:443").await), expected);
        }
        let (there, _told) = proxy(Manner::Other).await;
        let other = kind(connect(&there, "192.0.2.7:443").await);
        assert_eq!(other, ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_proxy_that_is_not_there_or_a_target_that_is_none_is_an_error() {
        let (there, told) = proxy(Manner::Open).await;
        let long = format!("{}:1", "x".repeat(256));
        for bad in ["", "no-port", "host:", ":1", "[::1]", "::1:1", &long] {
            let refused = connect(&there, bad).await;
            assert!(matches!(refused, Err(ConnectError::Unresolved(_))), "{bad}");
        }
        told.abort();
        let _ = told.await;
        let gone = connect(&there, "192.0.2.7:443").await;
        assert!(matches!(gone, Err(ConnectError::Refused(_))));
        let (there, _told) = proxy(Manner::Open).await;
        let long = there.with_user("x".repeat(256), "");
        let refused = kind(connect(&long, "192.0.2.7:443").await);
        assert_eq!(refused, io::ErrorKind::InvalidInput);
    }

    #[test]
    fn passwords_are_not_shown() {
        let shown = format!("{:?}", SocksProxy::new("h:1").with_user("alice", "secret"));
        assert!(
            shown.contains("alice") && !shown.contains("secret"),
            "{shown}"
        );
    }
}
