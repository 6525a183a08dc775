use std::time::Duration;

use rdv_proto::rendezvous::{AttemptError, AttemptId};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, timeout};

use super::{Link, LinkEvent, LinkHandle};

struct Pair {
    a: Link,
    b: Link,
    handle_a: LinkHandle,
    handle_b: LinkHandle,
}

fn pair(buffer: usize) -> Pair {
    let (a, b) = duplex(buffer);
    let (a, handle_a) = Link::over(AttemptId(1), a, false);
    let (b, handle_b) = Link::over(AttemptId(1), b, false);
    Pair {
        a,
        b,
        handle_a,
        handle_b,
    }
}

impl Pair {
    fn add(&self, attempt: u64, buffer: usize) {
        let (a, b) = duplex(buffer);
        self.handle_a.add_stream(AttemptId(attempt), a, false);
        self.handle_b.add_stream(AttemptId(attempt), b, false);
    }
}

fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut at = seed;
    let next = |_| {
        at = at
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (at >> 56) as u8
    };
    (0..len).map(next).collect()
}

/// Writes all of it and then the end; reads to the end meanwhile.
async fn talk(link: Link, what: Vec<u8>) -> Vec<u8> {
    let (mut read, mut write) = tokio::io::split(link);
    let mut heard = Vec::new();
    let out = async {
        write.write_all(&what).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let (_, read) = tokio::join!(out, read.read_to_end(&mut heard));
    read.unwrap();
    heard
}

#[tokio::test(start_paused = true)]
async fn a_stream_each_way_and_its_end() {
    let Pair {
        a,
        b,
        handle_a,
        handle_b,
    } = pair(10_000);
    let (to_b, to_a) = (bytes(3_000_000, 1), bytes(70_000, 2));
    let (at_a, at_b) = tokio::join!(talk(a, to_b.clone()), talk(b, to_a.clone()));
    assert!(at_a == to_a && at_b == to_b);
    drop((handle_a, handle_b));
}
