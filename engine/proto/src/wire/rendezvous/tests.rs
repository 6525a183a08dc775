//! Rules of rendezvous messages, each by its number in the checklist; bytes from the protocol's example vectors.

use std::net::Ipv4Addr;

use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::wire::error::EncodeError;
use crate::wire::hex;
use crate::wire::service::{FileSetKind, NATIVE, SEND_FILE};
use crate::wire::tlv::Tlv;

const COOKIE: Cookie = Cookie(*b"TRYST01\0");
const HEAD: &str = "5452595354303100094613434c7f11d18222444553540000";

/// A block of that kind with these TLVs.
fn block(kind: &str, params: &str) -> Message {
    Message::decode(hex(&format!("{kind}{HEAD}{params}"))).expect("a block that can be read")
}

fn propose(params: &str) -> Message {
    block("0000", params)
}

fn first() -> Message {
    Message::propose(COOKIE, SEND_FILE, SequenceNumber::FIRST)
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

fn tags(message: &Message) -> Vec<u16> {
    message.params().0.iter().map(|tlv| tlv.tag).collect()
}

/// A proposal with everything that we ever say.
fn full() -> Message {
    let data = SendFileData::new(FileSetKind::ONE_FILE, 1, 43, "fox.txt").expect("good data");
    first()
        .with_security(&SecurityBlock::new())
        .with_send_file(&data, 43)
        .with_addr_list(&["192.0.2.10:4443".parse().expect("an address")])
        .with_versions(1, 1)
        .with_request_secure()
        .with_direct(ip("192.0.2.10"), ip("192.0.2.10"), 4443)
        .with_host_check()
}

#[test]
fn r_01_a_block_is_kind_cookie_service_and_parameters_to_the_end() {
    let message = propose("000a00020001000f0000");
    assert_eq!(
        (message.kind, message.cookie, message.service),
        (MessageKind::PROPOSE, COOKIE, SEND_FILE)
    );
    assert_eq!(tags(&message), [tag::SEQUENCE, tag::REQUEST_HOST_CHECK]);
    assert_eq!(
        message.encode(),
        hex(&format!("0000{HEAD}000a00020001000f0000"))
    );
}

#[test]
fn r_01_a_block_below_26_bytes_is_malformed() {
    let whole = hex(&format!("0002{HEAD}"));
    for length in 0..whole.len() {
        let error = Message::decode(whole.slice(..length)).expect_err("too short");
        assert!(
            matches!(
                error,
                DecodeError::Truncated {
                    what: "rendezvous block",
                    ..
                }
            ),
            "{length}: {error}"
        );
    }
    assert!(Message::decode(whole).is_ok());
}

#[test]
fn r_02_kinds_have_their_numbers_and_others_survive() {
    let kinds = [
        MessageKind::PROPOSE,
        MessageKind::CANCEL,
        MessageKind::ACCEPT,
        MessageKind::NAK,
    ];
    assert_eq!(kinds.map(|kind| kind.0), [0, 1, 2, 3]);
    for kind in ["0003", "0004", "ffff"] {
        assert_eq!(block(kind, "").encode(), hex(&format!("{kind}{HEAD}")));
    }
}

#[test]
fn r_03_the_cookie_is_the_same_in_every_message_that_we_make() {
    let messages = [
        first(),
        Message::cancel(COOKIE, SEND_FILE, CancelReason::USER),
        Message::accept(COOKIE, SEND_FILE),
    ];
    assert!(
        messages
            .iter()
            .all(|message| message.encode()[2..10] == *b"TRYST01\0")
    );
}

#[test]
fn r_04_every_proposal_that_we_make_has_its_number() {
    let second = SequenceNumber::FIRST.next().expect("a number after 1");
    let message = Message::propose(COOKIE, SEND_FILE, second);
    assert_eq!(message.encode(), hex(&format!("0000{HEAD}000a00020002")));
}

#[test]
fn r_05_no_cancel_or_accept_can_get_a_number() {
    let cancel = Message::cancel(COOKIE, SEND_FILE, CancelReason::TIMEOUT);
    let accept = Message::accept(COOKIE, SEND_FILE).with_request_secure();
    for message in [cancel, accept] {
        assert!(!message.params().contains(tag::SEQUENCE));
        let forced = message.with_param(tag::SEQUENCE, &[0, 1][..]);
        assert_eq!(
            forced,
            Err(EncodeError::ForbiddenTag { tag: tag::SEQUENCE })
        );
    }
    assert_eq!(
        block("0001", "000a00020001").sequence(),
        None,
        "received, it is ignored"
    );
}

#[test]
fn r_06_the_first_number_is_1() {
    assert_eq!(
        (SequenceNumber::FIRST.get(), first().sequence()),
        (1, Some(SequenceNumber::FIRST))
    );
}

#[test]
fn r_07_numbers_grow_by_one_and_end() {
    let last = SequenceNumber::new(u16::MAX).expect("not 0");
    assert_eq!(SequenceNumber::FIRST.next(), SequenceNumber::new(2));
    assert_eq!(last.next(), None);
}

#[test]
fn r_08_a_proposal_without_sequence_number_is_malformed() {
    let missing = Err(DecodeError::Missing {
        what: "SEQUENCE_NUM",
    });
    for params in [
        "",
        "000a000101",
        "000a000400000001",
        "000a00020000",
        "000a0000",
    ] {
        assert_eq!(propose(params).check(), missing, "{params}");
    }
    assert_eq!(propose("000a00020001").check(), Ok(()));
    assert_eq!(block("0002", "").check(), Ok(()), "an accept needs none");
}

#[test]
fn r_09_every_cancel_that_we_make_has_its_reason() {
    let cancel = Message::cancel(COOKIE, SEND_FILE, CancelReason::TIMEOUT);
    assert_eq!(cancel.encode(), hex(&format!("0001{HEAD}000b00020002")));
}

#[test]
fn r_10_cancel_reasons_have_their_numbers_and_others_survive() {
    let reasons = [
        CancelReason::UNKNOWN,
        CancelReason::USER,
        CancelReason::TIMEOUT,
        CancelReason::ACCEPTED_ELSEWHERE,
    ];
    assert_eq!(reasons.map(|reason| reason.0), [0, 1, 2, 3]);
    let strange = block("0001", "000b00020077");
    assert_eq!(strange.cancel_reason(), CancelReason(0x77));
    assert_eq!(strange.encode(), hex(&format!("0001{HEAD}000b00020077")));
}

#[test]
fn r_11_no_proposal_or_accept_can_get_a_reason() {
    for message in [full(), Message::accept(COOKIE, SEND_FILE)] {
        assert!(!message.params().contains(tag::CANCEL_REASON));
        let forced = message.with_param(tag::CANCEL_REASON, &[0, 1][..]);
        assert_eq!(
            forced,
            Err(EncodeError::ForbiddenTag {
                tag: tag::CANCEL_REASON
            })
        );
    }
}

#[test]
fn r_12_no_client_can_make_a_verified_address() {
    let forced = first().with_param(tag::VERIFIED_IP, &[192, 0, 2, 1][..]);
    assert_eq!(
        forced,
        Err(EncodeError::ForbiddenTag {
            tag: tag::VERIFIED_IP
        })
    );
    assert!(!full().params().contains(tag::VERIFIED_IP));
}

#[test]
fn r_13_no_client_can_make_a_verified_download_url() {
    let forced = first().with_param(tag::VERIFIED_DOWNLOAD_URL, &b"http://a"[..]);
    assert_eq!(
        forced,
        Err(EncodeError::ForbiddenTag {
            tag: tag::VERIFIED_DOWNLOAD_URL
        })
    );
    assert!(!full().params().contains(tag::VERIFIED_DOWNLOAD_URL));
}

#[test]
fn r_14_reserved_tags_stand_in_front_whatever_the_order_of_the_setters() {
    let tags = tags(&full());
    let expected = [
        0x0A, 0x0F, 0x02, 0x03, 0x05, 0x11, 0x12, 0x13, 0x16, 0x17, 0x18, 0x2711, 0x2712, 0x2713,
        0x5244,
    ];
    assert_eq!(tags, expected);
}

#[test]
fn r_14_a_late_reserved_parameter_moves_in_front_of_the_service_data() {
    let message = full()
        .with_param(tag::SESSION_ID, &b"s"[..])
        .expect("an allowed tag");
    let first_own = tags(&message)
        .iter()
        .position(|&tag| !tag::is_reserved(tag));
    let session = tags(&message)
        .iter()
        .position(|&tag| tag == tag::SESSION_ID);
    assert!(session < first_own);
}

#[test]
fn r_16_tags_of_services_lie_outside_of_the_reserved_range() {
    for tag in [
        tag::SERVICE_DATA,
        tag::FILE_NAME_CHARSET,
        tag::TOTAL_SIZE,
        tag::SECURITY,
    ] {
        assert!(!tag::is_reserved(tag));
    }
    assert!(tag::is_reserved(tag::ROLLOVER_ID) && tag::is_reserved(0x001F));
}

#[test]
fn r_17_an_address_never_goes_out_without_its_port_unless_there_is_none() {
    let direct = first().with_direct(ip("192.0.2.10"), ip("192.0.2.10"), 4443);
    assert!(tags(&direct).starts_with(&[
        tag::SEQUENCE,
        tag::RENDEZVOUS_IP,
        tag::REQUESTER_IP,
        tag::PORT
    ]));
    let none = Message::propose(COOKIE, SEND_FILE, SequenceNumber::new(2).expect("not 0"))
        .with_no_address();
    let vector = "000a00020002000200040000000000160004ffffffff0003000400000000";
    assert_eq!(propose(vector).rendezvous_ip(), none.rendezvous_ip());
    assert_eq!(
        (none.rendezvous_ip(), none.port()),
        (Some(Ipv4Addr::UNSPECIFIED), None)
    );
}

#[test]
fn r_18_a_requester_address_goes_out_only_together_with_a_rendezvous_address() {
    let forced = first().with_param(tag::REQUESTER_IP, &[192, 0, 2, 1][..]);
    assert_eq!(
        forced,
        Err(EncodeError::ForbiddenTag {
            tag: tag::REQUESTER_IP
        })
    );
    for message in [full(), first().with_no_address()] {
        assert!(
            message.params().contains(tag::REQUESTER_IP)
                && message.params().contains(tag::RENDEZVOUS_IP)
        );
    }
    let joscar = propose("000a0002000100030004c000020a00050002115b");
    assert_eq!(
        joscar.requester_ip(),
        Some(ip("192.0.2.10")),
        "received alone, it counts"
    );
}

#[test]
fn r_19_the_host_adds_the_verified_address_behind_the_reserved_tags() {
    let mut message = full();
    assert!(host::add_verified_ip(&mut message, ip("198.51.100.7")));
    let tags = tags(&message);
    let at = tags
        .iter()
        .position(|&tag| tag == tag::VERIFIED_IP)
        .expect("it was added");
    assert_eq!(tags[at + 1], tag::SERVICE_DATA);
    assert_eq!(message.verified_ip(), Some(ip("198.51.100.7")));
}

#[test]
fn r_19_the_host_adds_nothing_to_accepts_or_without_a_requester_address() {
    let relay = first().with_relay(ip("198.51.100.80"), 0x2337);
    let hidden = propose("000a00020001271100000003000400000000");
    for mut message in [relay, hidden, Message::accept(COOKIE, SEND_FILE)] {
        let before = message.clone();
        assert!(!host::add_verified_ip(&mut message, ip("198.51.100.7")));
        assert_eq!(message, before);
    }
}

#[test]
fn the_host_removes_forged_tags_wherever_they_stand_and_nothing_else() {
    let mut message = propose("00040004c0000201000a00020001271100000008000161000400040a000001");
    assert_eq!(host::strip(&mut message), 3);
    assert_eq!(
        message.encode(),
        hex(&format!("0000{HEAD}000a0002000127110000"))
    );
}

#[test]
fn the_host_adds_a_reason_to_a_cancel_without_one() {
    let mut cancel = block("0001", "");
    assert!(host::add_cancel_reason(&mut cancel));
    assert_eq!(cancel.encode(), hex(&format!("0001{HEAD}000b00020000")));
    assert!(!host::add_cancel_reason(&mut cancel), "once is enough");
    assert!(!host::add_cancel_reason(&mut first()));
}

#[test]
fn the_host_sees_the_request_for_a_check_only_in_front_of_the_service_data() {
    assert!(host::wants_check(&propose("000a00020001000f0000")));
    assert!(!host::wants_check(&propose("000a0002000127110000000f0000")));
}

#[test]
fn r_28_empty_tags_go_out_empty_and_count_in_any_length() {
    let message = first()
        .with_host_check()
        .with_request_secure()
        .with_relay(ip("198.51.100.80"), 1);
    for tag in [tag::REQUEST_HOST_CHECK, tag::REQUEST_SECURE, tag::USE_ARS] {
        assert_eq!(message.params().first(tag).map(Bytes::len), Some(0));
    }
    let odd = propose("000a00020001 000f000101 001000020000 0011000100");
    assert!(odd.host_check() && odd.use_ars() && odd.request_secure());
}

#[test]
fn r_29_the_check_of_the_address_is_its_complement() {
    let message = first().with_direct(ip("192.0.2.10"), ip("192.0.2.10"), 4443);
    assert_eq!(message.params().first(tag::IP_XOR), Some(&hex("3ffffdf5")));
}

#[test]
fn r_30_the_check_of_the_port_is_its_complement() {
    let message = first().with_direct(ip("192.0.2.10"), ip("192.0.2.10"), 4443);
    assert_eq!(message.params().first(tag::PORT_XOR), Some(&hex("eea4")));
}

#[test]
fn r_31_what_was_altered_on_the_way_is_undone_by_its_check() {
    let message =
        propose("000a0002000100020004cb00711400160004 3ffffdf5 00050002 1451 00170002 eea4");
    assert_eq!(
        (message.rendezvous_ip(), message.altered_ip()),
        (Some(ip("192.0.2.10")), Some(ip("203.0.113.20")))
    );
    assert_eq!(
        (message.port(), message.altered_port()),
        (Some(4443), Some(5201))
    );
    let intact = full();
    assert_eq!((intact.altered_ip(), intact.altered_port()), (None, None));
}

#[test]
fn r_31_a_check_without_its_partner_is_ignored() {
    let message = propose("000a00020001 00160004 3ffffdf5 00170002 eea4");
    assert_eq!((message.rendezvous_ip(), message.port()), (None, None));
}

#[test]
fn r_32_an_address_list_is_read_and_keeps_its_bytes() {
    let list = "00180022 0f3139322e302e322e3130203434343311323030313a6462383a3a31302034343433";
    let message = propose(&format!("000a00020001{list}"));
    let expected =
        ["192.0.2.10:4443", "[2001:db8::10]:4443"].map(|text| text.parse().expect("an address"));
    assert_eq!(message.addr_list(), expected);
    assert_eq!(first().with_addr_list(&expected).encode(), message.encode());
}

#[test]
fn r_33_tls_is_asked_for_and_agreed_to_by_one_tag() {
    let accept = Message::accept(COOKIE, SEND_FILE).with_request_secure();
    assert_eq!(accept.encode(), hex(&format!("0002{HEAD}00110000")));
    assert!(accept.request_secure() && !first().request_secure());
}

#[test]
fn r_34_a_relay_proposal_names_relay_and_token() {
    let vector =
        "000a00020002 00020004c6336450 000500022337 00100000 0016000439cc9baf 00170002dcc8";
    let made = Message::propose(COOKIE, SEND_FILE, SequenceNumber::new(2).expect("not 0"));
    let made = made.with_relay(ip("198.51.100.80"), 0x2337);
    assert_eq!(made.encode(), propose(vector).encode());
    assert!(made.use_ars());
    assert_eq!(
        (made.rendezvous_ip(), made.relay_token()),
        (Some(ip("198.51.100.80")), Some(0x2337))
    );
    assert_eq!(
        full().relay_token(),
        None,
        "the port of a direct proposal is no token"
    );
}

#[test]
fn r_35_versions_without_one_in_common_are_seen() {
    let message = first().with_versions(2, 4);
    assert_eq!(
        (message.min_version(), message.max_version()),
        (Some(2), Some(4))
    );
    assert!(
        message.versions_overlap(4, 9)
            && message.versions_overlap(1, 2)
            && message.versions_overlap(3, 3)
    );
    assert!(!message.versions_overlap(5, 9) && !message.versions_overlap(0, 1));
    assert!(
        first().versions_overlap(1, 1),
        "a side that says nothing fits any"
    );
}

#[test]
fn r_36_service_data_is_tag_10001() {
    assert_eq!(tag::SERVICE_DATA, 10_001);
}

#[test]
fn r_37_integers_are_big_endian_and_addresses_in_order() {
    let message = propose("000a00020102 00020004c000020a 00050002115b");
    assert_eq!(message.sequence().map(SequenceNumber::get), Some(0x0102));
    assert_eq!(
        (message.rendezvous_ip(), message.port()),
        (Some(ip("192.0.2.10")), Some(4443))
    );
}

#[test]
fn l_03_reserved_tags_behind_the_service_data_are_read() {
    let oos = propose(
        "271100100001000100000 02b666f782e74787400 00050002115b 0004 0004c6336407 000a00020001",
    );
    assert_eq!(
        (oos.verified_ip(), oos.port()),
        (Some(ip("198.51.100.7")), Some(4443))
    );
    assert_eq!(oos.check(), Ok(()));
}

#[test]
fn l_04_the_last_of_repeated_parameters_counts() {
    let forged =
        propose("000a00020001 00040004cb007109 00040004c6336407 00050002115b 000500021451");
    assert_eq!(
        (forged.verified_ip(), forged.port()),
        (Some(ip("198.51.100.7")), Some(0x1451))
    );
    assert_eq!(
        forged.undisputed_verified_ip(),
        None,
        "two different ones prove nothing"
    );
    let twice = propose("000a00020001 00040004c6336407 00040004c6336407");
    assert_eq!(twice.undisputed_verified_ip(), Some(ip("198.51.100.7")));
}

#[test]
fn l_04_two_numbers_or_two_security_blocks_are_malformed() {
    let repeated = |tag| {
        Err(DecodeError::Repeated {
            what: "rendezvous block",
            tag,
        })
    };
    assert_eq!(
        propose("000a00020001000a00020002").check(),
        repeated(tag::SEQUENCE)
    );
    assert_eq!(
        propose("000a00020001000a00020001").check(),
        Ok(()),
        "equal copies are harmless"
    );
    assert_eq!(
        propose("000a000200010011000000110001aa").check(),
        repeated(tag::REQUEST_SECURE)
    );
    let two = propose("000a00020001 5244000652445631 0100 5244000652445631 0100");
    assert_eq!(two.check(), repeated(tag::SECURITY));
    assert!(matches!(
        two.security_block(),
        Some(Err(DecodeError::Repeated { .. }))
    ));
}

#[test]
fn l_05_a_port_check_in_the_wrong_tag_is_ignored() {
    let miranda = propose("000a00020001 00020004c000020a 00050002115b 00150002 dcc8");
    assert_eq!(
        (miranda.port(), miranda.altered_port(), miranda.check()),
        (Some(4443), None, Ok(()))
    );
}

#[test]
fn l_13_a_cancel_without_reason_has_reason_0() {
    assert_eq!(block("0001", "").cancel_reason(), CancelReason::UNKNOWN);
    assert_eq!(
        block("0001", "000b000101").cancel_reason(),
        CancelReason::UNKNOWN
    );
}

#[test]
fn t_16_unknown_tags_and_services_survive_in_their_order() {
    let strange = "7fff0001aa 001f0000 000a00020001 0009000411223344 7fff0000";
    let message = propose(strange);
    assert_eq!(tags(&message), [0x7FFF, 0x001F, 0x000A, 0x0009, 0x7FFF]);
    assert_eq!(message.encode(), hex(&format!("0000{HEAD}{strange}")));
    let other = Message::accept(COOKIE, Uuid::from_u128(7));
    assert_eq!(Message::decode(other.encode()), Ok(other));
}

#[test]
fn t_18_a_parameter_past_the_end_makes_the_block_malformed() {
    for params in ["000a", "000a0002", "000a000200", "000affff0001"] {
        assert!(
            Message::decode(hex(&format!("0000{HEAD}{params}"))).is_err(),
            "{params}"
        );
    }
}

#[test]
fn t_18_the_65th_parameter_is_refused() {
    let params = |count: usize| hex(&format!("0000{HEAD}{}", "00090000".repeat(count)));
    assert!(Message::decode(params(64)).is_ok());
    assert_eq!(
        Message::decode(params(65)),
        Err(DecodeError::TooMany {
            what: "TLVs",
            max: 64
        })
    );
}

#[test]
fn t_18_parameters_over_their_limit_are_named() {
    let limits: [(u16, usize); 5] = [
        (tag::DOWNLOAD_URL, 1_024),
        (tag::SESSION_ID, 64),
        (tag::ROLLOVER_ID, 64),
        (tag::SERVICE_DATA, 4_096),
        (tag::SECURITY, 1_024),
    ];
    for (tag, max) in limits {
        let with = |length| Message {
            params: TlvList(vec![Tlv::new(tag, vec![0; length])]),
            ..first()
        };
        let numbered = |mut message: Message| {
            message.params.push(tag::SEQUENCE, vec![0, 1]);
            message.check()
        };
        assert_eq!(numbered(with(max)), Ok(()), "{tag:#06x}");
        let refused = numbered(with(max + 1)).expect_err("over the limit");
        assert!(
            matches!(refused, DecodeError::BadLength { length, .. } if length == max + 1),
            "{refused}"
        );
    }
}

#[test]
fn a_setter_used_twice_replaces_its_parameter() {
    let message = full().with_direct(ip("192.0.2.11"), ip("192.0.2.12"), 1);
    assert_eq!(
        (message.rendezvous_ip(), message.requester_ip()),
        (Some(ip("192.0.2.11")), Some(ip("192.0.2.12")))
    );
    assert_eq!(tags(&message), tags(&full()));
}

#[test]
fn words_to_the_user_are_decoded_by_their_charset_and_cut() {
    let message = propose("000a00020001 000d000b756e69636f64652d322d30 000c000465e5672c");
    assert_eq!(message.invitation().as_deref(), Some("日本"));
    let long = first()
        .with_param(tag::INVITATION, vec![b'a'; 5_000])
        .expect("an allowed tag");
    assert_eq!(long.invitation().map(|words| words.len()), Some(2_048));
}

#[test]
fn a_cookie_shows_only_its_first_bytes() {
    assert_eq!(format!("{COOKIE:?}"), "Cookie(5452..)");
    assert!(Cookie::ZERO.is_zero() && !COOKIE.is_zero());
}

#[test]
fn a_native_proposal_holds_number_versions_and_security_only() {
    let message = Message::propose(COOKIE, NATIVE, SequenceNumber::FIRST)
        .with_request_secure()
        .with_versions(1, 1)
        .with_security(&SecurityBlock::new());
    assert_eq!(tags(&message), [0x0A, 0x11, 0x12, 0x13, 0x5244]);
    assert_eq!(message.security_block(), Some(Ok(SecurityBlock::new())));
    assert_eq!(
        message.security_bytes(),
        Some(SecurityBlock::new().encode())
    );
}
