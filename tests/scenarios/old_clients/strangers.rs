//! A scripted old client and us, and strangers that come first (S-12, T-08).

use rdv_proto::wire::oft::Kind;
use rdv_proto::wire::rendezvous::{Cookie, MessageKind};
use rdv_tests::old_peer::{answer, at, is_closed, listener, prompt, read, receive, send, write};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_old_client_gets_a_file() {
    let town = Town::new();
    let (alice, said) = town.engine("alice", honest);
    let mut bob = town.old_client("bob", "alice");
    let source = town.file("song", b"la la la");
    let sending = alice.offer(name("bob"), source, SEND_FILE).await.unwrap();
    let proposal = bob.hear_proposal().await;
    assert!(proposal.request_secure(), "TLS is asked for always");
    // libpurple connects without TLS, and says so by an ACCEPT without the request.
    let mut stream = TcpStream::connect(at(&proposal)).await.unwrap();
    bob.accept().await;
    let content = receive(&mut stream, bob.cookie).await;
    assert_eq!(content, b"la la la");
    assert_eq!(end(sending).await.lane(), (PathKind::Direct, "plain"));
    alice.close().await;
    said.assert(&["P1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l_16_an_old_client_sends_a_file_with_no_cookie_in_its_prompt() {
    let town = Town::new();
    let (alice, said) = town.engine("alice", honest);
    let bob = town.old_client("bob", "alice");
    let (listener, here) = listener().await;
    bob.propose(1, here, Some(("song", 8))).await;
    let proposal = alice.next_proposal().await.unwrap();
    let receiving = proposal.accept(town.sink()).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    bob.hear_message(MessageKind::ACCEPT).await;
    let done = send(&mut stream, "song", b"la la la").await;
    assert_eq!((done.kind, done.cookie), (Kind::DONE, bob.cookie));
    assert_eq!(end(receiving).await.lane(), (PathKind::Direct, "plain"));
    assert_eq!(town.arrived("song").unwrap(), b"la la la");
    alice.close().await;
    said.assert(&["A"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_client_that_cannot_be_dialled_dials_and_then_sends() {
    let town = Town::new();
    let (alice, said) = town.engine("alice", honest);
    let bob = town.old_client("bob", "alice");
    // Nobody listens there any more.
    let (closed, here) = listener().await;
    drop(closed);
    bob.propose(1, here, Some(("song", 8))).await;
    let proposal = alice.next_proposal().await.unwrap();
    let receiving = proposal.accept(town.sink()).await.unwrap();
    let counter = bob.hear_message(MessageKind::PROPOSE).await;
    let mut stream = TcpStream::connect(at(&counter)).await.unwrap();
    bob.accept().await;
    // The address is one that it announced: the cookie may be missing.
    send(&mut stream, "song", b"la la la").await;
    assert_eq!(end(receiving).await.lane(), (PathKind::Redirect, "plain"));
    said.assert(&["P2"]).await;
}

/// Fifty connections that are not the peer: silent ones, ones with other words, ones that hang up, ones with another cookie.
async fn crowd(there: SocketAddr, cookie: Cookie) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for index in 0..50 {
        let mut stranger = TcpStream::connect(there).await.unwrap();
        match index % 4 {
            0 => {}
            1 => drop(stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await),
            2 => drop(stranger.shutdown().await),
            _ => {
                let wrong = answer(&prompt("song", b"la la la"), Kind::ACK, cookie);
                write(&mut stranger, &wrong).await;
            }
        }
        crowd.push(stranger);
    }
    crowd
}

#[tokio::test(flavor = "multi_thread")]
async fn s_12_fifty_strangers_first_do_not_hurt_a_plain_sender() {
    let town = Town::new();
    let (alice, _) = town.engine("alice", rdv_tests::channel::without_tls);
    let mut bob = town.old_client("bob", "alice");
    let source = town.file("song", b"la la la");
    let sending = alice.offer(name("bob"), source, SEND_FILE).await.unwrap();
    let proposal = bob.hear_proposal().await;
    // It still wants TLS; the ACCEPT tells it otherwise.
    bob.accept().await;
    let crowd = crowd(at(&proposal), Cookie(*b"strange\0")).await;
    let mut stream = TcpStream::connect(at(&proposal)).await.unwrap();
    assert_eq!(receive(&mut stream, bob.cookie).await, b"la la la");
    assert_eq!(end(sending).await.lane(), (PathKind::Direct, "plain"));
    drop(crowd);
}

#[tokio::test(flavor = "multi_thread")]
async fn s_12_fifty_strangers_first_do_not_hurt_a_plain_receiver() {
    let town = Town::new();
    let (alice, _) = town.engine("alice", honest);
    let bob = town.old_client("bob", "alice");
    let (closed, here) = listener().await;
    drop(closed);
    bob.propose(1, here, Some(("song", 8))).await;
    let proposal = alice.next_proposal().await.unwrap();
    let receiving = proposal.accept(town.sink()).await.unwrap();
    let counter = bob.hear_message(MessageKind::PROPOSE).await;
    let crowd = crowd(at(&counter), Cookie(*b"strange\0")).await;
    let mut stream = TcpStream::connect(at(&counter)).await.unwrap();
    send(&mut stream, "song", b"la la la").await;
    assert_eq!(end(receiving).await.lane(), (PathKind::Redirect, "plain"));
    drop(crowd);
}

#[tokio::test(flavor = "multi_thread")]
async fn s_12_fifty_strangers_first_do_not_hurt_tls() {
    let town = Town::new();
    let (alice, said) = town.engine("alice", honest);
    let (bob, _) = town.engine("bob", honest);
    let source = town.file("song", b"la la la");
    let sending = alice.offer(name("bob"), source, SEND_FILE).await.unwrap();
    let proposal = bob.next_proposal().await.unwrap();
    let rdv_proto::wire::signal::Signal::Rendezvous(first) = said.wait_for("P1").await else {
        panic!("a proposal");
    };
    let crowd = crowd(at(&first), Cookie(*b"strange\0")).await;
    let receiving = proposal.accept(town.sink()).await.unwrap();
    let (sent, received) = tokio::join!(end(sending), end(receiving));
    assert_eq!(sent.lane(), (PathKind::Direct, "encrypted"));
    assert_eq!(received.lane(), (PathKind::Direct, "encrypted"));
    drop(crowd);
}

#[tokio::test(flavor = "multi_thread")]
async fn l_17_an_answer_with_another_cookie_closes_that_connection_alone() {
    let town = Town::new();
    let (alice, _) = town.engine("alice", honest);
    let mut bob = town.old_client("bob", "alice");
    let source = town.file("song", b"la la la");
    let sending = alice.offer(name("bob"), source, SEND_FILE).await.unwrap();
    let proposal = bob.hear_proposal().await;
    bob.accept().await;
    for wrong in [Cookie::ZERO, Cookie(*b"3855154\0")] {
        let mut stranger = TcpStream::connect(at(&proposal)).await.unwrap();
        let prompt = read(&mut stranger).await.unwrap();
        assert_eq!(prompt.cookie, bob.cookie, "L-15");
        assert!(write(&mut stranger, &answer(&prompt, Kind::ACK, wrong)).await);
        assert!(is_closed(&mut stranger).await);
    }
    let mut stream = TcpStream::connect(at(&proposal)).await.unwrap();
    assert_eq!(receive(&mut stream, bob.cookie).await, b"la la la");
    assert_eq!(end(sending).await.lane(), (PathKind::Direct, "plain"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_with_the_cookie_of_another_rendezvous_is_not_taken() {
    let town = Town::new();
    let (alice, said) = town.engine("alice", honest);
    let bob = town.old_client("bob", "alice");
    let (listener, here) = listener().await;
    bob.propose(1, here, Some(("song", 8))).await;
    let proposal = alice.next_proposal().await.unwrap();
    let receiving = proposal.accept(town.sink()).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut wrong = prompt("song", b"la la la");
    wrong.cookie = Cookie(*b"strange\0");
    assert!(write(&mut stream, &wrong).await);
    assert!(is_closed(&mut stream).await);
    // What is dialled is all there was; now we are to be dialled.
    let counter = bob.hear_message(MessageKind::PROPOSE).await;
    let mut stream = TcpStream::connect(at(&counter)).await.unwrap();
    send(&mut stream, "song", b"la la la").await;
    assert_eq!(end(receiving).await.lane(), (PathKind::Redirect, "plain"));
    said.assert(&["A", "P2"]).await;
}
