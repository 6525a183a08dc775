//! Going on with what is there already.

use super::*;

#[test]
fn l_26_a_resume_in_a_file_above_4_gib_starts_from_its_beginning() {
    let totals = OftTotals::of([5 << 30], true).unwrap();
    let mut sender = OftSend::new(COOKIE, totals);
    let prompt = sender.prompt(&facts("fox.txt", 5 << 30)).unwrap();
    let resume = Header {
        received: 16,
        received_checksum: PART,
        ..prompt.reply(Kind::RESUME, COOKIE)
    };
    let Ok(SentEvent::Reply(reply)) = sender.handle(&resume) else {
        panic!()
    };
    assert_eq!(
        (reply.kind, reply.received, reply.received_checksum),
        (Kind::RESUME_ACCEPT, 0, Checksum::EMPTY)
    );
    assert_eq!(
        sender.handle(&reply.reply(Kind::RESUME_ACK, COOKIE)),
        Ok(SentEvent::SendBody { from: 0 })
    );
}

#[test]
fn resuming_goes_on_where_both_agree() {
    let (mut sender, prompt) = sender(43);
    let mut receiver = OftReceive::new(terms());
    assert!(offered(&mut receiver, &prompt).resumable());
    let resume = receiver.resume(16, PART);
    let expected = Header {
        kind: Kind::RESUME,
        received: 16,
        received_checksum: PART,
        ..prompt.clone()
    };
    assert_eq!(resume, expected);
    assert_eq!(
        sender.handle(&resume),
        Ok(SentEvent::CheckResume {
            received: 16,
            checksum: PART
        })
    );
    let accept = sender.resume_checked(PART);
    assert_eq!(
        accept,
        Header {
            kind: Kind::RESUME_ACCEPT,
            ..expected.clone()
        }
    );
    let Ok(ReceivedEvent::ReceiveBody { reply, from, len }) = receiver.handle(&accept) else {
        panic!()
    };
    assert_eq!((from, len), (16, 27));
    assert_eq!(
        *reply,
        Header {
            kind: Kind::RESUME_ACK,
            ..expected
        }
    );
    assert_eq!(sender.handle(&reply), Ok(SentEvent::SendBody { from: 16 }));
    sender.body_sent();
    let done = receiver.received(FOX, 0).unwrap();
    assert_eq!((done.received, done.received_checksum), (43, FOX));
    assert_eq!(sender.handle(&done), Ok(SentEvent::FileDone(FileEnd::Sent)));
}

#[test]
fn resuming_starts_over_where_the_checksums_differ() {
    let (mut sender, prompt) = sender(43);
    let mut receiver = OftReceive::new(terms());
    offered(&mut receiver, &prompt);
    sender.handle(&receiver.resume(16, PART)).unwrap();
    let accept = sender.resume_checked(FOX);
    assert_eq!(
        (accept.received, accept.received_checksum),
        (0, Checksum::EMPTY)
    );
    // joscar leaves the old checksum there: only the offset is read.
    let accept = Header {
        received_checksum: PART,
        ..accept
    };
    let Ok(ReceivedEvent::ReceiveBody { reply, from, len }) = receiver.handle(&accept) else {
        panic!()
    };
    assert_eq!((from, len), (0, 43));
    assert_eq!(sender.handle(&reply), Ok(SentEvent::SendBody { from: 0 }));
}

#[test]
fn resuming_is_compared_with_the_two_zeros_equal() {
    let (mut sender, prompt) = sender(43);
    let resume = Header {
        received: 2,
        received_checksum: Checksum(0),
        ..prompt.reply(Kind::RESUME, COOKIE)
    };
    sender.handle(&resume).unwrap();
    assert_eq!(sender.resume_checked(Checksum(0xFFFF_0000)).received, 2);
}

#[test]
fn resuming_behind_the_end_starts_over() {
    let (mut sender, prompt) = sender(43);
    let resume = Header {
        received: 44,
        received_checksum: PART,
        ..prompt.reply(Kind::RESUME, COOKIE)
    };
    let Ok(SentEvent::Reply(reply)) = sender.handle(&resume) else {
        panic!()
    };
    assert_eq!((reply.kind, reply.received), (Kind::RESUME_ACCEPT, 0));
}

#[test]
fn resuming_at_the_end_is_how_joscar_is_told_that_the_file_is_there() {
    let (mut sender, prompt) = sender(43);
    let mut receiver = OftReceive::new(terms());
    offered(&mut receiver, &prompt);
    sender.handle(&receiver.resume(43, FOX)).unwrap();
    let accept = sender.resume_checked(FOX);
    let Ok(ReceivedEvent::ReceiveBody { reply, from, len }) = receiver.handle(&accept) else {
        panic!()
    };
    assert_eq!((from, len), (43, 0));
    assert_eq!(sender.handle(&reply), Ok(SentEvent::SendBody { from: 43 }));
}

#[test]
fn f_9_a_resume_at_an_offset_that_was_not_asked_for_closes() {
    for received in [1, 15, 17, 43, u32::MAX] {
        let mut receiver = OftReceive::new(terms());
        offered(&mut receiver, &prompt());
        let resume = receiver.resume(16, PART);
        let accept = Header {
            kind: Kind::RESUME_ACCEPT,
            received,
            ..resume
        };
        assert_eq!(
            receiver.handle(&accept),
            Err(OftFault::ResumeOffset(received))
        );
    }
}
