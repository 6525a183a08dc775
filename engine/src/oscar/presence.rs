//! What the host says about other users: who comes, who goes, and what their clients can do.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdv_proto::wire::icbm::{UserInfo, user_tlv};
use rdv_proto::wire::text::ScreenName;
use tokio::sync::broadcast;
use tokio::time::Instant;
use uuid::Uuid;

/// How long somebody's capabilities are believed: clients come, go and change.
const FRESH: Duration = Duration::from_secs(10);
/// Users whose capabilities are remembered.
const USERS_MAX: usize = 256;
/// Users whose sign-on time is remembered.
const SESSIONS_MAX: usize = 1024;
/// Capabilities of one user that are remembered; clients have a dozen.
const CAPABILITIES_MAX: usize = 128;
/// Events that wait for a listener; one that falls behind misses the oldest.
const EVENTS: usize = 64;

/// Somebody came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresenceEvent {
    /// Signed on, or changed what its client can do.
    Arrived {
        /// Who. Foreign text.
        name: ScreenName,
        /// What its clients can do, together.
        capabilities: Vec<Uuid>,
    },
    /// Signed off.
    Departed {
        /// Who. Foreign text.
        name: ScreenName,
    },
}

/// Shared by the connections of an account that follow each other, and its face.
#[derive(Debug)]
pub(super) struct Presence {
    known: Mutex<BTreeMap<ScreenName, (Vec<Uuid>, Instant)>>,
    /// When those who wrote to us had signed on, in Unix seconds.
    sessions: Mutex<BTreeMap<ScreenName, u32>>,
    events: broadcast::Sender<PresenceEvent>,
}

impl Presence {
    pub(super) fn new() -> Self {
        Self {
            known: Mutex::default(),
            sessions: Mutex::default(),
            events: broadcast::Sender::new(EVENTS),
        }
    }

    pub(super) fn events(&self) -> broadcast::Receiver<PresenceEvent> {
        self.events.subscribe()
    }

    /// 03/0B.
    pub(super) fn arrived(&self, user: &UserInfo) {
        let capabilities = cut(user.capabilities());
        self.learn(&user.name, capabilities.clone());
        let name = user.name.clone();
        // Nobody may listen.
        let _ = self
            .events
            .send(PresenceEvent::Arrived { name, capabilities });
    }

    /// 03/0C.
    pub(super) fn departed(&self, name: &ScreenName) {
        self.known().remove(name);
        let name = name.clone();
        let _ = self.events.send(PresenceEvent::Departed { name });
    }

    /// The sender of a message, who says what its client can do or does not say. Gives whether it has signed on anew since it last wrote:
    /// old clients count their cookies from the same number each time, so nothing of before may be taken for something of now.
    pub(super) fn heard_from(&self, user: &UserInfo) -> bool {
        let capabilities = user.capabilities();
        if !capabilities.is_empty() {
            self.learn(&user.name, capabilities);
        }
        let Some(since) = user.tlvs.u32(user_tlv::SIGN_ON_TIME) else {
            return false;
        };
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let before = sessions.insert(user.name.clone(), since);
        if sessions.len() > SESSIONS_MAX {
            // Somebody who is forgotten counts as heard of for the first time.
            sessions.pop_first();
        }
        before.is_some_and(|before| before != since)
    }

    pub(super) fn learn(&self, name: &ScreenName, capabilities: Vec<Uuid>) {
        let now = Instant::now();
        let mut known = self.known();
        known.retain(|_, (_, since)| now.duration_since(*since) < FRESH);
        if known.len() < USERS_MAX || known.contains_key(name) {
            known.insert(name.clone(), (cut(capabilities), now));
        }
    }

    /// What was learned a moment ago.
    pub(super) fn capabilities(&self, name: &ScreenName) -> Option<Vec<Uuid>> {
        let known = self.known();
        let (capabilities, since) = known.get(name)?;
        (since.elapsed() < FRESH).then(|| capabilities.clone())
    }

    /// A new connection: what the old one told may be over.
    pub(super) fn forget(&self) {
        self.known().clear();
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ScreenName, (Vec<Uuid>, Instant)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut(mut capabilities: Vec<Uuid>) -> Vec<Uuid> {
    capabilities.truncate(CAPABILITIES_MAX);
    capabilities
}

#[cfg(test)]
mod tests {
    use rdv_proto::wire::service::{NATIVE, SEND_FILE};
    use rdv_proto::wire::tlv::TlvList;

    use super::*;

    fn user(name: &str, capabilities: &[Uuid]) -> UserInfo {
        let list: Vec<u8> = capabilities
            .iter()
            .flat_map(|uuid| *uuid.as_bytes())
            .collect();
        UserInfo {
            name: ScreenName::new(name).unwrap(),
            warning: 0,
            tlvs: TlvList::new().with(user_tlv::CAPABILITIES, list),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_heard_is_believed_for_a_moment() {
        let presence = Presence::new();
        let mut events = presence.events();
        let bob = user("Bob", &[NATIVE, SEND_FILE]);
        presence.arrived(&bob);
        let name = ScreenName::new("b o b").unwrap();
        assert_eq!(presence.capabilities(&name), Some(vec![NATIVE, SEND_FILE]));
        // Who does not say keeps what is known.
        presence.heard_from(&user("bob", &[]));
        assert_eq!(presence.capabilities(&name), Some(vec![NATIVE, SEND_FILE]));
        presence.heard_from(&user("bob", &[SEND_FILE]));
        assert_eq!(presence.capabilities(&name), Some(vec![SEND_FILE]));
        tokio::time::advance(FRESH).await;
        assert_eq!(presence.capabilities(&name), None);

        presence.arrived(&bob);
        presence.departed(&name);
        assert_eq!(presence.capabilities(&name), None);
        assert!(matches!(
            events.recv().await,
            Ok(PresenceEvent::Arrived { .. })
        ));
        assert!(matches!(
            events.recv().await,
            Ok(PresenceEvent::Arrived { .. })
        ));
        assert_eq!(
            events.recv().await,
            Ok(PresenceEvent::Departed { name: name.clone() })
        );
    }

    #[tokio::test]
    async fn whoever_signs_on_again_is_told_apart_from_before() {
        let presence = Presence::new();
        let signed_on = |name: &str, since| {
            let mut user = user(name, &[]);
            user.tlvs = TlvList::new().with_u32(user_tlv::SIGN_ON_TIME, since);
            user
        };
        for (name, since, anew) in [
            ("bob", 7, false),
            ("B ob", 7, false),
            ("carol", 8, false),
            ("bob", 9, true),
            ("bob", 9, false),
        ] {
            assert_eq!(presence.heard_from(&signed_on(name, since)), anew, "{name}");
        }
        assert!(!presence.heard_from(&user("bob", &[])), "not told");
        for number in 0..2 * SESSIONS_MAX {
            presence.heard_from(&signed_on(&format!("u{number}"), 1));
        }
        assert_eq!(presence.sessions.lock().unwrap().len(), SESSIONS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn s_28_a_host_cannot_fill_the_memory_of_users() {
        let presence = Presence::new();
        for number in 0..2 * USERS_MAX {
            presence.arrived(&user(&format!("u{number}"), &[SEND_FILE; 1000]));
        }
        assert_eq!(presence.known().len(), USERS_MAX);
        let first = ScreenName::new("u0").unwrap();
        assert!(presence.capabilities(&first).unwrap().len() <= CAPABILITIES_MAX);
        // The old ones make room.
        tokio::time::advance(FRESH).await;
        presence.arrived(&user("late", &[SEND_FILE]));
        assert_eq!(presence.known().len(), 1);
    }
}
