//! Direct IMs: headers, payloads, and a whole conversation with a peer who may send anything.

use bytes::BytesMut;
use rdv_proto::direct_im::{DirectIm, Event, Stage};
use rdv_proto::wire::odc::payload::{self, Payload, PayloadDecoder};
use rdv_proto::wire::odc::{Charset, Header, markup};
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::text::ScreenName;

/// The cookie of the kept inputs.
const COOKIE: Cookie = Cookie(*b"TRYST01\0");

/// A stream of headers.
pub fn decode_odc(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    let mut again = BytesMut::new();
    while let Ok(Some(header)) = Header::decode(&mut buffer) {
        header.encode(&mut again);
    }
    assert!(data.starts_with(&again), "headers of direct IMs changed");
}

/// A payload: behind a byte that says in which charset, and one that says how it is cut. It announces more than comes if
/// the first byte is above 127.
pub fn decode_odc_payload(data: &[u8]) {
    let [charset, cut, data @ ..] = data else {
        return;
    };
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX) + u32::from(charset >> 7);
    let charset = Charset(u16::from(charset & 3));
    let read = |cut: usize| {
        let mut decoder = PayloadDecoder::new(length, charset);
        for chunk in data.chunks(cut) {
            decoder.push(&mut BytesMut::from(chunk));
        }
        decoder.finish()
    };
    let whole = read(data.len().max(1));
    assert_eq!(
        read(1 + usize::from(*cut)),
        whole,
        "cut, it reads otherwise"
    );
    let bytes: usize = whole.parts.iter().map(|part| part.data.len()).sum();
    assert!(whole.parts.len() <= 64 && bytes <= data.len());
    let _ = markup::plain_text(&whole.html);
    written_again(&whole);
}

/// What was read can be written, and then reads the same.
fn written_again(whole: &Payload) {
    // Text that holds the marker in another charset than its own cannot be written.
    let Ok((charset, pieces)) = payload::encode(&whole.html, &whole.parts) else {
        return;
    };
    let bytes = pieces.concat();
    let length = u32::try_from(bytes.len()).expect("within 50 MiB");
    let mut decoder = PayloadDecoder::new(length, charset);
    decoder.push(&mut BytesMut::from(&bytes[..]));
    let again = decoder.finish();
    assert_eq!(
        (&again.html, &again.parts, again.fault),
        (&whole.html, &whole.parts, None)
    );
}

/// A peer that dialled us, whose bytes come in pieces as the first byte says.
pub fn direct_im(data: &[u8]) {
    let [cut, data @ ..] = data else {
        return;
    };
    let name = ScreenName::new("bob").expect("a name");
    let mut machine = DirectIm::listener(COOKIE, name);
    let mut arrived = BytesMut::new();
    let mut confirmed = false;
    for chunk in data.chunks(1 + usize::from(*cut)) {
        arrived.extend_from_slice(chunk);
        loop {
            match machine.handle(&mut arrived) {
                Err(_) => return,
                Ok(None) => break,
                Ok(Some(Event::Confirmed(answer))) => {
                    assert!(!confirmed && answer.len() == 76);
                    confirmed = true;
                }
                Ok(Some(Event::Typing(_))) => assert!(confirmed),
                Ok(Some(Event::Message(message))) => {
                    assert!(confirmed);
                    let _ = message.text();
                }
            }
        }
        assert!(arrived.len() < 65_535, "headers pile up");
        let begun = !arrived.is_empty();
        assert!(!begun || machine.stage() == Stage::Header);
    }
}
