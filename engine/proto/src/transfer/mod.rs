//! Which frame of a transfer comes next, and what a list may hold. Sees names, lengths and hashes; never touches a file.
//!
//! [`Manifest`] is the checked list, [`BulkSend`] and [`BulkReceive`] are the two sides of the native protocol. Whoever drives them moves the bytes.
//! [`oft`] is the same for old clients.
//!
//! # Blocks, and what they are for
//! Each DATA frame carries the number of its block, counted from 0 over the whole transfer, and each piece in it says which file and which offset it
//! belongs to. The receiver takes block `n` only after block `n - 1`; [`BulkReceive::next_block`] is the number that it waits for. So:
//!
//! * moving to another lane at block `n` needs two frames: MOVED `n` as the last one on the old lane, FROM `n` as the first one on the new lane.
//!   The receiver reads the old lane up to the mark, then the new one: the same machine, fed from another stream.
//! * a lane that dies is repaired by RESUME `m` from the receiver, `m` = [`BulkReceive::next_block`]. The sender goes back to the first piece of block `m`; it
//!   remembers where each block began from [`BulkSend::acked_blocks`] on, which the receiver's acks keep short.
//! * going on in a later session needs no block numbers, because pieces carry offsets: the accept names length and hash held per file, the first
//!   piece of that file starts there.

mod bulk_receive;
mod bulk_send;
mod manifest;
mod name;
pub mod oft;
mod show;

pub use bulk_receive::{BulkReceive, ReceiveEvent, Step};
pub use bulk_send::{BulkSend, SendEvent};
pub use manifest::{
    Entry, EntryKind, ListHash, MAX_FILES, MAX_MANIFEST_BYTES, MAX_SIZE, MAX_TEXT, Manifest,
    ManifestBuilder, ManifestError, Mark,
};
pub use name::{
    MAX_DEPTH, MAX_PART, MAX_PATH, NameError, SafeRelPath, fit, numbered, part_name, record_name,
};
pub use show::show;

use crate::wire::bulk::{
    AbortReason, BulkRole, Control, FrameType, Hello, VERSION, control, message,
};
use crate::wire::error::DecodeError;

/// The other side broke the rules of the bulk protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// Bytes that are no frame.
    #[error(transparent)]
    Frame(#[from] DecodeError),
    /// The other side does not speak our version, or has the same role.
    #[error("the other side {}", incompatible(.0))]
    Incompatible(Hello),
    /// The list is refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A frame that has no place in this state.
    #[error("frame type {0:#04x} at the wrong time")]
    Unexpected(u8),
    /// Blocks must come in order.
    #[error("block {found} where {expected} was due")]
    Block {
        /// The block that was due.
        expected: u64,
        /// The block that came.
        found: u64,
    },
    /// Bytes or a hash for a file that is not in turn.
    #[error("data for file {0}, which is not in turn")]
    File(u32),
    /// A piece of a file that does not continue where the last one ended, or goes past the announced size.
    #[error("data of file {file} at {offset} breaks the announced order or size")]
    Range {
        /// Index of the file.
        file: u32,
        /// Offset of the piece.
        offset: u64,
    },
    /// A file or the whole ended before the announced size.
    #[error("the data ended before the announced size")]
    Short,
    /// An ack for something that was not sent, or twice.
    #[error("an acknowledgement of what was not sent")]
    Ack,
}

fn incompatible(hello: &Hello) -> &'static str {
    match BulkRole(hello.role) {
        _ if hello.version < VERSION => "does not speak this version of the protocol",
        BulkRole::SENDER => "wants to send, too",
        BulkRole::RECEIVER => "wants to receive, too",
        _ => "wants something else",
    }
}

/// What a frame of the link, or the other side's first frame, means on both sides.
enum Common {
    Nothing,
    Ping(u64),
    Aborted {
        reason: AbortReason,
        text: String,
    },
    /// The frame belongs to the role.
    Own,
}

/// The part that both roles share. `greeted`: the first frame has come; it must be a [`Hello`] of the role `peer`.
fn common(
    greeted: &mut bool,
    peer: BulkRole,
    kind: FrameType,
    payload: &[u8],
) -> Result<Common, ProtocolError> {
    if kind.is_control() {
        return match control(kind, payload)? {
            Some(Control::Ping(number)) => Ok(Common::Ping(number)),
            Some(Control::Abort { reason, text }) => Ok(Common::Aborted {
                reason: AbortReason(reason),
                text,
            }),
            Some(Control::Pong(_)) | None => Ok(Common::Nothing),
            // Lanes are the link's business, below.
            Some(_) => Err(ProtocolError::Unexpected(kind.0)),
        };
    }
    match (*greeted, kind) {
        (true, FrameType::HELLO) => Err(ProtocolError::Unexpected(kind.0)),
        (true, _) => Ok(Common::Own),
        (false, FrameType::HELLO) => {
            let hello: Hello = message(kind, payload)?;
            if hello.version < VERSION || hello.role != peer.0 {
                return Err(ProtocolError::Incompatible(hello));
            }
            *greeted = true;
            Ok(Common::Nothing)
        }
        (false, _) => Err(ProtocolError::Unexpected(kind.0)),
    }
}
