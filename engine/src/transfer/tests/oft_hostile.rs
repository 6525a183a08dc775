//! Old clients that lie, trickle or go, links that break, sources that change: an error at both ends, and nothing half remains.

use std::os::unix::fs::symlink;
use std::time::Duration;

use proptest::prelude::*;
use rdv_proto::transfer::oft::{OftFault, ReceiveTerms};
use rdv_proto::wire::oft::{Checksum, Header, Kind};
use rdv_proto::wire::rendezvous::Cookie;

use super::super::oft::Outgoing;
use super::faults::{Cut, SmallDisk, still};
use super::old::*;
use super::*;

/// Receives from a sender that says and sends what it likes, without listening.
async fn received_from(desk: &Desk, terms: ReceiveTerms, script: Vec<Vec<u8>>) -> Ended {
    let (a, b) = stream();
    let mut old = Old(a);
    let control = Control::new();
    let sender = async {
        for bytes in script {
            old.bytes(&bytes).await;
        }
        // Whoever lies learns only that the connection is closed.
        let mut answers = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut old.0, &mut answers).await;
    };
    let sink = desk.sink();
    tokio::join!(receive_over(b, sink, terms, &control), sender).0
}

fn fault(ended: Ended) -> OftFault {
    match ended {
        Err(error @ TransferError::OldProtocol(_)) => {
            assert_eq!(error.fault(), Fault::Peer);
            match error {
                TransferError::OldProtocol(fault) => fault,
                _ => unreachable!("looked at above"),
            }
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn t_13_t_14_prompts_that_lie_are_refused_and_make_nothing() {
    type Lie = fn(Header) -> Header;
    let lies: [(ReceiveTerms, Lie); 11] = [
        (one("f", 5), |prompt| Header { size: 6, ..prompt }),
        (one("f", 5), |prompt| Header { size: 4, ..prompt }),
        (one("f", 6), |prompt| prompt),
        (one("g", 5), |prompt| prompt),
        (one("f", 5), |prompt| Header {
            total_files: 2,
            files_left: 2,
            ..prompt
        }),
        (many("d", 2, 5), |prompt| Header {
            total_files: 3,
            ..prompt
        }),
        (many("d", 2, 4), |prompt| prompt),
        (one("f", 5), |prompt| Header {
            total_parts: 2,
            ..prompt
        }),
        (one("f", 5), |prompt| Header {
            compression: 1,
            ..prompt
        }),
        (one("f", 5), |prompt| Header {
            encryption: 1,
            ..prompt
        }),
        (one("f", 5), |prompt| Header {
            cookie: Cookie(*b"8765432\0"),
            ..prompt
        }),
    ];
    for (n, (terms, lie)) in lies.into_iter().enumerate() {
        let desk = Desk::new();
        let prompt = lie(prompt(&["f"], b"12345")).encode().to_vec();
        let fault = fault(received_from(&desk, terms, vec![prompt]).await);
        assert!(
            desk.arrived().is_empty(),
            "{n} {fault}: {:?}",
            desk.arrived()
        );
    }
}

#[tokio::test]
async fn l_16_a_cookie_of_zeros_counts_only_where_it_may() {
    let desk = Desk::new();
    let zero = Header {
        cookie: Cookie([0; 8]),
        ..prompt(&["f"], b"12345")
    };
    let ended = received_from(&desk, one("f", 5), vec![zero.encode().to_vec()]).await;
    assert_eq!(fault(ended), OftFault::Cookie);
}

#[tokio::test]
async fn bytes_at_the_wrong_time_end_the_transfer() {
    // Before our ACK: the rest of the same write.
    let desk = Desk::new();
    let prompt = prompt(&["f"], b"12345").encode().to_vec();
    let all = [&prompt[..], b"12345"].concat();
    assert_eq!(
        fault(received_from(&desk, one("f", 5), vec![all]).await),
        OftFault::EarlyBytes
    );
    assert!(desk.arrived().is_empty(), "{:?}", desk.arrived());

    // After the last byte, before our DONE.
    let desk = Desk::new();
    let (a, b) = stream();
    let mut old = Old(a);
    let sender = async {
        old.bytes(&prompt).await;
        old.hear(Kind::ACK).await.unwrap();
        old.bytes(b"123456").await;
        old.closed().await;
    };
    let control = Control::new();
    let (received, ()) = tokio::join!(receive_over(b, desk.sink(), one("f", 5), &control), sender);
    assert_eq!(fault(received), OftFault::EarlyBytes);
    assert!(
        !desk.arrived().iter().any(|name| name.ends_with("rdv-part")),
        "S-22"
    );
}

#[tokio::test]
async fn what_is_no_header_is_refused() {
    let short = [&b"OFT2\x00\xc0\x01\x01"[..], &[0; 184]].concat();
    let long = [&b"OFT2\x10\x01\x01\x01"[..], &[0; 4089]].concat();
    for bytes in [
        b"HTTP/1.1 200 OK".to_vec(),
        b"OFT3\x01\x00".to_vec(),
        short,
        long,
    ] {
        let desk = Desk::new();
        let ended = received_from(&desk, one("f", 5), vec![bytes]).await;
        assert!(matches!(fault(ended), OftFault::Header(_)));
    }
}

/// Sends one file, and then whatever `second` is.
async fn second_prompt(second: Header) -> (Desk, Ended) {
    let desk = Desk::new();
    let (a, b) = stream();
    let mut old = Old(a);
    let sender = async {
        old.say(&Header {
            total_files: 2,
            files_left: 2,
            total_size: 9,
            ..prompt(&["d", "one"], b"12345")
        })
        .await;
        old.hear(Kind::ACK).await.unwrap();
        old.bytes(b"12345").await;
        old.hear(Kind::DONE).await.unwrap();
        old.say(&second).await;
        old.closed().await;
    };
    let control = Control::new();
    let (received, ()) = tokio::join!(
        receive_over(b, desk.sink(), many("d", 2, 9), &control),
        sender
    );
    (desk, received)
}

#[tokio::test]
async fn t_14_a_later_prompt_that_lies_leaves_what_is_whole() {
    let second = Header {
        total_files: 2,
        total_size: 9,
        ..prompt(&["d", "two"], b"67890")
    };
    let lies = [
        second.clone(),
        Header {
            kind: Kind::ACK,
            ..second.clone()
        },
        Header {
            size: 4,
            cookie: Cookie([0; 8]),
            ..second.clone()
        },
        Header {
            size: 4,
            total_parts: 2,
            ..second
        },
    ];
    for lie in lies {
        let (desk, received) = second_prompt(lie).await;
        fault(received);
        assert_eq!(desk.arrived(), ["d/", "d/one"]);
    }
}

#[tokio::test]
async fn s_22_a_batch_that_ends_early_is_whole_as_far_as_it_goes_and_no_success() {
    let desk = Desk::new();
    let (a, b) = stream();
    let mut old = Old(a);
    let sender = async {
        // One of two that were accepted, called the last one.
        old.say(&Header {
            total_files: 2,
            files_left: 1,
            total_size: 9,
            ..prompt(&["d", "one"], b"12345")
        })
        .await;
        old.hear(Kind::ACK).await.unwrap();
        old.bytes(b"12345").await;
        old.hear(Kind::DONE).await.unwrap();
        old.closed().await;
    };
    let control = Control::new();
    let (received, ()) = tokio::join!(
        receive_over(b, desk.sink(), many("d", 2, 9), &control),
        sender
    );
    assert!(matches!(
        fault(received),
        OftFault::TooFewFiles {
            received: 1,
            accepted: 2
        }
    ));
    assert_eq!(desk.arrived(), ["d/", "d/one"]);
}

#[tokio::test]
async fn t_12_names_stay_in_the_folder() {
    let desk = Desk::new();
    let names: [&[&str]; 7] = [
        &["..", "..", "x"],
        &["/etc/passwd"],
        &["C:\\x"],
        &["d", "a\\..\\b"],
        &["d", ".x.rdv-part"],
        &["d", ".x.rdv-resume"],
        &["", "", "\u{202e}gpj.exe"],
    ];
    let (a, b) = stream();
    let mut old = Old(a);
    let sender = async {
        for (n, parts) in names.iter().enumerate() {
            let left = u16::try_from(names.len() - n).unwrap();
            let prompt = prompt(parts, b"x");
            old.say(&Header {
                total_files: 7,
                files_left: left,
                total_size: 7,
                ..prompt
            })
            .await;
            old.hear(Kind::ACK).await.unwrap();
            old.bytes(b"x").await;
            old.hear(Kind::DONE).await.unwrap();
        }
    };
    let control = Control::new();
    let (received, ()) = tokio::join!(
        receive_over(b, desk.sink(), many("d", 7, 7), &control),
        sender
    );
    assert_eq!(received.unwrap().saved, [desk.out().join("d")]);
    let expected = [
        "d/",
        "d/.x_rdv-part",
        "d/.x_rdv-resume",
        "d/C__x",
        "d/_etc_passwd",
        "d/a_.._b",
        "d/gpj.exe",
        "d/x",
    ];
    assert_eq!(desk.arrived(), expected);
    assert_eq!(listing(desk.root.path()).len(), expected.len() + 2);
}

#[tokio::test]
async fn f_2_names_that_are_one_get_numbers() {
    for if_exists in [
        IfExists::Rename,
        IfExists::Overwrite,
        IfExists::Skip,
        IfExists::Fail,
    ] {
        let desk = Desk::new();
        let (a, b) = stream();
        let mut old = Old(a);
        let sender = async {
            for (left, name) in [(3, "x"), (2, "x"), (1, "X")] {
                let content = vec![left; 3];
                old.say(&Header {
                    total_files: 3,
                    files_left: left.into(),
                    total_size: 9,
                    ..prompt(&["d", name], &content)
                })
                .await;
                old.hear(Kind::ACK).await.unwrap();
                old.bytes(&content).await;
                old.hear(Kind::DONE).await.unwrap();
            }
        };
        let control = Control::new();
        let sink = desk.sink_with(SinkOptions {
            if_exists,
            ..Default::default()
        });
        let (received, ()) = tokio::join!(receive_over(b, sink, many("d", 3, 9), &control), sender);
        assert_eq!(received.unwrap().files, 3);
        assert_eq!(
            desk.arrived(),
            ["d/", "d/X (2)", "d/x", "d/x (1)"],
            "{if_exists:?}"
        );
        assert_eq!(fs::read(desk.out().join("d/x")).unwrap(), [3; 3]);
    }
}

#[tokio::test]
async fn f_3_links_in_the_output_folder_are_refused() {
    for if_exists in [
        IfExists::Rename,
        IfExists::Overwrite,
        IfExists::Skip,
        IfExists::Fail,
        IfExists::Resume,
    ] {
        for (link, terms, parts) in [
            ("f", one("f", 5), vec!["f"]),
            (".f.rdv-part", one("f", 5), vec!["f"]),
            ("d", many("d", 1, 5), vec!["d", "f"]),
        ] {
            let desk = Desk::new();
            let outside = desk.root.path().join("outside");
            fs::create_dir(&outside).unwrap();
            fs::create_dir(desk.out()).unwrap();
            symlink(&outside, desk.out().join(link)).unwrap();
            let (a, b) = stream();
            let mut old = Old(a);
            let sender = async {
                old.say(&prompt(&parts, b"12345")).await;
                old.closed().await;
            };
            let control = Control::new();
            let sink = desk.sink_with(SinkOptions {
                if_exists,
                ..Default::default()
            });
            let (received, ()) = tokio::join!(receive_over(b, sink, terms, &control), sender);
            assert!(
                matches!(received, Err(TransferError::Link { .. })),
                "{if_exists:?} {link}: {received:?}"
            );
            assert!(listing(&outside).is_empty());
        }
    }
}

#[tokio::test]
async fn s_23_another_content_than_announced_gets_no_name() {
    for if_exists in [IfExists::Rename, IfExists::Resume] {
        let desk = Desk::new();
        let (a, b) = stream();
        let mut old = Old(a);
        let sender = async {
            old.say(&prompt(&["f"], b"12345")).await;
            old.hear(Kind::ACK).await.unwrap();
            old.bytes(b"12346").await;
            old.closed().await;
        };
        let control = Control::new();
        let sink = desk.sink_with(SinkOptions {
            if_exists,
            ..Default::default()
        });
        let (received, ()) = tokio::join!(receive_over(b, sink, one("f", 5), &control), sender);
        assert!(
            matches!(received, Err(TransferError::Verification { .. })),
            "{received:?}"
        );
        assert!(desk.arrived().is_empty(), "{:?}", desk.arrived());
    }
}

#[tokio::test]
async fn a_resume_that_was_not_asked_for_is_refused() {
    let desk = Desk::new();
    let content = noise(50_000, 1);
    let prompt = prompt(&["f"], &content);
    let sink = || {
        desk.sink_with(SinkOptions {
            if_exists: IfExists::Resume,
            ..Default::default()
        })
    };
    for round in 0..2 {
        let (a, b) = stream();
        let mut old = Old(a);
        let sender = async {
            old.say(&prompt).await;
            if round == 0 {
                old.hear(Kind::ACK).await.unwrap();
                old.bytes(&content[..20_000]).await;
                drop(old);
            } else {
                let asked = old.hear(Kind::RESUME).await.unwrap();
                old.say(&Header {
                    received: 19_999,
                    ..asked.reply(Kind::RESUME_ACCEPT, COOKIE)
                })
                .await;
                old.closed().await;
            }
        };
        let control = Control::new();
        let (received, ()) =
            tokio::join!(receive_over(b, sink(), one("f", 50_000), &control), sender);
        match round {
            0 => assert!(
                matches!(received, Err(TransferError::LinkLost(_))),
                "{received:?}"
            ),
            _ => assert_eq!(fault(received), OftFault::ResumeOffset(19_999)),
        }
        // What came from somebody who breaks the rules is not kept.
        assert_eq!(desk.arrived().len(), if round == 0 { 2 } else { 0 });
    }
}

async fn outgoing(desk: &Desk, names: &[&str], batch: bool) -> Outgoing {
    let control = Control::new();
    let mut all = Outgoing::prepare(desk.source(names), batch, &control)
        .await
        .unwrap();
    all.pop_front().unwrap()
}

#[tokio::test]
async fn l_17_answers_that_do_not_fit_end_the_sending() {
    type Answer = fn(Header) -> Header;
    let answers: [Answer; 6] = [
        |prompt| Header {
            cookie: Cookie([0; 8]),
            ..prompt.reply(Kind::ACK, COOKIE)
        },
        |prompt| prompt.reply(Kind::ACK, Cookie(*b"8765432\0")),
        |prompt| prompt.reply(Kind::RESUME_ACK, COOKIE),
        |prompt| prompt.reply(Kind::PROMPT, COOKIE),
        |prompt| Header {
            compression: 1,
            ..prompt.reply(Kind::ACK, COOKIE)
        },
        |prompt| prompt.reply(Kind::LIST_ACK, COOKIE),
    ];
    for answer in answers {
        let desk = Desk::new();
        desk.write("f", noise(5000, 1));
        let (a, b) = stream();
        let mut old = Old(b);
        let receiver = async {
            let prompt = old.hear(Kind::PROMPT).await.unwrap();
            old.say(&answer(prompt)).await;
            old.closed().await;
        };
        let control = Control::new();
        let (sent, ()) = tokio::join!(
            send_over(a, outgoing(&desk, &["f"], false).await, &control),
            receiver
        );
        fault(sent);
        assert_eq!(control.progress().phase, Phase::Over);
    }
}

#[tokio::test]
async fn l_19_a_done_that_is_short_or_early_is_none() {
    // Of fewer bytes than there are.
    let desk = Desk::new();
    desk.write("f", noise(5000, 1));
    let (a, b) = stream();
    let mut old = Old(b);
    let receiver = async {
        let prompt = old.hear(Kind::PROMPT).await.unwrap();
        old.say(&prompt.reply(Kind::ACK, COOKIE)).await;
        old.body(5000).await;
        old.say(&Header {
            received: 4999,
            ..prompt.reply(Kind::DONE, COOKIE)
        })
        .await;
        old.closed().await;
    };
    let control = Control::new();
    let (sent, ()) = tokio::join!(
        send_over(a, outgoing(&desk, &["f"], false).await, &control),
        receiver
    );
    assert_eq!(
        fault(sent),
        OftFault::Short {
            received: 4999,
            size: 5000
        }
    );

    // Gone before DONE, at once or after all bytes.
    for take in [0, 5000] {
        let (a, b) = stream();
        let mut old = Old(b);
        let receiver = async {
            let prompt = old.hear(Kind::PROMPT).await.unwrap();
            old.say(&prompt.reply(Kind::ACK, COOKIE)).await;
            old.body(take).await;
            drop(old);
        };
        let control = Control::new();
        let (sent, ()) = tokio::join!(
            send_over(a, outgoing(&desk, &["f"], false).await, &control),
            receiver
        );
        assert!(matches!(sent, Err(TransferError::LinkLost(_))), "{sent:?}");
    }
}

#[tokio::test]
async fn f_8_a_file_that_changes_is_not_sent() {
    type Change = fn(&Path);
    let changes: [Change; 5] = [
        |path| fs::write(path, noise(400_001, 2)).unwrap(),
        |path| fs::write(path, noise(399_999, 2)).unwrap(),
        |path| fs::remove_file(path).unwrap(),
        |path| {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        },
        // The same size and time, and other bytes: found by the checksum.
        |path| {
            let time = path.metadata().unwrap().modified().unwrap();
            let file = fs::File::options().write(true).open(path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, b"other", 1000).unwrap();
            file.set_modified(time).unwrap();
        },
    ];
    for change in changes {
        let desk = Desk::new();
        let path = desk.write("f", noise(400_000, 1));
        let outgoing = outgoing(&desk, &["f"], false).await;
        let (a, b) = stream();
        let mut old = Old(b);
        let receiver = async {
            let prompt = old.hear(Kind::PROMPT).await.unwrap();
            change(&path);
            old.say(&prompt.reply(Kind::ACK, COOKIE)).await;
            let mut bytes = Vec::new();
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut old.0, &mut bytes).await;
        };
        let control = Control::new();
        let (sent, ()) = tokio::join!(send_over(a, outgoing, &control), receiver);
        assert!(
            matches!(sent, Err(TransferError::SourceChanged { .. })),
            "{sent:?}"
        );
    }
}

#[tokio::test]
async fn f_8_a_file_that_changes_before_its_checksum_is_known_is_not_offered() {
    let desk = Desk::new();
    let path = desk.write("f", noise(400_000, 1));
    let mut source = desk.source(&["f"]);
    source.ready().await.unwrap();
    fs::write(path, "other").unwrap();
    let control = Control::new();
    let outgoing = Outgoing::prepare(source, false, &control)
        .await
        .unwrap()
        .pop_front()
        .unwrap();
    let prompted = outgoing
        .prompt(COOKIE)
        .await
        .map(|prompted| prompted.header);
    assert!(
        matches!(prompted, Err(TransferError::SourceChanged { .. })),
        "{prompted:?}"
    );
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    Sender,
    Receiver,
}

#[tokio::test]
async fn a_cancel_ends_both_sides() {
    for (who, bytes) in [
        (Who::Sender, 1),
        (Who::Receiver, 1),
        (Who::Sender, 5_000_000),
        (Who::Receiver, 5_000_000),
    ] {
        for by_peer in [false, true] {
            let desk = Desk::new();
            desk.write("top/a", noise(1000, 1));
            desk.write("top/big", noise(20_000_000, 2));
            let outgoing = outgoing(&desk, &["top"], true).await;
            let terms = terms(outgoing.offer());
            let (a, b) = stream();
            let (sender, receiver) = (Control::new(), Control::new());
            let watched = if who == Who::Sender {
                &sender
            } else {
                &receiver
            };
            let cancel = async {
                while watched.progress().bytes < bytes {
                    tokio::task::yield_now().await;
                }
                match by_peer {
                    true => watched.cancel_by_peer(),
                    false => watched.cancel(),
                }
            };
            let (sent, received, ()) = tokio::join!(
                send_over(a, outgoing, &sender),
                receive_over(b, desk.sink(), terms, &receiver),
                cancel
            );
            let (ours, theirs) = if who == Who::Sender {
                (sent, received)
            } else {
                (received, sent)
            };
            match by_peer {
                true => assert!(
                    matches!(ours, Err(TransferError::CancelledByPeer { .. })),
                    "{ours:?}"
                ),
                false => assert!(
                    matches!(ours, Err(TransferError::CancelledLocally)),
                    "{ours:?}"
                ),
            }
            assert!(
                matches!(theirs, Err(TransferError::LinkLost(_))),
                "{who:?}: {theirs:?}"
            );
            assert!(
                desk.arrived()
                    .iter()
                    .all(|name| name == "top/" || name == "top/a"),
                "{:?}",
                desk.arrived()
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn s_16_a_link_lost_at_any_byte_leaves_whole_files_and_what_can_be_gone_on_with(cut_at in 0usize..900_000, receiver_side in any::<bool>(), resume in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let desk = Desk::new();
            for (n, len) in [0, 1, 70_001, 300_000, 5, 400_001, 9000].into_iter().enumerate() {
                desk.write(&format!("top/{n}"), noise(len, n as u64));
            }
            let if_exists = if resume { IfExists::Resume } else { IfExists::Rename };
            let sink = || desk.sink_with(SinkOptions { if_exists, ..Default::default() });
            let first = outgoing(&desk, &["top"], true).await;
            let terms = terms(first.offer());
            let (a, b) = stream();
            // The sender reads little: headers only.
            let (left_a, left_b) = if receiver_side { (usize::MAX, cut_at) } else { (cut_at % 4000, usize::MAX) };
            let (a, b) = (Cut { stream: a, left: left_a }, Cut { stream: b, left: left_b });
            let (ours, theirs) = (Control::new(), Control::new());
            let (sent, received) = tokio::join!(send_over(a, first, &ours), receive_over(b, sink(), terms.clone(), &theirs));
            let whole = |name: &str| fs::read(desk.out().join(name)).unwrap() == fs::read(desk.input(name)).unwrap();
            for name in desk.arrived().iter().filter(|name| *name != "top/") {
                let unfinished = resume && (name.ends_with(".rdv-part") || name.ends_with(".rdv-resume"));
                assert!(unfinished || whole(name), "{name}");
            }
            if received.is_ok() {
                assert_eq!(listing(&desk.out()), listing(&desk.root.path().join("in")));
            } else {
                assert!(matches!(received, Err(TransferError::LinkLost(_))), "{received:?}");
            }
            if sent.is_ok() {
                assert!(received.is_ok());
            }
            if resume {
                let (a, b) = stream();
                let (ours, theirs) = (Control::new(), Control::new());
                let again = outgoing(&desk, &["top"], true).await;
                let (sent, received) = tokio::join!(send_over(a, again, &ours), receive_over(b, sink(), terms, &theirs));
                assert!(sent.is_ok() && received.is_ok(), "{sent:?} {received:?}");
                assert_eq!(listing(&desk.out()), listing(&desk.root.path().join("in")));
                assert!(listing(&desk.out()).iter().filter(|name| *name != "top/").all(|name| whole(name)));
            }
        });
    }
}

#[tokio::test]
async fn s_19_a_full_disk_is_an_error_before_or_at_once() {
    let desk = Desk::new();
    desk.write("too big", noise(5 << 20, 1));
    desk.write("fits", noise(3 << 20, 2));
    let Some(disk) = SmallDisk::mount(&desk.out()) else {
        return;
    };
    for if_exists in [IfExists::Rename, IfExists::Resume] {
        let sink = desk.sink_with(SinkOptions {
            if_exists,
            ..Default::default()
        });
        let ended = exchange(desk.source(&["too big"]), false, sink).await;
        assert!(
            matches!(ended[0].1, Err(TransferError::NoSpace { .. })),
            "{ended:?}"
        );
        assert!(
            matches!(ended[0].0, Err(TransferError::LinkLost(_))),
            "{ended:?}"
        );
        assert!(desk.arrived().is_empty(), "{:?}", desk.arrived());
    }

    // It fills up meanwhile.
    let (a, b) = stream();
    let mut old = Old(a);
    let content = noise(3 << 20, 2);
    let sender = async {
        old.say(&prompt(&["fits"], &content)).await;
        old.hear(Kind::ACK).await.unwrap();
        fs::write(disk.0.join("filler"), noise(3 << 20, 3)).unwrap();
        old.bytes(&content).await;
        old.closed().await;
    };
    let control = Control::new();
    let (received, ()) = tokio::join!(
        receive_over(b, desk.sink(), one("fits", 3 << 20), &control),
        sender
    );
    assert_eq!(received.unwrap_err().fault(), Fault::Disk);
    assert_eq!(desk.arrived(), ["filler"]);
}

async fn prepared(desk: &Desk) -> super::super::oft::Prompted {
    outgoing(desk, &["f"], false)
        .await
        .prompt(COOKIE)
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn s_29_silence_ends() {
    let desk = Desk::new();
    let content = noise(1_000_000, 1);
    desk.write("f", &content);
    let prompt = prompt(&["f"], &content);

    // A sender that offers and then sends nothing.
    let (_silent, b) = stream();
    let control = Control::new();
    let received = super::super::oft::receive(
        b,
        prompt.clone(),
        desk.sink(),
        &alice(),
        one("f", 1_000_000),
        &control,
    )
    .await;
    assert!(
        matches!(received, Err(TransferError::Stalled)),
        "{received:?}"
    );

    // A receiver that takes nothing, and one that takes all and never says that it is done.
    for takes in [false, true] {
        let (a, b) = stream();
        let mut old = Old(b);
        let control = Control::new();
        let prompted = prepared(&desk).await;
        let ack = prompted.header.reply(Kind::ACK, COOKIE);
        let receiver = async {
            if takes {
                old.body(1_000_000).await;
            }
            std::future::pending::<()>().await;
        };
        let sent = tokio::select! {
            sent = super::super::oft::send(a, ack, prompted, &control) => sent,
            () = receiver => unreachable!("it waits for ever"),
        };
        assert!(matches!(sent, Err(TransferError::Stalled)), "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn s_29_a_header_that_trickles_is_none() {
    let (mut a, mut b) = stream();
    let header = prompt(&["f"], b"12345").encode();
    let trickle = async {
        for byte in header.chunks(1) {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut a, byte).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        std::future::pending::<()>().await;
    };
    let started = tokio::time::Instant::now();
    let read = tokio::select! {
        read = super::super::oft::read_header(&mut b) => read,
        () = trickle => unreachable!("it never ends by itself"),
    };
    assert!(matches!(read, Err(TransferError::Stalled)), "{read:?}");
    assert!(started.elapsed() < Duration::from_secs(17));
}

/// Sends so many bytes each second. The clock stands still until they are on disk.
async fn paced(bytes_per_s: usize, len: usize) -> (Desk, Ended) {
    let desk = Desk::new();
    let content = noise(len, 1);
    let (a, b) = stream();
    let mut old = Old(a);
    let control = Control::new();
    let sender = async {
        old.say(&prompt(&["f"], &content)).await;
        still(old.hear(Kind::ACK)).await.unwrap();
        let mut sent = 0;
        for piece in content.chunks(bytes_per_s) {
            old.bytes(piece).await;
            sent += piece.len() as u64;
            tokio::time::sleep(Duration::from_millis(200)).await;
            while control.progress().bytes < sent && control.progress().phase != Phase::Over {
                tokio::task::yield_now().await;
            }
            if sent < len as u64 {
                tokio::time::sleep(Duration::from_millis(800)).await;
            }
        }
        still(old.hear(Kind::DONE)).await;
    };
    let terms = one("f", len as u64);
    let (received, ()) = tokio::join!(receive_over(b, desk.sink(), terms, &control), sender);
    (desk, received)
}

#[tokio::test(start_paused = true)]
async fn s_29_a_trickle_ends_and_a_slow_line_does_not() {
    let (desk, received) = paced(100, 40_000).await;
    assert!(
        matches!(received, Err(TransferError::Stalled)),
        "{received:?}"
    );
    assert!(desk.arrived().is_empty(), "{:?}", desk.arrived());
    let (desk, received) = paced(1500, 400_000).await;
    received.unwrap();
    assert_eq!(desk.arrived(), ["f"]);
}

#[tokio::test]
async fn a_peer_that_claims_a_checksum_of_nothing_is_not_believed() {
    // The prompt's checksum is that of no bytes, the content is not.
    let desk = Desk::new();
    let (a, b) = stream();
    let mut old = Old(a);
    let sender = async {
        old.say(&Header {
            checksum: Checksum::EMPTY,
            ..prompt(&["f"], b"12345")
        })
        .await;
        old.hear(Kind::ACK).await.unwrap();
        old.bytes(b"12345").await;
        old.closed().await;
    };
    let control = Control::new();
    let (received, ()) = tokio::join!(receive_over(b, desk.sink(), one("f", 5), &control), sender);
    assert!(
        matches!(received, Err(TransferError::Verification { .. })),
        "{received:?}"
    );
}
