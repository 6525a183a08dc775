//! Lanes in memory, and what befalls them while bytes go both ways.

use std::time::Duration;

use rdv_proto::rendezvous::{AttemptError, AttemptId};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::{Link, LinkEvent, LinkHandle};
use crate::transfer::{self, Control, Sink, SinkOptions, Source, SourceOptions, TransferError};

/// A lane as a road: it can be slow, be silent, or break.
struct Road {
    halt: watch::Sender<bool>,
    tasks: [JoinHandle<()>; 2],
}

impl Road {
    /// Both ends; `pause`: after each 4 KiB.
    fn new(pause: Duration) -> (DuplexStream, DuplexStream, Self) {
        let ((a, near_a), (near_b, b)) = (duplex(8192), duplex(8192));
        let (read_a, write_a) = tokio::io::split(near_a);
        let (read_b, write_b) = tokio::io::split(near_b);
        let (halt, halted) = watch::channel(false);
        let tasks = [
            tokio::spawn(carry(read_a, write_b, pause, halted.clone())),
            tokio::spawn(carry(read_b, write_a, pause, halted)),
        ];
        (a, b, Self { halt, tasks })
    }

    /// Nothing arrives any more, and nobody is told.
    fn halt(&self) {
        self.halt.send_replace(true);
    }

    fn go_on(&self) {
        self.halt.send_replace(false);
    }

    fn cut(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn carry(
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    pause: Duration,
    mut halted: watch::Receiver<bool>,
) {
    let mut piece = [0; 4096];
    while let Ok(some @ 1..) = from.read(&mut piece).await {
        if halted.wait_for(|halted| !halted).await.is_err() {
            return;
        }
        sleep(pause).await;
        if to.write_all(&piece[..some]).await.is_err() {
            return;
        }
    }
}

struct Handles {
    a: LinkHandle,
    b: LinkHandle,
}

impl Handles {
    fn add(&self, attempt: u64, pause: Duration) -> Road {
        let (a, b, road) = Road::new(pause);
        self.a.add_stream(AttemptId(attempt), a, None);
        self.b.add_stream(AttemptId(attempt), b, None);
        road
    }
}

fn pair(pause: Duration) -> (Link, Link, Handles, Road) {
    let (a, b, road) = Road::new(pause);
    let (link_a, a) = Link::over(AttemptId(1), a, None);
    let (link_b, b) = Link::over(AttemptId(1), b, None);
    (link_a, link_b, Handles { a, b }, road)
}

const QUICK: Duration = Duration::from_millis(1);

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut out = blake3::Hasher::new()
        .update(&seed.to_be_bytes())
        .finalize_xof();
    out.fill(&mut bytes);
    bytes
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

/// Both talk while `meanwhile` happens; everything arrives.
async fn both_talk<T>(a: Link, b: Link, len: usize, meanwhile: impl Future<Output = T>) -> T {
    let (to_b, to_a) = (noise(len, 1), noise(len / 10, 2));
    let talks = async { tokio::join!(talk(a, to_b.clone()), talk(b, to_a.clone())) };
    let both = async { tokio::join!(talks, meanwhile) };
    let both = timeout(Duration::from_secs(600), both).await;
    let ((at_a, at_b), kept) = both.expect("an end");
    assert!(at_a == to_a && at_b == to_b);
    kept
}

#[tokio::test(start_paused = true)]
async fn a_stream_each_way_and_its_end() {
    let (a, b, handles, _road) = pair(QUICK);
    both_talk(a, b, 3_000_000, async {}).await;
    assert_eq!(handles.a.stats()[0].sent, 3_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_planned_move_repeats_nothing_and_leaves_no_gap() {
    let (a, b, handles, _slow) = pair(Duration::from_millis(40));
    let _quick = both_talk(a, b, 3_000_000, async {
        sleep(Duration::from_secs(3)).await;
        handles.add(2, QUICK)
    })
    .await;
    let stats = handles.a.stats();
    assert_eq!(
        stats.iter().map(|lane| lane.sent).sum::<u64>(),
        3_000_000,
        "{stats:?}"
    );
    let stats = handles.b.stats();
    assert_eq!(
        stats.iter().map(|lane| lane.received).sum::<u64>(),
        3_000_000
    );
    assert!(
        stats[0].received > 0 && stats[1].received > 2_000_000,
        "{stats:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn fifty_moves_in_one_transfer() {
    let (a, b, handles, _road) = pair(QUICK);
    let roads = both_talk(a, b, 5_000_000, async {
        let mut roads = Vec::new();
        for attempt in 2..52 {
            sleep(Duration::from_millis(20)).await;
            roads.push(handles.add(attempt, QUICK));
        }
        roads
    })
    .await;
    assert_eq!(roads.len(), 50);
    assert!(
        handles
            .b
            .stats()
            .iter()
            .filter(|lane| lane.received > 0)
            .count()
            > 25
    );
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_breaks_is_reported_and_the_next_one_goes_on() {
    let (a, b, mut handles, road) = pair(QUICK);
    let event = both_talk(a, b, 3_000_000, async {
        sleep(Duration::from_millis(300)).await;
        road.cut();
        let event = handles.a.next_event().await;
        sleep(Duration::from_secs(5)).await;
        let road = handles.add(2, QUICK);
        (event, road)
    })
    .await
    .0;
    assert_eq!(
        event,
        Some(LinkEvent::Lost(AttemptId(1), AttemptError::Closed))
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_lane_is_left_for_one_that_is_there_and_can_be_taken_again() {
    let (a, b, mut handles, old) = pair(Duration::from_millis(20));
    let started = Instant::now();
    both_talk(a, b, 6_000_000, async {
        let new = handles.add(2, QUICK);
        loop {
            match handles.b.next_event().await {
                Some(LinkEvent::Idle(AttemptId(1))) => break,
                Some(_) => {}
                None => panic!("over"),
            }
        }
        let at = handles.b.stats()[0].received;
        new.halt();
        let halted = Instant::now();
        while handles.b.stats()[0].received == at {
            sleep(Duration::from_millis(10)).await;
        }
        assert!(
            halted.elapsed() < Duration::from_secs(3),
            "{:?}",
            halted.elapsed()
        );
        assert_eq!(
            handles.b.next_event().await,
            Some(LinkEvent::Silent(AttemptId(2)))
        );
        new.go_on();
        assert_eq!(
            handles.b.next_event().await,
            Some(LinkEvent::Heard(AttemptId(2)))
        );
        handles.a.prefer(AttemptId(2));
        handles.b.prefer(AttemptId(2));
        (new, old)
    })
    .await;
    assert!(
        started.elapsed() < Duration::from_secs(60),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_stays_silent_is_lost_after_15_s() {
    let (a, b, mut handles, road) = pair(QUICK);
    let (_read, _keep) = (tokio::io::split(a), b);
    sleep(Duration::from_secs(1)).await;
    road.halt();
    let halted = Instant::now();
    assert_eq!(
        handles.a.next_event().await,
        Some(LinkEvent::Silent(AttemptId(1)))
    );
    let lost = Some(LinkEvent::Lost(AttemptId(1), AttemptError::TimedOut));
    assert_eq!(handles.a.next_event().await, lost);
    let after = halted.elapsed();
    assert!((14..=16).contains(&after.as_secs()), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_further_lane_the_loss_of_the_last_ends_the_stream() {
    let (mut a, b, handles, road) = pair(QUICK);
    let Handles {
        a: handle,
        b: _other,
    } = handles;
    road.cut();
    let mut some = [0; 1];
    let waits = timeout(Duration::from_secs(20), a.read(&mut some)).await;
    assert!(waits.is_err(), "another lane may come");
    handle.give_up(AttemptError::Unreachable);
    let error = a.read(&mut some).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(a.write_all(b"x").await.is_err());
    drop(b);
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_ends_after_the_last_words_is_no_loss() {
    let (mut a, mut b, mut handles, road) = pair(Duration::from_millis(50));
    a.write_all(b"all").await.unwrap();
    let mut heard = [0; 3];
    b.read_exact(&mut heard).await.unwrap();
    // The answer to it is on its way when the road breaks.
    let waits = timeout(Duration::from_millis(5), b.shutdown()).await;
    assert!(waits.is_err());
    let mut rest = Vec::new();
    let read = async {
        sleep(Duration::from_millis(60)).await;
        road.cut();
    };
    let (_, ended) = tokio::join!(read, a.read_to_end(&mut rest));
    ended.unwrap();
    let began = Instant::now();
    a.shutdown().await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(100));
    let event = timeout(Duration::from_secs(20), handles.a.next_event()).await;
    assert!(!matches!(event, Ok(Some(LinkEvent::Lost(..)))), "{event:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_said_before_a_lane_broke_is_heard() {
    let (mut a, mut b, handles, road) = pair(QUICK);
    a.write_all(b"last words").await.unwrap();
    a.flush().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    drop(a);
    drop(handles);
    let mut heard = Vec::new();
    assert!(b.read_to_end(&mut heard).await.is_err());
    assert_eq!(heard, b"last words");
    drop(road);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_costs_16_mib_and_no_more() {
    let (mut a, b, handles, _road) = pair(Duration::ZERO);
    let block = vec![7; 100_000];
    let mut taken = 0;
    while let Ok(some) = timeout(Duration::from_secs(5), a.write(&block)).await {
        taken += some.unwrap();
    }
    assert!(taken < 1 << 20, "{taken} bytes: nobody read them");
    // Nor is the lane that nobody reads silent.
    assert_eq!(handles.b.lane_ids(), [AttemptId(1)]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(
        (handles.a.lane_ids(), handles.b.lane_ids()),
        (vec![AttemptId(1)], vec![AttemptId(1)])
    );
    drop(b);
}

#[tokio::test(start_paused = true)]
async fn noise_on_a_lane_closes_that_lane_alone() {
    let (a, b, mut handles, _road) = pair(QUICK);
    let event = both_talk(a, b, 500_000, async {
        sleep(Duration::from_millis(50)).await;
        let (lane, mut stranger) = duplex(1000);
        handles.a.add_stream(AttemptId(9), lane, None);
        stranger
            .write_all(&[0, 0, 0, 9, 6, 255, 0, 0, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        let event = handles.a.next_event().await;
        (event, stranger)
    })
    .await
    .0;
    assert_eq!(
        event,
        Some(LinkEvent::Lost(AttemptId(9), AttemptError::Closed))
    );
}

#[tokio::test]
async fn a_transfer_over_lanes_that_come_and_break() {
    let desk = tempfile::TempDir::new().unwrap();
    let (file, out) = (desk.path().join("noise.bin"), desk.path().join("out"));
    let content = noise(24 << 20, 3);
    std::fs::write(&file, &content).unwrap();
    let source = Source::paths(vec![file], SourceOptions::default()).unwrap();
    let sink = Sink::folder(out.clone(), SinkOptions::default()).unwrap();
    let (a, b, handles, road) = pair(Duration::ZERO);
    let yes = |_| async { true };
    let transfer = async {
        tokio::join!(
            transfer::send(a, source, Control::new()),
            transfer::receive(b, sink, yes, Control::new())
        )
    };
    let lanes = async {
        let mut roads = vec![road];
        for attempt in 2..1000 {
            sleep(Duration::from_millis(15)).await;
            if attempt % 3 == 0 {
                roads[roads.len() - 1].cut();
            }
            roads.push(handles.add(attempt, Duration::ZERO));
        }
    };
    let (sent, received) = tokio::select! {
        both = transfer => both,
        () = lanes => panic!("no end"),
    };
    sent.unwrap();
    received.unwrap();
    assert!(std::fs::read(out.join("noise.bin")).unwrap() == content);
    assert!(
        handles
            .b
            .stats()
            .iter()
            .filter(|lane| lane.received > 0)
            .count()
            > 3
    );
}

#[tokio::test]
async fn a_cancel_reaches_the_other_side() {
    let desk = tempfile::TempDir::new().unwrap();
    let file = desk.path().join("noise.bin");
    std::fs::write(&file, noise(1 << 20, 3)).unwrap();
    let source = Source::paths(vec![file], SourceOptions::default()).unwrap();
    let sink = Sink::folder(desk.path().join("out"), SinkOptions::default()).unwrap();
    let (a, b, _handles, _road) = pair(QUICK);
    let control = Control::new();
    let cancel = control.clone();
    let asked = move |_| async move {
        cancel.cancel();
        std::future::pending().await
    };
    let (sent, received) = tokio::join!(
        transfer::send(a, source, control),
        transfer::receive(b, sink, asked, Control::new())
    );
    assert!(
        matches!(sent, Err(TransferError::CancelledLocally)),
        "{sent:?}"
    );
    assert!(
        matches!(received, Err(TransferError::CancelledByPeer { .. })),
        "{received:?}"
    );
}
