use proptest::prelude::*;

use super::*;
use crate::limits;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn entry() -> ManifestEntry {
    ManifestEntry {
        kind: 0,
        path: b"a/b.txt".to_vec(),
        size: 300,
        mtime: Some(1_700_000_000),
        mtime_nanos: 5,
        mode: 6,
    }
}

#[test]
fn every_control_frame_has_its_bytes() {
    let chunk = ManifestChunk {
        entries: vec![entry()],
    };
    let frames = [
        (
            message_frame(FrameType::MANIFEST, &chunk),
            "0000001921".to_owned()
                + "0a16"
                + "1207612f622e747874"
                + "18ac02"
                + "2080c49fd50c"
                + "2805"
                + "3006",
        ),
        (
            message_frame(
                FrameType::MANIFEST_END,
                &ManifestEnd {
                    files: 1,
                    folders: 2,
                    bytes: 300,
                },
            ),
            "0000000822080110021 8ac02".replace(' ', ""),
        ),
        (
            message_frame(FrameType::ACCEPT, &Accept { skip: vec![1, 200] }),
            "00000006230a0301c801".into(),
        ),
        (
            message_frame(FrameType::ACCEPT, &Accept::default()),
            "0000000123".into(),
        ),
        (
            message_frame(FrameType::DECLINE, &Decline {}),
            "0000000124".into(),
        ),
        (
            message_frame(FrameType::END, &End { blocks: 3 }),
            "00000003260803".into(),
        ),
        (
            message_frame(
                FrameType::ACK,
                &Ack {
                    blocks: 3,
                    files: vec![0, 1],
                },
            ),
            "000000072708031202 0001".replace(' ', ""),
        ),
        (
            message_frame(FrameType::DONE, &Done {}),
            "0000000128".into(),
        ),
        (
            control_frame(&Control::Abort {
                reason: AbortReason::USER.0,
                text: "no".into(),
            }),
            "00000005020001 6e6f".replace(' ', ""),
        ),
        (
            message_frame(
                FrameType::HELLO,
                &Hello {
                    version: VERSION,
                    role: BulkRole::SENDER.0,
                },
            ),
            "000000052008011001".into(),
        ),
        (
            frame(FrameType::PING, &7u64.to_be_bytes()),
            "0000000903 0000000000000007".replace(' ', ""),
        ),
    ];
    for (built, expected) in frames {
        assert_eq!(hex(&built.unwrap()), expected);
    }
}

#[test]
fn a_manifest_message_comes_back_as_it_was() {
    let built = message_frame(
        FrameType::MANIFEST,
        &ManifestChunk {
            entries: vec![entry()],
        },
    )
    .unwrap();
    let read: ManifestChunk = message(FrameType::MANIFEST, &built[FRAME_HEAD..]).unwrap();
    assert_eq!(read.entries, [entry()]);
}

#[test]
fn a_field_of_a_later_version_is_skipped() {
    // Field 9, varint 1, then field 1 = 3.
    let end: End = message(FrameType::END, &[0x48, 0x01, 0x08, 0x03]).unwrap();
    assert_eq!(end.blocks, 3);
}

#[test]
fn a_data_frame_has_its_bytes() {
    let mut block = BlockWriter::new(vec![0xEE; 200], 9);
    block.bytes(4, 1000)[..3].copy_from_slice(b"abc");
    block.commit(3);
    assert!(block.hash(4, &[0x11; 32]));
    let (buffer, len) = block.finish();
    let expected = "0000004325".to_owned()
        + "0000000000000009"
        + "0100000004"
        + "00000000000003e8"
        + "00000003"
        + "616263"
        + "0200000004"
        + &"11".repeat(32);
    assert_eq!(
        hex(&buffer[..len]),
        expected.replace("00000043", &format!("{:08x}", len - 4))
    );
    assert_eq!(
        len,
        FRAME_HEAD + BLOCK_NUMBER + BYTES_RECORD_HEAD + 3 + HASH_RECORD
    );

    let (number, mut records) = Records::new(&buffer[FRAME_HEAD..len]).unwrap();
    assert_eq!(number, 9);
    assert_eq!(
        records.next(),
        Some(Ok(Record::Bytes {
            file: 4,
            offset: 1000,
            range: 25..28
        }))
    );
    assert_eq!(
        records.next(),
        Some(Ok(Record::Hash {
            file: 4,
            hash: [0x11; 32]
        }))
    );
    assert_eq!(records.next(), None);
}

#[test]
fn a_length_is_checked_both_ways() {
    let bad = |head| matches!(parse_head(head), Err(DecodeError::BadLength { .. }));
    assert!(bad([0, 0, 0, 0, 0x25]));
    assert!(bad([0, 0x10, 0, 1, 0x25]));
    assert_eq!(
        parse_head([0, 0x10, 0, 0, 0x25]),
        Ok((FrameType::DATA, limits::LINK_FRAME - 1))
    );
    assert!(bad([0, 0x10, 0, 0, 0x21]));
    assert!(matches!(
        frame(FrameType::DATA, &vec![0; limits::LINK_FRAME]),
        Err(EncodeError::TooLong { .. })
    ));
}

#[test]
fn a_record_that_reaches_past_the_frame_is_an_error() {
    let mut payload = 0u64.to_be_bytes().to_vec();
    payload.extend_from_slice(&[
        1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 7,
    ]);
    let (_, mut records) = Records::new(&payload).unwrap();
    assert!(matches!(
        records.next(),
        Some(Err(DecodeError::Truncated { .. }))
    ));
    assert_eq!(records.next(), None);
    payload[8] = 3;
    let (_, mut records) = Records::new(&payload).unwrap();
    assert!(matches!(
        records.next(),
        Some(Err(DecodeError::BadValue { value: 3, .. }))
    ));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok((_, records)) = Records::new(&payload) {
            for record in records.flatten() {
                if let Record::Bytes { range, .. } = record {
                    prop_assert!(range.end <= payload.len());
                }
            }
        }
        let _ = control(FrameType::ABORT, &payload);
        let _ = message::<ManifestChunk>(FrameType::MANIFEST, &payload);
        let _ = message::<Ack>(FrameType::ACK, &payload);
    }

    #[test]
    fn what_is_written_is_read(parts in proptest::collection::vec((any::<u32>(), any::<u64>(), proptest::collection::vec(any::<u8>(), 1..50)), 0..6)) {
        let mut block = BlockWriter::new(vec![0; 2000], 1);
        for (file, offset, bytes) in &parts {
            block.bytes(*file, *offset)[..bytes.len()].copy_from_slice(bytes);
            block.commit(bytes.len());
        }
        let (buffer, len) = block.finish();
        let (kind, payload) = parse_head(*buffer.first_chunk().unwrap()).unwrap();
        prop_assert_eq!((kind, payload), (FrameType::DATA, len - FRAME_HEAD));
        let payload = &buffer[FRAME_HEAD..len];
        let read: Vec<_> = Records::new(payload).unwrap().1.map(Result::unwrap).map(|r| match r {
            Record::Bytes { file, offset, range } => (file, offset, payload[range].to_vec()),
            Record::Hash { .. } => unreachable!("none was written"),
        }).collect();
        prop_assert_eq!(read, parts);
    }
}
