//! Promises of the security rules that the negotiation keeps.

use std::net::SocketAddr;
use std::time::Duration;

use rdv_proto::rendezvous::{
    AttemptError, EndReason, Event, Input, LegacySecurity, Network, Path, Protocol, RelayPolicy,
    Security, SecurityFault, WrongCodeSeenBy,
};
use rdv_proto::trust::Secret;
use rdv_proto::wire::rendezvous::{CancelReason, Message, MessageKind, NakCode, tag};
use rdv_proto::wire::service::SEND_FILE;
use rdv_proto::wire::signal::Signal;
use rdv_tests::pair::{ALICE, BOB, Pair, edited};
use rdv_tests::road::{Meddler, Relay, Road, Tcp};
use rdv_tests::solo::{COOKIE, Solo, first, proposal, with_file};

const AUTO: RelayPolicy = RelayPolicy::Auto;
const ANY: LegacySecurity = LegacySecurity::Opportunistic;
const CODE: [&str; 3] = ["otter", "lamp", "verse"];

/// Changes the proposal with that number on its way.
fn changed(number: u16, change: impl Fn(&mut rdv_proto::wire::tlv::TlvList) + 'static) -> Road {
    let meddler: Meddler = Box::new(move |_, signal| {
        let signal = match &signal {
            Signal::Rendezvous(message)
                if message.sequence().is_some_and(|n| n.get() == number) =>
            {
                edited(message, &change)
            }
            _ => signal,
        };
        vec![(Duration::ZERO, signal)]
    });
    Road {
        meddler: Some(meddler),
        ..Road::default()
    }
}

#[test]
fn s_03_a_legacy_proposal_below_the_bar_is_refused_at_once() {
    let mut solo = Solo::default();
    solo.endpoint.config_mut().legacy_security = LegacySecurity::Required;
    solo.hear(first());
    assert_eq!(
        (solo.said(), solo.questions()),
        (vec!["N10".into(), "C0".into()], 0)
    );
}

#[test]
fn s_03_a_native_proposal_without_tls_or_block_is_refused() {
    for stripped in [tag::REQUEST_SECURE, tag::SECURITY] {
        let mut pair = Pair::new(changed(1, move |params| _ = params.remove_all(stripped)), 1);
        pair.propose_native(ALICE, 1, Secret::None, AUTO);
        let ends = pair.assert_fails();
        assert_eq!(
            ends,
            [Some(EndReason::SecurityRefusedByPeer), None],
            "nobody is asked"
        );
    }
}

#[test]
fn s_03_both_sides_of_a_code_say_why() {
    let strip =
        |tag: u16| move |params: &mut rdv_proto::wire::tlv::TlvList| _ = params.remove_all(tag);
    for (number, stripped, us) in [
        (1, tag::REQUEST_SECURE, SecurityFault::NotSecure),
        (1, tag::SECURITY, SecurityFault::NoBlock),
        (2, tag::REQUEST_SECURE, SecurityFault::NotSecure),
        (2, tag::SECURITY, SecurityFault::NoBlock),
    ] {
        let mut pair = Pair::meet_by_code(changed(number, strip(stripped)), 1, AUTO);
        let ends = pair.assert_fails();
        let (finder, told) = if number == 1 {
            (BOB, ALICE)
        } else {
            (ALICE, BOB)
        };
        assert_eq!(ends[finder], Some(EndReason::Security(us)));
        let wrong = EndReason::WrongCode(WrongCodeSeenBy::Peer);
        assert!(
            ends[told] == Some(EndReason::SecurityRefusedByPeer) || ends[told] == Some(wrong),
            "{ends:?}"
        );
        assert!(pair.sides.iter().all(|side| side.dialled.is_empty()));
    }
}

#[test]
fn s_03_further_proposals_must_hold_what_was_sealed() {
    for change in 0..3 {
        let road = changed(3, move |params| match change {
            0 => _ = params.remove_all(tag::SECURITY),
            1 => _ = params.remove_all(tag::REQUEST_SECURE),
            _ => {
                for tlv in params.0.iter_mut().filter(|tlv| tlv.tag == tag::SECURITY) {
                    let mut block = tlv.value.to_vec();
                    *block.last_mut().expect("a byte") ^= 1;
                    tlv.value = block.into();
                }
            }
        });
        // Nothing connects before the third proposal is there.
        let mut pair = Pair::meet_by_code(
            Road {
                tcp_delay: Duration::from_secs(1),
                ..road
            },
            1,
            RelayPolicy::Never,
        );
        let ends = pair.assert_fails();
        let faults = [
            SecurityFault::NoBlock,
            SecurityFault::NotSecure,
            SecurityFault::BrokenSeal,
        ];
        assert_eq!(ends[BOB], Some(EndReason::Security(faults[change])));
        assert_eq!(ends[ALICE], Some(EndReason::SecurityRefusedByPeer));
    }
}

#[test]
fn s_04_a_wrong_code_ends_on_both_sides_before_any_address_is_told() {
    let mut pair = Pair::new(Road::default(), 1);
    pair.expect(BOB, 7, CODE, AUTO);
    pair.propose_code(ALICE, 1, ["otter", "lamp", "prose"], AUTO);
    let ends = pair.assert_fails();
    assert_eq!(ends[ALICE], Some(EndReason::WrongCode(WrongCodeSeenBy::Us)));
    assert_eq!(ends[BOB], Some(EndReason::WrongCode(WrongCodeSeenBy::Peer)));
    assert!(
        pair.last_event() < Duration::from_millis(300),
        "{:?}",
        pair.story()
    );
    let signals: Vec<_> = pair.sides[ALICE]
        .sent
        .iter()
        .skip(1)
        .map(|(_, signal)| (signal.nak(), signal.clone()))
        .collect();
    assert!(matches!(&signals[0].0, Some(nak) if nak.0 == 0x0A));
    assert!(
        matches!(&signals[1].1, Signal::Rendezvous(m) if m.kind == MessageKind::CANCEL && m.cancel_reason() == CancelReason::UNKNOWN)
    );
    assert!(pair.sides.iter().all(|side| side.dialled.is_empty()));
}

#[test]
fn s_06_a_code_allows_one_guess() {
    let mut pair = Pair::new(Road::default(), 1);
    pair.expect(BOB, 7, CODE, AUTO);
    pair.propose_code(ALICE, 1, ["otter", "lamp", "prose"], AUTO);
    pair.run();
    let before = pair.sides[BOB].sent.len();
    pair.propose_code(ALICE, 2, CODE, AUTO);
    pair.run();
    assert_eq!(
        pair.sides[BOB].sent.len(),
        before,
        "the right code comes too late and is not answered"
    );
    let matched = pair.sides[BOB]
        .events
        .iter()
        .filter(|(_, event)| matches!(event, Event::Matched { .. }));
    assert_eq!(matched.count(), 1);
}

#[test]
fn s_06_a_code_that_was_taken_back_or_ran_out_is_not_answered() {
    let mut pair = Pair::new(Road::default(), 1);
    pair.expect(BOB, 7, CODE, AUTO);
    pair.input(BOB, Input::Unexpect { expectation: 7 });
    pair.propose_code(ALICE, 1, CODE, AUTO);
    pair.assert_fails();
    assert!(pair.sides[BOB].sent.is_empty());
}

#[test]
fn s_09_nothing_is_dialled_before_the_user_said_yes() {
    let mut solo = Solo::default();
    solo.hear(first());
    solo.hear(proposal(2).with_direct([192, 0, 2, 11].into(), [192, 0, 2, 11].into(), 5000));
    solo.wait(Duration::from_secs(100));
    assert!(solo.dialled.is_empty() && solo.joined.is_empty() && solo.created.is_empty());
    let mut solo = Solo::default();
    solo.hear(with_file(proposal(1).with_relay([192, 0, 2, 80].into(), 7)));
    solo.wait(Duration::from_secs(100));
    assert!(solo.joined.is_empty());
}

#[test]
fn s_10_the_peer_sees_the_same_whatever_became_of_its_addresses() {
    let run = |address: [u8; 4], error: Option<AttemptError>| {
        let mut solo = Solo::default();
        solo.endpoint.config_mut().relay_known = false;
        solo.gathers = false;
        solo.hear(with_file(proposal(1).with_direct(
            address.into(),
            address.into(),
            5000,
        )));
        solo.accept(ANY, RelayPolicy::Never);
        solo.wait(Duration::from_millis(30));
        if let (Some(error), Some((_, attempt, _))) = (error, solo.dialled.first().copied()) {
            solo.input(Input::Failed { attempt, error });
        }
        solo.wait(Duration::from_secs(5));
        let id = solo.id();
        solo.input(Input::Gathered {
            generation: 0,
            id,
            listen_port: None,
            candidates: Vec::new(),
            network: Network::default(),
            complete: true,
        });
        solo.wait(Duration::from_secs(200));
        (solo.dialled.len(), solo.sent.clone())
    };
    let (dialled, refused) = run([192, 0, 2, 10], Some(AttemptError::Refused));
    assert_eq!(dialled, 1);
    assert_eq!(
        run([192, 0, 2, 10], None),
        (1, refused.clone()),
        "silent ports look like refused ones"
    );
    assert_eq!(
        run([192, 0, 2, 10], Some(AttemptError::Unreachable)),
        (1, refused.clone())
    );
    for inner in [[10, 0, 0, 1], [127, 0, 0, 1], [224, 0, 0, 1]] {
        assert_eq!(
            run(inner, None),
            (0, refused.clone()),
            "and so do addresses that are not dialled"
        );
    }
}

#[test]
fn s_10_a_foreign_relay_inside_our_network_is_not_joined() {
    let inside = [10, 0, 0, 1];
    let mut solo = Solo::default();
    let elsewhere = [SocketAddr::from((inside, 5443))];
    let named = proposal(1).with_relay(inside.into(), 7);
    solo.hear(with_file(named.with_addr_list(&elsewhere)));
    solo.accept(ANY, AUTO);
    assert!(solo.joined.is_empty());
    // With the port of our host it may be our host, as the peer reaches it. It is joined where we reach it.
    let mut solo = Solo::default();
    solo.hear(with_file(proposal(1).with_relay(inside.into(), 7)));
    solo.accept(ANY, AUTO);
    let joined: Vec<_> = solo
        .joined
        .iter()
        .map(|(_, relay)| relay.address.to_string())
        .collect();
    assert_eq!(joined, ["192.0.2.80:5190"]);
}

#[test]
fn s_11_no_listener_and_no_address_before_consent() {
    let mut solo = Solo::default();
    solo.hear(first());
    assert_eq!((solo.listened, solo.sent.len()), ((0, 0), 0));
    let mut pair = Pair::new(Road::default(), 1);
    pair.sides[BOB].decision = rdv_tests::pair::Decision::Ignore;
    pair.propose_native(ALICE, 1, Secret::None, AUTO);
    pair.run();
    assert!(
        !pair.sides[BOB].gathered
            && pair.sides[BOB]
                .sent
                .iter()
                .all(|(_, signal)| signal.nak().is_some() || is_cancel(signal))
    );
}

fn is_cancel(signal: &Signal) -> bool {
    matches!(signal, Signal::Rendezvous(message) if message.kind == MessageKind::CANCEL)
}

#[test]
fn s_11_native_messages_show_no_address_to_the_host() {
    let mut pair = Pair::meet_by_code(Road::with_tcp(Tcp::Dropped, Tcp::Dropped), 1, AUTO);
    pair.assert_connects();
    let open = [
        tag::RENDEZVOUS_IP,
        tag::REQUESTER_IP,
        tag::PORT,
        tag::ADDR_LIST,
        tag::SERVICE_DATA,
        tag::INVITATION,
    ];
    for message in [pair.messages(ALICE), pair.messages(BOB)].concat() {
        assert!(
            open.iter().all(|tag| !message.params().contains(*tag)),
            "{message:?}"
        );
        let bytes = message.encode();
        for ip in [[198, 51, 100, 1], [203, 0, 113, 2]] {
            assert!(!bytes.windows(4).any(|window| window == ip));
        }
    }
}

#[test]
fn s_11_the_relay_alone_gathers_dials_and_tells_nothing() {
    let mut pair = Pair::meet_by_code(Road::default(), 1, RelayPolicy::Only);
    let (_, path) = pair.assert_connects();
    assert!(matches!(path, Path::Relay(_)));
    assert!(
        pair.sides
            .iter()
            .all(|side| !side.gathered && side.dialled.is_empty())
    );
    // Not even what nobody asked for.
    let id = pair.id(ALICE, 1);
    let before = pair.sides[ALICE].sent.len();
    let found = rdv_proto::rendezvous::LocalCandidate {
        address: "198.51.100.1:4000".parse().expect("an address"),
        kind: rdv_proto::rendezvous::CandidateKind::HOST,
        protocol: Protocol::Tcp,
    };
    let mut early = Pair::meet_by_code(Road::default(), 1, RelayPolicy::Only);
    early.input(
        ALICE,
        Input::Gathered {
            generation: 0,
            id,
            listen_port: Some(4000),
            candidates: vec![found],
            network: Network::default(),
            complete: true,
        },
    );
    early.assert_connects();
    assert_eq!(early.sides[ALICE].sent.len(), before);
    let told = |pair: &Pair| pair.messages(ALICE)[1].encode().len();
    assert_eq!(told(&early), told(&pair), "nothing more under the seal");
    // Also if only one side wants it so.
    let mut pair = Pair::new(Road::default(), 1);
    pair.expect(BOB, 7, CODE, AUTO);
    pair.propose_code(ALICE, 1, CODE, RelayPolicy::Only);
    let (_, path) = pair.assert_connects();
    assert!(matches!(path, Path::Relay(_)));
    assert!(!pair.sides[ALICE].gathered && pair.sides.iter().all(|side| side.dialled.is_empty()));
}

#[test]
fn s_12_fifty_strangers_at_the_door_and_the_peer_still_gets_in() {
    let road = Road {
        relay: Relay::Unreachable,
        ..Road::with_tcp(Tcp::Open, Tcp::Dropped)
    };
    let mut pair = Pair::meet_by_code(road, 1, AUTO);
    // Bob listens; the strangers find the door before Alice has its address.
    pair.run_for(Duration::from_millis(60));
    for stranger in 0..50 {
        assert!(pair.knock(
            BOB,
            SocketAddr::from(([203, 0, 113, 200], 1_000 + stranger))
        ));
    }
    pair.assert_connects();
}

#[test]
fn s_12_silent_strangers_make_room_and_talking_ones_do_not() {
    let mut solo = Solo::default();
    solo.offer(LegacySecurity::Plain, AUTO);
    let mut knocked: Vec<_> = (0..8).map(|n| solo.knock([203, 0, 113, n])).collect();
    solo.input(Input::Heard {
        attempt: knocked[0],
    });
    knocked.push(solo.knock([203, 0, 113, 9]));
    assert_eq!(solo.hung_up, [knocked[1]], "the oldest silent one");
    for attempt in knocked.iter().skip(2) {
        solo.input(Input::Heard { attempt: *attempt });
    }
    let ninth = solo.knock([192, 0, 2, 10]);
    assert_eq!(
        solo.hung_up,
        [knocked[1], ninth],
        "all talk: the new one has to come again"
    );
    solo.wait(Duration::from_secs(15));
    assert_eq!(solo.hung_up.len(), 10, "none may talk for ever");
    assert_eq!(solo.ended(), None);
}

#[test]
fn s_12_a_stranger_at_an_address_of_the_peer_costs_nothing_but_its_own_attempt() {
    let mut road = Road::default();
    let stranger: SocketAddr = "203.0.113.77:40000".parse().expect("an address");
    road.strangers.push(stranger);
    let mut pair = Pair::new(road, 1);
    pair.sides[ALICE].decision = rdv_tests::pair::Decision::Ignore;
    pair.expect(BOB, 7, CODE, RelayPolicy::Never);
    pair.propose_code(ALICE, 1, CODE, RelayPolicy::Never);
    // Alice has one more address, at which somebody else sits.
    let id = pair.id(ALICE, 1);
    let candidates = vec![rdv_proto::rendezvous::LocalCandidate {
        address: stranger,
        kind: rdv_proto::rendezvous::CandidateKind::MAPPED,
        protocol: Protocol::Tcp,
    }];
    pair.input(
        ALICE,
        Input::Gathered {
            generation: 0,
            id,
            listen_port: Some(40_000),
            candidates,
            network: Network::default(),
            complete: true,
        },
    );
    pair.assert_connects();
}

#[test]
fn s_12_zero_cookies_count_only_from_where_the_peer_is() {
    let mut solo = Solo::default();
    solo.hear(first());
    solo.accept(ANY, AUTO);
    solo.wait(Duration::from_secs(5));
    solo.knock([203, 0, 113, 66]);
    solo.knock([192, 0, 2, 10]);
    let counts: Vec<_> = solo
        .secured
        .iter()
        .map(|(_, _, how)| {
            matches!(
                how,
                Security::Plain {
                    zero_cookie_counts: true
                }
            )
        })
        .collect();
    assert_eq!(counts, [false, true]);
}

#[test]
fn s_13_repeated_messages_have_no_effect() {
    for kind in [
        MessageKind::PROPOSE,
        MessageKind::ACCEPT,
        MessageKind::CANCEL,
    ] {
        let mut plain = Pair::meet_by_code(Road::default(), 1, AUTO);
        let expected = plain.assert_connects();
        let twice: Meddler = Box::new(move |_, signal| {
            let again = matches!(&signal, Signal::Rendezvous(message) if message.kind == kind);
            let copies = if again { 4 } else { 1 };
            (0..copies)
                .map(|copy| (Duration::from_millis(copy * 7), signal.clone()))
                .collect()
        });
        let mut pair = Pair::meet_by_code(
            Road {
                meddler: Some(twice),
                ..Road::default()
            },
            1,
            AUTO,
        );
        assert_eq!(pair.assert_connects(), expected);
    }
    // Of another conversation that is over, too.
    let mut solo = Solo::default();
    for replayed in [
        Message::accept(COOKIE, SEND_FILE),
        Message::cancel(COOKIE, SEND_FILE, CancelReason::USER),
    ] {
        solo.hear(replayed);
    }
    assert!(solo.sent.is_empty() && solo.events.is_empty());
}

#[test]
fn s_13_what_overtakes_the_answer_waits_for_it() {
    let late_answer: Meddler = Box::new(|_, signal| {
        let answer =
            matches!(&signal, Signal::Rendezvous(m) if m.sequence().is_some_and(|n| n.get() == 2));
        vec![(Duration::from_millis(if answer { 900 } else { 0 }), signal)]
    });
    let road = Road::with_tcp(Tcp::Dropped, Tcp::Dropped);
    let mut pair = Pair::meet_by_code(
        Road {
            meddler: Some(late_answer),
            ..road
        },
        1,
        AUTO,
    );
    // The relay session is told in the third proposal, which arrives first.
    let (_, path) = pair.assert_connects();
    assert!(matches!(path, Path::Relay(_)));
}

#[test]
fn s_13_a_number_of_another_message_does_not_open_the_seal() {
    let renumbered = |params: &mut rdv_proto::wire::tlv::TlvList| {
        params
            .0
            .iter_mut()
            .filter(|tlv| tlv.tag == tag::SEQUENCE)
            .for_each(|tlv| tlv.value = vec![0, 9].into());
    };
    let mut pair = Pair::meet_by_code(
        Road {
            tcp_delay: Duration::from_secs(1),
            ..changed(3, renumbered)
        },
        1,
        RelayPolicy::Never,
    );
    let ends = pair.assert_fails();
    assert_eq!(
        ends[BOB],
        Some(EndReason::Security(SecurityFault::BrokenSeal))
    );
}

#[test]
fn s_03_what_is_refused_without_asking_is_told() {
    let mut solo = Solo::default();
    solo.endpoint.config_mut().legacy_security = LegacySecurity::Required;
    solo.hear(first());
    assert_eq!(solo.said(), ["N10", "C0"]);
    let refused = solo.events.iter().find_map(|event| match event {
        Event::Refused { service, nak, .. } => Some((*service, *nak)),
        _ => None,
    });
    assert_eq!(refused, Some((SEND_FILE, NakCode::SECURITY_MISMATCH)));
    assert_eq!(solo.questions(), 0);
}

#[test]
fn a_session_that_only_sends_answers_no_first_proposal() {
    let mut solo = Solo::default();
    solo.endpoint.config_mut().only_outgoing = true;
    solo.hear(first());
    solo.endpoint.config_mut().legacy_security = LegacySecurity::Required;
    solo.hear(first());
    assert_eq!((solo.said().len(), solo.questions()), (0, 0));
    // Nothing is remembered of it either: later it is heard as the first.
    solo.endpoint.config_mut().only_outgoing = false;
    solo.endpoint.config_mut().legacy_security = ANY;
    solo.hear(first());
    assert_eq!(solo.questions(), 1);
}

#[test]
fn a_program_refuses_by_a_rule_of_its_own_with_the_reason() {
    let mut solo = Solo::default();
    solo.hear(first());
    let id = solo.id();
    let nak = NakCode::SECURITY_MISMATCH;
    solo.input(Input::Refuse { id, nak });
    assert_eq!(solo.said(), ["N10", "C0"]);
    assert_eq!(solo.ended(), Some(&EndReason::Declined));
}
