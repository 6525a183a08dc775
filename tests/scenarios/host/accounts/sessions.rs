//! Several sign-ons of one account, one of them ours; and an operator who ends them.

use std::time::Duration;

use rdv::oscar::{Account, AccountSettings, OscarError, Password, Standing};
use rdv::signaling::{Incoming, Signaling};
use rdv::trust::HostTrust;
use rdv_host::accounts;
use rdv_proto::wire::rendezvous::{CancelReason, Cookie, Message, MessageKind, SequenceNumber};
use rdv_proto::wire::service::SEND_FILE;
use rdv_proto::wire::signal::Signal;
use rdv_proto::wire::tlv::TlvList;
use rdv_tests::old_client::OldClient;
use tokio::time::timeout;

use super::{PASSWORD, Town};

const COOKIE: Cookie = Cookie(*b"3855154\0");
const PATIENCE: Duration = Duration::from_secs(20);
/// Sign-off reason of TLV 0x0009: there is no such account any more.
const DELETED: [u8; 6] = [0, 9, 0, 2, 0, 2];

/// One of ours, signed on to that account.
async fn ours(town: &Town, name: &str) -> Account {
    let host = town.port().to_string();
    let password = Password::new(PASSWORD);
    let settings =
        AccountSettings::new(host, HostTrust::AcceptAny, name.parse().unwrap(), password);
    let settings = settings.capabilities([SEND_FILE]).limit(PATIENCE);
    Account::connect(settings).await.unwrap()
}

/// The next rendezvous message.
async fn heard(account: &Account) -> Message {
    loop {
        let next = timeout(PATIENCE, account.recv()).await.unwrap().unwrap();
        if let Incoming::Message { body, .. } = next
            && let Signal::Rendezvous(message) = Signal::decode(body).unwrap()
        {
            return message;
        }
    }
}

fn is_accepted_elsewhere(message: &Message) -> bool {
    (message.kind, message.cancel_reason(), message.cookie)
        == (
            MessageKind::CANCEL,
            CancelReason::ACCEPTED_ELSEWHERE,
            COOKIE,
        )
}

/// Bob three times: one of ours, and two old clients.
async fn bobs(town: &Town) -> (Account, [OldClient; 2]) {
    let password = town.account("bob").await;
    let ours = ours(town, "bob").await;
    let old = [
        town.sign_on("bob", &password).await,
        town.sign_on("bob", &password).await,
    ];
    (ours, old)
}

#[tokio::test]
async fn h_20_of_three_sign_ons_an_old_one_accepts_and_ours_and_the_other_are_told() {
    let town = Town::in_a_hurry().await;
    let mut alice = town.citizen("alice").await;
    let (ours, [mut here, mut there]) = bobs(&town).await;
    let first = Message::propose(COOKIE, SEND_FILE, SequenceNumber::FIRST);
    alice.rendezvous("bob", &first, TlvList::new()).await;
    assert_eq!(heard(&ours).await, first);
    assert_eq!(here.expect_rendezvous().await.1, first);
    assert_eq!(there.expect_rendezvous().await.1, first);
    let accept = Message::accept(COOKIE, SEND_FILE);
    here.rendezvous("alice", &accept, TlvList::new()).await;
    assert_eq!(alice.expect_rendezvous().await.1, accept);
    assert!(is_accepted_elsewhere(&heard(&ours).await));
    assert!(is_accepted_elsewhere(&there.expect_rendezvous().await.1));
    here.expect_nothing().await;
    // What ours still has to say is too late, and goes nowhere.
    let late = Signal::Rendezvous(accept).encode();
    let alices = "alice".parse().unwrap();
    ours.send(alices, late, false).await.unwrap();
    ours.close().await;
    alice.expect_nothing().await;
}

#[tokio::test]
async fn h_20_of_three_sign_ons_ours_accepts_and_both_old_ones_are_told() {
    let town = Town::in_a_hurry().await;
    let mut alice = town.citizen("alice").await;
    let (ours, mut old) = bobs(&town).await;
    let first = Message::propose(COOKIE, SEND_FILE, SequenceNumber::FIRST);
    alice.rendezvous("bob", &first, TlvList::new()).await;
    assert_eq!(heard(&ours).await, first);
    let accept = Message::accept(COOKIE, SEND_FILE);
    let said = Signal::Rendezvous(accept.clone()).encode();
    let alices = "alice".parse().unwrap();
    ours.send(alices, said, false).await.unwrap();
    assert_eq!(alice.expect_rendezvous().await.1, accept);
    for client in &mut old {
        assert_eq!(client.expect_rendezvous().await.1, first);
        assert!(is_accepted_elsewhere(&client.expect_rendezvous().await.1));
        client.expect_nothing().await;
    }
}

#[tokio::test]
async fn who_is_disabled_by_the_operator_is_signed_off_within_seconds_everywhere() {
    let town = Town::new().await;
    let (ours, [mut here, mut there]) = bobs(&town).await;
    let mut alice = town.citizen("alice").await;
    alice.watch(&["bob"]).await;
    alice.expect_arrival().await;
    let bob = "bob".parse().unwrap();
    town.accounts.set_disabled(&bob, true).await.unwrap();
    assert_eq!(here.expect_sign_off().await.len(), 0);
    assert_eq!(there.expect_sign_off().await.len(), 0);
    let mut standing = ours.standing();
    let gone = standing.wait_for(|standing| *standing == Standing::Gone);
    timeout(PATIENCE, gone).await.unwrap().unwrap();
    assert!(matches!(*ours.end().unwrap(), OscarError::Refused { .. }));
    assert_eq!(alice.expect_departure().await, "bob");
}

#[tokio::test]
async fn who_is_removed_by_the_operator_is_told_that_the_account_is_gone() {
    let town = Town::new().await;
    let (ours, [mut here, mut there]) = bobs(&town).await;
    town.accounts.remove(&"bob".parse().unwrap()).await.unwrap();
    assert_eq!(here.expect_sign_off().await[..], DELETED);
    assert_eq!(there.expect_sign_off().await[..], DELETED);
    let mut standing = ours.standing();
    let gone = standing.wait_for(|standing| *standing == Standing::Gone);
    timeout(PATIENCE, gone).await.unwrap().unwrap();
    assert!(matches!(*ours.end().unwrap(), OscarError::AccountDeleted));
}

#[tokio::test]
async fn a_password_that_the_operator_sets_anew_ends_what_the_old_one_opened() {
    let town = Town::new().await;
    let (ours, [mut here, _there]) = bobs(&town).await;
    let other = accounts::Password::new("another password");
    let bob = "bob".parse().unwrap();
    town.accounts
        .reset_password(&bob, Some(other))
        .await
        .unwrap();
    assert_eq!(here.expect_sign_off().await.len(), 0);
    let mut standing = ours.standing();
    let gone = standing.wait_for(|standing| *standing == Standing::Gone);
    timeout(PATIENCE, gone).await.unwrap().unwrap();
}
