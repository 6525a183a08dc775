//! Transfers that have lost both their last lane and the signalling channel.
//!
//! Without a word from the host nobody knows whether the peer is still there. It may be: a machine that changes its address loses
//! everything at once. So such a transfer gets a little time, in which the peer may knock or known addresses may answer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdv_proto::rendezvous::{ConversationId, Input};

use super::{Driver, now};

/// How long a transfer lives without a lane and without the host. With the host it is the machine that decides.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a host says of somebody who is not signed on.
const NOT_SIGNED_ON: u16 = 4;

#[derive(Default)]
pub(super) struct Abandoned {
    /// Since when they have no lane.
    without_lane: BTreeMap<ConversationId, Instant>,
    /// Since when there is no channel.
    without_host: Option<Instant>,
}

impl Abandoned {
    pub(super) fn lane_lost(&mut self, now: Instant, id: ConversationId) {
        self.without_lane.entry(id).or_insert(now);
    }

    /// It has a lane again, or is over.
    pub(super) fn remove(&mut self, id: &ConversationId) {
        self.without_lane.remove(id);
    }

    pub(super) fn signaling_lost(&mut self, now: Instant) {
        self.without_host.get_or_insert(now);
    }

    /// When the patience with the first of them ends.
    pub(super) fn next(&self) -> Option<Instant> {
        let without_host = self.without_host?;
        let first = self.without_lane.values().min()?;
        Some(without_host.max(*first) + PATIENCE)
    }

    /// Those with whom it has ended.
    fn overdue(&mut self, now: Instant) -> Vec<ConversationId> {
        let Some(without_host) = self.without_host else {
            return Vec::new();
        };
        let is_over = |since: &Instant| without_host.max(*since) + PATIENCE <= now;
        let over = self.without_lane.iter().filter(|(_, since)| is_over(since));
        let over: Vec<_> = over.map(|(id, _)| id.clone()).collect();
        for id in &over {
            self.without_lane.remove(id);
        }
        over
    }
}

impl Driver {
    pub(super) fn lane_lost(&mut self, id: ConversationId) {
        tracing::debug!("the last lane is gone");
        self.abandoned.lane_lost(now(), id);
    }

    /// As if the host had said that the peer is gone.
    pub(super) fn given_up(&mut self) {
        for id in self.abandoned.overdue(now()) {
            self.input(Input::Undelivered {
                to: id.peer,
                cookie: id.cookie,
                code: NOT_SIGNED_ON,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use rdv_proto::wire::rendezvous::Cookie;
    use rdv_proto::wire::text::ScreenName;

    use super::*;

    fn id(number: u8) -> ConversationId {
        ConversationId {
            peer: ScreenName::new("bob").unwrap(),
            cookie: Cookie([number; 8]),
        }
    }

    #[test]
    fn only_who_has_lost_lane_and_host_is_given_up_and_not_at_once() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut abandoned = Abandoned::default();
        abandoned.lane_lost(at(0), id(1));
        assert_eq!(abandoned.next(), None);
        abandoned.signaling_lost(at(10));
        abandoned.lane_lost(at(12), id(2));
        abandoned.lane_lost(at(12), id(3));
        assert_eq!(abandoned.next(), Some(at(15)));
        assert_eq!(abandoned.overdue(at(14)), []);
        assert_eq!(abandoned.overdue(at(15)), [id(1)]);
        abandoned.remove(&id(2));
        assert_eq!(abandoned.next(), Some(at(17)));
        assert_eq!(abandoned.overdue(at(17)), [id(3)]);
        assert_eq!(abandoned.next(), None);
    }
}
