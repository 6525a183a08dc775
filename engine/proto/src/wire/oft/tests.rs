use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::wire::error::EncodeError;
use crate::wire::hex;

/// A prompt of AIM for a file of 43 bytes.
fn prompt() -> Header {
    let (charset, name) = NameField::encode(["fox.txt"]).unwrap();
    Header {
        total_size: 43,
        size: 43,
        mtime: 0x6600_0000,
        checksum: Checksum(0x72A4_0000),
        ..Header::new(Kind::PROMPT, Cookie(*b"TRYST01\0"), charset, name)
    }
}

fn prompt_bytes() -> Vec<u8> {
    let mut bytes = hex(
        "4f465432 0100 0101 5452595354303100 0000 0000 0001 0001 0001 0001 0000002b 0000002b 66000000 72a40000 ffff0000
         00000000 00000000 ffff0000 00000000 ffff0000 436f6f6c2046696c6558666572",
    )
    .to_vec();
    bytes.resize(100, 0);
    bytes.extend([0x20, 0x1C, 0x11]);
    bytes.resize(192, 0);
    bytes.extend(*b"fox.txt");
    bytes.resize(256, 0);
    bytes
}

fn read(bytes: &[u8]) -> Result<Option<Header>, DecodeError> {
    Header::decode(&mut BytesMut::from(bytes))
}

#[test]
fn a_prompt_has_the_bytes_of_the_description() {
    assert_eq!(prompt().encode(), prompt_bytes());
    assert_eq!(read(&prompt_bytes()), Ok(Some(prompt())));
    assert_eq!(prompt().name_parts(), Ok(vec!["fox.txt".to_owned()]));
}

#[test]
fn l_14_the_unused_checksums_are_the_checksum_of_nothing() {
    let bytes = prompt().encode();
    for offset in [44, 56, 64] {
        assert_eq!(bytes[offset..offset + 4], [0xFF, 0xFF, 0, 0]);
    }
}

#[test]
fn l_24_every_length_from_193_to_4096_is_read_and_written_again() {
    for length in [193, 194, 240, 255, 256, 257, 293, 4_095, 4_096_u16] {
        let mut bytes = prompt_bytes();
        bytes.resize(length.into(), b'x');
        bytes[4..6].copy_from_slice(&length.to_be_bytes());
        let header = read(&bytes).unwrap().expect("a whole header");
        assert_eq!(header.name.as_bytes(), &bytes[192..]);
        assert_eq!(header.encode(), bytes);
    }
}

#[test]
fn l_24_other_lengths_are_refused_before_the_rest_arrives() {
    for length in [0, 6, 192, 4_097, u16::MAX] {
        let mut bytes = prompt_bytes()[..6].to_vec();
        bytes[4..6].copy_from_slice(&length.to_be_bytes());
        let refused = DecodeError::BadLength {
            what: "OFT header",
            length: length.into(),
            min: 193,
            max: 4_096,
        };
        assert_eq!(read(&bytes), Err(refused));
    }
}

#[test]
fn bytes_that_are_no_header_are_refused_at_the_first_wrong_one() {
    for bytes in [&b"X"[..], b"OFX", b"OFT3", b"ODC2\0\0", b"\x16\x03\x01"] {
        assert!(
            matches!(read(bytes), Err(DecodeError::BadMarker { .. })),
            "{bytes:?}"
        );
    }
    for bytes in [&b""[..], b"O", b"OFT2", b"OFT2\x01"] {
        assert_eq!(read(bytes), Ok(None), "{bytes:?}");
    }
}

#[test]
fn a_header_that_comes_in_pieces_is_taken_when_it_is_whole() {
    let bytes = prompt_bytes();
    let mut buffer = BytesMut::new();
    for (index, byte) in bytes.iter().enumerate() {
        assert_eq!(Header::decode(&mut buffer), Ok(None), "after {index}");
        buffer.extend_from_slice(&[*byte]);
    }
    buffer.extend_from_slice(b"body");
    assert_eq!(Header::decode(&mut buffer), Ok(Some(prompt())));
    assert_eq!(&buffer[..], b"body", "what follows stays");
}

#[test]
fn t_18_waiting_for_a_header_reserves_nothing() {
    let mut bytes = prompt_bytes();
    bytes[4..6].copy_from_slice(&4_096_u16.to_be_bytes());
    let mut buffer = BytesMut::from(&bytes[..]);
    let before = buffer.capacity();
    assert_eq!(Header::decode(&mut buffer), Ok(None));
    assert_eq!(buffer.capacity(), before);
}

#[test]
fn every_byte_of_the_fields_of_a_mac_and_of_unused_ones_survives() {
    let mut bytes = prompt_bytes();
    for (index, byte) in bytes.iter_mut().enumerate().skip(6) {
        *byte = index as u8 ^ 0xA5;
    }
    let header = read(&bytes).unwrap().expect("a whole header");
    assert_eq!(header.finfo[..], bytes[172..188]);
    assert_eq!(header.resource_size.to_be_bytes(), bytes[48..52]);
    assert_eq!(header.created.to_be_bytes(), bytes[52..56]);
    assert_eq!(header.encode(), bytes);
}

#[test]
fn a_long_name_makes_the_header_longer() {
    let name = "n".repeat(100);
    let (charset, field) = NameField::encode([&*name]).unwrap();
    let header = Header::new(Kind::PROMPT, Cookie::ZERO, charset, field);
    let bytes = header.encode();
    assert_eq!((bytes.len(), &bytes[4..6]), (293, &[0x01, 0x25][..]));
    assert_eq!(bytes[292], 0, "one NUL ends it");
    let (_, exact) = NameField::encode(["n".repeat(63).as_str()]).unwrap();
    assert_eq!(exact.as_bytes().len(), 64);
    let (_, over) = NameField::encode(["n".repeat(64).as_str()]).unwrap();
    assert_eq!(over.as_bytes().len(), 65);
}

#[test]
fn kinds_are_known_by_name_and_unknown_ones_survive() {
    assert_eq!(format!("{:?}", Kind(0x1108)), "Kind::LIST_PROMPT");
    let odd = Header {
        kind: Kind(0x7777),
        ..prompt()
    };
    assert_eq!(read(&odd.encode()), Ok(Some(odd)));
}

fn field(bytes: &[u8]) -> NameField {
    NameField::new(Bytes::copy_from_slice(bytes)).unwrap()
}

fn parts(charset: u16, bytes: &[u8]) -> Vec<String> {
    field(bytes).parts(NameCharset(charset)).unwrap()
}

#[test]
fn names_are_read_in_every_character_set() {
    assert_eq!(parts(0, b"fox.txt\0"), ["fox.txt"]);
    assert_eq!(
        parts(0, "naïve файл 日本.bin\0".as_bytes()),
        ["naïve файл 日本.bin"],
        "UTF-8, as libpurple sends it"
    );
    assert_eq!(
        parts(0, b"na\xEFve.txt\0"),
        ["naïve.txt"],
        "no UTF-8: a code page"
    );
    assert_eq!(
        parts(2, &hex("006e006100ef00760065002e0074007800740000")),
        ["naïve.txt"]
    );
    assert_eq!(
        parts(2, &hex("d83ddc69002e0061 0000 0062")),
        ["👩.a"],
        "surrogate pairs"
    );
    assert_eq!(
        parts(3, b"na\xEFve \x80.txt\0"),
        ["naïve €.txt"],
        "Latin-1 means the code page of Windows"
    );
    assert_eq!(
        parts(7, b"na\xEFve\0"),
        ["naïve"],
        "unknown sets are read as Latin-1"
    );
    assert_eq!(
        parts(2, &hex("d83d00")),
        ["\u{FFFD}\u{FFFD}"],
        "cut-off characters"
    );
}

#[test]
fn a_name_ends_at_its_nul_or_with_the_header() {
    assert_eq!(parts(0, b"fox.txt\0more\0"), ["fox.txt"]);
    assert_eq!(parts(0, b"f"), ["f"]);
    assert_eq!(
        parts(2, &hex("0100 0061 0000 0062")),
        ["Āa"],
        "half of a wide NUL is none"
    );
    assert_eq!(parts(0, b"\0"), [""; 0]);
}

#[test]
fn l_23_folders_stand_in_front_with_a_01_between() {
    assert_eq!(parts(0, b"photos\x01fox.txt\0"), ["photos", "fox.txt"]);
    assert_eq!(parts(2, &hex("0061 0001 0062 0000")), ["a", "b"]);
    assert_eq!(
        parts(0, b"\x01\x01a\x01\x01b\x01\0"),
        ["a", "b"],
        "empty parts do not count"
    );
    assert_eq!(
        parts(0, b"a/b\\c\0"),
        ["a/b\\c"],
        "slashes are letters here"
    );
}

#[test]
fn names_are_written_in_ascii_or_utf_16() {
    let (charset, ascii) = NameField::encode(["photos", "fox.txt"]).unwrap();
    assert_eq!(
        (charset, &ascii.as_bytes()[..15]),
        (NameCharset::ASCII, &b"photos\x01fox.txt\0"[..])
    );
    assert_eq!(ascii.as_bytes().len(), 64);
    let (charset, wide) = NameField::encode(["naïve.txt"]).unwrap();
    assert_eq!(charset, NameCharset::UTF16);
    assert_eq!(
        wide.as_bytes()[..20],
        hex("006e006100ef00760065002e0074007800740000")
    );
}

#[test]
fn names_are_written_in_a_chosen_character_set() {
    let latin = NameField::encode_as(NameCharset::LATIN1, ["naïve €"]).unwrap();
    assert_eq!(latin.as_bytes()[..8], *b"na\xEFve \x80\0");
    let utf8 = NameField::encode_as(NameCharset::ASCII, ["naïve"]).unwrap();
    assert_eq!(utf8.as_bytes()[..7], *b"na\xC3\xAFve\0");
    let wide = NameField::encode_as(NameCharset::UTF16, ["a"]).unwrap();
    assert_eq!(wide.as_bytes()[..4], [0, b'a', 0, 0]);
    let missing = Err(EncodeError::NotInCharset { what: "file name" });
    assert_eq!(NameField::encode_as(NameCharset::LATIN1, ["日本"]), missing);
    assert_eq!(NameField::encode_as(NameCharset(9), ["a"]), missing);
}

#[test]
fn a_name_above_1024_bytes_is_refused_both_ways() {
    let long = "n".repeat(1_025);
    assert!(matches!(
        NameField::encode([&*long]),
        Err(EncodeError::TooLong { length: 1_025, .. })
    ));
    assert!(NameField::encode([&long[1..]]).is_ok());
    assert!(matches!(
        field(long.as_bytes()).parts(NameCharset::ASCII),
        Err(DecodeError::BadLength {
            length: 1_025,
            max: 1_024,
            ..
        })
    ));
    assert!(
        NameField::new(Bytes::from(vec![b'n'; 3_905])).is_err(),
        "no header holds it"
    );
    assert!(NameField::new(Bytes::new()).is_err());
}

/// The definition, byte by byte.
fn defined(start: u16, offset: usize, data: &[u8]) -> u16 {
    let mut s = i32::from(start);
    for (k, &byte) in data.iter().enumerate() {
        let high = (offset + k).is_multiple_of(2);
        s -= if high {
            i32::from(byte) << 8
        } else {
            i32::from(byte)
        };
        if s < 0 {
            s += 0xFFFF;
        }
    }
    u16::try_from(s).unwrap()
}

fn sum(data: &[u8]) -> u32 {
    let mut sum = RunningChecksum::new();
    sum.update(data);
    assert_eq!(sum.len(), data.len() as u64);
    sum.value().0
}

#[test]
fn the_checksum_is_the_one_of_the_description() {
    let all: Vec<u8> = (0..=255).collect();
    let fox = b"The quick brown fox jumps over the lazy dog";
    let cases: [(&[u8], u32); 17] = [
        (b"", 0xFFFF_0000),
        (b"a", 0x9EFF_0000),
        (b"ab", 0x9E9D_0000),
        (b"abc", 0x3B9D_0000),
        (b"abcd", 0x3B39_0000),
        (b"abcde", 0xD638_0000),
        (&[0], 0xFFFF_0000),
        (&[0xFF], 0x00FF_0000),
        (&[0xFF; 2], 0),
        (&[0xFF; 3], 0x00FF_0000),
        (&[0xFF; 4], 0),
        (&[0xFF; 6], 0),
        (&[0; 1024], 0xFFFF_0000),
        (&[0xFF; 1024], 0),
        (&all, 0x3FC0_0000),
        (fox, 0x72A4_0000),
        (b"123456789", 0xF62A_0000),
    ];
    for (data, expected) in cases {
        assert_eq!(sum(data), expected, "{:#010x} of {data:?}", sum(data));
    }
    assert_eq!(sum(&all.repeat(257)), 0);
}

#[test]
fn a_checksum_goes_on_from_a_header() {
    let fox = b"The quick brown fox jumps over the lazy dog";
    assert_eq!(sum(&fox[..16]), 0xC073_0000);
    for cut in 0..=fox.len() {
        let mut rest = RunningChecksum::from_header(Checksum(sum(&fox[..cut])), cut as u64);
        rest.update(&fox[cut..]);
        assert_eq!(rest.value(), Checksum(0x72A4_0000), "cut at {cut}");
        assert_eq!(rest.len(), 43);
    }
}

#[test]
fn l_27_the_two_zeros_agree_and_nothing_else_does() {
    let (zero, ones) = (Checksum(0), Checksum(0xFFFF_0000));
    assert!(
        zero.agrees(ones) && ones.agrees(zero) && zero.agrees(zero) && ones.agrees(Checksum::EMPTY)
    );
    assert!(!zero.agrees(Checksum(0x0001_0000)) && !Checksum(0xFFFE_0000).agrees(ones));
    assert!(Checksum(0x9EFF_0000).agrees(Checksum(0x9EFF_0000)));
    assert_ne!(zero, ones, "as bytes they differ");
}

#[test]
fn a_listing_has_the_bytes_of_the_description() {
    let bytes = hex(
        "4c737431 01010004 66000000 03030004 0000002b 05050002 0000 04040007 666f782e747874 09090000
         01010004 66000000 03030004 00000000 05050002 0000 04040006 70686f746f73 09000004 00000001 09090000",
    );
    let listing = Listing(vec![
        ListEntry::new(["fox.txt"], 43, 0x6600_0000, false).unwrap(),
        ListEntry::new(["photos"], 0, 0x6600_0000, true).unwrap(),
    ]);
    assert_eq!(listing.encode(), bytes);
    assert_eq!(Listing::decode(&bytes), Ok(listing.clone()));
    let [file, folder] = &listing.0[..] else {
        panic!()
    };
    assert_eq!(
        (file.path(), file.size(), file.mtime(), file.is_folder()),
        (Ok(vec!["fox.txt".into()]), 43, 0x6600_0000, false)
    );
    assert!(folder.is_folder());
    assert_eq!(
        Listing::decode(&hex("4c737431")),
        Ok(Listing::default()),
        "nothing is shared"
    );
}

#[test]
fn a_damaged_listing_is_refused_and_unknown_tags_survive() {
    for (bytes, what) in [
        ("4c737432", "another magic"),
        ("4c7374", "no magic"),
        ("4c737431 0404 0001 61", "an entry without an end"),
        ("4c737431 0404 0009 61", "a length past the end"),
        ("4c737431 0909 0001 61", "an end with a value"),
    ] {
        assert!(Listing::decode(&hex(bytes)).is_err(), "{what}");
    }
    let odd = hex("4c737431 7777 0001 61 0404 0003 610162 0909 0000");
    let listing = Listing::decode(&odd).unwrap();
    assert_eq!(listing.encode(), odd);
    assert_eq!(listing.0[0].path(), Ok(vec!["a".into(), "b".into()]));
    let many = [&b"Lst1"[..], &[0x04, 0x04, 0, 0].repeat(129)].concat();
    assert!(matches!(
        Listing::decode(&many.into()),
        Err(DecodeError::TooMany { max: 128, .. })
    ));
    let many = [&b"Lst1"[..], &[0x09, 0x09, 0, 0].repeat(65_536)].concat();
    assert!(matches!(
        Listing::decode(&many.into()),
        Err(DecodeError::TooMany { max: 65_535, .. })
    ));
}

proptest! {
    #[test]
    fn any_bytes_are_a_header_or_an_error_and_survive(mut bytes in vec(any::<u8>(), 0..700), length in prop::option::of(150_u16..600)) {
        if let (Some(length), true) = (length, bytes.len() >= 6) {
            bytes[..4].copy_from_slice(&MAGIC);
            bytes[4..6].copy_from_slice(&length.to_be_bytes());
        }
        let mut buffer = BytesMut::from(&bytes[..]);
        if let Ok(Some(header)) = Header::decode(&mut buffer) {
            let taken = bytes.len() - buffer.len();
            prop_assert_eq!(&header.encode()[..], &bytes[..taken]);
            prop_assert_eq!(&buffer[..], &bytes[taken..]);
            let _ = header.name_parts();
        } else {
            prop_assert_eq!(&buffer[..], &bytes[..], "nothing is taken");
        }
    }

    #[test]
    fn names_of_any_characters_come_back(parts in vec("[^\u{0}\u{1}]{1,40}", 1..5)) {
        let (charset, field) = NameField::encode(parts.iter().map(String::as_str)).unwrap();
        prop_assert_eq!(field.parts(charset), Ok(parts.clone()));
        for charset in [NameCharset::ASCII, NameCharset::UTF16] {
            let field = NameField::encode_as(charset, parts.iter().map(String::as_str)).unwrap();
            prop_assert_eq!(field.parts(charset), Ok(parts.clone()));
        }
        if let Ok(field) = NameField::encode_as(NameCharset::LATIN1, parts.iter().map(String::as_str)) {
            prop_assert_eq!(field.parts(NameCharset::LATIN1), Ok(parts));
        }
    }

    #[test]
    fn any_name_field_is_read(bytes in vec(any::<u8>(), 1..2_000), charset in 0_u16..5) {
        if let Ok(parts) = field(&bytes).parts(NameCharset(charset)) {
            let clean = |part: &String| !part.is_empty() && !part.contains(['\0', '\u{1}']);
            prop_assert!(parts.iter().all(clean));
        }
    }

    #[test]
    fn the_checksum_does_not_depend_on_how_bytes_are_cut(data in vec(prop_oneof![Just(0xFF_u8), Just(0), any::<u8>()], 0..3_000), cuts in vec(0_usize..3_000, 0..6)) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(data.len())).collect();
        cuts.extend([0, data.len()]);
        cuts.sort_unstable();
        let mut pieces = RunningChecksum::new();
        for pair in cuts.windows(2) {
            pieces.update(&data[pair[0]..pair[1]]);
        }
        prop_assert_eq!(pieces.value().0, u32::from(defined(0xFFFF, 0, &data)) << 16);
        prop_assert_eq!(sum(&data), pieces.value().0);
    }

    #[test]
    fn the_checksum_goes_on_from_any_value(start: u16, offset in 0_usize..9, data in vec(any::<u8>(), 0..50)) {
        let mut running = RunningChecksum::from_header(Checksum(u32::from(start) << 16), offset as u64);
        running.update(&data);
        prop_assert_eq!(running.value().0, u32::from(defined(start, offset, &data)) << 16);
    }

    #[test]
    fn any_bytes_are_a_listing_or_an_error_and_survive(entries in vec((prop_oneof![Just(0x0404_u16), Just(0x0909), Just(0x0900), any::<u16>()], vec(any::<u8>(), 0..9)), 0..20)) {
        let mut bytes = b"Lst1".to_vec();
        for (tag, value) in entries {
            bytes.extend(tag.to_be_bytes());
            let value = if tag == 0x0909 { vec![] } else { value };
            bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            bytes.extend(value);
        }
        let bytes = Bytes::from(bytes);
        if let Ok(listing) = Listing::decode(&bytes) {
            prop_assert_eq!(listing.encode(), bytes);
            for entry in &listing.0 {
                let _ = (entry.path(), entry.size(), entry.mtime(), entry.is_folder());
            }
        }
    }
}
