use proptest::prelude::*;

use super::*;

fn decode_in(charset: Charset, payload: &[u8], cut: usize) -> Payload {
    let length = u32::try_from(payload.len()).expect("small");
    let mut decoder = PayloadDecoder::new(length, charset);
    for chunk in payload.chunks(cut.max(1)) {
        decoder.push(&mut BytesMut::from(chunk));
    }
    assert_eq!(decoder.left(), 0);
    decoder.finish()
}

fn decode(payload: &[u8]) -> Payload {
    let whole = decode_in(Charset::ASCII, payload, payload.len());
    for cut in [1, 2, 7, 64] {
        assert_eq!(
            decode_in(Charset::ASCII, payload, cut),
            whole,
            "in pieces of {cut}"
        );
    }
    whole
}

fn part(id: u32, data: &'static [u8]) -> Part {
    Part {
        id,
        data: Bytes::from_static(data),
    }
}

fn joined(pieces: Vec<Bytes>) -> Vec<u8> {
    pieces.concat()
}

#[test]
fn a_text_is_all_there_is() {
    let payload = decode(b"<HTML><BODY>hi</BODY></HTML>");
    assert_eq!(payload.html, "<HTML><BODY>hi</BODY></HTML>");
    assert_eq!((payload.parts, payload.fault), (vec![], None));
}

#[test]
fn images_stand_behind_the_text_in_any_case() {
    let bytes = b"<b>a<</B><binary><data size='3' id=7>\0<></Data> <DATA ID=\"8\" SIZE=\"0\"></DATA></Binary>";
    let payload = decode(bytes);
    assert_eq!((payload.html.as_str(), payload.fault), ("<b>a<</B>", None));
    assert_eq!(payload.parts, [part(7, b"\0<>"), part(8, b"")]);
}

#[test]
fn images_may_hold_the_markers_themselves() {
    let tricky = Bytes::from_static(b"</DATA></BINARY><BINARY><DATA ID=\"1\" SIZE=\"1\">");
    let parts = [
        Part {
            id: 1,
            data: tricky,
        },
        part(2, b""),
    ];
    let (charset, pieces) = encode("<IMG>", &parts).expect("it fits");
    let payload = decode(&joined(pieces));
    assert_eq!((charset, payload.html.as_str()), (Charset::ASCII, "<IMG>"));
    assert_eq!((&payload.parts[..], payload.fault), (&parts[..], None));
}

#[test]
fn the_first_fault_ends_the_images_and_the_text_stays() {
    let good = "<DATA ID=\"1\" SIZE=\"2\">ab</DATA>";
    for (behind, fault) in [
        ("x</BINARY>", PayloadFault::NoTag),
        (
            "<IMG ID=\"1\" SIZE=\"1\">x</DATA></BINARY>",
            PayloadFault::NoTag,
        ),
        ("<DATA ID=\"2\">x</DATA></BINARY>", PayloadFault::BadTag),
        ("<DATA SIZE=\"1\">x</DATA></BINARY>", PayloadFault::BadTag),
        (
            "<DATA ID=\"2\" SIZE=\"-1\">x</DATA></BINARY>",
            PayloadFault::BadTag,
        ),
        (
            "<DATA ID=\"2\" SIZE=\"4294967296\">x</DATA></BINARY>",
            PayloadFault::BadTag,
        ),
        (
            "<DATA ID=\"2\" SIZE=\"2\">x</DATA></BINARY>",
            PayloadFault::NoEnd,
        ),
        (
            "<DATA ID=\"2\" SIZE=\"1\">xy</DATA></BINARY>",
            PayloadFault::NoEnd,
        ),
        (
            "<DATA ID=\"2\" SIZE=\"11\">x</DATA></BINARY>",
            PayloadFault::SizeLie { size: 11, left: 10 },
        ),
        (
            "<DATA ID=\"2\" SIZE=\"1\">x</DAT",
            PayloadFault::SizeLie { size: 1, left: 0 },
        ),
        ("<DATA ID=\"2\" SIZ", PayloadFault::BreaksOff),
        ("", PayloadFault::BreaksOff),
    ] {
        let payload = decode(format!("text<BINARY>{good}{behind}").as_bytes());
        assert_eq!(payload.html, "text", "{behind}");
        assert_eq!(payload.parts, [part(1, b"ab")], "{behind}");
        assert_eq!(payload.fault, Some(fault), "{behind}");
    }
}

#[test]
fn a_size_is_trusted_only_within_the_payload() {
    for (size, fits) in [(3, true), (4, false), (u32::MAX, false)] {
        let payload =
            decode(format!("<BINARY><DATA ID=\"1\" SIZE=\"{size}\">abc</DATA>").as_bytes());
        let lie = PayloadFault::SizeLie { size, left: 3 };
        assert_eq!(
            payload.fault,
            Some(if fits { PayloadFault::BreaksOff } else { lie })
        );
        assert_eq!(payload.parts.len(), usize::from(fits));
    }
}

#[test]
fn t_18_nothing_is_reserved_for_bytes_that_only_were_announced() {
    let mut decoder = PayloadDecoder::new(50 << 20, Charset::ASCII);
    let start = b"text<BINARY><DATA ID=\"1\" SIZE=\"40000000\">";
    decoder.push(&mut BytesMut::from(&start[..]));
    let mut arrived = start.len();
    for _ in 0..40 {
        decoder.push(&mut BytesMut::zeroed(5_000));
        arrived += 5_000;
        let State::Data { data, .. } = &decoder.state else {
            panic!("within the image");
        };
        let reserved = decoder.text.reserved() + data.reserved();
        assert!(
            reserved <= arrived + limits::AHEAD_OF_ARRIVAL,
            "{reserved} of {arrived}"
        );
    }
}

#[test]
fn t_18_a_long_text_is_kept_in_blocks_as_it_arrives() {
    let mut decoder = PayloadDecoder::new(50 << 20, Charset::ASCII);
    for arrived in 1..40 {
        decoder.push(&mut BytesMut::zeroed(7_000));
        let reserved = decoder.text.reserved();
        assert!(reserved <= arrived * 7_000 + limits::AHEAD_OF_ARRIVAL);
    }
    assert_eq!(
        decoder.finish().html.len(),
        39 * 7_000,
        "what there is of it"
    );
}

#[test]
fn the_65th_image_is_a_fault_and_64_are_kept() {
    let images = |count| {
        let one = |id| format!("<DATA ID=\"{id}\" SIZE=\"1\">x</DATA>");
        let all: String = (0..count).map(one).collect();
        decode(format!("t<BINARY>{all}</BINARY>").as_bytes())
    };
    assert_eq!((images(64).parts.len(), images(64).fault), (64, None));
    let more = images(65);
    assert_eq!(
        (more.parts.len(), more.fault),
        (64, Some(PayloadFault::TooMany))
    );
    let parts = vec![part(1, b""); 65];
    assert!(matches!(
        encode("", &parts),
        Err(EncodeError::TooLong {
            length: 65,
            max: 64,
            ..
        })
    ));
}

#[test]
fn a_tag_without_end_is_given_up_after_a_kilobyte() {
    let payload = decode(format!("t<BINARY><DATA {}", "x".repeat(2_000)).as_bytes());
    assert_eq!(
        (payload.html.as_str(), payload.fault),
        ("t", Some(PayloadFault::NoTag))
    );
}

#[test]
fn the_charset_is_that_of_the_text_alone() {
    for html in ["日本 <IMG>", "naïve", "plain"] {
        let (charset, pieces) = encode(html, &[part(1, b"\xFF\0")]).expect("it fits");
        let payload = decode_in(charset, &joined(pieces), 3);
        assert_eq!((payload.html.as_str(), payload.fault), (html, None));
        assert_eq!(payload.parts, [part(1, b"\xFF\0")]);
    }
}

#[test]
fn a_text_that_would_be_read_as_images_is_not_written() {
    let refused = Err(EncodeError::Marker {
        what: "direct IM",
        marker: "<BINARY>",
    });
    assert_eq!(encode("see <binary> there", &[]), refused);
    // The bytes of the marker as UTF-16.
    assert_eq!(encode("\u{3C42}\u{494E}\u{4152}\u{593E}", &[]), refused);
    assert!(encode("see &lt;BINARY&gt;", &[]).is_ok());
}

#[test]
fn a_payload_over_50_mib_is_not_written() {
    let markup = b"<BINARY><DATA ID=\"1\" SIZE=\"52428800\"></DATA></BINARY>".len();
    let image = |length| Part {
        id: 1,
        data: Bytes::from(vec![0; length]),
    };
    let most = limits::ODC_PAYLOAD - markup;
    assert!(encode("", &[image(most)]).is_ok());
    assert!(matches!(
        encode("", &[image(most + 1)]),
        Err(EncodeError::TooLong { length, .. }) if length == limits::ODC_PAYLOAD + 1
    ));
}

proptest! {
    #[test]
    fn any_bytes_give_a_payload_however_they_are_cut(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 1usize..50) {
        let whole = decode_in(Charset::ASCII, &bytes, 400);
        prop_assert_eq!(decode_in(Charset::ASCII, &bytes, cut), whole);
    }

    #[test]
    fn pieces_of_markup_in_any_order_give_a_payload(pieces in prop::collection::vec(0usize..9, 0..40), cut in 1usize..50) {
        const PIECES: [&[u8]; 9] = [b"<BINARY>", b"</BINARY>", b"<DATA ID=\"1\" SIZE=\"3\">", b"</DATA>", b"abc", b"<", b">", b"<DATA ID=\"2\" SIZE=\"0\">", b" "];
        let bytes = pieces.iter().flat_map(|&index| PIECES[index]).copied().collect::<Vec<_>>();
        let whole = decode_in(Charset::ASCII, &bytes, 400);
        prop_assert!(whole.parts.len() <= 64);
        prop_assert_eq!(decode_in(Charset::ASCII, &bytes, cut), whole);
    }

    #[test]
    fn what_is_written_is_read(html in "[a-zé日<>& ]{0,30}", images in prop::collection::vec((any::<u32>(), prop::collection::vec(any::<u8>(), 0..100)), 0..5), cut in 1usize..50) {
        let parts: Vec<_> = images.into_iter().map(|(id, data)| Part { id, data: data.into() }).collect();
        let (charset, pieces) = encode(&html, &parts).expect("small, and without the marker");
        let payload = decode_in(charset, &joined(pieces), cut);
        prop_assert_eq!(payload, Payload { html, parts, fault: None });
    }
}
