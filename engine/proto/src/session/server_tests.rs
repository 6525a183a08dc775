use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::session::{Admission, DEFAULT_PARAMETERS, RateTable, Token};
use crate::wire::signon::Login;

#[allow(clippy::disallowed_methods, reason = "any instant will do")]
fn start() -> Instant {
    Instant::now()
}

fn session(now: Instant) -> Session {
    let config = SessionConfig {
        peer: ([192, 0, 2, 1], 4711).into(),
        tls: true,
        accounts: true,
        museum: false,
        challenge: [7; 16],
        rates: RateTable::OURS,
        rates_old: RateTable::OLD,
        error_url: Bytes::new(),
    };
    Session::new(now, config)
}

fn frame(channel: Channel, data: Bytes) -> Frame {
    Frame {
        channel,
        sequence: 0,
        data,
    }
}

/// Everything that comes out; whoever asks is let in.
fn outputs(session: &mut Session) -> Vec<Output> {
    let mut all = Vec::new();
    while let Some(output) = session.poll_output() {
        if let Output::SignOn(_) = output {
            let name = ScreenName::new("7").unwrap();
            session.signed_on(name, Some(&Token([9; 16])), 1_000);
        }
        if let Output::Redeem { .. } = output {
            session.admitted(Admission {
                name: ScreenName::new("alice").unwrap(),
                sessions: Sessions::Several,
                since_unix_s: 1_000,
            });
        }
        all.push(output);
    }
    all
}

fn login(tlvs: TlvList) -> Frame {
    let body = Login { tlvs }.encode();
    frame(
        Channel::DATA,
        Snac::new(Foodgroup::BUCP, 2, 1, body).encode(),
    )
}

fn signed_on(now: Instant) -> Session {
    let mut session = session(now);
    session.handle_frame(now, frame(Channel::SIGN_ON, Hello::new().encode()));
    let tlvs = TlvList::new()
        .with(tlv::SCREEN_NAME, &b"Guest"[..])
        .with(tlv::GUEST, vec![1]);
    session.handle_frame(now, login(tlvs));
    outputs(&mut session);
    assert_eq!(session.name().map(ScreenName::as_str), Some("7"));
    session
}

/// An account that came with a cookie.
fn account(now: Instant) -> Session {
    let mut session = session(now);
    let mut hello = Hello::new();
    hello.tlvs = TlvList::new().with(tlv::COOKIE, vec![7; 256]);
    session.handle_frame(now, frame(Channel::SIGN_ON, hello.encode()));
    outputs(&mut session);
    assert_eq!(session.party(), Some(Party::Old));
    session
}

fn closes(outputs: &[Output]) -> bool {
    matches!(outputs.last(), Some(Output::Close))
}

#[test]
fn so_01_the_host_speaks_first() {
    let mut session = session(start());
    let outputs = outputs(&mut session);
    assert!(
        matches!(&outputs[..], [Output::Send(Channel::SIGN_ON, data)] if data[..] == [0, 0, 0, 1])
    );
}

#[test]
fn limited_or_not_a_client_that_keeps_on_is_sent_away() {
    let now = start();
    let mut session = signed_on(now);
    let query = || {
        frame(
            Channel::DATA,
            Snac::new(Foodgroup::ICBM, 4, 9, Bytes::new()).encode(),
        )
    };
    let mut answered = 0;
    for sent in 1.. {
        session.handle_frame(now, query());
        let outputs = outputs(&mut session);
        if closes(&outputs) {
            assert_eq!(sent, 157);
            break;
        }
        let reply = Snac::new(Foodgroup::ICBM, 5, 9, DEFAULT_PARAMETERS.encode()).encode();
        answered += outputs
            .iter()
            .filter(|output| matches!(output, Output::Send(_, data) if *data == reply))
            .count();
    }
    assert_eq!(answered, 108, "until it was limited");
    session.handle_frame(now + Duration::from_secs(60), query());
    assert!(outputs(&mut session).is_empty(), "nothing counts any more");
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..80);
    let snac = (
        prop_oneof![1u16..0x18, any::<u16>()],
        prop_oneof![0u16..0x20, any::<u16>()],
        bytes(),
    );
    let snac = snac.prop_map(|(foodgroup, subgroup, body)| {
        frame(
            Channel::DATA,
            Snac::new(Foodgroup(foodgroup), subgroup, 1, body).encode(),
        )
    });
    let other = (0u8..8, bytes()).prop_map(|(channel, data)| frame(Channel(channel), data.into()));
    prop_oneof![4 => snac, 1 => other]
}

proptest! {
    #[test]
    fn any_frames_end_in_answers_or_in_a_farewell(
        stage in 0..3,
        frames in proptest::collection::vec(any_frame(), 1..40),
    ) {
        let now = start();
        let mut session = match stage {
            0 => session(now),
            1 => signed_on(now),
            _ => account(now),
        };
        let mut closed = false;
        for frame in frames {
            session.handle_frame(now, frame);
            let outputs = outputs(&mut session);
            prop_assert!(!closed || outputs.is_empty(), "after the end: {outputs:?}");
            closed |= closes(&outputs);
        }
    }
}

/// What is answered to a SNAC: foodgroup, subgroup and body of each.
fn answers(
    session: &mut Session,
    foodgroup: u16,
    subgroup: u16,
    body: &str,
) -> Vec<(u16, u16, Bytes)> {
    let body = crate::wire::hex(body);
    let snac = Snac::new(Foodgroup(foodgroup), subgroup, 0x0B, body).encode();
    session.handle_frame(start(), frame(Channel::DATA, snac));
    let outputs = outputs(session)
        .into_iter()
        .filter_map(|output| match output {
            Output::Send(Channel::DATA, data) => Snac::decode(data).ok(),
            _ => None,
        });
    outputs
        .map(|snac| (snac.foodgroup.0, snac.subgroup, snac.body))
        .collect()
}

#[test]
fn so_11_versions_are_the_lower_ones_of_what_both_know() {
    let mut session = account(start());
    let mine = "0013 0005 0009 0001 0001 0003 0015 0001 0004 0001";
    let answers = answers(&mut session, 1, 0x17, mine);
    let theirs = crate::wire::hex("0001 0003 0004 0001 0009 0001 0013 0004");
    assert_eq!(answers, [(1, 0x18, theirs)]);
}

#[test]
fn so_10_rights_are_told_also_of_what_was_not_agreed_on() {
    let mut session = account(start());
    let rights = |session: &mut Session, group, body: &str| {
        let expected = vec![(group, 0x03, crate::wire::hex(body))];
        assert_eq!(answers(session, group, 0x02, ""), expected);
    };
    rights(&mut session, 0x09, "0001 0002 01f4 0002 0002 01f4");
    rights(&mut session, 0x03, "0001 0002 01f4 0002 0002 01f4");
    rights(
        &mut session,
        0x02,
        "0001 0002 1000 0002 0002 0040 0005 0002 0080",
    );
    let feedbag = answers(&mut session, 0x13, 0x02, "");
    assert_eq!((feedbag[0].0, feedbag[0].1), (0x13, 0x03));
    // 26 words in TLV 4.
    assert_eq!(feedbag[0].2[..4], [0, 4, 0, 52]);
}

#[test]
fn so_17_what_a_foodgroup_does_not_have_is_an_error_of_its_own() {
    let mut session = account(start());
    for group in [1, 2, 3, 4, 8, 9, 0x0B, 0x13] {
        let error = vec![(group, 1, crate::wire::hex("0001"))];
        assert_eq!(answers(&mut session, group, 0x7F, ""), error);
    }
    let error = vec![(0x15, 1, crate::wire::hex("0008"))];
    assert_eq!(answers(&mut session, 0x15, 2, ""), error);
}

#[test]
fn so_14_capabilities_of_an_odd_length_are_refused_and_the_connection_is_kept() {
    let mut session = account(start());
    let error = vec![(2, 1, crate::wire::hex("000e"))];
    assert_eq!(answers(&mut session, 2, 4, "0005 0003 010203"), error);
    assert!(session.party().is_some());
}

#[test]
fn a_profile_beyond_what_was_announced_is_denied() {
    let mut session = account(start());
    let long = format!("0002 1001 {}", "61".repeat(0x1001));
    let denied = vec![(2, 1, crate::wire::hex("000d"))];
    assert_eq!(answers(&mut session, 2, 4, &long), denied);
}

#[test]
fn services_that_are_not_there_are_refused() {
    let mut session = account(start());
    for service in ["0018", "000d", "0010"] {
        let error = vec![(1, 1, crate::wire::hex("0006"))];
        assert_eq!(answers(&mut session, 1, 4, service), error);
    }
}

#[test]
fn icbm_parameters_are_those_of_the_page_with_room_for_a_proposal() {
    let mut session = account(start());
    let expected = crate::wire::hex("0005 00000003 1f40 03e7 03e7 00000000");
    assert_eq!(answers(&mut session, 4, 4, ""), [(4, 5, expected)]);
}

#[test]
fn reports_are_asked_for_once_the_client_is_ready_if_it_makes_any() {
    let mut session = account(start());
    answers(&mut session, 1, 0x17, "0001 0003 000b 0001");
    assert_eq!(answers(&mut session, 1, 2, "")[0].0, 0x0B);
    assert!(answers(&mut session, 1, 2, "").is_empty(), "once");
    assert_eq!(
        answers(&mut session, 0x0B, 3, "00"),
        [(0x0B, 4, Bytes::new())]
    );
    assert!(answers(&mut account(start()), 1, 2, "").is_empty());
}

#[test]
fn what_was_stored_is_asked_of_the_caller_and_nobody_is_warned() {
    let mut session = account(start());
    let fetch = Snac::new(Foodgroup::ICBM, 0x10, 0x0B, Bytes::new()).encode();
    session.handle_frame(start(), frame(Channel::DATA, fetch));
    let asked = outputs(&mut session);
    assert!(matches!(asked[..], [Output::Stored { request_id: 0x0B }]));
    session.stored_all(0x0B);
    let done = Snac::new(Foodgroup::ICBM, 0x17, 0x0B, Bytes::new()).encode();
    assert!(
        matches!(&outputs(&mut session)[..], [Output::Send(Channel::DATA, data)] if *data == done)
    );
    let denied = crate::wire::hex("000d");
    assert_eq!(
        answers(&mut session, 4, 8, "0000 03626f62"),
        [(4, 1, denied)]
    );
}

#[test]
fn a_long_list_comes_in_parts_of_which_all_but_the_last_say_that_there_is_more() {
    use crate::wire::signon::{FeedbagList, FeedbagStamp, Item, ItemClass};
    let items: Vec<Item> = (0..1000)
        .map(|id| Item {
            name: Bytes::from_static(b"somebody with a name"),
            group: 1,
            id,
            class: ItemClass::BUDDY,
            tlvs: Bytes::new(),
        })
        .collect();
    let mut session = account(start());
    let stamp = FeedbagStamp {
        changed_unix_s: 5,
        items: 1000,
    };
    session.feedbag(0x0B, &items, stamp);
    let parts: Vec<Snac> = outputs(&mut session)
        .into_iter()
        .map(|output| match output {
            Output::Send(_, data) => {
                assert!(data.len() <= limits::FLAP_PAYLOAD_SENT);
                Snac::decode(data).unwrap()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let more: Vec<u16> = parts.iter().map(|part| part.flags).collect();
    assert_eq!(more, [1, 1, 1, 0]);
    let lists = parts
        .iter()
        .map(|part| FeedbagList::decode(&part.body).unwrap());
    let all: Vec<Item> = lists.flat_map(|list| list.items).collect();
    assert_eq!(all, items);
}

#[test]
fn a_client_of_ours_is_told_when_to_return_and_an_old_one_is_not() {
    let farewell = |mut session: Session, within| {
        session.sign_off_for_a_while(Duration::from_secs(within));
        match &outputs(&mut session)[..] {
            [Output::Send(Channel::SIGN_OFF, data), Output::Close] => data.clone(),
            other => panic!("{other:?}"),
        }
    };
    let return_within = crate::wire::hex("5250 0002 001e");
    assert_eq!(farewell(signed_on(start()), 30), return_within);
    assert_eq!(farewell(signed_on(start()), 70_000)[4..], [0xFF, 0xFF]);
    assert_eq!(farewell(account(start()), 30), Bytes::new());
}

#[test]
fn a_relay_is_asked_for_with_what_the_client_says_of_it() {
    let mut session = account(start());
    let body = "044a 524e 0008 0001020304050607 524f 0003 613a31";
    let body = crate::wire::hex(body);
    let snac = Snac::new(Foodgroup::OSERVICE, 4, 9, body).encode();
    session.handle_frame(start(), frame(Channel::DATA, snac));
    let [
        Output::Relay {
            request_id: 9,
            cookie: Some(cookie),
            avoid,
        },
    ] = &outputs(&mut session)[..]
    else {
        panic!("a request");
    };
    assert_eq!(
        (cookie.0, &avoid[..]),
        ([0, 1, 2, 3, 4, 5, 6, 7], &["a:1".to_owned()][..])
    );
}

#[test]
fn guests_have_nothing_to_administer() {
    let mut session = signed_on(start());
    let none = (1, 1, crate::wire::hex("0006"));
    assert_eq!(answers(&mut session, 1, 4, "0007"), [none]);
    let denied = (7, 1, crate::wire::hex("000f"));
    assert_eq!(answers(&mut session, 7, 2, "0001 0000"), [denied]);
}
