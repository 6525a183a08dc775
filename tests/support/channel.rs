//! A signalling channel in memory that is listened to, and meddled with on its way.

use std::sync::Arc;

use bytes::Bytes;
use rdv::ScreenName;
use rdv::signaling::memory::MemoryChannel;
use rdv::signaling::{BoxFuture, Incoming, RelayDirectory, RelayInfo, Signaling, SignalingError};
use rdv_proto::wire::rendezvous::{Cookie, Message, MessageKind, tag};
use rdv_proto::wire::signal::Signal;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::pair::edited;

/// What becomes of a message on its way.
pub type Edit = fn(&Message) -> Signal;

/// One member's channel.
pub struct Meddled {
    inner: MemoryChannel,
    edit: Edit,
    said: Said,
    knows: Option<Vec<Uuid>>,
    restarted: tokio::sync::Mutex<mpsc::UnboundedReceiver<ScreenName>>,
}

/// What a member has said, before anybody meddled with it: `P1`, `A`, `C1`, `N10` and so on. Cheap to clone.
#[derive(Clone)]
pub struct Said(Arc<watch::Sender<Vec<Signal>>>);

impl Said {
    /// All of it in short.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        self.0.borrow().iter().map(word).collect()
    }

    /// Waits until as much was said, and compares.
    ///
    /// # Panics
    /// If something else was said.
    pub async fn assert(&self, words: &[&str]) {
        let mut said = self.0.subscribe();
        let all = said.wait_for(|said| said.len() >= words.len()).await;
        drop(all.expect("the channel is there"));
        assert_eq!(self.words(), words);
    }

    /// Waits until that was said.
    pub async fn wait_for(&self, wanted: &str) -> Signal {
        let mut said = self.0.subscribe();
        let all = said
            .wait_for(|said| said.iter().any(|signal| word(signal) == wanted))
            .await
            .expect("the channel is there");
        let mut all = all.iter();
        all.find(|signal| word(signal) == wanted)
            .cloned()
            .expect("it was said")
    }
}

fn word(signal: &Signal) -> String {
    match signal {
        Signal::Rendezvous(message) => match (message.kind, message.sequence()) {
            (MessageKind::PROPOSE, Some(number)) => format!("P{}", number.get()),
            (MessageKind::CANCEL, _) => format!("C{}", message.cancel_reason().0),
            (MessageKind::ACCEPT, _) => "A".into(),
            _ => "?".into(),
        },
        Signal::ClientError { .. } => {
            format!("N{}", signal.nak().map_or(0xFFFF, |nak| nak.0))
        }
    }
}

impl Meddled {
    /// Everything that is said here passes through `edit`.
    #[must_use]
    pub fn new(inner: MemoryChannel, edit: Edit) -> (Self, Said) {
        let said = Said(Arc::new(watch::Sender::new(Vec::new())));
        let (_, restarted) = mpsc::unbounded_channel();
        let channel = Self {
            inner,
            restarted: tokio::sync::Mutex::new(restarted),
            edit,
            said: said.clone(),
            knows: None,
        };
        (channel, said)
    }

    /// The channel tells who has signed on anew.
    #[must_use]
    pub fn telling_restarts(mut self) -> (Self, mpsc::UnboundedSender<ScreenName>) {
        let (out, restarted) = mpsc::unbounded_channel();
        self.restarted = tokio::sync::Mutex::new(restarted);
        (self, out)
    }

    /// The channel says that everybody has these capabilities.
    #[must_use]
    pub fn saying_capabilities(mut self, capabilities: Vec<Uuid>) -> Self {
        self.knows = Some(capabilities);
        self
    }
}

impl Signaling for Meddled {
    fn local_name(&self) -> ScreenName {
        self.inner.local_name()
    }

    fn send(
        &self,
        to: ScreenName,
        body: Bytes,
        host_ack: bool,
    ) -> BoxFuture<'_, Result<(), SignalingError>> {
        let mut body = body;
        if let Ok(signal) = Signal::decode(body.clone()) {
            if let Signal::Rendezvous(message) = &signal {
                body = (self.edit)(message).encode();
            }
            self.said.0.send_modify(|said| said.push(signal));
        }
        self.inner.send(to, body, host_ack)
    }

    fn recv(&self) -> BoxFuture<'_, Result<Incoming, SignalingError>> {
        Box::pin(async move {
            let mut restarted = self.restarted.lock().await;
            tokio::select! {
                biased;
                Some(peer) = restarted.recv() => Ok(Incoming::NewSession { peer }),
                incoming = self.inner.recv() => incoming,
            }
        })
    }

    fn capabilities(
        &self,
        _peer: &ScreenName,
    ) -> BoxFuture<'_, Result<Option<Vec<Uuid>>, SignalingError>> {
        Box::pin(std::future::ready(Ok(self.knows.clone())))
    }
}

impl RelayDirectory for Meddled {
    fn relay(&self) -> BoxFuture<'_, Result<Option<RelayInfo>, SignalingError>> {
        self.inner.relay()
    }

    fn relay_for(
        &self,
        cookie: Cookie,
        avoid: Vec<String>,
    ) -> BoxFuture<'_, Result<Option<RelayInfo>, SignalingError>> {
        self.inner.relay_for(cookie, avoid)
    }
}

/// Passes everything on.
#[must_use]
pub fn honest(message: &Message) -> Signal {
    Signal::Rendezvous(message.clone())
}

/// Takes the request for TLS out, so that both ends believe the other to be an old client.
#[must_use]
pub fn without_tls(message: &Message) -> Signal {
    edited(message, |params| {
        params.remove_all(tag::REQUEST_SECURE);
    })
}

/// Names a port in first proposals at which nobody can be reached.
#[must_use]
pub fn first_unreachable(message: &Message) -> Signal {
    match message.sequence() {
        Some(number) if number.get() == 1 => unreachable(message),
        _ => honest(message),
    }
}

/// The same, without TLS.
#[must_use]
pub fn first_unreachable_without_tls(message: &Message) -> Signal {
    let Signal::Rendezvous(message) = without_tls(message) else {
        return without_tls(message);
    };
    first_unreachable(&message)
}

/// Names a port in all proposals at which nobody can be reached.
#[must_use]
pub fn all_unreachable(message: &Message) -> Signal {
    match message.sequence() {
        Some(_) if !message.use_ars() => unreachable(message),
        _ => honest(message),
    }
}

/// The same, without TLS.
#[must_use]
pub fn all_unreachable_without_tls(message: &Message) -> Signal {
    let Signal::Rendezvous(message) = without_tls(message) else {
        return without_tls(message);
    };
    all_unreachable(&message)
}

/// Port 1 is never dialled (candidate rules), so that the next method comes at once.
fn unreachable(message: &Message) -> Signal {
    edited(message, |params| {
        params.remove_all(tag::ADDR_LIST);
        params.remove_all(tag::PORT_XOR);
        for tlv in params.0.iter_mut().filter(|tlv| tlv.tag == tag::PORT) {
            tlv.value = Bytes::from_static(&[0, 1]);
        }
    })
}
