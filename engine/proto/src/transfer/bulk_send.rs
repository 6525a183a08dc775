//! The sender's side: what the receiver's frames mean, and whether they may come now.

use super::{Common, Manifest, ProtocolError, common};
use crate::wire::bulk::{AbortReason, Accept, Ack, BulkRole, FrameType, message};

/// What a frame from the receiver amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendEvent {
    /// Nothing to do.
    Nothing,
    /// The receiver said yes; files of these indexes are not wanted.
    Accepted {
        /// Ascending indexes.
        skip: Vec<u32>,
    },
    /// The receiver said no.
    Declined,
    /// The receiver has written more blocks, or has these further files under their final name.
    Acked {
        /// Indexes.
        files: Vec<u32>,
    },
    /// Everything is final.
    Done,
    /// The receiver ended the session.
    Aborted {
        /// Why.
        reason: AbortReason,
        /// For people; foreign.
        text: String,
    },
    /// To be answered with a PONG of the same number.
    Ping(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The list is going out or waits for its answer.
    Asking,
    /// Blocks are going out, acks come in.
    Sending,
    /// Nothing more may come.
    Ended,
}

/// The sender's machine. It learns what went out by [`Self::block_sent`], and what came in by [`Self::handle`].
#[derive(Debug)]
pub struct BulkSend {
    state: State,
    greeted: bool,
    /// Per entry: 0 not wanted or no content, 1 wanted, 2 sent, 3 acknowledged.
    files: Vec<FileState>,
    open_files: u64,
    sent_blocks: u64,
    acked_blocks: u64,
    all_sent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileState {
    Unwanted,
    Wanted,
    Sent,
    Finished,
}

impl BulkSend {
    /// A sender that is about to offer this list.
    pub fn new(manifest: &Manifest) -> Self {
        let files = manifest
            .entries()
            .iter()
            .map(|entry| {
                if entry.has_content() {
                    FileState::Wanted
                } else {
                    FileState::Unwanted
                }
            })
            .collect();
        Self {
            state: State::Asking,
            greeted: false,
            files,
            open_files: manifest.files(),
            sent_blocks: 0,
            acked_blocks: 0,
            all_sent: false,
        }
    }

    /// A block is about to go out, and completes these files.
    pub fn block_sent(&mut self, completes: &[u32]) {
        self.sent_blocks += 1;
        for &file in completes {
            if let Some(state @ FileState::Wanted) = self.files.get_mut(file as usize) {
                *state = FileState::Sent;
            }
        }
    }

    /// END is about to go out.
    pub fn end_sent(&mut self) {
        self.all_sent = true;
    }

    /// Number of blocks sent; the number of the next one.
    pub fn next_block(&self) -> u64 {
        self.sent_blocks
    }

    /// Blocks below this one are written at the receiver: a repair never goes back behind it.
    pub fn acked_blocks(&self) -> u64 {
        self.acked_blocks
    }

    /// Takes a frame from the receiver.
    ///
    /// # Errors
    /// [`ProtocolError`]; the session is to be ended with ABORT.
    pub fn handle(&mut self, kind: FrameType, payload: &[u8]) -> Result<SendEvent, ProtocolError> {
        match common(&mut self.greeted, BulkRole::RECEIVER, kind, payload)? {
            Common::Own => {}
            Common::Nothing => return Ok(SendEvent::Nothing),
            Common::Ping(number) => return Ok(SendEvent::Ping(number)),
            Common::Aborted { reason, text } => {
                self.state = State::Ended;
                return Ok(SendEvent::Aborted { reason, text });
            }
        }
        match (kind, self.state) {
            (FrameType::ACCEPT, State::Asking) => {
                self.accepted(message::<Accept>(kind, payload)?.skip)
            }
            (FrameType::DECLINE, State::Asking) => {
                self.state = State::Ended;
                Ok(SendEvent::Declined)
            }
            (FrameType::ACK, State::Sending) => self.acked(message(kind, payload)?),
            (FrameType::DONE, State::Sending) if self.all_sent && self.open_files == 0 => {
                self.state = State::Ended;
                Ok(SendEvent::Done)
            }
            _ => Err(ProtocolError::Unexpected(kind.0)),
        }
    }

    fn accepted(&mut self, skip: Vec<u32>) -> Result<SendEvent, ProtocolError> {
        for &file in &skip {
            match self.files.get_mut(file as usize) {
                Some(state @ FileState::Wanted) => *state = FileState::Unwanted,
                _ => return Err(ProtocolError::File(file)),
            }
            self.open_files -= 1;
        }
        self.state = State::Sending;
        Ok(SendEvent::Accepted { skip })
    }

    fn acked(&mut self, ack: Ack) -> Result<SendEvent, ProtocolError> {
        if ack.blocks > self.sent_blocks || ack.blocks < self.acked_blocks {
            return Err(ProtocolError::Ack);
        }
        let news = ack.blocks > self.acked_blocks || !ack.files.is_empty();
        self.acked_blocks = ack.blocks;
        for &file in &ack.files {
            match self.files.get_mut(file as usize) {
                Some(state @ FileState::Sent) => *state = FileState::Finished,
                _ => return Err(ProtocolError::Ack),
            }
            self.open_files -= 1;
        }
        Ok(if news {
            SendEvent::Acked { files: ack.files }
        } else {
            SendEvent::Nothing
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::{Entry, EntryKind, ManifestBuilder, SafeRelPath};
    use crate::wire::bulk::Hello;
    use prost::Message;

    fn machine() -> BulkSend {
        let mut machine = ungreeted();
        let hello = Hello {
            version: 1,
            role: 2,
        }
        .encode_to_vec();
        assert_eq!(
            machine.handle(FrameType::HELLO, &hello),
            Ok(SendEvent::Nothing)
        );
        machine
    }

    fn ungreeted() -> BulkSend {
        let mut builder = ManifestBuilder::new();
        for (kind, path) in [
            (EntryKind::Folder, "d"),
            (EntryKind::File, "d/a"),
            (EntryKind::File, "d/b"),
        ] {
            builder
                .push(Entry {
                    kind,
                    path: SafeRelPath::parse(path).unwrap(),
                    size: 0,
                    mtime: None,
                    mode: 6,
                })
                .unwrap();
        }
        let totals = builder.totals();
        BulkSend::new(&builder.finish(totals).unwrap())
    }

    fn ack(blocks: u64, files: &[u32]) -> Vec<u8> {
        Ack {
            blocks,
            files: files.to_vec(),
        }
        .encode_to_vec()
    }

    #[test]
    fn a_transfer_ends_only_after_all_acks() {
        let mut sender = machine();
        assert_eq!(
            sender.handle(FrameType::ACCEPT, &[]),
            Ok(SendEvent::Accepted { skip: vec![] })
        );
        sender.block_sent(&[1, 2]);
        sender.end_sent();
        assert_eq!(
            sender.handle(FrameType::ACK, &ack(1, &[2])),
            Ok(SendEvent::Acked { files: vec![2] })
        );
        assert_eq!(
            sender.handle(FrameType::DONE, &[]),
            Err(ProtocolError::Unexpected(0x28))
        );
        assert_eq!(
            sender.handle(FrameType::ACK, &ack(1, &[1])),
            Ok(SendEvent::Acked { files: vec![1] })
        );
        assert_eq!(sender.handle(FrameType::DONE, &[]), Ok(SendEvent::Done));
        assert_eq!(
            sender.handle(FrameType::ACK, &ack(1, &[])),
            Err(ProtocolError::Unexpected(0x27))
        );
    }

    #[test]
    fn what_is_not_wanted_needs_no_ack() {
        let mut sender = machine();
        let skip = Accept { skip: vec![1] }.encode_to_vec();
        assert_eq!(
            sender.handle(FrameType::ACCEPT, &skip),
            Ok(SendEvent::Accepted { skip: vec![1] })
        );
        sender.block_sent(&[2]);
        sender.end_sent();
        sender.handle(FrameType::ACK, &ack(1, &[2])).unwrap();
        assert_eq!(sender.handle(FrameType::DONE, &[]), Ok(SendEvent::Done));
    }

    #[test]
    fn acks_for_what_was_not_sent_are_refused() {
        for (blocks, files) in [
            (2, vec![]),
            (1, vec![2]),
            (1, vec![0]),
            (1, vec![9]),
            (1, vec![1, 1]),
        ] {
            let mut sender = machine();
            sender.handle(FrameType::ACCEPT, &[]).unwrap();
            sender.block_sent(&[1]);
            assert_eq!(
                sender.handle(FrameType::ACK, &ack(blocks, &files)),
                Err(ProtocolError::Ack),
                "{blocks} {files:?}"
            );
        }
        let mut sender = machine();
        assert_eq!(
            sender.handle(FrameType::ACK, &ack(0, &[])),
            Err(ProtocolError::Unexpected(0x27))
        );
        for skip in [vec![0], vec![1, 1], vec![7]] {
            assert!(matches!(
                machine().handle(FrameType::ACCEPT, &Accept { skip }.encode_to_vec()),
                Err(ProtocolError::File(_))
            ));
        }
    }

    #[test]
    fn an_abort_counts_at_any_time() {
        let abort = [0, 1, b's', b't', b'o', b'p'];
        let mut sender = ungreeted();
        assert_eq!(
            sender.handle(FrameType::PING, &7u64.to_be_bytes()),
            Ok(SendEvent::Ping(7))
        );
        assert_eq!(
            sender.handle(FrameType::PONG, &7u64.to_be_bytes()),
            Ok(SendEvent::Nothing)
        );
        assert_eq!(
            sender.handle(FrameType::ABORT, &abort),
            Ok(SendEvent::Aborted {
                reason: AbortReason::USER,
                text: "stop".into()
            })
        );
    }

    #[test]
    fn two_senders_and_other_versions_find_each_other_out() {
        for hello in [
            Hello {
                version: 1,
                role: 1,
            },
            Hello {
                version: 0,
                role: 2,
            },
            Hello {
                version: 1,
                role: 9,
            },
        ] {
            assert_eq!(
                ungreeted().handle(FrameType::HELLO, &hello.encode_to_vec()),
                Err(ProtocolError::Incompatible(hello))
            );
        }
        let later = Hello {
            version: 2,
            role: 2,
        };
        assert_eq!(
            ungreeted().handle(FrameType::HELLO, &later.encode_to_vec()),
            Ok(SendEvent::Nothing)
        );
        assert_eq!(
            ungreeted().handle(FrameType::ACCEPT, &[]),
            Err(ProtocolError::Unexpected(0x23))
        );
        assert_eq!(
            machine().handle(FrameType::HELLO, &later.encode_to_vec()),
            Err(ProtocolError::Unexpected(0x20))
        );
    }
}
