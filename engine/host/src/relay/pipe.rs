//! Bytes from one connection to the other, both ways, in bounded memory: a reader that stalls stalls its writer (S-39).

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

/// What a direction holds at first, in bytes: most pairs never need more.
const BUFFER_MIN: usize = 16 * 1024;
/// What a direction holds at most, in bytes.
const BUFFER_MAX: usize = 256 * 1024;

/// How long and how much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Ends the pair when nothing moved for so long.
    pub(super) idle: Duration,
    /// Ends the pair in any case.
    pub(super) life: Duration,
    /// Ends the pair after so many bytes, both directions together.
    pub(super) bytes_max: u64,
}

/// Which time of a pair was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeUp {
    /// Nothing moved for too long.
    Idle,
    /// It lived for too long.
    Life,
}

/// Copies until both sides have ended, one failed, or the terms are up; the meter says how many bytes passed, the result whether a time was up.
///
/// A side is its reading half, its writing half, and what was read of it already. What is read in one piece is written
/// in one piece: an old client wants its header that way.
pub(super) async fn carry<R1, W1, R2, W2>(
    one: ((R1, W1), Bytes),
    other: ((R2, W2), Bytes),
    meter: &Meter,
) -> Option<TimeUp>
where
    R1: AsyncRead + Unpin,
    W1: AsyncWrite + Unpin,
    R2: AsyncRead + Unpin,
    W2: AsyncWrite + Unpin,
{
    let (((one_reads, one_writes), one_early), ((other_reads, other_writes), other_early)) =
        (one, other);
    let both = async {
        tokio::try_join!(
            one_way(one_reads, other_writes, one_early, meter),
            one_way(other_reads, one_writes, other_early, meter),
        )
    };
    tokio::select! {
        _ = both => None,
        () = meter.idle_for(meter.terms.idle) => Some(TimeUp::Idle),
        () = tokio::time::sleep(meter.terms.life) => Some(TimeUp::Life),
    }
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    early: Bytes,
    meter: &Meter,
) -> io::Result<()> {
    if !early.is_empty() {
        to.write_all(&early).await?;
        meter.moved(early.len())?;
    }
    let mut buffer = vec![0; BUFFER_MIN];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            // The other direction may still have something to carry.
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
        meter.moved(length)?;
        if length == buffer.len() && length < BUFFER_MAX {
            buffer.resize((4 * length).min(BUFFER_MAX), 0);
        }
    }
}

/// What passed, and when last.
pub(super) struct Meter {
    start: Instant,
    bytes: AtomicU64,
    moved_ms: AtomicU64,
    terms: Terms,
}

impl Meter {
    /// Of a pair that begins now.
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            start: Instant::now(),
            bytes: AtomicU64::new(0),
            moved_ms: AtomicU64::new(0),
            terms,
        }
    }

    /// How many bytes passed, both directions together.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn moved(&self, length: usize) -> io::Result<()> {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let bytes = self
            .bytes
            .fetch_add(length, Ordering::Relaxed)
            .saturating_add(length);
        self.moved_ms.store(self.now_ms(), Ordering::Relaxed);
        match bytes >= self.terms.bytes_max {
            true => Err(io::ErrorKind::QuotaExceeded.into()),
            false => Ok(()),
        }
    }

    /// Resolves once nothing has moved for so long.
    async fn idle_for(&self, idle: Duration) {
        loop {
            let moved = Duration::from_millis(self.moved_ms.load(Ordering::Relaxed));
            let at = self.start + moved + idle;
            if at <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(at).await;
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{DuplexStream, duplex, split};

    use super::*;

    const TERMS: Terms = Terms {
        idle: Duration::from_secs(120),
        life: Duration::from_secs(24 * 3600),
        bytes_max: 64 << 30,
    };

    /// A pair, and the two clients of it; between client and relay fit `road` bytes.
    fn pair(
        road: usize,
        terms: Terms,
    ) -> (tokio::task::JoinHandle<u64>, DuplexStream, DuplexStream) {
        let (alice, one) = duplex(road);
        let (bob, other) = duplex(road);
        let carrying = tokio::spawn(async move {
            let meter = Meter::new(terms);
            carry(
                (split(one), Bytes::new()),
                (split(other), Bytes::new()),
                &meter,
            )
            .await;
            meter.bytes()
        });
        (carrying, alice, bob)
    }

    #[tokio::test(start_paused = true)]
    async fn s_39_a_stalled_reader_stalls_its_writer_within_256_kib() {
        let road = 1 << 20;
        let (carrying, mut alice, bob) = pair(road, TERMS);
        let mut written = 0;
        // The clock only moves on when nobody can do anything any more.
        while let Ok(length) =
            tokio::time::timeout(Duration::from_secs(1), alice.write(&[7; 64 * 1024])).await
        {
            written += length.unwrap();
        }
        assert!(written >= 2 * road, "{written} bytes were taken");
        assert!(
            written <= 2 * road + 256 * 1024,
            "{written} bytes were taken"
        );
        drop(bob);
        assert!(carrying.await.unwrap() <= written as u64);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_arrives_both_ways_and_an_end_is_passed_on_alone() {
        let (carrying, mut alice, mut bob) = pair(1 << 20, TERMS);
        alice.write_all(b"ping").await.unwrap();
        alice.shutdown().await.unwrap();
        let mut got = Vec::new();
        bob.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"ping");
        bob.write_all(b"pong, later").await.unwrap();
        bob.shutdown().await.unwrap();
        let mut got = Vec::new();
        alice.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"pong, later");
        assert_eq!(carrying.await.unwrap(), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pair_that_carries_nothing_for_two_minutes_ends() {
        let (carrying, mut alice, _bob) = pair(1024, TERMS);
        let start = Instant::now();
        tokio::time::sleep(Duration::from_secs(100)).await;
        alice.write_all(b"still there").await.unwrap();
        assert_eq!(carrying.await.unwrap(), 11);
        assert_eq!(start.elapsed().as_secs(), 220);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pair_ends_with_its_allowance_and_with_its_life() {
        let terms = Terms {
            bytes_max: 100,
            ..TERMS
        };
        let (carrying, mut alice, _bob) = pair(1024, terms);
        alice.write_all(&[7; 120]).await.unwrap();
        assert_eq!(carrying.await.unwrap(), 120);
        let terms = Terms {
            life: Duration::from_secs(60),
            ..TERMS
        };
        let start = Instant::now();
        let (carrying, _alice, _bob) = pair(1024, terms);
        carrying.await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 60);
    }

    /// Keeps the sizes of what is written to it.
    struct Sizes<'a>(&'a mut Vec<usize>);

    impl AsyncWrite for Sizes<'_> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(bytes.len());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_is_read_in_one_piece_is_written_in_one_piece() {
        let mut sizes = Vec::new();
        carry(
            (
                (&[7; 256][..], tokio::io::sink()),
                Bytes::from_static(b"early"),
            ),
            ((tokio::io::empty(), Sizes(&mut sizes)), Bytes::new()),
            &Meter::new(TERMS),
        )
        .await;
        assert_eq!(sizes, [5, 256]);
    }
}
