//! Who sees whom come and go.

use bytes::Bytes;
use rdv_proto::wire::icbm::user_tlv;
use rdv_proto::wire::service::{DIRECT_IM, NATIVE, SEND_FILE};
use rdv_proto::wire::signon::{InfoQuery, InfoReply, LocateInfo, locate_tlv};
use rdv_proto::wire::snac::Foodgroup;
use rdv_proto::wire::tlv::TlvList;
use rdv_tests::old_client::{Manners, OldClient, names_of};

use super::Town;

#[tokio::test]
async fn a_buddy_is_seen_to_come_with_its_capabilities_and_to_go() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    alice.watch(&["B o b", "carol"]).await;
    alice.expect_nothing().await;
    let mut bob = town.citizen("bob").await;
    let user = alice.expect_arrival().await;
    assert_eq!(user.name.as_str(), "bob");
    assert!(user.capabilities().contains(&SEND_FILE));
    bob.watch(&["alice"]).await;
    assert_eq!(bob.expect_arrival().await.name.as_str(), "alice");
    bob.leave().await;
    assert_eq!(alice.expect_departure().await, "bob");
    alice.expect_nothing().await;
}

#[tokio::test]
async fn who_is_not_watched_any_more_is_not_told_of() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    alice.watch(&["bob"]).await;
    alice.snac(Foodgroup::BUDDY, 0x05, names_of(&["Bob"])).await;
    alice.expect_nothing().await;
    town.citizen("bob").await.leave().await;
    alice.expect_nothing().await;
}

#[tokio::test]
async fn so_15_capabilities_are_published_once_the_client_is_ready() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    alice.watch(&["bob"]).await;
    let password = town.account("bob").await;
    let manners = Manners::default();
    let ticket = OldClient::login(town.port(), "bob", &password, &manners)
        .await
        .unwrap();
    let mut bob = OldClient::bos(town.port(), "bob", &ticket.cookie, &manners)
        .await
        .unwrap();
    bob.snac(
        Foodgroup::LOCATE,
        0x04,
        LocateInfo::of_capabilities(&[NATIVE]).encode(),
    )
    .await;
    bob.expect_nothing().await;
    alice.expect_nothing().await;
    bob.snac(Foodgroup::OSERVICE, 0x02, Bytes::new()).await;
    assert_eq!(alice.expect_arrival().await.capabilities(), [NATIVE]);
    // A new set replaces the old one, and is told at once; the same set again is not.
    for _ in 0..2 {
        let info = LocateInfo::of_capabilities(&[DIRECT_IM, SEND_FILE]);
        bob.snac(Foodgroup::LOCATE, 0x04, info.encode()).await;
    }
    assert_eq!(
        alice.expect_arrival().await.capabilities(),
        [DIRECT_IM, SEND_FILE]
    );
    bob.expect_nothing().await;
    alice.expect_nothing().await;
}

#[tokio::test]
async fn the_host_knows_no_capability_that_it_would_drop() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    alice.watch(&["bob"]).await;
    let strange: Vec<_> = (1..=12).map(uuid::Uuid::from_u128).collect();
    let manners = Manners {
        capabilities: strange.clone(),
        ..Manners::default()
    };
    let password = town.account("bob").await;
    let _bob = OldClient::sign_on(town.port(), "bob", &password, &manners)
        .await
        .unwrap();
    assert_eq!(alice.expect_arrival().await.capabilities(), strange);
}

#[tokio::test]
async fn several_sign_ons_are_one_user_who_can_do_what_any_of_them_can() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    alice.watch(&["bob"]).await;
    let password = town.account("bob").await;
    let able = |capabilities: &[uuid::Uuid]| Manners {
        capabilities: capabilities.to_vec(),
        ..Manners::default()
    };
    let sign_on = async |capabilities: &[uuid::Uuid]| {
        OldClient::sign_on(town.port(), "bob", &password, &able(capabilities))
            .await
            .unwrap()
    };
    let first = sign_on(&[SEND_FILE]).await;
    assert_eq!(alice.expect_arrival().await.capabilities(), [SEND_FILE]);
    let second = sign_on(&[NATIVE]).await;
    assert_eq!(
        alice.expect_arrival().await.capabilities(),
        [SEND_FILE, NATIVE]
    );
    first.leave().await;
    assert_eq!(alice.expect_arrival().await.capabilities(), [NATIVE]);
    second.leave().await;
    assert_eq!(alice.expect_departure().await, "bob");
}

#[tokio::test]
async fn away_and_idle_are_seen_and_so_is_who_is_back() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let mut bob = town.citizen("bob").await;
    alice.watch(&["bob"]).await;
    alice.expect_arrival().await;
    let away = |text: &'static str| {
        let tlvs = TlvList::new()
            .with(locate_tlv::AWAY_MIME, &b"text/aolrtf"[..])
            .with(locate_tlv::AWAY, text.as_bytes());
        LocateInfo { tlvs }.encode()
    };
    bob.snac(Foodgroup::LOCATE, 0x04, away("lunch")).await;
    let user = alice.expect_arrival().await;
    assert_eq!(user.tlvs.u16(user_tlv::CLASS), Some(0x0030));
    let asked = alice
        .ask(
            Foodgroup::LOCATE,
            0x05,
            Bytes::from_static(b"\0\x03\x03bob"),
            0x06,
        )
        .await;
    let tlvs = InfoReply::decode(&asked.body).unwrap().tlvs;
    assert_eq!(
        tlvs.first(locate_tlv::AWAY),
        Some(&Bytes::from_static(b"lunch"))
    );
    assert_eq!(tlvs.first(locate_tlv::PROFILE), None);
    bob.snac(Foodgroup::LOCATE, 0x04, away("")).await;
    assert_eq!(
        alice.expect_arrival().await.tlvs.u16(user_tlv::CLASS),
        Some(0x0010)
    );
    bob.snac(
        Foodgroup::OSERVICE,
        0x11,
        Bytes::from_static(&[0, 0, 2, 0x58]),
    )
    .await;
    assert_eq!(
        alice.expect_arrival().await.tlvs.u16(user_tlv::IDLE),
        Some(10)
    );
    bob.snac(Foodgroup::OSERVICE, 0x11, Bytes::from_static(&[0; 4]))
        .await;
    assert_eq!(alice.expect_arrival().await.tlvs.u16(user_tlv::IDLE), None);
}

#[tokio::test]
async fn a_status_is_answered_and_shown_and_who_is_invisible_is_gone() {
    let town = Town::new().await;
    let mut alice = town.citizen("100001").await;
    let mut bob = town.citizen("100002").await;
    alice.watch(&["100002"]).await;
    alice.expect_arrival().await;
    let status = |value: u32| {
        let mut out = bytes::BytesMut::new();
        TlvList::new()
            .with_u32(user_tlv::STATUS, value)
            .encode_rest(&mut out);
        out.freeze()
    };
    bob.ask(Foodgroup::OSERVICE, 0x1E, status(0x20), 0x0F).await;
    let user = alice.expect_arrival().await;
    assert_eq!(user.tlvs.u32(user_tlv::STATUS), Some(0x20));
    assert_eq!(user.tlvs.u16(user_tlv::CLASS), Some(0x50));
    bob.ask(Foodgroup::OSERVICE, 0x1E, status(0x100), 0x0F)
        .await;
    assert_eq!(alice.expect_departure().await, "100002");
    let id = alice
        .snac(
            Foodgroup::LOCATE,
            0x05,
            Bytes::from_static(b"\0\x04\x06100002"),
        )
        .await;
    alice.expect_error(Foodgroup::LOCATE, id, 4).await;
    bob.ask(Foodgroup::OSERVICE, 0x1E, status(0), 0x0F).await;
    alice.expect_arrival().await;
}

#[tokio::test]
async fn capabilities_are_told_to_who_asks_in_either_form() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let _bob = town.citizen("Bob").await;
    let name = "bob".parse().unwrap();
    let short = InfoQuery::encode_capabilities(&name);
    let long = Bytes::from_static(b"\0\0\0\x04\x03bob");
    for (subgroup, query) in [(0x05, short), (0x15, long)] {
        let reply = alice.ask(Foodgroup::LOCATE, subgroup, query, 0x06).await;
        let reply = InfoReply::decode(&reply.body).unwrap();
        assert_eq!(reply.user.name.as_str(), "Bob");
        assert!(reply.user.capabilities().contains(&SEND_FILE));
        assert!(reply.tlvs.first(locate_tlv::CAPABILITIES).is_some());
    }
    let unknown = InfoQuery::encode_capabilities(&"carol".parse().unwrap());
    let id = alice.snac(Foodgroup::LOCATE, 0x05, unknown).await;
    alice.expect_error(Foodgroup::LOCATE, id, 4).await;
}

#[tokio::test]
async fn more_buddies_than_a_queue_holds_are_told_of_one_after_the_other() {
    let town = Town::with(|config| {
        config.limits.queue_messages = 16;
        config.limits.connections =
            rdv_proto::pace::Pace::new(10_000, std::time::Duration::from_secs(1));
    })
    .await;
    let mut everybody = Vec::new();
    let names: Vec<String> = (0..40).map(|n| format!("buddy{n:02}")).collect();
    for name in &names {
        let password = town.account(name).await;
        let able = Manners::default();
        everybody.push(
            OldClient::sign_on(town.port(), name, &password, &able)
                .await
                .unwrap(),
        );
    }
    let mut alice = town.citizen("alice").await;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    alice.watch(&names).await;
    let mut seen: Vec<String> = Vec::new();
    for _ in &names {
        seen.push(alice.expect_arrival().await.name.as_str().to_owned());
    }
    seen.sort();
    assert_eq!(seen, names);
    alice.expect_nothing().await;
}
