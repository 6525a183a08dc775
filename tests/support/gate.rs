//! A channel whose incoming messages wait at a gate.

use bytes::Bytes;
use rdv::ScreenName;
use rdv::signaling::{BoxFuture, Incoming, Signaling, SignalingError};
use tokio::sync::watch;

/// What opens the gate.
pub struct Gatekeeper(watch::Sender<bool>);

impl Gatekeeper {
    /// Lets everything through from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }
}

/// A channel that sends as always but hands nothing over before the gate is open.
pub struct Gated<S> {
    channel: S,
    gate: watch::Receiver<bool>,
}

impl<S: Signaling> Gated<S> {
    /// Puts a closed gate before `channel`.
    pub fn new(channel: S) -> (Gatekeeper, Self) {
        let (keeper, gate) = watch::channel(false);
        (Gatekeeper(keeper), Self { channel, gate })
    }
}

impl<S: Signaling> Signaling for Gated<S> {
    fn local_name(&self) -> ScreenName {
        self.channel.local_name()
    }

    fn send(
        &self,
        to: ScreenName,
        body: Bytes,
        host_ack: bool,
    ) -> BoxFuture<'_, Result<(), SignalingError>> {
        self.channel.send(to, body, host_ack)
    }

    fn recv(&self) -> BoxFuture<'_, Result<Incoming, SignalingError>> {
        Box::pin(async move {
            let mut gate = self.gate.clone();
            // A gatekeeper that is gone has left the gate as it is.
            if gate.wait_for(|open| *open).await.is_err() {
                std::future::pending::<()>().await;
            }
            self.channel.recv().await
        })
    }
}
