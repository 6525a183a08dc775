//! Numbers: who gets one back, and who may speak to its owner.

use bytes::Bytes;
use rdv_proto::wire::rendezvous::{Cookie, Message, SequenceNumber};
use rdv_proto::wire::signon::{LoginErrorCode, tlv};
use rdv_proto::wire::snac::Foodgroup;
use rdv_proto::wire::tlv::TlvList;

use super::client::{Client, SERVICE};
use super::{host, host_with, port};

const COOKIE: Cookie = Cookie(*b"TRYST01\0");

fn proposal(cookie: Cookie) -> Message {
    Message::propose(cookie, SERVICE, SequenceNumber::FIRST)
}

fn reclaim(number: &str, token: Bytes) -> TlvList {
    TlvList::new()
        .with(tlv::GUEST, vec![3])
        .with(tlv::NUMBER, number.as_bytes().to_vec())
        .with(tlv::TOKEN, token)
}

#[tokio::test]
async fn who_lost_the_connection_gets_the_number_back_by_its_token() {
    let host = host().await;
    let owner = Client::owner(port(&host)).await;
    let (number, token) = (owner.name().to_owned(), owner.token());
    drop(owner);
    let wrong = reclaim(&number, Bytes::from_static(&[0; 16]));
    assert_eq!(
        Client::guest(port(&host), wrong).await.err(),
        Some(LoginErrorCode(0x05))
    );
    let back = Client::guest(port(&host), reclaim(&number, token.clone()))
        .await
        .unwrap();
    assert_eq!((back.name(), back.token()), (&number[..], token));
}

#[tokio::test]
async fn who_comes_back_takes_the_place_of_the_connection_that_seems_alive() {
    let host = host().await;
    let mut owner = Client::owner(port(&host)).await;
    let (number, token) = (owner.name().to_owned(), owner.token());
    let mut back = Client::guest(port(&host), reclaim(&number, token))
        .await
        .unwrap();
    assert_eq!(
        &owner.expect_sign_off().await[..],
        [0, 9, 0, 2, 0, 1],
        "signed on elsewhere"
    );
    drop(owner);
    let mut joiner = Client::joiner(port(&host)).await;
    joiner
        .rendezvous(&number, &proposal(COOKIE), TlvList::new())
        .await;
    back.expect_message().await;
}

#[tokio::test]
async fn a_number_belongs_to_the_first_who_proposes_to_it_and_is_not_there_for_anyone_else() {
    let host = host().await;
    let mut owner = Client::owner(port(&host)).await;
    let number = owner.name().to_owned();
    let mut bob = Client::joiner(port(&host)).await;
    let mut eve = Client::joiner(port(&host)).await;

    let early = Message::accept(COOKIE, SERVICE);
    let id = bob.rendezvous(&number, &early, TlvList::new()).await;
    bob.expect_error(Foodgroup::ICBM, id, 0x04).await;

    bob.rendezvous(&number, &proposal(COOKIE), TlvList::new())
        .await;
    owner.expect_message().await;
    // Spoken for, with another cookie, unknown, no guest at all: one and the same error.
    for (is_bob, to, cookie) in [
        (false, &number[..], COOKIE),
        (true, &number[..], Cookie([9; 8])),
        (true, "9999", COOKIE),
        (true, "alice", COOKIE),
    ] {
        let who = if is_bob { &mut bob } else { &mut eve };
        let id = who.rendezvous(to, &proposal(cookie), TlvList::new()).await;
        let error = who.expect(Foodgroup::ICBM, 0x01).await;
        assert_eq!((error.request_id, &error.body[..]), (id, &[0, 4][..]));
    }
    bob.rendezvous(&number, &early, TlvList::new()).await;
    owner.expect_message().await;

    // It stays used up when its peer is gone.
    drop(bob);
    let id = eve
        .rendezvous(&number, &proposal(COOKIE), TlvList::new())
        .await;
    eve.expect_error(Foodgroup::ICBM, id, 0x04).await;
    owner.expect_nothing().await;
}

#[tokio::test]
async fn an_expired_number_is_not_there() {
    let host = host().await;
    let wish = TlvList::new()
        .with(tlv::GUEST, vec![1])
        .with_u32(tlv::EXPIRES, 0);
    let owner = Client::guest(port(&host), wish).await.unwrap();
    let mut bob = Client::joiner(port(&host)).await;
    let id = bob
        .rendezvous(owner.name(), &proposal(COOKIE), TlvList::new())
        .await;
    bob.expect_error(Foodgroup::ICBM, id, 0x04).await;
}

#[tokio::test]
async fn an_owner_who_is_away_for_a_moment_is_offline_and_keeps_the_number() {
    let host = host_with(|config| config.numbers = 7..=7).await;
    let owner = Client::owner(port(&host)).await;
    let token = owner.token();
    drop(owner);
    let wish = TlvList::new().with(tlv::GUEST, vec![1]);
    assert_eq!(
        Client::guest(port(&host), wish).await.err(),
        Some(LoginErrorCode(0x02))
    );
    let mut bob = Client::joiner(port(&host)).await;
    let id = bob.rendezvous("7", &proposal(COOKIE), TlvList::new()).await;
    bob.expect_error(Foodgroup::ICBM, id, 0x04).await;
    let mut back = Client::guest(port(&host), reclaim("7", token))
        .await
        .unwrap();
    bob.rendezvous("7", &proposal(COOKIE), TlvList::new()).await;
    back.expect_message().await;
}

#[tokio::test]
async fn a_guest_without_a_number_takes_its_name_back_by_its_token() {
    let host = host().await;
    let mut joiner = Client::joiner(port(&host)).await;
    let (name, token) = (joiner.name().to_owned(), joiner.token());
    // The name of somebody else, and another token, are refused like a number's.
    let other = Client::joiner(port(&host)).await;
    for wrong in [
        reclaim(&name, other.token()),
        reclaim("guestaaaaaaaaaa", token.clone()),
    ] {
        assert_eq!(
            Client::guest(port(&host), wrong).await.err(),
            Some(LoginErrorCode(0x05))
        );
    }
    let mut back = Client::guest(port(&host), reclaim(&name, token.clone()))
        .await
        .unwrap();
    assert_eq!((back.name(), back.token()), (&name[..], token.clone()));
    assert_eq!(
        &joiner.expect_sign_off().await[..],
        [0, 9, 0, 2, 0, 1],
        "the connection that seemed alive"
    );
    drop(joiner);
    let owner = Client::owner(port(&host)).await;
    back.rendezvous(owner.name(), &proposal(COOKIE), TlvList::new())
        .await;
    drop(back);
    let again = Client::guest(port(&host), reclaim(&name, token)).await;
    assert_eq!(again.unwrap().name(), name);
}

#[tokio::test]
async fn a_number_stays_with_the_guest_that_comes_back_and_both_hear_each_other() {
    let host = host().await;
    let mut owner = Client::owner(port(&host)).await;
    let number = owner.name().to_owned();
    let mut bob = Client::joiner(port(&host)).await;
    let (name, token) = (bob.name().to_owned(), bob.token());
    bob.rendezvous(&number, &proposal(COOKIE), TlvList::new())
        .await;
    owner.expect_message().await;
    drop(bob);
    let mut bob = Client::guest(port(&host), reclaim(&name, token))
        .await
        .unwrap();
    bob.rendezvous(&number, &proposal(COOKIE), TlvList::new())
        .await;
    owner.expect_message().await;
    owner
        .rendezvous(&name, &proposal(COOKIE), TlvList::new())
        .await;
    bob.expect_message().await;
}

#[tokio::test]
async fn after_the_grace_time_a_guests_name_is_nobodys() {
    let host = host_with(|config| config.limits.number_grace = std::time::Duration::ZERO).await;
    let bob = Client::joiner(port(&host)).await;
    let (name, token) = (bob.name().to_owned(), bob.token());
    drop(bob);
    // The host may hear of the end only now; then the one who came back is displaced in turn.
    for _ in 0..20 {
        if let Err(code) = Client::guest(port(&host), reclaim(&name, token.clone())).await {
            assert_eq!(code, LoginErrorCode(0x05));
            return;
        }
    }
    panic!("the name was given back each time");
}

#[tokio::test]
async fn who_guesses_tokens_of_guests_is_not_heard_any_more() {
    let host = host().await;
    let bob = Client::joiner(port(&host)).await;
    let mut codes = Vec::new();
    for _ in 0..8 {
        let wrong = reclaim(bob.name(), Bytes::from_static(&[0; 16]));
        codes.push(Client::guest(port(&host), wrong).await.err().unwrap().0);
    }
    assert_eq!(codes[..5], [0x05; 5]);
    assert_ne!(codes[5], 0x05, "{codes:?}");
}
