//! Everything that a real client and its host said is understood, and encodes to the same bytes.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use rdv_proto::direct_im::{DirectIm, Event, Image, Message as Im, Typing};
use rdv_proto::wire::ars;
use rdv_proto::wire::error::DecodeError;
use rdv_proto::wire::flap;
use rdv_proto::wire::icbm::{
    Channel, ClientError, HostAck, IcbmError, MessageToClient, MessageToHost, tlv,
};
use rdv_proto::wire::odc;
use rdv_proto::wire::rendezvous::{Cookie, Message, MessageKind, NakCode, tag};
use rdv_proto::wire::service::{CHAT, DIRECT_IM, FileSetKind, GET_FILE, SEND_FILE, SendFileData};
use rdv_proto::wire::signon::{
    Challenge, ChallengeRequest, ClientOnline, Hello, HostOnline, IcbmParameters, LocateInfo,
    LocateRights, Login, LoginReply, RateReply, RateSubscription, ServiceRequest, UserList,
    Versions,
};
use rdv_proto::wire::snac::{Snac, SnacError};
use rdv_proto::wire::text::{Charset, ScreenName};
use rdv_proto::wire::tlv::TlvList;
use rdv_tests::captures::{self, Layer, Record};

#[test]
fn every_recorded_frame_of_the_host_connections_survives() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for record in captures::all()
        .iter()
        .filter(|record| record.layer == Layer::Flap)
    {
        let (frame, snac) = host_frame(record);
        match (frame.channel, snac) {
            (flap::Channel::SIGN_ON, _) => same(
                record,
                &frame.data,
                Hello::decode(&frame.data),
                Hello::encode,
            ),
            (flap::Channel::SIGN_OFF, _) => same(
                record,
                &frame.data,
                TlvList::decode_rest(frame.data.clone()),
                rest,
            ),
            (flap::Channel::DATA, Some(snac)) => {
                let typed = body_survives(record, &snac);
                let name = format!(
                    "{:04x}/{:04x}{}",
                    snac.foodgroup.0,
                    snac.subgroup,
                    if typed { "" } else { " raw" }
                );
                *seen.entry(name).or_default() += 1;
            }
            (channel, _) => panic!("{}: {channel:?}", record.place),
        }
    }
    // What a rendezvous is made of, and the steps of signing on: 70 sessions in 40 recordings.
    let expected = [
        ("0001/0001", 140),
        ("0001/0002", 70),
        ("0001/0003", 70),
        ("0001/0004", 140),
        ("0001/0007", 70),
        ("0001/0008", 70),
        ("0001/000f", 284),
        ("0001/0017", 70),
        ("0001/0018", 70),
        ("0002/0003", 70),
        ("0002/0004", 140),
        ("0003/000b", 69),
        ("0003/000c", 30),
        ("0004/0001", 1),
        ("0004/0002", 70),
        ("0004/0005", 70),
        ("0004/0006", 81),
        ("0004/0007", 79),
        ("0004/000b", 1),
        ("0004/000c", 47),
        ("0017/0002", 70),
        ("0017/0003", 70),
        ("0017/0006", 70),
        ("0017/0007", 70),
    ];
    for (name, count) in expected {
        assert_eq!(seen.get(name), Some(&count), "{name}");
    }
}

#[test]
fn every_recorded_frame_of_the_relay_survives() {
    let mut seen: BTreeMap<u16, usize> = BTreeMap::new();
    for record in captures::all()
        .iter()
        .filter(|record| record.layer == Layer::Ars)
    {
        let mut buffer = BytesMut::from(&bytes(record)[..]);
        let frame = ars::Frame::decode(&mut buffer)
            .unwrap_or_else(|error| panic!("{}: {error}", record.place));
        let frame = frame.unwrap_or_else(|| panic!("{}: cut off", record.place));
        assert!(
            buffer.is_empty() && frame.trailing.is_empty(),
            "{}",
            record.place
        );
        assert_eq!(frame.encode(), bytes(record), "{}", record.place);
        let odd = frame.command.number() % 2 == 1;
        assert_eq!(
            odd,
            record.from == "ars",
            "{}: a relay's commands are odd",
            record.place
        );
        *seen.entry(frame.command.number()).or_default() += 1;
    }
    assert_eq!(seen.values().sum::<usize>(), 37);
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

#[test]
fn rendezvous_messages_say_what_the_recorder_read_in_them() {
    let mut checked = 0;
    for record in captures::all()
        .iter()
        .filter(|record| record.note.contains("channel=2"))
    {
        let Some(message) = rendezvous_of(record) else {
            continue;
        };
        let noted = |key: &str| {
            let rest = record
                .note
                .split_once(&format!(" {key}="))
                .map(|(_, rest)| rest);
            rest.map(|rest| rest.split([' ', ',']).next().unwrap_or_default().to_owned())
        };
        let cookie = noted("cookie").map(|hex| captures::from_hex(&hex));
        assert_eq!(
            cookie.as_deref(),
            Some(&message.cookie.0[..]),
            "{}",
            record.place
        );
        assert_eq!(
            noted("SEQ"),
            message.sequence().map(|number| number.get().to_string()),
            "{}",
            record.place
        );
        assert_eq!(
            noted("PORT"),
            message.port().map(|port| port.to_string()),
            "{}",
            record.place
        );
        assert_eq!(
            noted("RV_IP"),
            message.rendezvous_ip().map(|ip| ip.to_string()),
            "{}",
            record.place
        );
        assert_eq!(
            noted("REQ_IP"),
            message.requester_ip().map(|ip| ip.to_string()),
            "{}",
            record.place
        );
        assert_eq!(
            noted("VER_IP"),
            message.verified_ip().map(|ip| ip.to_string()),
            "{}",
            record.place
        );
        assert_eq!(
            record.note.contains(" HOST_CHECK"),
            message.host_check(),
            "{}",
            record.place
        );
        let kind = ["PROPOSE", "CANCEL", "ACCEPT"]
            .into_iter()
            .find(|kind| record.note.contains(&format!(" {kind}")));
        assert_eq!(message.kind.name(), kind, "{}", record.place);
        checked += 1;
    }
    assert!(checked > 150, "only {checked} messages");
}

#[test]
fn offers_of_a_real_client_name_their_file() {
    let offer = |recording: &str| {
        let messages = captures::load(recording)
            .iter()
            .filter_map(rendezvous_of)
            .collect::<Vec<_>>();
        let proposal = messages
            .into_iter()
            .find(|message| message.kind == MessageKind::PROPOSE)
            .expect("an offer");
        let data = proposal
            .send_file_data()
            .expect("service data")
            .expect("well-formed");
        (
            data.name(proposal.file_name_charset()),
            u64::from(data.total),
            data.count,
        )
    };
    assert_eq!(
        offer("direct"),
        ("pattern-100003.bin".to_owned(), 100_003, 1)
    );
    assert_eq!(
        offer("utf8-name"),
        ("naïve файл 日本.bin".to_owned(), 5_000, 1)
    );
    assert_eq!(
        offer("odd-name"),
        ("a 'b' \"c\" 100% & d;e.".to_owned(), 5_000, 1)
    );
    assert_eq!(
        offer("long-name"),
        (format!("{}.bin", "n".repeat(176)), 5_000, 1)
    );
    assert_eq!(offer("empty-file"), ("empty.bin".to_owned(), 0, 1));
    assert_eq!(
        offer("stock-repeated-name").0,
        "pattern-100003.bin",
        "the first of two names counts"
    );
}

#[test]
fn every_example_vector_survives() {
    let vectors = captures::vectors();
    let group = |suffix: &str| {
        vectors
            .iter()
            .filter(move |(name, _)| name.ends_with(suffix))
            .collect::<Vec<_>>()
    };
    let payloads = group("_payload");
    assert_eq!(payloads.len(), 18);
    for (name, block) in payloads {
        let message =
            Message::decode(block.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            (&message.encode(), message.check()),
            (block, Ok(())),
            "{name}"
        );
    }
    let frames = vectors.iter().filter(|(name, _)| {
        name.starts_with("flap_") || name.ends_with("_tohost") || name.ends_with("_toclient")
    });
    for (name, bytes) in frames {
        let mut buffer = BytesMut::from(&bytes[..]);
        let frame = flap::Frame::decode(&mut buffer, 65_535)
            .expect("a frame")
            .expect("all of it");
        let mut again = BytesMut::new();
        frame.encode(&mut again).expect("it fits");
        assert_eq!(again, bytes, "{name}");
    }
    let relay = vectors.iter().filter(|(name, _)| name.starts_with("ars_"));
    for (name, bytes) in relay {
        let frame = ars::Frame::decode(&mut BytesMut::from(&bytes[..]))
            .expect("a frame")
            .expect("all of it");
        assert_eq!(frame.encode(), bytes, "{name}");
    }
    for name in [
        "nak_denied",
        "nak_busted",
        "nak_security",
        "cerr_channel",
        "cerr_busted_icbm",
    ] {
        let snac = Snac::decode(vectors[name].clone()).expect("a SNAC");
        let error = ClientError::decode(&snac.body).expect("a client error");
        assert_eq!(
            (error.encode(), snac.encode()),
            (snac.body.clone(), vectors[name].clone()),
            "{name}"
        );
    }
}

#[test]
fn r_38_the_whole_envelope_of_a_proposal_is_the_example() {
    let whole = captures::vector("propose1_tohost");
    let frame = flap::Frame::decode(&mut BytesMut::from(&whole[..]), 8_192)
        .expect("a frame")
        .expect("all of it");
    let snac = Snac::decode(frame.data).expect("a SNAC");
    let message = MessageToHost::decode(&snac.body).expect("a message");
    assert!(message.tlvs.contains(tlv::REQUEST_HOST_ACK));
    assert_eq!(
        message.tlvs.first(tlv::RENDEZVOUS),
        Some(&captures::vector("propose1_payload"))
    );
    assert_eq!(
        (message.channel, message.recipient.as_str(), snac.request_id),
        (Channel::RENDEZVOUS, "bob", 0x1001)
    );
}

#[test]
fn services_of_the_examples_are_told_apart() {
    let service = |name: &str| {
        Message::decode(captures::vector(name))
            .expect("a message")
            .service
    };
    assert_eq!(service("getfile_payload"), GET_FILE);
    assert_eq!(service("directim_payload"), DIRECT_IM);
    assert_eq!(service("chatinvite_payload"), CHAT);
    assert_eq!(service("propose1_payload"), SEND_FILE);
}

#[test]
fn our_own_messages_are_the_examples() {
    let cookie = Cookie(*b"TRYST01\0");
    let (private, relay) = ([192, 0, 2, 10].into(), [198, 51, 100, 80].into());
    let number = |number| rdv_proto::wire::rendezvous::SequenceNumber::new(number).expect("not 0");
    let counter = |sequence| Message::propose(cookie, SEND_FILE, number(sequence));
    // The example was made before the name had to stand there twice.
    let data = SendFileData {
        kind: FileSetKind::ONE_FILE,
        count: 1,
        total: 43,
        name_field: Bytes::from_static(b"fox.txt\0"),
    };
    let addresses =
        ["192.0.2.10:4443", "[2001:db8::10]:4443"].map(|text| text.parse().expect("an address"));
    let modern = counter(1)
        .with_host_check()
        .with_direct(private, private, 4443)
        .with_request_secure()
        .with_addr_list(&addresses)
        .with_send_file(&data, 43)
        .with_param(tag::FILE_NAME_CHARSET, &b"us-ascii"[..])
        .expect("an allowed tag");
    assert_eq!(modern.encode(), captures::vector("propose1_modern_payload"));
    let accept = Message::accept(cookie, SEND_FILE);
    assert_eq!(accept.encode(), captures::vector("accept_payload"));
    assert_eq!(
        accept.with_request_secure().encode(),
        captures::vector("accept_secure_payload")
    );
    let reasons = [
        "cancel_unknown_payload",
        "cancel_user_payload",
        "cancel_timeout_payload",
        "cancel_elsewhere_payload",
    ];
    for (reason, name) in (0..).zip(reasons) {
        let cancel = Message::cancel(
            cookie,
            SEND_FILE,
            rdv_proto::wire::rendezvous::CancelReason(reason),
        );
        assert_eq!(cancel.encode(), captures::vector(name));
    }
    // The other examples hold the same tags in the order of old clients.
    let sorted = |message: &Message| {
        let mut tlvs = message.params().0.clone();
        tlvs.sort_by_key(|tlv| tlv.tag);
        tlvs
    };
    let examples = [
        (counter(2).with_no_address(), "counter2_null_payload"),
        (counter(2).with_relay(relay, 0x2337), "counter2_ars_payload"),
        (counter(3).with_relay(relay, 0x2337), "counter3_ars_payload"),
        (
            counter(2).with_direct([203, 0, 113, 20].into(), [203, 0, 113, 20].into(), 5201),
            "counter2_direct_payload",
        ),
    ];
    for (ours, name) in examples {
        let example = Message::decode(captures::vector(name)).expect("a message");
        assert_eq!(sorted(&ours), sorted(&example), "{name}");
    }
}

#[test]
fn r_25_the_refusals_of_the_examples_are_read() {
    let nak = |name: &str| {
        let snac = Snac::decode(captures::vector(name)).expect("a SNAC");
        ClientError::decode(&snac.body)
            .expect("a client error")
            .nak()
    };
    assert_eq!(nak("nak_denied"), Some(NakCode::DENIED));
    assert_eq!(nak("nak_busted"), Some(NakCode::BUSTED_PARAMETERS));
    assert_eq!(nak("nak_security"), Some(NakCode::SECURITY_MISMATCH));
    assert_eq!((nak("cerr_channel"), nak("cerr_busted_icbm")), (None, None));
}

#[test]
fn l_31_a_real_client_is_understood_with_its_name_once_and_twice() {
    for (recording, copies) in [("stock-drops-offer", 1), ("stock-repeated-name", 2)] {
        let arrived = captures::load(recording)
            .into_iter()
            .filter(|record| record.from == "host");
        let message = arrived
            .filter_map(|record| rendezvous_of(&record))
            .next()
            .expect("an offer");
        let data = message
            .send_file_data()
            .expect("service data")
            .expect("well-formed");
        let nuls = data.name_field.iter().filter(|&&byte| byte == 0).count();
        assert_eq!(
            (nuls, data.name(Charset::Unknown).as_str()),
            (copies, "pattern-100003.bin"),
            "{recording}"
        );
    }
}

/// The frame of a record and, on the data channel, its SNAC; both must encode to their own bytes.
fn host_frame(record: &Record) -> (flap::Frame, Option<Snac>) {
    let mut buffer = BytesMut::from(&bytes(record)[..]);
    let frame = flap::Frame::decode(&mut buffer, 65_535)
        .unwrap_or_else(|error| panic!("{}: {error}", record.place));
    let frame = frame.unwrap_or_else(|| panic!("{}: cut off", record.place));
    assert!(
        buffer.is_empty(),
        "{}: bytes behind the frame",
        record.place
    );
    let mut again = BytesMut::new();
    frame.encode(&mut again).expect("what was read fits");
    assert_eq!(again, bytes(record), "{}", record.place);
    if frame.channel != flap::Channel::DATA {
        return (frame, None);
    }
    let snac = Snac::decode(frame.data.clone())
        .unwrap_or_else(|error| panic!("{}: {error}", record.place));
    assert_eq!(snac.encode(), frame.data, "{}", record.place);
    (frame, Some(snac))
}

/// Whether the body has a type of ours; if so, it must encode to its own bytes.
fn body_survives(record: &Record, snac: &Snac) -> bool {
    let body = &snac.body;
    match (snac.foodgroup.0, snac.subgroup) {
        (0x01, 0x02) => same(
            record,
            body,
            ClientOnline::decode(body),
            ClientOnline::encode,
        ),
        (0x01, 0x03) => same(record, body, HostOnline::decode(body), HostOnline::encode),
        (0x01, 0x04) => same(
            record,
            body,
            ServiceRequest::decode(body),
            ServiceRequest::encode,
        ),
        (0x01, 0x07) => same(record, body, RateReply::decode(body), RateReply::encode),
        (0x01, 0x08) => same(
            record,
            body,
            RateSubscription::decode(body),
            RateSubscription::encode,
        ),
        (0x01, 0x0F) | (0x03, 0x0B | 0x0C) => {
            same(record, body, UserList::decode(body), UserList::encode)
        }
        (0x01, 0x17 | 0x18) => same(record, body, Versions::decode(body), Versions::encode),
        (0x02, 0x03) => same(
            record,
            body,
            LocateRights::decode(body),
            LocateRights::encode,
        ),
        (0x02, 0x04) => {
            same(record, body, LocateInfo::decode(body), LocateInfo::encode);
            let info = LocateInfo::decode(body).expect("it was just read");
            assert!(info.capabilities().is_ok(), "{}", record.place);
        }
        (0x04, 0x01) => same(record, body, IcbmError::decode(body), IcbmError::encode),
        (0x04, 0x02 | 0x05) => same(
            record,
            body,
            IcbmParameters::decode(body),
            IcbmParameters::encode,
        ),
        (0x04, 0x06) => same(
            record,
            body,
            MessageToHost::decode(body),
            MessageToHost::encode,
        ),
        (0x04, 0x07) => same(
            record,
            body,
            MessageToClient::decode(body),
            MessageToClient::encode,
        ),
        (0x04, 0x0B) => same(record, body, ClientError::decode(body), ClientError::encode),
        (0x04, 0x0C) => same(record, body, HostAck::decode(body), HostAck::encode),
        (0x17, 0x02) => same(record, body, Login::decode(body), Login::encode),
        (0x17, 0x03) => same(record, body, LoginReply::decode(body), LoginReply::encode),
        (0x17, 0x06) => same(
            record,
            body,
            ChallengeRequest::decode(body),
            ChallengeRequest::encode,
        ),
        (0x17, 0x07) => same(record, body, Challenge::decode(body), Challenge::encode),
        (_, 0x01) => same(record, body, SnacError::decode(body), SnacError::encode),
        _ => return false,
    }
    rendezvous_of(record);
    true
}

/// The rendezvous message of a record, if it is one; it and its service data must encode to their own bytes.
fn rendezvous_of(record: &Record) -> Option<Message> {
    if record.layer != Layer::Flap {
        return None;
    }
    let (_, snac) = host_frame(record);
    let snac = snac?;
    let (cookie, channel, tlvs) = match (snac.foodgroup.0, snac.subgroup) {
        (0x04, 0x06) => MessageToHost::decode(&snac.body)
            .map(|message| (message.cookie, message.channel, message.tlvs)),
        (0x04, 0x07) => MessageToClient::decode(&snac.body)
            .map(|message| (message.cookie, message.channel, message.tlvs)),
        _ => return None,
    }
    .unwrap_or_else(|error| panic!("{}: {error}", record.place));
    if channel != Channel::RENDEZVOUS {
        return None;
    }
    let block = tlvs
        .first(tlv::RENDEZVOUS)
        .unwrap_or_else(|| panic!("{}: no rendezvous block", record.place));
    same(
        record,
        block,
        Message::decode(block.clone()),
        Message::encode,
    );
    let message = Message::decode(block.clone()).expect("it was just read");
    assert_eq!(
        (message.cookie, message.check()),
        (cookie, Ok(())),
        "{}",
        record.place
    );
    if let Some(data) = message
        .service_data()
        .filter(|_| message.service == SEND_FILE)
    {
        same(
            record,
            &data,
            SendFileData::decode(&data),
            SendFileData::encode,
        );
    }
    Some(message)
}

fn same<T>(
    record: &Record,
    bytes: &Bytes,
    decoded: Result<T, DecodeError>,
    encode: impl FnOnce(&T) -> Bytes,
) {
    let value = decoded.unwrap_or_else(|error| panic!("{}: {error}", record.place));
    assert_eq!(encode(&value), bytes, "{}", record.place);
}

fn rest(tlvs: &TlvList) -> Bytes {
    let mut out = BytesMut::new();
    tlvs.encode_rest(&mut out);
    out.freeze()
}

fn bytes(record: &Record) -> &Bytes {
    record.bytes.as_ref().expect("frames are recorded whole")
}

#[test]
fn frames_of_a_direct_im_are_the_examples() {
    let cookie = Cookie(*b"TRYST01\0");
    let alice = ScreenName::new("alice").expect("a name");
    let (machine, hello) = DirectIm::connector(cookie, alice);
    assert_eq!(hello, captures::vector("odc_hello"));
    for (typing, example) in [
        (Typing::Typing, "odc_typing"),
        (Typing::Typed, "odc_typed"),
        (Typing::Stopped, "odc_stopped"),
    ] {
        assert_eq!(machine.typing_bytes(typing), captures::vector(example));
    }
    let image = Image {
        name: "p.png".into(),
        width: 1,
        height: 1,
        data: Bytes::from_static(b"\x89PNG\r\n\x1a\n"),
    };
    for (message, example) in [
        (Im::new().text("hi"), "odc_message"),
        (Im::new().image(image), "odc_image"),
    ] {
        let pieces = machine.message_bytes(&message).expect("it fits");
        assert_eq!(Bytes::from(pieces.concat()), captures::vector(example));
    }
}

#[test]
fn the_examples_of_a_direct_im_are_understood() {
    let cookie = Cookie(*b"TRYST01\0");
    let mut bob = DirectIm::listener(cookie, ScreenName::new("bob").expect("a name"));
    let mut hear = |example| {
        let mut bytes = BytesMut::from(&captures::vector(example)[..]);
        let header = odc::Header::decode(&mut bytes.clone());
        let mut again = BytesMut::new();
        header.expect("a header").expect("whole").encode(&mut again);
        assert!(bytes.starts_with(&again), "{example} changed");
        bob.handle(&mut bytes).expect("a good frame")
    };
    assert!(matches!(hear("odc_hello"), Some(Event::Confirmed(_))));
    assert_eq!(hear("odc_typing"), Some(Event::Typing(Typing::Typing)));
    assert_eq!(hear("odc_typed"), Some(Event::Typing(Typing::Typed)));
    assert_eq!(hear("odc_stopped"), Some(Event::Typing(Typing::Stopped)));
    let Some(Event::Message(message)) = hear("odc_message") else {
        panic!("a message");
    };
    assert_eq!(
        (message.html.as_str(), message.text().as_str()),
        ("<HTML><BODY>hi</BODY></HTML>", "hi")
    );
    let Some(Event::Message(message)) = hear("odc_image") else {
        panic!("a message");
    };
    let [(1, image)] = &message.images[..] else {
        panic!("one image");
    };
    assert_eq!(
        (image.name.as_str(), image.width, image.height),
        ("p.png", 1, 1)
    );
    assert_eq!(&image.data[..], b"\x89PNG\r\n\x1a\n");
}
