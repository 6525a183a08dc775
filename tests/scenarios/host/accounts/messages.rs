//! Messages between accounts.

use bytes::{Bytes, BytesMut};
use rdv_proto::wire::icbm::{
    self, Channel, ClientError, ClientEvent, HostAck, MessageToClient, MissedCall, MissedReason,
};
use rdv_proto::wire::rendezvous::{CancelReason, Cookie, Message, MessageKind, NakCode, tag};
use rdv_proto::wire::service::{NATIVE, SEND_FILE, short_capability};
use rdv_proto::wire::signon::IcbmParameters;
use rdv_proto::wire::snac::Foodgroup;
use rdv_proto::wire::tlv::{Tlv, TlvList};
use rdv_tests::captures::from_hex;
use rdv_tests::old_client::{Manners, OldClient};

use super::Town;

const COOKIE: Cookie = Cookie(*b"6156121\0");

fn hex(digits: &str) -> Bytes {
    from_hex(&digits.split_whitespace().collect::<String>())
}

/// A rendezvous message of these parameters, in this order.
fn message(kind: MessageKind, cookie: Cookie, params: &[(u16, &[u8])]) -> Message {
    let mut block = BytesMut::new();
    block.extend_from_slice(&kind.0.to_be_bytes());
    block.extend_from_slice(&cookie.0);
    block.extend_from_slice(SEND_FILE.as_bytes());
    let params = params
        .iter()
        .map(|(tag, value)| Tlv::new(*tag, value.to_vec()));
    params.collect::<TlvList>().encode_rest(&mut block);
    Message::decode(block.freeze()).unwrap()
}

fn proposal(params: &[(u16, &[u8])]) -> Message {
    message(MessageKind::PROPOSE, COOKIE, params)
}

const FIRST: (u16, &[u8]) = (tag::SEQUENCE, &[0, 1]);
const CHECK: (u16, &[u8]) = (tag::REQUEST_HOST_CHECK, &[]);

/// Somebody who can do these things, and no others.
async fn able(town: &Town, name: &str, capabilities: &[uuid::Uuid]) -> OldClient {
    let password = town.account(name).await;
    let manners = Manners {
        capabilities: capabilities.to_vec(),
        ..Manners::default()
    };
    OldClient::sign_on(town.port(), name, &password, &manners)
        .await
        .unwrap()
}

/// The bytes of a message with the sender's sign-on time taken out.
fn timeless(message: &MessageToClient) -> Bytes {
    let mut message = message.clone();
    for tlv in &mut message.sender.tlvs.0 {
        if tlv.tag == icbm::user_tlv::SIGN_ON_TIME {
            tlv.value = hex("6553f100");
        }
    }
    message.encode()
}

#[tokio::test]
async fn h_23_so_19_the_file_offer_of_libpurple_goes_through_as_the_page_has_it() {
    let town = Town::new().await;
    let mut alice = able(&town, "alice", &[short_capability(0), SEND_FILE]).await;
    let mut bob = town.citizen("bob").await;
    let offer = hex(
        "3631353631323100 0002 03626f62 00030000 00050053 0000 3631353631323100 094613434c7f11d18222444553540000
         00020004 7f000001 00030004 7f000001 00050002 1446 000a0002 0001 000f0000
         27110015 0001 0001 000186a0 7465737466696c652e62696e 00",
    );
    let id = alice.snac(Foodgroup::ICBM, 0x06, offer).await;
    let expected = hex(
        "3631353631323100 0002 05616c696365 0000 0003 00010002 0010 00030004 6553f100
         000d0020 094600004c7f11d18222444553540000 094613434c7f11d18222444553540000
         0005005b 0000 3631353631323100 094613434c7f11d18222444553540000
         00020004 7f000001 00030004 7f000001 00050002 1446 000a0002 0001 000f0000 00040004 7f000001
         27110015 0001 0001 000186a0 7465737466696c652e62696e 00",
    );
    let message = bob.expect_message().await;
    assert_eq!(timeless(&message), expected);
    // And the host ack, byte for byte.
    let ack = alice.expect(Foodgroup::ICBM, 0x0C).await;
    assert_eq!(
        (ack.request_id, ack.body),
        (id, hex("3631353631323100 0002 03626f62"))
    );
    // Bob declines: the refusal arrives with the name swapped.
    let refusal = ClientError::rendezvous(COOKIE, "alice".parse().unwrap(), NakCode(1));
    bob.refuse(refusal).await;
    let refusal = alice.expect(Foodgroup::ICBM, 0x0B).await;
    assert_eq!(
        refusal.body,
        hex("3631353631323100 0002 03626f62 0003 0002 0001")
    );
}

#[tokio::test]
async fn h_10_h_11_h_12_a_text_arrives_without_what_was_meant_for_the_host() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let mut bob = town.citizen("bob").await;
    // As libpurple sends it.
    let text = hex(
        "3338353531353400 0001 03626f62 0002003e 05010004 01010102 01010032 0000 0000
         3c48544d4c3e3c424f44593e68656c6c6f2066726f6d206c69627075727 0 6c653c2f424f44593e3c2f48544d4c3e
         00030000 00060000 00770001 05",
    );
    let id = alice.snac(Foodgroup::ICBM, 0x06, text.clone()).await;
    let message = bob.expect_message().await;
    let tags: Vec<u16> = message.tlvs.0.iter().map(|tlv| tlv.tag).collect();
    // Alice wants typing events (her parameters say so): the host adds TLV 0x0B.
    assert_eq!(tags, [0x02, 0x77, 0x0B]);
    assert_eq!(message.tlvs.first(2).unwrap()[..], text[18..18 + 0x3E]);
    let ack = alice.expect(Foodgroup::ICBM, 0x0C).await;
    let body = HostAck::decode(&ack.body).unwrap();
    assert_eq!(
        (ack.request_id, body.channel, body.recipient.as_str()),
        (id, Channel::TEXT, "bob")
    );
}

#[tokio::test]
async fn h_13_h_14_h_15_h_17_only_the_host_says_where_a_proposal_comes_from() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let mut bob = town.citizen("bob").await;
    let forged: (u16, &[u8]) = (tag::VERIFIED_IP, &[6, 6, 6, 6]);
    let kept: [(u16, &[u8]); 5] = [
        (tag::REQUESTER_IP, &[10, 0, 0, 1]),
        (tag::IP_XOR, &[1, 2, 3, 4]),
        (tag::PORT_XOR, &[5, 6]),
        (tag::ADDR_LIST, b"\x0e10.0.0.1 40313"),
        FIRST,
    ];
    let data: (u16, &[u8]) = (tag::SERVICE_DATA, b"data");
    let mut sent = vec![forged];
    sent.extend(kept);
    sent.extend([
        data,
        forged,
        (tag::VERIFIED_DOWNLOAD_URL, b"http://evil.example/"),
    ]);
    alice
        .rendezvous("bob", &proposal(&sent), TlvList::new())
        .await;
    let mut expected = kept.to_vec();
    expected.extend([(tag::VERIFIED_IP, &[127, 0, 0, 1][..]), data]);
    assert_eq!(bob.expect_rendezvous().await.1, proposal(&expected));
    // Not in an accept, and not without an address of the sender's own.
    let accept = message(MessageKind::ACCEPT, COOKIE, &kept[..1]);
    bob.rendezvous("alice", &accept, TlvList::new()).await;
    assert_eq!(alice.expect_rendezvous().await.1, accept);
    alice
        .rendezvous("bob", &proposal(&[FIRST, data]), TlvList::new())
        .await;
    assert_eq!(bob.expect_rendezvous().await.1, proposal(&[FIRST, data]));
}

#[tokio::test]
async fn h_7_h_8_h_22_what_is_malformed_is_refused_and_what_lacks_a_reason_gets_one() {
    let town = Town::in_a_hurry().await;
    let mut alice = town.citizen("alice").await;
    let mut bob = town.citizen("bob").await;
    let good = proposal(&[FIRST]).encode();
    let cases = [
        (COOKIE, proposal(&[]).encode()),
        (COOKIE, proposal(&[(tag::SEQUENCE, &[0, 0])]).encode()),
        (Cookie([9; 8]), good.clone()),
        (COOKIE, good.slice(..25)),
        (COOKIE, good.slice(..good.len() - 1)),
    ];
    for (cookie, block) in cases {
        let tlvs = TlvList::new().with(icbm::tlv::RENDEZVOUS, block);
        let id = alice.icbm("bob", Channel::RENDEZVOUS, cookie, tlvs).await;
        alice.expect_error(Foodgroup::ICBM, id, 0x0E).await;
    }
    for body in [
        "",
        "3338353531353400",
        "3338353531353400 0000 03626f62",
        "3338353531353400 0001 03626f62 0002",
    ] {
        let id = alice.snac(Foodgroup::ICBM, 0x06, hex(body)).await;
        alice.expect_error(Foodgroup::ICBM, id, 0x0E).await;
    }
    let id = alice.icbm("bob", Channel(3), COOKIE, TlvList::new()).await;
    alice.expect_error(Foodgroup::ICBM, id, 0x08).await;
    let cancel = message(MessageKind::CANCEL, COOKIE, &[]);
    alice.rendezvous("bob", &cancel, TlvList::new()).await;
    let (_, cancel) = bob.expect_rendezvous().await;
    assert_eq!(cancel.params().u16(tag::CANCEL_REASON), Some(0));
}

#[tokio::test]
async fn h_6_h_16_a_first_proposal_is_checked_if_that_was_asked_for_and_later_ones_never() {
    let town = Town::new().await;
    let mut alice = able(&town, "alice", &[]).await;
    let mut bob = able(&town, "bob", &[NATIVE]).await;
    let id = alice
        .rendezvous("bob", &proposal(&[FIRST, CHECK]), TlvList::new())
        .await;
    alice.expect_error(Foodgroup::ICBM, id, 0x09).await;
    alice
        .rendezvous("bob", &proposal(&[FIRST]), TlvList::new())
        .await;
    bob.expect_message().await;
    // Alice announces nothing, and gets bob's counter-proposal all the same: libpurple asks for the check in those, too.
    let counter = proposal(&[(tag::SEQUENCE, &[0, 2]), CHECK]);
    bob.rendezvous("alice", &counter, TlvList::new()).await;
    assert_eq!(alice.expect_rendezvous().await.1, counter);
}

#[tokio::test]
async fn h_6_the_check_is_of_what_all_sign_ons_of_the_recipient_can_do_together() {
    let town = Town::new().await;
    let mut alice = able(&town, "alice", &[]).await;
    let password = town.account("bob").await;
    let can = |capability| Manners {
        capabilities: vec![capability],
        ..Manners::default()
    };
    let port = town.port();
    let mut here = OldClient::sign_on(port, "bob", &password, &can(NATIVE))
        .await
        .unwrap();
    let checked = proposal(&[FIRST, CHECK]);
    let id = alice.rendezvous("bob", &checked, TlvList::new()).await;
    alice.expect_error(Foodgroup::ICBM, id, 0x09).await;
    let mut there = OldClient::sign_on(port, "bob", &password, &can(SEND_FILE))
        .await
        .unwrap();
    alice.rendezvous("bob", &checked, TlvList::new()).await;
    for bob in [&mut here, &mut there] {
        assert_eq!(bob.expect_rendezvous().await.1, checked);
    }
}

#[tokio::test]
async fn h_18_e_07_refusals_arrive_with_the_name_swapped_and_the_rest_unchanged() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let mut bob = town.citizen("bob").await;
    let infos = (0..=0x0A)
        .chain([0x0F])
        .map(|nak| Bytes::copy_from_slice(&[0, 2, 0, nak]));
    for info in infos.chain([Bytes::new(), Bytes::from_static(&[0, 1])]) {
        let refusal = |name: &str| ClientError {
            info: info.clone(),
            ..ClientError::rendezvous(COOKIE, name.parse().unwrap(), NakCode(0))
        };
        bob.refuse(refusal("alice")).await;
        let got = alice.expect(Foodgroup::ICBM, 0x0B).await;
        assert_eq!(got.body, refusal("bob").encode());
    }
}

#[tokio::test]
async fn h_19_who_is_not_there_gets_nothing_and_the_sender_learns_whether_it_is_kept() {
    let town = Town::in_a_hurry().await;
    let mut alice = town.citizen("alice").await;
    town.account("bob").await;
    // A text is; see `offline`.
    let id = alice.text("bob", "for later").await;
    let ack = alice.expect(Foodgroup::ICBM, 0x0C).await;
    assert_eq!(ack.request_id, id);
    for to in ["bob", "nobody"] {
        let store = TlvList::new().with(icbm::tlv::STORE, Bytes::new());
        let id = alice.rendezvous(to, &proposal(&[FIRST]), store).await;
        let error = alice.expect_error(Foodgroup::ICBM, id, 4).await;
        assert!(error.tlvs.0.is_empty());
    }
    let id = alice.text("nobody", "for later").await;
    let error = alice.expect_error(Foodgroup::ICBM, id, 4).await;
    let sub_code = error.tlvs.u16(icbm::tlv::ERROR_SUB_CODE);
    assert_eq!(sub_code, Some(0x0E), "not kept");
}

#[tokio::test]
async fn h_21_what_is_longer_than_the_recipient_takes_is_refused_and_told() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let mut bob = town.citizen("bob").await;
    let parameters = IcbmParameters {
        channel: 0,
        flags: 3,
        incoming_max: 100,
        source_warning_max: 999,
        destination_warning_max: 999,
        interval_min_ms: 0,
        trailing: Bytes::new(),
    };
    bob.snac(Foodgroup::ICBM, 0x02, parameters.encode()).await;
    bob.expect_nothing().await;
    let id = alice.text("bob", &"a".repeat(100)).await;
    alice.expect_error(Foodgroup::ICBM, id, 0x0A).await;
    let missed = MissedCall::decode(&bob.expect(Foodgroup::ICBM, 0x0A).await.body).unwrap();
    assert_eq!(missed.sender.name.as_str(), "alice");
    assert_eq!((missed.count, missed.reason), (1, MissedReason::TOO_LARGE));
    // Back to what it was before.
    bob.snac(Foodgroup::ICBM, 0x03, Bytes::new()).await;
    bob.expect_nothing().await;
    alice.text("bob", &"a".repeat(100)).await;
    bob.expect_message().await;
}

#[tokio::test]
async fn typing_is_passed_on_with_the_name_swapped() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let mut bob = town.citizen("bob").await;
    for event in [2u8, 1, 0] {
        let typing = |name: &str| ClientEvent {
            cookie: Cookie([0; 8]),
            channel: Channel::TEXT,
            name: name.parse().unwrap(),
            event: Bytes::copy_from_slice(&[0, event]),
        };
        alice
            .snac(Foodgroup::ICBM, 0x14, typing("BOB").encode())
            .await;
        let got = bob.expect(Foodgroup::ICBM, 0x14).await;
        assert_eq!(got.body, typing("alice").encode());
    }
}

#[tokio::test]
async fn s_34_the_name_of_the_sender_is_that_of_its_account_however_it_signed_on() {
    let town = Town::new().await;
    let password = town.account("Alice Lab").await;
    let mut alice = town.sign_on("ALICElab", &password).await;
    let mut bob = town.citizen("bob").await;
    alice.text("bob", "hello").await;
    assert_eq!(bob.expect_message().await.sender.name.as_str(), "Alice Lab");
}

#[tokio::test]
async fn messages_keep_their_order() {
    let town = Town::in_a_hurry().await;
    let mut alice = town.citizen("alice").await;
    let mut bob = town.citizen("bob").await;
    for n in 0..30 {
        alice.text("bob", &format!("number {n}")).await;
    }
    for n in 0..30 {
        let message = bob.expect_message().await;
        let text = message.tlvs.first(icbm::tlv::MESSAGE).unwrap();
        assert!(text.ends_with(format!("number {n}").as_bytes()));
    }
}

#[tokio::test]
async fn e_02_old_clients_are_held_to_the_rates_that_they_were_told() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let mut bob = town.citizen("bob").await;
    let mut refused = Vec::new();
    for _ in 0..9 {
        refused.push(
            alice
                .icbm("bob", Channel::TEXT, COOKIE, TlvList::new())
                .await,
        );
    }
    // Seven pass, with a word of warning after three; then they are dropped, and the client told so once.
    for _ in 0..7 {
        bob.expect_message().await;
    }
    bob.expect_nothing().await;
    let change = |snac: rdv_proto::wire::snac::Snac| snac.body[..4].to_vec();
    assert_eq!(
        change(alice.expect(Foodgroup::OSERVICE, 0x0A).await),
        [0, 2, 0, 3]
    );
    assert_eq!(
        change(alice.expect(Foodgroup::OSERVICE, 0x0A).await),
        [0, 3, 0, 3]
    );
    for id in &refused[7..] {
        alice.expect_error(Foodgroup::ICBM, *id, 0x02).await;
    }
}

#[tokio::test]
async fn a_stranger_is_left_alone_after_five_proposals_and_an_acquaintance_is_not() {
    let town = Town::in_a_hurry().await;
    let mut alice = town.citizen("alice").await;
    let mut bob = town.citizen("bob").await;
    let numbered = |n: u8| message(MessageKind::PROPOSE, Cookie([n; 8]), &[FIRST]);
    for n in 1..=5 {
        alice.rendezvous("bob", &numbered(n), TlvList::new()).await;
        bob.expect_rendezvous().await;
    }
    let id = alice.rendezvous("bob", &numbered(6), TlvList::new()).await;
    alice.expect_error(Foodgroup::ICBM, id, 0x0D).await;
    // To decline is not to make friends.
    let decline = Message::cancel(Cookie([1; 8]), SEND_FILE, CancelReason::USER);
    bob.rendezvous("alice", &decline, TlvList::new()).await;
    alice.expect_rendezvous().await;
    let id = alice.rendezvous("bob", &numbered(7), TlvList::new()).await;
    alice.expect_error(Foodgroup::ICBM, id, 0x0D).await;
    bob.rendezvous(
        "alice",
        &Message::accept(Cookie([2; 8]), SEND_FILE),
        TlvList::new(),
    )
    .await;
    alice.expect_rendezvous().await;
    alice.rendezvous("bob", &numbered(8), TlvList::new()).await;
    bob.expect_rendezvous().await;
}

#[tokio::test]
async fn s_35_who_does_not_read_is_cut_off_and_the_others_go_on() {
    let town = Town::with(|config| {
        config.limits.queue_bytes = 32 * 1024;
        config.limits.rates_old.icbm = rdv_proto::session::RateClass::ICBM;
    })
    .await;
    let mut alice = town.citizen("alice").await;
    let deaf = town.citizen("deaf").await;
    let mut told = BytesMut::new();
    told.extend_from_slice(&[7; 7_900]);
    let tlvs = || TlvList::new().with(icbm::tlv::MESSAGE, told.clone().freeze());
    let mut gone = false;
    // What the sockets hold comes first.
    for n in 0..4_000u32 {
        let id = alice.icbm("deaf", Channel::ICQ, COOKIE, tlvs()).await;
        if n % 40 == 39 {
            alice.snac(Foodgroup::ICBM, 0x04, Bytes::new()).await;
            loop {
                let snac = alice.next().await;
                gone |= snac.is(Foodgroup::ICBM, 0x01) && snac.request_id <= id && {
                    let code = snac.body[..2].to_vec();
                    code == [0, 4] || code == [0, 0x0C]
                };
                if snac.is(Foodgroup::ICBM, 0x05) {
                    break;
                }
            }
            if gone {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    assert!(gone, "the deaf one is still there");
    drop(deaf);
}

#[tokio::test]
async fn kinds_of_the_future_pass() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let mut bob = town.citizen("bob").await;
    let strange = message(MessageKind(0x77), COOKIE, &[(0x5244, b"?")]);
    alice.rendezvous("bob", &strange, TlvList::new()).await;
    assert_eq!(bob.expect_rendezvous().await.1, strange);
}
