//! The receiver's side: every frame from the sender is checked here before a byte of it is used.

use core::ops::Range;

use super::{Common, Entry, Manifest, ManifestBuilder, ProtocolError, common};
use crate::wire::bulk::{
    AbortReason, BulkRole, End, FrameType, ManifestChunk, Record, Records, message,
};

/// What a frame from the sender amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiveEvent {
    /// Nothing to do.
    Nothing,
    /// The list is complete and checked: ask, then call [`BulkReceive::accept`].
    Offered(Manifest),
    /// A block was checked: do these steps in order. Ranges point into its payload.
    Block(Vec<Step>),
    /// Everything that was wanted has come.
    Ended,
    /// The sender ended the session.
    Aborted {
        /// Why.
        reason: AbortReason,
        /// For people; foreign.
        text: String,
    },
    /// To be answered with a PONG of the same number.
    Ping(u64),
}

/// Something to be done with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Write these bytes.
    Write {
        /// Index of the file in the list.
        file: u32,
        /// Where in the file; always where the last piece ended.
        offset: u64,
        /// Where in the payload.
        range: Range<usize>,
    },
    /// All announced bytes have come: compare the hash and give the file its name.
    Finish {
        /// Index of the file in the list.
        file: u32,
        /// BLAKE3 by the sender.
        hash: [u8; 32],
    },
}

#[derive(Debug)]
enum State {
    Listing(ManifestBuilder),
    Asking,
    Receiving(Receiving),
    Ended,
}

#[derive(Debug)]
struct Receiving {
    /// Files that are still to come, in order: index and size.
    due: std::vec::IntoIter<(u32, u64)>,
    current: Option<Current>,
    next_block: u64,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    file: u32,
    size: u64,
    have: u64,
}

/// The receiver's machine.
#[derive(Debug)]
pub struct BulkReceive {
    state: State,
    greeted: bool,
}

impl Default for BulkReceive {
    fn default() -> Self {
        Self::new()
    }
}

impl BulkReceive {
    /// A receiver that waits for a list.
    pub fn new() -> Self {
        Self {
            state: State::Listing(ManifestBuilder::new()),
            greeted: false,
        }
    }

    /// The user said yes to all of `manifest` but the files of the indexes in `skip` (ascending).
    pub fn accept(&mut self, manifest: &Manifest, skip: &[u32]) {
        let wanted = |(index, entry): (usize, &Entry)| {
            let index = u32::try_from(index).ok()?;
            (entry.has_content() && skip.binary_search(&index).is_err())
                .then_some((index, entry.size))
        };
        let due: Vec<_> = manifest
            .entries()
            .iter()
            .enumerate()
            .filter_map(wanted)
            .collect();
        let mut due = due.into_iter();
        let current = due.next().map(Current::new);
        self.state = State::Receiving(Receiving {
            due,
            current,
            next_block: 0,
        });
    }

    /// The block that is due next.
    pub fn next_block(&self) -> u64 {
        match &self.state {
            State::Receiving(receiving) => receiving.next_block,
            _ => 0,
        }
    }

    /// Takes a frame from the sender.
    ///
    /// # Errors
    /// [`ProtocolError`]; the session is to be ended with ABORT, and nothing of this frame may be used.
    pub fn handle(
        &mut self,
        kind: FrameType,
        payload: &[u8],
    ) -> Result<ReceiveEvent, ProtocolError> {
        match common(&mut self.greeted, BulkRole::SENDER, kind, payload)? {
            Common::Own => {}
            Common::Nothing => return Ok(ReceiveEvent::Nothing),
            Common::Ping(number) => return Ok(ReceiveEvent::Ping(number)),
            Common::Aborted { reason, text } => {
                self.state = State::Ended;
                return Ok(ReceiveEvent::Aborted { reason, text });
            }
        }
        match (kind, &mut self.state) {
            (FrameType::MANIFEST, State::Listing(list)) => {
                list.add_wire_bytes(payload.len())?;
                for entry in message::<ManifestChunk>(kind, payload)?.entries {
                    list.push(Entry::from_wire(entry)?)?;
                }
                Ok(ReceiveEvent::Nothing)
            }
            (FrameType::MANIFEST_END, State::Listing(list)) => {
                let manifest = core::mem::take(list).finish(message(kind, payload)?)?;
                self.state = State::Asking;
                Ok(ReceiveEvent::Offered(manifest))
            }
            (FrameType::DATA, State::Receiving(receiving)) => {
                Ok(ReceiveEvent::Block(receiving.block(payload)?))
            }
            (FrameType::END, State::Receiving(receiving)) => {
                let end: End = message(kind, payload)?;
                if receiving.current.is_some() {
                    return Err(ProtocolError::Short);
                }
                if end.blocks != receiving.next_block {
                    return Err(ProtocolError::Block {
                        expected: receiving.next_block,
                        found: end.blocks,
                    });
                }
                self.state = State::Ended;
                Ok(ReceiveEvent::Ended)
            }
            _ => Err(ProtocolError::Unexpected(kind.0)),
        }
    }
}

impl Current {
    fn new((file, size): (u32, u64)) -> Self {
        Self {
            file,
            size,
            have: 0,
        }
    }
}

impl Receiving {
    fn block(&mut self, payload: &[u8]) -> Result<Vec<Step>, ProtocolError> {
        let (found, records) = Records::new(payload)?;
        if found != self.next_block {
            return Err(ProtocolError::Block {
                expected: self.next_block,
                found,
            });
        }
        self.next_block += 1;
        records.map(|record| self.step(record?)).collect()
    }

    fn step(&mut self, record: Record) -> Result<Step, ProtocolError> {
        let (Record::Bytes { file, .. } | Record::Hash { file, .. }) = record;
        let current = self
            .current
            .as_mut()
            .filter(|current| current.file == file)
            .ok_or(ProtocolError::File(file))?;
        match record {
            Record::Bytes {
                file,
                offset,
                range,
            } => {
                let have = current
                    .have
                    .checked_add(range.len() as u64)
                    .filter(|&have| have <= current.size);
                match have {
                    Some(have) if offset == current.have && !range.is_empty() => {
                        current.have = have
                    }
                    _ => return Err(ProtocolError::Range { file, offset }),
                }
                Ok(Step::Write {
                    file,
                    offset,
                    range,
                })
            }
            Record::Hash { file, hash } => {
                if current.have != current.size {
                    return Err(ProtocolError::Short);
                }
                self.current = self.due.next().map(Current::new);
                Ok(Step::Finish { file, hash })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::{EntryKind, ManifestError, NameError, SafeRelPath};
    use crate::wire::bulk::{BlockWriter, Hello, ManifestEnd, ManifestEntry};
    use prost::Message;

    fn greeted() -> BulkReceive {
        let mut receiver = BulkReceive::new();
        let hello = Hello {
            version: 1,
            role: 1,
        }
        .encode_to_vec();
        assert_eq!(
            receiver.handle(FrameType::HELLO, &hello),
            Ok(ReceiveEvent::Nothing)
        );
        receiver
    }

    fn listed(files: &[(&str, u64)]) -> (BulkReceive, Manifest) {
        let mut receiver = greeted();
        let entries: Vec<ManifestEntry> = files
            .iter()
            .map(|(path, size)| ManifestEntry {
                path: path.as_bytes().to_vec(),
                size: *size,
                ..Default::default()
            })
            .collect();
        let end = ManifestEnd {
            files: files.len() as u64,
            folders: 0,
            bytes: files.iter().map(|f| f.1).sum(),
        };
        assert_eq!(
            receiver.handle(
                FrameType::MANIFEST,
                &ManifestChunk { entries }.encode_to_vec()
            ),
            Ok(ReceiveEvent::Nothing)
        );
        match receiver.handle(FrameType::MANIFEST_END, &end.encode_to_vec()) {
            Ok(ReceiveEvent::Offered(manifest)) => (receiver, manifest),
            other => panic!("{other:?}"),
        }
    }

    fn accepted(files: &[(&str, u64)], skip: &[u32]) -> BulkReceive {
        let (mut receiver, manifest) = listed(files);
        receiver.accept(&manifest, skip);
        receiver
    }

    fn block(number: u64, fill: impl FnOnce(&mut BlockWriter)) -> Vec<u8> {
        let mut block = BlockWriter::new(vec![0; 500], number);
        fill(&mut block);
        let (buffer, len) = block.finish();
        buffer[5..len].to_vec()
    }

    fn bytes(block: &mut BlockWriter, file: u32, offset: u64, len: usize) {
        block.bytes(file, offset);
        block.commit(len);
    }

    #[test]
    fn many_files_travel_in_one_block_and_one_in_many() {
        let mut receiver = accepted(&[("a", 3), ("skipped", 9), ("empty", 0), ("b", 5)], &[1]);
        let first = block(0, |b| {
            bytes(b, 0, 0, 3);
            b.hash(0, &[1; 32]);
            b.hash(2, &[2; 32]);
            bytes(b, 3, 0, 2);
        });
        let ReceiveEvent::Block(steps) = receiver.handle(FrameType::DATA, &first).unwrap() else {
            panic!()
        };
        assert!(matches!(
            steps[..],
            [
                Step::Write {
                    file: 0,
                    offset: 0,
                    ..
                },
                Step::Finish { file: 0, .. },
                Step::Finish { file: 2, .. },
                Step::Write { file: 3, .. }
            ]
        ));
        assert_eq!(receiver.next_block(), 1);
        let second = block(1, |b| {
            bytes(b, 3, 2, 3);
            b.hash(3, &[3; 32]);
        });
        assert!(receiver.handle(FrameType::DATA, &second).is_ok());
        assert_eq!(
            receiver.handle(FrameType::END, &End { blocks: 2 }.encode_to_vec()),
            Ok(ReceiveEvent::Ended)
        );
    }

    #[test]
    fn s_22_more_than_announced_is_refused_and_less_too() {
        let data = |b: &[u8]| accepted(&[("a", 3)], &[]).handle(FrameType::DATA, b);
        assert_eq!(
            data(&block(0, |b| bytes(b, 0, 0, 4))),
            Err(ProtocolError::Range { file: 0, offset: 0 })
        );
        assert_eq!(
            data(&block(0, |b| bytes(b, 0, u64::MAX, 1))),
            Err(ProtocolError::Range {
                file: 0,
                offset: u64::MAX
            })
        );
        assert_eq!(
            data(&block(0, |b| {
                bytes(b, 0, 0, 2);
                bytes(b, 0, 1, 1);
            })),
            Err(ProtocolError::Range { file: 0, offset: 1 })
        );
        assert_eq!(
            data(&block(0, |b| {
                bytes(b, 0, 0, 2);
                b.hash(0, &[0; 32]);
            })),
            Err(ProtocolError::Short)
        );
        assert_eq!(
            data(&block(0, |b| bytes(b, 1, 0, 1))),
            Err(ProtocolError::File(1))
        );
        assert_eq!(
            data(&block(1, |b| bytes(b, 0, 0, 1))),
            Err(ProtocolError::Block {
                expected: 0,
                found: 1
            })
        );
        let mut receiver = accepted(&[("a", 3)], &[]);
        assert_eq!(
            receiver.handle(FrameType::END, &[]),
            Err(ProtocolError::Short)
        );
    }

    #[test]
    fn data_before_the_yes_is_refused() {
        let (mut receiver, _) = listed(&[("a", 1)]);
        let data = block(0, |b| bytes(b, 0, 0, 1));
        assert_eq!(
            receiver.handle(FrameType::DATA, &data),
            Err(ProtocolError::Unexpected(0x25))
        );
        assert_eq!(
            receiver.handle(FrameType::MANIFEST, &[]),
            Err(ProtocolError::Unexpected(0x21))
        );
        assert_eq!(
            receiver.handle(FrameType::ACCEPT, &[]),
            Err(ProtocolError::Unexpected(0x23))
        );
        assert_eq!(
            receiver.handle(FrameType(0x77), &[]),
            Err(ProtocolError::Unexpected(0x77))
        );
    }

    #[test]
    fn f_1_a_bad_name_refuses_the_whole_list() {
        let entries = vec![
            ManifestEntry {
                path: b"fine".to_vec(),
                ..Default::default()
            },
            ManifestEntry {
                path: b"../../x".to_vec(),
                ..Default::default()
            },
        ];
        let refused = greeted().handle(
            FrameType::MANIFEST,
            &ManifestChunk { entries }.encode_to_vec(),
        );
        assert_eq!(
            refused,
            Err(ManifestError::Name {
                name: "../../x".into(),
                why: NameError::Dots
            }
            .into())
        );
    }

    #[test]
    fn a_folder_carries_no_data() {
        let mut builder = ManifestBuilder::new();
        builder
            .push(Entry {
                kind: EntryKind::Folder,
                path: SafeRelPath::parse("d").unwrap(),
                size: 0,
                mtime: None,
                mode: 7,
            })
            .unwrap();
        let totals = builder.totals();
        let manifest = builder.finish(totals).unwrap();
        let mut receiver = greeted();
        receiver.accept(&manifest, &[]);
        assert_eq!(
            receiver.handle(
                FrameType::DATA,
                &block(0, |b| {
                    b.hash(0, &[0; 32]);
                })
            ),
            Err(ProtocolError::File(0))
        );
    }
}
