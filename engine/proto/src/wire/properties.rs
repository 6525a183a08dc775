//! Properties of every decoder: it takes any bytes, and what it understood encodes to the bytes that it came from.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

use super::ars;
use super::codec::Reader;
use super::flap;
use super::icbm::{
    Channel, ClientError, ClientErrorCode, MessageToClient, MessageToHost, UserInfo,
};
use super::link;
use super::rendezvous::{Cookie, Message, MessageKind};
use super::security::{MAGIC, SecurityBlock};
use super::service::SendFileData;
use super::signal::Signal;
use super::snac::{Foodgroup, Snac};
use super::text::ScreenName;
use super::tlv::{Tlv, TlvList};

fn some_bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

fn some_tlv() -> impl Strategy<Value = Tlv> {
    // Half of the tags are known ones, so that repetitions and odd lengths of these occur.
    let tag = prop_oneof![0u16..0x20, any::<u16>(), Just(0x2711), Just(0x5244)];
    (tag, some_bytes(40)).prop_map(|(tag, value)| Tlv { tag, value })
}

fn some_tlvs() -> impl Strategy<Value = TlvList> {
    vec(some_tlv(), 0..20).prop_map(TlvList)
}

fn some_name() -> impl Strategy<Value = ScreenName> {
    "[a-zA-Z0-9][a-zA-Z0-9 ]{0,20}"
        .prop_map(|name| ScreenName::new(name).expect("made of good characters"))
}

fn some_cookie() -> impl Strategy<Value = Cookie> {
    any::<[u8; 8]>().prop_map(Cookie)
}

fn some_user() -> impl Strategy<Value = UserInfo> {
    (some_name(), any::<u16>(), some_tlvs()).prop_map(|(name, warning, tlvs)| UserInfo {
        name,
        warning,
        tlvs,
    })
}

fn some_block() -> impl Strategy<Value = Bytes> {
    (
        prop_oneof![0u16..4, any::<u16>()],
        any::<[u8; 24]>(),
        some_tlvs(),
    )
        .prop_map(|(kind, head, params)| {
            let mut out = BytesMut::from(&kind.to_be_bytes()[..]);
            out.extend_from_slice(&head);
            params.encode_rest(&mut out);
            out.freeze()
        })
}

fn rest(tlvs: &TlvList) -> Bytes {
    let mut out = BytesMut::new();
    tlvs.encode_rest(&mut out);
    out.freeze()
}

/// Calls every getter: none may panic, whatever the parameters are.
fn read_all(message: &Message) {
    let _ = (
        message.check(),
        message.sequence(),
        message.cancel_reason(),
        message.request_secure(),
    );
    let _ = (
        message.rendezvous_ip(),
        message.altered_ip(),
        message.requester_ip(),
        message.verified_ip(),
    );
    let _ = (
        message.undisputed_verified_ip(),
        message.port(),
        message.altered_port(),
        message.relay_token(),
    );
    let _ = (
        message.min_version(),
        message.max_version(),
        message.versions_overlap(1, 1),
        message.addr_list(),
    );
    let _ = (
        message.invitation(),
        message.service_data(),
        message.file_name_charset(),
        message.total_size(),
    );
    let _ = message
        .send_file_data()
        .map(|data| data.map(|data| data.name(message.file_name_charset())));
    let _ = message
        .security_block()
        .map(|block| block.map(|block| (block.alpn(), block.key(), block.sealed())));
}

proptest! {
    #[test]
    fn tlvs_survive_in_all_three_containers(tlvs in some_tlvs(), behind in some_bytes(8)) {
        prop_assert_eq!(TlvList::decode_rest(rest(&tlvs)), Ok(tlvs.clone()));
        let mut out = BytesMut::new();
        tlvs.encode_block(&mut out);
        tlvs.encode_lblock(&mut out);
        out.extend_from_slice(&behind);
        let data = out.freeze();
        let mut reader = Reader::new(&data, "test");
        prop_assert_eq!(TlvList::decode_block(&mut reader, &data), Ok(tlvs.clone()));
        prop_assert_eq!(TlvList::decode_lblock(&mut reader, &data), Ok(tlvs));
        prop_assert_eq!(reader.rest(), &behind[..]);
    }

    #[test]
    fn any_bytes_are_tlvs_that_survive_or_an_error(data in some_bytes(200)) {
        if let Ok(tlvs) = TlvList::decode_rest(data.clone()) {
            prop_assert_eq!(rest(&tlvs), data);
        }
    }

    #[test]
    fn flap_frames_survive_however_they_arrive(
        channel: u8, sequence: u16, data in some_bytes(300), behind in some_bytes(8), cut in 6usize..400,
    ) {
        let frame = flap::Frame { channel: flap::Channel(channel), sequence, data };
        let mut out = BytesMut::new();
        frame.encode(&mut out).expect("short enough");
        let length = out.len();
        out.extend_from_slice(&behind);
        let later = out.split_off(cut.min(length - 1).max(flap::HEADER_LEN).min(out.len()));
        if out.len() < length {
            prop_assert_eq!(flap::Frame::decode(&mut out, 65_535), Ok(None));
        }
        out.extend_from_slice(&later);
        prop_assert_eq!(flap::Frame::decode(&mut out, 65_535), Ok(Some(frame)));
        prop_assert_eq!(&out[..], &behind[..]);
    }

    #[test]
    fn any_bytes_are_a_flap_frame_that_survives_or_none(mut data in vec(any::<u8>(), 0..60), marker: bool, max in 0usize..70) {
        if let (true, Some(first)) = (marker, data.first_mut()) {
            *first = flap::MARKER;
        }
        let mut buffer = BytesMut::from(&data[..]);
        if let Ok(Some(frame)) = flap::Frame::decode(&mut buffer, max) {
            prop_assert!(frame.data.len() <= max);
            let bodiless = frame.channel == flap::Channel::SIGN_OFF && data.len() < flap::HEADER_LEN;
            let mut again = BytesMut::new();
            frame.encode(&mut again).expect("it was read from a frame");
            again.extend_from_slice(&buffer);
            prop_assert!(bodiless || again == data);
        }
    }

    #[test]
    fn snacs_survive(
        foodgroup: u16, subgroup: u16, flags in 0u16..0x8000, request_id: u32,
        prefix in proptest::option::of(some_tlvs()), body in some_bytes(60),
    ) {
        let flags = flags | if prefix.is_some() { 0x8000 } else { 0 };
        let snac = Snac { foodgroup: Foodgroup(foodgroup), subgroup, flags, request_id, prefix, body };
        prop_assert_eq!(Snac::decode(snac.encode()), Ok(snac));
    }

    #[test]
    fn any_bytes_are_a_snac_that_survives_or_an_error(data in some_bytes(60)) {
        if let Ok(snac) = Snac::decode(data.clone()) {
            prop_assert_eq!(snac.encode(), data);
        }
    }

    #[test]
    fn rendezvous_messages_survive_whatever_their_kind_and_tags(block in some_block()) {
        let message = Message::decode(block.clone()).expect("well-formed");
        read_all(&message);
        prop_assert_eq!(message.encode(), block);
    }

    #[test]
    fn any_bytes_are_a_rendezvous_message_that_survives_or_an_error(data in some_bytes(120)) {
        if let Ok(message) = Message::decode(data.clone()) {
            read_all(&message);
            prop_assert_eq!(message.encode(), data);
        }
    }

    #[test]
    fn a_host_only_ever_touches_its_own_tags(block in some_block(), ip: [u8; 4]) {
        use super::rendezvous::{host, tag};
        let mut message = Message::decode(block).expect("well-formed");
        let foreign = |message: &Message| {
            let kept = message.params().0.iter().filter(|tlv| !tag::is_host_only(tlv.tag));
            kept.cloned().collect::<Vec<_>>()
        };
        let before = foreign(&message);
        host::strip(&mut message);
        let added = host::add_verified_ip(&mut message, ip.into());
        prop_assert_eq!(message.params().all(tag::VERIFIED_IP).count(), usize::from(added));
        prop_assert!(!added || message.kind == MessageKind::PROPOSE);
        prop_assert_eq!(foreign(&message), before);
    }

    #[test]
    fn any_bytes_are_addresses_or_nothing(list in some_bytes(200)) {
        prop_assert!(super::address::decode_addr_list(&list).len() <= 16);
    }

    #[test]
    fn address_lists_survive(addresses in vec((any::<std::net::IpAddr>(), 1u16..), 0..16)) {
        let addresses: Vec<_> = addresses.into_iter().map(std::net::SocketAddr::from).collect();
        prop_assert_eq!(super::address::decode_addr_list(&super::address::encode_addr_list(&addresses)), addresses);
    }

    #[test]
    fn any_bytes_are_send_file_data_that_survives_or_an_error(data in some_bytes(60)) {
        if let Ok(parsed) = SendFileData::decode(&data) {
            prop_assert_eq!(parsed.encode(), data);
        }
    }

    #[test]
    fn any_items_are_a_security_block_that_survives_or_an_error(flags: u8, items in some_tlvs(), noise in some_bytes(30)) {
        let mut out = BytesMut::from(&MAGIC[..]);
        out.extend_from_slice(&[1, flags]);
        items.encode_rest(&mut out);
        for data in [out.freeze(), noise] {
            if let Ok(block) = SecurityBlock::decode(data.clone()) {
                let _ = (block.alpn(), block.key(), block.pake_msg(), block.confirm(), block.encode_without_proof());
                prop_assert_eq!(block.encode(), data);
            }
        }
    }

    #[test]
    fn ars_frames_survive(
        reserved: u32, flags: u16, name in some_name(), cookie in some_cookie(), token: u16, ip: [u8; 4], service: [u8; 16],
        code: u16, command in 6u16.., data in some_bytes(60), behind in some_bytes(8),
    ) {
        let tlvs = TlvList::new().with(ars::TLV_SERVICE, service.to_vec()).with(ars::TLV_TICKET, data.clone());
        let commands = [
            ars::Command::Error(ars::ErrorCode(code)),
            ars::Command::Create { name: name.clone(), cookie, tlvs: tlvs.clone() },
            ars::Command::Created { token, ip: ip.into() },
            ars::Command::Join { name, token, cookie, tlvs },
            ars::Command::Ready,
            ars::Command::Unknown { command, data },
        ];
        for command in commands {
            let frame = ars::Frame { reserved, flags, ..ars::Frame::new(command) };
            let mut buffer = BytesMut::from(&frame.encode()[..]);
            buffer.extend_from_slice(&behind);
            prop_assert_eq!(ars::Frame::decode(&mut buffer), Ok(Some(frame)));
            prop_assert_eq!(&buffer[..], &behind[..]);
        }
    }

    #[test]
    fn any_bytes_are_an_ars_frame_that_survives_or_none(command in 0u16..8, body in some_bytes(80)) {
        let mut data = BytesMut::new();
        data.extend_from_slice(&(u16::try_from(body.len()).expect("short") + 4).to_be_bytes());
        data.extend_from_slice(&ars::VERSION.to_be_bytes());
        data.extend_from_slice(&command.to_be_bytes());
        data.extend_from_slice(&body);
        for data in [data.freeze(), body] {
            let mut buffer = BytesMut::from(&data[..]);
            if let Ok(Some(frame)) = ars::Frame::decode(&mut buffer) {
                let again: Bytes = [&frame.encode()[..], &buffer[..]].concat().into();
                prop_assert_eq!(again, data);
            }
        }
    }

    #[test]
    fn signals_survive(block in some_block(), cookie in some_cookie(), code: u16, info in some_bytes(8)) {
        let message = Message::decode(block).expect("well-formed");
        for signal in [Signal::Rendezvous(message), Signal::ClientError { cookie, code, info }] {
            let _ = signal.nak();
            prop_assert_eq!(Signal::decode(signal.encode()), Ok(signal));
        }
    }

    #[test]
    fn any_bytes_are_a_signal_that_survives_or_an_error(kind in prop_oneof![Just(6u8), Just(11), any::<u8>()], rest in some_bytes(80)) {
        let data: Bytes = [&[kind], &rest[..]].concat().into();
        if let Ok(signal) = Signal::decode(data.clone()) {
            prop_assert_eq!(signal.encode(), data);
        }
    }

    #[test]
    fn icbms_survive(
        cookie in some_cookie(), channel: u16, name in some_name(), sender in some_user(), tlvs in some_tlvs(), code: u16, info in some_bytes(8),
    ) {
        let channel = Channel(channel);
        let out = MessageToHost { cookie, channel, recipient: name.clone(), tlvs: tlvs.clone() };
        prop_assert_eq!(MessageToHost::decode(&out.encode()), Ok(out));
        let inward = MessageToClient { cookie, channel, sender, tlvs };
        let _ = inward.sender.capabilities();
        prop_assert_eq!(MessageToClient::decode(&inward.encode()), Ok(inward));
        let error = ClientError { cookie, channel, name, code: ClientErrorCode(code), info };
        prop_assert_eq!(ClientError::decode(&error.encode()), Ok(error));
    }

    #[test]
    fn any_bytes_are_an_icbm_that_survives_or_an_error(data in some_bytes(80)) {
        if let Ok(message) = MessageToHost::decode(&data) {
            prop_assert_eq!(message.encode(), data.clone());
        }
        if let Ok(message) = MessageToClient::decode(&data) {
            prop_assert_eq!(message.encode(), data);
        }
    }

    #[test]
    fn link_frames_survive(kind: u8, payload in some_bytes(60), behind in some_bytes(8)) {
        let frame = link::Frame { kind: link::FrameType(kind), payload };
        let _ = link::Control::decode(&frame);
        let mut buffer = BytesMut::new();
        frame.encode(&mut buffer).expect("short enough");
        buffer.extend_from_slice(&behind);
        prop_assert_eq!(link::Frame::decode(&mut buffer), Ok(Some(frame)));
        prop_assert_eq!(&buffer[..], &behind[..]);
    }
}
