//! A lane as a stream of bytes.

use std::io::ErrorKind;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

use super::road::Road;
use super::*;

/// Bytes of a transfer that is big enough for windows, batches and acknowledgements to matter.
const BIG: u64 = 48 << 20;

/// Noise that is the same on both sides (SplitMix64).
struct Noise(u64);

impl Noise {
    fn fill(&mut self, block: &mut [u8]) {
        for piece in block.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            piece.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..piece.len()]);
        }
    }
}

/// Sends `BIG` bytes and ends; `halfway` is called once. Returns their hash.
async fn send(lane: &mut (impl AsyncWrite + Unpin), mut halfway: impl FnMut()) -> blake3::Hash {
    let (mut noise, mut hash) = (Noise(7), blake3::Hasher::new());
    let mut block = vec![0; 64 << 10];
    let blocks = BIG / block.len() as u64;
    for number in 0..blocks {
        if number == blocks / 2 {
            halfway();
        }
        noise.fill(&mut block);
        hash.update(&block);
        lane.write_all(&block).await.unwrap();
    }
    lane.shutdown().await.unwrap();
    hash.finalize()
}

async fn receive(lane: &mut (impl AsyncRead + Unpin)) -> (u64, blake3::Hash) {
    let (mut total, mut hash) = (0, blake3::Hasher::new());
    let mut block = vec![0; 64 << 10];
    loop {
        match lane.read(&mut block).await.unwrap() {
            0 => return (total, hash.finalize()),
            count => {
                hash.update(&block[..count]);
                total += count as u64;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_goes_both_ways_at_once_and_arrives_as_it_was() {
    let (one, other) = lanes(&Sockets::new()).await;
    let (mut one_in, mut one_out) = tokio::io::split(one);
    let (mut other_in, mut other_out) = tokio::io::split(other);
    let (sent, back, got, got_back) = join!(
        send(&mut one_out, || ()),
        send(&mut other_out, || ()),
        receive(&mut other_in),
        receive(&mut one_in)
    );
    assert_eq!(got, (BIG, sent));
    assert_eq!(got_back, (BIG, back));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_moves_in_mid_transfer_loses_nothing() {
    for client_sends in [true, false] {
        let sockets = Sockets::new();
        let before = sockets.client.local_addr().unwrap();
        let (mut client, mut server) = lanes(&sockets).await;
        let moves = || sockets.client.rebind(bound()).unwrap();
        let (sent, got) = match client_sends {
            true => join!(send(&mut client, moves), receive(&mut server)),
            false => join!(send(&mut server, moves), receive(&mut client)),
        };
        assert_eq!(got, (BIG, sent));
        let after = sockets.client.local_addr().unwrap();
        assert_ne!(before, after);
        assert_eq!(server.remote(), after, "the server has followed");
    }
}

#[tokio::test]
async fn news_of_another_network_disturb_nobody() {
    let sockets = Sockets::new();
    let (mut client, mut server) = lanes(&sockets).await;
    let address = sockets.client.local_addr().unwrap();
    sockets.client.network_changed().unwrap();
    assert_eq!(sockets.client.local_addr().unwrap(), address);
    client.write_all(b"still here").await.unwrap();
    let mut read = [0; 10];
    server.read_exact(&mut read).await.unwrap();
    server.write_all(b"me too").await.unwrap();
    client.read_exact(&mut read[..6]).await.unwrap();
    assert_eq!(&read[..6], b"me too");
}

#[tokio::test]
async fn last_words_are_not_lost_when_the_lane_is_dropped_after_shutdown() {
    for _ in 0..20 {
        let (mut one, mut other) = lanes(&Sockets::new()).await;
        let words = vec![7; 300_000];
        let speaking = async {
            one.write_all(&words).await.unwrap();
            one.shutdown().await.unwrap();
            one.shutdown().await.unwrap();
            drop(one);
        };
        let mut heard = Vec::new();
        let (read, ()) = join!(other.read_to_end(&mut heard), speaking);
        read.unwrap();
        assert_eq!(heard, words);
    }
}

#[tokio::test]
async fn a_peer_that_hangs_up_after_the_last_word_does_not_make_shutdown_fail() {
    for _ in 0..20 {
        let (mut one, mut other) = lanes(&Sockets::new()).await;
        let listening = async {
            let mut heard = Vec::new();
            other.read_to_end(&mut heard).await.unwrap();
            drop(other);
            heard
        };
        let speaking = async {
            one.write_all(b"bye").await.unwrap();
            one.shutdown().await.unwrap();
        };
        assert_eq!(join!(listening, speaking).0, b"bye");
    }
}

#[tokio::test]
async fn a_dropped_lane_is_no_end_of_stream() {
    let (one, mut other) = lanes(&Sockets::new()).await;
    drop(one);
    let ended = other.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::ConnectionReset, "{ended:?}");
    let ended = other.write_all(b"anybody there?").await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::ConnectionReset, "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_vanishes_is_missed_after_15_s() {
    let sockets = Sockets::new();
    let road = Road::to(sockets.address, |datagram| vec![datagram]);
    let sockets = Sockets {
        address: road.address,
        ..sockets
    };
    let (_one, mut other) = lanes(&sockets).await;
    drop(road);
    let start = Instant::now();
    let missed = other.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(missed.kind(), ErrorKind::TimedOut, "{missed:?}");
    let waited = start.elapsed();
    assert!((15..=20).contains(&waited.as_secs()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lane_on_which_nobody_speaks_stays_up() {
    let (mut one, mut other) = lanes(&Sockets::new()).await;
    let minutes = async {
        tokio::time::sleep(Duration::from_secs(600)).await;
        one.write_all(b"x").await.unwrap();
    };
    let mut heard = [0];
    let (read, ()) = join!(other.read_exact(&mut heard), minutes);
    read.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_nobody_acknowledges_ends_after_5_s() {
    let sockets = Sockets::new();
    let road = Road::to(sockets.address, |datagram| vec![datagram]);
    let sockets = Sockets {
        address: road.address,
        ..sockets
    };
    let (mut one, _other) = lanes(&sockets).await;
    drop(road);
    one.write_all(b"bye").await.unwrap();
    let start = Instant::now();
    let ended = one.shutdown().await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::TimedOut, "{ended:?}");
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn shutdown_waits_as_long_as_bytes_arrive() {
    let sockets = Sockets::new();
    let road = Road::narrow(sockets.address, Duration::from_millis(1));
    let sockets = Sockets {
        address: road.address,
        ..sockets
    };
    let (mut one, mut other) = lanes(&sockets).await;
    // Much less than the road takes for what is on the way.
    one.patience = Duration::from_millis(150);
    let words = vec![3; 3 << 20];
    let sending = async {
        one.write_all(&words).await.unwrap();
        let start = Instant::now();
        one.shutdown().await.unwrap();
        start.elapsed()
    };
    let mut heard = Vec::new();
    let (took, read) = join!(sending, other.read_to_end(&mut heard));
    read.unwrap();
    assert!(heard == words);
    assert!(took > 2 * one.patience, "{took:?}: nothing was on the way");
}
