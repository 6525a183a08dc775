//! The ARS relay: connections come in, two of them are joined, bytes pass. It never dials (S-36).
//!
//! [`Pairing`](rdv_proto::relay::Pairing) decides; the desk is the one task that owns it; each connection has a task of
//! its own, and of a pair the creator's task copies.

mod desk;
mod meeting;
mod pipe;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use rdv_proto::pace::Pace;
use rdv_proto::relay::{Access, TicketKey};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::info;

pub(crate) use desk::Desk;
pub(crate) use meeting::Meeting;

use crate::config::RelayConfig;
use crate::error::HostError;
use crate::gate::{Gate, GateLimits};
use crate::listener::{accept, addresses, listen};

/// New connections per address.
const CONNECTIONS: Pace = Pace::new(60, std::time::Duration::from_secs(3));
/// How long the pairs may go on after the end was asked for.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(2);

/// A relay without a host, that listens but does not answer yet.
pub struct Relay {
    listeners: Vec<TcpListener>,
    meeting: Meeting,
    desk: Desk,
}

impl Relay {
    /// Opens the listeners.
    ///
    /// # Errors
    /// [`HostError`]; a relay that is neither open nor has a key to check tickets with is one.
    pub async fn bind(config: RelayConfig) -> Result<Self, HostError> {
        let access = match (config.open, config.ticket_key) {
            (true, _) => Access::Open,
            (false, Some(key)) => Access::Tickets(TicketKey::new(key)),
            (false, None) => return Err(HostError::NoTicketKey),
        };
        let listeners = listen(&config.listen)?;
        let (meeting, desk) = Meeting::new(access, config.limits, config.public_address);
        Ok(Self {
            listeners,
            meeting,
            desk,
        })
    }

    /// Where clients connect to, with the ports that the system picked.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        addresses(&self.listeners)
    }

    /// Serves until `shutdown` resolves; pairs get two seconds to end.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let mut loops = JoinSet::new();
        loops.spawn(self.desk.run(stopped.clone()));
        for listener in self.listeners {
            loops.spawn(serve(listener, self.meeting.clone(), stopped.clone()));
        }
        info!("relay is up");
        shutdown.await;
        stop.send_replace(true);
        timeout(FAREWELL, async {
            while loops.join_next().await.is_some() {}
        })
        .await
        .ok();
        info!("relay is down");
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay")
            .field("local_addrs", &self.local_addrs())
            .finish_non_exhaustive()
    }
}

/// Takes connections of one listener.
pub(crate) async fn serve(listener: TcpListener, meeting: Meeting, stop: watch::Receiver<bool>) {
    // How many wait for their first command is for the pairing to count.
    let gate = Gate::new(GateLimits {
        connections: CONNECTIONS,
        per_address: usize::MAX,
        in_all: usize::MAX,
    });
    accept(listener, stop, |stream, peer, arrived| {
        let _paced = Arc::clone(&gate).enter(arrived, peer.ip())?;
        let local = stream.local_addr().ok()?;
        let meeting = meeting.clone();
        Some(async move { meeting.serve(stream, peer, local).await })
    })
    .await;
}
