//! What is fuzzed: one function per format that strangers may send. Each takes any bytes; it panics if a decoder does, or
//! if what a decoder understood does not encode to the bytes that it came from.
//!
//! The targets in `fuzz_targets` hand libFuzzer's inputs to these; the scenario `fuzz_smoke` hands recorded frames and
//! mutations of them, on a stable compiler.

mod bulk;
mod direct_im;
mod lanes;
mod machines;
mod oft;
mod rendezvous;

use bytes::{Bytes, BytesMut};
use rdv_proto::session::admin::rules;
use rdv_proto::session::{Party, PasswordForm};
use rdv_proto::wire::icbm::{ClientError, HostAck, IcbmError, MessageToClient, MessageToHost};
use rdv_proto::wire::rendezvous::{Message, host};
use rdv_proto::wire::security::SecurityBlock;
use rdv_proto::wire::service::{SendFileData, SendFileOffer};
use rdv_proto::wire::signal::Signal;
use rdv_proto::wire::signon::{
    Challenge, ChallengeRequest, ClientOnline, FeedbagIfModified, FeedbagList, Hello, HostOnline,
    IcbmParameters, InfoQuery, InfoReply, Items, LocateInfo, LocateRights, Login, LoginReply,
    NameList, RateReply, RateSubscription, ServiceReply, ServiceRequest, Statuses, UserList,
    Versions,
};
use rdv_proto::wire::snac::{Snac, SnacError};
use rdv_proto::wire::stun::{self, Stun};
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;
use rdv_proto::wire::{address, admin, ars, error::DecodeError, flap, link};

pub use bulk::{bulk_receive, bulk_send};
pub use direct_im::{decode_odc, decode_odc_payload, direct_im};
pub use lanes::link_machine;
pub use machines::{admin_session, host_session, relay_pairing};
pub use oft::{decode_oft, oft_receive, oft_send};
pub use rendezvous::rendezvous_endpoint;

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// All of them, by the name of the target and of its corpus.
pub const TARGETS: [(&str, Target); 23] = [
    ("decode_flap", decode_flap),
    ("decode_snac", decode_snac),
    ("decode_tlv", decode_tlv),
    ("decode_admin", decode_admin),
    ("decode_rendezvous", decode_rendezvous),
    ("decode_signal", decode_signal),
    ("decode_security", decode_security),
    ("decode_ars", decode_ars),
    ("decode_stun", decode_stun),
    ("decode_link", decode_link),
    ("link_machine", link_machine),
    ("decode_oft", decode_oft),
    ("decode_odc", decode_odc),
    ("decode_odc_payload", decode_odc_payload),
    ("direct_im", direct_im),
    ("bulk_receive", bulk_receive),
    ("bulk_send", bulk_send),
    ("oft_receive", oft_receive),
    ("oft_send", oft_send),
    ("host_session", host_session),
    ("admin_session", admin_session),
    ("relay_pairing", relay_pairing),
    ("rendezvous_endpoint", rendezvous_endpoint),
];

/// A stream of FLAP frames.
pub fn decode_flap(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    let mut offset = 0;
    while let Ok(Some(frame)) = flap::Frame::decode(&mut buffer, 65_535) {
        let taken = &data[offset..data.len() - buffer.len()];
        offset += taken.len();
        let mut again = BytesMut::new();
        frame.encode(&mut again).expect("what was read fits");
        // A sign-off that ends within its header gets its length back.
        let cut_off = frame.channel == flap::Channel::SIGN_OFF && taken.len() < flap::HEADER_LEN;
        assert!(cut_off || again == taken, "a FLAP frame changed");
    }
}

/// A SNAC, and its body as each of the bodies that we know.
pub fn decode_snac(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    let Ok(snac) = Snac::decode(data.clone()) else {
        return;
    };
    assert_eq!(snac.encode(), data, "a SNAC changed");
    let body = &snac.body;
    survives(body, MessageToHost::decode(body), MessageToHost::encode);
    survives(body, ClientError::decode(body), ClientError::encode);
    survives(body, HostAck::decode(body), HostAck::encode);
    survives(body, IcbmError::decode(body), IcbmError::encode);
    survives(body, Hello::decode(body), Hello::encode);
    survives(body, Challenge::decode(body), Challenge::encode);
    survives(
        body,
        ChallengeRequest::decode(body),
        ChallengeRequest::encode,
    );
    survives(body, Login::decode(body), Login::encode);
    survives(body, LoginReply::decode(body), LoginReply::encode);
    survives(body, SnacError::decode(body), SnacError::encode);
    survives(body, HostOnline::decode(body), HostOnline::encode);
    survives(body, Versions::decode(body), Versions::encode);
    survives(body, ClientOnline::decode(body), ClientOnline::encode);
    survives(body, ServiceRequest::decode(body), ServiceRequest::encode);
    survives(body, ServiceReply::decode(body), ServiceReply::encode);
    survives(body, RateReply::decode(body), RateReply::encode);
    survives(
        body,
        RateSubscription::decode(body),
        RateSubscription::encode,
    );
    survives(body, LocateInfo::decode(body), LocateInfo::encode);
    survives(body, UserList::decode(body), UserList::encode);
    survives(body, IcbmParameters::decode(body), IcbmParameters::encode);
    survives(body, LocateRights::decode(body), LocateRights::encode);
    survives(body, InfoReply::decode(body), InfoReply::encode);
    let _ = (InfoQuery::decode_kind(body), InfoQuery::decode_flags(body));
    survives(body, Items::decode(body), Items::encode);
    // Of these not every byte is looked at.
    settles(body, NameList::decode, NameList::encode);
    settles(body, FeedbagIfModified::decode, FeedbagIfModified::encode);
    settles(body, FeedbagList::decode, FeedbagList::encode);
    let _ = Statuses::decode(body).encode();
    if let Some(message) = survives(body, MessageToClient::decode(body), MessageToClient::encode) {
        let _ = message.sender.capabilities();
    }
}

/// A body of account administration as each of the bodies that there are, and the whole as each of the values that a field may
/// have: what is taken, is taken as it stands.
pub fn decode_admin(data: &[u8]) {
    let data = &Bytes::copy_from_slice(data);
    survives(
        data,
        admin::InfoQuery::decode(data),
        admin::InfoQuery::encode,
    );
    survives(
        data,
        admin::InfoReply::decode(data),
        admin::InfoReply::encode,
    );
    survives(
        data,
        admin::ChangeRequest::decode(data),
        admin::ChangeRequest::encode,
    );
    survives(
        data,
        admin::ConfirmRequest::decode(data),
        admin::ConfirmRequest::encode,
    );
    survives(
        data,
        admin::ConfirmReply::decode(data),
        admin::ConfirmReply::encode,
    );
    survives(
        data,
        admin::DeleteRequest::decode(data),
        admin::DeleteRequest::encode,
    );
    survives(
        data,
        admin::DeleteReply::decode(data),
        admin::DeleteReply::encode,
    );
    assert!(admin::overrun(data).is_none() || TlvList::decode_rest(data.clone()).is_err());
    let name = ScreenName::new("alice").expect("a name");
    if let Ok(format) = rules::check_format(&name, data) {
        assert!(format == name && format.as_str().as_bytes() == data);
    }
    if let Ok(email) = rules::check_email(data) {
        assert!(email.as_bytes() == data && !email.chars().any(char::is_control));
    }
    if let Ok(status) = rules::check_registration(data) {
        assert_eq!(status.0.to_be_bytes()[..], data[..]);
    }
    for party in [Party::Old, Party::Ours] {
        let form = PasswordForm::of(party, &name);
        if let Ok(password) = rules::check_password(form, &name, data) {
            assert_eq!(password.expose(), data);
        }
    }
}

/// TLVs to the end.
pub fn decode_tlv(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    survives(&data, TlvList::decode_rest(data.clone()), |tlvs| {
        let mut out = BytesMut::new();
        tlvs.encode_rest(&mut out);
        out.freeze()
    });
}

/// A rendezvous block, all that can be read from it, and what a host does to it.
pub fn decode_rendezvous(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    let Some(mut message) = survives(&data, Message::decode(data.clone()), Message::encode) else {
        return;
    };
    let _ = (
        message.check(),
        message.sequence(),
        message.cancel_reason(),
        message.versions_overlap(1, 1),
    );
    let _ = (
        message.rendezvous_ip(),
        message.altered_ip(),
        message.requester_ip(),
        message.undisputed_verified_ip(),
    );
    let _ = (
        message.port(),
        message.altered_port(),
        message.relay_token(),
        message.invitation(),
        message.total_size(),
    );
    assert!(message.addr_list().len() <= 16);
    if let Some(data) = message.service_data()
        && let Some(parsed) = survives(&data, SendFileData::decode(&data), SendFileData::encode)
    {
        let _ = (
            parsed.name(message.file_name_charset()),
            parsed.total_bytes(message.total_size()),
        );
    }
    if let Some(Ok(offer)) = SendFileOffer::from_tags(message.params())
        && let Ok(tags) = offer.to_tags()
    {
        let again = SendFileOffer::from_tags(&tags).and_then(Result::ok);
        assert_eq!(again, Some(offer), "an offer changed");
    }
    if let Some(block) = message.security_bytes() {
        decode_security(&block);
    }
    host::strip(&mut message);
    host::add_verified_ip(&mut message, [192, 0, 2, 1].into());
    host::add_cancel_reason(&mut message);
    assert!(
        Message::decode(message.encode()).is_ok() || message.params().0.len() > 64,
        "a host made it malformed"
    );
}

/// A signal.
pub fn decode_signal(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    if let Some(signal) = survives(&data, Signal::decode(data.clone()), Signal::encode) {
        let _ = (signal.cookie(), signal.nak());
    }
}

/// A security block.
pub fn decode_security(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    let Some(block) = survives(
        &data,
        SecurityBlock::decode(data.clone()),
        SecurityBlock::encode,
    ) else {
        return;
    };
    let _ = (
        block.key(),
        block.pake_id(),
        block.pake_msg(),
        block.confirm(),
        block.alpn(),
        block.sealed(),
    );
    let _ = (block.nonce(), block.ephemeral());
    assert_eq!(block.encode_without_proof().len(), data.len());
}

/// A stream of relay frames.
pub fn decode_ars(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    let mut again = BytesMut::new();
    while let Ok(Some(frame)) = ars::Frame::decode(&mut buffer) {
        again.extend_from_slice(&frame.encode());
    }
    assert!(data.starts_with(&again), "relay frames changed");
}

/// A datagram: what is read of it is the same once written again, and its answers stay within its length.
pub fn decode_stun(data: &[u8]) {
    let _ = (stun::is_stun(data), Stun::verify(data, b"key"));
    if let Ok(message) = Stun::decode(data) {
        assert!(!stun::is_stun(data) || message.length() == data.len());
        let _ = (
            message.xor_mapped(),
            message.other_address(([192, 0, 2, 1], 5190).into()),
        );
        assert_eq!(Stun::decode(&message.encode()), Ok(message.clone()));
        let signed = message.encode_signed(b"key");
        let first = message.attribute(stun::MESSAGE_INTEGRITY_SHA256).is_none();
        assert_eq!(
            Stun::verify(&signed, b"key"),
            first,
            "the first signature counts"
        );
    }
}

/// A stream of link frames, and addresses.
pub fn decode_link(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    let mut again = BytesMut::new();
    while let Ok(Some(frame)) = link::Frame::decode(&mut buffer) {
        let _ = link::Control::decode(&frame);
        frame.encode(&mut again).expect("what was read fits");
    }
    assert!(data.starts_with(&again), "link frames changed");
    assert!(address::decode_addr_list(data).len() <= 16);
}

/// The value, if there is one; it must encode to the bytes that it came from.
fn survives<T>(
    data: &Bytes,
    decoded: Result<T, DecodeError>,
    encode: impl FnOnce(&T) -> Bytes,
) -> Option<T> {
    let value = decoded.ok()?;
    assert_eq!(
        encode(&value),
        data,
        "{} changed",
        std::any::type_name::<T>()
    );
    Some(value)
}

/// What a patient decoder understood must be what is understood once it was encoded.
fn settles<T: PartialEq + std::fmt::Debug>(
    data: &Bytes,
    decode: impl Fn(&Bytes) -> Result<T, DecodeError>,
    encode: impl FnOnce(&T) -> Bytes,
) {
    if let Ok(value) = decode(data) {
        assert_eq!(decode(&encode(&value)), Ok(value));
    }
}
