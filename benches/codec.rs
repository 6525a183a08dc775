//! How long a message takes to be written and read.
//!
//! Encoding makes the bytes from a value; decoding makes a value from bytes that lie in a shared buffer, as they do when
//! they come from a socket. Messages are of the sizes that they have in a real negotiation.

use std::hint::black_box;
use std::net::Ipv4Addr;

use bytes::{Bytes, BytesMut};
use rdv_benches::Failure;
use rdv_benches::cadence::nanoseconds;
use rdv_benches::report::{headline, mib_per_s};
use rdv_benches::scratch::Noise;
use rdv_proto::limits;
use rdv_proto::wire::ars::{self, Command};
use rdv_proto::wire::flap::{Channel, Frame};
use rdv_proto::wire::icbm::MessageToHost;
use rdv_proto::wire::link::{self, FrameType};
use rdv_proto::wire::oft;
use rdv_proto::wire::rendezvous::{Cookie, Message, SequenceNumber};
use rdv_proto::wire::security::{ALPN_QUIC, ALPN_TCP, PAKE_SPAKE2, SecurityBlock, item};
use rdv_proto::wire::service::{FileSetKind, NATIVE, SEND_FILE, SendFileData};
use rdv_proto::wire::snac::{Foodgroup, Snac};
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;

/// Frames that lie in one buffer, as they may after one read of a socket.
const FRAMES: usize = 64;

fn main() -> Result<(), Failure> {
    headline("Wire formats");
    println!(
        "{:<36} {:>6} {:>20} {:>20}",
        "", "bytes", "encode ns (MiB/s)", "decode ns (MiB/s)"
    );

    let block = security_block();
    row(
        "security block",
        &block.encode(),
        || black_box(&block).encode(),
        SecurityBlock::decode,
    );

    let native = native_proposal(&block);
    row(
        "rendezvous proposal, native",
        &native.encode(),
        || black_box(&native).encode(),
        Message::decode,
    );

    let legacy = legacy_proposal()?;
    row(
        "rendezvous proposal, send file",
        &legacy.encode(),
        || black_box(&legacy).encode(),
        Message::decode,
    );
    let bytes = legacy.encode();
    let fields = nanoseconds(|| {
        let message = Message::decode(black_box(bytes.clone())).ok()?;
        Some((
            message.sequence(),
            message.rendezvous_ip(),
            message.port(),
            message.addr_list(),
            message.send_file_data(),
        ))
    });
    println!(
        "{:<36} {:>6} {:>20} {:>20}",
        "  the same, addresses and names read",
        bytes.len(),
        "",
        figure(bytes.len(), fields)
    );

    let icbm = MessageToHost {
        cookie: native.cookie,
        channel: rdv_proto::wire::icbm::Channel::RENDEZVOUS,
        recipient: ScreenName::new("4711")?,
        tlvs: TlvList(vec![rdv_proto::wire::tlv::Tlv::new(
            0x0005,
            native.encode(),
        )]),
    };
    row(
        "ICBM with it, to the host",
        &icbm.encode(),
        || black_box(&icbm).encode(),
        |bytes| MessageToHost::decode(&bytes),
    );

    let snac = Snac::new(Foodgroup::ICBM, 0x0006, 7, icbm.encode());
    row(
        "SNAC with that",
        &snac.encode(),
        || black_box(&snac).encode(),
        Snac::decode,
    );

    let flap = Frame {
        channel: Channel::DATA,
        sequence: 1,
        data: snac.encode(),
    };
    let mut one = BytesMut::new();
    flap.encode(&mut one)?;
    stream_row(
        "FLAP frame with that",
        &one,
        |out| black_box(&flap).encode(out).is_ok(),
        |buffer| Frame::decode(buffer, limits::FLAP_PAYLOAD).is_ok_and(|frame| frame.is_some()),
    );

    let join = ars::Frame::new(Command::Join {
        name: ScreenName::new("guestabcdefgh23")?,
        token: 4242,
        cookie: native.cookie,
        tlvs: TlvList(vec![rdv_proto::wire::tlv::Tlv::new(
            ars::TLV_TICKET,
            noise(4, 48),
        )]),
    });
    stream_row(
        "ARS join with a ticket",
        &join.encode(),
        |out| {
            out.extend_from_slice(&black_box(&join).encode());
            true
        },
        |buffer| ars::Frame::decode(buffer).is_ok_and(|frame| frame.is_some()),
    );

    let link = link::Frame {
        kind: FrameType(link::FIRST_APPLICATION_TYPE),
        payload: noise(5, 64 << 10),
    };
    let mut one = BytesMut::new();
    link.encode(&mut one)?;
    stream_row(
        "link frame of 64 KiB",
        &one,
        |out| black_box(&link).encode(out).is_ok(),
        |buffer| link::Frame::decode(buffer).is_ok_and(|frame| frame.is_some()),
    );

    let (charset, name) = oft::NameField::encode(["holiday.jpg"])?;
    let prompt = oft::Header::new(oft::Kind::PROMPT, Cookie(*b"abcdefgh"), charset, name);
    stream_row(
        "OFT header",
        &prompt.encode(),
        |out| {
            out.extend_from_slice(&black_box(&prompt).encode());
            true
        },
        |buffer| oft::Header::decode(buffer).is_ok_and(|header| header.is_some()),
    );
    let data = noise(6, 1 << 20);
    let summed = nanoseconds(|| {
        let mut sum = oft::RunningChecksum::new();
        sum.update(black_box(&data));
        sum.value()
    });
    println!(
        "{:<36} {:>6} {:>20} {:>20}",
        "OFT checksum of 1 MiB",
        data.len(),
        "",
        figure(data.len(), summed)
    );
    Ok(())
}

/// A codec from whole bytes to a value and back.
fn row<T, E>(
    name: &str,
    bytes: &Bytes,
    encode: impl FnMut() -> Bytes,
    decode: impl Fn(Bytes) -> Result<T, E>,
) {
    let encode = nanoseconds(encode);
    let decode = nanoseconds(|| decode(black_box(bytes.clone())));
    let (encode, decode) = (figure(bytes.len(), encode), figure(bytes.len(), decode));
    println!("{name:<36} {:>6} {encode:>20} {decode:>20}", bytes.len());
}

/// A codec that writes to a buffer and takes frames from the front of one. Filling the buffer is part of decoding.
fn stream_row(
    name: &str,
    one: &[u8],
    mut encode: impl FnMut(&mut BytesMut) -> bool,
    mut decode: impl FnMut(&mut BytesMut) -> bool,
) {
    let many = one.repeat(FRAMES);
    let mut out = BytesMut::with_capacity(one.len());
    let encode = nanoseconds(|| {
        out.clear();
        encode(&mut out)
    });
    let decode = nanoseconds(|| {
        let mut buffer = BytesMut::from(black_box(&many[..]));
        (0..FRAMES).all(|_| decode(&mut buffer))
    }) / FRAMES as f64;
    let (encode, decode) = (figure(one.len(), encode), figure(one.len(), decode));
    println!("{name:<36} {:>6} {encode:>20} {decode:>20}", one.len());
}

fn figure(bytes: usize, nanoseconds: f64) -> String {
    format!(
        "{nanoseconds:.0} ({:.0})",
        mib_per_s(bytes as u64, nanoseconds)
    )
}

fn security_block() -> SecurityBlock {
    SecurityBlock::new()
        .with(item::KEY, noise(1, 32))
        .with(item::PAKE_ID, [PAKE_SPAKE2].to_vec())
        .with(item::PAKE_MSG, noise(2, 33))
        .with_alpn(&[ALPN_QUIC, ALPN_TCP])
        .with(item::NONCE, noise(3, 16))
}

fn native_proposal(block: &SecurityBlock) -> Message {
    Message::propose(Cookie(*b"abcdefgh"), NATIVE, SequenceNumber::FIRST)
        .with_request_secure()
        .with_versions(1, 1)
        .with_security(block)
}

fn legacy_proposal() -> Result<Message, Failure> {
    let list = ["192.168.1.4:40313".parse()?, "[2001:db8::4]:40313".parse()?];
    let data = SendFileData::new(FileSetKind::ONE_FILE, 1, 123_456, "holiday.jpg")?;
    Ok(
        Message::propose(Cookie(*b"abcdefgh"), SEND_FILE, SequenceNumber::FIRST)
            .with_host_check()
            .with_direct(
                Ipv4Addr::new(192, 168, 1, 4),
                Ipv4Addr::new(203, 0, 113, 7),
                40313,
            )
            .with_addr_list(&list)
            .with_send_file(&data, 123_456),
    )
}

fn noise(seed: u64, bytes: usize) -> Bytes {
    let mut block = vec![0; bytes];
    Noise(seed).fill(&mut block);
    block.into()
}
