//! Messages for somebody who is away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rdv_host::accounts::{
    AccountId, Answer, Kept, MessageId, MessageStore, StoreError, StoredMessage,
};
use rdv_proto::wire::icbm::{self, Channel, MessageToClient};
use rdv_proto::wire::rendezvous::{Cookie, Message, SequenceNumber};
use rdv_proto::wire::service::SEND_FILE;
use rdv_proto::wire::snac::{Foodgroup, SnacError};
use rdv_proto::wire::tlv::TlvList;
use rdv_tests::old_client::OldClient;

use super::Town;

const COOKIE: Cookie = Cookie(*b"3855154\0");
/// What bob is told in TLV 0x0008.
const NOT_ACCEPTED: u16 = 0x000E;
const FULL: u16 = 0x000F;

type Kept1 = (MessageId, StoredMessage);

/// Messages in memory, at most three for each; or none, for a reason.
#[derive(Debug, Default)]
struct Shelf {
    messages: Mutex<BTreeMap<AccountId, Vec<Kept1>>>,
    broken: Mutex<Option<StoreError>>,
}

impl Shelf {
    fn count(&self) -> usize {
        self.messages.lock().unwrap().values().map(Vec::len).sum()
    }

    fn broken(&self) -> Result<(), StoreError> {
        self.broken.lock().unwrap().map_or(Ok(()), Err)
    }
}

impl MessageStore for Shelf {
    fn keep(&self, to: AccountId, message: StoredMessage) -> Answer<'_, Kept> {
        let kept = self.broken().map(|()| {
            let mut all = self.messages.lock().unwrap();
            let number: usize = all.values().map(Vec::len).sum();
            let messages = all.entry(to).or_default();
            if messages.len() == 3 {
                return Kept::Full;
            }
            messages.push((MessageId(number as i64), message));
            Kept::Yes
        });
        Box::pin(std::future::ready(kept))
    }

    fn take(&self, to: AccountId) -> Answer<'_, Vec<Kept1>> {
        let all = self.messages.lock().unwrap();
        let taken = all.get(&to).cloned().unwrap_or_default();
        let taken = self.broken().map(|()| taken);
        Box::pin(std::future::ready(taken))
    }

    fn done(&self, to: AccountId, done: Vec<MessageId>) -> Answer<'_, ()> {
        let forgotten = self.broken().map(|()| {
            let mut all = self.messages.lock().unwrap();
            let messages = all.entry(to).or_default();
            messages.retain(|(id, _)| !done.contains(id));
        });
        Box::pin(std::future::ready(forgotten))
    }
}

/// A town in which whatever a client says after its messages were written shows that it has them.
async fn town() -> (Town, Arc<Shelf>) {
    let shelf = Arc::new(Shelf::default());
    let used = shelf.clone();
    let town = Town::with(|config| {
        config.limits.rates_old.icbm = rdv_proto::session::RateClass::ICBM;
        config.limits.stored_proof = Duration::ZERO;
        config.message_store = Some(used);
    })
    .await;
    (town, shelf)
}

/// Asks for what is stored: the messages, and that there are no more.
async fn retrieve(client: &mut OldClient) -> Vec<MessageToClient> {
    let id = client.snac(Foodgroup::ICBM, 0x10, Bytes::new()).await;
    let mut messages = Vec::new();
    loop {
        let snac = client.next().await;
        if snac.is(Foodgroup::ICBM, 0x17) {
            assert_eq!((snac.request_id, snac.body.len()), (id, 0));
            return messages;
        }
        assert!(snac.is(Foodgroup::ICBM, 0x07), "{snac:?}");
        assert_eq!(snac.request_id & 0x8000_0000, 0x8000_0000);
        messages.push(MessageToClient::decode(&snac.body).unwrap());
    }
}

/// The host has stored it.
async fn expect_ack(client: &mut OldClient, id: u32) {
    let ack = client.expect(Foodgroup::ICBM, 0x0C).await;
    assert_eq!(ack.request_id, id);
}

fn sub_code(error: &SnacError) -> Option<u16> {
    error.tlvs.u16(icbm::tlv::ERROR_SUB_CODE)
}

fn words(message: &MessageToClient) -> String {
    let fragments = message.tlvs.first(icbm::tlv::MESSAGE).unwrap();
    String::from_utf8(fragments[16..].to_vec()).unwrap()
}

fn now_unix_s() -> u32 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    u32::try_from(since.as_secs()).unwrap()
}

#[tokio::test]
async fn a_text_for_somebody_who_is_away_waits_and_is_delivered_once_with_its_time() {
    let (town, shelf) = town().await;
    let mut bob = town.citizen("bob").await;
    let alice_password = town.account("Alice").await;
    for text in ["first", "second"] {
        let id = bob.text("alice", text).await;
        expect_ack(&mut bob, id).await;
    }
    let mut alice = town.sign_on("alice", &alice_password).await;
    // Nothing comes unasked.
    alice.expect_nothing().await;
    let messages = retrieve(&mut alice).await;
    let said: Vec<String> = messages.iter().map(words).collect();
    assert_eq!(said, ["first", "second"]);
    for message in &messages {
        assert_eq!(message.sender.name.as_str(), "bob");
        assert_eq!((message.channel, message.cookie), (Channel::TEXT, COOKIE));
        let tags: Vec<u16> = message.tlvs.0.iter().map(|tlv| tlv.tag).collect();
        assert_eq!(tags, [icbm::tlv::MESSAGE, icbm::tlv::SENT_TIME]);
        let at = message.tlvs.u32(icbm::tlv::SENT_TIME).unwrap();
        assert!(now_unix_s() - at < 60);
    }
    assert_eq!(retrieve(&mut alice).await, []);
    alice.expect_nothing().await;
    assert_eq!(shelf.count(), 0);
    alice.leave().await;
    let mut alice = town.sign_on("alice", &alice_password).await;
    assert_eq!(retrieve(&mut alice).await, []);
}

#[tokio::test]
async fn a_client_that_dies_while_it_gets_them_gets_them_again() {
    let (town, shelf) = town().await;
    let mut bob = town.citizen("bob").await;
    let password = town.account("alice").await;
    let id = bob.text("alice", "important").await;
    expect_ack(&mut bob, id).await;
    let mut alice = town.sign_on("alice", &password).await;
    alice.snac(Foodgroup::ICBM, 0x10, Bytes::new()).await;
    drop(alice);
    let mut again = town.sign_on("alice", &password).await;
    // The host may not have seen yet that the first one is gone; until then they are in its hands.
    let messages = loop {
        let messages = retrieve(&mut again).await;
        if !messages.is_empty() {
            break messages;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(words(&messages[0]), "important");
    again.expect_nothing().await;
    assert_eq!(shelf.count(), 0);
}

#[tokio::test]
async fn two_sign_ons_do_not_both_get_them() {
    let (town, shelf) = town().await;
    let mut bob = town.citizen("bob").await;
    let password = town.account("alice").await;
    let id = bob.text("alice", "once").await;
    expect_ack(&mut bob, id).await;
    let mut here = town.sign_on("alice", &password).await;
    let mut there = town.sign_on("alice", &password).await;
    assert_eq!(retrieve(&mut here).await.len(), 1);
    assert_eq!(retrieve(&mut there).await, []);
    here.expect_nothing().await;
    assert_eq!(retrieve(&mut there).await, []);
    assert_eq!(shelf.count(), 0);
}

#[tokio::test]
async fn h_19_a_proposal_is_never_stored() {
    let (town, shelf) = town().await;
    let mut bob = town.citizen("bob").await;
    town.account("alice").await;
    let first = Message::propose(COOKIE, SEND_FILE, SequenceNumber::FIRST);
    let store = TlvList::new().with(icbm::tlv::STORE, Bytes::new());
    let id = bob.rendezvous("alice", &first, store).await;
    let error = bob.expect_error(Foodgroup::ICBM, id, 0x04).await;
    assert_eq!((sub_code(&error), shelf.count()), (None, 0));
    // Neither is a text whose sender does not want that.
    let plain = TlvList::new().with(icbm::tlv::MESSAGE, &b"\x05\x01\0\0"[..]);
    let id = bob.icbm("alice", Channel::TEXT, COOKIE, plain).await;
    let error = bob.expect_error(Foodgroup::ICBM, id, 0x04).await;
    assert_eq!((sub_code(&error), shelf.count()), (None, 0));
}

#[tokio::test]
async fn who_is_blocked_or_writes_to_nobody_is_told_the_same() {
    let (town, shelf) = town().await;
    let mut bob = town.citizen("bob").await;
    let mut alice = town.citizen("alice").await;
    super::lists::block(&mut alice, "bob").await;
    alice.leave().await;
    for nobody in ["alice", "carol"] {
        let id = bob.text(nobody, "hello").await;
        let error = bob.expect_error(Foodgroup::ICBM, id, 0x04).await;
        assert_eq!(sub_code(&error), Some(NOT_ACCEPTED), "{nobody}");
    }
    assert_eq!(shelf.count(), 0);
}

#[tokio::test]
async fn a_full_store_and_a_broken_one_are_told_apart() {
    let (town, shelf) = town().await;
    let mut bob = town.citizen("bob").await;
    town.account("alice").await;
    for _ in 0..3 {
        let id = bob.text("alice", "hello").await;
        expect_ack(&mut bob, id).await;
    }
    let id = bob.text("alice", "one too many").await;
    let error = bob.expect_error(Foodgroup::ICBM, id, 0x04).await;
    assert_eq!(sub_code(&error), Some(FULL));
    *shelf.broken.lock().unwrap() = Some(StoreError::Unreachable);
    let id = bob.text("alice", "hello").await;
    let error = bob.expect_error(Foodgroup::ICBM, id, 0x05).await;
    assert_eq!(sub_code(&error), None);
}

#[tokio::test]
async fn messages_that_cannot_be_had_now_are_not_lost() {
    let (town, shelf) = town().await;
    let mut bob = town.citizen("bob").await;
    let password = town.account("alice").await;
    let id = bob.text("alice", "hello").await;
    expect_ack(&mut bob, id).await;
    let mut alice = town.sign_on("alice", &password).await;
    *shelf.broken.lock().unwrap() = Some(StoreError::Busy);
    assert_eq!(retrieve(&mut alice).await, []);
    *shelf.broken.lock().unwrap() = None;
    assert_eq!(retrieve(&mut alice).await.len(), 1);
}
