use std::time::Duration;

use bytes::BytesMut;
use rdv_proto::wire::odc::{Flags, Header};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, timeout};

use super::session::{HEADER_TIME, SLOWEST_BYTES, SLOWEST_WINDOW, STALL};
use super::*;

const COOKIE: Cookie = Cookie(*b"TRYST01\0");

fn name(name: &str) -> ScreenName {
    ScreenName::new(name).unwrap()
}

fn talk(local: &str) -> Talk {
    Talk {
        cookie: COOKIE,
        local: name(local),
    }
}

fn handle(ends: Ends) -> DirectIm {
    DirectIm {
        peer: name("peer"),
        path: Path {
            kind: crate::transport::PathKind::Direct,
            carrier: Some(crate::Carrier::Tcp),
            punched: false,
            remote: None,
        },
        security: Security::Plain,
        ends,
    }
}

fn hello() -> Bytes {
    Machine::connector(COOKIE, name("alice")).1
}

/// A conversation that runs by itself.
fn start(talk: Talk, lane: DuplexStream, connector: bool) -> DirectIm {
    let (ends, running) = talk.run(lane, connector, Bytes::new(), Control::new());
    tokio::spawn(running);
    handle(ends)
}

/// Alice, who dialled, and bob.
async fn pair() -> (DirectIm, DirectIm) {
    let (mut a, b) = duplex(64 * 1024);
    a.write_all(&hello()).await.unwrap();
    (start(talk("alice"), a, true), start(talk("bob"), b, false))
}

/// Bob, and the raw end of a peer who has shown the cookie and read the answer.
async fn with_raw_peer() -> (DirectIm, DuplexStream) {
    let (mut peer, b) = duplex(64 * 1024);
    let bob = start(talk("bob"), b, false);
    peer.write_all(&hello()).await.unwrap();
    peer.read_exact(&mut [0; 76]).await.unwrap();
    (bob, peer)
}

fn frame(flags: Flags, announced: usize, payload: &[u8]) -> BytesMut {
    let mut header = Header::new(COOKIE, &name("alice"), flags);
    header.payload_len = u32::try_from(announced).unwrap();
    let mut out = BytesMut::new();
    header.encode(&mut out);
    out.extend_from_slice(payload);
    out
}

async fn message(im: &mut DirectIm) -> Received {
    match im.next_event().await {
        Some(Event::Message(message)) => message,
        other => panic!("{other:?}"),
    }
}

async fn closed(im: &mut DirectIm) -> Result<By, DirectImError> {
    let end = match im.next_event().await {
        Some(Event::Closed(end)) => end,
        other => panic!("{other:?}"),
    };
    assert!(im.next_event().await.is_none(), "once and last");
    end
}

fn image(size: usize) -> Image {
    Image {
        name: "big.png".into(),
        width: 1,
        height: 1,
        data: vec![7; size].into(),
    }
}

#[tokio::test]
async fn text_typing_and_images_go_both_ways() {
    let (mut alice, mut bob) = pair().await;
    alice.typing(Typing::Typing).await.unwrap();
    let with_image = Message::new().text("look").image(image(300_000));
    alice.send(with_image).await.unwrap();
    bob.send(Message::new().text("日本").automatic())
        .await
        .unwrap();
    assert!(matches!(
        bob.next_event().await,
        Some(Event::Typing(Typing::Typing))
    ));
    let got = message(&mut bob).await;
    assert_eq!((got.text().as_str(), got.images.len()), ("look", 1));
    assert_eq!(got.images[0].1, image(300_000));
    let got = message(&mut alice).await;
    assert_eq!((got.text().as_str(), got.automatic), ("日本", true));
}

#[tokio::test]
async fn large_messages_cross_each_other() {
    let (mut alice, mut bob) = pair().await;
    let large = || Message::new().image(image(3 << 20));
    tokio::try_join!(alice.send(large()), bob.send(large())).unwrap();
    let (to_alice, to_bob) = tokio::join!(message(&mut alice), message(&mut bob));
    assert_eq!((to_alice.images.len(), to_bob.images.len()), (1, 1));
}

#[tokio::test]
async fn what_was_sent_before_a_close_arrives() {
    let (alice, mut bob) = pair().await;
    alice
        .send(Message::new().image(image(1 << 20)))
        .await
        .unwrap();
    alice.send(Message::new().text("bye")).await.unwrap();
    let reading = async {
        assert_eq!(message(&mut bob).await.images.len(), 1);
        assert_eq!(message(&mut bob).await.text(), "bye");
        assert!(matches!(closed(&mut bob).await, Ok(By::Peer)));
    };
    tokio::join!(alice.close(), reading);
    assert!(matches!(
        bob.send(Message::new().text("?")).await,
        Err(SendError::Closed)
    ));
}

#[tokio::test]
async fn dropped_it_is_closed_though_a_sender_is_left() {
    let (alice, mut bob) = pair().await;
    let sender = alice.sender();
    drop(alice);
    assert!(matches!(closed(&mut bob).await, Ok(By::Peer)));
    let end = async { while sender.typing(Typing::Typing).await.is_ok() {} };
    timeout(Duration::from_secs(5), end).await.unwrap();
}

#[tokio::test]
async fn a_message_that_cannot_be_read_there_is_not_sent_and_nothing_ends() {
    let (alice, mut bob) = pair().await;
    let marker = Message::new().html("<BINARY>");
    assert!(matches!(
        alice.send(marker).await,
        Err(SendError::Message(_))
    ));
    alice.send(Message::new().text("<BINARY>")).await.unwrap();
    assert_eq!(message(&mut bob).await.text(), "<BINARY>");
}

#[tokio::test(start_paused = true)]
async fn it_may_be_idle_for_a_day() {
    let (alice, mut bob) = pair().await;
    let day = Duration::from_secs(24 * 3600);
    assert!(
        timeout(day, bob.next_event()).await.is_err(),
        "nothing happens"
    );
    alice
        .send(Message::new().text("still there?"))
        .await
        .unwrap();
    assert_eq!(message(&mut bob).await.text(), "still there?");
}

#[tokio::test]
async fn what_was_read_with_the_cookie_is_not_lost() {
    let (_peer, b) = duplex(1024);
    let first = [hello(), frame(Flags::default(), 2, b"hi").freeze()].concat();
    let (ends, running) = talk("bob").run(b, false, first.into(), Control::new());
    tokio::spawn(running);
    let mut bob = handle(ends);
    assert_eq!(message(&mut bob).await.text(), "hi");
}

#[tokio::test]
async fn a_stranger_without_the_cookie_is_told_nothing() {
    let (mut peer, b) = duplex(1024);
    let mut bob = start(talk("bob"), b, false);
    bob.send(Message::new().text("secret")).await.unwrap();
    let (_, wrong) = Machine::connector(Cookie([9; 8]), name("alice"));
    peer.write_all(&wrong).await.unwrap();
    let end = closed(&mut bob).await;
    assert!(matches!(end, Err(DirectImError::Fault(Fault::WrongCookie))));
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).await.unwrap();
    assert!(heard.is_empty());
}

#[tokio::test]
async fn a_message_over_50_mib_ends_it() {
    let (mut bob, mut peer) = with_raw_peer().await;
    let lie = frame(Flags::default(), (50 << 20) + 1, b"x");
    peer.write_all(&lie).await.unwrap();
    let end = closed(&mut bob).await;
    assert!(matches!(
        end,
        Err(DirectImError::Fault(Fault::TooLong { .. }))
    ));
}

#[tokio::test]
async fn lies_about_images_cost_the_images_and_not_the_conversation() {
    let (mut bob, mut peer) = with_raw_peer().await;
    let lie = b"text<BINARY><DATA ID=\"1\" SIZE=\"4000000000\">abc</DATA></BINARY>";
    let many = format!(
        "text<BINARY>{}</BINARY>",
        "<DATA ID=\"1\" SIZE=\"1\">x</DATA>".repeat(65)
    );
    for payload in [&lie[..], many.as_bytes()] {
        let bytes = frame(Flags::default(), payload.len(), payload);
        peer.write_all(&bytes).await.unwrap();
        let got = message(&mut bob).await;
        assert_eq!((got.html.as_str(), got.images.len()), ("text", 0));
        assert!(got.fault.is_some());
    }
    peer.write_all(&frame(Flags::default(), 2, b"hi"))
        .await
        .unwrap();
    assert_eq!(message(&mut bob).await.text(), "hi");
}

#[tokio::test]
async fn a_peer_who_goes_away_within_a_message_broke_off() {
    for bytes in [
        frame(Flags::default(), 9, b"hi"),
        BytesMut::from(&b"ODC2"[..]),
    ] {
        let (mut bob, mut peer) = with_raw_peer().await;
        peer.write_all(&bytes).await.unwrap();
        drop(peer);
        assert!(matches!(
            closed(&mut bob).await,
            Err(DirectImError::BrokenOff)
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn s_29_a_peer_who_never_shows_the_cookie_is_given_15_seconds() {
    let (mut peer, b) = duplex(1024);
    let mut bob = start(talk("bob"), b, false);
    let begin = Instant::now();
    let trickle = async {
        for byte in hello() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let _ = peer.write_all(&[byte]).await;
        }
    };
    let end = async {
        assert!(matches!(
            closed(&mut bob).await,
            Err(DirectImError::TooSlow)
        ));
        assert_eq!(begin.elapsed(), HEADER_TIME);
    };
    tokio::join!(trickle, end);
}

#[tokio::test(start_paused = true)]
async fn s_29_a_header_that_trickles_in_ends_it() {
    let (mut bob, mut peer) = with_raw_peer().await;
    let begin = Instant::now();
    tokio::spawn(async move {
        // The longest header that there can be, a byte a second.
        for byte in [&b"ODC2\xFF\xFF"[..], &[0; 100]].concat() {
            if peer.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    assert!(matches!(
        closed(&mut bob).await,
        Err(DirectImError::TooSlow)
    ));
    assert_eq!(begin.elapsed(), HEADER_TIME);
}

#[tokio::test(start_paused = true)]
async fn s_29_a_payload_that_trickles_in_ends_it() {
    let (mut bob, mut peer) = with_raw_peer().await;
    let begin = Instant::now();
    tokio::spawn(async move {
        peer.write_all(&frame(Flags::default(), 1_000_000, b""))
            .await
            .unwrap();
        while peer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    assert!(matches!(
        closed(&mut bob).await,
        Err(DirectImError::TooSlow)
    ));
    let took = begin.elapsed();
    assert!(
        took >= SLOWEST_WINDOW && took < SLOWEST_WINDOW + STALL,
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_stops_ends_it_and_one_that_is_just_slow_arrives() {
    let (mut bob, mut peer) = with_raw_peer().await;
    let begin = Instant::now();
    peer.write_all(&frame(Flags::default(), 10, b"x"))
        .await
        .unwrap();
    assert!(matches!(
        closed(&mut bob).await,
        Err(DirectImError::TooSlow)
    ));
    assert_eq!(begin.elapsed(), STALL);

    let (mut bob, mut peer) = with_raw_peer().await;
    let second = usize::try_from(SLOWEST_BYTES).unwrap() / 120 + 100;
    tokio::spawn(async move {
        let text = vec![b'x'; second * 500];
        peer.write_all(&frame(Flags::default(), text.len(), b""))
            .await
            .unwrap();
        for part in text.chunks(second) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            peer.write_all(part).await.unwrap();
        }
        peer
    });
    assert_eq!(message(&mut bob).await.html.len(), second * 500);
}

#[tokio::test(start_paused = true)]
async fn frame_after_frame_without_a_pause_is_not_slow() {
    let (mut bob, mut peer) = with_raw_peer().await;
    tokio::spawn(async move {
        // Cut so that each piece ends within a header.
        let typing = frame(Flags::TYPING_PACKET, 0, b"").repeat(76);
        for piece in typing.chunks(77) {
            peer.write_all(piece).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        peer
    });
    for _ in 0..76 {
        assert!(matches!(bob.next_event().await, Some(Event::Typing(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_who_reads_nothing_ends_it() {
    let (mut bob, _peer) = with_raw_peer().await;
    let begin = Instant::now();
    bob.send(Message::new().image(image(1 << 20)))
        .await
        .unwrap();
    assert!(matches!(
        closed(&mut bob).await,
        Err(DirectImError::TooSlow)
    ));
    assert!(begin.elapsed() >= STALL);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_takes_is_left_in_the_network() {
    let (mut bob, mut peer) = with_raw_peer().await;
    let twenty = vec![b'x'; 20 << 20];
    let bytes = frame(Flags::default(), twenty.len(), &twenty);
    let writing = tokio::spawn(async move {
        for _ in 0..4 {
            peer.write_all(&bytes).await.unwrap();
        }
        peer
    });
    // Three fit into 64 MiB. The fourth waits, and is not called slow for it.
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(!writing.is_finished());
    for _ in 0..4 {
        assert_eq!(message(&mut bob).await.html.len(), 20 << 20);
    }
    writing.await.unwrap();
}
