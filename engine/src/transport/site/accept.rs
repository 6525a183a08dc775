//! Who comes in: the accept loops of a site.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::SiteEvent;
use super::open::Crossings;
use crate::transport::quic::QuicSocket;

/// How long a listener rests after an error.
const PAUSE: Duration = Duration::from_millis(50);

/// One task per socket; dropped, the listeners are closed.
#[derive(Debug)]
pub(super) struct AcceptLoops(JoinSet<()>);

impl AcceptLoops {
    pub(super) fn start(
        listeners: Vec<TcpListener>,
        udp: &[QuicSocket],
        crossings: &Crossings,
        out: &mpsc::Sender<SiteEvent>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        for listener in listeners {
            tasks.spawn(tcp(listener, crossings.clone(), out.clone()));
        }
        for socket in udp {
            tasks.spawn(quic(socket.clone(), out.clone()));
        }
        Self(tasks)
    }

    pub(super) fn stop(&mut self) {
        self.0.abort_all();
    }
}

async fn tcp(listener: TcpListener, crossings: Crossings, out: mpsc::Sender<SiteEvent>) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let Some(stream) = crossings.meet(from, stream) else {
                    continue;
                };
                if out.send(SiteEvent::Tcp { stream, from }).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // Out of descriptors, or the connection died in the queue: give others a moment.
                tracing::debug!(%error, "accept failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn quic(socket: QuicSocket, out: mpsc::Sender<SiteEvent>) {
    while let Some(incoming) = socket.incoming().await {
        if out.send(SiteEvent::Quic(incoming)).await.is_err() {
            return;
        }
    }
}
