//! A road between two sockets on which things happen to datagrams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::udp::{Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::bound;

/// Carries datagrams between one client, which dials `address`, and a server. Dropped, it carries nothing any more.
pub(super) struct Road {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Road {
    /// `treat` says what becomes of a datagram: these datagrams in one batch, which the kernel may deliver as one buffer. All of a
    /// batch have one length, but for a shorter last one.
    pub(super) fn to(server: SocketAddr, treat: fn(Vec<u8>) -> Vec<Vec<u8>>) -> Self {
        Self::with_pause(server, treat, None)
    }

    /// A narrow road: each datagram of the client's takes so long.
    pub(super) fn narrow(server: SocketAddr, pause: Duration) -> Self {
        Self::with_pause(server, |datagram| vec![datagram], Some(pause))
    }

    fn with_pause(
        server: SocketAddr,
        treat: fn(Vec<u8>) -> Vec<Vec<u8>>,
        pause: Option<Duration>,
    ) -> Self {
        let (near, far) = (End::new(), End::new());
        let address = near.socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut client = None;
            let (mut one, mut other) = ([0; 8_192], [0; 8_192]);
            loop {
                tokio::select! {
                    came = near.socket.recv_from(&mut one) => {
                        let (length, from) = came.unwrap();
                        client = Some(from);
                        far.send(server, &treat(one[..length].to_vec())).await;
                        if let Some(pause) = pause {
                            tokio::time::sleep(pause).await;
                        }
                    }
                    came = far.socket.recv_from(&mut other) => {
                        let (length, _) = came.unwrap();
                        if let Some(client) = client {
                            near.send(client, &treat(other[..length].to_vec())).await;
                        }
                    }
                }
            }
        });
        Self { address, task }
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A socket that sends batches.
pub(super) struct End {
    pub(super) socket: Arc<UdpSocket>,
    state: UdpSocketState,
}

impl End {
    pub(super) fn new() -> Self {
        // Made for another socket: on this one datagrams are to come in one by one.
        let state = UdpSocketState::new((&bound()).into()).unwrap();
        let socket = bound();
        socket.set_nonblocking(true).unwrap();
        let socket = UdpSocket::from_std(socket).unwrap();
        Self {
            socket: socket.into(),
            state,
        }
    }

    pub(super) async fn send(&self, to: SocketAddr, batch: &[Vec<u8>]) {
        let Some(first) = batch.first() else { return };
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: &batch.concat(),
            segment_size: Some(first.len()),
            src_ip: None,
        };
        let send = || self.state.send((&*self.socket).into(), &transmit);
        self.socket
            .async_io(Interest::WRITABLE, send)
            .await
            .unwrap();
    }
}
