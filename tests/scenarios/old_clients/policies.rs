//! What is allowed for whom: plain, secure, known and changed keys, services.

use std::path::PathBuf;
use std::sync::Arc;

use rdv::trust::Identity;
use rdv::{By, Fingerprint, KnownPeers, Refused, RefusedWhy};
use rdv_proto::wire::rendezvous::{MessageKind, NakCode};
use rdv_proto::wire::signal::Signal;
use rdv_tests::channel::{first_unreachable, without_tls};
use rdv_tests::old_peer::{at, is_closed, listener};
use tokio::net::TcpStream;

use super::*;

fn strict(builder: Builder) -> Builder {
    builder
}

fn is_refused(outcome: &Result<Summary, Error>, who: By) -> bool {
    matches!(outcome, Err(Error::Security { by, .. }) if *by == who)
}

#[tokio::test(flavor = "multi_thread")]
async fn s_03_a_host_that_takes_the_request_for_tls_out_ends_it_for_both() {
    let town = Town::new();
    let (alice, alice_said) = town.engine_with("alice", without_tls, strict);
    let (bob, bob_said) = town.engine_with("bob", honest, strict);
    let source = town.file("song", b"la");
    let sending = alice.offer(name("bob"), source, SEND_FILE).await.unwrap();
    let outcome = end(sending).await.outcome;
    assert!(is_refused(&outcome, By::Peer), "{outcome:?}");
    let Refused { peer, why, .. } = bob.next_refused().await.unwrap();
    assert_eq!((peer, why), (name("alice"), RefusedWhy::Plain));
    bob_said.assert(&["N10", "C0"]).await;
    alice_said.assert(&["P1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_01_an_old_client_that_does_not_encrypt_gets_nothing() {
    let town = Town::new();
    let (alice, said) = town.engine_with("alice", honest, strict);
    let mut bob = town.old_client("bob", "alice");
    let source = town.file("song", b"la");
    let sending = alice.offer(name("bob"), source, SEND_FILE).await.unwrap();
    let proposal = bob.hear_proposal().await;
    let mut stream = TcpStream::connect(at(&proposal)).await.unwrap();
    bob.accept().await;
    assert!(is_closed(&mut stream).await, "not even a name");
    let outcome = end(sending).await.outcome;
    assert!(is_refused(&outcome, By::Us), "{outcome:?}");
    said.assert(&["P1", "N10", "C0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_03_a_counter_proposal_without_tls_is_refused_and_nobody_is_dialled() {
    let town = Town::new();
    let (alice, said) = town.engine_with("alice", honest, strict);
    let mut bob = town.old_client("bob", "alice");
    let source = town.file("song", b"la");
    let sending = alice.offer(name("bob"), source, SEND_FILE).await.unwrap();
    bob.hear_proposal().await;
    let (listener, here) = listener().await;
    bob.propose(2, here, None).await;
    let outcome = end(sending).await.outcome;
    assert!(is_refused(&outcome, By::Us), "{outcome:?}");
    said.assert(&["P1", "N10", "C0"]).await;
    alice.close().await;
    let knocked = tokio::time::timeout(std::time::Duration::ZERO, listener.accept()).await;
    assert!(knocked.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_offer_of_an_old_client_is_refused_below_the_policy_and_told() {
    let town = Town::new();
    let only_carol = |builder: Builder| builder.plain(|peer: &ScreenName| *peer == name("carol"));
    let (alice, _) = town.engine_with("alice", honest, only_carol);
    let bob = town.old_client("bob", "alice");
    let carol = town.old_client("carol", "alice");
    let (_listener, here) = listener().await;
    bob.propose(1, here, Some(("song", 8))).await;
    match bob.hear().await {
        refusal @ Signal::ClientError { .. } => {
            assert_eq!(refusal.nak(), Some(NakCode::SECURITY_MISMATCH));
        }
        other => panic!("{other:?}"),
    }
    let cancel = bob.hear_message(MessageKind::CANCEL).await;
    assert_eq!(cancel.cancel_reason().0, 0);
    let refused = alice.next_refused().await.unwrap();
    assert_eq!(
        (refused.peer, refused.why),
        (name("bob"), RefusedWhy::Plain)
    );
    carol.propose(1, here, Some(("song", 8))).await;
    let proposal = alice.next_proposal().await.unwrap();
    assert_eq!(proposal.peer(), &name("carol"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_only_sends_hears_no_proposals() {
    let town = Town::new();
    let (alice, said) = town.engine_with("alice", honest, |builder| {
        builder.plain(|_: &ScreenName| true).only_outgoing()
    });
    let mut bob = town.old_client("bob", "alice");
    let (_listener, here) = listener().await;
    bob.propose(1, here, Some(("song", 8))).await;
    // Its own offers go on as ever; when this one is out, the other was heard.
    let source = town.file("song", b"la la la");
    let sending = alice.offer(name("bob"), source, SEND_FILE).await.unwrap();
    let proposal = bob.hear_proposal().await;
    let mut stream = TcpStream::connect(at(&proposal)).await.unwrap();
    bob.accept().await;
    rdv_tests::old_peer::receive(&mut stream, bob.cookie).await;
    assert!(end(sending).await.outcome.is_ok());
    said.assert(&["P1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ignored_proposal_is_answered_with_nothing() {
    let town = Town::new();
    let (alice, said) = town.engine("alice", honest);
    let bob = town.old_client("bob", "alice");
    let (_listener, here) = listener().await;
    bob.propose(1, here, Some(("song", 8))).await;
    alice.next_proposal().await.unwrap().ignore();
    alice.close().await;
    assert!(said.words().is_empty());
}

/// An engine with a key that lasts and a file of known peers.
fn lasting(town: &Town, who: &str, key: &Arc<Identity>, edit: Edit) -> (Engine, Said) {
    let peers = KnownPeers::new(book(town, who), "hub");
    let identity = Identity {
        cert: key.cert.clone(),
        key: key.key.clone_key(),
        key_hash: key.key_hash,
    };
    town.engine_with(who, edit, |builder| {
        builder
            .plain(|_: &ScreenName| true)
            .identity(identity)
            .known_peers(peers)
    })
}

fn book(town: &Town, who: &str) -> PathBuf {
    town.folder.path().join(format!("{who}.known"))
}

fn key() -> Arc<Identity> {
    Arc::new(Identity::generate().unwrap())
}

/// One file from alice to bob.
async fn meet(town: &Town, alice: &Engine, bob: &Engine, options: OfferOptions) -> [End; 2] {
    let source = town.file("song", b"la");
    let sending = alice.offer(name("bob"), source, options).await.unwrap();
    let proposal = bob.next_proposal().await.unwrap();
    match proposal.accept(town.sink()).await {
        Ok(receiving) => {
            let (sent, received) = tokio::join!(end(sending), end(receiving));
            [sent, received]
        }
        Err(error) => {
            let lanes = Vec::new();
            let outcome = Err(error);
            [end(sending).await, End { lanes, outcome }]
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_contact_is_kept_and_a_compared_key_is_verified() {
    let town = Town::new();
    let (alice_key, bob_key) = (key(), key());
    let (alice, _) = lasting(&town, "alice", &alice_key, honest);
    let (bob, _) = lasting(&town, "bob", &bob_key, honest);
    let native = OfferOptions {
        service: ServiceChoice::Native,
        ..SEND_FILE
    };
    for (options, word) in [(native, "unverified"), (SEND_FILE, "encrypted")] {
        for end in meet(&town, &alice, &bob, options).await {
            assert_eq!(end.lane().1, word);
        }
    }
    let peers = KnownPeers::new(book(&town, "alice"), "hub");
    let known = peers.lookup(&name("bob")).unwrap().unwrap();
    assert_eq!(known.fingerprint, Fingerprint::of(&bob_key.key_hash));
    peers.verify(&name("bob"), known.fingerprint).unwrap();
    let [sent, received] = meet(&town, &alice, &bob, native).await;
    assert_eq!(sent.lane().1, "verified");
    assert_eq!(received.lane().1, "unverified");
}

#[tokio::test(flavor = "multi_thread")]
async fn s_07_a_changed_key_ends_it_whichever_side_sees_it() {
    let native = OfferOptions {
        service: ServiceChoice::Native,
        ..SEND_FILE
    };
    for options in [native, SEND_FILE] {
        for seen_by_sender in [true, false] {
            let town = Town::new();
            let (alice, _) = lasting(&town, "alice", &key(), honest);
            let (bob, _) = lasting(&town, "bob", &key(), honest);
            let (seer, other) = match seen_by_sender {
                true => ("alice", "bob"),
                false => ("bob", "alice"),
            };
            let peers = KnownPeers::new(book(&town, seer), "hub");
            let old = Fingerprint::of(&[7; 32]);
            peers.remember(&name(other), old).unwrap();
            let ends = meet(&town, &alice, &bob, options).await;
            let outcome = &ends[usize::from(!seen_by_sender)].outcome;
            match outcome {
                Err(Error::PeerKeyChanged {
                    peer, known, line, ..
                }) => assert_eq!((peer, *known, *line), (&name(other), old, 1)),
                other => panic!("{other:?}"),
            }
            assert!(ends[usize::from(seen_by_sender)].outcome.is_err());
            assert!(town.nothing_arrived());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_03_who_was_secure_once_is_never_plain_again_until_forgotten() {
    let town = Town::new();
    let (alice, _) = lasting(&town, "alice", &key(), without_tls);
    let (bob, _) = lasting(&town, "bob", &key(), without_tls);
    for end in meet(&town, &alice, &bob, SEND_FILE).await {
        assert_eq!(end.lane().1, "plain", "a plain contact keeps no key");
    }
    // The receiver remembers.
    let of_bob = KnownPeers::new(book(&town, "bob"), "hub");
    of_bob
        .remember(&name("alice"), Fingerprint::of(&[7; 32]))
        .unwrap();
    let [sent, received] = meet(&town, &alice, &bob, SEND_FILE).await;
    assert!(is_refused(&received.outcome, By::Us), "{received:?}");
    assert!(is_refused(&sent.outcome, By::Peer), "{sent:?}");
    of_bob.forget(&name("alice")).unwrap();
    // The sender remembers.
    let of_alice = KnownPeers::new(book(&town, "alice"), "hub");
    of_alice
        .remember(&name("bob"), Fingerprint::of(&[7; 32]))
        .unwrap();
    let [sent, received] = meet(&town, &alice, &bob, SEND_FILE).await;
    assert!(is_refused(&sent.outcome, By::Us), "{sent:?}");
    assert!(received.outcome.is_err());
    of_alice.forget(&name("bob")).unwrap();
    for end in meet(&town, &alice, &bob, SEND_FILE).await {
        assert_eq!(end.lane().1, "plain");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_03_who_was_secure_once_cannot_become_plain_on_the_way() {
    // The host lets the first proposal through as it is, and makes everything after it plain.
    let later_plain: Edit = |message| match message.sequence() {
        Some(number) if number.get() == 1 => first_unreachable(message),
        _ => without_tls(message),
    };
    let town = Town::new();
    let (alice, _) = lasting(&town, "alice", &key(), later_plain);
    let (bob, _) = lasting(&town, "bob", &key(), later_plain);
    let of_bob = KnownPeers::new(book(&town, "bob"), "hub");
    of_bob
        .remember(&name("alice"), Fingerprint::of(&[7; 32]))
        .unwrap();
    let [sent, received] = meet(&town, &alice, &bob, SEND_FILE).await;
    assert!(sent.outcome.is_err() && received.outcome.is_err());
    assert_eq!((sent.lanes.len(), received.lanes.len()), (0, 0));
    assert!(town.nothing_arrived());
    // Somebody of whom nothing is known may be plain.
    of_bob.forget(&name("alice")).unwrap();
    for end in meet(&town, &alice, &bob, SEND_FILE).await {
        assert_eq!(end.lane(), (PathKind::Redirect, "plain"));
    }
}
