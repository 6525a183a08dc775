use std::time::Instant;

use super::*;
use crate::session::{RateTable, SessionConfig};
use crate::wire::flap::Frame;
use crate::wire::hex;

#[allow(clippy::disallowed_methods, reason = "any instant will do")]
fn start() -> Instant {
    Instant::now()
}

fn session(change: impl FnOnce(&mut SessionConfig)) -> Session {
    let mut config = SessionConfig {
        peer: ([192, 0, 2, 1], 4711).into(),
        tls: false,
        accounts: true,
        museum: false,
        challenge: [0xA7; 16],
        rates: RateTable::OURS,
        rates_old: RateTable::OLD,
        error_url: Bytes::new(),
    };
    change(&mut config);
    let mut session = Session::new(start(), config);
    session.poll_output();
    session
}

fn send(session: &mut Session, channel: Channel, data: impl Into<Bytes>) -> Vec<Output> {
    let data = data.into();
    let sequence = 0;
    session.handle_frame(
        start(),
        Frame {
            channel,
            sequence,
            data,
        },
    );
    drain(session)
}

fn drain(session: &mut Session) -> Vec<Output> {
    std::iter::from_fn(|| session.poll_output()).collect()
}

fn bucp(session: &mut Session, subgroup: u16, tlvs: TlvList) -> Vec<Output> {
    let body = Login { tlvs }.encode();
    let snac = Snac::new(Foodgroup::BUCP, subgroup, 2, body);
    send(session, Channel::DATA, snac.encode())
}

/// The bytes that go out, as hex with the channel in front of each frame.
fn sent(outputs: &[Output]) -> Vec<(u8, Bytes)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send(channel, data) => Some((channel.0, data.clone())),
            Output::BareSignOff => Some((0, Bytes::new())),
            _ => None,
        })
        .collect()
}

fn named(name: &'static str) -> TlvList {
    TlvList::new().with(tlv::SCREEN_NAME, name.as_bytes())
}

fn digest_of(password: &[u8], name: &'static str) -> TlvList {
    let key = "a7".repeat(16);
    let answer = crate::wire::signon::digest(DigestKind::New, key.as_bytes(), password);
    named(name)
        .with(tlv::DIGEST, answer.to_vec())
        .with(tlv::NEW_DIGEST, Bytes::new())
        .with(tlv::MULTIPLE_SESSIONS, vec![1])
}

/// An old client that was challenged.
fn challenged() -> Session {
    let mut session = session(|_| {});
    send(&mut session, Channel::SIGN_ON, hex("00000001"));
    bucp(&mut session, 0x06, named("alice"));
    session
}

fn asked(outputs: Vec<Output>) -> AccountSignOn {
    match outputs.into_iter().next() {
        Some(Output::Authenticate(sign_on)) => sign_on,
        other => panic!("{other:?}"),
    }
}

#[test]
fn so_06_so_19_a_challenge_is_32_hex_digits_behind_a_two_byte_length() {
    let mut session = session(|_| {});
    send(&mut session, Channel::SIGN_ON, hex("00000001"));
    // The challenge request of libpurple, with its two empty TLVs.
    let request = "0017 0006 0000 00000001 0001 0005 616c696365 004b 0000 005a 0000";
    let outputs = send(&mut session, Channel::DATA, hex(request));
    let expected = [
        &hex("0017 0007 0000 00000001 0020")[..],
        "a7".repeat(16).as_bytes(),
    ]
    .concat();
    assert_eq!(sent(&outputs), [(2, expected.into())]);
}

#[test]
fn g_10_a_password_is_welcome_over_tls_only() {
    for (tls, accounts, welcome) in [
        (true, true, true),
        (false, true, false),
        (true, false, false),
    ] {
        let mut session = session(|config| (config.tls, config.accounts) = (tls, accounts));
        send(&mut session, Channel::SIGN_ON, hex("00000001"));
        let outputs = bucp(&mut session, 0x06, named("alice"));
        let (_, data) = &sent(&outputs)[0];
        let challenge = Challenge::decode(&data.slice(10..)).unwrap();
        assert_eq!(challenge.tlvs.contains(tlv::NORMAL_SIGN_ON), welcome);
        let outputs = bucp(
            &mut session,
            0x02,
            named("alice").with(tlv::PASSWORD, &b"secret"[..]),
        );
        let taken = matches!(
            outputs.first(),
            Some(Output::Authenticate(AccountSignOn {
                proof: Proof::Password(_),
                ..
            }))
        );
        assert_eq!(taken, welcome);
    }
}

#[test]
fn g_10_an_account_goes_on_on_the_connection_over_which_it_sent_its_password() {
    let mut session = session(|config| config.tls = true);
    send(&mut session, Channel::SIGN_ON, hex("00000001"));
    let login = named("a lice").with(tlv::PASSWORD, &b"secret"[..]);
    let sign_on = asked(bucp(&mut session, 0x02, login));
    assert!(!sign_on.moves_on());
    session.admitted(Admission {
        name: ScreenName::new("Alice").unwrap(),
        sessions: sign_on.sessions,
        since_unix_s: 1,
    });
    let sent = sent(&drain(&mut session));
    assert_eq!(
        sent[0],
        (2, hex("0017 0003 0000 00000002 0001 0005 416c696365"))
    );
    assert_eq!(sent[1].1[..4], [0, 1, 0, 3]);
    assert_eq!(session.party(), Some(Party::Ours));
}

#[test]
fn so_04_the_login_of_libpurple_is_read_and_its_digest_is_known() {
    let mut session = session(|config| config.challenge = [0; 16]);
    send(&mut session, Channel::SIGN_ON, hex("00000001"));
    bucp(&mut session, 0x06, named("alice"));
    // The key that libpurple answered in this frame.
    session.asked = Some(Bytes::from_static(b"1234567890"));
    let login = "0017 0002 0000 00000002 0001 0005 616c696365 0025 0010 054b2494f6d223078f90b1d1333b757f 004c 0000
        0003 000d 507572706c652f322e31342e30 0016 0002 0109 0017 0002 0005 0018 0002 0001 0019 0002 0000 001a 0002 0bdc
        0014 0004 00000611 000f 0002 656e 000e 0002 7573 004a 0001 01";
    let sign_on = asked(send(&mut session, Channel::DATA, hex(login)));
    assert_eq!(sign_on.name.as_ref().map(ScreenName::as_str), Some("alice"));
    assert_eq!(sign_on.sessions, Sessions::Several);
    assert!(sign_on.proof.knows(b"secret") && !sign_on.proof.knows(b"Secret"));
    assert!(sign_on.moves_on());
}

#[test]
fn so_09_the_reply_is_followed_by_a_sign_off_and_the_end() {
    let mut session = challenged();
    asked(bucp(&mut session, 0x02, digest_of(b"secret", "alice")));
    let name = ScreenName::new("a Lice").unwrap();
    session.sent_on(&name, "192.0.2.7:5190".into(), vec![7; 256].into());
    let outputs = drain(&mut session);
    let cookie = "07".repeat(256);
    let reply = format!(
        "0017 0003 0000 00000002 0001 0006 61204c696365 0005 000e 3139322e302e322e373a35313930
         0006 0100 {cookie} 008e 0001 00"
    );
    assert_eq!(sent(&outputs), [(2, hex(&reply)), (4, Bytes::new())]);
    assert!(matches!(outputs.last(), Some(Output::Close)));
}

#[test]
fn so_16_a_client_of_the_first_generation_gets_a_sign_off_without_a_length() {
    let mut session = challenged();
    let old = TlvList(
        digest_of(b"secret", "alice")
            .0
            .into_iter()
            .filter(|tlv| tlv.tag != tlv::MULTIPLE_SESSIONS)
            .collect(),
    );
    let sign_on = asked(bucp(&mut session, 0x02, old));
    assert_eq!(sign_on.sessions, Sessions::Unaware);
    session.refused(LoginErrorCode::WRONG_PASSWORD);
    let outputs = drain(&mut session);
    assert!(matches!(
        outputs[..],
        [Output::Send(..), Output::BareSignOff, Output::Close]
    ));
    for sessions in [Sessions::Unaware, Sessions::Several] {
        let mut session = self::session(|_| {});
        let hello = [&hex("00000001 0006 0100")[..], &[7; 256]].concat();
        assert!(matches!(
            send(&mut session, Channel::SIGN_ON, hello)[..],
            [Output::Redeem { .. }]
        ));
        let name = ScreenName::new("alice").unwrap();
        session.admitted(Admission {
            name,
            sessions,
            since_unix_s: 1,
        });
        drain(&mut session);
        session.sign_off(Some(1));
        let is_bare = matches!(drain(&mut session)[0], Output::BareSignOff);
        assert_eq!(is_bare, sessions == Sessions::Unaware);
    }
}

#[test]
fn so_07_every_refusal_is_the_same() {
    let refusal = |tlvs: TlvList| {
        let mut session = challenged();
        if let Some(Output::Authenticate(_)) = bucp(&mut session, 0x02, tlvs).first() {
            session.refused(LoginErrorCode::WRONG_PASSWORD);
            return sent(&drain(&mut session));
        }
        panic!("not asked");
    };
    let expected = hex("0017 0003 0000 00000002 0001 0005 616c696365 0008 0002 0005");
    assert_eq!(refusal(digest_of(b"secret", "alice"))[0], (2, expected));
    // Nobody can have such a name: it is asked for like any other.
    let mut session = challenged();
    assert_eq!(
        asked(bucp(&mut session, 0x02, digest_of(b"x", "a\u{1}"))).name,
        None
    );
}

#[test]
fn s_32_a_challenge_is_good_for_one_answer_and_there_is_no_second_one() {
    let mut session = challenged();
    asked(bucp(&mut session, 0x02, digest_of(b"secret", "alice")));
    // While the host thinks, nothing else may come.
    assert!(matches!(
        bucp(&mut session, 0x02, digest_of(b"x", "alice"))[..],
        [Output::Close]
    ));
    let mut session = challenged();
    assert!(matches!(
        bucp(&mut session, 0x06, named("alice"))[..],
        [Output::Close]
    ));
    // A digest of no challenge proves nothing.
    let mut session = self::session(|_| {});
    send(&mut session, Channel::SIGN_ON, hex("00000001"));
    let outputs = bucp(&mut session, 0x02, digest_of(b"secret", "alice"));
    assert!(sent(&outputs)[0].1.ends_with(&[0, 8, 0, 2, 0, 5]));
}

#[test]
fn so_05_roasted_passwords_are_read_in_a_museum_only() {
    let hello = "00000001 0001 0005 616c696365 0002 0006 8043e2b65cf2 0003 0003 41494d";
    for (museum, accounts) in [(false, true), (true, false)] {
        let mut session = session(|config| (config.museum, config.accounts) = (museum, accounts));
        let outputs = send(&mut session, Channel::SIGN_ON, hex(hello));
        let refusal = hex("0001 0005 616c696365 0008 0002 0005");
        assert_eq!(sent(&outputs), [(4, refusal)]);
        assert!(matches!(outputs.last(), Some(Output::Close)));
    }
    let mut session = session(|config| config.museum = true);
    let sign_on = asked(send(&mut session, Channel::SIGN_ON, hex(hello)));
    assert!(sign_on.proof.knows(b"secret"));
    assert_eq!(sign_on.sessions, Sessions::Unaware);
    let name = ScreenName::new("alice").unwrap();
    session.sent_on(&name, "192.0.2.7:5190".into(), vec![7; 256].into());
    let sent = sent(&drain(&mut session));
    assert_eq!((sent.len(), sent[0].0), (1, 4));
    assert!(
        sent[0]
            .1
            .starts_with(&hex("0001 0005 616c696365 0005 000e"))
    );
}

#[test]
fn a_plain_password_is_read_in_a_museum_only() {
    let plain = || named("alice").with(tlv::ROASTED_PASSWORD, &b"secret"[..]);
    for museum in [false, true] {
        let mut session = session(|config| config.museum = museum);
        send(&mut session, Channel::SIGN_ON, hex("00000001"));
        let outputs = bucp(&mut session, 0x02, plain());
        match museum {
            true => assert!(asked(outputs).proof.knows(b"secret")),
            false => assert!(sent(&outputs)[0].1.ends_with(&[0, 8, 0, 2, 0, 5])),
        }
    }
}

#[test]
fn so_08_what_is_no_cookie_of_ours_is_not_even_asked_for() {
    for length in [0, 16, 255, 257] {
        let mut session = session(|_| {});
        let mut hello = Hello::new();
        hello.tlvs = TlvList::new().with(tlv::COOKIE, vec![7; length]);
        let outputs = send(&mut session, Channel::SIGN_ON, hello.encode());
        assert_eq!(sent(&outputs), [(4, hex("0008 0002 001a"))]);
    }
}

#[test]
fn e_04_every_code_of_a_sign_on_is_two_bytes() {
    for code in [
        LoginErrorCode::BAD_COOKIE,
        LoginErrorCode::ADDRESS_RATE_LIMITED,
    ] {
        let mut session = challenged();
        bucp(&mut session, 0x02, digest_of(b"secret", "alice"));
        session.refused(code);
        let [high, low] = code.0.to_be_bytes();
        assert!(
            sent(&drain(&mut session))[0]
                .1
                .ends_with(&[0, 8, 0, 2, high, low])
        );
    }
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
        let mut session = session(|config| config.tls = true);
        send(&mut session, Channel::SIGN_ON, hex("00000001"));
        let mut tlvs = named("guest");
        tlvs.0.extend(more.0);
        let outputs = bucp(&mut session, 0x02, tlvs);
        assert!(
            sent(&outputs)[0].1.ends_with(&[0, 8, 0, 2, 0, 6]),
            "{outputs:?}"
        );
        assert!(matches!(outputs.last(), Some(Output::Close)));
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

/// What comes out when a client over TLS wants the account `name` with this password and mail address made.
fn creation(
    tls: bool,
    name: &'static str,
    password: &'static str,
    email: &'static str,
) -> (Session, Vec<Output>) {
    let mut session = session(|config| config.tls = tls);
    send(&mut session, Channel::SIGN_ON, hex("00000001"));
    let tlvs = named(name)
        .with(tlv::PASSWORD, password.as_bytes())
        .with(tlv::CREATE_ACCOUNT, email.as_bytes());
    let outputs = bucp(&mut session, 0x02, tlvs);
    (session, outputs)
}

#[test]
fn an_account_is_asked_for_at_sign_on_over_tls() {
    for (email, expected) in [("", None), ("a@b", Some("a@b"))] {
        let (mut session, outputs) = creation(true, "Alice S", "correct horse", email);
        let [
            Output::CreateAccount {
                sessions: Sessions::Alone,
                account: Ok(account),
            },
        ] = &outputs[..]
        else {
            panic!("a good account: {outputs:?}");
        };
        assert_eq!(account.name.as_str(), "Alice S");
        assert_eq!(account.password.expose(), b"correct horse");
        assert_eq!(account.email.as_deref(), expected);
        session.admitted(Admission {
            name: account.name.clone(),
            sessions: Sessions::Alone,
            since_unix_s: 1,
        });
        assert!(session.party() == Some(Party::Ours) && !session.is_admin());
    }
}

#[test]
fn the_wish_for_an_account_is_byte_for_byte_this() {
    let tlvs = named("al1")
        .with(tlv::PASSWORD, &b"p"[..])
        .with(tlv::CREATE_ACCOUNT, &b"a@b"[..]);
    let expected = hex("0001 0003 616c31 524a 0001 70 524c 0003 614062");
    assert_eq!(Login { tlvs }.encode(), expected);
}

#[test]
fn without_tls_no_account_is_made_and_no_password_is_read() {
    let (_, outputs) = creation(false, "alice", "correct horse", "");
    assert!(sent(&outputs)[0].1.ends_with(&[0, 8, 0, 2, 0, 5]));
}

#[test]
fn what_is_wrong_with_a_new_account_is_told_by_its_own_code() {
    for (name, password, email, code) in [
        (
            "al",
            "correct horse",
            "",
            AdminErrorCode::INVALID_NICKNAME_LENGTH,
        ),
        (
            "guest7",
            "correct horse",
            "",
            AdminErrorCode::INVALID_NICKNAME,
        ),
        (
            "alice",
            "short",
            "",
            AdminErrorCode::INVALID_PASSWORD_LENGTH,
        ),
        (
            "alice smith",
            "AliceSmith",
            "",
            AdminErrorCode::INVALID_PASSWORD,
        ),
        ("alice", "correct horse", "a", AdminErrorCode::INVALID_EMAIL),
    ] {
        let (mut session, outputs) = creation(true, name, password, email);
        let [
            Output::CreateAccount {
                account: Err(wrong),
                ..
            },
        ] = outputs[..]
        else {
            panic!("{outputs:?}");
        };
        assert_eq!(wrong, code);
        session.not_created(wrong);
        let outputs = drain(&mut session);
        let reply = LoginReply::decode(&sent(&outputs)[0].1.slice(10..)).unwrap();
        assert_eq!(reply.error(), Some(LoginErrorCode::BAD_INPUT));
        assert_eq!(reply.not_created(), Some(code));
        assert!(matches!(outputs.last(), Some(Output::Close)));
    }
    let reply = LoginReply::decode(&hex("0008 0002 0006 524c 0002 000b")).unwrap();
    assert_eq!(
        reply.not_created(),
        Some(AdminErrorCode::INVALID_NICKNAME_LENGTH)
    );
    assert_eq!(LoginReply::default().not_created(), None);
}

#[test]
fn a_25_a_wish_for_an_account_shows_no_password() {
    let (_, outputs) = creation(true, "alice", "correct horse", "");
    let shown = format!("{outputs:?}");
    assert!(shown.contains("password: ***"), "{shown}");
}
