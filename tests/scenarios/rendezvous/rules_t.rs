//! Rulings of our own where the sources are silent or contradict each other.

use std::net::Ipv4Addr;
use std::time::Duration;

use rdv_proto::rendezvous::{
    AttemptError, ConversationId, EndReason, Event, Input, LegacySecurity, Network, RelayPolicy,
    Security, SecurityFault, Wait,
};
use rdv_proto::wire::rendezvous::{CancelReason, Cookie, Message, NakCode, tag};
use rdv_proto::wire::service::{DIRECT_IM, SEND_FILE, short_capability};
use rdv_proto::wire::signal::Signal;
use rdv_tests::pair::{ALICE, BOB, Decision, Pair, edited};
use rdv_tests::road::{Relay, Road, Tcp};
use rdv_tests::solo::{COOKIE, Solo, first, proposal, with_file};

const AUTO: RelayPolicy = RelayPolicy::Auto;
const PLAIN: LegacySecurity = LegacySecurity::Plain;
const ANY: LegacySecurity = LegacySecurity::Opportunistic;
const REQUIRED: LegacySecurity = LegacySecurity::Required;

fn direct(number: u16, last: u8) -> Message {
    let ip = Ipv4Addr::new(192, 0, 2, last);
    proposal(number).with_direct(ip, ip, 5000)
}

#[test]
fn t_01_a_zero_cookie_begins_nothing() {
    let mut solo = Solo::default();
    solo.hear_signal(&Signal::Rendezvous(with_file(
        Message::propose(
            Cookie::ZERO,
            SEND_FILE,
            rdv_proto::wire::rendezvous::SequenceNumber::FIRST,
        )
        .with_direct([192, 0, 2, 1].into(), [192, 0, 2, 1].into(), 5000),
    )));
    assert!(solo.sent.is_empty() && solo.events.is_empty());
    let id = ConversationId {
        peer: solo.peer.clone(),
        cookie: Cookie::ZERO,
    };
    let proposal = rdv_proto::rendezvous::Proposal::Legacy {
        service: SEND_FILE,
        service_tags: rdv_proto::wire::tlv::TlvList::new(),
        security: PLAIN,
    };
    solo.input(Input::Propose {
        id,
        proposal,
        relay: AUTO,
    });
    assert_eq!(
        (solo.sent.len(), solo.ended()),
        (0, Some(&EndReason::Misused))
    );
}

#[test]
fn t_02_the_same_cookie_of_another_peer_is_another_conversation() {
    let mut solo = Solo::default();
    solo.offer(PLAIN, AUTO);
    let stranger = "mallory".parse().expect("a name");
    let cancel = Signal::Rendezvous(Message::cancel(COOKIE, SEND_FILE, CancelReason::USER));
    solo.input(Input::Signal {
        from: stranger,
        body: cancel.encode(),
    });
    assert_eq!(solo.ended(), None);
    let body = Signal::Rendezvous(first()).encode();
    solo.input(Input::Signal {
        from: "mallory".parse().expect("a name"),
        body,
    });
    assert_eq!((solo.questions(), solo.endpoint.conversations()), (1, 2));
    // Names are compared without case and spaces.
    let body = cancel.encode();
    solo.input(Input::Signal {
        from: "A L I C E".parse().expect("a name"),
        body,
    });
    assert!(solo.ended().is_some());
}

#[test]
fn t_02_another_service_under_a_known_cookie_is_dropped() {
    let mut solo = Solo::default();
    solo.offer(PLAIN, AUTO);
    solo.hear(Message::cancel(COOKIE, DIRECT_IM, CancelReason::USER));
    assert_eq!(solo.ended(), None);
}

#[test]
fn t_03_stale_numbers_are_dropped_gaps_taken_and_past_64_is_the_end() {
    let mut solo = Solo::default();
    solo.offer(PLAIN, AUTO);
    solo.hear(direct(5, 5));
    solo.hear(direct(5, 6));
    solo.hear(direct(2, 7));
    assert_eq!(solo.dials(), ["192.0.2.5:5000"]);
    solo.hear(direct(64, 8));
    assert_eq!(solo.dials(), ["192.0.2.5:5000", "192.0.2.8:5000"]);
    assert_eq!(solo.ended(), None);
    solo.hear(direct(65, 9));
    assert_eq!(
        (solo.said(), solo.ended()),
        (
            vec!["P1".into(), "C0".into()],
            Some(&EndReason::TooManyProposals)
        )
    );
}

#[test]
fn t_04_with_equal_numbers_an_odd_one_is_the_initiators() {
    // We are the initiator and have sent 3; the responder's 3 loses.
    let mut solo = Solo::default();
    solo.offer(PLAIN, AUTO);
    solo.hear(proposal(2).with_no_address());
    solo.relay_made("192.0.2.80:5190");
    assert_eq!(solo.said(), ["P1", "P3"]);
    solo.hear(direct(3, 10));
    assert!(solo.dialled.is_empty() && solo.hung_up.is_empty() && solo.ended().is_none());
}

#[test]
fn t_04_and_an_even_one_the_responders() {
    // We are the responder and have sent 2; the initiator's 2 loses.
    let mut solo = Solo::default();
    solo.hear(first());
    solo.accept(ANY, AUTO);
    solo.wait(Duration::from_secs(5));
    assert_eq!(solo.said(), ["P2"]);
    solo.hear(direct(2, 10));
    assert_eq!((solo.dials().len(), solo.listened), (1, (1, 0)));
    // We are the initiator and have sent 4, say; the responder's wins, and ours is dropped.
    let mut solo = Solo::default();
    solo.offer(PLAIN, AUTO);
    solo.hear(direct(3, 10));
    solo.wait(Duration::from_secs(5));
    assert_eq!(
        solo.said(),
        ["P1"],
        "the listener was used up, a relay session is being made"
    );
    solo.relay_made("192.0.2.80:5190");
    assert_eq!(solo.said(), ["P1", "P4"]);
    let session = solo.created[0];
    solo.hear(direct(4, 11));
    assert!(solo.hung_up.contains(&session));
    assert_eq!(
        solo.dials().last().map(String::as_str),
        Some("192.0.2.11:5000")
    );
    // The next number is one more for both.
    solo.wait(Duration::from_secs(5));
    assert_eq!(solo.said().last().map(String::as_str), Some("P5"));
}

#[test]
fn t_04_of_two_direct_ims_at_once_the_smaller_cookie_is_kept() {
    for (theirs, kept) in [([0_u8; 7], true), ([0xFF; 7], false)] {
        let mut solo = Solo::default();
        solo.endpoint.config_mut().services.insert(DIRECT_IM);
        let id = solo.id();
        let proposal = rdv_proto::rendezvous::Proposal::Legacy {
            service: DIRECT_IM,
            service_tags: rdv_proto::wire::tlv::TlvList::new(),
            security: PLAIN,
        };
        solo.input(Input::Propose {
            id,
            proposal,
            relay: AUTO,
        });
        let mut cookie = [1; 8];
        cookie[..7].copy_from_slice(&theirs);
        let number = rdv_proto::wire::rendezvous::SequenceNumber::FIRST;
        solo.hear(
            Message::propose(Cookie(cookie), DIRECT_IM, number).with_direct(
                [192, 0, 2, 1].into(),
                [192, 0, 2, 1].into(),
                5000,
            ),
        );
        assert_eq!(solo.said(), ["P1", "C0"]);
        assert_eq!(solo.questions(), usize::from(kept));
        assert_eq!(solo.ended(), kept.then_some(&EndReason::Superseded));
        assert_eq!(solo.last_message().cookie == COOKIE, kept);
    }
}

#[test]
fn t_05_late_messages_of_an_ended_conversation_are_dropped_for_five_minutes() {
    let mut solo = Solo::default();
    solo.hear(first());
    let id = solo.id();
    solo.input(Input::Decline { id });
    solo.wait(Duration::from_secs(299));
    solo.hear(first());
    assert_eq!((solo.questions(), solo.said().len()), (1, 2));
    solo.wait(Duration::from_secs(1));
    solo.hear(first());
    assert_eq!(solo.questions(), 2, "then it is new");
}

#[test]
fn t_05_so_are_those_of_one_that_finished_without_a_word() {
    let mut pair = Pair::meet_by_code(Road::default(), 1, AUTO);
    pair.run();
    let (id, sent) = (pair.id(ALICE, 1), pair.sides[ALICE].sent.len());
    pair.input(ALICE, Input::Finished { id: id.clone() });
    assert!(pair.ended(ALICE).is_none());
    let body = Signal::Rendezvous(pair.messages(BOB)[0].clone()).encode();
    pair.input(
        ALICE,
        Input::Signal {
            from: id.peer,
            body,
        },
    );
    assert_eq!(
        (
            pair.sides[ALICE].sent.len(),
            pair.sides[ALICE].endpoint.open_attempts()
        ),
        (sent, 0)
    );
}

#[test]
fn t_05_what_a_new_session_of_the_peer_says_is_no_straggler() {
    let mut solo = Solo::default();
    let peer = solo.id().peer;
    let anew = |solo: &mut Solo| solo.input(Input::NewSession { peer: peer.clone() });
    solo.hear(first());
    let id = solo.id();
    solo.input(Input::Decline { id });
    solo.hear(first());
    assert_eq!(solo.questions(), 1, "a straggler");
    anew(&mut solo);
    solo.hear(first());
    assert_eq!(solo.questions(), 2);
    solo.hear(first());
    assert_eq!(solo.questions(), 2, "a repetition");
    // It waits for our user when its maker starts again: the new one takes its place.
    anew(&mut solo);
    solo.hear(first());
    assert_eq!(solo.questions(), 3);
    assert!(solo.events.iter().any(|event| matches!(
        event,
        Event::Ended {
            reason: EndReason::Superseded,
            ..
        }
    )));
    // What is being acted on goes on.
    solo.accept(LegacySecurity::Opportunistic, RelayPolicy::Auto);
    anew(&mut solo);
    solo.hear(first());
    assert_eq!(solo.questions(), 3);
}

#[test]
fn t_06_list_verified_requester_rendezvous_in_this_order_each_once() {
    let mut solo = Solo::default();
    let message =
        with_file(proposal(1).with_direct([203, 0, 113, 2].into(), [203, 0, 113, 3].into(), 5000));
    let list: Vec<_> = ["203.0.113.9:5009", "203.0.113.2:5000", "0.0.0.0:5000"]
        .map(|a| a.parse().expect("an address"))
        .into();
    solo.hear_signal(&edited(&message.with_addr_list(&list), |params| {
        params.push(tag::VERIFIED_IP, vec![203, 0, 113, 4])
    }));
    solo.accept(ANY, AUTO);
    solo.wait(Duration::from_secs(2));
    assert_eq!(
        solo.dials(),
        [
            "203.0.113.9:5009",
            "203.0.113.2:5000",
            "203.0.113.4:5000",
            "203.0.113.3:5000"
        ]
    );
}

#[test]
fn t_07_dials_begin_250_ms_apart_and_end_together_after_5_s() {
    let mut solo = Solo::default();
    let list: Vec<_> = (1..=12)
        .map(|n| std::net::SocketAddr::from(([203, 0, 113, n], 5000)))
        .collect();
    solo.hear(first().with_addr_list(&list));
    solo.accept(ANY, AUTO);
    solo.wait(Duration::from_millis(4_999));
    let times: Vec<_> = solo.dialled.iter().map(|(at, ..)| at.as_millis()).collect();
    assert_eq!(
        times,
        [0, 250, 500, 750, 1_000, 1_250, 1_500, 1_750],
        "eight are tried"
    );
    assert!(solo.hung_up.is_empty());
    solo.wait(Duration::from_millis(1));
    assert_eq!(
        (solo.hung_up.len(), solo.said()),
        (8, vec!["P2".to_owned()])
    );
}

#[test]
fn t_07_a_refused_dial_lets_the_next_begin_at_once() {
    let mut solo = Solo::default();
    let list = ["203.0.113.1:5000", "203.0.113.2:5000"].map(|a| a.parse().expect("an address"));
    solo.hear(first().with_addr_list(&list));
    solo.accept(ANY, AUTO);
    let attempt = solo.attempt_to("203.0.113.1:5000");
    solo.wait(Duration::from_millis(10));
    solo.input(Input::Failed {
        attempt,
        error: AttemptError::Refused,
    });
    assert_eq!(solo.dials(), ["203.0.113.1:5000", "203.0.113.2:5000"]);
}

#[test]
fn t_07_the_user_decides_within_120_s() {
    let mut solo = Solo::default();
    solo.hear(first());
    solo.wait(Duration::from_millis(119_999));
    assert!(solo.said().is_empty());
    solo.wait(Duration::from_millis(1));
    assert_eq!(
        (solo.said(), solo.ended()),
        (
            vec!["N4".into(), "C2".into()],
            Some(&EndReason::TimedOut(Wait::Decision))
        )
    );
}

#[test]
fn t_07_relay_and_listener_waits() {
    // CREATED 10 s; then READY 120 s for a first proposal.
    let mut solo = Solo::default();
    solo.offer(PLAIN, RelayPolicy::Only);
    solo.wait(Duration::from_millis(9_999));
    assert!(solo.hung_up.is_empty());
    solo.wait(Duration::from_millis(1));
    assert_eq!(solo.hung_up.len(), 1);
    let mut solo = Solo::default();
    solo.offer(PLAIN, RelayPolicy::Only);
    solo.relay_made("192.0.2.80:5190");
    solo.wait(Duration::from_millis(119_999));
    assert_eq!(solo.said(), ["P1"]);
    solo.wait(Duration::from_millis(1));
    assert_eq!(solo.said(), ["P1", "C2"]);
    // Our own listener, second proposal: 30 s. Then READY 60 s, but 90 s in all.
    let mut solo = Solo::default();
    solo.hear(first());
    solo.accept(ANY, AUTO);
    solo.wait(Duration::from_millis(5_000 + 29_999));
    assert!(solo.created.is_empty());
    solo.wait(Duration::from_millis(1));
    assert_eq!((solo.created.len(), solo.listened), (1, (1, 1)));
    solo.relay_made("192.0.2.80:5190");
    assert_eq!(solo.said(), ["P2", "P3"]);
    solo.wait(Duration::from_millis(54_999));
    assert_eq!(solo.ended(), None);
    solo.wait(Duration::from_millis(1));
    assert_eq!(solo.said(), ["P2", "P3", "C2"]);
    assert!(matches!(solo.ended(), Some(EndReason::NoPath { .. })));
}

#[test]
fn t_07_a_listener_that_does_not_open_is_not_waited_for() {
    let mut solo = Solo::default();
    solo.gathers = false;
    solo.offer(PLAIN, AUTO);
    solo.wait(Duration::from_millis(4_999));
    assert!(solo.created.is_empty());
    solo.wait(Duration::from_millis(1));
    assert_eq!((solo.created.len(), solo.listened), (1, (1, 1)));
    // One that opens after all is closed again.
    let id = solo.id();
    solo.input(Input::Gathered {
        generation: 0,
        id,
        listen_port: Some(4443),
        candidates: Vec::new(),
        network: Network::default(),
        complete: true,
    });
    assert_eq!(solo.listened, (1, 2));
}

#[test]
fn t_07_a_native_pair_without_any_way_knows_within_15_s() {
    let road = Road {
        relay: Relay::Unreachable,
        ..Road::with_tcp(Tcp::Dropped, Tcp::Dropped)
    };
    let mut pair = Pair::meet_by_code(road, 1, AUTO);
    let [alice, bob] = pair.assert_fails();
    assert!(
        pair.last_event() < Duration::from_millis(15_200),
        "{:?}",
        pair.story()
    );
    assert!(matches!(bob, Some(EndReason::NoPath { .. })), "{bob:?}");
    let told = [
        EndReason::Refused(Some(NakCode::TIMED_OUT)),
        EndReason::Cancelled(CancelReason::TIMEOUT),
    ];
    assert!(alice.is_some_and(|end| told.contains(&end)));
}

#[test]
fn t_07_a_code_that_nobody_answers_ends_after_30_s() {
    let mut pair = Pair::new(Road::default(), 1);
    pair.propose_code(ALICE, 1, ["otter", "lamp", "verse"], AUTO);
    let ends = pair.assert_fails();
    assert_eq!(ends, [Some(EndReason::TimedOut(Wait::Answer)), None]);
    assert_eq!(pair.elapsed.as_secs(), 30);
}

#[test]
fn t_08_a_connection_that_fails_does_not_end_the_wait() {
    let mut solo = Solo::default();
    solo.offer(PLAIN, AUTO);
    for error in [
        AttemptError::WrongProof,
        AttemptError::Closed,
        AttemptError::NotTls,
    ] {
        let attempt = solo.knock([203, 0, 113, 66]);
        solo.input(Input::Failed { attempt, error });
    }
    assert_eq!((solo.ended(), solo.listened), (None, (1, 0)));
    let attempt = solo.knock([192, 0, 2, 10]);
    solo.input(Input::Secured {
        attempt,
        round_trip: None,
    });
    assert_eq!(solo.established(), Some(attempt));
}

#[test]
fn t_09_who_dials_or_joins_is_the_tls_client() {
    let mut pair = Pair::new(Road::default(), 1);
    pair.sides[BOB].security = REQUIRED;
    pair.propose_file(ALICE, 1, REQUIRED, AUTO);
    pair.assert_connects();
    let mut pair = Pair::new(Road::with_tcp(Tcp::Dropped, Tcp::Dropped), 1);
    pair.sides[BOB].security = REQUIRED;
    pair.propose_file(ALICE, 1, REQUIRED, AUTO);
    pair.assert_connects();
}

#[test]
fn t_09_required_never_falls_back_to_plain() {
    // The peer does not speak TLS on the connection that we made to it.
    let mut solo = Solo::default();
    solo.hear(first().with_request_secure());
    solo.accept(REQUIRED, AUTO);
    let attempt = solo.attempt_to("192.0.2.10:5000");
    solo.input(Input::Connected { attempt });
    solo.input(Input::Failed {
        attempt,
        error: AttemptError::NotTls,
    });
    assert_eq!(
        solo.ended(),
        Some(&EndReason::Security(SecurityFault::NotSecure))
    );
    assert_eq!(
        solo.said(),
        ["A", "C0"],
        "after the ACCEPT nothing is refused"
    );
}

#[test]
fn t_10_a_counter_proposal_without_request_secure_is_a_downgrade() {
    let counter = || direct(2, 10);
    let mut solo = Solo::default();
    solo.offer(REQUIRED, AUTO);
    solo.hear(counter());
    assert_eq!(solo.said(), ["P1", "N10", "C0"]);
    assert_eq!(
        solo.ended(),
        Some(&EndReason::Security(SecurityFault::NotSecure))
    );
    let mut solo = Solo::default();
    solo.offer(ANY, AUTO);
    solo.hear(counter());
    let attempt = solo.attempt_to("192.0.2.10:5000");
    solo.input(Input::Connected { attempt });
    assert!(
        matches!(solo.secured.last(), Some((_, true, Security::Plain { .. }))),
        "allowed by the user"
    );
}

#[test]
fn t_10_so_is_an_accept_without_it() {
    let mut solo = Solo::default();
    solo.offer(REQUIRED, AUTO);
    solo.knock([192, 0, 2, 10]);
    solo.hear(Message::accept(COOKIE, SEND_FILE));
    assert_eq!(solo.said(), ["P1", "N10", "C0"]);
    assert_eq!(
        solo.ended(),
        Some(&EndReason::Security(SecurityFault::NotSecure))
    );
    let mut solo = Solo::default();
    solo.offer(REQUIRED, AUTO);
    solo.hear(Message::accept(COOKIE, SEND_FILE).with_request_secure());
    assert_eq!(solo.ended(), None);
}

#[test]
fn t_10_whoever_may_not_use_tls_refuses_a_peer_that_wants_it() {
    let mut solo = Solo::default();
    solo.offer(PLAIN, AUTO);
    solo.hear(direct(2, 10).with_request_secure());
    assert_eq!(
        solo.ended(),
        Some(&EndReason::Security(SecurityFault::SecureUnwanted))
    );
}

#[test]
fn t_10_a_native_accept_without_it_too() {
    let mut pair = Pair::new(Road::default(), 1);
    // USE is slower than the ACCEPT.
    pair.road.tcp_delay = Duration::from_millis(500);
    pair.road.meddler = Some(Box::new(|_, signal| {
        let changed = match &signal {
            Signal::Rendezvous(message)
                if message.kind == rdv_proto::wire::rendezvous::MessageKind::ACCEPT =>
            {
                edited(message, |params| {
                    params.remove_all(tag::REQUEST_SECURE);
                })
            }
            _ => signal,
        };
        vec![(Duration::ZERO, changed)]
    }));
    pair.expect(BOB, 7, ["otter", "lamp", "verse"], AUTO);
    pair.propose_code(ALICE, 1, ["otter", "lamp", "verse"], AUTO);
    let [alice, bob] = pair.assert_fails();
    assert_eq!(alice, Some(EndReason::Security(SecurityFault::NotSecure)));
    assert_eq!(bob, Some(EndReason::SecurityRefusedByPeer));
}

#[test]
fn t_11_on_a_relay_nothing_is_secured_before_ready() {
    let mut solo = Solo::default();
    solo.offer(REQUIRED, RelayPolicy::Only);
    solo.relay_made("192.0.2.80:5190");
    assert!(solo.secured.is_empty());
    let attempt = solo.created[0];
    solo.input(Input::Connected { attempt });
    assert!(
        matches!(
            solo.secured.last(),
            Some((_, false, Security::LegacyTls { .. }))
        ),
        "who created it is the server"
    );
}

#[test]
fn t_16_an_unknown_service_is_refused_and_unknown_tags_are_skipped() {
    let mut solo = Solo::default();
    let number = rdv_proto::wire::rendezvous::SequenceNumber::FIRST;
    solo.hear(Message::propose(COOKIE, short_capability(0x1399), number));
    assert_eq!(
        (solo.said(), solo.questions()),
        (vec!["N0".into(), "C0".into()], 0)
    );
    let mut solo = Solo::default();
    solo.hear_signal(&edited(&first(), |params| {
        params.push(0x001D, vec![1, 2, 3]);
        params.push(0x7777, vec![]);
    }));
    assert_eq!(solo.questions(), 1);
}

#[test]
fn t_17_one_nak_for_a_proposal_and_none_after_our_accept() {
    let mut solo = Solo::default();
    solo.hear(first());
    solo.accept(ANY, AUTO);
    let attempt = solo.attempt_to("192.0.2.10:5000");
    solo.input(Input::Connected { attempt });
    solo.wait(Duration::from_secs(300));
    let said = solo.said();
    assert!(
        said[0] == "A" && said.iter().all(|said| !said.starts_with('N')),
        "{said:?}"
    );
    // A repetition of what we accepted makes it no proposal that could be refused.
    let mut solo = Solo::default();
    solo.hear(first().with_request_secure());
    solo.accept(REQUIRED, AUTO);
    let attempt = solo.attempt_to("192.0.2.10:5000");
    solo.input(Input::Connected { attempt });
    solo.hear(first().with_request_secure());
    solo.input(Input::Failed {
        attempt,
        error: AttemptError::NotTls,
    });
    assert_eq!(solo.said(), ["A", "C0"]);
    let mut road = Road::with_tcp(Tcp::Refused, Tcp::Refused);
    road.relay = Relay::Error(0x0D);
    let mut pair = Pair::new(road, 3);
    pair.sides[BOB].decision = Decision::Accept(Duration::from_secs(1));
    pair.propose_file(ALICE, 1, PLAIN, AUTO);
    pair.assert_fails();
    let naks = |side: usize| {
        pair.sides[side]
            .sent
            .iter()
            .filter(|(_, signal)| matches!(signal, Signal::ClientError { .. }))
            .count()
    };
    assert!(naks(ALICE) + naks(BOB) <= 1, "{:?}", pair.story());
}

#[test]
fn limits_on_what_waits_for_the_user() {
    let offer = |solo: &mut Solo, peer: &str, cookie: u8| {
        let number = rdv_proto::wire::rendezvous::SequenceNumber::FIRST;
        let message = Message::propose(Cookie([cookie; 8]), SEND_FILE, number);
        let message =
            with_file(message.with_direct([192, 0, 2, 1].into(), [192, 0, 2, 1].into(), 5000));
        let from = peer.parse().expect("a name");
        solo.input(Input::Signal {
            from,
            body: Signal::Rendezvous(message).encode(),
        });
    };
    let mut solo = Solo::default();
    for cookie in 1..=5 {
        offer(&mut solo, "alice", cookie);
    }
    assert_eq!(
        (solo.questions(), solo.said()),
        (4, vec!["N7".into(), "C0".into()]),
        "four of one peer"
    );
    let mut solo = Solo::default();
    solo.endpoint
        .config_mut()
        .contacts
        .insert("friend".parse().expect("a name"));
    offer(&mut solo, "friend", 1);
    for stranger in 1..=16 {
        solo.wait(Duration::from_millis(1));
        offer(&mut solo, &format!("stranger{stranger}"), 1);
    }
    assert_eq!((solo.questions(), solo.endpoint.conversations()), (17, 16));
    let made_room = solo.events.iter().find_map(|event| match event {
        Event::Ended {
            id,
            reason: EndReason::TooManyConversations,
            ..
        } => Some(id.peer.as_str().to_owned()),
        _ => None,
    });
    assert_eq!(
        made_room.as_deref(),
        Some("stranger1"),
        "the oldest that the user does not know"
    );
}

#[test]
fn sixteen_outgoing_conversations_are_open_at_once() {
    let mut pair = Pair::new(Road::default(), 1);
    pair.sides[BOB].decision = Decision::Ignore;
    for number in 1..=17 {
        pair.propose_file(ALICE, number, PLAIN, AUTO);
    }
    assert_eq!(pair.sides[ALICE].endpoint.conversations(), 16);
    assert_eq!(pair.ended(ALICE), Some(EndReason::TooManyConversations));
}

#[test]
fn what_the_host_cannot_deliver_ends_it() {
    let mut road = Road::default();
    road.signalling[ALICE].undelivered = true;
    let mut pair = Pair::meet_by_code(road, 1, AUTO);
    let ends = pair.assert_fails();
    assert_eq!(ends[ALICE], Some(EndReason::Undeliverable { code: 4 }));
}
