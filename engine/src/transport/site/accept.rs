//! Who comes in: the accept loops of a site.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::SiteEvent;
use super::open::Crossings;
use crate::transport::quic::QuicSocket;

/// How long a listener rests after an error.
const PAUSE: Duration = Duration::from_millis(50);

/// One task per socket; dropped, the listeners are closed.
#[derive(Debug)]
pub(super) struct AcceptLoops {
    tasks: JoinSet<()>,
    doors: Doors,
}

/// The listeners of a site, to be closed by whoever cannot wait for the site to close. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Doors(Arc<[AbortHandle]>);

impl Doors {
    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        for door in self.0.iter() {
            door.abort();
        }
    }
}

impl AcceptLoops {
    pub(super) fn start(
        listeners: Vec<TcpListener>,
        udp: &[QuicSocket],
        crossings: &Crossings,
        out: &mpsc::Sender<SiteEvent>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let mut doors = Vec::new();
        for listener in listeners {
            doors.push(tasks.spawn(tcp(listener, crossings.clone(), out.clone())));
        }
        for socket in udp {
            doors.push(tasks.spawn(quic(socket.clone(), out.clone())));
        }
        let doors = Doors(doors.into());
        Self { tasks, doors }
    }

    pub(super) fn stop(&mut self) {
        self.tasks.abort_all();
    }

    pub(super) fn doors(&self) -> Doors {
        self.doors.clone()
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
