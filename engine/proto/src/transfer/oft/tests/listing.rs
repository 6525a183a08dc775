//! Shared folders.

use super::*;
use crate::transfer::SafeRelPath;
use crate::wire::oft::NameCharset;

#[test]
fn a_listing_passes_and_a_file_is_picked() {
    use crate::wire::oft::{ListEntry, Listing};
    let listing = Listing(vec![
        ListEntry::new(["fox.txt"], 43, 1, false).unwrap(),
        ListEntry::new(["photos"], 0, 1, true).unwrap(),
    ]);
    let (mut owner, mut requester) = (ListOwner::new(COOKIE), ListRequester::new(COOKIE, false));
    for folder in [true, false] {
        let prompt = owner.list(&listing).unwrap();
        assert_eq!(
            (
                prompt.kind,
                prompt.flags,
                prompt.total_files,
                prompt.files_left
            ),
            (Kind::LIST_PROMPT, 0x30, 2, 1)
        );
        let Ok(RequesterEvent::ReceiveListing { reply, len }) = requester.handle(&prompt) else {
            panic!()
        };
        assert_eq!((reply.kind, len), (Kind::LIST_ACK, 85));
        let Ok(OwnerEvent::SendListing(bytes)) = owner.handle(&reply) else {
            panic!()
        };
        let (reply, read) = requester.received(&bytes).unwrap();
        assert_eq!((reply.kind, reply.flags), (Kind::LIST_RECEIVED, 0x21));
        assert_eq!(read, listing);
        assert_eq!(owner.handle(&reply), Ok(OwnerEvent::Listed));
        if folder {
            let want = requester.want_folder(["photos"]).unwrap();
            let photos = SafeRelPath::parse("photos").unwrap();
            assert_eq!(owner.handle(&want), Ok(OwnerEvent::Folder(Some(photos))));
        }
    }
    let want = requester.want_file(["photos", "fox.txt"]).unwrap();
    let fox = SafeRelPath::parse("photos/fox.txt").unwrap();
    assert_eq!(owner.handle(&want), Ok(OwnerEvent::File(fox)));
}

#[test]
fn an_owner_gives_nothing_outside_of_the_shared_folder() {
    let ask = |kind, name: &[u8]| {
        let name = NameField::new(bytes::Bytes::copy_from_slice(name)).unwrap();
        ListOwner::new(COOKIE).handle(&Header::new(kind, COOKIE, NameCharset::ASCII, name))
    };
    for name in [
        &b"..\0"[..],
        b"a\x01..\x01..\x01b\0",
        b"/etc/passwd\0",
        b"a/b\0",
        b"C:\\x\0",
        b".\0",
    ] {
        assert_eq!(
            ask(Kind::REQUEST_FILE, name),
            Err(OftFault::Path),
            "{name:?}"
        );
        assert_eq!(
            ask(Kind::REQUEST_LISTING, name),
            Err(OftFault::Path),
            "{name:?}"
        );
    }
    assert_eq!(
        ask(Kind::REQUEST_LISTING, b"\0"),
        Ok(OwnerEvent::Folder(None)),
        "the shared folder itself"
    );
    assert_eq!(ask(Kind::REQUEST_FILE, b"\0"), Err(OftFault::Path));
}

#[test]
fn a_damaged_listing_is_refused() {
    let mut owner = ListOwner::new(COOKIE);
    let prompt = owner.list(&Default::default()).unwrap();
    let mut requester = ListRequester::new(COOKIE, false);
    requester.handle(&prompt).unwrap();
    assert!(matches!(
        requester.received(&bytes::Bytes::from_static(b"Lst2")),
        Err(OftFault::Checksum { .. })
    ));
    owner.handle(&prompt.reply(Kind::LIST_ACK, COOKIE)).unwrap();
    assert_eq!(
        owner.handle(&requester.corrupt()),
        Err(OftFault::ListingCorrupt)
    );
    let large = Header {
        size: (4 << 20) + 1,
        ..prompt
    };
    let fault = OftFault::ListingTooLarge((4 << 20) + 1);
    assert_eq!(ListRequester::new(COOKIE, false).handle(&large), Err(fault));
}

#[test]
fn l_15_l_16_cookies_count_in_listings_too() {
    let prompt = ListOwner::new(COOKIE).list(&Default::default()).unwrap();
    let zero = Header {
        cookie: Cookie::ZERO,
        ..prompt
    };
    assert_eq!(
        ListRequester::new(COOKIE, false).handle(&zero),
        Err(OftFault::Cookie)
    );
    let mut requester = ListRequester::new(COOKIE, true);
    let Ok(RequesterEvent::ReceiveListing { reply, .. }) = requester.handle(&zero) else {
        panic!()
    };
    assert_eq!(reply.cookie, COOKIE);
    let mut owner = ListOwner::new(COOKIE);
    owner.list(&Default::default()).unwrap();
    assert_eq!(
        owner.handle(&Header {
            cookie: Cookie::ZERO,
            ..*reply
        }),
        Err(OftFault::Cookie)
    );
}
