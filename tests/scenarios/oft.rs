//! The OFT2 of a real client, and the frames of the description, byte for byte.

use std::collections::BTreeMap;

use bytes::BytesMut;
use rdv_proto::wire::oft::{
    Checksum, Header, Kind, Listing, NameCharset, NameField, RunningChecksum,
};
use rdv_proto::wire::rendezvous::Cookie;
use rdv_tests::captures::{self, Layer};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Bytes of the files in the recordings: each 32 of them are the SHA-256 of `lab:` and their number.
fn pattern(length: usize) -> Vec<u8> {
    let blocks = (0..length.div_ceil(32)).map(|k| Sha256::digest(format!("lab:{k}")));
    let mut bytes: Vec<u8> = blocks.flatten().collect();
    bytes.truncate(length);
    bytes
}

fn checksum(data: &[u8]) -> Checksum {
    let mut sum = RunningChecksum::new();
    sum.update(data);
    sum.value()
}

fn header(bytes: &[u8]) -> Header {
    let mut buffer = BytesMut::from(bytes);
    let header = Header::decode(&mut buffer)
        .unwrap()
        .expect("a whole header");
    assert!(buffer.is_empty());
    header
}

#[test]
fn every_recorded_header_survives() {
    let mut seen: BTreeMap<Kind, usize> = BTreeMap::new();
    for record in captures::all() {
        let Some(bytes) = record.bytes.filter(|_| record.layer == Layer::Oft) else {
            continue;
        };
        if record.note.starts_with("file body") {
            continue;
        }
        let header = header(&bytes);
        assert_eq!(header.encode(), bytes, "{}", record.place);
        assert_eq!(
            usize::from(bytes[4]) << 8 | usize::from(bytes[5]),
            bytes.len()
        );
        header.name_parts().unwrap();
        *seen.entry(header.kind).or_default() += 1;
    }
    assert_eq!(
        seen.keys().copied().collect::<Vec<_>>(),
        [
            Kind::PROMPT,
            Kind::RESUME_ACCEPT,
            Kind::ACK,
            Kind::DONE,
            Kind::RESUME,
            Kind::RESUME_ACK,
        ]
    );
    assert!(seen[&Kind::PROMPT] > 30, "{seen:?}");
}

#[test]
fn recorded_names_are_read() {
    let names = |capture: &str| {
        let records = captures::load(capture);
        let prompt = records
            .iter()
            .find(|record| record.note.starts_with("PROMPT"));
        let prompt = prompt
            .and_then(|record| record.bytes.clone())
            .expect("a prompt");
        (header(&prompt).name_parts().unwrap(), prompt.len())
    };
    assert_eq!(names("utf8-name").0, ["naïve файл 日本.bin"]);
    assert_eq!(names("odd-name").0, ["a 'b' \"c\" 100% & d;e."]);
    assert_eq!(names("bot-folder").0, ["stuff", "a-3000.bin"]);
    let (long, length) = names("long-name");
    assert_eq!((long, length), (vec!["n".repeat(176) + ".bin"], 192 + 181));
}

#[test]
fn our_prompt_is_the_recorded_one_but_for_cookie_flags_and_offsets() {
    let records = captures::load("direct");
    let recorded = records
        .iter()
        .find(|record| record.note.starts_with("PROMPT"))
        .unwrap();
    let recorded = header(recorded.bytes.as_ref().unwrap());
    let (charset, name) = NameField::encode(["pattern-100003.bin"]).unwrap();
    let ours = Header {
        total_size: 100_003,
        size: 100_003,
        checksum: checksum(&pattern(100_003)),
        ..Header::new(Kind::PROMPT, Cookie::ZERO, charset, name)
    };
    assert_eq!(ours.cookie, recorded.cookie);
    let quiet = Header {
        flags: 0,
        list_name_offset: 0,
        list_size_offset: 0,
        ..ours
    };
    assert_eq!(quiet, recorded);
}

#[test]
fn the_checksums_of_the_recorded_files_are_the_announced_ones() {
    for (length, announced) in [
        (1_000, 0x73C0_0000),
        (2_001, 0x33FF_0000),
        (3_000, 0x4313_0000),
        (5_000, 0xDFCE_0000),
        (40_001, 0x9E79_0000),
        (100_003, 0x3B9B_0000),
    ] {
        assert_eq!(checksum(&pattern(length)), Checksum(announced), "{length}");
    }
    assert_eq!(checksum(b"hello, oscar\n"), Checksum(0xBCBC_0000));
    assert_eq!(checksum(b"A"), Checksum(0xBEFF_0000), "one.bin");
}

#[test]
fn the_frames_of_the_description_are_ours() {
    let cookie = Cookie(*b"TRYST01\0");
    let of = |parts: &[&str]| {
        let (charset, name) = NameField::encode(parts.iter().copied()).unwrap();
        Header {
            total_size: 43,
            size: 43,
            mtime: 0x6600_0000,
            checksum: Checksum(0x72A4_0000),
            ..Header::new(Kind::PROMPT, cookie, charset, name)
        }
    };
    let prompt = of(&["fox.txt"]);
    let resume = Header {
        received: 16,
        received_checksum: Checksum(0xC073_0000),
        ..prompt.clone()
    };
    let done = Header {
        received: 43,
        received_checksum: Checksum(0x72A4_0000),
        flags: 0x21,
        ..prompt.reply(Kind::DONE, cookie)
    };
    let folder = Header {
        total_files: 2,
        files_left: 2,
        ..of(&["photos", "fox.txt"])
    };
    let long = captures::vector("oft_prompt_longname");
    let long_name = header(&long).name_parts().unwrap();
    for (name, ours) in [
        ("oft_prompt", prompt.clone()),
        ("oft_ack", prompt.reply(Kind::ACK, cookie)),
        ("oft_done", done),
        ("oft_resume_205", resume.reply(Kind::RESUME, cookie)),
        ("oft_resume_106", resume.reply(Kind::RESUME_ACCEPT, cookie)),
        ("oft_resume_207", resume.reply(Kind::RESUME_ACK, cookie)),
        ("oft_prompt_utf16", of(&["naïve.txt"])),
        ("oft_prompt_longname", of(&[&long_name[0]])),
    ] {
        assert_eq!(ours.encode(), captures::vector(name), "{name}");
    }
    let described = header(&captures::vector("oft_prompt_dir"));
    assert_eq!(
        (described.total_files, described.files_left),
        (folder.total_files, folder.files_left)
    );
    assert_eq!(
        (described.charset, &described.name),
        (NameCharset::ASCII, &folder.name)
    );
    let listing = Listing::decode(&captures::vector("getfile_list")).unwrap();
    assert_eq!(listing.encode(), captures::vector("getfile_list"));
    assert_eq!(listing.0[1].path().unwrap(), ["photos"]);
}

#[test]
fn the_checksums_of_the_description_are_ours() {
    let file = captures::vector_file();
    let all: Vec<u8> = (0..=255).collect();
    let rows = file["oft_checksum"].as_array().unwrap();
    assert_eq!(rows.len(), 17);
    for row in rows {
        let data = match (row["hex"].as_str(), row["repeat"].as_str()) {
            (Some(hex), _) => captures::from_hex(hex).to_vec(),
            (_, Some("00 x1024")) => vec![0; 1024],
            (_, Some("ff x1024")) => vec![0xFF; 1024],
            (_, Some("00..ff")) => all.clone(),
            (_, Some("00..ff x257")) => all.repeat(257),
            other => panic!("{other:?}"),
        };
        let value = |key: &str| Checksum(u32::from_str_radix(text(&row[key]), 16).unwrap());
        assert_eq!(checksum(&data), value("checksum"), "{row}");
        assert!(
            checksum(&data).agrees(value("one_pass_32bit")),
            "L-27: {row}"
        );
    }
    let fox = captures::from_hex(text(&file["data"]));
    assert_eq!(checksum(&fox), Checksum(0x72A4_0000));
    assert_eq!(checksum(&fox[..16]), Checksum(0xC073_0000));
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}
