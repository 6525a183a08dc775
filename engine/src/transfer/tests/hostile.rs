//! Peers that lie, and folders with traps in them: refused, and nothing outside the folder is touched.

use std::os::unix::fs::symlink;

use prost::Message;
use rdv_proto::wire::bulk::{Ack, BulkRole, Done, End, FrameType};

use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

use super::raw::{Raw, piece};
use super::*;

async fn never(_: Offer) -> bool {
    panic!("nobody is to be asked about this")
}

#[tokio::test]
async fn f_1_names_that_lie_are_refused_before_anybody_is_asked() {
    for name in [
        "../../x",
        "/etc/x",
        "C:\\x",
        "a/../../x",
        "\u{1b}[2Jx",
        "x\u{202e}gpj.exe",
        "nul",
        "e\u{301}",
        "x.rdv-part",
        "",
    ] {
        let desk = Desk::new();
        let (a, b) = stream();
        let mut sender = Raw(a);
        let lie = async move {
            sender.offer(&[("fine", 1), (name, 1)]).await;
            sender.abort().await
        };
        let (reason, received) = tokio::join!(lie, receive(b, desk.sink(), never, Control::new()));
        let error = received.unwrap_err();
        assert!(
            matches!(error, TransferError::BadName(_)),
            "{name:?}: {error:?}"
        );
        assert_eq!(
            (error.fault(), reason),
            (Fault::Peer, Some(AbortReason::NAME))
        );
        assert!(
            !error
                .to_string()
                .contains(|c: char| c.is_control() || c == '\u{202e}'),
            "{error}"
        );
        assert_eq!(listing(desk.root.path()), ["in/"]);
    }
}

#[tokio::test]
async fn f_2_colliding_names_are_refused() {
    for names in [["a", "A"], ["a", "a/b"], ["ß", "SS"]] {
        let desk = Desk::new();
        let (a, b) = stream();
        let mut sender = Raw(a);
        let lie = async move {
            sender.offer(&[(names[0], 1), (names[1], 1)]).await;
            sender.abort().await
        };
        let (reason, received) = tokio::join!(lie, receive(b, desk.sink(), never, Control::new()));
        assert!(
            matches!(received, Err(TransferError::BadName(_))),
            "{names:?}"
        );
        assert_eq!(reason, Some(AbortReason::NAME));
    }
}

/// A folder of somebody else, and a file in it.
fn victim(desk: &Desk) -> PathBuf {
    let outside = desk.root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "precious").unwrap();
    outside
}

fn untouched(desk: &Desk) {
    let outside = desk.root.path().join("outside");
    assert_eq!(listing(&outside), ["file"]);
    assert_eq!(
        fs::read_to_string(outside.join("file")).unwrap(),
        "precious"
    );
}

#[tokio::test]
async fn f_3_links_in_the_output_folder_are_refused() {
    for if_exists in [
        IfExists::Rename,
        IfExists::Overwrite,
        IfExists::Skip,
        IfExists::Fail,
    ] {
        for (link, to) in [
            ("top", ""),
            ("a", "file"),
            (".a.rdv-part", "file"),
            ("a", "gone"),
        ] {
            let desk = Desk::new();
            let outside = victim(&desk);
            desk.write("top/file", "evil");
            desk.write("a", "evil");
            fs::create_dir(desk.out()).unwrap();
            symlink(outside.join(to), desk.out().join(link)).unwrap();
            let (a, b) = stream();
            let sink = desk.sink_with(SinkOptions {
                if_exists,
                ..Default::default()
            });
            let (sent, received) = tokio::join!(
                send(a, desk.source(&["top", "a"]), Control::new()),
                receive(b, sink, never, Control::new())
            );
            assert!(
                matches!(received, Err(TransferError::Link { .. })),
                "{link} {if_exists:?}: {received:?}"
            );
            assert!(matches!(
                sent,
                Err(TransferError::PeerFailed {
                    reason: AbortReason::FILE,
                    ..
                })
            ));
            untouched(&desk);
            assert_eq!(desk.arrived(), [link]);
        }
    }
}

#[tokio::test]
async fn f_3_a_link_planted_while_the_user_thinks_is_refused() {
    for (if_exists, link, to) in [
        (IfExists::Rename, "top", ""),
        (IfExists::Rename, "a", "file"),
        (IfExists::Rename, ".a.rdv-part", "file"),
        (IfExists::Overwrite, "top", ""),
        (IfExists::Overwrite, "top/sub", ""),
        (IfExists::Overwrite, "top/sub/file", "../../outside/file"),
        (IfExists::Overwrite, "a", "file"),
    ] {
        let desk = Desk::new();
        let outside = victim(&desk);
        desk.write("top/sub/file", "evil");
        desk.write("a", "evil");
        let planted = desk.out().join(link);
        let plant = async |_: Offer| {
            fs::create_dir_all(planted.parent().unwrap()).unwrap();
            symlink(outside.join(to), &planted).unwrap();
            true
        };
        let (a, b) = stream();
        let sink = desk.sink_with(SinkOptions {
            if_exists,
            ..Default::default()
        });
        let (sent, received) = tokio::join!(
            send(a, desk.source(&["top", "a"]), Control::new()),
            receive(b, sink, plant, Control::new())
        );
        assert!(
            matches!(received, Err(TransferError::Link { .. })),
            "{link} {if_exists:?}: {received:?}"
        );
        assert!(sent.is_err());
        untouched(&desk);
        assert!(
            desk.arrived()
                .iter()
                .all(|name| name == link || !name.ends_with(".rdv-part")),
            "{:?}",
            desk.arrived()
        );
    }
}

#[tokio::test]
async fn f_4_a_file_that_somebody_is_receiving_is_left_to_them() {
    let desk = Desk::new();
    desk.write("a", "mine");
    fs::create_dir(desk.out()).unwrap();
    let theirs = fs::File::create(desk.out().join(".a.rdv-part")).unwrap();
    theirs.lock().unwrap();
    let (sent, received) = transfer(desk.source(&["a"]), desk.sink()).await;
    assert!(
        matches!(received, Err(TransferError::Busy { .. })),
        "{received:?}"
    );
    assert!(sent.is_err());
    assert_eq!(desk.arrived(), [".a.rdv-part"]);
}

async fn lie_about_data(
    lie: impl AsyncFnOnce(&mut Raw),
) -> (TransferError, Option<AbortReason>, Vec<String>) {
    let desk = Desk::new();
    let (a, b) = stream();
    let mut sender = Raw(a);
    let lying = async move {
        sender.offer(&[("a", 3), ("b", 3)]).await;
        sender.until(FrameType::ACCEPT).await.unwrap();
        lie(&mut sender).await;
        sender.abort().await
    };
    let (reason, received) = tokio::join!(lying, receive(b, desk.sink(), yes, Control::new()));
    (received.unwrap_err(), reason, desk.arrived())
}

#[tokio::test]
async fn s_22_data_that_breaks_the_announced_sizes_is_refused() {
    let hash = |bytes: &[u8]| *blake3::hash(bytes).as_bytes();
    let (error, reason, arrived) =
        lie_about_data(async |s| s.block(0, |b| piece(b, 0, 0, b"four")).await).await;
    assert!(matches!(error, TransferError::Protocol(_)), "{error:?}");
    assert_eq!((reason, arrived.len()), (Some(AbortReason::PROTOCOL), 0));

    let short = async |s: &mut Raw| {
        s.block(0, |b| {
            piece(b, 0, 0, b"ab");
            b.hash(0, &hash(b"ab"));
        })
        .await;
    };
    let (error, _, arrived) = lie_about_data(short).await;
    assert!(matches!(error, TransferError::Protocol(_)), "{error:?}");
    assert_eq!(arrived.len(), 0);

    let early_end = async |s: &mut Raw| {
        s.block(0, |b| piece(b, 0, 0, b"ab")).await;
        s.put(FrameType::END, &End { blocks: 1 }).await;
    };
    let (error, _, arrived) = lie_about_data(early_end).await;
    assert!(matches!(error, TransferError::Protocol(_)), "{error:?}");
    assert_eq!(arrived.len(), 0);
}

#[tokio::test]
async fn s_23_a_wrong_hash_leaves_nothing_under_the_name() {
    let wrong = async |s: &mut Raw| {
        s.block(0, |b| {
            piece(b, 0, 0, b"abc");
            b.hash(0, blake3::hash(b"abc").as_bytes());
            piece(b, 1, 0, b"xyz");
            b.hash(1, blake3::hash(b"xyZ").as_bytes());
        })
        .await;
    };
    let (error, reason, arrived) = lie_about_data(wrong).await;
    assert!(
        matches!(&error, TransferError::Verification { name } if name == "b"),
        "{error:?}"
    );
    assert_eq!(reason, Some(AbortReason::VERIFICATION));
    assert!(arrived.is_empty() || arrived == ["a"], "{arrived:?}");
}

#[tokio::test]
async fn garbage_is_no_transfer() {
    let desk = Desk::new();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0, 0, 0, 0, 0],
        &[0, 0, 0, 5, 0x25, 1, 2, 3, 4],
        &[0, 0, 0, 4, 0x20, 0xFF, 0xFF, 0xFF],
    ] {
        let (a, b) = stream();
        let mut sender = Raw(a);
        let noise = async move {
            sender.bytes(garbage).await;
            sender.abort().await
        };
        let (reason, received) =
            tokio::join!(noise, receive(b, desk.sink(), never, Control::new()));
        assert!(
            matches!(received, Err(TransferError::Protocol(_))),
            "{received:?}"
        );
        assert_eq!(reason, Some(AbortReason::PROTOCOL));
    }
}

#[tokio::test]
async fn a_receiver_that_confirms_what_it_did_not_get_is_found_out() {
    let desk = Desk::new();
    desk.write("a", noise(500_000, 1));
    for (kind, payload) in [
        (FrameType::DONE, Done {}.encode_to_vec()),
        (
            FrameType::ACK,
            Ack {
                blocks: 99,
                files: vec![],
            }
            .encode_to_vec(),
        ),
        (
            FrameType::ACK,
            Ack {
                blocks: 0,
                files: vec![7],
            }
            .encode_to_vec(),
        ),
        (FrameType::DATA, vec![0; 9]),
        (FrameType(0x77), vec![]),
    ] {
        let (a, b) = stream();
        let mut receiver = Raw(b);
        let lying = async move {
            receiver.hello(BulkRole::RECEIVER).await;
            receiver.until(FrameType::MANIFEST_END).await.unwrap();
            receiver
                .put(FrameType::ACCEPT, &rdv_proto::wire::bulk::Accept::default())
                .await;
            receiver
                .bytes(&rdv_proto::wire::bulk::frame(kind, &payload).unwrap())
                .await;
            receiver.abort().await
        };
        let (sent, reason) = tokio::join!(send(a, desk.source(&["a"]), Control::new()), lying);
        assert!(
            matches!(sent, Err(TransferError::Protocol(_))),
            "{kind:?} {sent:?}"
        );
        assert_eq!(reason, Some(AbortReason::PROTOCOL));
    }
}

#[tokio::test]
async fn two_of_one_kind_find_each_other_out() {
    let desk = Desk::new();
    desk.write("a", "x");
    let (a, b) = stream();
    let (one, two) = tokio::join!(
        send(a, desk.source(&["a"]), Control::new()),
        send(b, desk.source(&["a"]), Control::new())
    );
    assert!(
        matches!(
            (&one, &two),
            (
                Err(TransferError::Incompatible(_)),
                Err(TransferError::Incompatible(_))
            )
        ),
        "{one:?} {two:?}"
    );
    let (a, b) = stream();
    let (one, two) = tokio::join!(
        receive(a, desk.sink(), never, Control::new()),
        receive(b, desk.sink(), never, Control::new())
    );
    assert!(
        matches!(
            (&one, &two),
            (
                Err(TransferError::Incompatible(_)),
                Err(TransferError::Incompatible(_))
            )
        ),
        "{one:?} {two:?}"
    );
}

/// Pings without end, as fast as they are taken; what comes back is thrown away.
async fn flood(stream: DuplexStream, under_way: oneshot::Sender<()>) {
    let (mut read, mut write) = tokio::io::split(stream);
    let pings = [0, 0, 0, 9, 3, 0, 0, 0, 0, 0, 0, 0, 0].repeat(10_000);
    let nag = async {
        // More than the stream holds: the other end is busy with them.
        for _ in 0..20 {
            if write.write_all(&pings).await.is_err() {
                return;
            }
        }
        let _ = under_way.send(());
        while write.write_all(&pings).await.is_ok() {}
    };
    let mut sink = tokio::io::sink();
    let _ = tokio::join!(nag, tokio::io::copy(&mut read, &mut sink));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_29_a_flood_of_pings_does_not_keep_a_cancel_back() {
    for we_send in [true, false] {
        let desk = Desk::new();
        desk.write("a", noise(1000, 1));
        let (a, b) = duplex(1 << 20);
        let mut peer = Raw(b);
        let control = Control::new();
        let ours = control.clone();
        let (source, sink) = (desk.source(&["a"]), desk.sink());
        let running = tokio::spawn(async move {
            match we_send {
                true => send(a, source, ours).await,
                false => receive(a, sink, yes, ours).await,
            }
        });
        if we_send {
            peer.hello(BulkRole::RECEIVER).await;
        } else {
            peer.offer(&[("a", 3)]).await;
            peer.until(FrameType::ACCEPT).await.unwrap();
        }
        let (under_way, begun) = oneshot::channel();
        let flood = tokio::spawn(flood(peer.0, under_way));
        begun.await.expect("a flood");
        control.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(20), running).await;
        flood.abort();
        let ended = ended.expect("an end in time").unwrap();
        assert!(
            matches!(ended, Err(TransferError::CancelledLocally)),
            "{we_send}: {ended:?}"
        );
    }
}
