//! How a client gets to ADMIN, what opens it, and what ends it.

use bytes::Bytes;
use rdv_host::Limit;
use rdv_proto::wire::admin::{DeleteRequest, InfoQuery, InfoReply, subgroup, tag};
use rdv_proto::wire::signon::{LoginErrorCode, LoginReply, ServiceReply, ServiceRequest, tlv};
use rdv_proto::wire::snac::{Foodgroup, SnacError};
use rdv_proto::wire::tlv::TlvList;
use rdv_tests::old_client::{Manners, OldClient};

use super::super::accounts::PASSWORD;
use super::super::client::Client;
use super::{AdminClient, Hall, ask_for_admin, code};

/// Signs on over TLS with a password, as our own clients do.
async fn ours(hall: &Hall, name: &str) -> Client {
    let mut client = Client::tls(hall.town.port()).await;
    let more = TlvList::new()
        .with(tlv::PASSWORD, PASSWORD.as_bytes().to_vec())
        .with(tlv::MULTIPLE_SESSIONS, vec![1]);
    client.login(name, more).await;
    let reply = client.expect(Foodgroup::BUCP, 0x03).await;
    assert_eq!(LoginReply::decode(&reply.body).unwrap().error(), None);
    client.expect(Foodgroup::OSERVICE, 0x03).await;
    client
}

/// Asks where ADMIN is.
async fn cookie_for(client: &mut Client) -> Bytes {
    let request = ServiceRequest {
        foodgroup: Foodgroup::ADMIN,
        tlvs: TlvList::new(),
    };
    client
        .snac(Foodgroup::OSERVICE, 0x04, request.encode())
        .await;
    let reply = client.expect(Foodgroup::OSERVICE, 0x05).await;
    let reply = ServiceReply::decode(&reply.body).unwrap();
    reply.cookie().unwrap().clone()
}

/// The ADMIN connection of a client of ours.
pub(super) async fn ours_on_admin(hall: &Hall, name: &str) -> (Client, AdminClient) {
    let mut bos = ours(hall, name).await;
    let cookie = cookie_for(&mut bos).await;
    let client = Client::tls(hall.town.port()).await;
    let mut admin = AdminClient::enter_over(client, &cookie).await.unwrap();
    admin.set_up().await;
    (bos, admin)
}

#[tokio::test]
async fn a_03_a_service_cookie_opens_admin_once_and_on_bos_admin_is_not_there() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("alice").await;
    let query = InfoQuery::of(&[tag::FORMAT]).encode();
    let id = owner
        .bos
        .snac(Foodgroup::ADMIN, subgroup::INFO_QUERY, query)
        .await;
    owner.bos.expect_error(Foodgroup::ADMIN, id, 0x05).await;
    let reply = ask_for_admin(&mut owner.bos).await;
    assert_eq!(reply.address().unwrap(), hall.town.port().to_string());
    let cookie = reply.cookie().unwrap();
    assert_eq!(cookie.len(), 256);
    AdminClient::enter(hall.town.port(), cookie).await.unwrap();
    let again = AdminClient::enter(hall.town.port(), cookie).await;
    assert_eq!(again.err(), Some(LoginErrorCode::BAD_COOKIE));
    // Messages and presence are not to be had on ADMIN.
    for (foodgroup, subgroup) in [(4, 0x06), (4, 0x04), (3, 0x04), (2, 0x04), (0x13, 0x04)] {
        let foodgroup = Foodgroup(foodgroup);
        let id = owner.client.snac(foodgroup, subgroup, Bytes::new()).await;
        owner.client.expect_error(foodgroup, id, 0x08).await;
    }
}

#[tokio::test]
async fn so_18_a_cookie_of_a_sign_on_opens_bos_and_not_admin() {
    let hall = Hall::new().await;
    let password = hall.town.account("alice").await;
    let (port, manners) = (hall.town.port(), Manners::default());
    let ticket = OldClient::login(port, "alice", &password, &manners).await;
    let ticket = ticket.unwrap();
    // What it opens has all that BOS has.
    OldClient::bos(
        hall.town.port(),
        "alice",
        &ticket.cookie,
        &Manners::default(),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_03_a_cookie_that_was_got_over_tls_opens_admin_over_tls_only() {
    let hall = Hall::new().await;
    hall.town.account("alice").await;
    let mut bos = ours(&hall, "alice").await;
    let cookie = cookie_for(&mut bos).await;
    let plain = AdminClient::enter(hall.town.port(), &cookie).await;
    assert_eq!(plain.err(), Some(LoginErrorCode::BAD_COOKIE));
    let (_bos, mut admin) = ours_on_admin(&hall, "alice").await;
    assert_eq!(&admin.value(tag::FORMAT).await[..], b"alice");
}

#[tokio::test]
async fn a_03_guests_have_nothing_to_administer() {
    let hall = Hall::new().await;
    let mut guest = Client::owner(hall.town.port()).await;
    let request = ServiceRequest {
        foodgroup: Foodgroup::ADMIN,
        tlvs: TlvList::new(),
    };
    let id = guest
        .snac(Foodgroup::OSERVICE, 0x04, request.encode())
        .await;
    guest.expect_error(Foodgroup::OSERVICE, id, 0x06).await;
}

#[tokio::test]
async fn a_cookie_of_an_account_that_was_closed_meanwhile_opens_nothing() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("alice").await;
    let cookie = ask_for_admin(&mut owner.bos)
        .await
        .cookie()
        .unwrap()
        .clone();
    let name = "alice".parse().unwrap();
    hall.town.accounts.set_disabled(&name, true).await.unwrap();
    let refused = AdminClient::enter(hall.town.port(), &cookie).await;
    assert_eq!(refused.err(), Some(LoginErrorCode::BAD_COOKIE));
    // And those that are open are told.
    assert_eq!(
        code(&owner.get(tag::FORMAT).await),
        Some(rdv_proto::wire::admin::AdminErrorCode::INVALID_ACCOUNT)
    );
}

#[tokio::test]
async fn a_04_the_connection_is_set_up_like_bos_and_needs_no_bos() {
    // What libpurple sends is in [`AdminClient::set_up`], the host's list in [`AdminClient::enter`].
    let hall = Hall::new().await;
    let password = hall.town.account("alice").await;
    let mut bos = hall.town.sign_on("alice", &password).await;
    let mut admin = AdminClient::open(&mut bos).await;
    bos.leave().await;
    assert_eq!(&admin.value(tag::FORMAT).await[..], b"alice");
}

#[tokio::test]
async fn an_account_has_five_admin_connections_at_a_time() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("alice").await;
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(AdminClient::open(&mut owner.bos).await);
    }
    let cookie = ask_for_admin(&mut owner.bos)
        .await
        .cookie()
        .unwrap()
        .clone();
    let refused = AdminClient::enter(hall.town.port(), &cookie).await;
    assert_eq!(refused.err(), Some(LoginErrorCode::ADDRESS_RATE_LIMITED));
    assert_eq!(
        hall.town.host.metrics().refusals(Limit::AdminConnections),
        1
    );
    assert_eq!(&owner.value(tag::FORMAT).await[..], b"alice");
}

#[tokio::test]
async fn a_08_a_query_for_nothing_is_a_general_error() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("alice").await;
    let error = owner.ask(subgroup::INFO_QUERY, Bytes::new()).await;
    assert_eq!(error.subgroup, 0x01);
    assert_eq!(SnacError::decode(&error.body).unwrap().code, 0x0E);
}

#[tokio::test]
async fn a_20_a_tlv_that_runs_past_the_end_is_0x14_and_the_connection_stays() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("alice").await;
    for (asked, answered) in [
        (subgroup::INFO_QUERY, subgroup::INFO_REPLY),
        (subgroup::INFO_CHANGE_REQUEST, subgroup::INFO_CHANGE_REPLY),
    ] {
        let reply = owner
            .ask(asked, Bytes::from_static(b"\0\x01\0\x09al ice"))
            .await;
        assert_eq!(reply.subgroup, answered);
        let reply = InfoReply::decode(&reply.body).unwrap();
        assert_eq!(reply.blocks[0].error_code().unwrap().0, 0x14);
    }
    let empty = owner.ask(subgroup::INFO_CHANGE_REQUEST, Bytes::new()).await;
    let empty = InfoReply::decode(&empty.body).unwrap();
    assert_eq!(empty.blocks[0].error_code().unwrap().0, 0x14);
    assert_eq!(&owner.value(tag::FORMAT).await[..], b"alice");
}

#[tokio::test]
async fn a_21_an_unknown_subgroup_is_a_general_error() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("alice").await;
    for subgroup in [0x03, 0x0A, 0x7FFF] {
        let error = owner.ask(subgroup, Bytes::new()).await;
        assert_eq!(error.subgroup, 0x01);
        assert_eq!(SnacError::decode(&error.body).unwrap().code, 0x01);
    }
    assert_eq!(&owner.value(tag::FORMAT).await[..], b"alice");
}

#[tokio::test]
async fn a_18_deletion_is_off_unless_the_operator_wants_it() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("alice").await;
    let password = owner.password.clone();
    for request in [
        DeleteRequest::of(password.as_bytes()),
        DeleteRequest {
            tlvs: TlvList::new(),
        },
    ] {
        let refused = owner.delete(request).await.error().unwrap();
        assert_eq!(refused.0, 0x04);
    }
    owner.bos.expect_nothing().await;
}

#[tokio::test]
async fn a_18_who_deletes_the_account_is_signed_off_everywhere_and_does_not_come_back() {
    let hall = Hall::with(|config| config.admin.delete = true).await;
    let mut owner = hall.owner("alice").await;
    let mut twin = hall.town.sign_on("alice", &owner.password).await;
    let mut other_admin = AdminClient::open(&mut twin).await;
    let mut watcher = hall.town.citizen("bob").await;
    watcher.watch(&["alice"]).await;
    watcher.expect_arrival().await;
    let missing = DeleteRequest {
        tlvs: TlvList::new(),
    };
    assert_eq!(owner.delete(missing).await.error().unwrap().0, 0x0F);
    let wrong = owner.delete(DeleteRequest::of(b"wrong")).await;
    assert_eq!(wrong.error().unwrap().0, 0x0A);
    let password = owner.password.clone();
    let done = owner.delete(DeleteRequest::of(password.as_bytes())).await;
    assert!(done.tlvs.0.is_empty());
    // TLV 0x0009, u16 2: the account is deleted.
    let because = b"\0\x09\0\x02\0\x02";
    assert_eq!(&owner.client.expect_sign_off().await[..], because);
    assert_eq!(&other_admin.client.expect_sign_off().await[..], because);
    loop {
        // What comes in front of it, may come.
        let frame = owner.bos.frame().await.expect("a sign-off");
        if frame.channel == rdv_proto::wire::flap::Channel::SIGN_OFF {
            assert_eq!(&frame.data[..], because);
            break;
        }
    }
    loop {
        let frame = twin.frame().await.expect("a sign-off");
        if frame.channel == rdv_proto::wire::flap::Channel::SIGN_OFF {
            assert_eq!(&frame.data[..], because);
            break;
        }
    }
    assert_eq!(watcher.expect_departure().await, "alice");
    let (port, manners) = (hall.town.port(), Manners::default());
    let refused = OldClient::login(port, "alice", &password, &manners).await;
    assert_eq!(refused.unwrap_err().0, 0x0008);
    let mut client = Client::tls(hall.town.port()).await;
    let more = TlvList::new().with(tlv::PASSWORD, PASSWORD.as_bytes().to_vec());
    client.login("alice", more).await;
    let reply = client.expect(Foodgroup::BUCP, 0x03).await;
    let refused = LoginReply::decode(&reply.body).unwrap().error().unwrap();
    assert_eq!(refused.0, 0x0008);
}
