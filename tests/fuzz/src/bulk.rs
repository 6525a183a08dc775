//! Both sides of the native bulk protocol, fed with a stream of frames from a peer who may send anything.

use std::collections::BTreeMap;

use rdv_proto::transfer::{BulkReceive, BulkSend, Manifest, ReceiveEvent, SafeRelPath, Step};
use rdv_proto::wire::bulk::{FRAME_HEAD, FrameType, parse_head};

/// The frames of a sender: what is offered is accepted.
pub fn bulk_receive(data: &[u8]) {
    let mut receiver = BulkReceive::new();
    let mut offered = Manifest::default();
    let mut written: BTreeMap<u32, u64> = BTreeMap::new();
    for (kind, payload) in frames(data) {
        match receiver.handle(kind, payload) {
            Ok(ReceiveEvent::Offered(manifest)) => {
                for entry in manifest.entries() {
                    let again = SafeRelPath::parse(entry.path.as_str());
                    assert_eq!(
                        again.as_ref(),
                        Ok(&entry.path),
                        "a safe name is not safe twice"
                    );
                }
                receiver.accept(&manifest, &[]);
                offered = manifest;
            }
            Ok(ReceiveEvent::Block(steps)) => {
                for step in steps {
                    follow(&step, &offered, payload, &mut written);
                }
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

/// Every byte is within the payload, comes in order, and within the announced size.
fn follow(step: &Step, offered: &Manifest, payload: &[u8], written: &mut BTreeMap<u32, u64>) {
    match step {
        Step::Write {
            file,
            offset,
            range,
        } => {
            let bytes = payload.get(range.clone()).expect("within the payload");
            let have = written.entry(*file).or_default();
            assert_eq!(offset, have, "a hole or an overlap");
            *have += bytes.len() as u64;
            assert!(
                *have <= offered.entries()[*file as usize].size,
                "more than announced"
            );
        }
        Step::Finish { file, .. } => {
            let have = written.get(file).copied().unwrap_or(0);
            assert_eq!(
                have,
                offered.entries()[*file as usize].size,
                "finished too early"
            );
        }
    }
}

/// The frames of a receiver who was offered two files of three bytes in one block.
pub fn bulk_send(data: &[u8]) {
    let mut sender = BulkSend::new(&two_files());
    sender.block_sent(&[0, 1]);
    sender.end_sent();
    for (kind, payload) in frames(data) {
        if sender.handle(kind, payload).is_err() {
            return;
        }
        assert!(sender.acked_blocks() <= sender.next_block());
    }
}

fn two_files() -> Manifest {
    use rdv_proto::transfer::{Entry, EntryKind, ManifestBuilder};
    let mut list = ManifestBuilder::new();
    for name in ["a", "b"] {
        let path = SafeRelPath::parse(name).expect("a name");
        let entry = Entry {
            kind: EntryKind::File,
            path,
            size: 3,
            mtime: None,
            mode: 6,
        };
        list.push(entry).expect("a file");
    }
    let totals = list.totals();
    list.finish(totals).expect("a list")
}

fn frames(mut data: &[u8]) -> impl Iterator<Item = (FrameType, &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = data.split_first_chunk::<FRAME_HEAD>()?;
        let (kind, len) = parse_head(*head).ok()?;
        let payload = rest.get(..len)?;
        data = &rest[len..];
        Some((kind, payload))
    })
}
