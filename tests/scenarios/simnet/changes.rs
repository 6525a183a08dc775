//! The network changes while a conversation goes on.

use std::time::Duration;

use rdv_proto::rendezvous::Input;
use rdv_tests::netpair::{Ground, NetPair};
use rdv_tests::pair::{ALICE, BOB};
use rdv_tests::simnet::kinds::Kind;
use rdv_tests::simnet::nat::{Leaves, Ports};

fn established(a: Kind, b: Kind) -> NetPair {
    let mut pair = NetPair::meet(Ground::between(a, b));
    pair.run_for(Duration::from_secs(8));
    pair
}

/// What those who use the lane notice when nothing arrives on it any more.
fn lane_falls_silent(pair: &mut NetPair) {
    for side in [ALICE, BOB] {
        if let Some((_, attempt, _)) = pair.in_use(side) {
            pair.input(side, Input::LaneSilent { attempt });
        }
    }
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
fn a_direct_lane_that_falls_silent_is_replaced_within_three_seconds() {
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
        lane_falls_silent(&mut pair);
        pair.run_for(Duration::from_secs(3));
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
    lane_falls_silent(&mut pair);
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
