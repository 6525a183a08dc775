//! Native conversations: keys first, addresses sealed, the controller chooses the lane.

use std::time::Duration;

use rdv_proto::rendezvous::{
    AttemptError, AttemptId, CandidateKind, Carrier, EndReason, Event, Input, LocalCandidate,
    MoveReason, Network, Path, Protocol, RelayPolicy, TriedEnd, TriedSource,
};
use rdv_proto::trust::Secret;
use rdv_proto::wire::rendezvous::{Message, MessageKind, NakCode, SequenceNumber};
use rdv_proto::wire::service::NATIVE;
use rdv_proto::wire::signal::Signal;
use rdv_tests::pair::{ALICE, BOB, Decision, Pair};
use rdv_tests::road::{Relay, Road, Tcp};

#[test]
fn a_code_leads_to_a_direct_lane() {
    let mut pair = Pair::meet_by_code(Road::default(), 1, RelayPolicy::Auto);
    let (took, path) = pair.assert_connects();
    assert!(matches!(path, Path::Direct { .. }), "{path:?}");
    assert!(took < Duration::from_millis(700), "{took:?}");
}

#[test]
fn the_relay_is_taken_where_nothing_is_direct() {
    let road = Road::with_tcp(Tcp::Dropped, Tcp::Dropped);
    let mut pair = Pair::meet_by_code(road, 1, RelayPolicy::Auto);
    let (took, path) = pair.assert_connects();
    assert!(matches!(path, Path::Relay(_)), "{path:?}");
    assert!(took < Duration::from_millis(1_200), "{took:?}");
}

/// The peer sits on the machine of the host and names an address of it that leads nowhere from here.
#[test]
fn the_relay_of_our_own_host_is_joined_where_we_reach_the_host() {
    for (named, joins) in [("10.9.9.9:5190", true), ("10.9.9.9:5191", false)] {
        let mut pair = Pair::meet_by_code(Road::default(), 1, RelayPolicy::Only);
        pair.relay_named = named.parse().expect("an address");
        if joins {
            let (_, path) = pair.assert_connects();
            assert!(matches!(path, Path::Relay(_)), "{path:?}");
        } else {
            pair.assert_fails();
        }
    }
}

#[test]
fn a_relayed_lane_waits_a_little_for_a_direct_one() {
    let road = Road {
        relay: Relay::Open(Duration::from_millis(1)),
        tcp_delay: Duration::from_millis(200),
        ..Road::default()
    };
    let mut pair = Pair::meet_by_code(road, 1, RelayPolicy::Auto);
    let (_, path) = pair.assert_connects();
    assert!(matches!(path, Path::Direct { .. }), "{path:?}");
}

#[test]
fn but_never_longer_than_a_second() {
    // Signalling is slow, the relay slower: it is up long after the first second.
    let mut road = Road::with_tcp(Tcp::Dropped, Tcp::Dropped);
    road.relay = Relay::Open(Duration::from_millis(600));
    for signalling in &mut road.signalling {
        signalling.delay = Duration::from_secs(1);
    }
    let mut pair = Pair::meet_by_code(road, 1, RelayPolicy::Auto);
    let (took, path) = pair.assert_connects();
    assert!(matches!(path, Path::Relay(_)), "{path:?}");
    // C2 at 1.0 s, its answer at 3.0 s, and a second more.
    assert!(took < Duration::from_millis(4_200), "{took:?}");
}

#[test]
fn keys_alone_lead_to_a_lane_after_the_user_said_yes() {
    let mut pair = Pair::new(Road::default(), 1);
    pair.propose_native(ALICE, 1, Secret::None, RelayPolicy::Auto);
    let (took, path) = pair.assert_connects();
    assert!(matches!(path, Path::Direct { .. }), "{path:?}");
    assert!(
        took > Duration::from_secs(1) && took < Duration::from_millis(1_500),
        "{took:?}"
    );
    let asked = pair.sides[BOB]
        .events
        .iter()
        .find_map(|(_, event)| match event {
            Event::Proposed { offer, .. } => Some(offer.clone()),
            _ => None,
        });
    let offer = asked.expect("the user was asked");
    assert!(offer.secure && offer.key_hash.is_some() && offer.service == NATIVE);
}

#[test]
fn a_no_reaches_the_proposer() {
    let mut pair = Pair::new(Road::default(), 1);
    pair.sides[BOB].decision = Decision::Decline(Duration::from_secs(1));
    pair.propose_native(ALICE, 1, Secret::None, RelayPolicy::Auto);
    let ends = pair.assert_fails();
    assert_eq!(
        ends,
        [
            Some(EndReason::Refused(Some(NakCode::DENIED))),
            Some(EndReason::Declined)
        ]
    );
}

#[test]
fn each_side_is_told_once_of_the_match_the_key_and_the_lane() {
    let mut pair = Pair::meet_by_code(Road::default(), 1, RelayPolicy::Auto);
    pair.assert_connects();
    let names = |side: usize| {
        let name = |event: &Event| match event {
            Event::Matched { expectation: 7, .. } => "matched",
            Event::Keyed { .. } => "keyed",
            Event::Established {
                expectation: None, ..
            } => "established",
            Event::Established {
                expectation: Some(7),
                ..
            } => "established for the code",
            _ => "something else",
        };
        pair.sides[side]
            .events
            .iter()
            .map(|(_, event)| name(event))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(ALICE), ["keyed", "established"]);
    assert_eq!(names(BOB), ["matched", "keyed", "established for the code"]);
}

#[test]
fn who_answered_accepts_once() {
    let mut pair = Pair::meet_by_code(Road::default(), 1, RelayPolicy::Auto);
    pair.assert_connects();
    let accepts = |side: usize| {
        pair.messages(side)
            .into_iter()
            .filter(|m| m.kind == MessageKind::ACCEPT)
            .collect::<Vec<_>>()
    };
    assert_eq!((accepts(ALICE).len(), accepts(BOB).len()), (0, 1));
    assert!(accepts(BOB)[0].request_secure() && accepts(BOB)[0].security_bytes().is_some());
}

#[test]
fn a_lane_that_breaks_is_replaced() {
    let mut pair = Pair::meet_by_code(Road::default(), 1, RelayPolicy::Auto);
    pair.run_for(Duration::from_secs(10));
    let before = pair.elapsed;
    pair.break_lane();
    pair.assert_connects();
    for side in [ALICE, BOB] {
        let mut events = pair.sides[side].events.iter();
        let lost = events.find(|(_, event)| matches!(event, Event::LaneLost { .. }));
        assert!(lost.is_some(), "{:?}", pair.story());
        let moved = events.find_map(|(at, event)| match event {
            Event::Moved { why, path, .. } => Some((*at, *why, path.is_direct())),
            _ => None,
        });
        let (at, why, direct) = moved.expect("another lane");
        assert_eq!((why, direct), (MoveReason::Repair, true));
        assert!(at < before + Duration::from_millis(700), "{at:?}");
    }
}

#[test]
fn a_lane_that_breaks_with_nobody_there_ends_it_once_the_other_side_has_had_time_to_come_back() {
    let mut pair = Pair::meet_by_code(Road::default(), 1, RelayPolicy::Auto);
    pair.run_for(Duration::from_secs(10));
    pair.road.signalling[ALICE].undelivered = true;
    let (attempt, _) = pair.lane(ALICE).expect("a lane");
    let error = AttemptError::Closed;
    pair.input(ALICE, Input::Failed { attempt, error });
    pair.run_for(Duration::from_secs(3));
    assert_eq!(pair.ended(ALICE), None);
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.ended(ALICE), Some(EndReason::LinkLost(error)));
    assert_eq!(pair.sides[ALICE].endpoint.open_attempts(), 0);
}

#[test]
fn without_any_way_a_session_whose_lane_broke_ends_after_30_s() {
    let mut pair = Pair::meet_by_code(Road::default(), 1, RelayPolicy::Auto);
    pair.run_for(Duration::from_secs(10));
    let before = pair.elapsed;
    pair.road.tcp = [Tcp::Dropped; 2];
    pair.road.relay = Relay::Unreachable;
    pair.break_lane();
    let ends = pair.assert_fails();
    let lost = Some(EndReason::LinkLost(AttemptError::Closed));
    assert_eq!(ends, [lost.clone(), lost]);
    assert_eq!(pair.last_event(), before + Duration::from_secs(30));
}

#[test]
fn only_the_controller_chooses_and_only_among_proven_lanes() {
    // The controller is told USE by the other side: that lane is dropped, the race goes on.
    for (side, proven) in [(BOB, true), (ALICE, false)] {
        let mut pair = Pair::meet_by_code(Road::default(), 1, RelayPolicy::Auto);
        pair.run_for(Duration::from_millis(130));
        let id = pair.id(side, 1);
        let attempt = pair.sides[side].endpoint.new_attempt();
        let from = "203.0.113.99:50000".parse().expect("an address");
        pair.input(
            side,
            Input::Incoming {
                id,
                attempt,
                from,
                carrier: Carrier::Tcp,
            },
        );
        if proven && side == ALICE {
            pair.input(
                side,
                Input::Secured {
                    attempt,
                    round_trip: None,
                },
            );
        }
        pair.input(side, Input::Nominated { attempt, number: 1 });
        assert!(pair.established(side).is_none(), "{:?}", pair.story());
        pair.input(
            side,
            Input::Failed {
                attempt,
                error: AttemptError::Closed,
            },
        );
        pair.assert_connects();
    }
}

#[test]
fn late_addresses_are_told_in_a_further_proposal() {
    // Alice finds another address when the first message is long gone.
    let mut pair = Pair::new(Road::with_tcp(Tcp::Dropped, Tcp::Open), 1);
    pair.sides[ALICE].can_listen = false;
    pair.expect(BOB, 7, ["otter", "lamp", "verse"], RelayPolicy::Never);
    pair.propose_code(ALICE, 1, ["otter", "lamp", "verse"], RelayPolicy::Never);
    pair.run_for(Duration::from_secs(2));
    let before = pair.messages(ALICE).len();
    let late = LocalCandidate {
        address: "198.51.100.1:41000".parse().expect("an address"),
        kind: CandidateKind::MAPPED,
        protocol: Protocol::Tcp,
    };
    let id = pair.id(ALICE, 1);
    pair.input(
        ALICE,
        Input::Gathered {
            generation: 0,
            id,
            listen_port: Some(41_000),
            candidates: vec![late],
            network: Network::default(),
            complete: true,
        },
    );
    assert_eq!(pair.messages(ALICE).len(), before + 1);
    pair.run_for(Duration::from_secs(1));
    assert!(
        pair.sides[BOB]
            .dialled
            .iter()
            .any(|(_, to)| *to == late.address)
    );
}

#[test]
fn the_controller_does_not_obey() {
    let mut pair = Pair::meet_by_code(
        Road::with_tcp(Tcp::Dropped, Tcp::Dropped),
        1,
        RelayPolicy::Auto,
    );
    // The relayed lane is proven and waits for a direct one.
    pair.run_for(Duration::from_millis(490));
    let relayed = AttemptId(1);
    pair.input(
        BOB,
        Input::Nominated {
            attempt: relayed,
            number: 1,
        },
    );
    assert!(pair.established(BOB).is_none());
    pair.assert_fails();
}

#[test]
fn the_relay_alone_without_a_relay_ends_at_once() {
    let road = Road {
        relay: Relay::Unreachable,
        ..Road::default()
    };
    let mut pair = Pair::meet_by_code(road, 1, RelayPolicy::Only);
    let ends = pair.assert_fails();
    assert!(
        matches!(ends[BOB], Some(EndReason::NoPath { .. })),
        "{ends:?}"
    );
    assert!(
        pair.last_event() < Duration::from_secs(1),
        "{:?}",
        pair.story()
    );
}

#[test]
fn a_silent_relay_does_not_hold_up_a_direct_lane() {
    let road = Road {
        relay: Relay::Silent,
        ..Road::default()
    };
    let (took, path) = Pair::meet_by_code(road, 1, RelayPolicy::Auto).assert_connects();
    assert!(matches!(path, Path::Direct { .. }), "{path:?}");
    assert!(took < Duration::from_millis(400), "{took:?}");
}

#[test]
fn beside_a_direct_lane_the_relayed_one_is_kept_for_five_seconds() {
    let mut pair = Pair::meet_by_code(Road::default(), 1, RelayPolicy::Auto);
    pair.run_for(Duration::from_secs(4));
    assert_eq!(pair.sides[BOB].endpoint.open_attempts(), 2);
    let relayed = pair.sides[BOB]
        .tried
        .iter()
        .any(|tried| tried.source == TriedSource::Relay);
    assert!(!relayed, "its end is not told yet");
    pair.run_for(Duration::from_secs(4));
    pair.assert_settled();
    let ends = |side: usize| {
        let of_relay = pair.sides[side]
            .tried
            .iter()
            .filter(|tried| tried.source == TriedSource::Relay);
        of_relay.map(|tried| tried.end).collect::<Vec<_>>()
    };
    assert_eq!(ends(BOB), [TriedEnd::Lost], "the controller drops it");
    assert_eq!(ends(ALICE), [TriedEnd::Failed(AttemptError::Closed)]);
}

#[test]
fn every_attempt_is_reported_with_its_end() {
    let road = Road::with_tcp(Tcp::Open, Tcp::Refused);
    let mut pair = Pair::meet_by_code(road, 1, RelayPolicy::Never);
    pair.assert_connects();
    let ends = |side: usize| {
        let tried = pair.sides[side].tried.iter();
        tried
            .map(|tried| (tried.source, tried.end))
            .collect::<Vec<_>>()
    };
    let named = TriedSource::Candidate(CandidateKind::HOST);
    assert_eq!(ends(ALICE), [(named, TriedEnd::Won)]);
    let refused = TriedEnd::Failed(AttemptError::Refused);
    let mut bob = ends(BOB);
    bob.sort_by_key(|(_, end)| *end == TriedEnd::Won);
    assert_eq!(
        bob,
        [(named, refused), (TriedSource::Accepted, TriedEnd::Won)]
    );
    for tried in pair.sides.iter().flat_map(|side| &side.tried) {
        assert!(tried.started < tried.ended && tried.carrier == Some(Carrier::Tcp));
    }
}

#[test]
fn a_direct_way_that_opens_later_is_found_and_used() {
    let mut pair = Pair::meet_by_code(
        Road::with_tcp(Tcp::Dropped, Tcp::Dropped),
        1,
        RelayPolicy::Auto,
    );
    pair.run_for(Duration::from_secs(9));
    assert!(matches!(pair.lane(ALICE), Some((_, Path::Relay(_)))));
    pair.road.tcp = [Tcp::Open; 2];
    let before = pair.elapsed;
    pair.assert_connects();
    for side in [ALICE, BOB] {
        let mut events = pair.sides[side].events.iter();
        let moved = events.find_map(|(at, event)| match event {
            Event::Moved { why, path, .. } => Some((*at, *why, path.is_direct())),
            _ => None,
        });
        let (at, why, direct) = moved.expect("a better lane");
        assert_eq!((why, direct), (MoveReason::Better, true));
        assert!(at < before + Duration::from_secs(6), "{at:?}");
    }
}

#[test]
fn on_a_relay_that_stays_the_search_ends_some_time() {
    let mut pair = Pair::meet_by_code(
        Road::with_tcp(Tcp::Dropped, Tcp::Dropped),
        1,
        RelayPolicy::Auto,
    );
    let (_, path) = pair.assert_connects();
    assert!(matches!(path, Path::Relay(_)));
    let numbers = pair
        .messages(ALICE)
        .into_iter()
        .chain(pair.messages(BOB))
        .filter_map(|message| message.sequence());
    let highest = numbers.map(|number| number.get()).max().expect("messages");
    assert!((30..=50).contains(&highest), "{highest}");
    assert!(pair.elapsed > Duration::from_secs(60), "{:?}", pair.elapsed);
}

#[test]
fn what_the_host_makes_up_does_not_end_a_session_that_has_a_lane() {
    let mut pair = Pair::meet_by_code(Road::default(), 1, RelayPolicy::Auto);
    pair.run_for(Duration::from_secs(9));
    let message = pair.messages(BOB).remove(0);
    for number in [40, 64, 65, 1_000] {
        let number = SequenceNumber::new(number).expect("not 0");
        let forged = Message::propose(message.cookie, message.service, number);
        let from = pair.sides[BOB].name.clone();
        let body = Signal::Rendezvous(forged).encode();
        pair.input(ALICE, Input::Signal { from, body });
    }
    pair.assert_connects();
    assert_eq!(pair.ended(ALICE), None);
}

#[test]
fn a_message_with_addresses_that_is_lost_is_made_good_by_the_next_round() {
    let mut road = Road::with_tcp(Tcp::Dropped, Tcp::Open);
    let mut lost = false;
    road.meddler = Some(Box::new(move |side, signal| {
        let further = matches!(&signal, Signal::Rendezvous(message)
            if message.sequence().is_some_and(|number| number.get() == 3));
        if side == ALICE && further && !lost {
            lost = true;
            return Vec::new();
        }
        vec![(Duration::ZERO, signal)]
    }));
    let mut pair = Pair::meet_by_code(road, 1, RelayPolicy::Never);
    let (took, path) = pair.assert_connects();
    assert!(path.is_direct() && took > Duration::from_secs(4));
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn a_relayed_lane_that_breaks_is_replaced_by_another_one() {
    let mut pair = Pair::meet_by_code(Road::default(), 1, RelayPolicy::Only);
    pair.run_for(Duration::from_secs(10));
    let (first, _) = pair.lane(ALICE).expect("a lane");
    pair.break_lane();
    pair.assert_connects();
    let (second, path) = pair.lane(ALICE).expect("a lane");
    assert!(second != first && !path.is_direct());
    assert!(
        pair.sides
            .iter()
            .all(|side| !side.gathered && side.dialled.is_empty())
    );
}

#[test]
fn a_relay_session_that_dies_before_the_first_lane_is_made_anew() {
    let mut pair = Pair::meet_by_code(Road::default(), 1, RelayPolicy::Only);
    while !pair.relay_session_dies() {
        assert!(pair.step(), "no session was made");
    }
    let (took, path) = pair.assert_connects();
    assert!(!path.is_direct());
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn relay_sessions_that_all_die_are_a_clear_end_after_the_third() {
    let mut pair = Pair::meet_by_code(Road::default(), 1, RelayPolicy::Only);
    let mut made = 0;
    loop {
        made += usize::from(pair.relay_session_dies());
        if !pair.step() {
            break;
        }
    }
    assert_eq!(made, 3);
    let ends = pair.assert_fails();
    assert!(
        matches!(ends[BOB], Some(EndReason::NoPath { .. })),
        "{ends:?}"
    );
    assert!(
        pair.last_event() < Duration::from_secs(5),
        "{:?}",
        pair.story()
    );
}

#[test]
fn a_relay_that_comes_back_carries_a_session_whose_lane_broke() {
    let mut pair = Pair::meet_by_code(Road::default(), 1, RelayPolicy::Only);
    pair.run_for(Duration::from_secs(10));
    pair.road.relay = Relay::Unreachable;
    pair.break_lane();
    pair.run_for(Duration::from_secs(12));
    assert_eq!(pair.ended(ALICE), None);
    pair.road.relay = Relay::Open(Duration::from_millis(50));
    pair.assert_connects();
    let (_, path) = pair.lane(ALICE).expect("a lane");
    assert!(!path.is_direct());
}
