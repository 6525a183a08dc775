//! A SOCKS5 proxy as a wall: it decides which connections of one machine get out, how fast they are, and when they break.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes that pass at once.
const PIECE: usize = 64 * 1024;

/// What becomes of connections to peers. Those to the relay always pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToPeers {
    /// They pass.
    Open,
    /// They are refused, and those that are there break.
    Cut,
}

/// A running proxy; dropped, it ends with its runtime.
#[derive(Debug)]
pub struct Wall {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    relay: Option<SocketAddr>,
    to_peers: watch::Sender<ToPeers>,
    /// How many times all connections to peers were broken.
    breaks: watch::Sender<u64>,
    /// Bytes that went to and from peers, and over the relay.
    direct: watch::Sender<u64>,
    relayed: watch::Sender<u64>,
    /// Connections to peers that got through.
    opened: watch::Sender<u64>,
    /// The relay's pause after each piece.
    relay_pause: Duration,
}

impl Wall {
    /// A proxy on loopback. `relay_pause`: after each 64 KiB over the relay.
    ///
    /// # Panics
    /// If loopback has no port left.
    pub async fn build(
        relay: Option<SocketAddr>,
        to_peers: ToPeers,
        relay_pause: Duration,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State {
            relay,
            to_peers: watch::Sender::new(to_peers),
            breaks: watch::Sender::new(0),
            direct: watch::Sender::new(0),
            relayed: watch::Sender::new(0),
            opened: watch::Sender::new(0),
            relay_pause,
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let _ = state.serve(stream).await;
                });
            }
        });
        Self { address, state }
    }

    /// `HOST:PORT` of the proxy.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes what becomes of connections to peers.
    pub fn set(&self, to_peers: ToPeers) {
        self.state.to_peers.send_replace(to_peers);
        if to_peers == ToPeers::Cut {
            self.break_all();
        }
    }

    /// Breaks the connections to peers that are there.
    pub fn break_all(&self) {
        self.state.breaks.send_modify(|breaks| *breaks += 1);
    }

    /// Waits until so many bytes went straight to and from peers.
    pub async fn direct_bytes(&self, least: u64) {
        let mut direct = self.state.direct.subscribe();
        let _ = direct.wait_for(|bytes| *bytes >= least).await;
    }

    /// Waits until so many bytes went over the relay.
    pub async fn relayed_bytes(&self, least: u64) {
        let mut relayed = self.state.relayed.subscribe();
        let _ = relayed.wait_for(|bytes| *bytes >= least).await;
    }

    /// How many connections to peers got through.
    #[must_use]
    pub fn opened(&self) -> u64 {
        *self.state.opened.borrow()
    }
}

impl State {
    async fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut head = [0; 2];
        client.read_exact(&mut head).await?;
        let mut methods = vec![0; head[1].into()];
        client.read_exact(&mut methods).await?;
        client.write_all(&[5, 0]).await?;
        let mut request = [0; 4];
        client.read_exact(&mut request).await?;
        let to: SocketAddr = match request[3] {
            1 => (
                Ipv4Addr::from(client.read_u32().await?),
                client.read_u16().await?,
            )
                .into(),
            4 => (
                Ipv6Addr::from(client.read_u128().await?),
                client.read_u16().await?,
            )
                .into(),
            _ => return client.write_all(&[5, 8, 0, 1, 0, 0, 0, 0, 0, 0]).await,
        };
        let is_relay = self.relay == Some(to);
        let mut breaks = self.breaks.subscribe();
        let may = is_relay || *self.to_peers.borrow() == ToPeers::Open;
        let server = match may {
            true => TcpStream::connect(to).await.ok(),
            false => None,
        };
        let Some(server) = server else {
            return client.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await;
        };
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
        let (count, pause) = match is_relay {
            true => (&self.relayed, self.relay_pause),
            false => {
                self.opened.send_modify(|opened| *opened += 1);
                (&self.direct, Duration::ZERO)
            }
        };
        let (client_in, client_out) = client.into_split();
        let (server_in, server_out) = server.into_split();
        tokio::select! {
            _ = async {
                tokio::join!(
                    copy(client_in, server_out, count, pause),
                    copy(server_in, client_out, count, pause),
                )
            } => {}
            _ = breaks.changed(), if !is_relay => {}
        }
        Ok(())
    }
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    count: &watch::Sender<u64>,
    pause: Duration,
) {
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
        count.send_modify(|bytes| *bytes += length as u64);
        if !pause.is_zero() && length > PIECE / 4 {
            tokio::time::sleep(pause).await;
        }
    }
    let _ = to.shutdown().await;
}
