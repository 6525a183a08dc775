//! Scripted sockets.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rdv_proto::rendezvous::{AttemptError, AttemptId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::super::{Arrival, Report};
use super::*;
use crate::signaling::BoxFuture;

/// Says `OFT2 we` if it is to speak first, and wants to hear `OFT2 you`.
#[derive(Default)]
struct Words {
    speaks: bool,
    /// What it was told about the connection.
    zero_counts: AtomicBool,
}

const OURS: &[u8] = b"OFT2 we.";
const THEIRS: &[u8; 8] = b"OFT2 you";

impl Opening for Words {
    fn first_words(&self, _terms: Terms) -> Option<Bytes> {
        self.speaks.then(|| Bytes::from_static(OURS))
    }

    fn hear<'a>(
        &'a self,
        lane: &'a mut Lane,
        terms: Terms,
    ) -> BoxFuture<'a, Result<Bytes, OpeningError>> {
        self.zero_counts
            .store(terms.zero_cookie_counts, Ordering::Relaxed);
        Box::pin(async move {
            let mut words = [0; THEIRS.len()];
            lane.read_exact(&mut words).await?;
            match &words == THEIRS {
                true => Ok(Bytes::copy_from_slice(&words)),
                false => Err(OpeningError::WrongCookie),
            }
        })
    }
}

/// An attempt under way, and the other end of its socket.
struct Scene {
    far: TcpStream,
    proving: JoinHandle<Result<Proven, Why>>,
    orders: mpsc::Sender<SecureOrder>,
    arrivals: mpsc::Receiver<Arrival>,
    words: Arc<Words>,
}

impl Scene {
    async fn new(tls: bool, connector: bool, speaks: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(there), listener.accept());
        let (near, (far, _)) = (near.unwrap(), far.unwrap());
        let words = Arc::new(Words {
            speaks,
            ..Words::default()
        });
        let (orders, mut received) = mpsc::channel(2);
        let (reports, arrivals) = mpsc::channel(8);
        let attempt = AttemptId(1);
        let reporter = Reporter { attempt, reports };
        let order = order(tls, connector, &words);
        let proving =
            tokio::spawn(async move { prove(near, order, &mut received, &reporter).await });
        Self {
            far,
            proving,
            orders,
            arrivals,
            words,
        }
    }

    /// The terms are plain now.
    fn drop_tls(&self) {
        let later = SecureOrder::Legacy(order(false, false, &self.words));
        assert!(self.orders.try_send(later).is_ok());
    }

    async fn proven(self) -> Proven {
        self.proving.await.unwrap().unwrap()
    }

    async fn failed(self) -> AttemptError {
        match self.proving.await.unwrap() {
            Ok(_) => panic!("proven"),
            Err(why) => why.into(),
        }
    }

    async fn heard(&mut self) {
        let arrival = self.arrivals.recv().await;
        assert!(matches!(
            arrival,
            Some(Arrival::Report(Report::Heard { .. }))
        ));
    }
}

fn order(tls: bool, connector: bool, words: &Arc<Words>) -> LegacyOrder {
    LegacyOrder {
        tls: tls.then(identity),
        terms: Terms {
            connector,
            zero_cookie_counts: connector,
        },
        opening: Arc::clone(words) as Arc<dyn Opening>,
    }
}

fn identity() -> Arc<Identity> {
    Arc::new(Identity::generate().unwrap())
}

#[tokio::test]
async fn plain_words_prove_and_what_follows_stays_in_the_stream() {
    let mut scene = Scene::new(false, false, true).await;
    let mut words = [0; OURS.len()];
    scene.far.read_exact(&mut words).await.unwrap();
    assert_eq!(words, OURS);
    scene.far.write_all(b"OFT2 you and more").await.unwrap();
    scene.heard().await;
    let words = Arc::clone(&scene.words);
    let Proven { mut lane, proof } = scene.proven().await;
    assert!(matches!(&proof, Proof::Legacy { first, key: None } if first == &THEIRS[..]));
    assert!(!words.zero_counts.load(Ordering::Relaxed));
    let mut rest = [0; 9];
    lane.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b" and more");
}

#[tokio::test]
async fn s_12_other_first_words_fail_at_the_first_byte_and_hold_no_place() {
    let mut scene = Scene::new(false, false, false).await;
    scene.far.write_all(b"G").await.unwrap();
    assert_eq!(scene.arrivals.recv().await.map(drop), None, "never heard");
    assert_eq!(scene.failed().await, AttemptError::WrongProof);
}

#[tokio::test]
async fn a_wrong_cookie_is_a_wrong_proof_and_a_hang_up_is_none() {
    let mut scene = Scene::new(false, true, false).await;
    scene.far.write_all(b"OFT2 her").await.unwrap();
    assert_eq!(scene.failed().await, AttemptError::WrongProof);
    let mut scene = Scene::new(false, false, false).await;
    scene.far.shutdown().await.unwrap();
    assert_eq!(scene.failed().await, AttemptError::Closed);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_has_fifteen_seconds() {
    let begun = tokio::time::Instant::now();
    let scene = Scene::new(false, true, false).await;
    assert_eq!(scene.failed().await, AttemptError::TimedOut);
    assert_eq!(begun.elapsed().as_secs(), 15);
}

#[tokio::test]
async fn t_09_the_connector_is_the_tls_client_and_both_show_a_key() {
    for connector in [true, false] {
        let mut scene = Scene::new(true, connector, false).await;
        let far_identity = identity();
        let far = &mut scene.far;
        let secured = tls::secure_legacy(far, &far_identity, !connector, FIRST_HEADER).await;
        let (mut stream, _) = secured.unwrap();
        stream.write_all(THEIRS).await.unwrap();
        stream.flush().await.unwrap();
        let words = Arc::clone(&scene.words);
        let proving = scene.proving.await.unwrap();
        let Proven { lane, proof } = proving.unwrap();
        assert!(matches!(lane, Lane::Tls(_)));
        assert!(
            matches!(proof, Proof::Legacy { key: Some(key), .. } if key == far_identity.key_hash)
        );
        assert_eq!(words.zero_counts.load(Ordering::Relaxed), connector);
    }
}

#[tokio::test]
async fn t_09_a_listener_that_wants_tls_tells_the_cases_apart_by_the_first_byte() {
    let mut scene = Scene::new(true, false, false).await;
    scene.far.write_all(b"GET /").await.unwrap();
    assert_eq!(scene.failed().await, AttemptError::NotTls);
}

#[tokio::test]
async fn a_dialled_peer_that_answers_without_tls_is_found_out() {
    let mut scene = Scene::new(true, true, false).await;
    scene.far.write_all(THEIRS).await.unwrap();
    assert_eq!(scene.failed().await, AttemptError::NotTls);
}

#[tokio::test]
async fn t_10_a_listener_goes_on_plain_on_the_same_socket_when_tls_was_dropped() {
    // The other end waits for our words.
    let mut scene = Scene::new(true, false, true).await;
    scene.drop_tls();
    let mut words = [0; OURS.len()];
    scene.far.read_exact(&mut words).await.unwrap();
    scene.far.write_all(THEIRS).await.unwrap();
    assert!(matches!(scene.proven().await.lane, Lane::Plain(_)));
    // It has spoken already, and the news comes after.
    let mut scene = Scene::new(true, false, false).await;
    scene.far.write_all(THEIRS).await.unwrap();
    scene.drop_tls();
    assert!(matches!(scene.proven().await.lane, Lane::Plain(_)));
}

#[tokio::test]
async fn who_speaks_tls_keeps_to_it_whatever_is_said_of_it() {
    let mut scene = Scene::new(true, false, false).await;
    let far_identity = identity();
    let far = &mut scene.far;
    let client = tls::secure_legacy(far, &far_identity, true, FIRST_HEADER);
    tokio::pin!(client);
    // The first flight is on its way when the terms are changed.
    let arrivals = &mut scene.arrivals;
    let early = tokio::select! {
        done = &mut client => Some(done),
        _ = arrivals.recv() => None,
    };
    let later = SecureOrder::Legacy(order(false, false, &scene.words));
    let _ = scene.orders.try_send(later);
    let (mut stream, _) = match early {
        Some(done) => done,
        None => client.await,
    }
    .unwrap();
    stream.write_all(THEIRS).await.unwrap();
    stream.flush().await.unwrap();
    let proven = scene.proving.await.unwrap().unwrap();
    assert!(matches!(proven.lane, Lane::Tls(_)));
}
