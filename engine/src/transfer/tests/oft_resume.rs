//! Going on with a transfer that broke: as receiver with what is on disk, as sender at any offset. What does not belong together is never joined (S-18).

use rdv_proto::transfer::oft::ReceiveTerms;
use rdv_proto::wire::oft::{Checksum, Header, Kind};
use rdv_proto::wire::text::ScreenName;

use super::super::oft::{self, Outgoing, read_header};
use super::old::*;
use super::*;

const LEN: usize = 100_003;

fn resuming(desk: &Desk) -> Sink {
    desk.sink_with(SinkOptions {
        if_exists: IfExists::Resume,
        ..Default::default()
    })
}

fn one_of(desk_name: &str) -> ReceiveTerms {
    one(desk_name, LEN as u64)
}

/// An old client that begins to send `content` and goes after `sent` bytes.
async fn broken(desk: &Desk, sink: Sink, prompt: &Header, content: &[u8], sent: usize) -> Ended {
    let (a, b) = stream();
    let mut old = Old(a);
    let sender = async {
        old.say(prompt).await;
        old.hear(Kind::ACK).await.unwrap();
        old.bytes(&content[..sent]).await;
        drop(old);
    };
    let control = Control::new();
    let (received, ()) = tokio::join!(receive_over(b, sink, one_of("f"), &control), sender);
    assert!(
        matches!(received, Err(TransferError::LinkLost(_))),
        "{received:?}"
    );
    assert!(!desk.out().join("f").exists());
    received
}

/// What an old client hears that offers the file again.
enum Heard {
    Ack,
    Resume(u32, Checksum),
}

async fn offered_again(desk: &Desk, peer: &str, terms: ReceiveTerms, prompt: &Header) -> Heard {
    let (a, mut b) = stream();
    let mut old = Old(a);
    let (sink, peer) = (resuming(desk), ScreenName::new(peer).unwrap());
    let control = Control::new();
    let receiver = async {
        let first = read_header(&mut b).await.unwrap();
        oft::receive(b, first, sink, &peer, terms, &control).await
    };
    let sender = async {
        old.say(prompt).await;
        let heard = read_header(&mut old.0).await.unwrap();
        drop(old);
        match heard.kind {
            Kind::ACK => Heard::Ack,
            Kind::RESUME => Heard::Resume(heard.received, heard.received_checksum),
            other => panic!("{other:?}"),
        }
    };
    tokio::join!(receiver, sender).1
}

/// The rest, after the file was offered again and the RESUME was answered with `from`.
async fn went_on(desk: &Desk, prompt: &Header, content: &[u8], from: u32) -> Ended {
    let (a, b) = stream();
    let mut old = Old(a);
    let sender = async {
        old.say(prompt).await;
        let asked = old.hear(Kind::RESUME).await.unwrap();
        assert!(from == 0 || asked.received == from);
        // joscar leaves the checksum that it was asked about when it starts again.
        old.say(&Header {
            received: from,
            received_checksum: asked.received_checksum,
            ..prompt.reply(Kind::RESUME_ACCEPT, COOKIE)
        })
        .await;
        let go = old.hear(Kind::RESUME_ACK).await?;
        assert_eq!(go.received, from);
        old.bytes(&content[from as usize..]).await;
        old.hear(Kind::DONE).await
    };
    let control = Control::new();
    let (received, done) = tokio::join!(
        receive_over(b, resuming(desk), one_of("f"), &control),
        sender
    );
    if received.is_ok() {
        let done = done.unwrap();
        assert_eq!(
            (done.received as usize, done.received_checksum),
            (LEN, checksum(content))
        );
    }
    received
}

const KEPT: [&str; 2] = [".f.rdv-part", ".f.rdv-resume"];

#[tokio::test]
async fn f_9_a_broken_transfer_goes_on_where_it_was() {
    for sent in [1, 4096, 30_001, LEN] {
        for mtime in [0, 0x6600_0000] {
            let desk = Desk::new();
            let content = noise(LEN, 1);
            let prompt = Header {
                mtime,
                ..prompt(&["f"], &content)
            };
            // Of the whole there is nothing to break, except that it is not all that was promised.
            let cut = sent.min(LEN - 1);
            broken(&desk, resuming(&desk), &prompt, &content, cut)
                .await
                .unwrap_err();
            assert_eq!(desk.arrived(), KEPT, "S-17");
            assert_eq!(mode(&desk.out().join(KEPT[0])), 0o600);

            let heard = offered_again(&desk, "alice", one_of("f"), &prompt).await;
            let Heard::Resume(held, sum) = heard else {
                panic!("from the start")
            };
            assert_eq!((held as usize, sum), (cut, checksum(&content[..cut])));
            assert_eq!(desk.arrived(), KEPT, "broken twice");

            let received = went_on(&desk, &prompt, &content, held).await.unwrap();
            assert_eq!((received.files, received.bytes as usize), (1, LEN - cut));
            assert_eq!(desk.arrived(), ["f"]);
            assert_eq!(fs::read(desk.out().join("f")).unwrap(), content);
        }
    }
}

#[tokio::test]
async fn f_9_a_transfer_may_break_twice() {
    let desk = Desk::new();
    let content = noise(LEN, 1);
    let prompt = prompt(&["f"], &content);
    broken(&desk, resuming(&desk), &prompt, &content, 10_001)
        .await
        .unwrap_err();

    let (a, b) = stream();
    let mut old = Old(a);
    let again = async {
        old.say(&prompt).await;
        let asked = old.hear(Kind::RESUME).await.unwrap();
        old.say(&Header {
            kind: Kind::RESUME_ACCEPT,
            ..asked
        })
        .await;
        old.hear(Kind::RESUME_ACK).await.unwrap();
        old.bytes(&content[10_001..50_000]).await;
        drop(old);
    };
    let control = Control::new();
    let (received, ()) = tokio::join!(
        receive_over(b, resuming(&desk), one_of("f"), &control),
        again
    );
    assert!(
        matches!(received, Err(TransferError::LinkLost(_))),
        "{received:?}"
    );
    assert_eq!(desk.arrived(), KEPT);

    went_on(&desk, &prompt, &content, 50_000).await.unwrap();
    assert_eq!(desk.arrived(), ["f"]);
    assert_eq!(fs::read(desk.out().join("f")).unwrap(), content);
}

#[tokio::test]
async fn f_9_a_sender_that_does_not_agree_starts_again() {
    let desk = Desk::new();
    let content = noise(LEN, 1);
    let prompt = prompt(&["f"], &content);
    broken(&desk, resuming(&desk), &prompt, &content, 70_000)
        .await
        .unwrap_err();
    let received = went_on(&desk, &prompt, &content, 0).await.unwrap();
    assert_eq!(received.bytes as usize, LEN);
    assert_eq!(fs::read(desk.out().join("f")).unwrap(), content);
    assert_eq!(desk.arrived(), ["f"]);
}

#[tokio::test]
async fn s_18_another_file_or_peer_starts_again() {
    let content = noise(LEN, 1);
    let first = prompt(&["f"], &content);
    let shorter = &content[..LEN - 2];
    let others = [
        ("mallory", one_of("f"), first.clone()),
        (
            "alice",
            one_of("f"),
            Header {
                mtime: 1,
                ..first.clone()
            },
        ),
        (
            "alice",
            one_of("f"),
            Header {
                checksum: Checksum(0x1234_0000),
                ..first.clone()
            },
        ),
        ("alice", one("f", LEN as u64 - 2), prompt(&["f"], shorter)),
        ("alice", one_of("g"), prompt(&["g"], &content)),
    ];
    for (peer, terms, second) in others {
        let desk = Desk::new();
        broken(&desk, resuming(&desk), &first, &content, 70_000)
            .await
            .unwrap_err();
        let heard = offered_again(&desk, peer, terms, &second).await;
        assert!(matches!(heard, Heard::Ack), "{peer} {second:?}");
    }
}

#[tokio::test]
async fn s_17_nothing_is_kept_if_that_is_not_wanted() {
    for if_exists in [
        IfExists::Rename,
        IfExists::Overwrite,
        IfExists::Skip,
        IfExists::Fail,
    ] {
        let desk = Desk::new();
        let content = noise(LEN, 1);
        let prompt = prompt(&["f"], &content);
        let sink = || {
            desk.sink_with(SinkOptions {
                if_exists,
                ..Default::default()
            })
        };
        broken(&desk, sink(), &prompt, &content, 70_000)
            .await
            .unwrap_err();
        assert!(
            desk.arrived().is_empty(),
            "{if_exists:?}: {:?}",
            desk.arrived()
        );

        // What was kept before is not gone on with either, but replaced together with its record.
        broken(&desk, resuming(&desk), &prompt, &content, 70_000)
            .await
            .unwrap_err();
        broken(&desk, sink(), &prompt, &content, 9)
            .await
            .unwrap_err();
        assert!(
            desk.arrived().is_empty(),
            "{if_exists:?}: {:?}",
            desk.arrived()
        );
    }
}

#[tokio::test]
async fn s_17_a_cancelled_or_dropped_transfer_is_kept_too() {
    for drop_it in [false, true] {
        let desk = Desk::new();
        let content = noise(LEN, 1);
        let prompt = prompt(&["f"], &content);
        let (a, b) = stream();
        let mut old = Old(a);
        let control = Control::new();
        let sender = async {
            old.say(&prompt).await;
            old.hear(Kind::ACK).await.unwrap();
            old.bytes(&content[..70_000]).await;
            while control.progress().bytes < 70_000 {
                tokio::task::yield_now().await;
            }
            if !drop_it {
                control.cancel();
            }
        };
        if drop_it {
            tokio::select! {
                ended = receive_over(b, resuming(&desk), one_of("f"), &control) => panic!("{ended:?}"),
                () = sender => {}
            }
            while !desk.out().join(KEPT[1]).exists() {
                tokio::task::yield_now().await;
            }
        } else {
            let (received, ()) = tokio::join!(
                receive_over(b, resuming(&desk), one_of("f"), &control),
                sender
            );
            assert!(
                matches!(received, Err(TransferError::CancelledLocally)),
                "{received:?}"
            );
            assert_eq!(desk.arrived(), KEPT);
            went_on(&desk, &prompt, &content, 70_000).await.unwrap();
            assert_eq!(fs::read(desk.out().join("f")).unwrap(), content);
        }
    }
}

#[tokio::test]
async fn s_18_what_changed_on_disk_meanwhile_is_found_out() {
    let desk = Desk::new();
    let content = noise(LEN, 1);
    let prompt = prompt(&["f"], &content);
    broken(&desk, resuming(&desk), &prompt, &content, 70_000)
        .await
        .unwrap_err();
    let mut tampered = content[..70_000].to_vec();
    tampered[5] ^= 1;
    fs::write(desk.out().join(KEPT[0]), tampered).unwrap();
    let received = went_on(&desk, &prompt, &content, 70_000).await;
    assert!(
        matches!(received, Err(TransferError::Verification { .. })),
        "{received:?}"
    );
    assert!(desk.arrived().is_empty(), "{:?}", desk.arrived());
}

#[tokio::test]
async fn f_9_a_part_that_is_shorter_than_its_record_or_has_a_broken_one_counts_for_nothing() {
    let content = noise(LEN, 1);
    let prompt = prompt(&["f"], &content);
    let damage: [fn(&Desk); 4] = [
        |desk| fs::write(desk.out().join(KEPT[0]), noise(69_999, 1)).unwrap(),
        |desk| fs::write(desk.out().join(KEPT[1]), "garbage").unwrap(),
        |desk| fs::write(desk.out().join(KEPT[1]), noise(1 << 20, 3)).unwrap(),
        |desk| fs::remove_file(desk.out().join(KEPT[1])).unwrap(),
    ];
    for damage in damage {
        let desk = Desk::new();
        broken(&desk, resuming(&desk), &prompt, &content, 70_000)
            .await
            .unwrap_err();
        damage(&desk);
        let heard = offered_again(&desk, "alice", one_of("f"), &prompt).await;
        assert!(matches!(heard, Heard::Ack));
        assert!(desk.arrived().is_empty(), "{:?}", desk.arrived());
    }
}

#[tokio::test]
async fn f_9_what_stands_behind_the_record_is_cut_off() {
    let desk = Desk::new();
    let content = noise(LEN, 1);
    let prompt = prompt(&["f"], &content);
    broken(&desk, resuming(&desk), &prompt, &content, 70_000)
        .await
        .unwrap_err();
    let longer = [&content[..70_000], &noise(LEN, 9)].concat();
    fs::write(desk.out().join(KEPT[0]), longer).unwrap();
    went_on(&desk, &prompt, &content, 70_000).await.unwrap();
    assert_eq!(fs::read(desk.out().join("f")).unwrap(), content);
}

#[tokio::test]
async fn f_9_a_long_file_has_a_record_while_it_comes() {
    // A process that is killed writes none at its end.
    const MIB: usize = 1 << 20;
    let (desk, killed) = (Desk::new(), Desk::new());
    let piece = vec![0; MIB];
    let size = u32::try_from(200 * MIB).unwrap();
    let prompt = Header {
        size,
        total_size: size,
        ..prompt(&["f"], &[])
    };
    let (a, b) = stream();
    let mut old = Old(a);
    let control = Control::new();
    let sender = async {
        old.say(&prompt).await;
        old.hear(Kind::ACK).await.unwrap();
        for _ in 0..129 {
            old.bytes(&piece).await;
        }
        while control.progress().bytes < 129 * MIB as u64 {
            tokio::task::yield_now().await;
        }
        fs::create_dir(killed.out()).unwrap();
        for name in KEPT {
            fs::copy(desk.out().join(name), killed.out().join(name)).unwrap();
        }
    };
    let terms = one("f", size.into());
    tokio::select! {
        ended = receive_over(b, resuming(&desk), terms.clone(), &control) => panic!("{ended:?}"),
        () = sender => {}
    }
    let heard = offered_again(&killed, "alice", terms, &prompt).await;
    let Heard::Resume(held, sum) = heard else {
        panic!("from the start")
    };
    assert_eq!((held as usize, sum), (64 * MIB, Checksum::EMPTY));
}

#[tokio::test]
async fn f_3_a_record_is_never_read_or_written_through_a_link() {
    let desk = Desk::new();
    let content = noise(LEN, 1);
    let prompt = prompt(&["f"], &content);
    broken(&desk, resuming(&desk), &prompt, &content, 70_000)
        .await
        .unwrap_err();
    let record = desk.out().join(KEPT[1]);
    let outside = desk.root.path().join("outside");
    fs::rename(&record, &outside).unwrap();
    let before = fs::read(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, &record).unwrap();
    let (a, b) = stream();
    let mut old = Old(a);
    let sender = async {
        old.say(&prompt).await;
        old.closed().await;
    };
    let control = Control::new();
    let (received, ()) = tokio::join!(
        receive_over(b, resuming(&desk), one_of("f"), &control),
        sender
    );
    assert!(
        matches!(received, Err(TransferError::Link { .. })),
        "{received:?}"
    );
    assert_eq!(fs::read(&outside).unwrap(), before);
}

#[tokio::test]
async fn files_that_are_here_are_not_taken_a_second_time() {
    let desk = Desk::new();
    desk.write("d/a", "first");
    desk.write("d/b", "second");
    let ended = exchange(desk.source(&["d"]), true, resuming(&desk)).await;
    assert_eq!(ended[0].1.as_ref().unwrap().files, 2);
    fs::remove_file(desk.out().join("d/b")).unwrap();
    let ended = exchange(desk.source(&["d"]), true, resuming(&desk)).await;
    let (Ok(sent), Ok(received)) = &ended[0] else {
        panic!("{ended:?}")
    };
    assert_eq!((sent.files, received.files, received.bytes), (1, 1, 6));
    assert_eq!(desk.arrived(), ["d/", "d/a", "d/b"]);

    // Another file of that name is another file.
    desk.write("d/a", "other");
    fs::File::open(desk.input("d/a"))
        .unwrap()
        .set_modified(
            std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000),
        )
        .unwrap();
    exchange(desk.source(&["d"]), true, resuming(&desk)).await;
    assert_eq!(desk.arrived(), ["d/", "d/a", "d/a (1)", "d/b"]);
    assert_eq!(fs::read_to_string(desk.out().join("d/a")).unwrap(), "first");
}

#[tokio::test]
async fn two_of_ours_go_on_after_a_break() {
    let desk = Desk::new();
    let content = noise(3_000_001, 1);
    desk.write("f", &content);
    let control = Control::new();
    let outgoing = async || {
        Outgoing::prepare(desk.source(&["f"]), false, &Control::new())
            .await
            .unwrap()
            .pop_front()
            .unwrap()
    };
    let (a, b) = stream();
    let terms = one("f", content.len() as u64);
    let half = async {
        tokio::select! {
            ended = receive_over(b, resuming(&desk), terms.clone(), &control) => panic!("{ended:?}"),
            () = async { while control.progress().bytes < 1_000_000 { tokio::task::yield_now().await } } => {}
        }
    };
    let ours = Control::new();
    let (sent, ()) = tokio::join!(send_over(a, outgoing().await, &ours), half);
    assert!(matches!(sent, Err(TransferError::LinkLost(_))), "{sent:?}");
    while !desk.out().join(KEPT[1]).exists() {
        tokio::task::yield_now().await;
    }
    // The lock of the writing thread goes with it.
    let (sent, received) = loop {
        let (a, b) = stream();
        let (ours, theirs) = (Control::new(), Control::new());
        let both = tokio::join!(
            send_over(a, outgoing().await, &ours),
            receive_over(b, resuming(&desk), terms.clone(), &theirs)
        );
        if !matches!(both.1, Err(TransferError::Busy { .. })) {
            break both;
        }
    };
    let (sent, received) = (sent.unwrap(), received.unwrap());
    assert_eq!(sent.bytes, received.bytes);
    assert!(sent.bytes <= 2_000_001, "{}", sent.bytes);
    assert_eq!(fs::read(desk.out().join("f")).unwrap(), content);
    assert_eq!(desk.arrived(), ["f"]);
}

/// An old client that has the first `have` bytes with that checksum. Says where the sender went on.
async fn asks_to_resume(desk: &Desk, have: u32, sum: Checksum) -> (Ended, u32, Vec<u8>) {
    let (a, b) = stream();
    let mut old = Old(b);
    let outgoing = Outgoing::prepare(desk.source(&["f"]), false, &Control::new())
        .await
        .unwrap()
        .pop_front()
        .unwrap();
    let control = Control::new();
    let receiver = async {
        let prompt = old.hear(Kind::PROMPT).await.unwrap();
        let asked = Header {
            received: have,
            received_checksum: sum,
            ..prompt.reply(Kind::RESUME, COOKIE)
        };
        old.say(&asked).await;
        let accept = old.hear(Kind::RESUME_ACCEPT).await.unwrap();
        let agreed = if accept.received == have {
            sum
        } else {
            Checksum::EMPTY
        };
        assert_eq!(accept.received_checksum, agreed);
        old.say(&accept.reply(Kind::RESUME_ACK, COOKIE)).await;
        let rest = old.body(LEN - accept.received as usize).await;
        old.say(&Header {
            received: prompt.size,
            ..prompt.reply(Kind::DONE, COOKIE)
        })
        .await;
        (accept.received, rest)
    };
    let (sent, (from, rest)) = tokio::join!(send_over(a, outgoing, &control), receiver);
    (sent, from, rest)
}

#[tokio::test]
async fn a_sender_goes_on_at_any_offset_or_starts_again() {
    let desk = Desk::new();
    let content = noise(LEN, 1);
    desk.write("f", &content);
    for have in [1, 2, 16, 30_001, LEN - 1, LEN] {
        let sum = checksum(&content[..have]);
        let (sent, from, rest) = asks_to_resume(&desk, have as u32, sum).await;
        assert_eq!((from as usize, &rest[..]), (have, &content[have..]));
        assert_eq!(sent.unwrap().bytes as usize, LEN - have);
    }
    let (sent, from, rest) = asks_to_resume(&desk, 16, Checksum(0x1234_0000)).await;
    assert_eq!((from, &rest[..]), (0, &content[..]));
    assert_eq!(sent.unwrap().bytes as usize, LEN);
    let (_, from, rest) = asks_to_resume(&desk, LEN as u32 + 1, checksum(&content)).await;
    assert_eq!((from, &rest[..]), (0, &content[..]));
}
