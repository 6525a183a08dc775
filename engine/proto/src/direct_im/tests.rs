use super::*;

const COOKIE: Cookie = Cookie(*b"TRYST01\0");

fn name(name: &str) -> ScreenName {
    ScreenName::new(name).expect("a good name")
}

/// Both ends after their greeting.
fn pair() -> (DirectIm, DirectIm) {
    let (mut alice, hello) = DirectIm::connector(COOKIE, name("alice"));
    let mut bob = DirectIm::listener(COOKIE, name("bob"));
    let answer = match events(&mut bob, &hello)[..] {
        [Event::Confirmed(ref answer)] => answer.clone(),
        ref other => panic!("{other:?}"),
    };
    assert_eq!(events(&mut alice, &answer), []);
    (alice, bob)
}

fn try_events(machine: &mut DirectIm, bytes: &[u8]) -> Result<Vec<Event>, Fault> {
    let mut arrived = BytesMut::from(bytes);
    let mut events = Vec::new();
    while let Some(event) = machine.handle(&mut arrived)? {
        events.push(event);
    }
    Ok(events)
}

fn events(machine: &mut DirectIm, bytes: &[u8]) -> Vec<Event> {
    try_events(machine, bytes).expect("good frames")
}

fn bytes_of(machine: &DirectIm, message: &Message) -> Vec<u8> {
    machine.message_bytes(message).expect("it fits").concat()
}

fn texts(events: &[Event]) -> Vec<String> {
    let text = |event: &Event| match event {
        Event::Message(message) => message.text(),
        other => panic!("{other:?}"),
    };
    events.iter().map(text).collect()
}

/// A frame of the known kind with these fields.
fn frame(cookie: Cookie, flags: Flags, payload: &[u8]) -> BytesMut {
    let mut header = Header::new(cookie, &name("alice"), flags);
    header.payload_len = u32::try_from(payload.len()).expect("small");
    let mut out = BytesMut::new();
    header.encode(&mut out);
    out.extend_from_slice(payload);
    out
}

#[test]
fn text_and_images_go_both_ways() {
    let (mut alice, mut bob) = pair();
    let image = Image {
        name: "fox.png".into(),
        width: 2,
        height: 1,
        data: Bytes::from_static(b"\x89PNG"),
    };
    let message = Message::new().text("a fox: ").image(image.clone());
    let bytes = bytes_of(&alice, &message);
    let got = events(&mut bob, &bytes);
    assert_eq!(texts(&got), ["a fox: "]);
    let [Event::Message(received)] = &got[..] else {
        panic!("one message");
    };
    assert_eq!(
        (&received.images[..], received.fault),
        (&[(1, image)][..], None)
    );
    let bytes = bytes_of(&bob, &Message::new().text("schön 日本"));
    assert_eq!(texts(&events(&mut alice, &bytes)), ["schön 日本"]);
}

#[test]
fn what_the_other_user_does_is_told() {
    let (alice, mut bob) = pair();
    for typing in [Typing::Typing, Typing::Typed, Typing::Stopped] {
        let bytes = alice.typing_bytes(typing);
        assert_eq!(events(&mut bob, &bytes), [Event::Typing(typing)]);
    }
}

#[test]
fn an_automatic_answer_says_so() {
    let (alice, mut bob) = pair();
    for (message, automatic) in [
        (Message::new().text("away").automatic(), true),
        (Message::new().text("here"), false),
    ] {
        let got = events(&mut bob, &bytes_of(&alice, &message));
        assert!(matches!(&got[..], [Event::Message(message)] if message.automatic == automatic));
    }
}

#[test]
fn the_listener_takes_any_first_frame_with_the_cookie_and_loses_nothing_of_it() {
    let (alice, _) = DirectIm::connector(COOKIE, name("alice"));
    let mut bob = DirectIm::listener(COOKIE, name("bob"));
    let got = events(&mut bob, &bytes_of(&alice, &Message::new().text("hi")));
    assert!(matches!(got[0], Event::Confirmed(_)));
    assert_eq!(texts(&got[1..]), ["hi"]);
}

#[test]
fn another_cookie_ends_it_at_the_first_frame_and_at_any_later_one() {
    let stranger = frame(Cookie([7; 8]), Flags::CONFIRMS_COOKIE, b"");
    let mut bob = DirectIm::listener(COOKIE, name("bob"));
    assert_eq!(try_events(&mut bob, &stranger), Err(Fault::WrongCookie));
    let (mut alice, _) = DirectIm::connector(COOKIE, name("alice"));
    assert_eq!(try_events(&mut alice, &stranger), Err(Fault::WrongCookie));
    let (mut alice, mut bob) = pair();
    let later = frame(Cookie([0; 8]), Flags::default(), b"hi");
    assert_eq!(try_events(&mut alice, &later), Err(Fault::WrongCookie));
    assert_eq!(try_events(&mut bob, &later), Err(Fault::WrongCookie));
}

#[test]
fn frames_of_other_kinds_are_skipped_with_their_payload_and_prove_nothing() {
    let mut bob = DirectIm::listener(COOKIE, name("bob"));
    let mut other = frame(COOKIE, Flags::default(), &[b'x'; 300]);
    other[9] = 7;
    assert_eq!(events(&mut bob, &other[..100]), []);
    assert_eq!(
        bob.stage(),
        Stage::Payload {
            length: 300,
            left: 276
        }
    );
    assert_eq!(events(&mut bob, &other[100..]), []);
    let hello = frame(COOKIE, Flags::CONFIRMS_COOKIE, b"");
    assert!(matches!(
        events(&mut bob, &hello)[..],
        [Event::Confirmed(_)]
    ));
}

#[test]
fn the_cookie_may_be_shown_again_and_an_empty_frame_says_nothing() {
    let (mut alice, mut bob) = pair();
    for machine in [&mut alice, &mut bob] {
        for flags in [Flags::CONFIRMS_COOKIE, Flags(0x20), Flags::default()] {
            assert_eq!(events(machine, &frame(COOKIE, flags, b"")), []);
        }
    }
}

#[test]
fn a_payload_over_50_mib_ends_it_before_it_arrives() {
    let max = limits::ODC_PAYLOAD;
    for (length, kind) in [(max + 1, 6), (max + 1, 7), (u32::MAX as usize, 6)] {
        let (_, mut bob) = pair();
        let length = u32::try_from(length).expect("32 bits");
        let mut header = frame(COOKIE, Flags::default(), b"");
        header[9] = kind;
        header[28..32].copy_from_slice(&length.to_be_bytes());
        assert_eq!(
            try_events(&mut bob, &header),
            Err(Fault::TooLong { length, max })
        );
    }
    let (_, mut bob) = pair();
    let mut header = frame(COOKIE, Flags::default(), b"");
    header[28..32].copy_from_slice(&52_428_800_u32.to_be_bytes());
    assert_eq!(
        try_events(&mut bob, &header),
        Ok(vec![]),
        "50 MiB are waited for"
    );
}

#[test]
fn the_stage_tells_what_is_waited_for() {
    let (alice, mut bob) = pair();
    assert_eq!(bob.stage(), Stage::Between);
    let bytes = bytes_of(&alice, &Message::new().text("hi"));
    let length = u32::try_from(bytes.len()).expect("small") - 76;
    let mut arrived = BytesMut::new();
    for (count, &byte) in (1..).zip(&bytes[..bytes.len() - 1]) {
        arrived.extend_from_slice(&[byte]);
        assert_eq!(bob.handle(&mut arrived), Ok(None));
        let expected = match count {
            ..76 => Stage::Header,
            _ => Stage::Payload {
                length,
                left: length - (count - 76),
            },
        };
        assert_eq!(bob.stage(), expected, "after {count} bytes");
    }
    arrived.extend_from_slice(&bytes[bytes.len() - 1..]);
    assert!(matches!(bob.handle(&mut arrived), Ok(Some(_))));
    assert_eq!(bob.stage(), Stage::Between);
}

#[test]
fn header_and_text_leave_in_one_piece_and_images_are_not_copied() {
    let (alice, _) = pair();
    let data = Bytes::from(vec![1; 1000]);
    let image = Image {
        name: "x".into(),
        width: 0,
        height: 0,
        data: data.clone(),
    };
    let pieces = alice
        .message_bytes(&Message::new().image(image))
        .expect("it fits");
    assert!(pieces[0].starts_with(b"ODC2") && pieces[0].ends_with(b"SIZE=\"1000\">"));
    assert_eq!(pieces[1].as_ptr(), data.as_ptr());
}
