//! Called off at each point, by either side.

use rdv::By;
use rdv_proto::wire::oft::Kind;
use rdv_proto::wire::rendezvous::{MessageKind, NakCode};
use rdv_tests::old_peer::{answer, at, is_closed, listener, prompt, read, write};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const MUCH: usize = 32 << 20;

fn is_cancelled(end: &End, by: By) -> bool {
    matches!(end.outcome, Err(Error::Cancelled { by: who }) if who == by)
}

/// We offer a big file to an old client that has connected and said yes, and reads no further.
async fn half_sent(town: &Town) -> (Engine, OldPeer, TcpStream, Transfer) {
    let (alice, _) = town.engine("alice", honest);
    let mut bob = town.old_client("bob", "alice");
    let source = town.file("song", &vec![7; MUCH]);
    let mut sending = alice.offer(name("bob"), source, SEND_FILE).await.unwrap();
    let proposal = bob.hear_proposal().await;
    let mut stream = TcpStream::connect(at(&proposal)).await.unwrap();
    bob.accept().await;
    let prompt = read(&mut stream).await.unwrap();
    assert!(write(&mut stream, &answer(&prompt, Kind::ACK, bob.cookie)).await);
    connected(&mut sending).await;
    stream.read_exact(&mut [0; 4096]).await.unwrap();
    (alice, bob, stream, sending)
}

/// An old client offers a file to us and has sent half of it.
async fn half_received(town: &Town) -> (Engine, OldPeer, TcpStream, Transfer) {
    let (alice, _) = town.engine("alice", honest);
    let bob = town.old_client("bob", "alice");
    let (listener, here) = listener().await;
    bob.propose(1, here, Some(("song", 8))).await;
    let proposal = alice.next_proposal().await.unwrap();
    let mut receiving = proposal.accept(town.sink()).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    bob.hear_message(MessageKind::ACCEPT).await;
    assert!(write(&mut stream, &prompt("song", b"la la la")).await);
    assert_eq!(read(&mut stream).await.unwrap().kind, Kind::ACK);
    stream.write_all(b"la l").await.unwrap();
    connected(&mut receiving).await;
    (alice, bob, stream, receiving)
}

#[tokio::test(flavor = "multi_thread")]
async fn by_us_while_the_old_client_decides() {
    let town = Town::new();
    let (alice, said) = town.engine("alice", honest);
    let mut bob = town.old_client("bob", "alice");
    let source = town.file("song", b"la");
    let sending = alice.offer(name("bob"), source, SEND_FILE).await.unwrap();
    let proposal = bob.hear_proposal().await;
    sending.cancel().await;
    let cancel = bob.hear_message(MessageKind::CANCEL).await;
    assert_eq!((cancel.cancel_reason().0, cancel.cookie), (1, bob.cookie));
    assert!(is_cancelled(&end(sending).await, By::Us));
    assert!(TcpStream::connect(at(&proposal)).await.is_err(), "R-21");
    said.assert(&["P1", "C1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_old_client_instead_of_an_answer_which_is_its_no() {
    let town = Town::new();
    let (alice, said) = town.engine("alice", honest);
    let mut bob = town.old_client("bob", "alice");
    for nak in [None, Some(NakCode::DENIED)] {
        let source = town.file("song", b"la");
        let sending = alice.offer(name("bob"), source, SEND_FILE).await.unwrap();
        bob.hear_proposal().await;
        match nak {
            Some(nak) => bob.nak(nak).await,
            None => bob.cancel().await,
        }
        let outcome = end(sending).await.outcome;
        assert!(
            matches!(outcome, Err(Error::Declined { by: By::Peer })),
            "{outcome:?}"
        );
    }
    said.assert(&["P1", "P1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_old_client_while_our_user_decides() {
    let town = Town::new();
    let (alice, said) = town.engine("alice", honest);
    let bob = town.old_client("bob", "alice");
    let (_listener, here) = listener().await;
    bob.propose(1, here, Some(("song", 8))).await;
    let mut proposal = alice.next_proposal().await.unwrap();
    bob.cancel().await;
    let gone = proposal.gone().await;
    assert!(
        matches!(gone, Error::Cancelled { by: By::Peer }),
        "{gone:?}"
    );
    assert!(said.words().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_to_a_proposal_that_was_withdrawn_says_so() {
    let town = Town::new();
    let (alice, said) = town.engine("alice", honest);
    let mut bob = town.old_client("bob", "alice");
    let (_listener, here) = listener().await;
    bob.propose(1, here, Some(("song", 8))).await;
    let proposal = alice.next_proposal().await.unwrap();
    bob.cancel().await;
    // Another conversation: when its proposal is there, the cancel was heard.
    bob.cookie.0 = *b"6156121\0";
    bob.propose(1, here, Some(("song", 8))).await;
    let _second = alice.next_proposal().await.unwrap();
    let outcome = proposal.accept(town.sink()).await.map(drop);
    assert!(
        matches!(outcome, Err(Error::Cancelled { by: By::Peer })),
        "{outcome:?}"
    );
    assert!(said.words().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_old_client_may_use_its_cookies_again() {
    let town = Town::new();
    let (alice, said) = town.engine_restarting("alice");
    let bob = town.old_client("bob", "alice");
    let (_listener, here) = listener().await;
    bob.propose(1, here, Some(("old", 8))).await;
    let old = alice.next_proposal().await.unwrap();
    // Its user starts it anew; the host tells that with the next message.
    said.restarts(&name("bob"));
    bob.propose(1, here, Some(("new", 8))).await;
    let new = alice.next_proposal().await.unwrap();
    assert_eq!(offered(&new).0, "new");
    // What is said to the old one is not said to the new one.
    let outcome = old.accept(town.sink()).await.map(drop);
    assert!(
        matches!(outcome, Err(Error::Cancelled { by: By::Peer })),
        "{outcome:?}"
    );
    new.decline();
    said.said.assert(&["N1", "C1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_us_while_we_send() {
    let town = Town::new();
    let (_alice, bob, mut stream, sending) = half_sent(&town).await;
    sending.cancel().await;
    assert!(is_cancelled(&end(sending).await, By::Us));
    let cancel = bob.hear_message(MessageKind::CANCEL).await;
    assert_eq!(cancel.cancel_reason().0, 1);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.len() < MUCH - 4096, "it was not sent to the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_old_client_while_we_send() {
    for hangs_up in [false, true] {
        let town = Town::new();
        let (_alice, bob, stream, sending) = half_sent(&town).await;
        if hangs_up {
            drop(stream);
        }
        bob.cancel().await;
        assert!(is_cancelled(&end(sending).await, By::Peer));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_us_while_we_receive() {
    let town = Town::new();
    let (_alice, bob, mut stream, receiving) = half_received(&town).await;
    receiving.cancel().await;
    assert!(is_cancelled(&end(receiving).await, By::Us));
    let cancel = bob.hear_message(MessageKind::CANCEL).await;
    assert_eq!(cancel.cancel_reason().0, 1);
    assert!(is_closed(&mut stream).await);
    assert!(town.nothing_arrived());
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_old_client_while_we_receive() {
    for hangs_up in [false, true] {
        let town = Town::new();
        let (_alice, bob, stream, receiving) = half_received(&town).await;
        if hangs_up {
            drop(stream);
        }
        bob.cancel().await;
        assert!(is_cancelled(&end(receiving).await, By::Peer));
        assert!(town.nothing_arrived());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_without_a_word_is_a_lost_link() {
    let town = Town::new();
    let (_alice, _bob, stream, receiving) = half_received(&town).await;
    drop(stream);
    let outcome = end(receiving).await.outcome;
    assert!(
        matches!(
            outcome,
            Err(Error::Transfer(rdv::TransferError::LinkLost(_)))
        ),
        "{outcome:?}"
    );
    assert!(town.nothing_arrived());
}

#[tokio::test(flavor = "multi_thread")]
async fn between_two_of_ours_either_side_can_call_it_off_while_a_file_moves() {
    for by_sender in [true, false] {
        let town = Town::new();
        let (alice, alice_said) = town.engine("alice", honest);
        let (bob, bob_said) = town.engine("bob", honest);
        let source = town.file("song", &vec![7; MUCH]);
        let mut sending = alice.offer(name("bob"), source, SEND_FILE).await.unwrap();
        let proposal = bob.next_proposal().await.unwrap();
        let mut receiving = proposal.accept(town.sink()).await.unwrap();
        tokio::join!(connected(&mut sending), connected(&mut receiving));
        if by_sender {
            sending.cancel().await;
        } else {
            receiving.cancel().await;
        }
        let (sent, received) = tokio::join!(end(sending), end(receiving));
        let (ours, theirs) = match by_sender {
            true => (sent, received),
            false => (received, sent),
        };
        // The file may have been whole by then.
        if ours.outcome.is_err() {
            assert!(is_cancelled(&ours, By::Us), "{ours:?}");
            assert!(is_cancelled(&theirs, By::Peer), "{theirs:?}");
            let said = if by_sender { alice_said } else { bob_said };
            assert!(said.words().contains(&"C1".to_owned()));
            assert!(town.nothing_arrived());
        }
    }
}
