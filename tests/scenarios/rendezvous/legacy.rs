//! Legacy conversations between two of ours: addresses in plain tags, one way at a time.

use std::time::Duration;

use rdv_proto::rendezvous::{EndReason, LegacySecurity, Path, RelayPolicy, SecurityFault, Wait};
use rdv_proto::wire::rendezvous::{CancelReason, MessageKind, NakCode};
use rdv_tests::pair::{ALICE, BOB, Decision, Pair};
use rdv_tests::road::{Relay, Road, Tcp};

fn offer(road: Road, relay: RelayPolicy) -> Pair {
    let mut pair = Pair::new(road, 1);
    pair.sides[BOB].relay = relay;
    pair.propose_file(ALICE, 1, LegacySecurity::Opportunistic, relay);
    pair
}

fn kinds(pair: &Pair, side: usize) -> Vec<(MessageKind, Option<u16>)> {
    let messages = pair.messages(side);
    messages
        .iter()
        .map(|m| (m.kind, m.sequence().map(|n| n.get())))
        .collect()
}

#[test]
fn the_receiver_dials_the_sender() {
    let mut pair = offer(Road::default(), RelayPolicy::Auto);
    let (_, path) = pair.assert_connects();
    assert!(matches!(path, Path::Direct { .. }), "{path:?}");
    assert_eq!(kinds(&pair, ALICE), [(MessageKind::PROPOSE, Some(1))]);
    assert_eq!(kinds(&pair, BOB), [(MessageKind::ACCEPT, None)]);
}

#[test]
fn a_receiver_that_cannot_dial_lets_itself_be_dialled() {
    let mut pair = offer(Road::with_tcp(Tcp::Open, Tcp::Dropped), RelayPolicy::Auto);
    let (_, path) = pair.assert_connects();
    assert!(matches!(path, Path::Direct { .. }), "{path:?}");
    assert_eq!(
        kinds(&pair, ALICE),
        [(MessageKind::PROPOSE, Some(1)), (MessageKind::ACCEPT, None)]
    );
    assert_eq!(kinds(&pair, BOB), [(MessageKind::PROPOSE, Some(2))]);
}

#[test]
fn the_relay_comes_third() {
    let mut pair = offer(
        Road::with_tcp(Tcp::Dropped, Tcp::Dropped),
        RelayPolicy::Auto,
    );
    let (_, path) = pair.assert_connects();
    assert!(matches!(path, Path::Relay(_)), "{path:?}");
    let proposals = [
        (MessageKind::PROPOSE, Some(1)),
        (MessageKind::PROPOSE, Some(3)),
    ];
    assert_eq!(kinds(&pair, ALICE), proposals);
    assert_eq!(
        kinds(&pair, BOB),
        [(MessageKind::PROPOSE, Some(2)), (MessageKind::ACCEPT, None)]
    );
}

#[test]
fn the_relay_alone_sends_no_address() {
    let mut pair = offer(Road::default(), RelayPolicy::Only);
    let (_, path) = pair.assert_connects();
    assert!(matches!(path, Path::Relay(_)), "{path:?}");
    assert!(!pair.sides[ALICE].gathered && !pair.sides[BOB].gathered);
}

#[test]
fn a_receiver_that_wants_the_relay_creates_the_session_itself() {
    let mut pair = offer(Road::default(), RelayPolicy::Auto);
    pair.sides[BOB].relay = RelayPolicy::Only;
    let (_, path) = pair.assert_connects();
    assert!(matches!(path, Path::Relay(_)), "{path:?}");
    assert!(pair.sides[BOB].dialled.is_empty());
}

#[test]
fn whoever_knows_no_relay_asks_the_other_for_one() {
    let mut pair = offer(
        Road::with_tcp(Tcp::Dropped, Tcp::Dropped),
        RelayPolicy::Auto,
    );
    pair.sides[ALICE].endpoint.config_mut().relay_known = false;
    let (_, path) = pair.assert_connects();
    assert!(matches!(path, Path::Relay(_)), "{path:?}");
    assert_eq!(
        kinds(&pair, ALICE),
        [
            (MessageKind::PROPOSE, Some(1)),
            (MessageKind::PROPOSE, Some(3)),
            (MessageKind::ACCEPT, None)
        ]
    );
}

#[test]
fn nothing_works_and_both_know_in_time() {
    let mut road = Road::with_tcp(Tcp::Dropped, Tcp::Refused);
    road.relay = Relay::Unreachable;
    let mut pair = offer(road, RelayPolicy::Auto);
    let [alice, bob] = pair.assert_fails();
    assert!(
        matches!(
            alice,
            Some(EndReason::NoPath { .. } | EndReason::Cancelled(_) | EndReason::Refused(_))
        ),
        "{alice:?}"
    );
    assert!(
        matches!(
            bob,
            Some(EndReason::NoPath { .. } | EndReason::Cancelled(_) | EndReason::Refused(_))
        ),
        "{bob:?}"
    );
    assert!(pair.elapsed < Duration::from_secs(95), "{:?}", pair.elapsed);
    assert!(pair.messages(ALICE).len() + pair.messages(BOB).len() <= 8);
}

#[test]
fn a_no_is_a_nak_and_a_cancel() {
    let mut pair = offer(Road::default(), RelayPolicy::Auto);
    pair.sides[BOB].decision = Decision::Decline(Duration::from_secs(1));
    let [alice, bob] = pair.assert_fails();
    assert_eq!(alice, Some(EndReason::Refused(Some(NakCode::DENIED))));
    assert_eq!(bob, Some(EndReason::Declined));
    let cancels: Vec<_> = pair
        .messages(BOB)
        .iter()
        .map(|m| (m.kind, m.cancel_reason()))
        .collect();
    assert_eq!(cancels, [(MessageKind::CANCEL, CancelReason::USER)]);
}

#[test]
fn a_user_who_does_not_decide_ends_it_after_two_minutes() {
    let mut pair = offer(Road::default(), RelayPolicy::Auto);
    pair.sides[BOB].decision = Decision::Ignore;
    let [alice, bob] = pair.assert_fails();
    assert_eq!(alice, Some(EndReason::TimedOut(Wait::Answer)));
    assert!(
        matches!(
            bob,
            Some(EndReason::TimedOut(Wait::Decision) | EndReason::Cancelled(_))
        ),
        "{bob:?}"
    );
}

#[test]
fn s_03_tls_is_required_of_both() {
    let mut pair = offer(Road::default(), RelayPolicy::Auto);
    pair.sides[BOB].security = LegacySecurity::Required;
    pair.assert_connects();
    let mut pair = Pair::new(Road::default(), 1);
    pair.sides[BOB].endpoint.config_mut().legacy_security = LegacySecurity::Required;
    pair.propose_file(ALICE, 1, LegacySecurity::Plain, RelayPolicy::Auto);
    let [alice, bob] = pair.assert_fails();
    assert_eq!(
        (alice, bob),
        (Some(EndReason::SecurityRefusedByPeer), None),
        "nobody is asked"
    );
    let _ = SecurityFault::NotSecure;
}
