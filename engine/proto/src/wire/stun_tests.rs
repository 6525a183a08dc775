use sha2::Digest as _;

use super::*;
use crate::wire::hex;

const TRANSACTION: [u8; 12] = *b"0123456789ab";

/// RFC 5769 2.1: a request with SOFTWARE, PRIORITY, ICE-CONTROLLED, USERNAME (padded with blanks), integrity and fingerprint.
fn rfc_5769_request() -> Bytes {
    hex("00010058 2112a442 b7e7a701bc34d686fa87dfae
         80220010 5354554e207465737420636c69656e74
         00240004 6e0001ff 80290008 932ff9b151263b36
         00060009 6576746a3a68367659202020
         00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2
         80280004 e57a3bcf")
}

/// RFC 5769 2.2.
fn rfc_5769_ipv4_answer() -> Bytes {
    hex("0101003c 2112a442 b7e7a701bc34d686fa87dfae
         8022000b 7465737420766563746f7220 00200008 0001a147e112a643
         00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004 c07d4c96")
}

/// RFC 5769 2.3.
fn rfc_5769_ipv6_answer() -> Bytes {
    hex("01010048 2112a442 b7e7a701bc34d686fa87dfae
         8022000b 7465737420766563746f7220 00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9
         00080014 a382954e4be67bf11784c97c8292c275bfe3ed41 80280004 c8fb0b4c")
}

/// RFC 8489 B.1 with its verified erratum 6268: USERHASH, NONCE, REALM, PASSWORD-ALGORITHM, MESSAGE-INTEGRITY-SHA256.
fn rfc_8489_request() -> Bytes {
    hex("00010090 2112a442 78ad3433c6ad72c029da412e
         001e0020 4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704
         00150029 6f624d61744a6f733241414143662f2f3439396b3935346436 4f4c33346f4c39465354767936347341 000000
         0014000b 6578616d706c652e6f726700 001d0004 00020000
         001c0020 b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65")
}

fn rfc_8489_key() -> Vec<u8> {
    Sha256::digest("マトリックス:example.org:TheMatrIX".as_bytes()).to_vec()
}

#[test]
fn the_sample_request_of_rfc_5769_is_read() {
    let request = Stun::decode(&rfc_5769_request()).unwrap();
    assert_eq!(request.class, Class::Request);
    assert_eq!(request.transaction[..4], [0xb7, 0xe7, 0xa7, 0x01]);
    assert_eq!(
        request.attribute(SOFTWARE).unwrap(),
        &b"STUN test client"[..]
    );
    assert_eq!(request.attribute(0x0006).unwrap(), &b"evtj:h6vY"[..]);
    assert_eq!(request.attributes.len(), 6);
    assert!(is_stun(&rfc_5769_request()));
}

#[test]
fn the_sample_answers_of_rfc_5769_give_their_addresses_and_survive() {
    for (answer, address) in [
        (rfc_5769_ipv4_answer(), "192.0.2.1:32853"),
        (
            rfc_5769_ipv6_answer(),
            "[2001:db8:1234:5678:11:2233:4455:6677]:32853",
        ),
    ] {
        let message = Stun::decode(&answer).unwrap();
        assert_eq!(message.class, Class::Success);
        assert_eq!(message.xor_mapped(), Some(address.parse().unwrap()));
        let made = Stun::new(Class::Success, message.transaction)
            .with_xor_mapped(address.parse().unwrap());
        assert_eq!(
            made.attribute(XOR_MAPPED_ADDRESS),
            message.attribute(XOR_MAPPED_ADDRESS)
        );
        assert_eq!(message.length(), answer.len());
        // The vectors pad with blanks where we write zeros.
        assert_eq!(Stun::decode(&message.encode()), Ok(message));
    }
}

#[test]
fn the_sample_of_rfc_8489_is_signed_as_we_sign() {
    let request = rfc_8489_request();
    assert!(Stun::verify(&request, &rfc_8489_key()));
    assert!(!Stun::verify(&request, b"another key"));
    let mut unsigned = Stun::decode(&request).unwrap();
    unsigned.attributes.pop();
    assert_eq!(unsigned.encode_signed(&rfc_8489_key()), request);
}

#[test]
fn a_signature_covers_every_bit() {
    let key = [7; 32];
    let signed = Stun::new(Class::Request, TRANSACTION)
        .with(RDV_PROBE, &[0, 0, 0, 1, 1][..])
        .encode_signed(&key);
    assert!(Stun::verify(&signed, &key));
    for byte in 0..signed.len() {
        for bit in 0..8 {
            let mut changed = signed.to_vec();
            changed[byte] ^= 1 << bit;
            let taken = Stun::decode(&changed).is_ok() && Stun::verify(&changed, &key);
            assert!(!taken, "bit {bit} of byte {byte}");
        }
    }
}

#[test]
fn nothing_may_stand_behind_a_signature_but_a_fingerprint() {
    let key = [7; 32];
    let signed = Stun::new(Class::Request, TRANSACTION).encode_signed(&key);
    let longer = |behind: &[u8]| {
        let mut longer = [&signed[..], behind].concat();
        longer[3] += u8::try_from(behind.len()).unwrap();
        assert!(Stun::decode(&longer).is_ok());
        longer
    };
    assert!(Stun::verify(&longer(&hex("80280004 00000000")), &key));
    assert!(!Stun::verify(&longer(&hex("c0520004 00000000")), &key));
    assert!(!Stun::verify(
        &longer(&hex("80280004 00000000 c0520004 00000000")),
        &key
    ));
    assert!(!Stun::verify(&Stun::request(TRANSACTION).encode(), &key));
}

#[test]
fn our_requests_are_long_enough_for_their_answers() {
    let request = Stun::request(TRANSACTION);
    assert_eq!(request.encode().len(), REQUEST_MIN);
    assert_eq!(Stun::decode(&request.encode()), Ok(request.clone()));
    let answer = Stun::new(Class::Success, TRANSACTION)
        .with_xor_mapped("[2001:db8::1]:65535".parse().unwrap());
    assert!(answer.encode().len() <= REQUEST_MIN);
    assert_eq!(request.clone().padded_to(10), request);
}

#[test]
fn mapped_addresses_count_as_ipv4() {
    let message = Stun::new(Class::Success, TRANSACTION)
        .with_xor_mapped("[::ffff:192.0.2.1]:7".parse().unwrap());
    assert_eq!(message.xor_mapped(), Some("192.0.2.1:7".parse().unwrap()));
}

#[test]
fn another_port_counts_at_the_address_that_was_asked() {
    let other = |other: &str, asked: &str| {
        Stun::new(Class::Success, TRANSACTION)
            .with_other_address(other.parse().unwrap())
            .other_address(asked.parse().unwrap())
            .map(|address| address.to_string())
    };
    for (told, asked, counts) in [
        ("10.0.0.5:5191", "192.0.2.9:5190", Some("192.0.2.9:5191")),
        ("192.0.2.10:5190", "192.0.2.9:5190", Some("192.0.2.10:5190")),
        ("192.0.2.9:5190", "192.0.2.9:5190", None),
        ("192.0.2.9:0", "192.0.2.9:5190", None),
        ("[2001:db8::1]:5190", "192.0.2.9:5190", None),
    ] {
        assert_eq!(
            other(told, asked).as_deref(),
            counts,
            "{told} asked at {asked}"
        );
    }
}

#[test]
fn what_is_no_binding_is_refused() {
    let request = Stun::request(TRANSACTION).encode();
    let with = |at: usize, value: u8| {
        let mut changed = request.to_vec();
        changed[at] = value;
        changed
    };
    for (bytes, why) in [
        (with(1, 0x03), "another method"),
        (with(1, 0x11), "an indication"),
        (with(0, 0x80), "not STUN"),
        (with(4, 0), "no cookie"),
        (with(3, 4), "a length too short"),
        (with(3, 200), "a length too long"),
        (with(3, 45), "a length that is no multiple of four"),
        (with(23, 200), "an attribute past the end"),
        (request[..19].to_vec(), "half a head"),
        (vec![0; limits::STUN_MESSAGE + 1], "too long"),
    ] {
        assert!(Stun::decode(&bytes).is_err(), "{why}");
    }
    let mut many = Stun::new(Class::Request, TRANSACTION);
    for _ in 0..=limits::STUN_ATTRIBUTES {
        many = many.with(SOFTWARE, Bytes::new());
    }
    assert_eq!(
        Stun::decode(&many.encode()),
        Err(DecodeError::TooMany {
            what: "STUN attributes",
            max: limits::STUN_ATTRIBUTES
        })
    );
}

#[test]
fn quic_and_ars_are_told_from_stun() {
    let request = Stun::request(TRANSACTION).encode();
    assert!(is_stun(&request));
    assert!(!is_stun(&request[..request.len() - 1]));
    assert!(!is_stun(&[&[0xC0][..], &request[1..]].concat()));
    assert!(!is_stun(&[0x40; 100]));
    assert!(could_begin_a_stream([request[0], request[1]]));
    for length in limits::ARS_LENGTH_MIN..=limits::ARS_LENGTH_MAX {
        let length = u16::try_from(length).unwrap();
        assert!(
            !could_begin_a_stream(length.to_be_bytes()),
            "ARS of {length} bytes"
        );
    }
    assert_eq!(
        length_of([request[0], request[1], request[2], request[3]]),
        request.len()
    );
}
