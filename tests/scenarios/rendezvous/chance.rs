//! Random roads, random orders, a host that meddles: both sides always end in one and the same
//! outcome, never with two links, never with a wait that has no end.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use rdv_proto::rendezvous::{EndReason, Input, LegacySecurity, RelayPolicy};
use rdv_proto::trust::Secret;
use rdv_proto::wire::rendezvous::{CancelReason, MessageKind, tag};
use rdv_proto::wire::signal::Signal;
use rdv_tests::pair::{ALICE, BOB, Decision, Pair, edited};
use rdv_tests::road::{Dice, Meddler, Relay, Road, Signalling, Tcp};

const WORDS: [&str; 3] = ["otter", "lamp", "verse"];

fn tcp() -> impl Strategy<Value = Tcp> {
    prop_oneof![Just(Tcp::Open), Just(Tcp::Refused), Just(Tcp::Dropped)]
}

fn relay() -> impl Strategy<Value = Relay> {
    prop_oneof![
        3 => (1..2_000_u64).prop_map(|ms| Relay::Open(Duration::from_millis(ms))),
        1 => Just(Relay::Unreachable),
        1 => Just(Relay::Silent),
        1 => Just(Relay::Error(0x0D)),
    ]
}

fn policy() -> impl Strategy<Value = RelayPolicy> {
    prop_oneof![2 => Just(RelayPolicy::Auto), 1 => Just(RelayPolicy::Only), 1 => Just(RelayPolicy::Never)]
}

fn signalling() -> impl Strategy<Value = Signalling> {
    (
        1..1_000_u64,
        0..1_500_u64,
        prop_oneof![Just(0), 0..30_u32],
        prop_oneof![Just(0), 0..60_u32],
        any::<bool>(),
    )
        .prop_map(
            |(delay, jitter, loss_percent, twice_percent, adds_verified)| Signalling {
                delay: Duration::from_millis(delay),
                jitter: Duration::from_millis(jitter),
                loss_percent,
                twice_percent,
                undelivered: false,
                adds_verified,
            },
        )
}

fn road() -> impl Strategy<Value = Road> {
    (
        signalling(),
        signalling(),
        tcp(),
        tcp(),
        relay(),
        1..800_u64,
        1..800_u64,
        0..600_u64,
    )
        .prop_map(
            |(first, second, there, back, relay, tcp_ms, proof_ms, gather_ms)| Road {
                signalling: [first, second],
                tcp: [there, back],
                tcp_delay: Duration::from_millis(tcp_ms),
                proof_delay: Duration::from_millis(proof_ms),
                relay,
                gather_delay: Duration::from_millis(gather_ms),
                ..Road::default()
            },
        )
}

fn security() -> impl Strategy<Value = LegacySecurity> {
    prop_oneof![
        Just(LegacySecurity::Required),
        Just(LegacySecurity::Opportunistic),
        Just(LegacySecurity::Plain)
    ]
}

fn decision() -> impl Strategy<Value = Decision> {
    prop_oneof![
        6 => (0..130_000_u64).prop_map(|ms| Decision::Accept(Duration::from_millis(ms))),
        1 => (0..130_000_u64).prop_map(|ms| Decision::Decline(Duration::from_millis(ms))),
        1 => Just(Decision::Ignore),
    ]
}

/// A host that drops, repeats, delays and turns the order round.
fn unreliable(seed: u64) -> Meddler {
    let mut dice = Dice::new(seed);
    let mut past: VecDeque<(usize, Signal)> = VecDeque::new();
    Box::new(move |side, signal| {
        let mut delivered = Vec::new();
        if !dice.percent(15) {
            delivered.push((dice.up_to(Duration::from_secs(3)), signal.clone()));
        }
        for (sender, old) in &past {
            // Only its own sender's words can be said again: names cannot be forged.
            if *sender == side && dice.percent(20) {
                delivered.push((dice.up_to(Duration::from_secs(20)), old.clone()));
            }
        }
        past.push_back((side, signal));
        past.truncate(16);
        delivered
    })
}

/// A host that changes what it carries, each message with a certain probability. Notes whether it
/// has changed anything of the key exchange.
fn forging(seed: u64, percent: u32, exchange_changed: Rc<Cell<bool>>) -> Meddler {
    let mut dice = Dice::new(seed);
    let mut blocks = Vec::new();
    Box::new(move |_, signal| {
        let changed = match &signal {
            Signal::Rendezvous(message) if dice.percent(percent) => {
                blocks.extend(message.security_bytes());
                let other = blocks.first().cloned();
                let choice = dice.roll() % 6;
                let at = usize::try_from(dice.roll() % 2_000).expect("small");
                let changed = edited(message, |params| match choice {
                    0 => drop(params.remove_all(tag::REQUEST_SECURE)),
                    1 => drop(params.remove_all(tag::SECURITY)),
                    2 => {
                        for tlv in params.0.iter_mut().filter(|tlv| tlv.tag == tag::SECURITY) {
                            let mut bytes = tlv.value.to_vec();
                            let at = at % bytes.len();
                            bytes[at] ^= 0x10;
                            tlv.value = bytes.into();
                        }
                    }
                    3 => {
                        if let Some(other) = other {
                            params.remove_all(tag::SECURITY);
                            params.push(tag::SECURITY, other);
                        }
                    }
                    4 => {
                        params.remove_all(tag::SEQUENCE);
                        params.push(
                            tag::SEQUENCE,
                            vec![0, u8::try_from(at % 70).expect("small")],
                        );
                    }
                    _ => {
                        params.remove_all(tag::MAX_VERSION);
                        params.push(tag::MAX_VERSION, vec![0, 9]);
                    }
                });
                let exchange = message.sequence().is_some_and(|number| number.get() <= 2);
                if exchange && what_matters(&changed) != what_matters(&signal) {
                    exchange_changed.set(true);
                }
                changed
            }
            _ => signal,
        };
        vec![(Duration::ZERO, changed)]
    })
}

/// What a host must not change: number, TLS, versions, security block.
fn what_matters(signal: &Signal) -> impl PartialEq {
    let Signal::Rendezvous(message) = signal else {
        return None;
    };
    let versions = (message.min_version(), message.max_version());
    Some((
        message.sequence(),
        message.request_secure(),
        versions,
        message.security_bytes(),
    ))
}

/// Ends whatever is up, so that the end of the road is looked at, too.
fn close(pair: &mut Pair) {
    if pair.is_connected(ALICE) {
        for side in [ALICE, BOB] {
            let id = pair.id(side, 1);
            pair.input(side, Input::Finished { id });
            assert_eq!(pair.sides[side].endpoint.open_attempts(), 0);
            assert_eq!(pair.sides[side].endpoint.conversations(), 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn native_sides_end_alike_on_any_road(road in road(), seed: u64, alice in policy(), bob in policy(), unreliable_host: bool) {
        let mut pair = Pair::new(road, seed);
        if unreliable_host {
            pair.road.meddler = Some(unreliable(seed));
        }
        pair.expect(BOB, 7, WORDS, bob);
        pair.propose_code(ALICE, 1, WORDS, alice);
        pair.run();
        pair.assert_settled();
        prop_assert!(pair.last_event() < Duration::from_secs(75), "{:?}", pair.story());
        close(&mut pair);
    }

    #[test]
    fn native_sides_without_a_code_end_alike_on_any_road(road in road(), seed: u64, alice in policy(), bob in policy(), decision in decision()) {
        let mut pair = Pair::new(road, seed);
        pair.sides[BOB].decision = decision;
        pair.sides[BOB].relay = bob;
        pair.propose_native(ALICE, 1, Secret::None, alice);
        pair.run();
        pair.assert_settled();
        close(&mut pair);
    }

    #[test]
    fn legacy_sides_end_alike_on_any_road(
        road in road(), seed: u64, alice in policy(), bob in policy(), decision in decision(),
        terms in (security(), security()), unreliable_host: bool,
    ) {
        let mut pair = Pair::new(road, seed);
        if unreliable_host {
            pair.road.meddler = Some(unreliable(seed));
        }
        pair.sides[BOB].decision = decision;
        pair.sides[BOB].relay = bob;
        pair.sides[BOB].security = terms.1;
        pair.propose_file(ALICE, 1, terms.0, alice);
        pair.run();
        pair.assert_settled();
        prop_assert!(pair.last_event() < Duration::from_secs(360), "{:?}", pair.story());
        close(&mut pair);
    }

    #[test]
    fn strangers_at_the_door_leave_one_outcome(
        road in road(), seed: u64, native: bool, knocks in prop::collection::vec((0..3_000_u64, 0..2_usize), 0..30),
    ) {
        let begin = |road: Road| {
            let mut pair = Pair::new(road, seed);
            pair.sides[BOB].decision = Decision::Accept(Duration::from_millis(700));
            if native {
                pair.expect(BOB, 7, WORDS, RelayPolicy::Auto);
                pair.propose_code(ALICE, 1, WORDS, RelayPolicy::Auto);
            } else {
                pair.propose_file(ALICE, 1, LegacySecurity::Opportunistic, RelayPolicy::Auto);
            }
            pair
        };
        let mut pair = begin(road);
        for (stranger, (pause, side)) in (1..).zip(knocks) {
            pair.run_for(Duration::from_millis(pause));
            pair.knock(side, ([203, 0, 113, 200], stranger).into());
        }
        pair.run();
        pair.assert_settled();
        close(&mut pair);
    }

    #[test]
    fn a_cancel_at_any_time_ends_it_on_both_sides(road in road(), seed: u64, native: bool, at in 0..20_000_u64, side in 0..2_usize) {
        let mut pair = Pair::new(road, seed);
        pair.sides[BOB].decision = Decision::Accept(Duration::from_millis(700));
        if native {
            pair.expect(BOB, 7, WORDS, RelayPolicy::Auto);
            pair.propose_code(ALICE, 1, WORDS, RelayPolicy::Auto);
        } else {
            pair.propose_file(ALICE, 1, LegacySecurity::Opportunistic, RelayPolicy::Auto);
        }
        pair.run_for(Duration::from_millis(at));
        prop_assume!(pair.sides[side].endpoint.conversations() == 1);
        let id = pair.id(side, 1);
        pair.input(side, Input::Cancel { id, reason: CancelReason::USER });
        pair.assert_fails();
    }

    /// Whatever a host changes of the key exchange, no lane comes of it; and whatever else it
    /// changes, never two different ones.
    #[test]
    fn a_host_that_changes_what_matters_gets_no_connection(seed: u64, percent in 10..100_u32, code: bool) {
        let exchange_changed = Rc::new(Cell::new(false));
        let meddler = forging(seed, percent, exchange_changed.clone());
        let mut pair = Pair::new(Road { meddler: Some(meddler), ..Road::default() }, seed);
        if code {
            pair.expect(BOB, 7, WORDS, RelayPolicy::Auto);
            pair.propose_code(ALICE, 1, WORDS, RelayPolicy::Auto);
        } else {
            pair.propose_native(ALICE, 1, Secret::None, RelayPolicy::Auto);
        }
        pair.run();
        pair.assert_settled();
        prop_assert!(!(exchange_changed.get() && pair.is_connected(ALICE)), "{:?}", pair.story());
    }
}

/// Each way of changing the key exchange, alone, in either message: no transfer, and both sides
/// learn that it is about security.
#[test]
fn s_03_each_change_of_the_key_exchange_is_noticed_by_both() {
    for victim in [ALICE, BOB] {
        for change in 0..4 {
            for code in [true, false] {
                let meddler: Meddler = Box::new(move |side, signal| {
                    let changed = match &signal {
                        Signal::Rendezvous(message)
                            if side == victim && message.kind == MessageKind::PROPOSE =>
                        {
                            edited(message, |params| change_security(params, change))
                        }
                        _ => signal,
                    };
                    vec![(Duration::ZERO, changed)]
                });
                let mut pair = Pair::new(
                    Road {
                        meddler: Some(meddler),
                        ..Road::default()
                    },
                    5,
                );
                if code {
                    pair.expect(BOB, 7, WORDS, RelayPolicy::Auto);
                    pair.propose_code(ALICE, 1, WORDS, RelayPolicy::Auto);
                } else {
                    pair.propose_native(ALICE, 1, Secret::None, RelayPolicy::Auto);
                }
                let ends = pair.assert_fails();
                let about_security = |end: &Option<EndReason>| {
                    matches!(
                        end,
                        Some(
                            EndReason::Security(_)
                                | EndReason::SecurityRefusedByPeer
                                | EndReason::WrongCode(_)
                        )
                    )
                };
                let asked = victim == BOB || code || change == 3;
                assert!(
                    about_security(&ends[ALICE]),
                    "{victim} {change} {code}: {ends:?}"
                );
                assert!(
                    !asked || about_security(&ends[BOB]),
                    "{victim} {change} {code}: {ends:?}"
                );
            }
        }
    }
}

/// 0: no REQUEST_SECURE, 1: no block, 2: a block cut to its header, 3: another key.
fn change_security(params: &mut rdv_proto::wire::tlv::TlvList, change: u32) {
    match change {
        0 => drop(params.remove_all(tag::REQUEST_SECURE)),
        1 => drop(params.remove_all(tag::SECURITY)),
        _ => {
            for tlv in params.0.iter_mut().filter(|tlv| tlv.tag == tag::SECURITY) {
                let mut bytes = tlv.value.to_vec();
                // Header 6 bytes, item header 4, then the hash of the key.
                if change == 3 && bytes.len() > 20 {
                    bytes[12] ^= 1;
                } else {
                    bytes.truncate(6);
                }
                tlv.value = bytes.into();
            }
        }
    }
}
