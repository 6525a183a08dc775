//! The machine alone: answers that are missing, late or odd.

use rdv_proto::wire::signon::Versions;
use rdv_proto::wire::tlv::TlvList;

use super::*;

fn machine() -> OldHost {
    let name = ScreenName::new("alice").unwrap();
    OldHost::new(name, vec![rdv_proto::wire::service::SEND_FILE])
}

fn frame(foodgroup: Foodgroup, subgroup: u16, body: Bytes) -> Frame {
    Frame {
        channel: Channel::DATA,
        sequence: 0,
        data: Snac::new(foodgroup, subgroup, 0x8000_0000, body).encode(),
    }
}

fn host_online(foodgroups: &[Foodgroup]) -> Frame {
    let foodgroups = foodgroups.to_vec();
    frame(
        Foodgroup::OSERVICE,
        host::ONLINE,
        HostOnline { foodgroups }.encode(),
    )
}

fn named(say: &[Snac]) -> Vec<(u16, u16)> {
    say.iter()
        .map(|snac| (snac.foodgroup.0, snac.subgroup))
        .collect()
}

#[test]
fn a_host_without_lists_is_asked_for_none() {
    let mut machine = machine();
    assert!(
        !machine.may_go_on(),
        "without the first word there is nothing"
    );
    let offered = [Foodgroup::OSERVICE, Foodgroup::LOCATE, Foodgroup::ICBM];
    let say = machine.take(host_online(&offered)).unwrap();
    assert_eq!(named(&say), [(1, 0x17)]);
    let versions = Versions::decode(&say[0].body).unwrap();
    assert_eq!(versions.of(Foodgroup::FEEDBAG), None);
    assert_eq!(versions.of(Foodgroup::OSERVICE), Some(3));
    // It leaves 01/18 and 01/07 out.
    assert_eq!(named(&machine.go_on()), [(1, 6)]);
    assert_eq!(named(&machine.go_on()), [(1, 8), (1, 0x0E), (2, 2), (4, 4)]);
    // And 01/0F.
    assert_eq!(named(&machine.go_on()), [(2, 4), (4, 2), (1, 2)]);
    assert_eq!(machine.step, Step::Done);
    assert!(!machine.may_go_on());
}

#[test]
fn what_comes_out_of_turn_changes_nothing() {
    let mut machine = machine();
    let list = Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0]);
    let early = frame(Foodgroup::FEEDBAG, feedbag::REPLY, list.clone());
    assert!(machine.take(early.clone()).unwrap().is_empty());
    machine
        .take(host_online(&[Foodgroup::OSERVICE, Foodgroup::FEEDBAG]))
        .unwrap();
    let again = host_online(&[Foodgroup::OSERVICE]);
    assert!(machine.take(again).unwrap().is_empty());
    assert!(machine.offers(Foodgroup::FEEDBAG));
    let rates = RateReply::default().encode();
    let rates = frame(Foodgroup::OSERVICE, oservice::RATE_REPLY, rates);
    assert!(!machine.take(rates).unwrap().is_empty());
    // A list in pieces is complete with the last one.
    let mut piece = Snac::new(Foodgroup::FEEDBAG, feedbag::REPLY, 6, list);
    piece.flags = snac::FLAG_MORE;
    let piece = Frame {
        data: piece.encode(),
        ..early.clone()
    };
    machine.take(piece).unwrap();
    let waiting = Step::Setup {
        own_info: false,
        list: false,
    };
    assert_eq!(machine.step, waiting);
    machine.take(early).unwrap();
    assert_ne!(machine.step, waiting);
}

#[test]
fn a_cookie_that_is_not_taken_keeps_its_reason() {
    // One host writes the reason as a byte.
    for reason in [vec![0, 0x1A], vec![0x1A]] {
        let mut data = bytes::BytesMut::new();
        TlvList::new().with(0x08, reason).encode_rest(&mut data);
        let frame = Frame {
            channel: Channel::SIGN_OFF,
            sequence: 0,
            data: data.freeze(),
        };
        let refused = machine().take(frame).unwrap_err();
        assert!(
            matches!(&refused, OscarError::Refused { code } if code.0 == 0x1A),
            "{refused:?}"
        );
    }
}
