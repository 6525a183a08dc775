//! The frames of the specification, both ways, and what any bytes are.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::wire::flap::{Channel, Frame};
use crate::wire::hex;
use crate::wire::snac::{Foodgroup, Snac};

/// What a whole frame holds; its length is right, and it encodes to the same bytes.
fn snac(frame: &str) -> Snac {
    let bytes = hex(frame);
    let mut buffer = BytesMut::from(&bytes[..]);
    let frame = Frame::decode(&mut buffer, 65_535)
        .expect("a good frame")
        .expect("a whole frame");
    assert!(buffer.is_empty(), "the length field covers all of it");
    assert_eq!(frame.channel, Channel::DATA);
    let snac = Snac::decode(frame.data.clone()).expect("a good SNAC");
    assert_eq!(snac.foodgroup, Foodgroup::ADMIN);
    let mut again = BytesMut::new();
    let data = snac.encode();
    let frame = Frame { data, ..frame };
    frame.encode(&mut again).expect("short enough");
    assert_eq!(again, bytes);
    snac
}

fn query(frame: &str, id: u32) -> Vec<u16> {
    let snac = snac(frame);
    assert_eq!((snac.subgroup, snac.request_id), (subgroup::INFO_QUERY, id));
    let query = InfoQuery::decode(&snac.body).expect("a good query");
    assert_eq!(query.encode(), snac.body);
    query.tags().collect()
}

fn change(frame: &str, id: u32) -> TlvList {
    let snac = snac(frame);
    assert_eq!(
        (snac.subgroup, snac.request_id),
        (subgroup::INFO_CHANGE_REQUEST, id)
    );
    let change = ChangeRequest::decode(&snac.body).expect("a good change");
    assert_eq!(change.encode(), snac.body);
    change.tlvs
}

fn reply(frame: &str, subgroup: u16, id: u32) -> ReplyBlock {
    let snac = snac(frame);
    assert_eq!((snac.subgroup, snac.request_id), (subgroup, id));
    let reply = InfoReply::decode(&snac.body).expect("a good reply");
    assert_eq!(reply.encode(), snac.body);
    let [block] = &reply.blocks[..] else {
        panic!("one block: {reply:?}");
    };
    block.clone()
}

fn confirmation(frame: &str, id: u32) -> ConfirmReply {
    let snac = snac(frame);
    assert_eq!(
        (snac.subgroup, snac.request_id),
        (subgroup::ACCT_CONFIRM_REPLY, id)
    );
    let reply = ConfirmReply::decode(&snac.body).expect("a good reply");
    assert_eq!(reply.encode(), snac.body);
    reply
}

#[test]
fn a_01_the_example_of_the_specification_is_read_and_written_byte_for_byte() {
    let dump = "2A 02 3D 1E 00 28 00 07 00 03 00 00 00 02 00 02 00 03 00 01 00 11 00 16 41 56 53 68 75 74 6B 6F
        40 6D 61 69 6C 2E 6B 68 73 74 75 2E 72 75";
    let block = reply(dump, subgroup::INFO_REPLY, 0x0002_0002);
    let email = &b"AVShutko@mail.khstu.ru"[..];
    assert_eq!(
        block,
        ReplyBlock::value(Permissions::CHANGEABLE, tag::EMAIL, email)
    );
    // And from the values alone.
    let body = InfoReply {
        blocks: vec![block],
    }
    .encode();
    let snac = Snac::new(Foodgroup::ADMIN, subgroup::INFO_REPLY, 0x0002_0002, body);
    let frame = Frame {
        channel: Channel::DATA,
        sequence: 15_646,
        data: snac.encode(),
    };
    let mut out = BytesMut::new();
    frame.encode(&mut out).expect("short enough");
    assert_eq!((out.len(), out.freeze()), (46, hex(dump)));
}

#[test]
fn a_02_the_six_dumps_of_shutko_are_read_and_written_and_their_lengths_match() {
    let asks = "2A 02 27 03 00 0E 00 07 00 02 00 00 00 00 00 02 00 01 00 00";
    assert_eq!(query(asks, 2), [tag::FORMAT]);
    let name = "2A 02 6B C0 00 1B 00 07 00 04 00 00 00 01 00 04 00 01 00 0D 52 45 41 4C 52 65 67 72 65 73 73 6F 72";
    let format = &b"REALRegressor"[..];
    let expected = ChangeRequest::field(tag::FORMAT, format);
    assert_eq!(change(name, 0x0001_0004), expected.tlvs);
    let email = "2A 02 6B C4 00 21 00 07 00 04 00 00 00 04 00 04 00 11 00 13 61 61 61 61 61 40 6B 70 73 6D 2E 6B 68 73 74 75
        2E 72 75";
    let expected = ChangeRequest::field(tag::EMAIL, &b"aaaaa@kpsm.khstu.ru"[..]);
    assert_eq!(change(email, 0x0004_0004), expected.tlvs);
    let accepted = "2A 02 3D 1C 00 1F 00 07 00 05 00 00 00 01 00 04 00 03 00 01 00 01 00 0D 52 45 41 4C 52 65 67 72 65 73 73
        6F 72";
    let block = reply(accepted, subgroup::INFO_CHANGE_REPLY, 0x0001_0004);
    assert_eq!(
        block,
        ReplyBlock::value(Permissions::CHANGEABLE, tag::FORMAT, format)
    );
    let confirm = snac("2A 02 6B CA 00 0A 00 07 00 06 00 00 00 07 00 06");
    assert_eq!(
        (confirm.subgroup, confirm.request_id),
        (subgroup::ACCT_CONFIRM_REQUEST, 0x0007_0006)
    );
    assert_eq!(
        ConfirmRequest::decode(&confirm.body),
        Ok(ConfirmRequest::default())
    );
    let confirmed = "2A 02 12 8B 00 22 00 07 00 07 00 00 00 01 00 06 00 1E 00 04 00 12 68 74 74 70 3A 2F 2F 77 77 77 2E 61 6F
        6C 2E 63 6F 6D";
    let confirmed = confirmation(confirmed, 0x0001_0006);
    assert_eq!(confirmed.status, ConfirmStatus::ALREADY);
    let url = &b"http://www.aol.com"[..];
    assert_eq!(confirmed.tlvs, TlvList::new().with(tag::ERROR_URL, url));
}

#[test]
fn a_02_what_libpurple_sends_and_takes_is_read_and_written() {
    let password = "2A 02 00 06 00 20 00 07 00 04 00 00 00 00 00 29 00 02 00 08 6E 65 77 70 61 73 73 31 00 12 00 06 73 65 63 72
        65 74";
    let expected = ChangeRequest::password(b"newpass1", b"secret");
    assert_eq!(change(password, 0x29), expected.tlvs);
    let accepted = "2A 02 00 04 00 12 00 07 00 05 00 00 00 00 00 29 00 03 00 01 00 02 00 00";
    let block = reply(accepted, subgroup::INFO_CHANGE_REPLY, 0x29);
    assert_eq!(
        block,
        ReplyBlock::value(Permissions::CHANGEABLE, tag::PASSWORD, Bytes::new())
    );
    let asks = "2A 02 00 06 00 0E 00 07 00 02 00 00 00 00 00 29 00 11 00 00";
    assert_eq!(query(asks, 0x29), [tag::EMAIL]);
    let told = "2A 02 00 04 00 20 00 07 00 03 00 00 00 00 00 29 00 03 00 01 00 11 00 0E 6D 65 40 65 78 61 6D 70 6C 65 2E 6F
        72 67";
    let block = reply(told, subgroup::INFO_REPLY, 0x29);
    assert_eq!(block.tlvs.text(tag::EMAIL), Some("me@example.org"));
    let confirm = snac("2A 02 00 06 00 0A 00 07 00 06 00 00 00 00 00 00");
    assert_eq!((confirm.request_id, confirm.body.len()), (0, 0));
    let confirmed = "2A 02 00 04 00 19 00 07 00 07 00 00 00 00 00 00 00 1E 00 04 00 09 68 74 74 70 3A 2F 2F 78 2F";
    assert_eq!(
        confirmation(confirmed, 0).tlvs.text(tag::ERROR_URL),
        Some("http://x/")
    );
}

#[test]
fn a_14_an_error_is_three_tlvs_the_code_of_two_bytes_and_the_url_even_if_empty() {
    let block = ReplyBlock::error(
        Permissions::LOCKED,
        tag::EMAIL,
        AdminErrorCode::PENDING_REQUEST,
        Bytes::new(),
    );
    let reply = InfoReply {
        blocks: vec![block],
    };
    assert_eq!(
        reply.encode(),
        hex("0002 0003 0011 0000 0008 0002 001d 0004 0000")
    );
    let block = &reply.blocks[0];
    assert_eq!(
        (block.field(), block.error_code()),
        (Some(tag::EMAIL), Some(AdminErrorCode::PENDING_REQUEST))
    );
    assert_eq!(reply.field(tag::EMAIL), Some(block));
    assert_eq!(reply.field(tag::FORMAT), None);
}

#[test]
fn a_code_of_ours_goes_with_the_wish_to_be_confirmed_and_a_password_with_that_to_be_deleted() {
    let confirm = ConfirmRequest::with_code(&b"k7"[..]);
    assert_eq!(confirm.encode(), hex("524d 0002 6b37"));
    assert_eq!(confirm.code(), Some(&hex("6b37")));
    assert_eq!(DeleteRequest::of(b"pw").encode(), hex("0012 0002 7077"));
    let refused = DeleteReply::decode(&hex("0008 0002 0004 0004 0000")).expect("good");
    assert_eq!(
        (refused.error(), DeleteReply::default().error()),
        (Some(AdminErrorCode::SERVICE_TEMP_UNAVAILABLE), None)
    );
    assert_eq!(
        ChangeRequest::registration(Registration::FULL).encode(),
        hex("0013 0002 0003")
    );
}

#[test]
fn a_20_the_field_that_runs_past_the_end_is_named_and_a_fragment_has_no_name() {
    let overrun = |digits| super::overrun(&hex(digits));
    assert_eq!(overrun("0011 0005 61"), Some(0x11));
    assert_eq!(overrun("0001 0001 61 0013 ffff"), Some(0x13));
    assert_eq!(overrun("0001 0001 61"), None);
    assert_eq!(overrun("0001 0001 61 00"), None, "no tag");
    assert_eq!(overrun("0001 0001 61 0011 00"), None, "no length");
    assert!(ChangeRequest::decode(&hex("0011 0005 61")).is_err());
    assert!(InfoReply::decode(&hex("0003 0002 0011 0000")).is_err());
    assert!(InfoReply::decode(&hex("0003 0001 0011 0001")).is_err());
    assert!(ConfirmReply::decode(&hex("00")).is_err());
    let many = Bytes::from([0, 3, 0, 0].repeat(InfoReply::BLOCKS_MAX + 1));
    assert!(InfoReply::decode(&many.slice(4..)).is_ok());
    assert!(InfoReply::decode(&many).is_err(), "no end of blocks");
}

#[test]
fn a_25_no_body_shows_its_values() {
    let secret = &b"hunter2"[..];
    let block = ReplyBlock::value(Permissions::CHANGEABLE, tag::EMAIL, secret);
    let reply = InfoReply {
        blocks: vec![block],
    };
    let confirm = ConfirmReply {
        status: ConfirmStatus::DONE,
        tlvs: TlvList::new().with(tag::ERROR_URL, secret),
    };
    let shown = [
        format!("{:?}", ChangeRequest::password(secret, secret)),
        format!("{:?}", DeleteRequest::of(secret)),
        format!("{:?}", ConfirmRequest::with_code(secret)),
        format!("{reply:?} {confirm:?}"),
    ]
    .concat();
    assert_eq!(
        shown,
        "ChangeRequest {2: 7, 18: 7}DeleteRequest {18: 7}ConfirmRequest {21069: 7}\
         InfoReply { blocks: [ReplyBlock Permissions::CHANGEABLE {17: 7}] } ConfirmReply ConfirmStatus::DONE {4: 7}"
    );
}

fn some_bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

fn some_tlvs() -> impl Strategy<Value = TlvList> {
    let tag = prop_oneof![0u16..0x20, any::<u16>(), Just(tlv::CONFIRM_CODE)];
    vec((tag, some_bytes(20)), 0..6).prop_map(|tlvs| {
        tlvs.into_iter()
            .fold(TlvList::new(), |list, (tag, value)| list.with(tag, value))
    })
}

fn some_block() -> impl Strategy<Value = ReplyBlock> {
    (any::<u16>(), some_tlvs()).prop_map(|(permissions, tlvs)| ReplyBlock {
        permissions: Permissions(permissions),
        tlvs,
    })
}

proptest! {
    #[test]
    fn any_bytes_are_bodies_that_survive_or_errors(data in some_bytes(80)) {
        let _ = overrun(&data);
        if let Ok(body) = InfoQuery::decode(&data) {
            let _ = body.tags().count();
            prop_assert_eq!(overrun(&data), None);
            prop_assert_eq!(body.encode(), data.clone());
        }
        if let Ok(body) = ChangeRequest::decode(&data) {
            prop_assert_eq!(body.encode(), data.clone());
        }
        if let Ok(body) = ConfirmRequest::decode(&data) {
            let _ = body.code();
            prop_assert_eq!(body.encode(), data.clone());
        }
        if let Ok(body) = DeleteRequest::decode(&data) {
            prop_assert_eq!(body.encode(), data.clone());
        }
        if let Ok(body) = DeleteReply::decode(&data) {
            let _ = body.error();
            prop_assert_eq!(body.encode(), data.clone());
        }
        if let Ok(body) = ConfirmReply::decode(&data) {
            let _ = body.error();
            prop_assert_eq!(body.encode(), data.clone());
        }
        if let Ok(body) = InfoReply::decode(&data) {
            let _ = (body.field(tag::EMAIL), body.blocks.first().map(ReplyBlock::error_code));
            prop_assert_eq!(body.encode(), data);
        }
    }

    #[test]
    fn replies_survive(blocks in vec(some_block(), 0..4), status: u16, tlvs in some_tlvs()) {
        let reply = InfoReply { blocks };
        prop_assert_eq!(InfoReply::decode(&reply.encode()), Ok(reply));
        let confirm = ConfirmReply { status: ConfirmStatus(status), tlvs: tlvs.clone() };
        prop_assert_eq!(ConfirmReply::decode(&confirm.encode()), Ok(confirm));
        let change = ChangeRequest { tlvs };
        prop_assert_eq!(ChangeRequest::decode(&change.encode()), Ok(change));
    }
}
