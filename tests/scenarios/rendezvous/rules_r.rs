//! Rules of the specification that concern behaviour; those about bytes are tested beside the codecs.

use std::net::Ipv4Addr;
use std::time::Duration;

use rdv_proto::rendezvous::{EndReason, Input, LegacySecurity, Network, RelayPolicy, Security};
use rdv_proto::wire::rendezvous::{CancelReason, Cookie, Message, MessageKind, NakCode, host, tag};
use rdv_proto::wire::service::SEND_FILE;
use rdv_proto::wire::signal::Signal;
use rdv_tests::pair::{ALICE, BOB, Pair, cookie, edited};
use rdv_tests::road::{Relay, Road, Tcp};
use rdv_tests::solo::{COOKIE, Solo, first, proposal, with_file};

const AUTO: RelayPolicy = RelayPolicy::Auto;
const PLAIN: LegacySecurity = LegacySecurity::Plain;
const ANY: LegacySecurity = LegacySecurity::Opportunistic;

/// A conversation that goes through all methods, in either direction.
fn long_conversation() -> Pair {
    let mut pair = Pair::new(Road::with_tcp(Tcp::Dropped, Tcp::Dropped), 1);
    pair.propose_file(ALICE, 1, ANY, AUTO);
    pair.assert_connects();
    pair
}

fn all_messages(pair: &Pair) -> Vec<Message> {
    [pair.messages(ALICE), pair.messages(BOB)].concat()
}

#[test]
fn r_02_a_message_of_type_3_is_dropped() {
    let mut solo = Solo::default();
    solo.offer(PLAIN, AUTO);
    let mut block = Message::accept(COOKIE, SEND_FILE).encode().to_vec();
    block[1] = 3;
    solo.hear(Message::decode(block.into()).expect("a block"));
    assert_eq!((solo.said(), solo.ended()), (vec!["P1".to_owned()], None));
}

#[test]
fn r_03_one_cookie_in_every_message_refusals_included() {
    let mut road = Road::with_tcp(Tcp::Dropped, Tcp::Dropped);
    road.relay = Relay::Unreachable;
    let mut pair = Pair::new(road, 1);
    pair.propose_file(ALICE, 77, ANY, AUTO);
    pair.assert_fails();
    let sent = pair.sides.iter().flat_map(|side| &side.sent);
    let cookies: Vec<_> = sent.map(|(_, signal)| signal.cookie()).collect();
    assert!(
        cookies.len() > 4 && cookies.iter().all(|used| *used == cookie(77)),
        "{cookies:?}"
    );
}

#[test]
fn r_04_r_05_r_09_r_11_numbers_in_proposals_and_reasons_in_cancels_alone() {
    let mut ended = Pair::new(
        Road {
            relay: Relay::Unreachable,
            ..Road::with_tcp(Tcp::Dropped, Tcp::Dropped)
        },
        1,
    );
    ended.propose_file(ALICE, 1, ANY, AUTO);
    ended.assert_fails();
    for message in all_messages(&long_conversation())
        .into_iter()
        .chain(all_messages(&ended))
    {
        let (proposal, cancel) = (
            message.kind == MessageKind::PROPOSE,
            message.kind == MessageKind::CANCEL,
        );
        assert_eq!(
            message.params().contains(tag::SEQUENCE),
            proposal,
            "{message:?}"
        );
        assert_eq!(
            message.params().contains(tag::CANCEL_REASON),
            cancel,
            "{message:?}"
        );
    }
}

#[test]
fn r_06_r_07_numbers_run_on_from_one_across_both_sides() {
    let pair = long_conversation();
    let mut numbers: Vec<_> = all_messages(&pair)
        .iter()
        .filter_map(|m| m.sequence())
        .map(|n| n.get())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
}

#[test]
fn r_08_a_proposal_without_a_number_is_refused_as_malformed() {
    let mut solo = Solo::default();
    let nameless = edited(&first(), |params| {
        params.remove_all(tag::SEQUENCE);
    });
    solo.hear_signal(&nameless);
    assert_eq!(
        (solo.said(), solo.questions()),
        (vec!["N3".to_owned(), "C0".to_owned()], 0)
    );
    solo.hear_signal(&nameless);
    assert_eq!(solo.said().len(), 2, "once");
}

#[test]
fn r_08_so_is_one_whose_parameters_are_cut_off() {
    let mut solo = Solo::default();
    let whole = Signal::Rendezvous(first()).encode();
    let body = whole.slice(..whole.len() - 3);
    solo.input(Input::Signal {
        from: solo.peer.clone(),
        body,
    });
    assert_eq!(solo.said(), ["N3", "C0"]);
    let body = whole.slice(..20);
    solo.input(Input::Signal {
        from: solo.peer.clone(),
        body,
    });
    assert_eq!(
        solo.said().len(),
        2,
        "neither cookie nor service can be read"
    );
}

#[test]
fn r_10_the_reason_of_a_cancel_reaches_the_user() {
    for reason in [
        CancelReason::USER,
        CancelReason::TIMEOUT,
        CancelReason::ACCEPTED_ELSEWHERE,
        CancelReason(0x77),
    ] {
        let mut solo = Solo::default();
        solo.offer(PLAIN, AUTO);
        solo.hear(Message::cancel(COOKIE, SEND_FILE, reason));
        assert_eq!(solo.ended(), Some(&EndReason::Cancelled(reason)));
    }
}

#[test]
fn r_12_r_13_no_client_sends_what_only_a_host_may() {
    for message in all_messages(&long_conversation()) {
        for only_host in [tag::VERIFIED_IP, tag::VERIFIED_DOWNLOAD_URL] {
            assert!(!message.params().contains(only_host), "{message:?}");
        }
    }
}

#[test]
fn r_14_r_16_reserved_tags_precede_those_of_the_service() {
    let message = all_messages(&long_conversation())
        .into_iter()
        .next()
        .expect("P1");
    let tags: Vec<_> = message.params().0.iter().map(|tlv| tlv.tag).collect();
    let border = tags
        .iter()
        .position(|tag| *tag == tag::SERVICE_DATA)
        .expect("service data");
    assert!(
        tags[..border].iter().all(|tag| tag::is_reserved(*tag)),
        "{tags:04x?}"
    );
    assert!(
        tags[border..].iter().all(|tag| !tag::is_reserved(*tag)),
        "{tags:04x?}"
    );
}

#[test]
fn r_15_a_host_looks_at_nothing_behind_the_first_tag_of_a_service() {
    let message = with_file(proposal(1));
    let Signal::Rendezvous(late) = edited(&message, |params| {
        params.push(tag::REQUEST_HOST_CHECK, Vec::new());
        params.push(tag::REQUESTER_IP, vec![192, 0, 2, 1]);
    }) else {
        panic!("a message")
    };
    assert!(!host::wants_check(&late));
    assert!(!host::add_verified_ip(
        &mut late.clone(),
        Ipv4Addr::new(198, 51, 100, 7)
    ));
}

#[test]
fn r_17_r_18_a_proposal_names_a_way_and_the_requester_never_stands_alone() {
    for message in all_messages(&long_conversation()) {
        if message.kind == MessageKind::PROPOSE {
            let params = message.params();
            assert!(
                params.contains(tag::RENDEZVOUS_IP) && params.contains(tag::PORT),
                "{message:?}"
            );
        }
    }
    let mut solo = Solo::default();
    solo.endpoint.config_mut().relay_known = false;
    solo.gathers = false;
    solo.offer(PLAIN, AUTO);
    let id = solo.id();
    solo.input(Input::Gathered {
        generation: 0,
        id,
        listen_port: None,
        candidates: Vec::new(),
        network: Network::default(),
        complete: true,
    });
    assert!(
        solo.sent
            .iter()
            .all(|(_, signal)| !matches!(signal, Signal::Rendezvous(m) if m.sequence().is_some()))
    );
    assert!(
        matches!(solo.ended(), Some(EndReason::NoPath { .. })),
        "without a way nothing is proposed"
    );
}

#[test]
fn r_19_r_20_a_host_adds_its_address_and_never_vouches_for_a_url() {
    let mut message = first()
        .with_param(tag::DOWNLOAD_URL, b"http://192.0.2.1/".to_vec())
        .expect("a tag");
    assert!(host::add_verified_ip(
        &mut message,
        Ipv4Addr::new(198, 51, 100, 7)
    ));
    assert_eq!(message.verified_ip(), Some(Ipv4Addr::new(198, 51, 100, 7)));
    assert!(!message.params().contains(tag::VERIFIED_DOWNLOAD_URL));
}

#[test]
fn r_21_after_a_cancel_everything_is_closed() {
    let mut solo = Solo::default();
    solo.offer(PLAIN, AUTO);
    let knocked = solo.knock([192, 0, 2, 10]);
    let id = solo.id();
    solo.input(Input::Cancel {
        id,
        reason: CancelReason::USER,
    });
    assert_eq!(solo.said(), ["P1", "C1"]);
    assert_eq!(
        (solo.hung_up.clone(), solo.listened),
        (vec![knocked], (1, 1))
    );
    assert_eq!(
        (solo.endpoint.open_attempts(), solo.endpoint.poll_timeout()),
        (0, None)
    );
}

#[test]
fn r_22_nothing_revives_a_cancelled_conversation() {
    let mut solo = Solo::default();
    solo.offer(PLAIN, AUTO);
    let id = solo.id();
    solo.input(Input::Cancel {
        id,
        reason: CancelReason::USER,
    });
    let before = solo.said();
    solo.hear(Message::accept(COOKIE, SEND_FILE));
    solo.hear(proposal(2).with_direct([192, 0, 2, 10].into(), [192, 0, 2, 10].into(), 5000));
    solo.hear(first());
    let late = solo.knock([192, 0, 2, 10]);
    assert_eq!((solo.said(), solo.hung_up.clone()), (before, vec![late]));
    assert!(solo.dialled.is_empty() && solo.questions() == 0);
}

#[test]
fn r_23_the_recipient_of_the_proposal_acted_on_accepts_once_connected() {
    let mut solo = Solo::default();
    solo.hear(first());
    solo.accept(ANY, AUTO);
    assert!(solo.said().is_empty(), "not before");
    let attempt = solo.attempt_to("192.0.2.10:5000");
    solo.input(Input::Connected { attempt });
    assert_eq!(solo.said(), ["A"]);
}

#[test]
fn r_24_an_accept_may_change_the_terms() {
    let mut solo = Solo::default();
    solo.offer(ANY, AUTO);
    let attempt = solo.knock([192, 0, 2, 10]);
    assert!(matches!(
        solo.secured.last(),
        Some((_, false, Security::LegacyTls { .. }))
    ));
    solo.hear(Message::accept(COOKIE, SEND_FILE));
    assert!(
        matches!(solo.secured.last(), Some((again, false, Security::Plain { .. })) if *again == attempt)
    );
}

#[test]
fn r_25_the_nak_of_a_client_error_reaches_the_user() {
    for nak in [
        NakCode::DENIED,
        NakCode::NOT_AVAILABLE,
        NakCode::SERVICE_SPECIFIC,
        NakCode(0x55),
    ] {
        let mut solo = Solo::default();
        solo.offer(PLAIN, AUTO);
        solo.hear_nak(COOKIE, nak);
        assert_eq!(solo.ended(), Some(&EndReason::Refused(Some(nak))));
    }
}

#[test]
fn r_26_to_ignore_is_to_send_nothing() {
    let mut solo = Solo::default();
    let peer = solo.peer.clone();
    solo.endpoint.config_mut().ignored.insert(peer);
    solo.hear(first());
    solo.hear_signal(&edited(&first(), |params| {
        params.remove_all(tag::SEQUENCE);
    }));
    assert!(solo.sent.is_empty() && solo.events.is_empty());
}

#[test]
fn r_27_a_client_error_is_never_answered() {
    let mut solo = Solo::default();
    solo.hear_nak(COOKIE, NakCode::DENIED);
    solo.hear_nak(Cookie::ZERO, NakCode::DENIED);
    solo.offer(PLAIN, AUTO);
    solo.hear_nak(COOKIE, NakCode::BUSTED_PARAMETERS);
    assert_eq!(solo.said(), ["P1"]);
}

#[test]
fn r_28_an_empty_tag_of_any_length_counts() {
    let mut solo = Solo::default();
    let relayed = with_file(proposal(1).with_relay([192, 0, 2, 80].into(), 9));
    solo.hear_signal(&edited(&relayed, |params| {
        params
            .0
            .iter_mut()
            .filter(|tlv| tlv.tag == tag::USE_ARS)
            .for_each(|tlv| tlv.value = vec![1, 2].into());
    }));
    solo.accept(ANY, AUTO);
    assert_eq!(solo.joined.len(), 1);
}

#[test]
fn r_29_r_30_r_31_an_address_altered_on_the_way_is_tried_after_the_true_one() {
    let mut solo = Solo::default();
    solo.hear_signal(&edited(&first(), |params| {
        for tlv in &mut params.0 {
            match tlv.tag {
                tag::RENDEZVOUS_IP => tlv.value = vec![203, 0, 113, 66].into(),
                tag::PORT => tlv.value = vec![0x1F, 0x40].into(),
                _ => {}
            }
        }
    }));
    solo.accept(ANY, AUTO);
    solo.wait(Duration::from_secs(1));
    assert_eq!(solo.dials(), ["192.0.2.10:5000", "203.0.113.66:5000"]);
}

#[test]
fn r_32_addresses_of_the_list_come_first() {
    let mut solo = Solo::default();
    let list =
        ["198.51.100.3:6000", "[2001:db8::10]:6001"].map(|text| text.parse().expect("an address"));
    solo.hear(first().with_addr_list(&list));
    solo.accept(ANY, AUTO);
    solo.wait(Duration::from_secs(1));
    assert_eq!(
        solo.dials(),
        [
            "198.51.100.3:6000",
            "[2001:db8::10]:6001",
            "192.0.2.10:5000"
        ]
    );
}

#[test]
fn r_33_a_proposal_that_asks_for_tls_gets_tls() {
    let mut solo = Solo::default();
    solo.hear(first().with_request_secure());
    solo.accept(ANY, AUTO);
    let attempt = solo.attempt_to("192.0.2.10:5000");
    solo.input(Input::Connected { attempt });
    assert!(matches!(
        solo.secured.last(),
        Some((_, true, Security::LegacyTls { .. }))
    ));
    assert!(
        solo.last_message().request_secure(),
        "the ACCEPT repeats it"
    );
}

#[test]
fn r_34_a_proposal_through_the_relay_is_joined_there() {
    let mut solo = Solo::default();
    solo.hear(with_file(
        proposal(1).with_relay([192, 0, 2, 80].into(), 0x2337),
    ));
    solo.accept(ANY, AUTO);
    let (attempt, relay) = solo.joined.first().cloned().expect("a session");
    assert_eq!((relay.token, relay.cookie), (0x2337, COOKIE));
    assert!(solo.dialled.is_empty());
    solo.input(Input::Connected { attempt });
    assert_eq!(solo.said(), ["A"]);
}

#[test]
fn r_35_versions_that_do_not_overlap_are_refused() {
    let mut pair = Pair::new(Road::default(), 1);
    pair.road.meddler = Some(Box::new(|side, signal| {
        let changed = match &signal {
            Signal::Rendezvous(message) if side == ALICE && message.sequence().is_some() => {
                edited(message, |params| {
                    for tlv in params
                        .0
                        .iter_mut()
                        .filter(|tlv| [tag::MIN_VERSION, tag::MAX_VERSION].contains(&tlv.tag))
                    {
                        tlv.value = vec![0, 2].into();
                    }
                })
            }
            _ => signal,
        };
        vec![(Duration::ZERO, changed)]
    }));
    pair.expect(BOB, 7, ["otter", "lamp", "verse"], AUTO);
    pair.propose_code(ALICE, 1, ["otter", "lamp", "verse"], AUTO);
    let ends = pair.assert_fails();
    assert_eq!(
        ends,
        [
            Some(EndReason::Refused(Some(NakCode::VERSION_MISMATCH))),
            Some(EndReason::VersionMismatch)
        ]
    );
}

#[test]
fn r_38_proposals_and_cancels_ask_for_a_host_ack_and_accepts_do_not() {
    use rdv_proto::rendezvous::{Config, Endpoint, Output, Proposal};
    let mut endpoint = Endpoint::new("bob".parse().expect("a name"), Config::default());
    let id = Solo::default().id();
    let proposal = Proposal::Native {
        service: rdv_proto::wire::service::NATIVE,
        secret: rdv_proto::trust::Secret::None,
        key_hash: [1; 32],
        random: rdv_proto::trust::Randomness {
            pake: [1; 64],
            ephemeral: [2; 32],
            nonce: [3; 16],
        },
    };
    let now = std::time::Instant::now();
    endpoint.handle_input(
        now,
        Input::Propose {
            id,
            proposal,
            relay: RelayPolicy::Only,
        },
    );
    assert!(matches!(
        endpoint.poll_output(),
        Some(Output::Send { host_ack: true, .. })
    ));
}
