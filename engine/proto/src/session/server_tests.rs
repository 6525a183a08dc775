use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::session::{DEFAULT_PARAMETERS, ProposalLimits, RateClass};

#[allow(clippy::disallowed_methods, reason = "any instant will do")]
fn start() -> Instant {
    Instant::now()
}

fn session(now: Instant) -> Session {
    let config = SessionConfig {
        peer: ([192, 0, 2, 1], 4711).into(),
        guests: true,
        challenge: [7; 16],
        rate_general: RateClass::GENERAL,
        rate_icbm: RateClass::ICBM,
        proposals: ProposalLimits::default(),
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

/// Everything that comes out; a guest who asks is let in.
fn outputs(session: &mut Session) -> Vec<Output> {
    let mut all = Vec::new();
    while let Some(output) = session.poll_output() {
        if let Output::SignOn(_) = output {
            let name = ScreenName::new("7").unwrap();
            session.signed_on(name, Some(&Token([9; 16])), 1_000);
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
fn s_32_there_is_one_challenge_on_a_connection() {
    let now = start();
    let mut session = session(now);
    session.handle_frame(now, frame(Channel::SIGN_ON, Hello::new().encode()));
    let ask = || {
        frame(
            Channel::DATA,
            Snac::new(Foodgroup::BUCP, 6, 1, Bytes::new()).encode(),
        )
    };
    session.handle_frame(now, ask());
    assert!(!closes(&outputs(&mut session)));
    session.handle_frame(now, ask());
    assert!(closes(&outputs(&mut session)));
}

#[test]
fn a_wish_that_cannot_be_read_is_bad_input() {
    let reclaim = || {
        TlvList::new()
            .with(tlv::GUEST, vec![3])
            .with(tlv::TOKEN, vec![9; 16])
    };
    for more in [
        TlvList::new().with(tlv::GUEST, vec![4]),
        reclaim(),
        reclaim().with(tlv::NUMBER, &b"70000"[..]),
        reclaim().with(tlv::NUMBER, &b"seven"[..]),
    ] {
        let now = start();
        let mut session = session(now);
        session.handle_frame(now, frame(Channel::SIGN_ON, Hello::new().encode()));
        outputs(&mut session);
        let mut tlvs = TlvList::new().with(tlv::SCREEN_NAME, &b"guest"[..]);
        tlvs.0.extend(more.0);
        session.handle_frame(now, login(tlvs));
        let outputs = outputs(&mut session);
        let Some(Output::Send(_, reply)) = outputs.first() else {
            panic!("{outputs:?}")
        };
        assert!(reply.ends_with(&[0, 8, 0, 2, 0, 6]), "{reply:?}");
        assert!(closes(&outputs));
    }
}

#[test]
fn a_number_asked_for_without_a_time_lives_an_hour() {
    let life = |tlvs| match read_wish(GuestWish::NUMBER, &tlvs) {
        Some(Wish::Number { life }) => life.as_secs(),
        other => panic!("{other:?}"),
    };
    assert_eq!(life(TlvList::new()), 3600);
    assert_eq!(life(TlvList::new().with_u32(tlv::EXPIRES, 60)), 60);
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
        prop_oneof![Just(1u16), Just(2), Just(4), Just(0x17), any::<u16>()],
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
        greeted: bool,
        frames in proptest::collection::vec(any_frame(), 1..40),
    ) {
        let now = start();
        let mut session = if greeted { signed_on(now) } else { session(now) };
        let mut closed = false;
        for frame in frames {
            session.handle_frame(now, frame);
            let outputs = outputs(&mut session);
            prop_assert!(!closed || outputs.is_empty(), "after the end: {outputs:?}");
            closed |= closes(&outputs);
        }
    }
}
