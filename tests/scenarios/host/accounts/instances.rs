//! One account that is signed on several times.

use rdv_proto::wire::icbm::{Channel, ClientError};
use rdv_proto::wire::rendezvous::{
    CancelReason, Cookie, Message, MessageKind, NakCode, SequenceNumber,
};
use rdv_proto::wire::service::SEND_FILE;
use rdv_proto::wire::signon::{LocateInfo, locate_tlv};
use rdv_proto::wire::snac::Foodgroup;
use rdv_proto::wire::tlv::TlvList;
use rdv_tests::old_client::OldClient;

use super::Town;

const COOKIE: Cookie = Cookie(*b"3855154\0");

fn first() -> Message {
    Message::propose(COOKIE, SEND_FILE, SequenceNumber::FIRST)
}

fn second() -> Message {
    Message::propose(COOKIE, SEND_FILE, SequenceNumber::new(2).unwrap())
}

/// Somebody who is signed on twice.
async fn twice(town: &Town, name: &str) -> [OldClient; 2] {
    let password = town.account(name).await;
    [
        town.sign_on(name, &password).await,
        town.sign_on(name, &password).await,
    ]
}

#[tokio::test]
async fn h_20_both_get_a_proposal_and_when_one_accepts_the_other_is_told() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let [mut here, mut there] = twice(&town, "bob").await;
    alice.rendezvous("bob", &first(), TlvList::new()).await;
    assert_eq!(here.expect_rendezvous().await.1, first());
    assert_eq!(there.expect_rendezvous().await.1, first());
    let accept = Message::accept(COOKIE, SEND_FILE);
    here.rendezvous("alice", &accept, TlvList::new()).await;
    assert_eq!(alice.expect_rendezvous().await.1, accept);
    let (from, cancel) = there.expect_rendezvous().await;
    assert_eq!(
        (&from[..], cancel.kind, cancel.cancel_reason()),
        (
            "alice",
            MessageKind::CANCEL,
            CancelReason::ACCEPTED_ELSEWHERE
        )
    );
    assert_eq!((cancel.cookie, cancel.service), (COOKIE, SEND_FILE));
    here.expect_nothing().await;
    // Once is enough, and what follows goes to the one who accepted.
    here.rendezvous("alice", &accept, TlvList::new()).await;
    alice.expect_rendezvous().await;
    alice.rendezvous("bob", &second(), TlvList::new()).await;
    assert_eq!(here.expect_rendezvous().await.1, second());
    there.expect_nothing().await;
}

#[tokio::test]
async fn h_20_who_answers_with_a_proposal_has_taken_it_up_too() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let [mut here, mut there] = twice(&town, "bob").await;
    alice.rendezvous("bob", &first(), TlvList::new()).await;
    here.expect_rendezvous().await;
    there.expect_rendezvous().await;
    there.rendezvous("alice", &second(), TlvList::new()).await;
    assert_eq!(alice.expect_rendezvous().await.1, second());
    assert_eq!(
        here.expect_rendezvous().await.1.cancel_reason(),
        CancelReason::ACCEPTED_ELSEWHERE
    );
    // What the other one still has to say is dropped.
    here.rendezvous("alice", &Message::accept(COOKIE, SEND_FILE), TlvList::new())
        .await;
    here.refuse(ClientError::rendezvous(
        COOKIE,
        "alice".parse().unwrap(),
        NakCode(1),
    ))
    .await;
    here.expect_nothing().await;
    alice.expect_nothing().await;
    there.expect_nothing().await;
}

#[tokio::test]
async fn h_20_a_cookie_that_is_used_again_is_another_rendezvous() {
    let town = Town::new().await;
    let password = town.account("alice").await;
    let mut alice = town.sign_on("alice", &password).await;
    let [mut here, mut there] = twice(&town, "bob").await;
    let accept = Message::accept(COOKIE, SEND_FILE);
    for (taker, other) in [(0, 1), (1, 0)] {
        let mut bobs = [&mut here, &mut there];
        // The first cookie of libpurple is the same each time that it is started.
        alice.rendezvous("bob", &first(), TlvList::new()).await;
        for bob in &mut bobs {
            assert_eq!(bob.expect_rendezvous().await.1, first());
        }
        bobs[taker]
            .rendezvous("alice", &accept, TlvList::new())
            .await;
        assert_eq!(alice.expect_rendezvous().await.1, accept);
        let cancel = bobs[other].expect_rendezvous().await.1;
        assert_eq!(cancel.cancel_reason(), CancelReason::ACCEPTED_ELSEWHERE);
        alice.leave().await;
        alice = town.sign_on("alice", &password).await;
    }
}

#[tokio::test]
async fn answers_go_to_the_sign_on_that_proposed() {
    let town = Town::new().await;
    let [mut here, mut there] = twice(&town, "alice").await;
    let mut bob = town.citizen("bob").await;
    here.rendezvous("bob", &first(), TlvList::new()).await;
    bob.expect_rendezvous().await;
    bob.rendezvous("alice", &second(), TlvList::new()).await;
    assert_eq!(here.expect_rendezvous().await.1, second());
    there.expect_nothing().await;
    // When it is gone, all that are left get them.
    here.leave().await;
    let cancel = Message::cancel(COOKIE, SEND_FILE, CancelReason::USER);
    bob.rendezvous("alice", &cancel, TlvList::new()).await;
    assert_eq!(there.expect_rendezvous().await.1, cancel);
}

#[tokio::test]
async fn one_may_send_files_to_oneself() {
    let town = Town::new().await;
    let [mut here, mut there] = twice(&town, "alice").await;
    here.rendezvous("alice", &first(), TlvList::new()).await;
    assert_eq!(
        there.expect_rendezvous().await,
        ("alice".to_owned(), first())
    );
    here.expect_nothing().await;
    let accept = Message::accept(COOKIE, SEND_FILE);
    there.rendezvous("alice", &accept, TlvList::new()).await;
    assert_eq!(here.expect_rendezvous().await.1, accept);
    here.rendezvous("alice", &second(), TlvList::new()).await;
    assert_eq!(there.expect_rendezvous().await.1, second());
    here.expect_nothing().await;
    there.expect_nothing().await;
}

#[tokio::test]
async fn messages_go_where_somebody_is_and_everywhere_if_nobody_is() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let [mut here, mut there] = twice(&town, "bob").await;
    let away = async |client: &mut OldClient| {
        let tlvs = TlvList::new().with(locate_tlv::AWAY, &b"lunch"[..]);
        client
            .snac(Foodgroup::LOCATE, 0x04, LocateInfo { tlvs }.encode())
            .await;
        client.expect_nothing().await;
    };
    alice
        .icbm("bob", Channel::TEXT, COOKIE, TlvList::new())
        .await;
    here.expect_message().await;
    there.expect_message().await;
    away(&mut here).await;
    alice
        .icbm("bob", Channel::TEXT, COOKIE, TlvList::new())
        .await;
    there.expect_message().await;
    here.expect_nothing().await;
    away(&mut there).await;
    alice
        .icbm("bob", Channel::TEXT, COOKIE, TlvList::new())
        .await;
    here.expect_message().await;
    there.expect_message().await;
    // A refusal goes everywhere: it does not say what it is about.
    let refusal = |name: &str| ClientError::rendezvous(COOKIE, name.parse().unwrap(), NakCode(1));
    alice.refuse(refusal("bob")).await;
    for client in [&mut here, &mut there] {
        let got = client.expect(Foodgroup::ICBM, 0x0B).await;
        assert_eq!(got.body, refusal("alice").encode());
    }
}

#[tokio::test]
async fn cookies_of_one_account_are_counted_over_all_of_its_sign_ons_and_survive_them() {
    let town = Town::with(|config| {
        config.limits.rates_old.icbm = rdv_proto::session::RateClass::ICBM;
        config.limits.proposals.cookies = 3;
    })
    .await;
    let password = town.account("alice").await;
    let mut bob = town.citizen("bob").await;
    let propose = |n: u8| Message::propose(Cookie([n; 8]), SEND_FILE, SequenceNumber::FIRST);
    for n in 1..=3 {
        let mut alice = town.sign_on("alice", &password).await;
        alice.rendezvous("bob", &propose(n), TlvList::new()).await;
        bob.expect_rendezvous().await;
        alice.leave().await;
    }
    let mut alice = town.sign_on("alice", &password).await;
    let id = alice.rendezvous("bob", &propose(4), TlvList::new()).await;
    alice.expect_error(Foodgroup::ICBM, id, 0x0D).await;
    // What is over makes room.
    let cancel = Message::cancel(Cookie([1; 8]), SEND_FILE, CancelReason::USER);
    alice.rendezvous("bob", &cancel, TlvList::new()).await;
    bob.expect_rendezvous().await;
    alice.rendezvous("bob", &propose(4), TlvList::new()).await;
    bob.expect_rendezvous().await;
}
