//! Joining the relay session of a peer, by whichever address of the relay works from here.
//!
//! The peer names the address under which *it* reached the relay. That need not be one that we can reach: it may be IPv6 where
//! we have none, or lie in a network of the peer's. Our own host may know the same relay by another address, so that one is
//! tried, too, if it has the same port: the ticket is not for other relays. One that is another all the same does not know the
//! session and says so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::rendezvous::{Config, RelayAddress, RelayCandidate};
use rdv_proto::wire::text::ScreenName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

use super::ars::{self, ArsError};
use super::connect::Route;
use crate::signaling::{RelayDirectory, RelayInfo};

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
    /// The way to any relay.
    pub(crate) route: Route,
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
        let address = address.to_string();
        let ticket = match &self.relay.ticket {
            Some(ticket) => Some(ticket.clone()),
            // An old client has none to give. At our own relay ours is good.
            None => self
                .own()
                .await
                .filter(|own| own.address == address)
                .and_then(|own| own.ticket),
        };
        Ok(self.at(&address, ticket).await?)
    }

    /// At the address that our own host gave us, if it is another.
    async fn at_own(&self) -> Option<TcpStream> {
        let own = self.own().await?;
        let named = self.relay.address.to_string();
        if own.address == named || port(&own.address) != port(&named) {
            return None;
        }
        let ticket = self.relay.ticket.clone().or(own.ticket);
        self.at(&own.address, ticket).await.ok()
    }

    /// The relay of our own host. Where the peer gave no ticket, ours has to be for this very session.
    async fn own(&self) -> Option<RelayInfo> {
        let directory = self.directory.as_ref()?;
        let own = match self.relay.ticket {
            Some(_) => directory.relay(),
            None => directory.relay_for(self.relay.cookie, Vec::new()),
        };
        own.await.ok().flatten()
    }

    async fn at(&self, address: &str, ticket: Option<Bytes>) -> Result<TcpStream, ArsError> {
        let RelayCandidate { token, cookie, .. } = &self.relay;
        ars::join(
            &self.route,
            address,
            &self.name,
            *token,
            *cookie,
            self.service,
            ticket,
        )
        .await
    }
}

fn port(address: &str) -> Option<&str> {
    address.rsplit_once(':').map(|(_, port)| port)
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
    use rdv_proto::wire::ars::{Command, ErrorCode, Frame, TLV_TICKET};
    use rdv_proto::wire::rendezvous::Cookie;
    use rdv_proto::wire::service;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::oneshot;

    use super::*;
    use crate::signaling::{BoxFuture, SignalingError};

    const OWN_TICKET: Bytes = Bytes::from_static(b"ours");

    struct Own(SocketAddr, Option<Bytes>);

    impl RelayDirectory for Own {
        fn relay(&self) -> BoxFuture<'_, Result<Option<RelayInfo>, SignalingError>> {
            let info = RelayInfo {
                address: self.0.to_string(),
                ticket: self.1.clone(),
            };
            Box::pin(std::future::ready(Ok(Some(info))))
        }
    }

    /// Two addresses of one machine with one port: where the peer and where our own host reach the relay.
    async fn doors() -> (TcpListener, TcpListener) {
        loop {
            let named = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = named.local_addr().unwrap().port();
            if let Ok(own) = TcpListener::bind(("127.0.0.2", port)).await {
                return (named, own);
            }
        }
    }

    /// A relay that takes one JOIN and gives this answer when it is told to; says when the client has hung up.
    fn relay(door: TcpListener, answer: Command) -> (oneshot::Sender<()>, oneshot::Receiver<()>) {
        let (go, told) = oneshot::channel();
        let (gone, left) = oneshot::channel();
        tokio::spawn(async move {
            let (mut stream, _) = door.accept().await.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).await.unwrap();
            let mut rest = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut rest).await.unwrap();
            let _ = told.await;
            let answer = Frame::new(answer).encode();
            stream.write_all(&answer).await.unwrap();
            let _ = stream.read(&mut [0]).await;
            let _ = gone.send(());
        });
        (go, left)
    }

    fn at(door: &TcpListener) -> SocketAddr {
        door.local_addr().unwrap()
    }

    fn join(named: SocketAddr, own: SocketAddr) -> Join {
        Join {
            route: Route::default(),
            relay: RelayCandidate {
                address: RelayAddress::Socket(named),
                token: 7,
                cookie: Cookie([1; 8]),
                ticket: Some(Bytes::from_static(b"ticket")),
            },
            config: Arc::default(),
            directory: Some(Arc::new(Own(own, Some(OWN_TICKET)))),
            name: ScreenName::new("bob").unwrap(),
            service: service::NATIVE,
        }
    }

    #[tokio::test]
    async fn the_address_that_the_peer_named_is_enough() {
        let (named, own) = doors().await;
        let (there, join) = (at(&named), join(at(&named), at(&own)));
        let (go, _) = relay(named, Command::Ready);
        go.send(()).unwrap();
        let stream = join.run().await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), there);
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_reached_is_replaced_by_the_one_of_our_own_host() {
        let (named, own) = doors().await;
        let (there, join) = (at(&own), join(at(&named), at(&own)));
        drop(named);
        let (go, _) = relay(own, Command::Ready);
        go.send(()).unwrap();
        let stream = join.run().await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), there);
    }

    #[tokio::test]
    async fn an_address_that_is_silent_is_overtaken() {
        let (named, own) = doors().await;
        let (there, join) = (at(&own), join(at(&named), at(&own)));
        let (_silent, _) = relay(named, Command::Ready);
        let (go, _) = relay(own, Command::Ready);
        go.send(()).unwrap();
        let stream = join.run().await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), there);
    }

    #[tokio::test]
    async fn another_relay_that_does_not_know_the_session_does_no_harm() {
        let (named, own) = doors().await;
        let (there, join) = (at(&named), join(at(&named), at(&own)));
        let (go_on, _) = relay(named, Command::Ready);
        let (go, refused) = relay(own, Command::Error(ErrorCode::BAD_REQUEST));
        let joining = tokio::spawn(async move { join.run().await });
        go.send(()).unwrap();
        refused.await.unwrap();
        go_on.send(()).unwrap();
        assert_eq!(joining.await.unwrap().unwrap().peer_addr().unwrap(), there);
    }

    #[tokio::test]
    async fn a_relay_with_another_port_is_another_relay_and_gets_no_ticket() {
        let (named, _) = doors().await;
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let join = join(at(&named), at(&other));
        drop(named);
        let failed = join.run().await;
        assert!(
            matches!(failed, Err(JoinError::Relay(ArsError::Unreachable(_)))),
            "{failed:?}"
        );
        let knocked = tokio::time::timeout(Duration::ZERO, other.accept()).await;
        assert!(knocked.is_err(), "nobody was to come");
    }

    /// The ticket of the next JOIN at `door`, and what it is answered with.
    async fn ticket(door: TcpListener) -> Option<Bytes> {
        let (mut stream, _) = door.accept().await.unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).await.unwrap();
        let mut frame = bytes::BytesMut::from(&length[..]);
        frame.resize(2 + usize::from(u16::from_be_bytes(length)), 0);
        stream.read_exact(&mut frame[2..]).await.unwrap();
        let ready = Frame::new(Command::Ready).encode();
        stream.write_all(&ready).await.unwrap();
        match Frame::decode(&mut frame).unwrap().unwrap().command {
            Command::Join { tlvs, .. } => tlvs.first(TLV_TICKET).cloned(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn with_an_old_client_our_own_ticket_is_shown_to_our_own_relay_alone() {
        for ours in [true, false] {
            let (named, own) = doors().await;
            let own = if ours { at(&named) } else { at(&own) };
            let mut join = join(at(&named), own);
            join.relay.ticket = None;
            let (stream, shown) = tokio::join!(join.run(), ticket(named));
            stream.unwrap();
            assert_eq!(shown, ours.then_some(OWN_TICKET));
        }
    }
}
