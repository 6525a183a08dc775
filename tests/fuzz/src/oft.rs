//! What old clients send over a connection: headers, listings, and both machines fed with headers from a peer who may send anything.

use bytes::{Bytes, BytesMut};
use rdv_proto::transfer::SafeRelPath;
use rdv_proto::transfer::oft::{
    FileFacts, ListOwner, ListRequester, OftReceive, OftSend, OftTotals, OwnerEvent, ReceiveTerms,
    ReceivedEvent, RequesterEvent, SentEvent, clean_path, proposed_name,
};
use rdv_proto::wire::oft::{Checksum, Header, Listing, RunningChecksum};
use rdv_proto::wire::rendezvous::Cookie;

use super::survives;

/// The cookie that libpurple chooses first in every process, and so that of most recordings.
const COOKIE: Cookie = Cookie(*b"3855154\0");
/// Size of the file in most recordings.
const SIZE: u64 = 100_003;

/// A stream of headers; or a listing.
pub fn decode_oft(data: &[u8]) {
    let mut again = BytesMut::new();
    for header in headers(data) {
        again.extend_from_slice(&header.encode());
        if let Ok(parts) = header.name_parts() {
            clean_twice(&parts);
        }
    }
    assert!(data.starts_with(&again), "OFT headers changed");
    let data = Bytes::copy_from_slice(data);
    let listing = survives(&data, Listing::decode(&data), Listing::encode);
    for entry in listing.iter().flat_map(|listing| &listing.0) {
        let _ = (entry.size(), entry.mtime(), entry.is_folder());
        if let Ok(parts) = entry.path() {
            clean_twice(&parts);
        }
    }
    let (mut whole, mut halves) = (RunningChecksum::new(), RunningChecksum::new());
    whole.update(&data);
    let (one, other) = data.split_at(data.len() / 3);
    halves.update(one);
    let mut halves = RunningChecksum::from_header(halves.value(), halves.len());
    halves.update(other);
    assert_eq!(whole.value(), halves.value(), "pieces have another sum");
}

fn clean_twice(parts: &[String]) {
    let path = clean_path(parts);
    assert_eq!(SafeRelPath::parse(path.as_str()).as_ref(), Ok(&path));
    assert_eq!(clean_path(path.parts()), path, "cleaned twice");
    let _ = proposed_name(path.as_str(), true);
}

/// The headers of a sender; the first byte says what was accepted and what the receiver has.
pub fn oft_receive(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let folder = choice & 1 != 0;
    let mut receiver = OftReceive::new(ReceiveTerms {
        cookie: COOKIE,
        zero_cookie_counts: choice & 2 != 0,
        files: if folder { 3 } else { 1 },
        bytes: SIZE,
        name: "pattern-100003.bin".to_owned(),
        folder,
    });
    let mut requester = ListRequester::new(COOKIE, choice & 2 != 0);
    let (mut files, mut bytes) = (0, 0);
    for header in headers(data) {
        if let Ok(RequesterEvent::ReceiveListing { len, .. }) = requester.handle(&header) {
            assert!(len <= 4 << 20, "a listing too large to hold");
            let _ = requester.received(&Bytes::copy_from_slice(data));
        }
        match receiver.handle(&header) {
            Ok(ReceivedEvent::Offered(incoming)) => {
                files += 1;
                bytes += incoming.size;
                assert!(files <= 3 && bytes <= SIZE, "more than was accepted");
                match choice >> 2 & 3 {
                    0 => drop(receiver.have_it()),
                    1 => drop(receiver.resume(incoming.size / 2, Checksum::EMPTY)),
                    _ => {
                        receiver.accept();
                        if receiver.received(incoming.checksum, 0).is_err() {
                            return;
                        }
                    }
                }
            }
            Ok(ReceivedEvent::ReceiveBody { from, len, .. }) => {
                assert!(from + len <= SIZE, "more than was accepted");
                if receiver.received(header.checksum, 0).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// The headers of a receiver who was offered a file.
pub fn oft_send(data: &[u8]) {
    let totals = OftTotals::of([SIZE], false).expect("a file that fits");
    let mut sender = OftSend::new(COOKIE, totals);
    let file = FileFacts {
        name: "pattern-100003.bin",
        folders: &[],
        size: SIZE,
        mtime: 0,
        checksum: Checksum(0x3B9B_0000),
    };
    sender.prompt(&file).expect("the file that was announced");
    let mut owner = ListOwner::new(COOKIE);
    owner.list(&Listing::default()).expect("a short listing");
    for header in headers(data) {
        if let Ok(OwnerEvent::File(path)) = owner.handle(&header) {
            assert!(path.parts().all(|part| part != ".."), "out of the folder");
        }
        match sender.handle(&header) {
            Ok(SentEvent::SendBody { from }) => {
                assert!(from <= SIZE, "behind the end");
                sender.body_sent();
            }
            Ok(SentEvent::CheckResume { received, .. }) => {
                assert!(received <= SIZE, "behind the end");
                sender.resume_checked(Checksum(0x9E79_0000));
            }
            Ok(SentEvent::FileDone(_)) => return assert!(sender.is_over()),
            Ok(SentEvent::Reply(_)) => {}
            Err(_) => return,
        }
    }
}

fn headers(data: &[u8]) -> impl Iterator<Item = Header> {
    let mut buffer = BytesMut::from(data);
    std::iter::from_fn(move || Header::decode(&mut buffer).ok().flatten())
}
