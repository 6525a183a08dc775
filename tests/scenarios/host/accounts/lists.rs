//! The list that the host keeps: buddies, and who is kept out.

use bytes::Bytes;
use rdv_proto::wire::signon::{
    FeedbagIfModified, FeedbagList, FeedbagStamp, Item, ItemClass, Items, Status, Statuses,
};
use rdv_proto::wire::snac::Foodgroup;
use rdv_tests::old_client::{OldClient, names_of};

use super::Town;

fn item(class: ItemClass, name: &'static str, id: u16) -> Item {
    Item {
        name: Bytes::from_static(name.as_bytes()),
        group: 1,
        id,
        class,
        tlvs: Bytes::new(),
    }
}

/// Edits the list as clients do, and reads what became of it.
async fn edit(client: &mut OldClient, subgroup: u16, items: Vec<Item>) -> Vec<Status> {
    client.snac(Foodgroup::FEEDBAG, 0x11, Bytes::new()).await;
    let id = client
        .snac(Foodgroup::FEEDBAG, subgroup, Items { items }.encode())
        .await;
    client.snac(Foodgroup::FEEDBAG, 0x12, Bytes::new()).await;
    let mut early = Vec::new();
    let answer = loop {
        let snac = client.next().await;
        match snac.is(Foodgroup::FEEDBAG, 0x0E) {
            true => break snac,
            false => early.push(snac),
        }
    };
    assert_eq!(answer.request_id, id);
    early.into_iter().for_each(|snac| client.put_back(snac));
    Statuses::decode(&answer.body).statuses
}

async fn list(client: &mut OldClient) -> FeedbagList {
    let reply = client
        .ask(Foodgroup::FEEDBAG, 0x04, Bytes::new(), 0x06)
        .await;
    FeedbagList::decode(&reply.body).unwrap()
}

const INSERT: u16 = 0x08;
const UPDATE: u16 = 0x09;
const DELETE: u16 = 0x0A;

#[tokio::test]
async fn what_is_put_onto_the_list_is_there_next_time() {
    let town = Town::new().await;
    let password = town.account("alice").await;
    let mut alice = town.sign_on("alice", &password).await;
    let bart = Item {
        tlvs: Bytes::from_static(b"\0\xd5\0\x02\0\x01"),
        ..item(ItemClass::BART, "1", 7)
    };
    let items = vec![item(ItemClass::BUDDY, "bob", 2), bart];
    let done = edit(&mut alice, INSERT, items.clone()).await;
    assert_eq!(done, [Status::OK, Status::OK]);
    alice.leave().await;
    let mut alice = town.sign_on("alice", &password).await;
    let kept = list(&mut alice).await;
    assert_eq!(kept.items, items);
    assert_ne!(kept.changed_unix_s, 0);
    // A copy of this stamp is good, another one is not.
    let stamp = FeedbagStamp {
        changed_unix_s: kept.changed_unix_s,
        items: 2,
    };
    let good = FeedbagIfModified { stamp }.encode();
    let reply = alice
        .ask(Foodgroup::FEEDBAG, 0x05, good.clone(), 0x0F)
        .await;
    assert_eq!(reply.body, good);
    let stale = FeedbagIfModified::decode(&Bytes::from_static(&[0; 6])).unwrap();
    alice
        .ask(Foodgroup::FEEDBAG, 0x05, stale.encode(), 0x06)
        .await;
}

#[tokio::test]
async fn each_item_gets_a_status_of_its_own() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let bob = || item(ItemClass::BUDDY, "bob", 2);
    let long = Item {
        name: vec![b'a'; 300].into(),
        ..item(ItemClass::BUDDY, "", 3)
    };
    let done = edit(&mut alice, INSERT, vec![bob(), bob(), long]).await;
    assert_eq!(done, [Status::OK, Status::EXISTS, Status::BAD_VALUE]);
    let done = edit(
        &mut alice,
        UPDATE,
        vec![item(ItemClass::BUDDY, "carol", 9), bob()],
    )
    .await;
    assert_eq!(done, [Status::NOT_FOUND, Status::OK]);
    let done = edit(&mut alice, DELETE, vec![bob(), bob()]).await;
    assert_eq!(done, [Status::OK, Status::NOT_FOUND]);
    assert!(list(&mut alice).await.items.is_empty());
}

#[tokio::test]
async fn a_list_has_an_end() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let many = (0..1001)
        .map(|id| item(ItemClass::BUDDY, "x", id))
        .collect();
    let done = edit(&mut alice, INSERT, many).await;
    assert_eq!(done[999..], [Status::OK, Status::TOO_MANY]);
}

/// Puts somebody onto the list of those who may not see or write to this one.
pub(super) async fn block(client: &mut OldClient, name: &'static str) {
    edit(client, INSERT, vec![item(ItemClass::DENY, name, 9)]).await;
}

#[tokio::test]
async fn buddies_of_the_list_are_seen_once_it_is_used() {
    let town = Town::new().await;
    let password = town.account("alice").await;
    let mut alice = town.sign_on("alice", &password).await;
    let _bob = town.citizen("bob").await;
    edit(&mut alice, INSERT, vec![item(ItemClass::BUDDY, "bob", 2)]).await;
    assert_eq!(alice.expect_arrival().await.name.as_str(), "bob");
    alice.leave().await;
    let mut alice = town.sign_on("alice", &password).await;
    assert_eq!(alice.expect_arrival().await.name.as_str(), "bob");
    edit(&mut alice, DELETE, vec![item(ItemClass::BUDDY, "bob", 2)]).await;
    _bob.leave().await;
    alice.expect_nothing().await;
}

#[tokio::test]
async fn other_sign_ons_of_the_user_are_told_of_an_edit() {
    let town = Town::new().await;
    let password = town.account("alice").await;
    let mut first = town.sign_on("alice", &password).await;
    let mut second = town.sign_on("alice", &password).await;
    let bob = item(ItemClass::BUDDY, "bob", 2);
    edit(&mut first, INSERT, vec![bob.clone()]).await;
    let told = second.expect(Foodgroup::FEEDBAG, INSERT).await;
    assert_eq!(Items::decode(&told.body).unwrap().items, [bob]);
    first.expect_nothing().await;
}

#[tokio::test]
async fn who_is_denied_sees_a_departure_and_e_05_is_answered_as_if_nobody_were_there() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let mut eve = town.citizen("eve").await;
    eve.watch(&["alice"]).await;
    eve.expect_arrival().await;
    edit(&mut alice, INSERT, vec![item(ItemClass::DENY, "E V E", 3)]).await;
    assert_eq!(eve.expect_departure().await, "alice");
    let absent = eve.text("nobody", "?").await;
    let absent = eve.expect_error(Foodgroup::ICBM, absent, 4).await;
    let blocked = eve.text("alice", "?").await;
    let blocked = eve.expect_error(Foodgroup::ICBM, blocked, 4).await;
    assert_eq!(absent, blocked);
    // Typing, refusals and questions do not get through either; and nothing tells eve of later changes.
    let typing = [&[0; 8][..], &[0, 1, 5], b"alice", &[0, 2]].concat();
    eve.snac(Foodgroup::ICBM, 0x14, typing.into()).await;
    let id = eve
        .snac(
            Foodgroup::LOCATE,
            0x05,
            Bytes::from_static(b"\0\x04\x05alice"),
        )
        .await;
    eve.expect_error(Foodgroup::LOCATE, id, 4).await;
    edit(
        &mut alice,
        INSERT,
        vec![item(ItemClass::DENY, "mallory", 4)],
    )
    .await;
    eve.expect_nothing().await;
    alice.expect_nothing().await;
    // Alice cannot write to whom she denies.
    let id = alice.text("eve", "?").await;
    alice.expect_error(Foodgroup::ICBM, id, 0x10).await;
    edit(&mut alice, DELETE, vec![item(ItemClass::DENY, "eve", 3)]).await;
    assert_eq!(eve.expect_arrival().await.name.as_str(), "alice");
}

#[tokio::test]
async fn a_session_may_deny_for_its_own_time() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let mut eve = town.citizen("eve").await;
    alice.snac(Foodgroup::PD, 0x07, names_of(&["eve"])).await;
    alice.expect_nothing().await;
    let id = eve.text("alice", "?").await;
    eve.expect_error(Foodgroup::ICBM, id, 4).await;
    alice.snac(Foodgroup::PD, 0x08, names_of(&["eve"])).await;
    alice.expect_nothing().await;
    eve.text("alice", "!").await;
    alice.expect_message().await;
}

#[tokio::test]
async fn too_many_names_are_refused_whole() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let names: Vec<String> = (0..501).map(|n| format!("u{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (foodgroup, subgroup) in [(Foodgroup::BUDDY, 0x04), (Foodgroup::PD, 0x07)] {
        let id = alice.snac(foodgroup, subgroup, names_of(&names)).await;
        alice.expect_error(foodgroup, id, 0x15).await;
    }
}
