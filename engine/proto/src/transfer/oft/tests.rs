//! The rules of OFT2, one after the other. Who plays against itself: `chance.rs`.

mod listing;
mod names;
mod resume;

use super::*;
use crate::wire::oft::{FLAG_DONE, FLAG_NEGOTIATING, NameField};

const COOKIE: Cookie = Cookie(*b"TRYST01\0");
const FOX: Checksum = Checksum(0x72A4_0000);
const PART: Checksum = Checksum(0xC073_0000);

fn totals(sizes: &[u64]) -> OftTotals {
    OftTotals::of(sizes.iter().copied(), false).unwrap()
}

fn facts(name: &str, size: u64) -> FileFacts<'_> {
    FileFacts {
        name,
        folders: &[],
        size,
        mtime: 0x6600_0000,
        checksum: FOX,
    }
}

fn sender(size: u64) -> (OftSend, Header) {
    let mut sender = OftSend::new(COOKIE, totals(&[size]));
    let prompt = sender.prompt(&facts("fox.txt", size)).unwrap();
    (sender, prompt)
}

fn terms() -> ReceiveTerms {
    ReceiveTerms {
        cookie: COOKIE,
        zero_cookie_counts: false,
        files: 1,
        bytes: 43,
        name: "fox.txt".into(),
        folder: false,
    }
}

fn of_folder(files: u32, bytes: u64) -> ReceiveTerms {
    ReceiveTerms {
        files,
        bytes,
        name: "photos\\*".into(),
        folder: true,
        ..terms()
    }
}

fn offered(receiver: &mut OftReceive, prompt: &Header) -> Incoming {
    match receiver.handle(prompt) {
        Ok(ReceivedEvent::Offered(incoming)) => incoming,
        other => panic!("{other:?}"),
    }
}

fn prompt() -> Header {
    sender(43).1
}

fn named(parts: &[&str]) -> Header {
    let (charset, name) = NameField::encode(parts.iter().copied()).unwrap();
    Header {
        charset,
        name,
        ..prompt()
    }
}

#[test]
fn one_file_passes() {
    let (mut sender, prompt) = sender(43);
    assert_eq!(
        (prompt.kind, prompt.cookie, prompt.flags),
        (Kind::PROMPT, COOKIE, FLAG_NEGOTIATING)
    );
    let mut receiver = OftReceive::new(terms());
    let incoming = offered(&mut receiver, &prompt);
    assert_eq!(
        (
            incoming.path.as_str(),
            incoming.size,
            incoming.mtime,
            incoming.checksum
        ),
        ("fox.txt", 43, Some(0x6600_0000), FOX)
    );
    let ack = receiver.accept();
    assert_eq!(
        ack,
        Header {
            kind: Kind::ACK,
            ..prompt.clone()
        },
        "a copy of the prompt"
    );
    assert_eq!(sender.handle(&ack), Ok(SentEvent::SendBody { from: 0 }));
    sender.body_sent();
    let done = receiver.received(FOX, 0).unwrap();
    let expected = Header {
        kind: Kind::DONE,
        received: 43,
        received_checksum: FOX,
        flags: FLAG_NEGOTIATING | FLAG_DONE,
        ..prompt
    };
    assert_eq!(done, expected);
    assert_eq!(sender.handle(&done), Ok(SentEvent::FileDone(FileEnd::Sent)));
    assert!(sender.is_over() && receiver.is_over());
}

#[test]
fn an_ack_clears_what_was_received_and_keeps_the_rest() {
    let odd = Header {
        received: 7,
        received_checksum: PART,
        flags: 0,
        dummy: [9; 69],
        finfo: *b"TEXTttxt\0\0\0\0\0\0\0\0",
        ..prompt()
    };
    let mut receiver = OftReceive::new(terms());
    assert_eq!(offered(&mut receiver, &odd).finfo, odd.finfo);
    let expected = Header {
        kind: Kind::ACK,
        received: 0,
        received_checksum: Checksum::EMPTY,
        ..odd
    };
    assert_eq!(receiver.accept(), expected);
}

#[test]
fn l_14_our_prompt_starts_all_checksums_at_nothing() {
    let prompt = prompt();
    let unused = [
        prompt.resource_received_checksum,
        prompt.resource_checksum,
        prompt.received_checksum,
    ];
    assert_eq!(unused, [Checksum(0xFFFF_0000); 3]);
}

#[test]
fn l_15_the_cookie_is_in_every_header_of_ours() {
    let (mut sender, prompt) = sender(43);
    let zero = Header {
        cookie: Cookie::ZERO,
        ..prompt.clone()
    };
    let trusting = ReceiveTerms {
        zero_cookie_counts: true,
        ..terms()
    };
    let mut headers = vec![prompt];
    let mut receiver = OftReceive::new(trusting.clone());
    offered(&mut receiver, &zero);
    headers.push(receiver.accept());
    headers.push(receiver.received(FOX, 0).unwrap());
    let mut receiver = OftReceive::new(trusting.clone());
    offered(&mut receiver, &zero);
    headers.push(receiver.resume(16, PART));
    sender.handle(&headers[3]).unwrap();
    let accept = sender.resume_checked(PART);
    let Ok(ReceivedEvent::ReceiveBody { reply, .. }) = receiver.handle(&accept) else {
        panic!()
    };
    headers.extend([accept, *reply]);
    let mut receiver = OftReceive::new(trusting);
    offered(&mut receiver, &zero);
    headers.push(receiver.have_it());
    assert_eq!(headers.len(), 7);
    assert!(headers.iter().all(|header| header.cookie == COOKIE));
}

#[test]
fn l_16_a_zero_cookie_counts_only_in_a_prompt_and_where_the_way_proves_the_peer() {
    let zero = Header {
        cookie: Cookie::ZERO,
        ..prompt()
    };
    assert_eq!(
        OftReceive::new(terms()).handle(&zero),
        Err(OftFault::Cookie)
    );
    let trusting = ReceiveTerms {
        zero_cookie_counts: true,
        ..terms()
    };
    let mut receiver = OftReceive::new(trusting.clone());
    offered(&mut receiver, &zero);
    let resume = receiver.resume(16, PART);
    let answer = Header {
        kind: Kind::RESUME_ACCEPT,
        cookie: Cookie::ZERO,
        ..resume
    };
    assert_eq!(
        receiver.handle(&answer),
        Err(OftFault::Cookie),
        "not in later headers"
    );
    let foreign = Header {
        cookie: Cookie([7; 8]),
        ..prompt()
    };
    assert_eq!(
        OftReceive::new(trusting).handle(&foreign),
        Err(OftFault::Cookie)
    );
    assert!(cookie_fits(&zero, COOKIE, true) && !cookie_fits(&zero, COOKIE, false));
    assert!(!cookie_fits(&foreign, COOKIE, true) && cookie_fits(&prompt(), COOKIE, false));
}

#[test]
fn l_17_an_answer_with_another_cookie_closes() {
    for cookie in [Cookie::ZERO, Cookie([1; 8])] {
        for kind in [Kind::ACK, Kind::RESUME, Kind::DONE] {
            let (mut sender, prompt) = sender(43);
            let answer = Header {
                kind,
                cookie,
                ..prompt
            };
            assert_eq!(sender.handle(&answer), Err(OftFault::Cookie));
        }
    }
}

#[test]
fn l_19_a_done_is_judged_by_its_count_alone() {
    let waiting = || {
        let (mut sender, prompt) = sender(43);
        sender.handle(&prompt.reply(Kind::ACK, COOKIE)).unwrap();
        sender.body_sent();
        (sender, prompt)
    };
    let (mut judge, prompt) = waiting();
    let done = Header {
        kind: Kind::DONE,
        received: 43,
        received_checksum: Checksum(0x1234_0000),
        ..prompt
    };
    assert_eq!(judge.handle(&done), Ok(SentEvent::FileDone(FileEnd::Sent)));
    let (mut judge, prompt) = waiting();
    let short = Header {
        kind: Kind::DONE,
        received: 42,
        received_checksum: FOX,
        ..prompt
    };
    assert_eq!(
        judge.handle(&short),
        Err(OftFault::Short {
            received: 42,
            size: 43
        })
    );
}

#[test]
fn l_20_a_done_in_place_of_an_ack_says_that_the_file_is_there() {
    let (mut sender, prompt) = sender(43);
    let mut receiver = OftReceive::new(terms());
    offered(&mut receiver, &prompt);
    let done = receiver.have_it();
    assert_eq!(
        (done.kind, done.received, done.received_checksum),
        (Kind::DONE, 43, FOX)
    );
    assert_eq!(
        sender.handle(&done),
        Ok(SentEvent::FileDone(FileEnd::AlreadyThere))
    );
    assert!(sender.is_over() && receiver.is_over());
}

#[test]
fn a_done_of_nothing_in_place_of_an_ack_skips_the_file() {
    let (mut sender, prompt) = sender(43);
    let skip = prompt.reply(Kind::DONE, COOKIE);
    assert_eq!(
        sender.handle(&skip),
        Ok(SentEvent::FileDone(FileEnd::Skipped))
    );
}

#[test]
fn l_21_a_done_leaves_the_announced_checksum() {
    let odd = Header {
        checksum: Checksum(0),
        ..prompt()
    };
    let mut receiver = OftReceive::new(terms());
    offered(&mut receiver, &odd);
    receiver.accept();
    let done = receiver.received(Checksum(0xFFFF_0000), 0).unwrap();
    assert_eq!(
        (done.checksum, done.received_checksum),
        (Checksum(0), Checksum(0xFFFF_0000))
    );
}

#[test]
fn l_22_what_an_old_client_cannot_take_is_refused_before_anything_starts() {
    let of = |sizes: &[u64]| OftTotals::of(sizes.iter().copied(), false);
    assert_eq!(of(&[]), Err(OfferError::Nothing));
    assert_eq!(of(&[0]), Err(OfferError::Empty));
    assert_eq!(of(&[0, 0]), Err(OfferError::Empty));
    assert!(of(&[0, 1]).is_ok(), "an empty file among others");
    let most = u64::from(u32::MAX);
    assert_eq!(of(&[most]).map(|totals| totals.bytes()), Ok(most));
    assert_eq!(
        of(&[most + 1]),
        Err(OfferError::TooLarge { bytes: 1 << 32 })
    );
    assert_eq!(of(&[most, 1]), Err(OfferError::TooLarge { bytes: 1 << 32 }));
    assert_eq!(
        of(&[u64::MAX, 2]),
        Err(OfferError::TooLarge { bytes: u64::MAX })
    );
    let many = |count| OftTotals::of(std::iter::repeat_n(1, count), false);
    assert_eq!(many(65_535).map(|totals| totals.files()), Ok(65_535));
    assert_eq!(many(65_536), Err(OfferError::TooManyFiles(65_536)));
}

#[test]
fn l_26_a_single_file_above_4_gib_goes_to_peers_that_read_the_long_total() {
    let size = (5 << 30) + 7;
    assert!(OftTotals::of([size], false).is_err());
    assert!(OftTotals::of([size, 1], true).is_err(), "one file only");
    let totals = OftTotals::of([size], true).unwrap();
    assert!(totals.is_wide());
    let mut sender = OftSend::new(COOKIE, totals);
    let prompt = sender.prompt(&facts("fox.txt", size)).unwrap();
    assert_eq!(
        (prompt.size, prompt.total_size),
        ((1 << 30) + 7, (1 << 30) + 7)
    );
    let mut receiver = OftReceive::new(ReceiveTerms {
        bytes: size,
        ..terms()
    });
    let incoming = offered(&mut receiver, &prompt);
    assert_eq!((incoming.size, incoming.resumable()), (size, false));
    assert_eq!(
        sender.handle(&receiver.accept()),
        Ok(SentEvent::SendBody { from: 0 })
    );
    sender.body_sent();
    let done = receiver.received(FOX, 0).unwrap();
    assert_eq!(done.received, (1 << 30) + 7);
    assert_eq!(sender.handle(&done), Ok(SentEvent::FileDone(FileEnd::Sent)));
}

#[test]
fn l_27_the_two_zeros_of_a_checksum_pass() {
    for (announced, found) in [(0, 0xFFFF_0000), (0xFFFF_0000, 0)] {
        let mut receiver = OftReceive::new(terms());
        offered(
            &mut receiver,
            &Header {
                checksum: Checksum(announced),
                ..prompt()
            },
        );
        receiver.accept();
        assert!(receiver.received(Checksum(found), 0).is_ok());
    }
}

#[test]
fn s_23_a_wrong_checksum_is_no_file() {
    let mut receiver = OftReceive::new(terms());
    offered(&mut receiver, &prompt());
    receiver.accept();
    let wrong = OftFault::Checksum {
        announced: FOX,
        found: PART,
    };
    assert_eq!(receiver.received(PART, 0), Err(wrong));
    assert!(
        matches!(receiver.handle(&prompt()), Err(OftFault::Unexpected(_))),
        "nothing counts after a fault"
    );
    assert!(!receiver.is_over());
}

#[test]
fn bytes_before_our_done_are_an_error() {
    let mut receiver = OftReceive::new(terms());
    offered(&mut receiver, &prompt());
    receiver.accept();
    assert_eq!(receiver.received(FOX, 1), Err(OftFault::EarlyBytes));
}

#[test]
fn t_13_encryption_compression_and_resource_forks_close() {
    for odd in [
        Header {
            encryption: 1,
            ..prompt()
        },
        Header {
            compression: 2,
            ..prompt()
        },
    ] {
        assert_eq!(
            OftReceive::new(terms()).handle(&odd),
            Err(OftFault::Encoded)
        );
        let (mut sender, _) = sender(43);
        assert_eq!(
            sender.handle(&odd.reply(Kind::ACK, COOKIE)),
            Err(OftFault::Encoded)
        );
    }
    for parts in [0, 2, u16::MAX] {
        let odd = Header {
            total_parts: parts,
            ..prompt()
        };
        assert_eq!(
            OftReceive::new(terms()).handle(&odd),
            Err(OftFault::Parts(parts))
        );
    }
}

#[test]
fn t_14_one_file_has_the_size_that_was_accepted() {
    for size in [0, 42, 44, u32::MAX] {
        let odd = Header { size, ..prompt() };
        let fault = OftFault::Size {
            announced: size.into(),
            accepted: 43,
        };
        assert_eq!(OftReceive::new(terms()).handle(&odd), Err(fault));
    }
}

#[test]
fn t_14_no_more_files_than_were_accepted() {
    let two = Header {
        total_files: 2,
        files_left: 2,
        ..prompt()
    };
    let fault = Err(OftFault::TooManyFiles { accepted: 1 });
    assert_eq!(OftReceive::new(terms()).handle(&two), fault);
    let left = Header {
        files_left: 2,
        ..prompt()
    };
    assert_eq!(OftReceive::new(terms()).handle(&left), fault);
    // Two were accepted and a third comes: the sender never counts down.
    let stuck = Header {
        total_files: 2,
        files_left: 2,
        size: 1,
        total_size: 2,
        ..prompt()
    };
    let mut receiver = OftReceive::new(of_folder(2, 2));
    for _ in 0..2 {
        offered(&mut receiver, &stuck);
        receiver.have_it();
    }
    assert_eq!(
        receiver.handle(&stuck),
        Err(OftFault::TooManyFiles { accepted: 2 })
    );
}

#[test]
fn t_14_no_more_bytes_than_were_accepted() {
    let first = Header {
        total_files: 3,
        files_left: 3,
        size: 60,
        total_size: 100,
        ..prompt()
    };
    let mut receiver = OftReceive::new(of_folder(3, 100));
    offered(&mut receiver, &first);
    receiver.have_it();
    let second = Header {
        files_left: 2,
        size: 41,
        ..first.clone()
    };
    assert_eq!(
        receiver.handle(&second),
        Err(OftFault::Size {
            announced: 41,
            accepted: 40
        })
    );
    let sum = Header {
        total_size: 101,
        ..first
    };
    let fault = OftFault::Size {
        announced: 101,
        accepted: 100,
    };
    assert_eq!(OftReceive::new(of_folder(3, 100)).handle(&sum), Err(fault));
}

#[test]
fn the_counts_of_the_headers_win_when_they_are_smaller() {
    let only = Header {
        total_files: 1,
        files_left: 1,
        size: 60,
        total_size: 60,
        ..prompt()
    };
    let mut receiver = OftReceive::new(of_folder(3, 100));
    offered(&mut receiver, &only);
    receiver.have_it();
    assert!(receiver.is_over());
}

#[test]
fn many_files_pass_one_after_the_other() {
    let sizes = [3, 0, 40];
    let mut sender = OftSend::new(COOKIE, totals(&sizes));
    let mut receiver = OftReceive::new(of_folder(3, 43));
    for (index, size) in sizes.into_iter().enumerate() {
        assert!(!sender.is_over() && !receiver.is_over());
        let name = format!("{index}.txt");
        let file = FileFacts {
            folders: &["photos", "new"],
            ..facts(&name, size)
        };
        let prompt = sender.prompt(&file).unwrap();
        let left = u16::try_from(3 - index).unwrap();
        assert_eq!(
            (prompt.total_files, prompt.files_left, prompt.total_size),
            (3, left, 43)
        );
        let incoming = offered(&mut receiver, &prompt);
        assert_eq!(incoming.path.as_str(), format!("photos/new/{name}"));
        assert_eq!(usize::try_from(incoming.index), Ok(index));
        sender.handle(&receiver.accept()).unwrap();
        sender.body_sent();
        let done = receiver.received(FOX, 0).unwrap();
        assert_eq!(done.files_left, left, "copied unchanged");
        assert_eq!(
            done.flags & FLAG_DONE != 0,
            left == 1,
            "only the last one says so"
        );
        assert_eq!(sender.handle(&done), Ok(SentEvent::FileDone(FileEnd::Sent)));
    }
    assert!(sender.is_over() && receiver.is_over());
    assert_eq!(
        sender.prompt(&facts("more", 1)),
        Err(OftFault::TooManyFiles { accepted: 3 })
    );
}

#[test]
fn a_sender_whose_files_changed_their_size_stops() {
    let size = |announced, accepted| {
        Err(OftFault::Size {
            announced,
            accepted,
        })
    };
    for grown in [42, 44] {
        let mut sender = OftSend::new(COOKIE, totals(&[43]));
        assert_eq!(sender.prompt(&facts("fox.txt", grown)), size(grown, 43));
    }
    let mut sender = OftSend::new(COOKIE, totals(&[1, 2]));
    assert_eq!(sender.prompt(&facts("a", 4)), size(4, 3));
}

#[test]
fn an_empty_file_passes_without_bytes() {
    let prompt = Header {
        total_files: 2,
        files_left: 2,
        size: 0,
        total_size: 1,
        checksum: Checksum::EMPTY,
        ..prompt()
    };
    let mut receiver = OftReceive::new(of_folder(2, 1));
    assert_eq!(offered(&mut receiver, &prompt).size, 0);
    receiver.accept();
    assert!(receiver.received(Checksum::EMPTY, 0).is_ok());
}

#[test]
fn a_header_at_the_wrong_time_closes() {
    let every = [
        Kind::PROMPT,
        Kind::RESUME_ACCEPT,
        Kind::ACK,
        Kind::DONE,
        Kind::RESUME,
        Kind::RESUME_ACK,
        Kind::LIST_PROMPT,
        Kind(0x0999),
    ];
    type Step = fn(&mut OftReceive);
    let receivers: [(Step, Option<Kind>); 4] = [
        (|_| {}, Some(Kind::PROMPT)),
        (|receiver| drop(offered(receiver, &prompt())), None),
        (
            |receiver| {
                offered(receiver, &prompt());
                receiver.accept();
            },
            None,
        ),
        (
            |receiver| {
                offered(receiver, &prompt());
                receiver.resume(16, PART);
            },
            Some(Kind::RESUME_ACCEPT),
        ),
    ];
    for kind in every {
        for (index, (step, allowed)) in receivers.iter().enumerate() {
            let mut receiver = OftReceive::new(terms());
            step(&mut receiver);
            let heard = receiver.handle(&Header { kind, ..prompt() });
            assert_eq!(
                heard == Err(OftFault::Unexpected(kind)),
                *allowed != Some(kind),
                "{index} {kind:?}"
            );
        }
        let mut before = OftSend::new(COOKIE, totals(&[43]));
        assert_eq!(
            before.handle(&prompt().reply(kind, COOKIE)),
            Err(OftFault::Unexpected(kind)),
            "no file was offered"
        );
        let (mut sending, prompt) = sender(43);
        sending.handle(&prompt.reply(Kind::ACK, COOKIE)).unwrap();
        let done = Header {
            received: 43,
            ..prompt.reply(kind, COOKIE)
        };
        assert_eq!(
            sending.handle(&done),
            Err(OftFault::Unexpected(kind)),
            "bytes are on their way"
        );
    }
}
