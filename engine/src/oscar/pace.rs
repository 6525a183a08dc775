//! How fast messages may follow each other: the host's rate classes as far as we send their SNACs.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use rdv_proto::session::{RateClass, RateState};
use rdv_proto::wire::icbm::subgroup;
use rdv_proto::wire::signon::{self, RateReply};
use rdv_proto::wire::snac::Foodgroup;

/// The class of every SNAC that no other class names.
const GENERAL: u16 = 1;

/// A SNAC that counts for a class.
pub(super) type Member = (Foodgroup, u16);

/// A signal.
pub(super) const MESSAGE: Member = (Foodgroup::ICBM, subgroup::MESSAGE_TO_HOST);
/// A refusal of one.
pub(super) const CLIENT_ERROR: Member = (Foodgroup::ICBM, subgroup::CLIENT_ERROR);
/// Anything about the account itself; hosts hold it to the class of everything.
pub(super) const ADMIN: Member = (Foodgroup::ADMIN, 0x04);
/// A question about somebody.
pub(super) const INFO_QUERY: Member = (Foodgroup::LOCATE, 0x05);

/// The classes of what we send more than once.
#[derive(Debug)]
pub(super) struct Pace {
    classes: Vec<RateState>,
    /// Ids of the classes.
    message: u16,
    client_error: u16,
    info_query: u16,
}

impl Pace {
    /// As the host announced it (01/07).
    pub(super) fn new(reply: &RateReply, now: Instant) -> Self {
        let class_of = |member: Member| {
            let mut members = reply.members.iter();
            let found = members.find(|class| class.members.contains(&member));
            found.map_or(GENERAL, |class| class.id)
        };
        Self {
            classes: reply
                .classes
                .iter()
                .map(|class| described(class, now))
                .collect(),
            message: class_of(MESSAGE),
            client_error: class_of(CLIENT_ERROR),
            info_query: class_of(INFO_QUERY),
        }
    }

    /// For a host that announces none: what hosts enforced when they did not say.
    pub(super) fn unannounced(now: Instant) -> Self {
        let classes = [RateClass::GENERAL, RateClass::ICBM_LEGACY];
        Self {
            classes: classes.map(|class| RateState::new(class, now)).into(),
            message: RateClass::ICBM_LEGACY.id,
            client_error: GENERAL,
            info_query: RateClass::ICBM_LEGACY.id,
        }
    }

    /// Takes over a change that the host announces (01/0A): `[code: u16]` and one class as in 01/07.
    pub(super) fn change(&mut self, body: &Bytes, now: Instant) {
        // A reply of one class without members has the same layout behind its count.
        let mut reply = BytesMut::new();
        reply.put_u16(1);
        reply.put_slice(body.get(2..).unwrap_or_default());
        let changed = RateReply::decode(&reply.freeze()).ok();
        for class in changed.iter().flat_map(|reply| &reply.classes) {
            if let Some(known) = self
                .classes
                .iter_mut()
                .find(|known| known.class().id == class.id)
            {
                *known = described(class, now);
            }
        }
    }

    /// How long the next SNAC of that kind has to wait; with `last_words` only until it is not dropped.
    pub(super) fn delay(&mut self, member: Member, last_words: bool, now: Instant) -> Duration {
        let class = self.class_mut(member);
        class.map_or(Duration::ZERO, |class| match last_words {
            true => class.delay_until_passed(now),
            false => class.delay_until_clear(now),
        })
    }

    /// Counts a SNAC that goes out.
    pub(super) fn sent(&mut self, member: Member, now: Instant) {
        if let Some(class) = self.class_mut(member) {
            let verdict = class.count(now);
            tracing::trace!(?member, ?verdict, level = class.level(), "counted");
        }
    }

    fn class_mut(&mut self, member: Member) -> Option<&mut RateState> {
        let id = match member {
            CLIENT_ERROR => self.client_error,
            INFO_QUERY => self.info_query,
            ADMIN => GENERAL,
            _ => self.message,
        };
        self.classes.iter_mut().find(|class| class.class().id == id)
    }
}

fn described(class: &signon::RateClass, now: Instant) -> RateState {
    let signon::RateClass {
        id,
        window,
        clear,
        alert,
        limit,
        disconnect,
        current,
        max,
        arrival,
    } = *class;
    let arrival = arrival.unwrap_or_default();
    let idle = Duration::from_millis(arrival.since_last_ms.into());
    let class = RateClass {
        id,
        window,
        clear,
        alert,
        limit,
        disconnect,
        max,
    };
    RateState::described(class, current, idle, arrival.dropping != 0, now)
}

#[cfg(test)]
mod tests {
    use rdv_proto::wire::signon::{Arrival, RateMembers};

    use super::*;

    fn icbm(current: u32, dropping: u8) -> signon::RateClass {
        let RateClass {
            id,
            window,
            clear,
            alert,
            limit,
            disconnect,
            max,
        } = RateClass::ICBM_LEGACY;
        let arrival = Some(Arrival {
            since_last_ms: 0,
            dropping,
        });
        signon::RateClass {
            id,
            window,
            clear,
            alert,
            limit,
            disconnect,
            current,
            max,
            arrival,
        }
    }

    fn reply() -> RateReply {
        let members = vec![MESSAGE];
        RateReply {
            classes: vec![icbm(6000, 0)],
            members: vec![RateMembers { id: 3, members }],
        }
    }

    #[test]
    fn a_fourth_message_at_once_waits_but_not_as_last_words() {
        let now = Instant::now();
        let mut pace = Pace::new(&reply(), now);
        for _ in 0..3 {
            assert_eq!(pace.delay(MESSAGE, false, now), Duration::ZERO);
            pace.sent(MESSAGE, now);
        }
        assert_eq!(pace.delay(MESSAGE, false, now), Duration::from_millis(2284));
        assert_eq!(pace.delay(MESSAGE, true, now), Duration::ZERO);
        // A class that the host does not have limits nothing.
        assert_eq!(pace.delay(CLIENT_ERROR, false, now), Duration::ZERO);
    }

    #[test]
    fn a_change_that_the_host_announces_is_taken_over() {
        let now = Instant::now();
        let mut pace = Pace::new(&reply(), now);
        let mut body = BytesMut::new();
        body.put_u16(3);
        let limited = RateReply {
            classes: vec![icbm(3977, 1)],
            members: vec![],
        };
        body.put_slice(&limited.encode()[2..]);
        pace.change(&body.freeze(), now);
        assert_eq!(
            pace.delay(MESSAGE, true, now),
            Duration::from_millis(26_437)
        );
        pace.change(&Bytes::from_static(b"\0"), now);
        assert_eq!(
            pace.delay(MESSAGE, true, now),
            Duration::from_millis(26_437)
        );
    }

    #[test]
    fn a_host_that_announces_nothing_is_treated_like_an_old_one() {
        let now = Instant::now();
        let mut pace = Pace::unannounced(now);
        for _ in 0..3 {
            pace.sent(MESSAGE, now);
        }
        assert!(pace.delay(MESSAGE, false, now) > Duration::from_secs(2));
    }
}
