//! Rendezvous messages on their way through the host.

use bytes::{BufMut as _, Bytes, BytesMut};
use rdv_proto::wire::icbm::{self, ClientError, HostAck};
use rdv_proto::wire::rendezvous::{
    CancelReason, Cookie, Message, MessageKind, NakCode, SequenceNumber, tag,
};
use rdv_proto::wire::signon::{IcbmParameters, LocateInfo};
use rdv_proto::wire::snac::Foodgroup;
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::{Tlv, TlvList};
use uuid::Uuid;

use super::client::{Client, SERVICE, block};
use super::{host, port};

const COOKIE: Cookie = Cookie(*b"TRYST01\0");

/// A rendezvous block of these parameters.
fn raw_block(kind: MessageKind, service: Uuid, params: &[(u16, &[u8])]) -> Bytes {
    let mut block = BytesMut::new();
    block.put_u16(kind.0);
    block.put_slice(&COOKIE.0);
    block.put_slice(service.as_bytes());
    let params: TlvList = params
        .iter()
        .map(|(tag, value)| Tlv::new(*tag, value.to_vec()))
        .collect();
    params.encode_rest(&mut block);
    block.freeze()
}

/// An owner, and a joiner who has not spoken yet.
async fn two(host: &rdv_host::HostHandle) -> (Client, Client) {
    (
        Client::owner(port(host)).await,
        Client::joiner(port(host)).await,
    )
}

#[tokio::test]
async fn s_34_the_sender_is_who_signed_on_on_that_connection() {
    let host = host().await;
    let (mut alice, mut bob) = two(&host).await;
    let proposal = Message::propose(COOKIE, SERVICE, SequenceNumber::FIRST);
    bob.rendezvous(alice.name(), &proposal, TlvList::new())
        .await;
    let message = alice.expect_message().await;
    assert_eq!(message.sender.name.as_str(), bob.name());
    assert_eq!(message.sender.capabilities(), [SERVICE]);
    assert_eq!(
        (message.cookie, message.channel),
        (COOKIE, icbm::Channel::RENDEZVOUS)
    );
    // And back, to the name that the host gave.
    let answer = Message::accept(COOKIE, SERVICE);
    alice.rendezvous(bob.name(), &answer, TlvList::new()).await;
    let message = bob.expect_message().await;
    assert_eq!(message.sender.name.as_str(), alice.name());
    assert_eq!(block(&message), answer);
}

#[tokio::test]
async fn s_33_a_smuggled_verified_address_never_arrives_and_the_true_one_does() {
    let host = host().await;
    let (mut alice, mut bob) = two(&host).await;
    let forged: (u16, &[u8]) = (tag::VERIFIED_IP, &[6, 6, 6, 6]);
    let params = [
        forged,
        (tag::SEQUENCE, &[0, 1]),
        (tag::REQUESTER_IP, &[10, 0, 0, 1]),
        (tag::SERVICE_DATA, b"data"),
        forged,
        (tag::VERIFIED_DOWNLOAD_URL, b"http://evil.example/"),
    ];
    let sent = raw_block(MessageKind::PROPOSE, SERVICE, &params);
    bob.icbm(alice.name(), COOKIE, sent, TlvList::new()).await;
    let expected = [
        (tag::SEQUENCE, &[0, 1][..]),
        (tag::REQUESTER_IP, &[10, 0, 0, 1]),
        (tag::VERIFIED_IP, &[127, 0, 0, 1]),
        (tag::SERVICE_DATA, b"data"),
    ];
    let message = alice.expect_message().await;
    assert_eq!(
        block(&message).encode(),
        raw_block(MessageKind::PROPOSE, SERVICE, &expected)
    );
}

#[tokio::test]
async fn s_33_a_second_block_does_not_go_past_the_host() {
    let host = host().await;
    let (mut alice, mut bob) = two(&host).await;
    let forged = raw_block(
        MessageKind::PROPOSE,
        SERVICE,
        &[(tag::SEQUENCE, &[0, 1]), (tag::VERIFIED_IP, &[6; 4])],
    );
    let others = TlvList::new().with(icbm::tlv::RENDEZVOUS, forged.clone());
    let id = bob.icbm(alice.name(), COOKIE, forged, others).await;
    bob.expect_error(Foodgroup::ICBM, id, 0x0E).await;
    alice.expect_nothing().await;
}

#[tokio::test]
async fn h_10_h_11_requests_to_the_host_are_taken_out_and_the_unknown_stays() {
    let host = host().await;
    let (mut alice, mut bob) = two(&host).await;
    let proposal = Message::propose(COOKIE, SERVICE, SequenceNumber::FIRST);
    let others = TlvList::new()
        .with(icbm::tlv::STORE, vec![])
        .with(0x0077, vec![1])
        .with(icbm::tlv::REQUEST_HOST_ACK, vec![]);
    bob.rendezvous(alice.name(), &proposal, others).await;
    let tags: Vec<u16> = alice
        .expect_message()
        .await
        .tlvs
        .0
        .iter()
        .map(|tlv| tlv.tag)
        .collect();
    assert_eq!(tags, [0x0077, icbm::tlv::RENDEZVOUS]);
}

#[tokio::test]
async fn h_12_the_ack_repeats_cookie_channel_recipient_and_request() {
    let host = host().await;
    let (alice, mut bob) = two(&host).await;
    let proposal = Message::propose(COOKIE, SERVICE, SequenceNumber::FIRST);
    let spaced = format!(" {}", alice.name());
    let others = TlvList::new().with(icbm::tlv::REQUEST_HOST_ACK, vec![]);
    let id = bob.rendezvous(&spaced, &proposal, others).await;
    let ack = bob.expect(Foodgroup::ICBM, icbm::subgroup::HOST_ACK).await;
    assert_eq!(ack.request_id, id);
    let ack = HostAck::decode(&ack.body).unwrap();
    assert_eq!(
        (ack.cookie, ack.channel, ack.recipient.as_str()),
        (COOKIE, icbm::Channel::RENDEZVOUS, &spaced[..])
    );
}

#[tokio::test]
async fn h_16_a_host_check_delivers_only_what_the_recipient_can_do() {
    let host = host().await;
    let (mut alice, mut bob) = two(&host).await;
    let check: [(u16, &[u8]); 2] = [(tag::SEQUENCE, &[0, 1]), (tag::REQUEST_HOST_CHECK, b"")];
    let foreign = raw_block(MessageKind::PROPOSE, Uuid::from_u128(1), &check);
    let id = bob
        .icbm(alice.name(), COOKIE, foreign, TlvList::new())
        .await;
    bob.expect_error(Foodgroup::ICBM, id, 0x09).await;
    alice.expect_nothing().await;
    // What was not delivered did not use the number up.
    let known = raw_block(MessageKind::PROPOSE, SERVICE, &check);
    bob.icbm(alice.name(), COOKIE, known, TlvList::new()).await;
    alice.expect_message().await;
    // A new list of capabilities replaces the old one.
    alice
        .snac(
            Foodgroup::LOCATE,
            0x04,
            LocateInfo::of_capabilities(&[]).encode(),
        )
        .await;
    alice.expect_nothing().await;
    let again = raw_block(
        MessageKind::PROPOSE,
        SERVICE,
        &[(tag::SEQUENCE, &[0, 1]), (tag::REQUEST_HOST_CHECK, b"")],
    );
    let id = bob.icbm(alice.name(), COOKIE, again, TlvList::new()).await;
    bob.expect_error(Foodgroup::ICBM, id, 0x09).await;
}

#[tokio::test]
async fn h_18_a_refusal_is_passed_on_with_the_name_swapped_and_the_rest_unchanged() {
    let host = host().await;
    let (mut alice, mut bob) = two(&host).await;
    let proposal = Message::propose(COOKIE, SERVICE, SequenceNumber::FIRST);
    bob.rendezvous(alice.name(), &proposal, TlvList::new())
        .await;
    alice.expect_message().await;
    let name = |client: &Client| ScreenName::new(client.name()).unwrap();
    for info in [&[][..], &[0, 1], &[0, 2, 0, 1], &[0, 2, 0, 0x77, 9]] {
        let mut refusal = ClientError::rendezvous(COOKIE, name(&bob), NakCode(1));
        refusal.info = Bytes::copy_from_slice(info);
        alice
            .snac(
                Foodgroup::ICBM,
                icbm::subgroup::CLIENT_ERROR,
                refusal.encode(),
            )
            .await;
        let got = bob
            .expect(Foodgroup::ICBM, icbm::subgroup::CLIENT_ERROR)
            .await;
        let expected = ClientError {
            name: name(&alice),
            ..refusal
        };
        assert_eq!(got.body, expected.encode());
    }
    // A stranger's refusal does not reach the owner.
    let mut eve = Client::joiner(port(&host)).await;
    let refusal = ClientError::rendezvous(COOKIE, name(&alice), NakCode(1));
    eve.snac(
        Foodgroup::ICBM,
        icbm::subgroup::CLIENT_ERROR,
        refusal.encode(),
    )
    .await;
    eve.expect_nothing().await;
    alice.expect_nothing().await;
}

#[tokio::test]
async fn h_8_a_cancel_arrives_with_a_reason() {
    let host = host().await;
    let (mut alice, mut bob) = two(&host).await;
    let proposal = Message::propose(COOKIE, SERVICE, SequenceNumber::FIRST);
    bob.rendezvous(alice.name(), &proposal, TlvList::new())
        .await;
    alice.expect_message().await;
    let cancel = raw_block(MessageKind::CANCEL, SERVICE, &[]);
    bob.icbm(alice.name(), COOKIE, cancel, TlvList::new()).await;
    let cancel = block(&alice.expect_message().await);
    assert_eq!(
        cancel.params().u16(tag::CANCEL_REASON),
        Some(CancelReason::UNKNOWN.0)
    );
}

#[tokio::test]
async fn h_21_a_message_longer_than_its_recipient_takes_is_refused_and_told() {
    let host = host().await;
    let (mut alice, mut bob) = two(&host).await;
    let parameters = IcbmParameters {
        channel: 0,
        flags: 3,
        incoming_max: 100,
        source_warning_max: 999,
        destination_warning_max: 999,
        interval_min_ms: 0,
        trailing: Bytes::new(),
    };
    alice
        .snac(
            Foodgroup::ICBM,
            icbm::subgroup::SET_PARAMETERS,
            parameters.encode(),
        )
        .await;
    alice.expect_nothing().await;
    let big = raw_block(
        MessageKind::PROPOSE,
        SERVICE,
        &[(tag::SEQUENCE, &[0, 1]), (tag::SERVICE_DATA, &[7; 100])],
    );
    let id = bob.icbm(alice.name(), COOKIE, big, TlvList::new()).await;
    bob.expect_error(Foodgroup::ICBM, id, 0x0A).await;
    let missed = alice.expect(Foodgroup::ICBM, 0x0A).await;
    assert_eq!(missed.body[..2], [0, 2]);
    assert_eq!(
        missed.body[missed.body.len() - 4..],
        [0, 1, 0, 1],
        "one, too large"
    );
}

#[tokio::test]
async fn h_22_malformed_messages_are_refused_and_close_nothing() {
    let host = host().await;
    let (mut alice, mut bob) = two(&host).await;
    let good = raw_block(MessageKind::PROPOSE, SERVICE, &[(tag::SEQUENCE, &[0, 1])]);
    let other_cookie = Cookie([9; 8]);
    let without_number = raw_block(MessageKind::PROPOSE, SERVICE, &[]);
    for (cookie, block) in [
        (COOKIE, good.slice(..25)),
        (COOKIE, good.slice(..good.len() - 1)),
        (other_cookie, good.clone()),
        (COOKIE, without_number),
    ] {
        let id = bob.icbm(alice.name(), cookie, block, TlvList::new()).await;
        bob.expect_error(Foodgroup::ICBM, id, 0x0E).await;
    }
    for body in [&b""[..], b"short", &[0; 10]] {
        let id = bob
            .snac(
                Foodgroup::ICBM,
                icbm::subgroup::MESSAGE_TO_HOST,
                Bytes::from_static(body),
            )
            .await;
        bob.expect_error(Foodgroup::ICBM, id, 0x0E).await;
    }
    alice.expect_nothing().await;
    bob.icbm(alice.name(), COOKIE, good, TlvList::new()).await;
    alice.expect_message().await;
}

#[tokio::test]
async fn h_19_nothing_is_stored_for_those_who_are_not_there() {
    let host = host().await;
    let mut bob = Client::joiner(port(&host)).await;
    let proposal = Message::propose(COOKIE, SERVICE, SequenceNumber::FIRST);
    let others = TlvList::new().with(icbm::tlv::STORE, vec![]);
    let id = bob.rendezvous("alice", &proposal, others).await;
    bob.expect_error(Foodgroup::ICBM, id, 0x04).await;
}

#[tokio::test]
async fn guests_have_nothing_but_rendezvous() {
    let host = host().await;
    let (mut alice, mut bob) = two(&host).await;
    for (channel, code) in [(1, 0x08), (4, 0x08), (9, 0x08), (0, 0x0E)] {
        let mut body = BytesMut::new();
        body.put_slice(&COOKIE.0);
        body.put_u16(channel);
        ScreenName::new(alice.name()).unwrap().encode(&mut body);
        let id = bob
            .snac(
                Foodgroup::ICBM,
                icbm::subgroup::MESSAGE_TO_HOST,
                body.freeze(),
            )
            .await;
        bob.expect_error(Foodgroup::ICBM, id, code).await;
    }
    alice.expect_nothing().await;
}
