//! The steps of an ADMIN connection, seen from the wire.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::session::{Admission, Output, Party, RateTable, Session, SessionConfig, Sessions};
use crate::wire::admin::{InfoReply, ReplyBlock, subgroup};
use crate::wire::flap::{Channel, Frame};
use crate::wire::hex;
use crate::wire::signon::{Hello, tlv};
use crate::wire::snac::{Foodgroup, HOST_REQUEST, Snac};
use crate::wire::tlv::TlvList;

const URL: &[u8] = b"http://x/";
/// Request id of the questions; zero is as good as any.
const ID: u32 = 0;

#[allow(clippy::disallowed_methods, reason = "any instant will do")]
fn start() -> Instant {
    Instant::now()
}

/// A connection with a cookie, which the host is asked about.
fn with_cookie() -> Session {
    let config = SessionConfig {
        peer: ([192, 0, 2, 1], 4711).into(),
        tls: false,
        accounts: true,
        museum: false,
        challenge: [7; 16],
        rates: RateTable::OURS,
        rates_old: RateTable::OLD,
        error_url: Bytes::from_static(URL),
    };
    let mut session = Session::new(start(), config);
    let mut hello = Hello::new();
    hello.tlvs = TlvList::new().with(tlv::COOKIE, vec![7; 256]);
    let frame = Frame {
        channel: Channel::SIGN_ON,
        sequence: 0,
        data: hello.encode(),
    };
    session.handle_frame(start(), frame);
    assert!(matches!(
        drain(&mut session)[..],
        [Output::Send(..), Output::Redeem { .. }]
    ));
    session
}

fn admission(name: &str) -> Admission {
    Admission {
        name: name.parse().expect("a good name"),
        sessions: Sessions::Several,
        since_unix_s: 1_000,
    }
}

fn admin_of(party: Party, name: &str) -> Session {
    let mut session = with_cookie();
    session.admitted_to_admin(admission(name), party);
    drain(&mut session);
    session
}

fn admin() -> Session {
    admin_of(Party::Old, "alice")
}

fn drain(session: &mut Session) -> Vec<Output> {
    std::iter::from_fn(|| session.poll_output()).collect()
}

fn send(session: &mut Session, foodgroup: Foodgroup, subgroup: u16, body: Bytes) -> Vec<Output> {
    let frame = Frame {
        channel: Channel::DATA,
        sequence: 0,
        data: Snac::new(foodgroup, subgroup, ID, body).encode(),
    };
    session.handle_frame(start(), frame);
    drain(session)
}

/// The one SNAC that goes out.
fn answer(outputs: &[Output]) -> Snac {
    let [Output::Send(Channel::DATA, data)] = outputs else {
        panic!("one answer: {outputs:?}");
    };
    Snac::decode(data.clone()).expect("a good SNAC")
}

/// What goes out at once, as subgroup and body.
fn told(session: &mut Session, subgroup: u16, body: &str) -> (u16, Bytes) {
    let snac = answer(&send(session, Foodgroup::ADMIN, subgroup, hex(body)));
    assert_eq!((snac.foodgroup, snac.request_id), (Foodgroup::ADMIN, ID));
    (snac.subgroup, snac.body)
}

/// What the caller is asked.
fn asked(session: &mut Session, subgroup: u16, body: impl Into<Bytes>) -> AdminRequest {
    let outputs = send(session, Foodgroup::ADMIN, subgroup, body.into());
    match outputs.into_iter().next() {
        Some(Output::Admin {
            request_id: ID,
            request,
        }) => request,
        other => panic!("{other:?}"),
    }
}

fn changed(session: &mut Session, body: &str) -> Change {
    match asked(session, subgroup::INFO_CHANGE_REQUEST, hex(body)) {
        AdminRequest::Change(change) => change,
        other => panic!("{other:?}"),
    }
}

/// The blocks that an answer puts on the wire.
fn blocks(session: &mut Session, answer: AdminAnswer) -> Vec<ReplyBlock> {
    session.admin(ID, answer);
    let snac = self::answer(&drain(session));
    InfoReply::decode(&snac.body).expect("a good reply").blocks
}

/// An error as it is on the wire: permissions, three TLVs, the last of them the URL.
fn error(permissions: u16, tag: u16, code: u16) -> Bytes {
    let mut body = BytesMut::new();
    for word in [permissions, 3, tag, 0, 8, 2, code, 4, 9] {
        body.extend_from_slice(&word.to_be_bytes());
    }
    body.extend_from_slice(URL);
    body.freeze()
}

#[test]
fn a_04_the_host_list_on_admin_is_oservice_and_admin_and_the_handshake_is_the_usual_one() {
    let mut session = with_cookie();
    session.admitted_to_admin(admission("alice"), Party::Old);
    let online = answer(&drain(&mut session));
    assert!(online.is(Foodgroup::OSERVICE, 0x03));
    assert_eq!(
        (online.request_id, online.body),
        (HOST_REQUEST, hex("0001 0007"))
    );
    let oservice = |session: &mut Session, subgroup, body: &str| {
        send(session, Foodgroup::OSERVICE, subgroup, hex(body))
    };
    let versions = answer(&oservice(&mut session, 0x17, "0007 0001 0001 0003"));
    assert_eq!(
        (versions.subgroup, versions.body),
        (0x18, hex("0001 0003 0007 0001"))
    );
    let rates = answer(&oservice(&mut session, 0x06, ""));
    assert_eq!(rates.subgroup, 0x07);
    let rates = crate::wire::signon::RateReply::decode(&rates.body).expect("good");
    let general = &rates.members[0];
    for subgroup in [2, 4, 6, 8] {
        let snac = (Foodgroup::ADMIN, subgroup);
        assert!(general.members.contains(&snac), "class 1 has {snac:?}");
    }
    assert!(oservice(&mut session, 0x08, "0001 0002 0003").is_empty());
    let ready = "0007 0001 0010 0629 0001 0003 0110 0629";
    assert!(
        oservice(&mut session, 0x02, ready).is_empty(),
        "nobody is told"
    );
    assert!(session.is_online() && session.is_admin());
}

#[test]
fn a_03_admin_has_a_connection_of_its_own_which_is_asked_for_on_bos() {
    let mut bos = with_cookie();
    bos.admitted(admission("alice"));
    drain(&mut bos);
    assert!(!bos.is_admin());
    for subgroup in [2, 4, 6, 8] {
        assert_eq!(told(&mut bos, subgroup, "0001 0000"), (1, hex("0005")));
    }
    let outputs = send(&mut bos, Foodgroup::OSERVICE, 0x04, hex("0007"));
    assert!(matches!(
        outputs[..],
        [Output::Service {
            request_id: ID,
            foodgroup: Foodgroup::ADMIN
        }]
    ));
    bos.service(
        ID,
        Foodgroup::ADMIN,
        Some(("h:1".into(), vec![9; 2].into())),
    );
    let reply = answer(&drain(&mut bos));
    assert!(reply.is(Foodgroup::OSERVICE, 0x05));
    let body = "000d 0002 0007 0005 0003 683a31 0006 0002 0909 008e 0001 00";
    assert_eq!((reply.request_id, reply.body), (ID, hex(body)));
    bos.service(ID, Foodgroup::ADMIN, None);
    let refused = answer(&drain(&mut bos));
    assert!(refused.is(Foodgroup::OSERVICE, 0x01));
    assert_eq!(refused.body, hex("0005"));
}

#[test]
fn a_03_nothing_but_admin_is_on_an_admin_connection() {
    let mut session = admin();
    for foodgroup in [
        Foodgroup::LOCATE,
        Foodgroup::BUDDY,
        Foodgroup::ICBM,
        Foodgroup::FEEDBAG,
    ] {
        let snac = answer(&send(&mut session, foodgroup, 2, Bytes::new()));
        assert_eq!(
            (snac.foodgroup, snac.subgroup, snac.body),
            (foodgroup, 1, hex("0008"))
        );
    }
    for (subgroup, body) in [(0x04, "0007"), (0x0E, ""), (0x11, "00000000"), (0x1E, "")] {
        let snac = answer(&send(
            &mut session,
            Foodgroup::OSERVICE,
            subgroup,
            hex(body),
        ));
        assert_eq!((snac.subgroup, snac.body), (1, hex("0001")), "{subgroup}");
    }
}

#[test]
fn a_05_each_field_is_one_block_with_the_id_of_the_question_even_if_that_is_zero() {
    let mut session = admin();
    for (tag, value) in [(0x01, "616c696365"), (0x11, "61"), (0x13, "0002")] {
        let body = format!("{tag:04x} 0000");
        let query = asked(&mut session, subgroup::INFO_QUERY, hex(&body));
        assert!(matches!(query, AdminRequest::Query(tags) if tags == [tag]));
        let value = hex(value);
        let field = FieldAnswer::value(tag, Permissions::CHANGEABLE, value.clone());
        session.admin(ID, AdminAnswer::Info(vec![field]));
        let snac = answer(&drain(&mut session));
        let expected = InfoReply {
            blocks: vec![ReplyBlock::value(Permissions::CHANGEABLE, tag, value)],
        };
        assert_eq!((snac.subgroup, snac.request_id), (subgroup::INFO_REPLY, ID));
        assert_eq!(snac.body, expected.encode());
    }
}

#[test]
fn a_06_three_fields_are_three_blocks_in_the_order_of_the_question() {
    let mut session = admin();
    let query = hex("0013 0000 0001 0000 0011 0000 0001 0000");
    let AdminRequest::Query(tags) = asked(&mut session, subgroup::INFO_QUERY, query) else {
        panic!("a query");
    };
    assert_eq!(tags, [0x13, 0x01, 0x11], "each once");
    let field = |&tag| FieldAnswer::value(tag, Permissions::LOCKED, vec![7]);
    let told = blocks(
        &mut session,
        AdminAnswer::Info(tags.iter().map(field).collect()),
    );
    let fields: Vec<_> = told.iter().map(ReplyBlock::field).collect();
    assert_eq!(fields, [Some(0x13), Some(0x01), Some(0x11)]);
}

#[test]
fn a_07_no_mail_address_is_an_empty_value() {
    let mut session = admin();
    asked(&mut session, subgroup::INFO_QUERY, hex("0011 0000"));
    let none = FieldAnswer::value(tag::EMAIL, Permissions::CHANGEABLE, Bytes::new());
    session.admin(ID, AdminAnswer::Info(vec![none]));
    let reply = answer(&drain(&mut session));
    assert_eq!(reply.body, hex("0003 0001 0011 0000"));
}

#[test]
fn a_08_passwords_cannot_be_asked_for_unknown_fields_are_said_to_be_and_nothing_is_no_question() {
    let mut session = admin();
    let query = |session: &mut Session, body| told(session, subgroup::INFO_QUERY, body);
    assert_eq!(query(&mut session, "0002 0000"), (3, error(3, 0x02, 0x11)));
    assert_eq!(query(&mut session, "0012 0000"), (3, error(3, 0x12, 0x11)));
    assert_eq!(query(&mut session, "0077 0000"), (3, error(1, 0x77, 0x12)));
    assert_eq!(query(&mut session, ""), (1, hex("000e")));
}

#[test]
fn a_08_what_can_be_answered_is_answered_beside_what_cannot() {
    let mut session = admin();
    let query = hex("0077 0000 0011 0000 0002 0000 0001 0000");
    let query = asked(&mut session, subgroup::INFO_QUERY, query);
    assert!(matches!(query, AdminRequest::Query(tags) if tags == [0x11, 0x01]));
    // The caller's order does not matter; what it leaves out is its fault.
    let email = FieldAnswer::value(tag::EMAIL, Permissions::CHANGEABLE, vec![b'a']);
    let told = blocks(&mut session, AdminAnswer::Info(vec![email]));
    let codes: Vec<_> = told
        .iter()
        .map(|block| (block.field(), block.error_code().map(|code| code.0)))
        .collect();
    let expected = [
        (Some(0x77), Some(0x12)),
        (Some(0x11), None),
        (Some(0x02), Some(0x11)),
        (Some(0x01), Some(0x1C)),
    ];
    assert_eq!(codes, expected);
}

#[test]
fn a_09_a_format_comes_judged_and_goes_back_as_it_is_stored() {
    let mut session = admin();
    let change = changed(&mut session, "0001 0007 61204c49206365");
    assert!(matches!(&change, Change::Format(Ok(name)) if name.as_str() == "a LI ce"));
    assert_eq!(change.tag(), tag::FORMAT);
    let stored = FieldAnswer::value(tag::FORMAT, Permissions::CHANGEABLE, &b"a LI ce"[..]);
    session.admin(ID, AdminAnswer::Changed(stored));
    let reply = answer(&drain(&mut session));
    assert_eq!(reply.subgroup, subgroup::INFO_CHANGE_REPLY);
    assert_eq!(reply.body, hex("0003 0001 0001 0007 61204c49206365"));
    let change = changed(&mut session, "0001 0005 616c696366");
    assert!(matches!(
        change,
        Change::Format(Err(AdminErrorCode::VALIDATE_NICKNAME))
    ));
}

#[test]
fn a_11_a_12_a_mail_address_and_a_registration_status_come_judged() {
    let mut session = admin();
    let change = changed(&mut session, "0011 0003 614062");
    assert!(matches!(&change, Change::Email(Ok(address)) if address == "a@b"));
    assert_eq!(change.tag(), tag::EMAIL);
    let change = changed(&mut session, "0011 0001 61");
    assert!(matches!(
        change,
        Change::Email(Err(AdminErrorCode::INVALID_EMAIL))
    ));
    let change = changed(&mut session, "0013 0002 0003");
    assert!(matches!(
        change,
        Change::Registration(Ok(Registration::FULL))
    ));
    assert_eq!(change.tag(), tag::REGISTRATION);
    let refused = AdminErrorCode::INVALID_REGISTRATION_PREFERENCE;
    for body in ["0013 0002 0000", "0013 0002 0004", "0013 0001 01"] {
        let change = changed(&mut session, body);
        assert!(matches!(change, Change::Registration(Err(code)) if code == refused));
    }
}

#[test]
fn a_13_a_password_comes_with_the_old_one_and_is_never_echoed() {
    let mut session = admin();
    // As libpurple sends it.
    let libpurple = "0002 0008 6e65777061737331 0012 0006 736563726574";
    let change = changed(&mut session, libpurple);
    assert_eq!(change.tag(), tag::PASSWORD);
    let Change::Password {
        old: Ok(old),
        new: Ok(new),
    } = change
    else {
        panic!("two good passwords: {change:?}");
    };
    assert_eq!(
        (old.expose(), new.expose()),
        (&b"secret"[..], &b"newpass1"[..])
    );
    let stored = FieldAnswer::value(tag::PASSWORD, Permissions::CHANGEABLE, &b"newpass1"[..]);
    session.admin(ID, AdminAnswer::Changed(stored));
    let reply = answer(&drain(&mut session));
    assert_eq!(reply.body, hex("0003 0001 0002 0000"));
    let codes = |session: &mut Session, body: &str| match changed(session, body) {
        Change::Password { old, new } => {
            (old.err().map(|code| code.0), new.err().map(|code| code.0))
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        codes(&mut session, "0002 0004 6e657770"),
        (Some(0x0F), None)
    );
    assert_eq!(
        codes(&mut session, "0002 0004 6e657770 0012 0000"),
        (Some(0x0E), None)
    );
    assert_eq!(
        codes(&mut session, "0012 0001 61 0002 0003 6e6577"),
        (None, Some(0x0C))
    );
    assert_eq!(
        codes(&mut session, "0012 0001 61 0002 0005 414c494345"),
        (None, Some(0x07))
    );
    let mut icq = admin_of(Party::Old, "10000");
    assert_eq!(
        codes(&mut icq, "0012 0001 61 0002 0005 6e65777061"),
        (None, Some(0x0C))
    );
    let mut ours = admin_of(Party::Ours, "alice");
    assert_eq!(
        codes(&mut ours, "0012 0001 61 0002 0007 6e657770617373"),
        (None, Some(0x0C))
    );
}

#[test]
fn a_14_every_error_has_its_code_in_two_bytes_and_the_url_and_they_are_three() {
    let mut session = admin();
    for code in AdminErrorCode::ALL {
        let refused = FieldAnswer::refused(tag::EMAIL, Permissions::LOCKED, code);
        asked(&mut session, subgroup::INFO_QUERY, hex("0011 0000"));
        session.admin(ID, AdminAnswer::Info(vec![refused.clone()]));
        session.admin(ID, AdminAnswer::Changed(refused));
        for output in drain(&mut session) {
            let snac = answer(&[output]);
            assert_eq!(snac.body, error(2, 0x11, code.0));
        }
    }
}

#[test]
fn a_15_two_changes_at_once_change_nothing() {
    let mut session = admin();
    let sets = [
        (0x01, "0001 0005 416c696365"),
        (0x11, "0011 0003 614062"),
        (0x13, "0013 0002 0001"),
        (0x02, "0002 0004 6e657770 0012 0001 61"),
        (0x12, "0012 0001 61 0002 0004 6e657770"),
        (0x12, "0012 0001 61"),
    ];
    for (place, (tag, one)) in sets.into_iter().enumerate() {
        let others = sets.into_iter().enumerate();
        // The last three are parts of one set.
        let others = others.filter(|&(other, _)| other != place && place.min(other) < 3);
        for (_, (_, other)) in others {
            let body = format!("{one} {other}");
            let told = told(&mut session, subgroup::INFO_CHANGE_REQUEST, &body);
            assert_eq!(told, (5, error(3, tag, 0x14)), "{body}");
        }
    }
    let alone = told(&mut session, subgroup::INFO_CHANGE_REQUEST, "0012 0001 61");
    assert_eq!(alone, (5, error(3, 0x12, 0x14)));
    let first = changed(&mut session, "0013 0002 0001 0013 0002 0002");
    assert!(
        matches!(first, Change::Registration(Ok(Registration::NONE))),
        "the first counts"
    );
}

#[test]
fn a_field_that_nobody_knows_is_not_changed() {
    let mut session = admin();
    for body in ["0077 0001 61", "0013 0002 0001 0077 0000"] {
        let told = told(&mut session, subgroup::INFO_CHANGE_REQUEST, body);
        assert_eq!(told, (5, error(1, 0x77, 0x12)), "{body}");
    }
}

#[test]
fn a_16_a_confirmation_has_its_status_and_always_the_url() {
    let mut session = admin();
    let confirm = asked(&mut session, subgroup::ACCT_CONFIRM_REQUEST, Bytes::new());
    assert!(matches!(confirm, AdminRequest::Confirm { code: None }));
    let confirm = asked(
        &mut session,
        subgroup::ACCT_CONFIRM_REQUEST,
        hex("524d 0002 6b37"),
    );
    assert!(
        matches!(confirm, AdminRequest::Confirm { code: Some(code) } if code.expose() == b"k7")
    );
    for (status, code, body) in [
        (ConfirmStatus::DONE, None, "0000 0004 0009"),
        (ConfirmStatus::ALREADY, None, "001e 0004 0009"),
        (
            ConfirmStatus::CANNOT,
            Some(AdminErrorCode::OUTSTANDING_CONFIRM),
            "0023 0008 0002 001f 0004 0009",
        ),
    ] {
        session.admin(ID, AdminAnswer::Confirm { status, code });
        let reply = answer(&drain(&mut session));
        assert_eq!((reply.subgroup, reply.request_id), (7, ID));
        assert_eq!(reply.body, [&hex(body)[..], URL].concat());
    }
}

#[test]
fn a_18_deletion_comes_with_the_password_or_without_and_a_good_end_is_empty() {
    let mut session = admin();
    let password = |session: &mut Session, body: &str| match asked(
        session,
        subgroup::ACCT_DELETE_REQUEST,
        hex(body),
    ) {
        AdminRequest::Delete { password } => password.map(|secret| secret.expose().to_vec()),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        password(&mut session, ""),
        Err(AdminErrorCode::NEED_OLD_PASSWORD)
    );
    assert_eq!(password(&mut session, "0012 0002 7077"), Ok(b"pw".to_vec()));
    session.admin(
        ID,
        AdminAnswer::Deleted(Err(AdminErrorCode::SERVICE_TEMP_UNAVAILABLE)),
    );
    let reply = answer(&drain(&mut session));
    assert_eq!(reply.subgroup, 9);
    assert_eq!(
        reply.body,
        [&hex("0008 0002 0004 0004 0009")[..], URL].concat()
    );
    session.admin(ID, AdminAnswer::Deleted(Ok(())));
    session.sign_off(Some(2));
    let outputs = drain(&mut session);
    assert!(matches!(&outputs[..], [
        Output::Send(Channel::DATA, reply), Output::Send(Channel::SIGN_OFF, off), Output::Close,
    ] if reply.len() == 10 && *off == hex("0009 0002 0002")));
}

#[test]
fn a_20_a_value_that_runs_past_the_end_is_said_in_the_reply_and_the_connection_is_kept() {
    let mut session = admin();
    let url = |body: &str| Bytes::from([&hex(body)[..], URL].concat());
    for (subgroup, body, reply) in [
        (2, "0001 0000 0011 0001", (3, error(3, 0x11, 0x14))),
        (4, "0011 0005 61", (5, error(3, 0x11, 0x14))),
        (4, "", (5, error(1, 0x00, 0x14))),
        (6, "524d 0002 61", (7, url("0023 0008 0002 0014 0004 0009"))),
        (8, "0012 0002 61", (9, url("0008 0002 0014 0004 0009"))),
        // No tag can be read there.
        (2, "0001 00", (1, hex("000e"))),
        (4, "00", (1, hex("000e"))),
    ] {
        assert_eq!(
            told(&mut session, subgroup, body),
            reply,
            "{subgroup} {body}"
        );
    }
    let many = "0011 0000".repeat(17);
    assert_eq!(told(&mut session, 2, &many), (3, error(3, 0x11, 0x14)));
    assert!(session.is_admin());
    asked(&mut session, 2, hex("0011 0000"));
}

#[test]
fn a_21_subgroups_that_a_client_does_not_send_are_unknown() {
    let mut session = admin();
    for subgroup in [0, 3, 5, 7, 9, 0x0A, 0xFFFF] {
        assert_eq!(
            told(&mut session, subgroup, "0001 0000"),
            (1, hex("0001")),
            "{subgroup}"
        );
    }
}

#[test]
fn a_24_a_new_spelling_is_the_base_of_the_next_one_and_another_name_is_none() {
    let mut session = admin();
    session.renamed("Al Ice".parse().expect("good"));
    assert_eq!(session.name().map(ScreenName::as_str), Some("Al Ice"));
    session.renamed("bob".parse().expect("good"));
    assert_eq!(session.name().map(ScreenName::as_str), Some("Al Ice"));
}

#[test]
fn a_25_nothing_that_comes_out_shows_a_password() {
    let mut session = admin();
    let body = "0002 0008 6e65777061737331 0012 0006 736563726574";
    let change = changed(&mut session, body);
    let delete = asked(
        &mut session,
        subgroup::ACCT_DELETE_REQUEST,
        hex("0012 0002 7077"),
    );
    let confirm = asked(
        &mut session,
        subgroup::ACCT_CONFIRM_REQUEST,
        hex("524d 0002 6b37"),
    );
    let shown = format!("{change:?} {delete:?} {confirm:?}");
    let expected = "Password { old: Ok(***), new: Ok(***) } Delete { password: Ok(***) } Confirm { code: Some(***) }";
    assert_eq!(shown, expected);
}

#[test]
fn admission_to_admin_is_for_cookies_only() {
    let mut session = admin();
    session.admitted_to_admin(admission("bob"), Party::Ours);
    assert_eq!(session.name().map(ScreenName::as_str), Some("alice"));
    assert!(drain(&mut session).is_empty());
}

proptest! {
    #[test]
    fn any_snacs_of_admin_get_exactly_one_answer_each(
        snacs in proptest::collection::vec((0u16..12, proptest::collection::vec(0u8..20, 0..40)), 1..20),
    ) {
        let mut session = admin();
        for (subgroup, body) in snacs {
            let outputs = send(&mut session, Foodgroup::ADMIN, subgroup, body.into());
            if subgroup == 1 {
                prop_assert!(outputs.is_empty(), "errors are not answered");
                continue;
            }
            let reply = match &outputs[..] {
                [Output::Admin { request, .. }] => {
                    let value = |tag| FieldAnswer::value(tag, Permissions::CHANGEABLE, vec![1]);
                    session.admin(ID, match request {
                        AdminRequest::Query(tags) => AdminAnswer::Info(tags.iter().copied().map(value).collect()),
                        AdminRequest::Change(change) => AdminAnswer::Changed(value(change.tag())),
                        AdminRequest::Confirm { .. } => AdminAnswer::Confirm { status: ConfirmStatus::DONE, code: None },
                        AdminRequest::Delete { .. } => AdminAnswer::Deleted(Err(AdminErrorCode::INTERNAL_ERROR)),
                    });
                    answer(&drain(&mut session))
                }
                outputs => answer(outputs),
            };
            prop_assert!(reply.subgroup == 1 || reply.subgroup == subgroup + 1);
        }
    }
}
