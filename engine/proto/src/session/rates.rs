//! Which SNAC counts for which rate class, and where a client stands in all of them.

use std::collections::BTreeSet;
use std::time::Instant;

use super::account::Party;
use super::rate::{RateClass, RateState, Verdict};
use crate::wire::icbm::subgroup;
use crate::wire::signon::{Arrival, RateClass as Record, RateMembers, RateReply};
use crate::wire::snac::Foodgroup;

/// Code of 0x0001/0x000A: slow down.
const WARNING: u16 = 2;
/// Code of 0x0001/0x000A: SNACs are dropped.
const LIMITED: u16 = 3;
/// Code of 0x0001/0x000A: no longer.
const CLEARED: u16 = 4;

/// All classes of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateTable {
    /// Everything that no other class names.
    pub general: RateClass,
    /// Changes of lists.
    pub edits: RateClass,
    /// Messages, and questions about users.
    pub icbm: RateClass,
    /// Searches.
    pub search: RateClass,
    /// Chat rooms.
    pub chat: RateClass,
}

impl RateTable {
    /// What old clients have always known.
    pub const OLD: Self = Self {
        general: RateClass::GENERAL,
        edits: RateClass::EDITS,
        icbm: RateClass::ICBM_LEGACY,
        search: RateClass::SEARCH,
        chat: RateClass::CHAT,
    };

    /// For our own clients: as the old one, with room for rendezvous.
    pub const OURS: Self = Self {
        icbm: RateClass::ICBM,
        ..Self::OLD
    };
}

/// A client's standing.
#[derive(Debug)]
pub(super) struct Rates {
    /// The general class first.
    states: Vec<RateState>,
    /// Classes whose changes the client wants to be told of; none if of all.
    subscribed: Option<BTreeSet<u16>>,
    offered: &'static [(Foodgroup, u16)],
}

/// What happened to a SNAC.
pub(super) struct Counted {
    pub(super) verdict: Verdict,
    /// Id of the class that it counted for.
    pub(super) class: u16,
    /// Code of the change that the client is to be told, and the class that changed.
    pub(super) change: Option<(u16, usize)>,
}

impl Rates {
    pub(super) fn new(
        table: &RateTable,
        party: Party,
        offered: &'static [(Foodgroup, u16)],
        now: Instant,
    ) -> Self {
        let classes = match party {
            Party::Guest => vec![table.general, table.icbm],
            Party::Ours | Party::Old => vec![
                table.general,
                table.edits,
                table.icbm,
                table.search,
                table.chat,
            ],
        };
        Self {
            states: classes
                .into_iter()
                .map(|class| RateState::new(class, now))
                .collect(),
            // Our own clients are told without asking.
            subscribed: (party == Party::Old).then(BTreeSet::new),
            offered,
        }
    }

    pub(super) fn subscribe(&mut self, ids: &[u16]) {
        let known: Vec<u16> = self.states.iter().map(|state| state.class().id).collect();
        if let Some(subscribed) = &mut self.subscribed {
            subscribed.extend(ids.iter().filter(|id| known.contains(id)));
        }
    }

    pub(super) fn unsubscribe(&mut self, ids: &[u16]) {
        if let Some(subscribed) = &mut self.subscribed {
            subscribed.retain(|id| !ids.contains(id));
        }
    }

    /// Counts a SNAC before it is acted on.
    pub(super) fn count(&mut self, now: Instant, snac: (Foodgroup, u16)) -> Counted {
        let id = class_of(snac);
        let place = self.states.iter().position(|state| state.class().id == id);
        let place = place.unwrap_or(0);
        let state = &mut self.states[place];
        let was_limited = state.is_limited();
        let was_alerted = state.level() < state.class().alert;
        let verdict = state.count(now);
        let change = match verdict {
            Verdict::Limited if !was_limited => Some(LIMITED),
            Verdict::Alert if !was_limited && !was_alerted => Some(WARNING),
            Verdict::Alert | Verdict::Clear if was_limited => Some(CLEARED),
            _ => None,
        };
        let wanted = |code| {
            let id = state.class().id;
            let subscribed = self.subscribed.as_ref();
            code == LIMITED || subscribed.is_none_or(|ids| ids.contains(&id))
        };
        Counted {
            verdict,
            class: state.class().id,
            change: change
                .filter(|&code| wanted(code))
                .map(|code| (code, place)),
        }
    }

    /// The class at `place` as the wire has it.
    pub(super) fn record(&self, place: usize, now: Instant, oservice_version: u16) -> Record {
        let state = &self.states[place];
        let class = state.class();
        Record {
            id: class.id,
            window: class.window,
            clear: class.clear,
            alert: class.alert,
            limit: class.limit,
            disconnect: class.disconnect,
            current: state.level(),
            max: class.max,
            arrival: (oservice_version >= 3).then(|| Arrival {
                since_last_ms: state.idle_ms(now),
                dropping: state.is_limited().into(),
            }),
        }
    }

    /// All classes, and every SNAC that a client may send: old clients go dumb for those that are in no class.
    pub(super) fn reply(&self, now: Instant, oservice_version: u16) -> RateReply {
        let records = (0..self.states.len()).map(|at| self.record(at, now, oservice_version));
        let ids: Vec<u16> = self.states.iter().map(|state| state.class().id).collect();
        let all = self.offered.iter().flat_map(|&(foodgroup, _)| {
            (1..=last_subgroup(foodgroup)).map(move |subgroup| (foodgroup, subgroup))
        });
        let all: Vec<_> = all.collect();
        let members = ids.iter().map(|&id| {
            let own = |snac: &&(Foodgroup, u16)| {
                let class = class_of(**snac);
                class == id || (id == ids[0] && !ids.contains(&class))
            };
            RateMembers {
                id,
                members: all.iter().filter(own).copied().collect(),
            }
        });
        RateReply {
            classes: records.collect(),
            members: members.collect(),
        }
    }
}

/// The id of the class that a SNAC counts for.
fn class_of((foodgroup, sub): (Foodgroup, u16)) -> u16 {
    match (foodgroup, sub) {
        (Foodgroup::ICBM, subgroup::MESSAGE_TO_HOST) | (Foodgroup::LOCATE, 0x05) => 3,
        (Foodgroup::LOCATE, 0x09 | 0x0B) => 4,
        (Foodgroup::BUDDY, 0x04 | 0x05)
        | (Foodgroup::PD, 0x05..=0x08)
        | (Foodgroup::FEEDBAG, 0x08..=0x0A) => 2,
        (Foodgroup::CHAT, 0x05) => 5,
        _ => 1,
    }
}

/// The last subgroup that any client knows.
fn last_subgroup(foodgroup: Foodgroup) -> u16 {
    match foodgroup {
        Foodgroup::OSERVICE => 0x24,
        Foodgroup::LOCATE => 0x17,
        Foodgroup::BUDDY => 0x11,
        Foodgroup::ICBM => 0x19,
        Foodgroup::ADMIN => 0x09,
        Foodgroup::PD => 0x0D,
        Foodgroup::STATS => 0x04,
        Foodgroup::FEEDBAG => 0x1A,
        Foodgroup::POPUP => 0x02,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::oservice::OFFERED;

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn rates(party: Party) -> (Rates, Instant) {
        let now = Instant::now();
        (Rates::new(&RateTable::OLD, party, &OFFERED, now), now)
    }

    #[test]
    fn every_snac_of_the_foodgroups_offered_is_in_exactly_one_class() {
        let (rates, now) = rates(Party::Old);
        let reply = rates.reply(now, 3);
        assert_eq!(
            reply
                .members
                .iter()
                .map(|class| class.id)
                .collect::<Vec<_>>(),
            [1, 2, 3, 4, 5]
        );
        let all: Vec<_> = reply
            .members
            .iter()
            .flat_map(|class| &class.members)
            .collect();
        let distinct: BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        for (foodgroup, _) in OFFERED {
            for subgroup in 1..=last_subgroup(foodgroup) {
                assert!(
                    all.contains(&&(foodgroup, subgroup)),
                    "{foodgroup:?} {subgroup}"
                );
            }
        }
        assert!(reply.members[2].members.contains(&(Foodgroup::ICBM, 6)));
    }

    #[test]
    fn so_12_a_record_has_35_bytes_from_version_3_on_and_30_before() {
        let (rates, now) = rates(Party::Old);
        let length = |version| {
            let mut reply = rates.reply(now, version);
            reply.members.clear();
            (reply.encode().len() - 2) / 5
        };
        assert_eq!((length(2), length(3), length(4)), (30, 35, 35));
    }

    #[test]
    fn who_did_not_subscribe_is_told_of_limits_only() {
        let message = (Foodgroup::ICBM, subgroup::MESSAGE_TO_HOST);
        let told = |rates: &mut Rates, now| {
            let changes = (0..9).filter_map(|_| rates.count(now, message).change);
            changes.map(|(code, _)| code).collect::<Vec<_>>()
        };
        let (mut rates, now) = rates(Party::Old);
        assert_eq!(told(&mut rates, now), [LIMITED]);
        let (mut rates, now) = self::rates(Party::Old);
        rates.subscribe(&[3, 77]);
        assert_eq!(told(&mut rates, now), [WARNING, LIMITED]);
        rates.unsubscribe(&[3]);
        assert_eq!(rates.subscribed, Some(BTreeSet::new()));
    }
}
