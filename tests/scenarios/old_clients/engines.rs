//! Two engines that speak to each other as old clients.

use rdv::{By, RelayPolicy};
use rdv_proto::wire::service;
use rdv_tests::channel::{
    all_unreachable, all_unreachable_without_tls, first_unreachable, first_unreachable_without_tls,
    without_tls,
};

use super::*;

/// One file from alice to bob; what each said and how it went.
async fn across(town: &Town, edit: Edit, relay: [RelayPolicy; 2]) -> ([Vec<String>; 2], [End; 2]) {
    let plain = |builder: Builder, relay| builder.plain(|_: &ScreenName| true).relay_policy(relay);
    let (alice, alice_said) = town.engine_with("alice", edit, |b| plain(b, relay[0]));
    let (bob, bob_said) = town.engine_with("bob", edit, |b| plain(b, relay[1]));
    let source = town.file("song", b"la la la");
    let sending = alice.offer(name("bob"), source, SEND_FILE).await.unwrap();
    let proposal = bob.next_proposal().await.unwrap();
    assert_eq!(proposal.peer(), &name("alice"));
    assert_eq!(offered(&proposal), ("song".into(), 1, 8));
    let receiving = proposal.accept(town.sink()).await.unwrap();
    let (sent, received) = tokio::join!(end(sending), end(receiving));
    assert_eq!(town.arrived("song").unwrap(), b"la la la");
    alice.close().await;
    bob.close().await;
    ([alice_said.words(), bob_said.words()], [sent, received])
}

const AUTO: [RelayPolicy; 2] = [RelayPolicy::Auto, RelayPolicy::Auto];

#[tokio::test(flavor = "multi_thread")]
async fn directly_with_tls_as_both_ask_for_it() {
    let town = Town::new();
    let (said, ends) = across(&town, honest, AUTO).await;
    assert_eq!(said[0], ["P1"]);
    assert_eq!(said[1], ["A"]);
    for end in &ends {
        assert_eq!(end.lane(), (PathKind::Direct, "encrypted"));
    }
    assert_eq!(ends[0].outcome.as_ref().unwrap().bytes, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn directly_and_plain_where_both_allow_it() {
    let town = Town::new();
    let (said, ends) = across(&town, without_tls, AUTO).await;
    assert_eq!(said[0], ["P1"]);
    assert_eq!(said[1], ["A"]);
    for end in &ends {
        assert_eq!(end.lane(), (PathKind::Direct, "plain"));
    }
}

/// The sender dials, because the receiver cannot.
async fn redirected(edit: Edit, security: &str) {
    let town = Town::new();
    let (said, ends) = across(&town, edit, AUTO).await;
    assert_eq!(said, [strings(&["P1", "A"]), strings(&["P2"])]);
    for end in &ends {
        assert_eq!(end.lane(), (PathKind::Redirect, security));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sender_dials_if_the_receiver_cannot() {
    tokio::join!(
        redirected(first_unreachable, "encrypted"),
        redirected(first_unreachable_without_tls, "plain"),
    );
}

/// Neither can dial.
async fn relayed(edit: Edit, security: &str) {
    let town = Town::new().with_relay().await;
    let (said, ends) = across(&town, edit, AUTO).await;
    assert_eq!(said, [strings(&["P1", "P3"]), strings(&["P2", "A"])]);
    for end in &ends {
        assert_eq!(end.lane(), (PathKind::Relay, security));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_comes_third() {
    tokio::join!(
        relayed(all_unreachable, "encrypted"),
        relayed(all_unreachable_without_tls, "plain"),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn either_side_may_want_the_relay_and_nothing_else() {
    let first = [strings(&["P1"]), strings(&["A"])];
    let second = [strings(&["P1", "A"]), strings(&["P2"])];
    for (edit, security) in [(honest as Edit, "encrypted"), (without_tls, "plain")] {
        for (relay, expected) in [
            ([RelayPolicy::Only, RelayPolicy::Auto], &first),
            ([RelayPolicy::Only, RelayPolicy::Only], &first),
            ([RelayPolicy::Auto, RelayPolicy::Only], &second),
        ] {
            let town = Town::new().with_relay().await;
            let (said, ends) = across(&town, edit, relay).await;
            assert_eq!(&said, expected);
            for end in &ends {
                assert_eq!(end.lane(), (PathKind::Relay, security));
            }
        }
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_several_files_has_a_rendezvous_of_its_own() {
    let town = Town::new();
    let (alice, said) = town.engine("alice", without_tls);
    let (bob, _) = town.engine("bob", without_tls);
    let all: [(&str, &[u8]); 3] = [("one", b"1"), ("two", b"22"), ("three", b"333")];
    let sending = alice.offer(name("bob"), town.files(&all), SEND_FILE);
    let sending = tokio::spawn(end(sending.await.unwrap()));
    for (called, content) in all {
        let proposal = bob.next_proposal().await.unwrap();
        assert_eq!(offered(&proposal), (called.into(), 1, content.len() as u64));
        let received = end(proposal.accept(town.sink()).await.unwrap()).await;
        assert_eq!(received.lane(), (PathKind::Direct, "plain"));
        assert_eq!(town.arrived(called).unwrap(), content);
    }
    let sent = sending.await.unwrap();
    assert_eq!(sent.lane(), (PathKind::Direct, "plain"), "told once");
    let summary = sent.outcome.unwrap();
    assert_eq!((summary.files, summary.bytes), (3, 6));
    said.assert(&["P1", "P1", "P1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_one_rendezvous_for_all_files() {
    let town = Town::new();
    let (alice, said) = town.engine("alice", honest);
    let (bob, _) = town.engine("bob", honest);
    let all: [(&str, &[u8]); 2] = [("one", b"1"), ("two", b"22")];
    let options = OfferOptions {
        batch: true,
        ..SEND_FILE
    };
    let sending = alice.offer(name("bob"), town.files(&all), options).await;
    let proposal = bob.next_proposal().await.unwrap();
    let (_, files, bytes) = offered(&proposal);
    assert_eq!((files, bytes), (2, 3));
    let receiving = proposal.accept(town.sink()).await.unwrap();
    let (sent, received) = tokio::join!(end(sending.unwrap()), end(receiving));
    assert_eq!(sent.outcome.unwrap().files, 2);
    let saved = received.outcome.unwrap();
    assert_eq!((saved.files, saved.bytes), (2, 3));
    said.assert(&["P1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_our_own_kind_gets_it_and_who_does_not_gets_the_old_one() {
    let both = [service::NATIVE, service::SEND_FILE];
    for (capabilities, verified) in [(&both[..], "unverified"), (&both[1..], "encrypted")] {
        let town = Town::new();
        let (channel, _) = Meddled::new(town.hub.join(name("alice")), honest);
        let alice = Engine::builder(channel.saying_capabilities(capabilities.to_vec()))
            .host_on_this_machine(true)
            .build();
        let (bob, _) = town.engine("bob", honest);
        let source = town.file("song", b"la");
        let sending = alice.offer(name("bob"), source, OfferOptions::default());
        let sending = sending.await.unwrap();
        let receiving = bob.next_proposal().await.unwrap().accept(town.sink());
        let receiving = receiving.await.unwrap();
        let (sent, received) = tokio::join!(end(sending), end(receiving));
        assert_eq!(sent.lane(), (PathKind::Direct, verified));
        assert_eq!(received.lane(), (PathKind::Direct, verified));
    }
    let town = Town::new();
    let (channel, said) = Meddled::new(town.hub.join(name("alice")), honest);
    let alice = Engine::builder(channel.saying_capabilities(vec![])).build();
    let source = town.file("song", b"la");
    let refused = alice
        .offer(name("bob"), source, OfferOptions::default())
        .await;
    assert!(matches!(refused, Err(Error::Incompatible { .. })));
    assert!(said.words().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_turns_out_not_to_know_our_own_kind_gets_the_old_one() {
    let town = Town::new();
    let (alice, said) = town.engine("alice", honest);
    let only_old = Services {
        native: false,
        ..Services::FILES
    };
    let (bob, _) = town.engine_with("bob", honest, |builder| builder.services(only_old));
    let source = town.file("song", b"la la la");
    let sending = alice.offer(name("bob"), source, OfferOptions::default());
    let sending = sending.await.unwrap();
    let proposal = bob.next_proposal().await.unwrap();
    assert_eq!(offered(&proposal), ("song".into(), 1, 8));
    let receiving = proposal.accept(town.sink()).await.unwrap();
    let (sent, received) = tokio::join!(end(sending), end(receiving));
    assert_eq!(sent.lane(), (PathKind::Direct, "encrypted"));
    assert_eq!(received.lane(), (PathKind::Direct, "encrypted"));
    said.assert(&["P1", "P1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_carried_is_said_before_anything_is_proposed() {
    let town = Town::new();
    let (alice, said) = town.engine("alice", honest);
    let empty = town.file("nothing", b"");
    for source in [empty, Source::text("words".into()).unwrap()] {
        let sending = alice.offer(name("bob"), source, SEND_FILE).await.unwrap();
        let outcome = end(sending).await.outcome;
        assert!(matches!(outcome, Err(Error::Transfer(_))), "{outcome:?}");
    }
    assert!(said.words().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_of_that_name_is_told_at_once() {
    let town = Town::new();
    let (alice, _) = town.engine("alice", honest);
    let source = town.file("song", b"la");
    let sending = alice.offer(name("bob"), source, SEND_FILE).await.unwrap();
    let outcome = end(sending).await.outcome;
    assert!(matches!(outcome, Err(Error::PeerUnknown)), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_is_told_as_a_no() {
    let town = Town::new();
    let (alice, _) = town.engine("alice", honest);
    let (bob, bob_said) = town.engine("bob", honest);
    let source = town.file("song", b"la");
    let sending = alice.offer(name("bob"), source, SEND_FILE).await.unwrap();
    bob.next_proposal().await.unwrap().decline();
    let outcome = end(sending).await.outcome;
    assert!(
        matches!(outcome, Err(Error::Declined { by: By::Peer })),
        "{outcome:?}"
    );
    bob_said.assert(&["N1", "C1"]).await;
    assert!(town.nothing_arrived());
}
