//! Signalling inside one process: a hub that delivers between its members at once, in order, without a host.
//!
//! For tests, and for embedders that join two engines directly. Like a host it answers a message to nobody with
//! [`Incoming::Undelivered`] code 4, and one to a member that does not keep up with code 0x0C.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::signal::Signal;
use rdv_proto::wire::text::ScreenName;
use tokio::sync::mpsc;

use super::{BoxFuture, Incoming, RelayDirectory, RelayInfo, Signaling, SignalingError};

/// Messages that wait for one member; as a host queues for one client (`security.md` 6.2).
const QUEUE_MESSAGES: usize = 256;
/// General SNAC error: the recipient is not signed on.
const NOT_LOGGED_ON: u16 = 0x04;
/// General SNAC error: the recipient's queue overflowed.
const RESPONSES_LOST: u16 = 0x0C;

#[derive(Default)]
struct Members {
    by_name: BTreeMap<ScreenName, mpsc::Sender<Incoming>>,
    relay: Option<RelayInfo>,
}

/// Where members meet. Cheap to clone; all clones are the same hub.
#[derive(Clone, Default)]
pub struct MemoryHub {
    members: Arc<Mutex<Members>>,
}

impl MemoryHub {
    /// An empty hub without a relay.
    pub fn new() -> Self {
        Self::default()
    }

    /// Signs `name` on. A member of that name that is there already is signed off, as on a host with one session per
    /// account: its `recv` ends with [`SignalingError::Closed`].
    pub fn join(&self, name: ScreenName) -> MemoryChannel {
        let (queue, arrived) = mpsc::channel(QUEUE_MESSAGES);
        self.lock().by_name.insert(name.clone(), queue.clone());
        MemoryChannel {
            hub: self.clone(),
            name,
            queue: queue.downgrade(),
            arrived: tokio::sync::Mutex::new(arrived),
        }
    }

    /// Two members of a new hub.
    pub fn pair(a: ScreenName, b: ScreenName) -> (MemoryChannel, MemoryChannel) {
        let hub = Self::new();
        (hub.join(a), hub.join(b))
    }

    /// What members are told when they ask for a relay.
    pub fn set_relay(&self, relay: Option<RelayInfo>) {
        self.lock().relay = relay;
    }

    /// Signs `name` off, as when a connection drops.
    pub fn drop_member(&self, name: &ScreenName) {
        self.lock().by_name.remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message into the queue of `to`; the general error code if that cannot be.
    fn deliver(&self, from: &ScreenName, to: &ScreenName, body: Bytes) -> Result<(), u16> {
        let members = self.lock();
        let queue = members.by_name.get(to).ok_or(NOT_LOGGED_ON)?;
        queue
            .try_send(Incoming::Message {
                from: from.clone(),
                body,
            })
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => RESPONSES_LOST,
                mpsc::error::TrySendError::Closed(_) => NOT_LOGGED_ON,
            })
    }
}

/// One member of a [`MemoryHub`]. Signs off when dropped.
pub struct MemoryChannel {
    hub: MemoryHub,
    name: ScreenName,
    /// Our own queue, for errors; weak, so that it closes when the hub lets go of it.
    queue: mpsc::WeakSender<Incoming>,
    arrived: tokio::sync::Mutex<mpsc::Receiver<Incoming>>,
}

impl Signaling for MemoryChannel {
    fn local_name(&self) -> ScreenName {
        self.name.clone()
    }

    fn send(
        &self,
        to: ScreenName,
        body: Bytes,
        _host_ack: bool,
    ) -> BoxFuture<'_, Result<(), SignalingError>> {
        Box::pin(async move {
            let cookie = cookie_of(&body)?;
            let own_queue = self.queue.upgrade().ok_or(SignalingError::Closed)?;
            if let Err(code) = self.hub.deliver(&self.name, &to, body) {
                // Own queue full: whoever does not read learns nothing, as on a host.
                let _ = own_queue.try_send(Incoming::Undelivered { to, cookie, code });
            }
            Ok(())
        })
    }

    fn recv(&self) -> BoxFuture<'_, Result<Incoming, SignalingError>> {
        Box::pin(async move {
            self.arrived
                .lock()
                .await
                .recv()
                .await
                .ok_or(SignalingError::Closed)
        })
    }
}

impl RelayDirectory for MemoryChannel {
    fn relay(&self) -> BoxFuture<'_, Result<Option<RelayInfo>, SignalingError>> {
        Box::pin(async move { Ok(self.hub.lock().relay.clone()) })
    }
}

impl Drop for MemoryChannel {
    fn drop(&mut self) {
        let mut members = self.hub.lock();
        let ours = match (members.by_name.get(&self.name), self.queue.upgrade()) {
            (Some(current), Some(own)) => current.same_channel(&own),
            _ => false,
        };
        if ours {
            members.by_name.remove(&self.name);
        }
    }
}

fn cookie_of(body: &Bytes) -> Result<Cookie, SignalingError> {
    Ok(Signal::decode(body.clone())?.cookie())
}

#[cfg(test)]
mod tests {
    use rdv_proto::wire::rendezvous::NakCode;

    use super::*;

    fn name(text: &str) -> ScreenName {
        ScreenName::new(text).unwrap()
    }

    fn signal(last: u8) -> Bytes {
        Signal::client_error(Cookie([0, 0, 0, 0, 0, 0, 0, last]), NakCode::DENIED).encode()
    }

    #[tokio::test]
    async fn messages_arrive_in_order_with_the_senders_name() {
        let (alice, bob) = MemoryHub::pair(name("Alice"), name("bob"));
        for last in 0..3 {
            alice
                .send(name("B O B"), signal(last), false)
                .await
                .unwrap();
        }
        for last in 0..3 {
            let arrived = bob.recv().await.unwrap();
            assert_eq!(
                arrived,
                Incoming::Message {
                    from: name("alice"),
                    body: signal(last)
                }
            );
        }
    }

    #[tokio::test]
    async fn a_message_to_nobody_comes_back_with_its_cookie() {
        let alice = MemoryHub::new().join(name("alice"));
        alice.send(name("7"), signal(9), true).await.unwrap();
        let cookie = Cookie([0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(
            alice.recv().await.unwrap(),
            Incoming::Undelivered {
                to: name("7"),
                cookie,
                code: 4
            }
        );
    }

    #[tokio::test]
    async fn a_member_that_does_not_read_costs_bounded_memory() {
        let (alice, bob) = MemoryHub::pair(name("alice"), name("bob"));
        for _ in 0..QUEUE_MESSAGES {
            alice.send(name("bob"), signal(1), false).await.unwrap();
        }
        alice.send(name("bob"), signal(2), false).await.unwrap();
        let cookie = Cookie([0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(
            alice.recv().await.unwrap(),
            Incoming::Undelivered {
                to: name("bob"),
                cookie,
                code: 0x0C
            }
        );
        drop(bob);
    }

    #[tokio::test]
    async fn whoever_leaves_or_is_displaced_is_closed() {
        let hub = MemoryHub::new();
        let first = hub.join(name("alice"));
        let second = hub.join(name("alice"));
        assert!(matches!(first.recv().await, Err(SignalingError::Closed)));
        // The one that was displaced must not sign the newer one off.
        drop(first);
        second.send(name("alice"), signal(1), false).await.unwrap();
        assert!(matches!(second.recv().await, Ok(Incoming::Message { .. })));
        hub.drop_member(&name("alice"));
        assert!(matches!(second.recv().await, Err(SignalingError::Closed)));
        assert!(matches!(
            second.send(name("x"), signal(1), false).await,
            Err(SignalingError::Closed)
        ));
    }

    #[tokio::test]
    async fn bytes_that_are_no_signal_are_refused() {
        let alice = MemoryHub::new().join(name("alice"));
        let sent = alice
            .send(name("bob"), Bytes::from_static(b"\x77"), false)
            .await;
        assert!(matches!(sent, Err(SignalingError::NotASignal(_))));
    }

    #[test]
    fn a_ticket_is_not_printed() {
        let relay = RelayInfo {
            address: "r:1".into(),
            ticket: Some(Bytes::from_static(b"secret")),
        };
        assert_eq!(
            format!("{relay:?}"),
            r#"RelayInfo { address: "r:1", ticket: Some("***") }"#
        );
    }
}
