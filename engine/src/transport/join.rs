//! Joining the relay session of a peer, by whichever address of the relay works from here.
//!
//! The peer names the address under which *it* reached the relay. That need not be one that we can reach: it may be IPv6 where
//! we have none, or lie in a network of the peer's. Our own host may know the same relay by another address, so that one is
//! tried, too; a relay that is another one does not know the session and says so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rdv_proto::rendezvous::{Config, RelayAddress, RelayCandidate};
use rdv_proto::wire::text::ScreenName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

use super::ars::{self, ArsError};
use crate::signaling::RelayDirectory;

/// How long the peer's address is alone in the race.
const HEAD_START: Duration = Duration::from_millis(800);

/// Why no address of the relay led to the session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    /// The name of the relay stands for nothing.
    #[error("relay name: {0}")]
    Name(#[from] std::io::Error),
    /// What it stands for must not be dialled (`security.md` 6.3).
    #[error("the peer's relay has an address that is not dialled")]
    Refused,
    /// The relay.
    #[error("relay: {0}")]
    Relay(#[from] ArsError),
}

/// What it takes to join.
pub(crate) struct Join {
    pub(crate) relay: RelayCandidate,
    pub(crate) config: Arc<Config>,
    /// Where our own host's relay is to be had.
    pub(crate) directory: Option<Arc<dyn RelayDirectory>>,
    pub(crate) name: ScreenName,
    pub(crate) service: Uuid,
}

impl Join {
    /// The stream behind READY.
    pub(crate) async fn run(&self) -> Result<TcpStream, JoinError> {
        let named = self.at_named();
        tokio::pin!(named);
        let failed = match timeout(HEAD_START, &mut named).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => Some(error),
            Err(_still_trying) => None,
        };
        let own = self.at_own();
        tokio::pin!(own);
        if let Some(error) = failed {
            return own.await.ok_or(error);
        }
        let mut own_failed = false;
        loop {
            tokio::select! {
                named = &mut named => return match named {
                    Ok(stream) => Ok(stream),
                    Err(error) if own_failed => Err(error),
                    Err(error) => own.await.ok_or(error),
                },
                stream = &mut own, if !own_failed => match stream {
                    Some(stream) => return Ok(stream),
                    None => own_failed = true,
                },
            }
        }
    }

    /// At the address that the peer named.
    async fn at_named(&self) -> Result<TcpStream, JoinError> {
        let address = allowed(&self.relay.address, &self.config).await?;
        Ok(self.at(&address.to_string()).await?)
    }

    /// At the address that our own host gave us, if it is another.
    async fn at_own(&self) -> Option<TcpStream> {
        let own = self.directory.as_ref()?.relay().await.ok().flatten()?;
        if own.address == self.relay.address.to_string() {
            return None;
        }
        self.at(&own.address).await.ok()
    }

    async fn at(&self, address: &str) -> Result<TcpStream, ArsError> {
        let RelayCandidate {
            token,
            cookie,
            ticket,
            ..
        } = &self.relay;
        ars::join(
            address,
            &self.name,
            *token,
            *cookie,
            self.service,
            ticket.clone(),
        )
        .await
    }
}

/// The first address of the peer's relay that the candidate rules allow. The machine has judged literals; what a name stands
/// for is known only here.
async fn allowed(address: &RelayAddress, config: &Config) -> Result<SocketAddr, JoinError> {
    match address {
        RelayAddress::Socket(address) => Ok(*address),
        RelayAddress::Name { host, port } => tokio::net::lookup_host((host.as_str(), *port))
            .await?
            .find(|address| config.relay_allowed(*address))
            .ok_or(JoinError::Refused),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rdv_proto::wire::ars::{Command, ErrorCode, Frame};
    use rdv_proto::wire::rendezvous::Cookie;
    use rdv_proto::wire::service;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::oneshot;

    use super::*;
    use crate::signaling::{BoxFuture, RelayInfo, SignalingError};

    struct Own(SocketAddr);

    impl RelayDirectory for Own {
        fn relay(&self) -> BoxFuture<'_, Result<Option<RelayInfo>, SignalingError>> {
            let info = RelayInfo {
                address: self.0.to_string(),
                ticket: None,
            };
            Box::pin(std::future::ready(Ok(Some(info))))
        }
    }

    /// A relay that takes one JOIN and gives this answer when it is told to; says when the client has hung up.
    async fn relay(answer: Command) -> (SocketAddr, oneshot::Sender<()>, oneshot::Receiver<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (go, told) = oneshot::channel();
        let (gone, left) = oneshot::channel();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).await.unwrap();
            let mut rest = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut rest).await.unwrap();
            let _ = told.await;
            stream
                .write_all(&Frame::new(answer).encode())
                .await
                .unwrap();
            let _ = stream.read(&mut [0]).await;
            let _ = gone.send(());
        });
        (address, go, left)
    }

    /// An address where nothing listens.
    async fn nowhere() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap()
    }

    fn join(named: SocketAddr, own: SocketAddr) -> Join {
        Join {
            relay: RelayCandidate {
                address: RelayAddress::Socket(named),
                token: 7,
                cookie: Cookie([1; 8]),
                ticket: Some(Bytes::from_static(b"ticket")),
            },
            config: Arc::default(),
            directory: Some(Arc::new(Own(own))),
            name: ScreenName::new("bob").unwrap(),
            service: service::NATIVE,
        }
    }

    #[tokio::test]
    async fn the_address_that_the_peer_named_is_enough() {
        let (named, go, _) = relay(Command::Ready).await;
        go.send(()).unwrap();
        let stream = join(named, nowhere().await).run().await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), named);
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_reached_is_replaced_by_the_one_of_our_own_host() {
        let (own, go, _) = relay(Command::Ready).await;
        go.send(()).unwrap();
        let stream = join(nowhere().await, own).run().await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), own);
    }

    #[tokio::test]
    async fn an_address_that_is_silent_is_overtaken() {
        let (named, _silent, _) = relay(Command::Ready).await;
        let (own, go, _) = relay(Command::Ready).await;
        go.send(()).unwrap();
        let stream = join(named, own).run().await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), own);
    }

    #[tokio::test]
    async fn another_relay_that_does_not_know_the_session_does_no_harm() {
        let (named, go_on, _) = relay(Command::Ready).await;
        let (own, go, refused) = relay(Command::Error(ErrorCode::BAD_REQUEST)).await;
        let joining = tokio::spawn(async move { join(named, own).run().await });
        go.send(()).unwrap();
        refused.await.unwrap();
        go_on.send(()).unwrap();
        assert_eq!(joining.await.unwrap().unwrap().peer_addr().unwrap(), named);
    }

    #[tokio::test]
    async fn no_address_at_all_is_told_as_the_named_one_failed() {
        let failed = join(nowhere().await, nowhere().await).run().await;
        assert!(
            matches!(failed, Err(JoinError::Relay(ArsError::Unreachable(_)))),
            "{failed:?}"
        );
    }
}
