//! The lane in use, and better ones. Only the controller chooses, so that there is no vote; the
//! other side takes what is nominated.

use std::time::{Duration, Instant};

use super::super::common::Common;
use super::super::desk::Context;
use super::super::limits::{
    JUDGING, JUDGING_OTHER, MOVE_ADVANTAGE, MOVE_PAUSE, NEAR_ROUND_TRIP, RELAY_GRACE,
    RELAY_GRACE_MAX, SUBNET_ROUND_TRIP,
};
use super::super::proposal;
use super::super::{AttemptError, AttemptId, Carrier, Event, MoveReason, Output, Protocol};
use super::Connector;
use super::lanes::{Chosen, Lane, Stage, Way};
use super::outlook::is_hopeless;

impl Connector {
    /// A lane is proven: whoever answered P1 says so, once.
    pub(super) fn proven(&mut self, common: &mut Common, context: &mut Context<'_>) {
        common.exchanged = true;
        common.code_unproven = false;
        if self.controller && !self.accepted {
            self.accepted = true;
            let accept = proposal::native_accept(common, self.session.own_key_hash());
            common.send_message(context, accept);
        }
    }

    /// The peer says that this is the lane.
    pub(super) fn nominated(
        &mut self,
        common: &mut Common,
        context: &mut Context<'_>,
        attempt: AttemptId,
        number: u32,
    ) {
        let lane = self
            .ground
            .lanes
            .get(attempt)
            .filter(|lane| lane.is_proven());
        let Some(lane) = lane.filter(|_| !self.controller) else {
            let error = AttemptError::WrongProof;
            context.desk.give_up(attempt, error);
            self.failed(common, context, attempt, error);
            return;
        };
        let (current, relayed) = (self.lane.current, lane.is_relayed());
        if current == Some(attempt) {
            return;
        }
        // Words on different lanes may overtake each other.
        if self.lane.established && number < self.lane.nominations {
            let lanes = &mut self.ground.lanes;
            lanes.set_chosen(attempt, Chosen::PassedOver);
            return;
        }
        self.lane.nominations = number;
        let well = self.current().filter(|current| !current.silent);
        let why = if well.is_some_and(|current| current.is_relayed() || !relayed) {
            MoveReason::Better
        } else {
            MoveReason::Repair
        };
        self.take(common, context, attempt, why);
    }

    /// Controller: nominates a lane if there is one worth it.
    pub(super) fn choose(&mut self, common: &mut Common, context: &mut Context<'_>) {
        let Some((attempt, why, at)) = self.choice() else {
            return;
        };
        if at.is_some_and(|at| at > context.now) {
            return;
        }
        self.lane.nominations = self.lane.nominations.saturating_add(1);
        context.desk.push(Output::Nominate {
            id: common.id.clone(),
            attempt,
            number: self.lane.nominations,
        });
        self.take(common, context, attempt, why);
    }

    /// When a choice is to be made that has to wait.
    pub(super) fn choice_due(&self) -> Option<Instant> {
        let (_, _, at) = self.choice()?;
        at
    }

    /// Controller: the lane to go over to, why, and when if not at once.
    fn choice(&self) -> Option<(AttemptId, MoveReason, Option<Instant>)> {
        if !self.controller {
            return None;
        }
        let (attempt, lane) = self.best()?;
        match self.current() {
            None if self.lane.established => Some((attempt, MoveReason::Repair, None)),
            None => {
                let grace = lane.is_relayed() && self.waits_for_direct();
                let at = self.grace_end().filter(|_| grace);
                Some((
                    attempt,
                    MoveReason::Better,
                    at.map(|at| at.min(self.deadline)),
                ))
            }
            Some(current) if current.silent => Some((attempt, MoveReason::Repair, None)),
            Some(current) if is_better(lane, current) => {
                let pause = self.lane.moved.map(|moved| moved + MOVE_PAUSE);
                let pause = pause.filter(|_| !current.is_relayed());
                Some((attempt, MoveReason::Better, pause))
            }
            Some(_) => None,
        }
    }

    /// The best of the proven lanes beside the one in use. While that one works, none that was used before it: the peer takes a lane once,
    /// and would go on sending on the present one.
    fn best(&self) -> Option<(AttemptId, &Lane)> {
        let works = self.current().is_some_and(|current| !current.silent);
        let usable = self.ground.lanes.iter().filter(|(attempt, lane)| {
            let used = works && lane.chosen == Chosen::Used;
            lane.is_proven() && !lane.silent && !used && Some(*attempt) != self.lane.current
        });
        usable.reduce(|best, other| {
            if is_better(other.1, best.1) {
                other
            } else {
                best
            }
        })
    }

    /// Whether a direct lane may still come, so that a relayed one had better wait.
    fn waits_for_direct(&self) -> bool {
        let ours = self.ground.whereabouts();
        let near = self.ground.lanes.any(|lane| lane.near);
        if self.first_heard.is_some() && is_hopeless(&ours, &self.theirs, near) {
            return false;
        }
        let under_way = self.ground.lanes.any(|lane| !lane.is_relayed());
        under_way || self.round.is_waiting() || !ours.candidates.is_empty()
    }

    /// 300 ms and one round trip after the peer could begin to dial, at most one second.
    fn grace_end(&self) -> Option<Instant> {
        let told = self.first_told?;
        let Some(heard) = self.first_heard else {
            return Some(told + RELAY_GRACE_MAX);
        };
        let round_trip = heard.saturating_duration_since(told);
        Some(heard + (RELAY_GRACE + round_trip).min(RELAY_GRACE_MAX))
    }

    /// Other side: the lane in use has broken or is silent; goes over to one that the controller
    /// has chosen before. Two choices may overtake each other on their lanes: then that one is what
    /// the controller is using. A silent lane may come back, so that one which was used before it is
    /// no better.
    pub(super) fn fall_back(&mut self, common: &Common, context: &mut Context<'_>) -> bool {
        if self.controller {
            return false;
        }
        let silent = self.lane.current.is_some();
        let used = self.ground.lanes.iter().filter(|(_, lane)| {
            let wanted = match lane.chosen {
                Chosen::Never => false,
                Chosen::PassedOver => true,
                Chosen::Used => !silent,
            };
            wanted && lane.is_proven() && !lane.silent
        });
        let best = used.reduce(|best, other| {
            if is_better(other.1, best.1) {
                other
            } else {
                best
            }
        });
        let Some((attempt, _)) = best else {
            return false;
        };
        self.take(common, context, attempt, MoveReason::Repair);
        true
    }

    /// A lane is in use from here on.
    fn take(
        &mut self,
        common: &Common,
        context: &mut Context<'_>,
        attempt: AttemptId,
        why: MoveReason,
    ) {
        let Some(lane) = self.ground.lanes.get(attempt).cloned() else {
            return;
        };
        let id = common.id.clone();
        let path = lane.path();
        let was_direct = self.is_well_and_direct();
        let previous = self.lane.current.replace(attempt);
        self.ground.lanes.set_chosen(attempt, Chosen::Used);
        context.desk.won(attempt);
        let first = !std::mem::replace(&mut self.lane.established, true);
        context.desk.event(if first {
            let expectation = common.expectation;
            Event::Established {
                id,
                attempt,
                path,
                expectation,
            }
        } else {
            Event::Moved {
                id,
                attempt,
                path,
                why,
            }
        });
        self.lane.lost = None;
        if why == MoveReason::Better && was_direct {
            self.lane.moved = Some(context.now);
        }
        if lane.is_relayed() {
            self.ground.relay_works();
            self.lane.relayed_since.get_or_insert(context.now);
            self.lane.judging_until = None;
            return;
        }
        self.lane.relayed_since = None;
        let judging = if self.controller {
            JUDGING
        } else {
            JUDGING_OTHER
        };
        self.lane.judging_until = Some(context.now + judging);
        self.next_round = None;
        self.narrow(context, &lane, previous);
    }

    /// A direct lane is in use: what cannot be better than it is left. The relayed lane and one
    /// of the other protocol stay for a while.
    fn narrow(&mut self, context: &mut Context<'_>, taken: &Lane, previous: Option<AttemptId>) {
        let Some(protocol) = taken.carrier().map(Carrier::protocol) else {
            return;
        };
        let other = match protocol {
            Protocol::Tcp => Protocol::Udp,
            Protocol::Udp => Protocol::Tcp,
        };
        let other_may_win = rank(taken, is_near(taken, taken)) == 0;
        self.round.close(protocol);
        if !other_may_win {
            self.round.close(other);
        }
        let mut spare = false;
        let surplus = self.ground.lanes.iter().filter(|(attempt, lane)| {
            let kept = [self.lane.current, previous].contains(&Some(*attempt));
            let Some(carrier) = lane.carrier().filter(|_| !kept) else {
                return false;
            };
            if carrier.protocol() == protocol {
                return true;
            }
            match lane.stage {
                Stage::Opening => !other_may_win,
                Stage::Proving => false,
                Stage::Proven => std::mem::replace(&mut spare, true),
            }
        });
        let surplus: Vec<_> = surplus.map(|(attempt, _)| attempt).collect();
        for attempt in surplus {
            self.ground.hang_up(context, attempt);
        }
    }

    /// Drops everything but the lane in use.
    pub(super) fn drop_surplus(&mut self, context: &mut Context<'_>) {
        let current = self.lane.current;
        for attempt in self
            .ground
            .lanes
            .which(|attempt, _| Some(attempt) != current)
        {
            self.ground.hang_up(context, attempt);
        }
    }

    /// Whether the lane in use is direct and nothing else is being looked for.
    pub(super) fn is_settled(&self) -> bool {
        let judged = self.lane.judging_until.is_none();
        self.is_well_and_direct() && judged && self.round.over
    }

    /// Whether our relay session still waits for the peer, or has it.
    pub(super) fn has_relay(&self) -> bool {
        let relayed = |lane: &Lane| matches!(lane.way, Way::Created | Way::Joined(_));
        self.ground.lanes.any(|lane| relayed(lane) && !lane.silent)
    }
}

/// Whether going over from one lane to the other is worth it. Direct beats relayed; in one network
/// TCP beats QUIC, elsewhere QUIC beats TCP unless it is clearly slower; among equals a fifth of
/// the round trip and 5 ms decide.
fn is_better(lane: &Lane, than: &Lane) -> bool {
    if lane.is_relayed() || than.is_relayed() {
        return !lane.is_relayed() && than.is_relayed();
    }
    let near = is_near(lane, than);
    let times = lane.round_trip.zip(than.round_trip);
    match rank(lane, near).cmp(&rank(than, near)) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => {
            near || times.is_none_or(|(ours, theirs)| ours <= theirs + theirs / 5 + MOVE_ADVANTAGE)
        }
        // What differs within one network is how busy the machines are.
        std::cmp::Ordering::Equal if near => false,
        std::cmp::Ordering::Equal => times.is_some_and(|(ours, theirs)| {
            let ours = ours.saturating_sub(ipv6_bonus(lane));
            let theirs = theirs.saturating_sub(ipv6_bonus(than));
            ours + (theirs / 5).max(MOVE_ADVANTAGE) <= theirs
        }),
    }
}

/// IPv6 gets 3 ms for free.
fn ipv6_bonus(lane: &Lane) -> Duration {
    match lane.address() {
        Some(address) if address.is_ipv6() => Duration::from_millis(3),
        _ => Duration::ZERO,
    }
}

/// Whether both lanes lead to somebody in the same network: one of them is as quick as that, or
/// does not leave the machine. A busy machine makes the other one look slow.
fn is_near(lane: &Lane, other: &Lane) -> bool {
    let lanes = [lane, other];
    let on_this_machine = |lane: &&Lane| lane.address().is_some_and(|at| at.ip().is_loopback());
    let quickest = lanes.iter().filter_map(|lane| lane.round_trip).min();
    let one_subnet = lane.near && other.near;
    let limit = if one_subnet {
        SUBNET_ROUND_TRIP
    } else {
        NEAR_ROUND_TRIP
    };
    lanes.iter().any(on_this_machine)
        || quickest.map_or(one_subnet, |round_trip| round_trip <= limit)
}

/// 1 if its protocol is the better one at that distance.
fn rank(lane: &Lane, near: bool) -> u8 {
    let tcp = lane.carrier() != Some(Carrier::Quic);
    u8::from(tcp == near)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct(carrier: Carrier, address: &str, round_trip: Option<u64>) -> Lane {
        let address = address.parse().expect("an address");
        let mut lane = Lane::opening(Way::Dialled(address, carrier), None);
        lane.round_trip = round_trip.map(Duration::from_millis);
        lane
    }

    const V4: &str = "192.0.2.1:5000";
    const V6: &str = "[2001:db8::1]:5000";

    #[test]
    fn direct_beats_relayed_whatever_it_takes() {
        let mut relayed = Lane::opening(Way::Created, None);
        relayed.round_trip = Some(Duration::from_millis(1));
        let direct = direct(Carrier::Tcp, V4, Some(500));
        assert!(is_better(&direct, &relayed));
        assert!(!is_better(&relayed, &direct));
        assert!(!is_better(&relayed, &relayed.clone()));
    }

    #[test]
    fn quic_beats_tcp_but_in_one_network() {
        for (tcp, quic, quic_wins) in [
            (Some(80), Some(80), true),
            (Some(80), Some(100), true),
            (Some(80), Some(102), false),
            (None, None, true),
            (Some(2), Some(2), false),
            (Some(4), Some(4), true),
            // One of them is quick: the machine is busy.
            (Some(30), Some(2), false),
            (Some(2), Some(30), false),
        ] {
            let tcp_lane = direct(Carrier::Tcp, V4, tcp);
            let quic_lane = direct(Carrier::Quic, V4, quic);
            let case = format!("TCP {tcp:?}, QUIC {quic:?}");
            assert_eq!(is_better(&quic_lane, &tcp_lane), quic_wins, "{case}");
            let near = tcp.is_some_and(|tcp| tcp <= 2) || quic.is_some_and(|quic| quic <= 2);
            assert_eq!(is_better(&tcp_lane, &quic_lane), near, "{case}");
        }
        let here = |carrier| direct(carrier, "[::1]:5000", Some(40));
        assert!(is_better(&here(Carrier::Tcp), &here(Carrier::Quic)));
        assert!(!is_better(&here(Carrier::Tcp), &here(Carrier::TcpOpen)));
        let subnet = |carrier| direct(carrier, V4, Some(12)).over(true, false);
        assert!(is_better(&subnet(Carrier::Tcp), &subnet(Carrier::Quic)));
        let open = direct(Carrier::TcpOpen, V4, Some(80));
        assert!(is_better(&direct(Carrier::Quic, V4, Some(80)), &open));
    }

    #[test]
    fn the_same_kind_needs_an_advantage_of_a_fifth_and_5_ms() {
        for (new, old, better) in [
            (Some(74), Some(80), false),
            (Some(64), Some(80), true),
            (Some(16), Some(20), false),
            (Some(15), Some(20), true),
            (None, Some(20), false),
        ] {
            let new_lane = direct(Carrier::Quic, V4, new);
            let old_lane = direct(Carrier::Quic, V4, old);
            assert_eq!(is_better(&new_lane, &old_lane), better, "{new:?}, {old:?}");
        }
        let v6 = direct(Carrier::Quic, V6, Some(18));
        assert!(is_better(&v6, &direct(Carrier::Quic, V4, Some(20))));
        assert!(!is_better(&direct(Carrier::Quic, V4, Some(16)), &v6));
    }
}
