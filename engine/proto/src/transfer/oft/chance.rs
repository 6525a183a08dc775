//! Both machines against each other, and each against anything.

use proptest::collection::vec;
use proptest::prelude::*;

use super::names::Taken;
use super::*;
use crate::transfer::SafeRelPath;
use crate::wire::oft::{NameCharset, NameField, RunningChecksum};

const COOKIE: Cookie = Cookie(*b"1234567\0");

fn sum(data: &[u8]) -> Checksum {
    let mut sum = RunningChecksum::new();
    sum.update(data);
    sum.value()
}

/// What the receiver of a file does.
#[derive(Debug, Clone)]
enum Choice {
    Take,
    HaveIt,
    /// It has so many parts of 100, the last byte of them perhaps damaged.
    Resume(usize, bool),
}

fn choice() -> impl Strategy<Value = Choice> {
    prop_oneof![
        3 => Just(Choice::Take),
        1 => Just(Choice::HaveIt),
        3 => (0_usize..=100, any::<bool>()).prop_map(|(percent, damaged)| Choice::Resume(percent, damaged)),
    ]
}

fn some_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::PROMPT),
        Just(Kind::ACK),
        Just(Kind::DONE),
        Just(Kind::RESUME),
        Just(Kind::RESUME_ACCEPT),
        Just(Kind::RESUME_ACK),
        any::<u16>().prop_map(Kind),
    ]
}

fn some_header() -> impl Strategy<Value = Header> {
    let numbers = (
        prop_oneof![Just(0_u32), Just(10), Just(20), any::<u32>()],
        0_u16..4,
        0_u16..4,
        prop_oneof![Just(0_u32), Just(5), any::<u32>()],
    );
    (some_kind(), numbers, vec(any::<u8>(), 1..40), 0_u16..4).prop_map(
        |(kind, (size, total_files, files_left, received), name, charset)| {
            let name = NameField::new(name.into()).unwrap();
            Header {
                size,
                total_size: size,
                total_files,
                files_left,
                received,
                ..Header::new(kind, COOKIE, NameCharset(charset), name)
            }
        },
    )
}

proptest! {
    #[test]
    fn whatever_the_receiver_has_it_ends_up_with_all_files(
        files in vec((vec(any::<u8>(), 0..200), choice()), 1..6).prop_filter("something to send", |files| files.iter().any(|(data, _)| !data.is_empty()))
    ) {
        let sizes = files.iter().map(|(data, _)| data.len() as u64);
        let totals = OftTotals::of(sizes, false).unwrap();
        let mut sender = OftSend::new(COOKIE, totals);
        let mut receiver = OftReceive::new(ReceiveTerms {
            cookie: COOKIE,
            zero_cookie_counts: false,
            files: totals.files().into(),
            bytes: totals.bytes(),
            name: "d\\*".into(),
            folder: true,
        });
        for (index, (data, choice)) in files.iter().enumerate() {
            let name = index.to_string();
            let facts = FileFacts { name: &name, folders: &["d"], size: data.len() as u64, mtime: 0, checksum: sum(data) };
            let prompt = sender.prompt(&facts).unwrap();
            let Ok(ReceivedEvent::Offered(incoming)) = receiver.handle(&prompt) else { panic!() };
            prop_assert_eq!(incoming.size, data.len() as u64);
            let mut disk = Vec::new();
            let from = match choice {
                Choice::HaveIt => {
                    let event = sender.handle(&receiver.have_it()).unwrap();
                    prop_assert_eq!(event, SentEvent::FileDone(FileEnd::AlreadyThere));
                    continue;
                }
                Choice::Take => {
                    let Ok(SentEvent::SendBody { from }) = sender.handle(&receiver.accept()) else { panic!() };
                    from
                }
                Choice::Resume(percent, damaged) => {
                    disk.extend_from_slice(&data[..data.len() * percent / 100]);
                    if let (true, Some(last)) = (damaged, disk.last_mut()) {
                        *last ^= 0x40;
                    }
                    let resume = receiver.resume(disk.len() as u64, sum(&disk));
                    let Ok(SentEvent::CheckResume { received, .. }) = sender.handle(&resume) else { panic!() };
                    let accept = sender.resume_checked(sum(&data[..usize::try_from(received).unwrap()]));
                    let Ok(ReceivedEvent::ReceiveBody { reply, from, len }) = receiver.handle(&accept) else { panic!() };
                    prop_assert_eq!(from + len, data.len() as u64);
                    prop_assert_eq!(from == 0, *damaged || disk.is_empty());
                    disk.truncate(usize::try_from(from).unwrap());
                    prop_assert_eq!(sender.handle(&reply), Ok(SentEvent::SendBody { from }));
                    from
                }
            };
            disk.extend_from_slice(&data[usize::try_from(from).unwrap()..]);
            sender.body_sent();
            prop_assert_eq!(&disk, data);
            let done = receiver.received(sum(&disk), 0).unwrap();
            prop_assert_eq!(sender.handle(&done), Ok(SentEvent::FileDone(FileEnd::Sent)));
        }
        prop_assert!(sender.is_over() && receiver.is_over());
    }

    #[test]
    fn no_headers_take_a_receiver_past_what_was_accepted(headers in vec((some_header(), 0_u8..3), 0..12), folder: bool) {
        let terms = ReceiveTerms { cookie: COOKIE, zero_cookie_counts: true, files: 3, bytes: 40, name: "n".into(), folder };
        let mut receiver = OftReceive::new(terms);
        let (mut files, mut bytes) = (0, 0);
        for (header, choice) in headers {
            match receiver.handle(&header) {
                Ok(ReceivedEvent::Offered(incoming)) => {
                    files += 1;
                    bytes += incoming.size;
                    prop_assert!(files <= 3 && bytes <= 40);
                    match choice {
                        0 => drop(receiver.have_it()),
                        1 => drop(receiver.resume(incoming.size / 2, Checksum::EMPTY)),
                        _ => {
                            receiver.accept();
                            receiver.received(incoming.checksum, 0).unwrap();
                        }
                    }
                }
                Ok(ReceivedEvent::ReceiveBody { from, len, .. }) => {
                    prop_assert!(from + len <= 40);
                    receiver.received(Checksum::EMPTY, 0).unwrap();
                }
                Err(_) => break,
            }
        }
    }

    #[test]
    fn no_headers_take_a_sender_past_its_file(headers in vec(some_header(), 0..8)) {
        let mut sender = OftSend::new(COOKIE, OftTotals::of([10], false).unwrap());
        sender.prompt(&FileFacts { name: "n", folders: &[], size: 10, mtime: 0, checksum: Checksum(7 << 16) }).unwrap();
        for header in headers {
            match sender.handle(&header) {
                Ok(SentEvent::SendBody { from }) => {
                    prop_assert!(from <= 10);
                    sender.body_sent();
                }
                Ok(SentEvent::CheckResume { received, checksum }) => {
                    prop_assert!(received <= 10);
                    sender.resume_checked(checksum);
                }
                Ok(SentEvent::FileDone(_)) => {
                    prop_assert!(sender.is_over());
                    return Ok(());
                }
                Ok(SentEvent::Reply(_)) => {}
                Err(_) => return Ok(()),
            }
        }
    }

    #[test]
    fn f_1_a_cleaned_name_is_safe_and_cleaning_it_again_changes_nothing(parts in vec("\\PC{0,40}|[a./\\\\: ]{0,12}|.{0,300}|(CON|nul|com1)[. ]?[a-z]{0,3}|[a-z]{0,3}\\.rdv-part", 0..40)) {
        let path = clean_path(&parts);
        prop_assert_eq!(SafeRelPath::parse(path.as_str()), Ok(path.clone()));
        prop_assert_eq!(clean_path(path.parts()), path);
    }

    #[test]
    fn f_1_a_proposed_name_is_one_part(name in "\\PC{0,40}|[a./\\\\:* \u{1}]{0,12}|.{0,300}", folder: bool) {
        prop_assert_eq!(proposed_name(&name, folder).parts().count(), 1);
    }

    #[test]
    fn f_2_no_two_placed_names_are_one(names in vec(vec("[abAB]{1,2}", 1..4), 1..40)) {
        let mut taken = Taken::default();
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        for parts in &names {
            let placed = taken.place(&clean_path(parts)).expect("few names");
            let folded = SafeRelPath::folded(placed.as_str());
            prop_assert!(!files.contains(&folded), "{folded} twice");
            folders.extend(folded.match_indices('/').map(|(at, _)| folded[..at].to_owned()));
            files.push(folded);
        }
        prop_assert!(!files.iter().any(|file| folders.contains(file)), "a file that is a folder");
    }
}
