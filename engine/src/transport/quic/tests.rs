//! Two peers over the loopback interface, and whoever else sends there.

mod handshake;
mod limits;
mod road;
mod strangers;
mod stream;
mod stun;
mod ttl;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tokio::join;
use tokio::task::JoinSet;

use super::*;
use crate::transport::tls::SecureError;
use crate::transport::tls::tests::{Peers, no_certificate, sessions, words};
use crate::trust::{Identity, peer};
use rdv_proto::trust::Session;

const DEADLINE: Duration = Duration::from_secs(10);

type Secured = Result<QuicLane, SecureError>;

/// A bound socket of the loopback interface.
fn bound() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

fn socket() -> (QuicSocket, Datagrams) {
    QuicSocket::new(bound()).unwrap()
}

/// The sockets of both ends.
struct Sockets {
    client: QuicSocket,
    server: QuicSocket,
    /// Where the client dials.
    address: SocketAddr,
}

impl Sockets {
    fn new() -> Self {
        let (client, server) = (socket().0, socket().0);
        let address = server.local_addr().unwrap();
        Self {
            client,
            server,
            address,
        }
    }
}

async fn as_client(socket: &QuicSocket, to: SocketAddr, who: &(Identity, Session)) -> Secured {
    let (identity, session) = who;
    let connection = dial(socket, to, session, identity, DEADLINE).await?;
    bind(connection, session, 0, true, DEADLINE).await
}

async fn as_server(socket: &QuicSocket, who: &(Identity, Session)) -> Secured {
    let incoming = socket.incoming().await.unwrap();
    let (identity, session) = who;
    let connection = accept(incoming, session, identity, DEADLINE).await?;
    bind(connection, session, 0, false, DEADLINE).await
}

/// The answerer dials, as it does in earnest.
async fn connect(sockets: &Sockets, peers: &Peers) -> (Secured, Secured) {
    join!(
        as_client(&sockets.client, sockets.address, &peers.answerer),
        as_server(&sockets.server, &peers.proposer)
    )
}

/// The door as a driver keeps it: whoever knocks is tried at once, beside the others. The first who belongs here.
async fn door(socket: &QuicSocket, peers: &Arc<Peers>) -> QuicLane {
    let mut tried = JoinSet::new();
    loop {
        tokio::select! {
            incoming = socket.incoming() => {
                let (incoming, peers) = (incoming.unwrap(), peers.clone());
                tried.spawn(async move {
                    let (identity, session) = &peers.proposer;
                    let let_in = accept(incoming, session, identity, DEADLINE).await?;
                    bind(let_in, session, 0, false, DEADLINE).await
                });
            }
            Some(ended) = tried.join_next() => if let Ok(lane) = ended.unwrap() {
                return lane;
            }
        }
    }
}

/// Lanes of both ends: of the one that dialled, and of the other.
async fn lanes(sockets: &Sockets) -> (QuicLane, QuicLane) {
    let (one, other) = connect(sockets, &Peers::with_code()).await;
    (one.unwrap(), other.unwrap())
}
