//! Rules that old clients taught.

use std::time::Duration;

use rdv_proto::rendezvous::{EndReason, Input, LegacySecurity, RelayPolicy};
use rdv_proto::wire::rendezvous::{CancelReason, Cookie, Message, NakCode, tag};
use rdv_proto::wire::service::SEND_FILE;
use rdv_tests::pair::edited;
use rdv_tests::solo::{COOKIE, OUR_PORT, Solo, first, proposal, with_file};

const AUTO: RelayPolicy = RelayPolicy::Auto;
const PLAIN: LegacySecurity = LegacySecurity::Plain;
const ANY: LegacySecurity = LegacySecurity::Opportunistic;

/// We have been offered a file, said yes, and our dials come to nothing.
fn cannot_dial() -> Solo {
    let mut solo = Solo::default();
    solo.hear(first());
    solo.accept(ANY, AUTO);
    solo.wait(Duration::from_secs(5));
    solo
}

#[test]
fn l_01_each_direct_proposal_names_the_requester() {
    let mut solo = Solo::default();
    solo.offer(PLAIN, AUTO);
    assert!(solo.last_message().requester_ip().is_some());
    assert_eq!(solo.last_message().port(), Some(OUR_PORT));
    let solo = cannot_dial();
    assert_eq!(solo.said(), ["P2"]);
    assert!(solo.last_message().requester_ip().is_some());
}

#[test]
fn l_02_a_proposal_is_never_repeated() {
    let mut solo = Solo::default();
    solo.offer(PLAIN, AUTO);
    solo.wait(Duration::from_secs(300));
    assert_eq!(solo.said(), ["P1", "C2"]);
    let mut solo = cannot_dial();
    solo.wait(Duration::from_secs(300));
    let said = solo.said();
    let mut numbers: Vec<_> = said.iter().filter(|said| said.starts_with('P')).collect();
    numbers.dedup();
    assert_eq!(
        numbers.len(),
        said.iter().filter(|said| said.starts_with('P')).count()
    );
    assert!(numbers.len() <= 4, "{said:?}");
}

#[test]
fn l_03_a_verified_address_behind_the_service_data_is_used() {
    let mut solo = Solo::default();
    solo.hear_signal(&edited(&first(), |params| {
        params.push(tag::VERIFIED_IP, vec![198, 51, 100, 7])
    }));
    solo.accept(ANY, AUTO);
    solo.wait(Duration::from_secs(1));
    assert_eq!(solo.dials(), ["198.51.100.7:5000", "192.0.2.10:5000"]);
}

#[test]
fn l_04_of_two_verified_addresses_the_last_is_dialled_and_neither_is_believed() {
    let private =
        with_file(proposal(1).with_direct([10, 0, 0, 5].into(), [10, 0, 0, 5].into(), 5000));
    let verified = |solo: &mut Solo, addresses: &[[u8; 4]]| {
        solo.endpoint.config_mut().verified = Some([198, 51, 100, 7].into());
        solo.hear_signal(&edited(&private, |params| {
            for address in addresses {
                params.push(tag::VERIFIED_IP, address.to_vec());
            }
        }));
        solo.accept(ANY, AUTO);
        solo.wait(Duration::from_secs(1));
        solo.dials()
    };
    // One, our own: we are behind one router, and the inner address may be dialled.
    let ours = [198, 51, 100, 7];
    assert_eq!(
        verified(&mut Solo::default(), &[ours]),
        ["198.51.100.7:5000", "10.0.0.5:5000"]
    );
    // A forged one in front of the host's: the host's is dialled, and nothing follows from it.
    assert_eq!(
        verified(&mut Solo::default(), &[[203, 0, 113, 1], ours]),
        ["198.51.100.7:5000"]
    );
}

#[test]
fn l_05_a_port_check_in_the_wrong_tag_changes_nothing() {
    let mut solo = Solo::default();
    solo.hear_signal(&edited(&first(), |params| {
        params.push(tag::INVITATION_TYPE, vec![0xEC, 0x77])
    }));
    solo.accept(ANY, AUTO);
    assert_eq!(solo.dials(), ["192.0.2.10:5000"]);
}

#[test]
fn l_06_a_counter_proposal_needs_no_service_data_and_changes_no_offer() {
    let mut solo = Solo::default();
    solo.offer(PLAIN, AUTO);
    solo.hear(proposal(2).with_direct([192, 0, 2, 10].into(), [192, 0, 2, 10].into(), 5000));
    assert_eq!(
        (solo.dials(), solo.ended()),
        (vec!["192.0.2.10:5000".to_owned()], None)
    );
    let mut solo = Solo::default();
    solo.hear(first());
    let other = proposal(2).with_direct([192, 0, 2, 11].into(), [192, 0, 2, 11].into(), 5001);
    solo.hear(
        other
            .with_param(tag::SERVICE_DATA, b"\0\x01\0\x63\0\0\0\0evil\0".to_vec())
            .expect("a tag"),
    );
    assert_eq!(solo.questions(), 1);
}

#[test]
fn l_07_a_counter_proposal_with_nothing_to_dial_asks_for_a_relay_session() {
    let ip = [192, 0, 2, 10].into();
    let nothing = [
        proposal(2).with_no_address(),
        proposal(2),
        proposal(2).with_direct(ip, ip, 0),
        proposal(2).with_direct([0, 0, 0, 0].into(), [0, 0, 0, 0].into(), 5000),
    ];
    for counter in nothing {
        let mut solo = Solo::default();
        solo.offer(PLAIN, AUTO);
        solo.hear(counter);
        assert_eq!((solo.created.len(), solo.dialled.len()), (1, 0));
        solo.relay_made("192.0.2.80:5190");
        assert_eq!(solo.said(), ["P1", "P3"]);
        assert!(solo.last_message().use_ars());
    }
}

#[test]
fn l_08_repeated_proposals_while_the_user_decides_update_the_address() {
    let mut solo = Solo::default();
    solo.hear(first());
    for number in 2..=20 {
        solo.wait(Duration::from_secs(5));
        let ip = [192, 0, 2, u8::try_from(number).expect("small")].into();
        solo.hear(with_file(proposal(number).with_direct(ip, ip, 5000)));
    }
    assert_eq!(solo.questions(), 1);
    solo.accept(ANY, AUTO);
    assert_eq!(solo.dials(), ["192.0.2.20:5000"]);
    solo.wait(Duration::from_secs(5));
    assert_eq!(solo.said(), ["P21"]);
}

#[test]
fn l_09_the_accept_goes_out_before_anything_is_said_on_the_connection() {
    let mut solo = Solo::default();
    solo.hear(first());
    solo.accept(ANY, AUTO);
    let attempt = solo.attempt_to("192.0.2.10:5000");
    assert!(solo.secured.is_empty());
    solo.input(Input::Connected { attempt });
    assert_eq!((solo.said(), solo.secured.len()), (vec!["A".to_owned()], 1));
}

#[test]
fn l_10_no_accept_is_needed_and_that_of_the_proposer_is_ignored() {
    let mut solo = Solo::default();
    solo.offer(PLAIN, AUTO);
    let attempt = solo.knock([192, 0, 2, 10]);
    solo.input(Input::Secured {
        attempt,
        round_trip: None,
    });
    assert_eq!(solo.established(), Some(attempt));
    let mut solo = Solo::default();
    solo.hear(first());
    solo.accept(ANY, AUTO);
    solo.hear(Message::accept(COOKIE, SEND_FILE));
    assert_eq!(
        (solo.said().len(), solo.ended(), solo.established()),
        (0, None, None)
    );
}

#[test]
fn l_11_to_decline_is_a_nak_and_then_always_a_cancel() {
    let mut solo = Solo::default();
    solo.hear(first());
    let id = solo.id();
    solo.input(Input::Decline { id });
    assert_eq!(solo.said(), ["N1", "C1"]);
}

#[test]
fn l_12_a_refusal_with_a_zero_cookie_means_the_only_conversation_that_waits() {
    let mut solo = Solo::default();
    solo.offer(PLAIN, AUTO);
    solo.hear_nak(Cookie::ZERO, NakCode::DENIED);
    assert_eq!(
        solo.ended(),
        Some(&EndReason::Refused(Some(NakCode::DENIED)))
    );
    let mut solo = Solo::default();
    solo.hear(first());
    solo.hear_nak(Cookie::ZERO, NakCode::DENIED);
    assert_eq!(solo.ended(), None, "that one waits for us");
}

#[test]
fn l_13_a_cancel_without_a_reason_is_a_cancel() {
    let mut solo = Solo::default();
    solo.offer(PLAIN, AUTO);
    let cancel = Message::cancel(COOKIE, SEND_FILE, CancelReason::USER);
    solo.hear_signal(&edited(&cancel, |params| params.0.clear()));
    assert_eq!(
        solo.ended(),
        Some(&EndReason::Cancelled(CancelReason::UNKNOWN))
    );
}

#[test]
fn l_25_a_relay_is_joined_on_its_port_whatever_the_token() {
    let mut solo = Solo::default();
    solo.hear(with_file(
        proposal(1).with_relay([192, 0, 2, 80].into(), 443),
    ));
    solo.accept(ANY, AUTO);
    assert_eq!(solo.joined[0].1.address.to_string(), "192.0.2.80:5190");
    // Another port can be said to our own clients.
    let mut solo = Solo::default();
    let elsewhere = ["192.0.2.80:5443".parse().expect("an address")];
    solo.hear(
        with_file(proposal(1).with_relay([192, 0, 2, 80].into(), 443)).with_addr_list(&elsewhere),
    );
    solo.accept(ANY, AUTO);
    assert_eq!(solo.joined[0].1.address.to_string(), "192.0.2.80:5443");
}

#[test]
fn l_28_the_listener_stays_open_while_the_peers_user_decides() {
    let mut solo = Solo::default();
    solo.offer(PLAIN, AUTO);
    solo.wait(Duration::from_secs(119));
    assert_eq!(solo.listened, (1, 0));
    let attempt = solo.knock([192, 0, 2, 10]);
    solo.input(Input::Secured {
        attempt,
        round_trip: None,
    });
    assert_eq!(solo.established(), Some(attempt));
}

#[test]
fn l_31_the_service_data_goes_out_as_it_was_handed_in() {
    let mut solo = Solo::default();
    solo.offer(PLAIN, AUTO);
    let data = solo.last_message().service_data().expect("service data");
    assert!(
        data.ends_with(b"fox.txt\0fox.txt\0"),
        "the name stands twice"
    );
}

#[test]
fn l_32_nothing_further_is_proposed_before_the_first_was_answered() {
    let mut solo = Solo::default();
    solo.offer(PLAIN, AUTO);
    for stranger in 0..20 {
        solo.wait(Duration::from_secs(5));
        solo.knock([203, 0, 113, stranger]);
    }
    assert_eq!(solo.said(), ["P1"]);
    // A relay session that dies before the peer has answered ends it, too.
    let mut solo = Solo::default();
    solo.offer(PLAIN, RelayPolicy::Only);
    solo.relay_made("192.0.2.80:5190");
    let attempt = solo.created[0];
    solo.input(Input::Failed {
        attempt,
        error: rdv_proto::rendezvous::AttemptError::Relay(0x1A),
    });
    assert_eq!(solo.said(), ["P1", "C2"]);
}

/// open-oscar-server puts the address that it sees into 0x0003 and, once more, into 0x0004 behind the service data (`host-icbm`, section 8.2).
#[test]
fn a_host_that_overwrites_the_requesters_address_takes_no_way_from_us() {
    let mut solo = Solo::default();
    let seen = [198, 51, 100, 7];
    let list = ["192.0.2.77:5000".parse().expect("an address")];
    let proposal = first().with_addr_list(&list);
    solo.hear_signal(&edited(&proposal, |params| {
        for tlv in &mut params.0 {
            if tlv.tag == tag::REQUESTER_IP {
                tlv.value = seen.to_vec().into();
            }
        }
        params.push(tag::VERIFIED_IP, seen.to_vec());
    }));
    solo.accept(ANY, AUTO);
    solo.wait(Duration::from_secs(1));
    // What it passed on as it was comes first; what it saw is dialled once; the proposer's own address is not lost.
    let ways = ["192.0.2.77:5000", "198.51.100.7:5000", "192.0.2.10:5000"];
    assert_eq!(solo.dials(), ways);
}
