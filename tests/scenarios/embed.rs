//! A chat client's channel: all it can do is to carry a line of text to somebody. The engine needs no more, and no OSCAR.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rdv::signaling::{BoxFuture, Incoming, Signaling, SignalingError};
use rdv::{
    By, Engine, Error, OfferOptions, ScreenName, Security, Sink, SinkOptions, Source,
    SourceOptions, TransferEvent,
};
use tokio::sync::mpsc;

/// Who is in the room, and where their lines go.
type Room = Arc<Mutex<BTreeMap<String, mpsc::UnboundedSender<String>>>>;

/// Somebody in a chat room in which all talk is lines of text: `from: letters`.
struct Chatter {
    name: String,
    room: Room,
    lines: tokio::sync::Mutex<mpsc::UnboundedReceiver<String>>,
}

impl Chatter {
    fn enter(room: &Room, name: &str) -> Self {
        let (queue, lines) = mpsc::unbounded_channel();
        room.lock().unwrap().insert(name.to_owned(), queue);
        Self {
            name: name.to_owned(),
            room: room.clone(),
            lines: tokio::sync::Mutex::new(lines),
        }
    }
}

impl Signaling for Chatter {
    fn local_name(&self) -> ScreenName {
        ScreenName::new(self.name.as_str()).unwrap()
    }

    fn send(
        &self,
        to: ScreenName,
        body: Bytes,
        _host_ack: bool,
    ) -> BoxFuture<'_, Result<(), SignalingError>> {
        Box::pin(async move {
            let line = format!("{}: {}", self.name, letters(&body));
            let room = self.room.lock().unwrap();
            let queue = room.get(to.as_str()).ok_or(SignalingError::Closed)?;
            queue.send(line).map_err(|_| SignalingError::Closed)
        })
    }

    fn recv(&self) -> BoxFuture<'_, Result<Incoming, SignalingError>> {
        Box::pin(async move {
            let line = self
                .lines
                .lock()
                .await
                .recv()
                .await
                .ok_or(SignalingError::Closed)?;
            let (from, words) = line.split_once(": ").unwrap();
            Ok(Incoming::Message {
                from: ScreenName::new(from).unwrap(),
                body: bytes_of(words).into(),
            })
        })
    }
}

fn letters(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(letters: &str) -> Vec<u8> {
    let pairs = letters.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

struct Two {
    folder: tempfile::TempDir,
    alice: Engine,
    bob: Engine,
}

impl Two {
    fn in_one_room() -> Self {
        let room = Room::default();
        let engine = |name| {
            Engine::builder(Chatter::enter(&room, name))
                .host_on_this_machine(true)
                .build()
        };
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("song"), "la la la").unwrap();
        Self {
            folder,
            alice: engine("alice"),
            bob: engine("bob"),
        }
    }

    fn song(&self) -> Source {
        Source::paths(
            vec![self.folder.path().join("song")],
            SourceOptions::default(),
        )
        .unwrap()
    }

    fn out(&self) -> Sink {
        Sink::folder(self.folder.path().join("out"), SinkOptions::default()).unwrap()
    }

    fn arrived(&self) -> Option<String> {
        fs::read_to_string(self.folder.path().join("out/song")).ok()
    }
}

fn name(text: &str) -> ScreenName {
    ScreenName::new(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_meet_over_lines_of_text_with_a_code() {
    let two = Two::in_one_room();
    let words = rdv::new_code_words();
    let sending = two
        .alice
        .offer_with_code(words.clone(), two.song(), None)
        .await
        .unwrap();
    let receiving = two
        .bob
        .fetch_with_code(name("alice"), words, two.out())
        .await
        .unwrap();
    let (sent, received) = tokio::join!(sending.finish(|_| true), receiving.finish(|_| true));
    assert_eq!(sent.unwrap().bytes, 8);
    assert_eq!(received.unwrap().bytes, 8);
    assert_eq!(two.arrived().unwrap(), "la la la");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_meet_over_lines_of_text_by_name() {
    let two = Two::in_one_room();
    let sending = two
        .alice
        .offer(name("bob"), two.song(), OfferOptions::default())
        .await
        .unwrap();
    let proposal = two.bob.next_proposal().await.unwrap();
    assert_eq!(proposal.peer(), &name("alice"));
    let mut receiving = proposal.accept(two.out()).await.unwrap();
    let received = async {
        loop {
            match receiving.next_event().await.unwrap() {
                TransferEvent::Connected { security, .. } => {
                    let proven = matches!(security, Security::Verified { .. });
                    assert!(!proven, "a first contact proves nothing")
                }
                TransferEvent::Offered(offer) => {
                    assert_eq!((offer.files, offer.total_bytes), (1, 8));
                    receiving.accept();
                }
                TransferEvent::Ended(outcome) => break outcome,
                _ => {}
            }
        }
    };
    let (sent, received) = tokio::join!(sending.finish(|_| true), received);
    sent.unwrap();
    received.unwrap();
    assert_eq!(two.arrived().unwrap(), "la la la");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_can_be_declined_before_anybody_connects() {
    let two = Two::in_one_room();
    let sending = two
        .alice
        .offer(name("bob"), two.song(), OfferOptions::default())
        .await
        .unwrap();
    two.bob.next_proposal().await.unwrap().decline();
    let sent = sending.finish(|_| true).await;
    assert!(
        matches!(
            sent,
            Err(Error::Declined { by: By::Peer } | Error::Cancelled { by: By::Peer })
        ),
        "{sent:?}"
    );
    assert_eq!(two.arrived(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_can_be_declined_in_the_channel() {
    let two = Two::in_one_room();
    let words = rdv::new_code_words();
    let sending = two
        .alice
        .offer_with_code(words.clone(), two.song(), None)
        .await
        .unwrap();
    let receiving = two
        .bob
        .fetch_with_code(name("alice"), words, two.out())
        .await
        .unwrap();
    let (sent, received) = tokio::join!(sending.finish(|_| true), receiving.finish(|_| false));
    assert!(
        matches!(sent, Err(Error::Declined { by: By::Peer })),
        "{sent:?}"
    );
    assert!(
        matches!(received, Err(Error::Declined { by: By::Us })),
        "{received:?}"
    );
    assert_eq!(two.arrived(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_is_dropped_is_cancelled_on_both_sides() {
    let two = Two::in_one_room();
    let words = rdv::new_code_words();
    let sending = two
        .alice
        .offer_with_code(words.clone(), two.song(), None)
        .await
        .unwrap();
    let mut receiving = two
        .bob
        .fetch_with_code(name("alice"), words, two.out())
        .await
        .unwrap();
    while !matches!(
        receiving.next_event().await.unwrap(),
        TransferEvent::Offered(_)
    ) {}
    drop(receiving);
    let sent = sending.finish(|_| true).await;
    assert!(
        matches!(sent, Err(Error::Cancelled { by: By::Peer })),
        "{sent:?}"
    );
    assert_eq!(two.arrived(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_pair_of_engines_carries_several_transfers_at_once() {
    let two = Two::in_one_room();
    let mut ends = Vec::new();
    for index in 0..4 {
        let sending = two
            .alice
            .offer(
                name("bob"),
                Source::text(format!("text {index}")).unwrap(),
                OfferOptions::default(),
            )
            .await
            .unwrap();
        let receiving = two
            .bob
            .next_proposal()
            .await
            .unwrap()
            .accept(two.out())
            .await
            .unwrap();
        ends.push(tokio::spawn(async {
            tokio::join!(sending.finish(|_| true), receiving.finish(|_| true))
        }));
    }
    for (index, end) in ends.into_iter().enumerate() {
        let (sent, received) = end.await.unwrap();
        sent.unwrap();
        assert_eq!(
            received.unwrap().text.as_deref(),
            Some(format!("text {index}").as_str())
        );
    }
}

/// A channel whose other end went away.
struct Gone;

impl Signaling for Gone {
    fn local_name(&self) -> ScreenName {
        name("carol")
    }

    fn send(&self, _: ScreenName, _: Bytes, _: bool) -> BoxFuture<'_, Result<(), SignalingError>> {
        Box::pin(async { Err(SignalingError::Closed) })
    }

    fn recv(&self) -> BoxFuture<'_, Result<Incoming, SignalingError>> {
        Box::pin(async { Err(SignalingError::Closed) })
    }
}

#[tokio::test]
async fn nothing_waits_for_a_channel_that_is_gone() {
    let engine = Engine::builder(Gone).build();
    let out = tempfile::tempdir().unwrap();
    // The loss is known at the latest when the second is begun.
    for _ in 0..2 {
        let sink = Sink::folder(out.path(), SinkOptions::default()).unwrap();
        let receiving = engine
            .fetch_with_code(name("alice"), rdv::new_code_words(), sink)
            .await
            .unwrap();
        let began = tokio::time::Instant::now();
        let received = receiving.finish(|_| true).await;
        assert!(
            matches!(received, Err(Error::Signaling(SignalingError::Closed))),
            "{received:?}"
        );
        assert!(began.elapsed() < std::time::Duration::from_secs(10));
    }
}
