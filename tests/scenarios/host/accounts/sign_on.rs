//! From the challenge to BOS, and what stands in the way.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdv_proto::wire::flap::Channel;
use rdv_proto::wire::signon::{
    DigestKind, Hello, LoginErrorCode, LoginReply, RateReply, Roast, ServiceReply, UserList,
    Versions, digest, tlv,
};
use rdv_proto::wire::snac::{Foodgroup, Snac};
use rdv_proto::wire::tlv::TlvList;
use rdv_tests::old_client::{Manners, OldClient};

use super::super::client::Client;
use super::{PASSWORD, Town};

/// Signs on as our own clients do; what the host answers.
async fn normal(client: &mut Client, name: &str, password: &str) -> Snac {
    let more = TlvList::new()
        .with(tlv::PASSWORD, password.as_bytes().to_vec())
        .with(tlv::MULTIPLE_SESSIONS, vec![1]);
    client.login(name, more).await;
    client.expect(Foodgroup::BUCP, 0x03).await
}

fn error(reply: &Snac) -> Option<LoginErrorCode> {
    LoginReply::decode(&reply.body).unwrap().error()
}

#[tokio::test]
async fn so_04_both_digests_open_the_door() {
    let town = Town::new().await;
    let password = town.account("alice").await;
    for digest in [DigestKind::Old, DigestKind::New] {
        let manners = Manners {
            digest,
            ..Manners::default()
        };
        let ticket = OldClient::login(town.port(), "alice", &password, &manners).await;
        assert!(ticket.is_ok(), "{digest:?}");
    }
}

#[tokio::test]
async fn so_08_a_cookie_of_256_bytes_lets_in_once() {
    let town = Town::new().await;
    let password = town.account("Alice Lab").await;
    let manners = Manners::default();
    let ticket = OldClient::login(town.port(), "aliceLAB", &password, &manners)
        .await
        .unwrap();
    assert_eq!(ticket.cookie.len(), 256);
    assert_eq!(&ticket.name[..], b"Alice Lab", "as its owner spells it");
    assert_eq!(ticket.address, town.port().to_string());
    let bos = || OldClient::bos(town.port(), "alice", &ticket.cookie, &manners);
    let _first = bos().await.unwrap();
    assert_eq!(bos().await.unwrap_err(), LoginErrorCode::BAD_COOKIE);
}

#[tokio::test]
async fn so_08_a_cookie_that_waited_too_long_is_worth_nothing() {
    let town = Town::with(|config| config.limits.cookie_life = Duration::ZERO).await;
    let password = town.account("alice").await;
    let manners = Manners::default();
    let ticket = OldClient::login(town.port(), "alice", &password, &manners)
        .await
        .unwrap();
    let refused = OldClient::bos(town.port(), "alice", &ticket.cookie, &manners).await;
    assert_eq!(refused.unwrap_err(), LoginErrorCode::BAD_COOKIE);
}

#[tokio::test]
async fn so_08_a_cookie_is_good_at_the_listener_that_gave_it_out_only() {
    let any = (Ipv4Addr::LOCALHOST, 0).into();
    let town = Town::with(|config| config.listen = vec![any, any]).await;
    let [first, second] = [0, 1].map(|place| town.host.local_addrs()[place]);
    let password = town.account("alice").await;
    let manners = Manners::default();
    let ticket = OldClient::login(first, "alice", &password, &manners)
        .await
        .unwrap();
    let refused = OldClient::bos(second, "alice", &ticket.cookie, &manners).await;
    assert_eq!(refused.unwrap_err(), LoginErrorCode::BAD_COOKIE);
}

#[tokio::test]
async fn an_account_that_was_closed_meanwhile_does_not_come_in() {
    let town = Town::new().await;
    let password = town.account("alice").await;
    let manners = Manners::default();
    let ticket = OldClient::login(town.port(), "alice", &password, &manners)
        .await
        .unwrap();
    let name = "alice".parse().unwrap();
    town.accounts.set_disabled(&name, true).await.unwrap();
    let refused = OldClient::bos(town.port(), "alice", &ticket.cookie, &manners).await;
    assert_eq!(refused.unwrap_err(), LoginErrorCode::BAD_COOKIE);
    // And who knows the password is told why.
    let refused = OldClient::login(town.port(), "alice", &password, &manners).await;
    assert_eq!(refused.unwrap_err(), LoginErrorCode::SUSPENDED);
    let refused = OldClient::login(town.port(), "alice", "not it", &manners).await;
    assert_eq!(refused.unwrap_err(), LoginErrorCode::WRONG_PASSWORD);
}

#[tokio::test]
async fn the_address_that_is_handed_out_may_be_set() {
    let public = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    let town = Town::with(|config| config.public_address = Some(public)).await;
    let password = town.account("alice").await;
    let ticket = OldClient::login(town.port(), "alice", &password, &Manners::default())
        .await
        .unwrap();
    assert_eq!(ticket.address, format!("192.0.2.7:{}", town.port().port()));
}

#[tokio::test]
async fn so_07_e_06_unknown_wrong_and_not_for_old_clients_are_the_same_on_the_wire_and_in_time() {
    let step = Duration::from_millis(300);
    let town = Town::with(|config| config.limits.refusal_delay = step).await;
    town.account("alice").await;
    let normal = Some(rdv_host::accounts::Password::new(PASSWORD));
    town.accounts.create("carol", normal, false).await.unwrap();
    for (name, password) in [("alice", "wrong"), ("nobody", "wrong"), ("carol", PASSWORD)] {
        let mut client = OldClient::connect(town.port(), None).await;
        client.greet(Hello::new()).await;
        let key = client.challenge(name).await;
        assert_eq!(key.len(), 32);
        let began = Instant::now();
        let answer = digest(DigestKind::New, &key, password.as_bytes());
        let refused = client.answer(name, answer, &Manners::default()).await;
        assert_eq!(
            refused.unwrap_err(),
            LoginErrorCode::WRONG_PASSWORD,
            "{name}"
        );
        assert!(began.elapsed() >= step, "{name}");
    }
}

#[tokio::test]
async fn the_normal_password_is_no_password_for_old_clients() {
    let town = Town::new().await;
    town.account("alice").await;
    let refused = OldClient::login(town.port(), "alice", PASSWORD, &Manners::default()).await;
    assert_eq!(refused.unwrap_err(), LoginErrorCode::WRONG_PASSWORD);
}

#[tokio::test]
async fn ten_failures_of_an_address_close_it_to_everybody_there_and_to_nobody_else() {
    let town = Town::with(|config| config.limits.refusal_delay = Duration::ZERO).await;
    let password = town.account("alice").await;
    let from = |last| Manners {
        from: Some([127, 0, 0, last].into()),
        ..Manners::default()
    };
    for n in 0..10 {
        let name = format!("nobody{n}");
        let refused = OldClient::login(town.port(), &name, "wrong", &from(2)).await;
        assert_eq!(refused.unwrap_err(), LoginErrorCode::WRONG_PASSWORD);
    }
    let refused = OldClient::login(town.port(), "alice", &password, &from(2)).await;
    assert_eq!(refused.unwrap_err(), LoginErrorCode::ADDRESS_RATE_LIMITED);
    let ticket = OldClient::login(town.port(), "alice", &password, &from(3)).await;
    assert!(ticket.is_ok());
}

#[tokio::test]
async fn g_10_our_own_clients_sign_on_over_tls_and_stay_on_the_connection() {
    let town = Town::new().await;
    town.account("Alice Lab").await;
    let mut client = Client::tls(town.port()).await;
    let reply = normal(&mut client, "alicelab", PASSWORD).await;
    let reply = LoginReply::decode(&reply.body).unwrap();
    assert_eq!(reply.screen_name().unwrap().as_str(), "Alice Lab");
    client.expect(Foodgroup::OSERVICE, 0x03).await;
    client.expect_nothing().await;
}

#[tokio::test]
async fn g_10_a_wrong_password_ends_the_connection_with_the_reason() {
    let town = Town::new().await;
    town.account("alice").await;
    for name in ["alice", "nobody"] {
        let mut client = Client::tls(town.port()).await;
        let reply = normal(&mut client, name, "wrong").await;
        assert_eq!(error(&reply), Some(LoginErrorCode::WRONG_PASSWORD));
        client.expect_sign_off().await;
    }
}

#[tokio::test]
async fn g_10_a_password_over_plain_tcp_is_not_even_looked_at() {
    let town = Town::new().await;
    town.account("alice").await;
    let stream = tokio::net::TcpStream::connect(town.port()).await.unwrap();
    let mut client = Client::over(stream);
    let reply = normal(&mut client, "alice", PASSWORD).await;
    assert_eq!(error(&reply), Some(LoginErrorCode::WRONG_PASSWORD));
}

#[tokio::test]
async fn a_museum_takes_roasted_passwords() {
    let hello = |password: &str| {
        let mut hello = Hello::new();
        hello.tlvs = TlvList::new().with(tlv::SCREEN_NAME, &b"alice"[..]).with(
            tlv::ROASTED_PASSWORD,
            Roast::Usual.apply(password.as_bytes()),
        );
        hello
    };
    for museum in [true, false] {
        let town = Town::with(|config| config.museum = museum).await;
        let password = town.account("alice").await;
        let mut client = OldClient::connect(town.port(), None).await;
        client.greet(hello(&password)).await;
        let tlvs = TlvList::decode_rest(client.expect_sign_off().await).unwrap();
        let cookie = tlvs.first(tlv::COOKIE);
        assert_eq!(
            (cookie.is_some(), tlvs.u16(tlv::ERROR_CODE)),
            match museum {
                true => (true, None),
                false => (false, Some(5)),
            }
        );
        if let Some(cookie) = cookie {
            let manners = Manners::default();
            assert!(
                OldClient::bos(town.port(), "alice", cookie, &manners)
                    .await
                    .is_ok()
            );
        }
    }
}

#[tokio::test]
async fn so_18_the_ticket_of_a_service_opens_no_session() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let ars = Bytes::from_static(&[0x04, 0x4A]);
    let reply = alice.ask(Foodgroup::OSERVICE, 0x04, ars, 0x05).await;
    let ticket = ServiceReply::decode(&reply.body)
        .unwrap()
        .cookie()
        .unwrap()
        .clone();
    let refused = OldClient::bos(town.port(), "alice", &ticket, &Manners::default()).await;
    assert_eq!(refused.unwrap_err(), LoginErrorCode::BAD_COOKIE);
}

#[tokio::test]
async fn so_12_rate_records_follow_the_version_that_the_client_declared() {
    let town = Town::new().await;
    let password = town.account("alice").await;
    for (version, arrival) in [(2, false), (3, true)] {
        let manners = Manners::default();
        let ticket = OldClient::login(town.port(), "alice", &password, &manners)
            .await
            .unwrap();
        let mut client = OldClient::bos(town.port(), "alice", &ticket.cookie, &manners)
            .await
            .unwrap();
        let versions = Versions {
            pairs: vec![(Foodgroup::OSERVICE, version)],
        };
        client
            .ask(Foodgroup::OSERVICE, 0x17, versions.encode(), 0x18)
            .await;
        let rates = client
            .ask(Foodgroup::OSERVICE, 0x06, Bytes::new(), 0x07)
            .await;
        let rates = RateReply::decode(&rates.body).unwrap();
        assert_eq!(rates.classes.len(), 5);
        assert!(
            rates
                .classes
                .iter()
                .all(|class| class.arrival.is_some() == arrival)
        );
    }
}

#[tokio::test]
async fn so_16_who_wants_to_be_alone_ends_the_others_with_a_reason_of_two_bytes() {
    let town = Town::new().await;
    let mut first = town.citizen("alice").await;
    let name = "alice".parse().unwrap();
    let password = town.accounts.legacy_password(&name).await.unwrap().unwrap();
    for sessions in [Some(3), Some(0)] {
        let manners = Manners {
            sessions,
            ..Manners::default()
        };
        let next = OldClient::sign_on(town.port(), "alice", password.expose(), &manners)
            .await
            .unwrap();
        assert_eq!(&first.expect_sign_off().await[..], [0, 9, 0, 2, 0, 1]);
        first = next;
    }
    // The last one does not know of reasons, nor of a length.
    let _next = town.sign_on("alice", password.expose()).await;
    first.expect_nothing().await;
    let alone = Manners {
        sessions: Some(3),
        ..Manners::default()
    };
    OldClient::sign_on(town.port(), "alice", password.expose(), &alone)
        .await
        .unwrap();
    assert_eq!(&first.expect_sign_off().await[..], b"");
}

#[tokio::test]
async fn five_sign_ons_of_an_account_and_no_more() {
    let town = Town::new().await;
    let password = town.account("alice").await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(town.sign_on("alice", &password).await);
    }
    let manners = Manners::default();
    let refused = OldClient::login(town.port(), "alice", &password, &manners).await;
    assert_eq!(refused.unwrap_err(), LoginErrorCode::ADDRESS_RATE_LIMITED);
    all.pop().unwrap().leave().await;
    assert!(
        OldClient::login(town.port(), "alice", &password, &manners)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn own_info_has_the_number_of_the_sign_on_and_for_newer_clients_all_of_them() {
    let town = Town::new().await;
    let password = town.account("alice").await;
    let _first = town.sign_on("alice", &password).await;
    let mut second = town.sign_on("alice", &password).await;
    let users = |snac: Snac| UserList::decode(&snac.body).unwrap().users;
    let number = |user: &rdv_proto::wire::icbm::UserInfo| user.tlvs.first(0x14).unwrap()[0];
    let info = second
        .ask(Foodgroup::OSERVICE, 0x0E, Bytes::new(), 0x0F)
        .await;
    let info = users(info);
    assert_eq!((info.len(), number(&info[0])), (1, 2));
    assert_eq!(info[0].tlvs.u16(1), Some(0x10));
    let newer = Versions {
        pairs: vec![(Foodgroup::OSERVICE, 4)],
    };
    second
        .ask(Foodgroup::OSERVICE, 0x17, newer.encode(), 0x18)
        .await;
    let info = second
        .ask(Foodgroup::OSERVICE, 0x0E, Bytes::new(), 0x0F)
        .await;
    let numbers: Vec<u8> = users(info).iter().map(number).collect();
    assert_eq!(numbers, [2, 1, 2]);
}

#[tokio::test]
async fn who_does_not_get_ready_in_time_is_sent_away() {
    let town = Town::with(|config| config.limits.set_up = Duration::from_millis(50)).await;
    let password = town.account("alice").await;
    let manners = Manners::default();
    let ticket = OldClient::login(town.port(), "alice", &password, &manners)
        .await
        .unwrap();
    let mut client = OldClient::bos(town.port(), "alice", &ticket.cookie, &manners)
        .await
        .unwrap();
    assert_eq!(&client.expect_sign_off().await[..], b"");
}

#[tokio::test]
async fn old_clients_may_be_silent_for_longer_than_ours() {
    let town = Town::with(|config| {
        config.limits.silence = Duration::from_millis(1);
        config.limits.silence_old = Duration::from_millis(300);
    })
    .await;
    let mut alice = town.citizen("alice").await;
    let began = Instant::now();
    alice.send(Channel::KEEP_ALIVE, Bytes::new()).await;
    assert_eq!(&alice.expect_sign_off().await[..], b"");
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn so_02_the_numbers_of_frames_may_be_anything() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    // One frame with a number out of order, made by hand.
    alice.raw(b"\x2a\x05\xff\xff\0\0\x2a\x05\0\x03\0\0").await;
    alice.expect_nothing().await;
}

#[tokio::test]
async fn guests_and_accounts_do_not_reach_each_other() {
    use rdv_proto::wire::rendezvous::{Cookie, Message, SequenceNumber};
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let mut owner = Client::owner(town.port()).await;
    let first = SequenceNumber::FIRST;
    let proposal = Message::propose(Cookie(*b"TRYST01\0"), super::super::client::SERVICE, first);
    let id = owner.rendezvous("alice", &proposal, TlvList::new()).await;
    owner.expect_error(Foodgroup::ICBM, id, 4).await;
    let id = alice
        .rendezvous(owner.name(), &proposal, TlvList::new())
        .await;
    alice.expect_error(Foodgroup::ICBM, id, 4).await;
    alice.expect_nothing().await;
    owner.expect_nothing().await;
}
