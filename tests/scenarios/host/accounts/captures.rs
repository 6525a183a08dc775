//! What real clients said to a host, said to ours again: each of their questions gets an answer of the kind that they got.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::BytesMut;
use rdv_proto::session::{
    Admission, FeedbagRequest, Output, RateTable, Session, SessionConfig, Sessions, Shown,
};
use rdv_proto::wire::flap::{Channel, Frame};
use rdv_proto::wire::signon::{FeedbagStamp, Hello, Status, tlv};
use rdv_proto::wire::snac::{HOST_REQUEST, Snac};
use rdv_proto::wire::tlv::TlvList;
use rdv_tests::captures::{self, Layer, Record};

type Kind = (u16, u16);

/// Does what the session wants; the SNACs that go out.
fn answers(session: &mut Session, now: Instant) -> Vec<Snac> {
    let mut sent = Vec::new();
    while let Some(output) = session.poll_output() {
        match output {
            Output::Send(Channel::DATA, data) => sent.push(Snac::decode(data).unwrap()),
            Output::Authenticate(sign_on) => {
                assert!(sign_on.moves_on());
                let name = sign_on.name.unwrap();
                session.sent_on(&name, "10.77.0.1:5190".into(), vec![7; 256].into());
            }
            Output::Redeem { .. } => session.admitted(Admission {
                name: "alicelab".parse().unwrap(),
                sessions: Sessions::Several,
                since_unix_s: 1,
            }),
            Output::OwnInfo { request_id } => {
                let shown = Shown::new(1, 1);
                session.own_info(now, request_id, 1, std::iter::once(&shown));
            }
            Output::UserInfo { request_id, .. } => session.user_info(request_id, None),
            Output::Feedbag(FeedbagRequest::Query { request_id, .. }) => {
                session.feedbag(request_id, &[], FeedbagStamp::default());
            }
            Output::Feedbag(FeedbagRequest::Change {
                request_id, items, ..
            }) => session.feedbag_changed(request_id, vec![Status::OK; items.len()]),
            Output::Stored { request_id } => session.stored_all(request_id),
            Output::Relay { request_id, .. } => session.relay(request_id, None),
            Output::Deliver(outbound) => session.delivered(&outbound),
            _ => {}
        }
    }
    sent
}

fn frame(record: &Record) -> Option<Frame> {
    let mut bytes = BytesMut::from(&record.bytes.as_ref()?[..]);
    Frame::decode(&mut bytes, 0xFFFF).unwrap()
}

/// What was asked under one request id (libpurple uses some twice), and the kinds of the answers: the lab's and ours.
#[derive(Debug, Default)]
struct Talk {
    asked: BTreeSet<Kind>,
    theirs: BTreeSet<Kind>,
    ours: BTreeSet<Kind>,
}

fn compare(records: &[&Record]) -> BTreeMap<u32, Talk> {
    let now = Instant::now();
    let config = SessionConfig {
        peer: ([10, 77, 0, 11], 40_000).into(),
        tls: false,
        accounts: true,
        museum: false,
        challenge: [7; 16],
        rates: RateTable::OURS,
        rates_old: RateTable::OLD,
        error_url: Default::default(),
    };
    let mut session = Session::new(now, config);
    let mut all: BTreeMap<u32, Talk> = BTreeMap::new();
    for record in records {
        let Some(mut frame) = frame(record) else {
            continue;
        };
        let snac = match frame.channel {
            Channel::DATA => Some(Snac::decode(frame.data.clone()).unwrap()),
            _ => None,
        };
        let kind = |snac: &Snac| (snac.foodgroup.0, snac.subgroup);
        if record.from == "host" {
            if let Some(snac) = snac.filter(|snac| snac.request_id & HOST_REQUEST == 0)
                && let Some(talk) = all.get_mut(&snac.request_id)
            {
                talk.theirs.insert(kind(&snac));
            }
            continue;
        }
        if let Some(snac) = &snac {
            let talk = all.entry(snac.request_id).or_default();
            talk.asked.insert(kind(snac));
        }
        if frame.channel == Channel::SIGN_ON {
            // The lab's cookies are shorter than ours.
            let mut hello = Hello::decode(&frame.data).unwrap();
            if hello.tlvs.remove_all(tlv::COOKIE) > 0 {
                hello.tlvs = TlvList::new().with(tlv::COOKIE, vec![7; 256]);
            }
            frame.data = hello.encode();
        }
        session.handle_frame(now, frame);
        for snac in answers(&mut session, now) {
            if let Some(talk) = all.get_mut(&snac.request_id) {
                talk.ours.insert(kind(&snac));
            }
        }
    }
    all
}

#[test]
fn every_question_in_the_captures_is_answered_in_kind() {
    let mut compared = 0;
    for name in captures::names() {
        let records = captures::load(&name);
        let flap = |record: &&Record| record.layer == Layer::Flap;
        let connections: BTreeSet<u64> =
            records.iter().filter(flap).map(|r| r.connection).collect();
        for connection in connections {
            let of: Vec<&Record> = records
                .iter()
                .filter(flap)
                .filter(|record| record.connection == connection)
                .collect();
            for (id, talk) in compare(&of) {
                assert!(
                    talk.theirs == talk.ours || is_intended(&name, &talk),
                    "{name}, connection {connection}, request {id:#x}: {talk:x?}"
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 1000, "{compared}");
}

/// Where our host does something else, and why.
fn is_intended(name: &str, talk: &Talk) -> bool {
    let ours = |kinds: &[Kind]| talk.ours == kinds.iter().copied().collect();
    let asked = |kind| talk.asked.contains(&kind);
    match name {
        // Whether a message arrives is the recipient's affair, and there is none here.
        "peer-offline" => asked((4, 6)) && ours(&[(4, 0x0C)]),
        // ICQ's own foodgroup is not offered; the lab said nothing to what it had offered (errors, section 1).
        "icq-ars" | "icq-direct" => asked((0x15, 2)) && ours(&[(0x15, 1)]),
        // The recording ends before the lab's host ack.
        _ => asked((4, 6)) && talk.theirs.is_empty() && ours(&[(4, 0x0C)]),
    }
}
