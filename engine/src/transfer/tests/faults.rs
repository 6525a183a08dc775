//! Transfers that end early: both sides learn why, and nothing half remains.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use proptest::prelude::*;
use rdv_proto::wire::bulk::{Accept, BulkRole, FrameType};
use tokio::io::ReadBuf;

use super::raw::Raw;
use super::*;

/// A stream that breaks after so many bytes were read from it.
pub(super) struct Cut<S> {
    pub(super) stream: S,
    pub(super) left: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Cut<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()));
        }
        let most = out.remaining().min(self.left);
        let mut part = ReadBuf::new(out.initialize_unfilled_to(most));
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        self.left -= read;
        out.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cut<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.left == 0 {
            return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Whole files under their names, and nothing else.
fn only_whole_files(desk: &Desk, sizes: &[(String, usize, u64)]) {
    for name in desk.arrived() {
        let file = sizes.iter().find(|(known, ..)| *known == name);
        match file {
            Some((_, len, seed)) => assert_eq!(
                fs::read(desk.out().join(&name)).unwrap(),
                noise(*len, *seed),
                "{name}"
            ),
            None => assert_eq!(name, "top/"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn s_16_a_link_lost_at_any_byte_leaves_whole_files_only(cut_at in 0usize..900_000, receiver_side in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let desk = Desk::new();
            let files: Vec<_> = [0, 1, 70_000, 300_000, 5, 400_000, 9000].iter().enumerate().map(|(n, len)| (format!("top/{n}"), *len, n as u64)).collect();
            for (name, len, seed) in &files {
                desk.write(name, noise(*len, *seed));
            }
            let (a, b) = stream();
            // The sender reads little: acks only.
            let (left_a, left_b) = if receiver_side { (usize::MAX, cut_at) } else { (cut_at % 150, usize::MAX) };
            let (a, b) = (Cut { stream: a, left: left_a }, Cut { stream: b, left: left_b });
            let (sent, received) = transfer_over(a, b, desk.source(&["top"]), desk.sink()).await;
            only_whole_files(&desk, &files);
            if received.is_ok() {
                assert_eq!(listing(&desk.out()), listing(&desk.root.path().join("in")));
            } else {
                assert!(matches!(received, Err(TransferError::LinkLost(_))), "{received:?}");
            }
            if sent.is_ok() {
                assert!(received.is_ok());
            }
        });
    }
}

#[tokio::test]
async fn a_decline_is_known_on_both_sides_and_makes_nothing() {
    let desk = Desk::new();
    desk.write("a", "x");
    let (a, b) = stream();
    let (sent, received) = tokio::join!(
        send(a, desk.source(&["a"]), Control::new()),
        receive(b, desk.sink(), async |_| false, Control::new())
    );
    assert!(matches!(sent, Err(TransferError::Declined)), "{sent:?}");
    assert!(
        matches!(received, Err(TransferError::Declined)),
        "{received:?}"
    );
    assert!(!desk.out().exists());
}

/// The writing thread tidies up on its own, if the transfer was dropped or time jumps.
async fn tidied(desk: &Desk) {
    while desk
        .arrived()
        .iter()
        .any(|name| name.ends_with(".rdv-part"))
    {
        tokio::task::yield_now().await;
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    Sender,
    Receiver,
}

/// Cancels on one side as soon as it is in `phase` and has moved `bytes`.
async fn cancelled_in(who: Who, phase: Phase, bytes: u64) -> (Desk, Ended, Ended) {
    let desk = Desk::new();
    desk.write("top/a", noise(1000, 1));
    desk.write("top/big", noise(30_000_000, 2));
    let (a, b) = stream();
    let (sender, receiver) = (Control::new(), Control::new());
    let watched = if who == Who::Sender {
        sender.clone()
    } else {
        receiver.clone()
    };
    let cancel = async {
        watched.phase().wait_for(|now| *now == phase).await.unwrap();
        while watched.progress().bytes < bytes {
            tokio::task::yield_now().await;
        }
        watched.cancel();
    };
    let think = async move |_| {
        if phase == Phase::Asking {
            std::future::pending::<()>().await;
        }
        true
    };
    let started = std::time::Instant::now();
    let (sent, received, ()) = tokio::join!(
        send(a, desk.source(&["top"]), sender),
        receive(b, desk.sink(), think, receiver),
        cancel
    );
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{who:?} {phase:?} took {:?}",
        started.elapsed()
    );
    (desk, sent, received)
}

#[tokio::test]
async fn a_cancel_ends_both_sides_at_every_stage() {
    for (who, phase, bytes) in [
        (Who::Sender, Phase::Asking, 0),
        (Who::Receiver, Phase::Asking, 0),
        (Who::Sender, Phase::Moving, 1),
        (Who::Receiver, Phase::Moving, 1),
        (Who::Sender, Phase::Moving, 5_000_000),
        (Who::Receiver, Phase::Moving, 5_000_000),
    ] {
        let (desk, sent, received) = cancelled_in(who, phase, bytes).await;
        let (ours, theirs) = if who == Who::Sender {
            (sent, received)
        } else {
            (received, sent)
        };
        assert!(
            matches!(ours, Err(TransferError::CancelledLocally)),
            "{who:?} {phase:?}: {ours:?}"
        );
        assert!(
            matches!(
                theirs,
                Err(TransferError::CancelledByPeer {
                    reason: AbortReason::USER,
                    ..
                })
            ),
            "{who:?} {phase:?}: {theirs:?}"
        );
        only_whole_files(&desk, &[("top/a".into(), 1000, 1)]);
    }
}

#[tokio::test]
async fn a_cancel_by_another_way_ends_this_side_as_cancelled_by_the_peer() {
    let desk = Desk::new();
    desk.write("a", "x");
    let (a, _held) = stream();
    let control = Control::new();
    control.cancel_by_peer();
    control.cancel();
    let sent = send(a, desk.source(&["a"]), control).await;
    assert!(
        matches!(sent, Err(TransferError::CancelledByPeer { .. })),
        "{sent:?}"
    );
}

#[tokio::test]
async fn a_receiver_that_is_dropped_half_way_leaves_whole_files_only() {
    let desk = Desk::new();
    desk.write("top/a", noise(1000, 1));
    desk.write("top/big", noise(20_000_000, 2));
    let (a, b) = stream();
    let control = Control::new();
    let half = async {
        tokio::select! {
            ended = receive(b, desk.sink(), yes, control.clone()) => panic!("{ended:?}"),
            () = async { while control.progress().bytes < 2_000_000 { tokio::task::yield_now().await } } => {}
        }
    };
    let (sent, ()) = tokio::join!(send(a, desk.source(&["top"]), Control::new()), half);
    assert!(matches!(sent, Err(TransferError::LinkLost(_))), "{sent:?}");
    tidied(&desk).await;
    only_whole_files(&desk, &[("top/a".into(), 1000, 1)]);
}

fn twin(path: &Path) -> PathBuf {
    let twin = path.with_extension("twin");
    fs::write(&twin, noise(400_000, 9)).unwrap();
    let time = path.metadata().unwrap().modified().unwrap();
    fs::File::options()
        .write(true)
        .open(&twin)
        .unwrap()
        .set_modified(time)
        .unwrap();
    twin
}

#[tokio::test]
async fn f_8_a_file_that_changes_is_not_sent() {
    type Change = fn(&Path);
    let changes: [Change; 6] = [
        |path| fs::write(path, noise(400_001, 2)).unwrap(),
        |path| fs::write(path, noise(399_999, 2)).unwrap(),
        |path| {
            fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(std::time::UNIX_EPOCH)
                .unwrap()
        },
        |path| fs::remove_file(path).unwrap(),
        // Another file of the same size and time, and a link to it.
        |path| fs::rename(twin(path), path).unwrap(),
        |path| {
            let twin = twin(path);
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink(twin, path).unwrap();
        },
    ];
    for change in changes {
        let desk = Desk::new();
        let path = desk.write("d/a", noise(400_000, 1));
        let (a, b) = stream();
        let meanwhile = async |_| {
            change(&path);
            true
        };
        let (sent, received) = tokio::join!(
            send(a, desk.source(&["d"]), Control::new()),
            receive(b, desk.sink(), meanwhile, Control::new())
        );
        assert!(
            matches!(sent, Err(TransferError::SourceChanged { .. })),
            "{sent:?}"
        );
        assert!(
            matches!(
                received,
                Err(TransferError::PeerFailed {
                    reason: AbortReason::SOURCE_CHANGED,
                    ..
                })
            ),
            "{received:?}"
        );
        assert!(desk.arrived().is_empty(), "{:?}", desk.arrived());
    }
}

#[tokio::test]
async fn f_8_sources_are_checked_at_once() {
    let desk = Desk::new();
    let paths =
        |name: &str| Source::paths(vec![desk.input(name)], SourceOptions::default()).map(|_| ());
    assert!(matches!(
        paths("missing"),
        Err(SourceError::NotFound { .. })
    ));
    assert!(matches!(
        Source::paths(vec![], SourceOptions::default()),
        Err(SourceError::Nothing)
    ));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        desk.input("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert!(matches!(paths("pipe"), Err(SourceError::NotAFile { .. })));
}

#[tokio::test]
async fn f_1_names_that_cannot_be_sent_are_found_before_anything_goes_out() {
    use std::os::unix::ffi::OsStrExt;
    let desk = Desk::new();
    desk.write("top/fine", "x");
    desk.write("top/not:fine", "x");
    desk.write("top/trailing.", "x");
    fs::write(
        desk.input("top")
            .join(std::ffi::OsStr::from_bytes(b"bytes\xff")),
        "x",
    )
    .unwrap();
    // Decomposed on disk, composed on the wire.
    desk.write("top/e\u{301}", "x");
    let (a, mut b) = stream();
    let (sent, wire) = tokio::join!(send(a, desk.source(&["top"]), Control::new()), async {
        let mut raw = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut b, &mut raw)
            .await
            .unwrap();
        raw
    });
    let Err(TransferError::Source(SourceError::BadNames { names })) = sent else {
        panic!("{sent:?}")
    };
    assert_eq!(names.len(), 3);
    assert!(!String::from_utf8_lossy(&wire).contains("fine"));

    let options = SourceOptions {
        skip_bad_names: true,
        exclude: vec!["fine".into()],
    };
    let source = Source::paths(vec![desk.input("top")], options).unwrap();
    let (sent, received) = transfer(source, desk.sink()).await;
    sent.unwrap();
    received.unwrap();
    assert_eq!(desk.arrived(), ["top/", "top/\u{e9}"]);
}

/// A file system of 4 MiB, if this user may mount one.
pub(super) struct SmallDisk(pub(super) PathBuf);

impl SmallDisk {
    pub(super) fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "rdv-test"])
            .arg(at)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("SKIPPED: no right to mount a small disk");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).output();
    }
}

#[tokio::test]
async fn s_19_a_full_disk_is_told_before_or_at_once() {
    let desk = Desk::new();
    desk.write("too big", noise(5 << 20, 1));
    desk.write("fits", noise(3 << 20, 2));
    let Some(disk) = SmallDisk::mount(&desk.out()) else {
        return;
    };
    let (sent, received) = transfer(desk.source(&["too big"]), desk.sink()).await;
    assert!(
        matches!(received, Err(TransferError::NoSpace { .. })),
        "{received:?}"
    );
    assert!(
        matches!(
            sent,
            Err(TransferError::PeerFailed {
                reason: AbortReason::NO_SPACE,
                ..
            })
        ),
        "{sent:?}"
    );

    let (a, b) = stream();
    let fill = async |_| {
        fs::write(disk.0.join("filler"), noise(3 << 20, 3)).unwrap();
        true
    };
    let (sent, received) = tokio::join!(
        send(a, desk.source(&["fits"]), Control::new()),
        receive(b, desk.sink(), fill, Control::new())
    );
    let error = received.unwrap_err();
    assert_eq!(error.fault(), Fault::Disk, "{error:?}");
    assert!(
        matches!(
            sent,
            Err(TransferError::PeerFailed {
                reason: AbortReason::NO_SPACE,
                ..
            })
        ),
        "{sent:?}"
    );
    assert_eq!(desk.arrived(), ["filler"]);
}

#[tokio::test]
async fn s_19_a_folder_that_cannot_be_written_is_told() {
    let desk = Desk::new();
    desk.write("a", "x");
    fs::write(desk.out(), "a file where the folder should be").unwrap();
    assert!(matches!(
        Sink::folder(desk.out(), SinkOptions::default()),
        Err(TransferError::Local { .. })
    ));
    fs::remove_file(desk.out()).unwrap();
    let sink = desk.sink();
    let (a, b) = stream();
    let block = async |_| {
        fs::write(desk.out(), "now").unwrap();
        true
    };
    let (sent, received) = tokio::join!(
        send(a, desk.source(&["a"]), Control::new()),
        receive(b, sink, block, Control::new())
    );
    assert!(
        matches!(received, Err(TransferError::Local { .. })),
        "{received:?}"
    );
    assert!(
        matches!(
            sent,
            Err(TransferError::PeerFailed {
                reason: AbortReason::FILE,
                ..
            })
        ),
        "{sent:?}"
    );
}

async fn listed(desk: &Desk) -> Source {
    let mut source = desk.source(&["a"]);
    source.ready().await.unwrap();
    source
}

#[tokio::test(start_paused = true)]
async fn s_29_silence_ends() {
    let desk = Desk::new();
    desk.write("a", noise(1_000_000, 1));

    let (_silent, b) = stream();
    let received = receive(b, desk.sink(), yes, Control::new()).await;
    assert!(
        matches!(received, Err(TransferError::Stalled)),
        "{received:?}"
    );

    // Nobody answers the question. (The walk is over before time begins to jump.)
    let (a, b) = stream();
    let (sent, received) = tokio::join!(
        send(a, listed(&desk).await, Control::new()),
        receive(
            b,
            desk.sink(),
            async |_| std::future::pending().await,
            Control::new()
        )
    );
    assert!(
        matches!(received, Err(TransferError::Unanswered)),
        "{received:?}"
    );
    assert!(
        matches!(
            sent,
            Err(TransferError::CancelledByPeer {
                reason: AbortReason::TIMEOUT,
                ..
            })
        ),
        "{sent:?}"
    );

    // A receiver that never answers at all.
    let (a, b) = stream();
    let mut receiver = Raw(b);
    let silent = async {
        receiver.hello(BulkRole::RECEIVER).await;
        receiver.abort().await
    };
    let (sent, reason) = tokio::join!(send(a, listed(&desk).await, Control::new()), silent);
    assert!(matches!(sent, Err(TransferError::Unanswered)), "{sent:?}");
    assert_eq!(reason, Some(AbortReason::TIMEOUT));

    // One that says yes and then takes nothing.
    let (a, b) = stream();
    let mut receiver = Raw(b);
    let stuck = async {
        receiver.hello(BulkRole::RECEIVER).await;
        receiver.until(FrameType::MANIFEST_END).await.unwrap();
        receiver.put(FrameType::ACCEPT, &Accept::default()).await;
    };
    let (sent, ()) = tokio::join!(send(a, listed(&desk).await, Control::new()), stuck);
    assert!(matches!(sent, Err(TransferError::Stalled)), "{sent:?}");

    // A sender that offers, hears yes, and sends nothing.
    let (a, b) = stream();
    let mut sender = Raw(a);
    let stuck = async {
        sender.offer(&[("a", 3)]).await;
        sender.until(FrameType::ACCEPT).await.unwrap();
        sender.abort().await
    };
    let (received, reason) = tokio::join!(receive(b, desk.sink(), yes, Control::new()), stuck);
    assert!(
        matches!(received, Err(TransferError::Stalled)),
        "{received:?}"
    );
    assert_eq!(reason, Some(AbortReason::STALLED));
    tidied(&desk).await;
    assert!(desk.arrived().is_empty());
}

#[tokio::test(start_paused = true)]
async fn s_29_signs_of_life_are_no_progress() {
    for trickle in [false, true] {
        let desk = Desk::new();
        let (a, b) = stream();
        let mut sender = Raw(a);
        let dawdle = async move {
            sender.offer(&[("a", 100_000_000)]).await;
            sender.until(FrameType::ACCEPT).await.unwrap();
            for n in 0.. {
                tokio::time::sleep(Duration::from_secs(20)).await;
                if trickle {
                    sender.block(n, |b| super::raw::piece(b, 0, n, b"x")).await;
                } else {
                    sender.bytes(&[0, 0, 0, 9, 3, 0, 0, 0, 0, 0, 0, 0, 0]).await;
                }
            }
        };
        let received = tokio::select! {
            received = receive(b, desk.sink(), yes, Control::new()) => received,
            () = dawdle => unreachable!("it never ends by itself"),
        };
        assert!(
            matches!(received, Err(TransferError::Stalled)),
            "{received:?}"
        );
        tidied(&desk).await;
        assert!(desk.arrived().is_empty());
    }
}

/// The clock stands still while this waits: others are at work on the disk.
pub(super) async fn still<T>(work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::task::yield_now() => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s_29_a_slow_line_is_no_silence() {
    // 1,500 bytes a second: a block takes minutes.
    let desk = Desk::new();
    desk.write("a", noise(600_000, 1));
    let (a, far_a) = duplex(2000);
    let (far_b, b) = stream();
    let line = async {
        let (mut from_sender, mut to_sender) = tokio::io::split(far_a);
        let (mut from_receiver, mut to_receiver) = tokio::io::split(far_b);
        let there = async {
            let mut some = vec![0; 1500];
            let mut hurried = 4000_usize;
            loop {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let n = still(from_sender.read(&mut some)).await.unwrap_or(0);
                if n == 0 || to_receiver.write_all(&some[..n]).await.is_err() {
                    return;
                }
                // The offer and its answer may pass.
                hurried = hurried.saturating_sub(n);
                if hurried == 0 {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        };
        let back = tokio::io::copy(&mut from_receiver, &mut to_sender);
        let _ = tokio::join!(there, back);
        std::future::pending::<()>().await;
    };
    let source = listed(&desk).await;
    let both = async {
        tokio::join!(
            send(a, source, Control::new()),
            receive(b, desk.sink(), yes, Control::new())
        )
    };
    let (sent, received) = tokio::select! {
        both = both => both,
        () = line => unreachable!("it carries until both are done"),
    };
    assert!(sent.is_ok() && received.is_ok(), "{sent:?} {received:?}");
    assert_eq!(desk.arrived(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn s_29_a_sender_that_pings_and_does_not_listen_holds_nobody_up() {
    for answer in [None, Some(true), Some(false)] {
        let desk = Desk::new();
        let (a, b) = stream();
        let mut sender = Raw(a);
        let nag = async {
            sender.offer(&[("a", 3)]).await;
            let ping = [0, 0, 0, 9, 3, 0, 0, 0, 0, 0, 0, 0, 0];
            while tokio::io::AsyncWriteExt::write_all(&mut sender.0, &ping)
                .await
                .is_ok()
            {
                // The clock only moves on when everybody waits.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            std::future::pending::<()>().await;
        };
        let consent = async move |_| match answer {
            Some(answer) => {
                tokio::time::sleep(Duration::from_secs(5)).await;
                answer
            }
            None => std::future::pending().await,
        };
        let received = receive(b, desk.sink(), consent, Control::new());
        let received = tokio::select! {
            received = tokio::time::timeout(Duration::from_secs(600), received) => received,
            () = nag => unreachable!("it never ends by itself"),
        };
        let error = received.expect("an end in time").unwrap_err();
        assert!(
            match answer {
                None => matches!(error, TransferError::Unanswered),
                Some(true) => matches!(error, TransferError::Stalled),
                Some(false) => matches!(error, TransferError::Declined),
            },
            "{answer:?}: {error:?}"
        );
        tidied(&desk).await;
        assert!(desk.arrived().is_empty());
    }
}
