//! The network changes while a conversation goes on.

use std::time::Duration;

use proptest::prelude::*;
use rdv_proto::rendezvous::Input;
use rdv_tests::netpair::{Ground, NetPair};
use rdv_tests::pair::{ALICE, BOB};
use rdv_tests::simnet::kinds::Kind;
use rdv_tests::simnet::nat::{Leaves, Ports};

use super::pairs::{can_be_direct, kind, ms};

fn established(a: Kind, b: Kind) -> NetPair {
    let mut pair = NetPair::meet(Ground::between(a, b));
    pair.run_for(Duration::from_secs(8));
    pair
}

#[test]
fn what_becomes_possible_later_is_found_on_the_relay() {
    let mut pair = established(Kind::Symmetric, Kind::Symmetric);
    pair.assert_together(false);
    for side in [ALICE, BOB] {
        let site = pair.net.site(pair.sides[side].host);
        for router in pair.net.routers(site) {
            router.behaviour.ports = Ports::Kept;
        }
        pair.input(side, Input::NetworkChanged);
    }
    pair.run_for(Duration::from_secs(7));
    pair.assert_together(true);
    pair.finish();
}

#[test]
fn a_lane_that_falls_silent_is_replaced_within_three_seconds() {
    for (a, b) in [(Kind::Eim, Kind::Eim), (Kind::Open, Kind::Adf)] {
        let mut pair = established(a, b);
        pair.assert_together(true);
        let before = pair.in_use(BOB).map(|(_, attempt, _)| attempt);
        for side in [ALICE, BOB] {
            let site = pair.net.site(pair.sides[side].host);
            for router in pair.net.routers(site) {
                router.behaviour.leaves = Leaves::OnlyTcp443;
                router.flush();
            }
        }
        pair.cut_lanes();
        // Silence is noticed after 1.5 s.
        pair.run_for(Duration::from_millis(4_500));
        assert_ne!(pair.in_use(BOB).map(|(_, attempt, _)| attempt), before);
        if b != Kind::Adf {
            pair.assert_together(false);
        }
        pair.finish();
    }
}

#[test]
fn a_side_that_gets_another_address_goes_on_directly() {
    let mut pair = established(Kind::Eim, Kind::Eim);
    pair.assert_together(true);
    let before = pair.in_use(BOB).map(|(_, attempt, _)| attempt);
    pair.renumber(ALICE, [11, 11, 9, 1].into());
    pair.input(ALICE, Input::NetworkChanged);
    pair.cut_lanes();
    pair.run_for(Duration::from_secs(10));
    assert_ne!(pair.in_use(BOB).map(|(_, attempt, _)| attempt), before);
    pair.assert_together(true);
    pair.finish();
}

#[test]
fn a_lane_that_breaks_is_replaced_by_one_of_the_same_sort() {
    for (a, b, direct) in [
        (Kind::Symmetric, Kind::Symmetric, false),
        (Kind::Eim, Kind::Eim, true),
        (Kind::Open, Kind::UdpBlocked, true),
    ] {
        let mut pair = established(a, b);
        pair.assert_together(direct);
        let before = pair.in_use(BOB).map(|(_, attempt, _)| attempt);
        pair.break_lane();
        pair.run_for(Duration::from_secs(12));
        assert_ne!(pair.in_use(BOB).map(|(_, attempt, _)| attempt), before);
        pair.assert_together(direct);
        pair.finish();
    }
}

/// What can happen to two that are meeting or have met.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// A router is restarted.
    Flush(usize),
    /// The provider gives another address, and the machine notices.
    Renumber(usize),
    /// The lane in use breaks.
    Break,
    /// Nothing arrives on the lane in use any more.
    Silence,
    /// No new relay sessions for a while.
    RelayDown,
    /// An interface was added that changes nothing.
    Rumour(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0..2_usize).prop_map(Change::Flush),
        (0..2_usize).prop_map(Change::Renumber),
        Just(Change::Break),
        Just(Change::Silence),
        Just(Change::RelayDown),
        (0..2_usize).prop_map(Change::Rumour),
    ]
}

fn carry_out(pair: &mut NetPair, change: Change, number: u8) {
    match change {
        Change::Flush(side) => {
            let site = pair.net.site(pair.sides[side].host);
            for router in pair.net.routers(site) {
                router.flush();
            }
        }
        Change::Renumber(side) => {
            pair.renumber(side, [11, 11, 100 + number, 1].into());
            pair.input(side, Input::NetworkChanged);
            pair.cut_lanes();
        }
        Change::Break => pair.break_lane(),
        Change::Silence => pair.cut_lanes(),
        Change::RelayDown => {
            pair.relay_up = false;
            pair.run_for(Duration::from_secs(2));
            pair.relay_up = true;
        }
        Change::Rumour(side) => pair.input(side, Input::NetworkChanged),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_in_between_they_are_together_again(
        kinds in (kind(), kind()),
        round_trip in prop::sample::select(vec![4_u64, 80, 250]),
        changes in prop::collection::vec((0_u64..5_000, change()), 1..4),
        seed in any::<u64>(),
    ) {
        // A machine with a public address of its own keeps it.
        let renumbered = |change: &(u64, Change)| matches!(change.1, Change::Renumber(side)
            if [kinds.0, kinds.1][side].is_public());
        prop_assume!(!changes.iter().any(renumbered));
        let mut ground = Ground::between(kinds.0, kinds.1).with_round_trip(ms(round_trip));
        ground.seed = seed;
        let mut pair = NetPair::meet(ground);
        for (number, (after, change)) in changes.into_iter().enumerate() {
            pair.run_for(ms(after));
            carry_out(&mut pair, change, u8::try_from(number).expect("few"));
        }
        let direct = can_be_direct(kinds.0, kinds.1);
        let end = pair.now() + Duration::from_secs(40);
        while pair.now() < end {
            pair.run_for(Duration::from_secs(1));
            let path = |side| pair.in_use(side).map(|(_, _, path)| path.is_direct());
            if direct && path(ALICE) == Some(true) && path(BOB) == Some(true) {
                break;
            }
        }
        pair.run_for(Duration::from_secs(8));
        pair.assert_together(direct);
        pair.finish();
    }
}
